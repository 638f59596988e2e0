/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* settings.c - section [store]. */
#include "appliance/store/store_private.h"

#define MB (INT64_C(1) << 20)
static const char *const sync_names[] = {[SQL_SYNC_FULL] = "full", [SQL_SYNC_OFF] = "off", NULL};

// clang-format off
const struct ph_setting store_settings[] = {
    PH_SETTING(SIZE, store_conf, min_free, 0, "0", 0, 0,
               "Free space on the data folder's disk below which new mail is refused for now, while "
               "expunging still works. 0: twice the largest message that smtp.message_limit or imap.append_limit allow, and 64 MB."),
    PH_SETTING(SIZE, store_conf, inline_limit, 0, "32K", 0, MB,
               "Text of a message up to this size is kept in the database; larger text in a file of its own."),
    PH_SETTING(INT, store_conf, readers, 0, "2", 1, 16,
               "Threads that read the store for IMAP."),
    PH_SETTING(TEXT, store_conf, bodies, 0, "", 0, 0,
               "Folder of the files of larger texts, with its whole path; it must exist. Empty: bodies in the data "
               "folder. Several servers on one database need the same one, on storage they share."),
    PH_SETTING(TIME, store_conf, dead_grace, 0, "1h", 0, INT64_C(30) * 86400000,
               "How long the text of a message is kept after its last copy was expunged."),
    PH_SETTING_ENUM(store_conf, sync, PH_HIDDEN, "full", sync_names,
                    "off: nothing is flushed to disk and mail is lost in a power cut. A control for tests, never for mail."),
    PH_SETTING(SIZE, store_conf, quota_bytes, 0, "0", 0, 0,
               "How many bytes an account may hold that has no quota of its own. 0: any."),
    PH_SETTING(INT, store_conf, quota_messages, 0, "0", 0, INT64_C(1) << 40,
               "How many messages an account may hold that has no quota of its own. 0: any."),
    PH_SETTING_END};
// clang-format on
