/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* commands.h - the command table's columns and its functions. Private to smtp/.
 * Floor 5 (smtp). Threads: loop only. */
#ifndef PH_SMTP_COMMANDS_H
#define PH_SMTP_COMMANDS_H
#include "smtp/session.h"

#define SMTP_IN(state) (1u << SMTP_##state)
enum {
    SMTP_NEED_EHLO = 1u << 0,   /* an extension: not after HELO */
    SMTP_NEED_AUTH = 1u << 1,   /* on submission ports */
    SMTP_NO_PIPELINE = 1u << 2, /* nothing may follow it yet (RFC 3207 4.2) */
    SMTP_JUNK = 1u << 3,        /* brings no mail: counted */
    SMTP_SECRET = 1u << 4,      /* its arguments are never logged */
    SMTP_FATAL = 1u << 5,       /* refused by check(): nothing after it can be understood, close */
};
enum { SMTP_NO_POINT = -1 };
struct smtp_command {
    struct str verb;
    unsigned legal; /* SMTP_IN() of the states */
    unsigned flags;
    /* Syntax and limits, no effect: fills s->pending. -1: *why. */
    int (*check)(struct smtp_session *s, struct str args, struct smtp_refusal *why);
    /* Effect and reply, now or later. With a filter point: up to where the server itself would take
     * it; then smtp_filter_command(), which goes on with accept. */
    void (*proceed)(struct smtp_session *s);
    int point; /* enum ph_point or SMTP_NO_POINT */
    void (*accept)(struct smtp_session *s);
};
/* One command line without its CRLF, in s->command. */
void smtp_command_run(struct smtp_session *s, struct str line);

bool smtp_offers_tls(const struct smtp_session *s);     /* STARTTLS now */
bool smtp_offers_auth(const struct smtp_session *s);    /* AUTH now */
bool smtp_offers_etrn(const struct smtp_session *s);    /* to this client */
bool smtp_is_private(const struct smtp_session *s);     /* nobody on the way can read it */
unsigned smtp_mail_limit(const struct smtp_session *s); /* transactions in it; 0: no limit */

int smtp_any_args(struct smtp_session *s, struct str args, struct smtp_refusal *why);
int smtp_no_args(struct smtp_session *s, struct str args, struct smtp_refusal *why);
int smtp_ehlo_check(struct smtp_session *s, struct str args, struct smtp_refusal *why);
int smtp_mail_check(struct smtp_session *s, struct str args, struct smtp_refusal *why);
int smtp_rcpt_check(struct smtp_session *s, struct str args, struct smtp_refusal *why);
int smtp_bdat_check(struct smtp_session *s, struct str args, struct smtp_refusal *why);
int smtp_auth_check(struct smtp_session *s, struct str args, struct smtp_refusal *why);
int smtp_starttls_check(struct smtp_session *s, struct str args, struct smtp_refusal *why);
int smtp_etrn_check(struct smtp_session *s, struct str args, struct smtp_refusal *why);
void smtp_ehlo_accept(struct smtp_session *s);
void smtp_helo_accept(struct smtp_session *s);
void smtp_mail_proceed(struct smtp_session *s);
void smtp_mail_accept(struct smtp_session *s);
void smtp_rcpt_proceed(struct smtp_session *s);
/* One is about to be answered by that code. Put off may be as many as a message may have. */
void smtp_rcpt_refused(struct smtp_session *s, unsigned code);
void smtp_rcpt_accept(struct smtp_session *s);
void smtp_data_proceed(struct smtp_session *s);
void smtp_bdat_proceed(struct smtp_session *s);
void smtp_auth_proceed(struct smtp_session *s);
void smtp_auth_accept(struct smtp_session *s);
void smtp_starttls_proceed(struct smtp_session *s);
void smtp_rset_proceed(struct smtp_session *s);
void smtp_noop_proceed(struct smtp_session *s);
void smtp_vrfy_proceed(struct smtp_session *s);
void smtp_expn_proceed(struct smtp_session *s);
void smtp_help_proceed(struct smtp_session *s);
void smtp_quit_proceed(struct smtp_session *s);
void smtp_etrn_proceed(struct smtp_session *s);
#endif
