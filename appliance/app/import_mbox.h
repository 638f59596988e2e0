/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_mbox.h - the messages of one mbox file, which nobody writes to meanwhile.
 * Floor 6 (app). Threads: one; blocking. A message's key is the digest of its text, so that it is
 * known again whatever becomes of its Status and its place in the file. */
#ifndef PH_APP_IMPORT_MBOX_H
#define PH_APP_IMPORT_MBOX_H
#include "appliance/app/import_run.h"

/* Closes fd; -1: it could not be opened (errno). To the mailbox of `t`, whose UIDs are filled in
 * here. -1: the run is over. */
int import_mbox_messages(struct import_run *run, int fd, const char *path, struct import_target *t)
    __attribute__((warn_unused_result));
#endif
