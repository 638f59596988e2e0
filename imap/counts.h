/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* counts.h - what the IMAP server counts (base/metrics.h). Private to imap/.
 * Floor 5 (imap). Threads: loop only. Octets are counted by listeners. */
#ifndef PH_IMAP_COUNTS_H
#define PH_IMAP_COUNTS_H
#include "imap/session.h"

enum imap_login_result {
    IMAP_LOGIN_OK,
    IMAP_LOGIN_FAILED,
    IMAP_LOGIN_LIMIT, /* the account has enough sessions from that address */
    IMAP_LOGIN_UNDECIDED
};

void imap_count_open(void);
void imap_count_end(const char *why); /* one of a few fixed words */
void imap_count_idle(bool begins);
void imap_count_login(enum imap_login_result result);
void imap_count_command(const struct imap_command *cmd); /* commands.c; its tagged line is known */
void imap_count_time(uint64_t us);
#endif
