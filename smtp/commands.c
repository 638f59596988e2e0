/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* commands.c - which command is legal when, and what runs for it. */
#include "smtp/commands.h"
#include "appliance/base/metrics.h"
#include "smtp/counts.h"

#define ANY (SMTP_IN(GREETED) | HELLOED)
#define HELLOED (SMTP_IN(READY) | SMTP_IN(MAIL) | SMTP_IN(RCPT) | SMTP_IN(BDAT))
#define V(verb)                                                                                    \
    {                                                                                              \
        verb, sizeof(verb) - 1                                                                     \
    }
// clang-format off
static const struct smtp_command commands[] = {
/*   verb           legal in                          flags                             check                proceed                filter point   accept */
    {V("EHLO"),     ANY,                              SMTP_JUNK,                        smtp_ehlo_check,     smtp_filter_command,   PH_HELO,       smtp_ehlo_accept},
    {V("HELO"),     ANY,                              SMTP_JUNK,                        smtp_ehlo_check,     smtp_filter_command,   PH_HELO,       smtp_helo_accept},
    {V("MAIL"),     SMTP_IN(READY),                   SMTP_NEED_AUTH,                   smtp_mail_check,     smtp_mail_proceed,     PH_MAIL,       smtp_mail_accept},
    {V("RCPT"),     SMTP_IN(MAIL) | SMTP_IN(RCPT),    0,                                smtp_rcpt_check,     smtp_rcpt_proceed,     PH_RCPT,       smtp_rcpt_accept},
    {V("DATA"),     SMTP_IN(RCPT),                    0,                                smtp_no_args,        smtp_data_proceed,     SMTP_NO_POINT, NULL},
    /* In any state: its octets follow whatever we think of it (RFC 3030 2). */
    {V("BDAT"),     ANY,                              SMTP_FATAL,                       smtp_bdat_check,     smtp_bdat_proceed,     SMTP_NO_POINT, NULL},
    {V("RSET"),     ANY,                              SMTP_JUNK,                        smtp_no_args,        smtp_rset_proceed,     SMTP_NO_POINT, NULL},
    {V("STARTTLS"), SMTP_IN(READY),                   SMTP_NEED_EHLO | SMTP_NO_PIPELINE, smtp_starttls_check, smtp_starttls_proceed, SMTP_NO_POINT, NULL},
    {V("AUTH"),     SMTP_IN(READY),                   SMTP_NEED_EHLO | SMTP_SECRET,     smtp_auth_check,     smtp_auth_proceed,     PH_AUTH,       smtp_auth_accept},
    {V("ETRN"),     SMTP_IN(READY),                   SMTP_NEED_EHLO | SMTP_JUNK,       smtp_etrn_check,     smtp_etrn_proceed,     SMTP_NO_POINT, NULL},
    {V("NOOP"),     ANY,                              SMTP_JUNK,                        smtp_any_args,       smtp_noop_proceed,     SMTP_NO_POINT, NULL},
    {V("VRFY"),     ANY,                              SMTP_NEED_AUTH | SMTP_JUNK,       smtp_any_args,       smtp_vrfy_proceed,     SMTP_NO_POINT, NULL},
    {V("EXPN"),     ANY,                              SMTP_JUNK,                        smtp_any_args,       smtp_expn_proceed,     SMTP_NO_POINT, NULL},
    {V("HELP"),     ANY,                              SMTP_JUNK,                        smtp_any_args,       smtp_help_proceed,     SMTP_NO_POINT, NULL},
    {V("QUIT"),     ANY,                              0,                                smtp_any_args,       smtp_quit_proceed,     SMTP_NO_POINT, NULL},
};
/* A browser or another program talking to the wrong port: its next lines would be taken for commands. */
static const struct str foreign[] = {V("GET"), V("POST"), V("PUT"), V("HEAD"), V("OPTIONS"), V("CONNECT")};
// clang-format on

/* ---- counting replies: none yet, those of the table, no command of ours */
enum { UNKNOWN = ARRAY_LEN(commands) + 1, COUNTED, CLASSES = 4 };

static const char *counted_name(size_t i)
{
    return i == 0 ? "connect" : i == UNKNOWN ? "unknown" : commands[i - 1].verb.p;
}

static const char *class_name(size_t i)
{
    static const char *const names[CLASSES] = {"2xx", "3xx", "4xx", "5xx"};
    return names[i];
}

METRIC(replies, COUNTED *CLASSES, .type = METRIC_COUNTER, .name = "posthouse_smtp_replies_total",
       .help = "Replies by command and class. DATA and BDAT are answered again after the message.",
       .labels = {{"command", counted_name, COUNTED}, {"class", class_name, CLASSES}});

void smtp_count_reply(const struct smtp_session *s, unsigned code)
{
    metric_inc(&replies, s->counted_as * CLASSES + code / 100 - 2);
}

bool smtp_offers_tls(const struct smtp_session *s)
{
    return s->server->conf.tls && !s->port->no_starttls && s->port->role != SMTP_LOCAL &&
           !conn_has_tls(s->conn);
}

bool smtp_offers_auth(const struct smtp_session *s)
{
    return s->port->role != SMTP_RECEPTION && conn_has_tls(s->conn) && !s->account;
}

bool smtp_is_private(const struct smtp_session *s)
{
    return conn_has_tls(s->conn) || s->port->role == SMTP_LOCAL;
}

unsigned smtp_mail_limit(const struct smtp_session *s)
{
    return smtp_is_known(s) || guard_trusts(&s->guard) ? 0 : (unsigned)s->conf->mail_limit;
}

int smtp_any_args(struct smtp_session *s, struct str args, struct smtp_refusal *why)
{
    (void)why;
    s->pending.text = args;
    return 0;
}

int smtp_no_args(struct smtp_session *s, struct str args, struct smtp_refusal *why)
{
    (void)s;
    return str_trim(args).n ? smtp_refuse(why, 501, "5.5.4", "This command takes no argument") : 0;
}

/* What is missing for a command that isn't legal now. */
static int illegal(const struct smtp_session *s, const struct smtp_command *c,
                   struct smtp_refusal *why)
{
    if (s->state == SMTP_GREETED)
        return smtp_refuse(why, 503, "5.5.1", "Send EHLO first");
    if (c->legal == SMTP_IN(READY))
        return smtp_refuse(why, 503, "5.5.1", STR_FMT " isn't allowed within a mail transaction",
                           STR_ARG(c->verb));
    if (s->state == SMTP_READY)
        return smtp_refuse(why, 503, "5.5.1", "Send MAIL first");
    if (s->state == SMTP_BDAT)
        return smtp_refuse(why, 503, "5.5.1", STR_FMT " isn't allowed between BDAT chunks",
                           STR_ARG(c->verb));
    return smtp_refuse(why, 554, "5.5.1", "No valid recipients"); /* RFC 5321 3.3 */
}

static int check_flags(const struct smtp_session *s, const struct smtp_command *c,
                       struct smtp_refusal *why)
{
    if ((c->flags & SMTP_NEED_AUTH) && s->port->role == SMTP_SUBMISSION && !smtp_is_known(s)) {
        if (!conn_has_tls(s->conn)) /* RFC 3207 4 */
            return smtp_refuse(why, 530, "5.7.0", "Must issue a STARTTLS command first");
        return smtp_refuse(why, 530, "5.7.0", "Authentication required"); /* RFC 4954 6 */
    }
    if (!(c->legal & (1u << s->state)))
        return illegal(s, c, why);
    if ((c->flags & SMTP_NEED_EHLO) && !s->esmtp)
        return smtp_refuse(why, 503, "5.5.1", "Send EHLO first");
    if ((c->flags & SMTP_NO_PIPELINE) && conn_input(s->conn).n)
        return smtp_refuse(why, 503, "5.5.1", "Nothing may follow " STR_FMT " before its reply",
                           STR_ARG(c->verb));
    return 0;
}

static const struct smtp_command *find(struct str verb)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (str_ieq(commands[i].verb, verb))
            return &commands[i];
    return NULL;
}

static bool is_foreign(struct str verb)
{
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
        if (str_ieq(foreign[i], verb))
            return true;
    return false;
}

void smtp_command_run(struct smtp_session *s, struct str line)
{
    struct str verb, args;
    struct smtp_refusal why = {0};
    str_cut(str_trim(line), ' ', &verb, &args);
    const struct smtp_command *c = find(verb);
    s->counted_as = c ? (unsigned)(c - commands) + 1 : UNKNOWN;
    if (!c && is_foreign(verb)) {
        smtp_session_close_421(s, "4.7.0", "This is a mail server", "foreign");
        return;
    }
    if (!c) {
        smtp_refuse(&why, 500, "5.5.2", "Unknown command");
        /* Not a byte of it in the log: after a refused AUTH it may be a password. */
        smtp_refuse_command(s, "unknown", STR_NULL, &why);
        return;
    }
    if (check_flags(s, c, &why) || c->check(s, args, &why)) {
        smtp_refuse_command(s, c->verb.p, c->flags & SMTP_SECRET ? STR_NULL : args, &why);
        if (c->flags & SMTP_FATAL)
            smtp_session_close(s, "syntax");
        return;
    }
    if ((c->flags & SMTP_JUNK) && ++s->junk > (unsigned)s->conf->junk_commands)
        smtp_count_error(s);
    if (!s->conn)
        return;
    s->running = c;
    c->proceed(s);
}
