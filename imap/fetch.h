/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fetch.h - FETCH and UID FETCH (RFC 3501 6.4.5).
 * Floor 5 (imap). Threads: as command.h says of its callbacks.
 * Flags: IMAP_USES_SEQS | IMAP_UID_TOO. work gives every response, also of a message that doesn't
 * fit into memory; write sets \Seen where a body was read without PEEK, and sync.h then reports it.
 */
#ifndef PH_IMAP_FETCH_H
#define PH_IMAP_FETCH_H
#include "imap/command.h"

void fetch_parse(struct imap_command *cmd, struct imap_cursor *args);
enum imap_work fetch_work(struct imap_command *cmd, struct store_reader *r);
struct store_op *fetch_write(struct imap_command *cmd);
void fetch_finish(struct imap_command *cmd);
#endif
