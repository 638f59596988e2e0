/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_count.h - what an import or export did: counted, shown while it runs, reported at its end.
 * Floor 6 (app). Threads: one. Progress goes to standard error: on a terminal, or with --progress;
 * so do messages that failed, as they do, unless --json lists them at the end. */
#ifndef PH_APP_IMPORT_COUNT_H
#define PH_APP_IMPORT_COUNT_H
#include "appliance/base/err.h"
#include "appliance/base/str.h"
#include <jansson.h>

struct import_count {
    uint64_t accounts, mailboxes, imported, updated, unchanged, removed, failed, vanished, bytes,
        nuls, keywords_lost, without;
    /* private */
    const char *what;
    bool json, progress;
    json_t *errors, *renumbered;
    char account[321], mailbox[256];
    uint64_t seen, expected, began_ms, shown_ms, every_ms, shown_seen;
};
void import_count_init(struct import_count *c, const char *what, bool json, bool progress);
void import_count_mailbox(struct import_count *c, struct str account, struct str mailbox,
                          uint64_t expected);
void import_count_seen(struct import_count *c);
void import_count_failed(struct import_count *c, const char *file, const char *why);
void import_count_renumbered(struct import_count *c, struct str account, struct str mailbox);
void import_count_show(struct import_count *c, bool now);
/* The report; the exit code: 0, 1 when something failed, else that of `why` (NULL: it ended well).
 */
int import_count_end(struct import_count *c, const struct err *why);
#endif
