/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd_auth.c - AUTH PLAIN and LOGIN. RFC 4954. Only under TLS. No name or password is ever logged
 * from here. */
#include "appliance/base/mem.h"
#include "smtp/commands.h"
#include "smtp/counts.h"

static struct str next_word(struct str *rest)
{
    struct str word;
    while (rest->n && rest->p[0] == ' ')
        *rest = str_skip(*rest, 1);
    str_cut(*rest, ' ', &word, rest);
    return word;
}

int smtp_auth_check(struct smtp_session *s, struct str args, struct smtp_refusal *why)
{
    if (s->account)
        return smtp_refuse(why, 503, "5.5.1", "Already authenticated");
    if (s->port->role == SMTP_RECEPTION)
        return smtp_refuse(why, 503, "5.5.1", "AUTH isn't offered on this port");
    if (!conn_has_tls(s->conn)) /* RFC 4954 6 */
        return smtp_refuse(why, 538, "5.7.11", "AUTH needs STARTTLS first");
    struct str mechanism = next_word(&args), initial = next_word(&args);
    if (!mechanism.n || next_word(&args).n)
        return smtp_refuse(why, 501, "5.5.4", "Syntax: AUTH mechanism [initial-response]");
    s->pending.auth.mechanism = mechanism;
    s->pending.auth.initial = initial.n ? initial : STR_NULL;
    return 0;
}

/* The exchange is over, with this reply. Forgets all that was said in it. */
static void finish(struct smtp_session *s)
{
    sasl_wipe(&s->sasl);
    arena_clear(s->command);
}

static void set_name(char out[SMTP_LOGIN_NAME_MAX], struct str name)
{
    struct str fits = str_take(name, SMTP_LOGIN_NAME_MAX - 1);
    memcpy(out, fits.p, fits.n);
    out[fits.n] = '\0';
}

static void login_failed(struct smtp_session *s)
{
    unsigned n = ++s->auth_failures;
    uint64_t mine = s->conf->auth_delay * (n + 1) / 2;
    smtp_count_login(SMTP_LOGIN_FAILED);
    log_info(&s->log, "login_failed", L_Z("ip", conn_peer(s->conn)->ip), L_UINT("failures", n));
    if (n > (unsigned)s->conf->auth_failures)
        smtp_session_close_421(s, "4.7.0", "Too many failed logins", "auth");
    else
        smtp_reply_after(s, mine > s->auth_delay ? mine : s->auth_delay, 535, "5.7.8",
                         "Wrong name or password");
}

/* What the directory said and the filters let pass. */
void smtp_auth_accept(struct smtp_session *s)
{
    if (s->auth_failed) {
        login_failed(s);
        return;
    }
    s->account = str_dup_z(str_from(s->auth_name));
    guard_login_ok(&s->guard, str_from(s->auth_asked), str_from(s->account));
    s->submitting = true;
    log_info(&s->log, "login", L_Z("account", s->account), L_Z("ip", conn_peer(s->conn)->ip));
    smtp_count_login(SMTP_LOGIN_OK);
    smtp_reply(s, 235, "2.7.0", "Authenticated");
}

static void on_login(void *ctx, const struct directory_login *l)
{
    struct smtp_session *s = ctx;
    if (smtp_session_back(s)) {
        smtp_session_enter(s, SMTP_READY);
        if (l->failed) {
            smtp_count_login(SMTP_LOGIN_UNDECIDED);
            guard_login_undecided(&s->guard, str_from(s->auth_asked));
            smtp_reply(s, 454, "4.7.0", "Logins can't be checked at the moment");
        } else {
            s->auth_failed = !l->ok;
            if (l->ok)
                set_name(s->auth_name, l->account);
            else
                s->auth_delay = guard_login_failed(&s->guard, str_from(s->auth_asked));
            smtp_filter_command(s);
        }
    }
    smtp_session_unref(&s);
}

static void ask_directory(struct smtp_session *s)
{
    struct guard_text why;
    set_name(s->auth_name, s->sasl.user);
    set_name(s->auth_asked, s->sasl.user);
    if (!guard_login_ask(&s->guard, str_from(s->auth_asked), &why)) {
        smtp_session_enter(s, SMTP_READY);
        smtp_count_error(s);
        smtp_reply_after(s, s->conf->auth_delay, 454, "4.7.0", why.z);
    } else if (directory_login(s->server->conf.directory, s->sasl.user, s->sasl.password, on_login,
                               smtp_session_ref(s)) == 0) {
        smtp_session_wait(s, SMTP_WAIT_WORK);
    } else {
        struct smtp_session *mine = s;
        smtp_session_unref(&mine);
        guard_login_undecided(&s->guard, str_from(s->auth_asked));
        smtp_session_enter(s, SMTP_READY);
        smtp_reply(s, 454, "4.7.0", "Too busy at the moment");
    }
    finish(s);
}

static void step(struct smtp_session *s, enum sasl_step step, struct str challenge)
{
    switch (step) {
    case SASL_CHALLENGE:
        smtp_session_enter(s, SMTP_SASL);
        smtp_reply(s, 334, NULL, STR_FMT, STR_ARG(challenge));
        return;
    case SASL_READY:
        smtp_session_enter(s, SMTP_SASL);
        ask_directory(s);
        return;
    case SASL_REFUSED:
    case SASL_CANCELLED:
        smtp_session_enter(s, SMTP_READY);
        smtp_reply(s, 501, "5.7.0", "Cancelled"); /* RFC 4954 4 */
        break;
    case SASL_ERROR:
        smtp_session_enter(s, SMTP_READY);
        smtp_reply(s, 501, "5.5.2", "This response can't be understood");
        break;
    }
    finish(s);
}

void smtp_auth_proceed(struct smtp_session *s)
{
    struct err err = {0};
    struct str challenge = STR_NULL;
    if (sasl_init(&s->sasl, s->command, s->pending.auth.mechanism, NULL, &err))
        smtp_reply(s, 504, "5.5.4", "Mechanism not known here");
    else
        step(s, sasl_begin(&s->sasl, s->pending.auth.initial, &challenge, &err), challenge);
}

void smtp_auth_line(struct smtp_session *s, struct str line)
{
    struct err err = {0};
    struct str challenge = STR_NULL;
    step(s, sasl_feed(&s->sasl, line, &challenge, &err), challenge);
}
