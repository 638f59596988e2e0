/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* copy.h - COPY (RFC 3501 6.4.7) and MOVE (RFC 6851), with COPYUID (RFC 4315).
 * Floor 5 (imap). Threads: as command.h says of its callbacks.
 * Flags: IMAP_UID_TOO; MOVE also IMAP_NEEDS_WRITE. COPY: IMAP_USES_SEQS. MOVE without: its own
 * expunges are reported before the tagged line. All or nothing. */
#ifndef PH_IMAP_COPY_H
#define PH_IMAP_COPY_H
#include "imap/command.h"

void copy_parse(struct imap_command *cmd, struct imap_cursor *args);
void move_parse(struct imap_command *cmd, struct imap_cursor *args);
enum imap_work copy_work(struct imap_command *cmd, struct store_reader *r);
struct store_op *copy_write(struct imap_command *cmd);
void copy_finish(struct imap_command *cmd);
/* {from uid, to uid} pairs -> "COPYUID 38505 304,319:320 3956:3958". */
void copy_put_copyuid(struct buf *b, uint32_t uidvalidity, const uint32_t *pairs, size_t n);
#endif
