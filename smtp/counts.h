/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* counts.h - what the SMTP server counts (base/metrics.h). Private to smtp/.
 * Floor 5 (smtp). Threads: loop only. */
#ifndef PH_SMTP_COUNTS_H
#define PH_SMTP_COUNTS_H
#include "smtp/session.h"

enum smtp_login_result { SMTP_LOGIN_OK, SMTP_LOGIN_FAILED, SMTP_LOGIN_UNDECIDED };

void smtp_count_open(void);
void smtp_count_full(bool held); /* no room for held mail, or in quarantine */
/* why: one of a few fixed words. */
void smtp_count_end(const struct smtp_session *s, const char *why);
void smtp_count_reply(const struct smtp_session *s, unsigned code); /* commands.c */
void smtp_count_refusal(const char *verb, const struct smtp_refusal *why);
void smtp_count_login(enum smtp_login_result result);
void smtp_count_accepted(const struct smtp_session *s);
void smtp_count_memory(uint64_t held);
void smtp_count_memory_refusal(void);
void smtp_count_refused(unsigned code); /* after its end */
#endif
