/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_commands.h - the rows of the table in import.c, each in the file of its name. Floor 6
 * (app). Threads: main. */
#ifndef PH_APP_IMPORT_COMMANDS_H
#define PH_APP_IMPORT_COMMANDS_H
#include "appliance/app/import.h"

extern const struct import_command import_flurdy, import_opendkim, import_maildir, import_mbox,
    import_imap, export_maildir, export_mbox;
/* Shows why nothing was begun; the exit code. */
int import_refused(const struct import_call *call, const struct err *err);
#endif
