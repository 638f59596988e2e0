/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* expunge.h - EXPUNGE (RFC 3501 6.4.3) and UID EXPUNGE (RFC 4315 2.1).
 * Floor 5 (imap). Threads: as command.h says of its callbacks.
 * Flags: IMAP_NEEDS_WRITE | IMAP_UID_TOO; no IMAP_USES_SEQS: sync.h reports the expunges before the
 * tagged line. */
#ifndef PH_IMAP_EXPUNGE_H
#define PH_IMAP_EXPUNGE_H
#include "imap/command.h"

void expunge_parse(struct imap_command *cmd, struct imap_cursor *args);
struct store_op *expunge_write(struct imap_command *cmd);
void expunge_finish(struct imap_command *cmd);
#endif
