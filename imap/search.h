/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* search.h - SEARCH and UID SEARCH (RFC 3501 6.4.4).
 * Floor 5 (imap). Threads: as command.h says of its callbacks.
 * Flags: IMAP_UID_TOO, and IMAP_USES_SEQS. work first finds all matches, in steps, then writes the
 * one response line, in pieces. */
#ifndef PH_IMAP_SEARCH_H
#define PH_IMAP_SEARCH_H
#include "imap/command.h"

void search_parse(struct imap_command *cmd, struct imap_cursor *args);
enum imap_work search_work(struct imap_command *cmd, struct store_reader *r);
void search_finish(struct imap_command *cmd);
#endif
