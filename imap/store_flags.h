/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* store_flags.h - STORE and UID STORE (RFC 3501 6.4.6).
 * Floor 5 (imap). Threads: as command.h says of its callbacks.
 * Flags: IMAP_USES_SEQS | IMAP_NEEDS_WRITE | IMAP_UID_TOO. sync.h gives the responses: the flags of
 * every message named, or, for .SILENT, of those that another session had changed too. */
#ifndef PH_IMAP_STORE_FLAGS_H
#define PH_IMAP_STORE_FLAGS_H
#include "imap/command.h"

void store_parse(struct imap_command *cmd, struct imap_cursor *args);
enum imap_work store_work(struct imap_command *cmd, struct store_reader *r);
struct store_op *store_write(struct imap_command *cmd);
void store_finish(struct imap_command *cmd);
#endif
