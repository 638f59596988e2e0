/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd_auth.c - AUTH. RFC 4954. Only under TLS. No name or password is ever logged from here. */
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

/* The delay is counted from the attempt: added to what the check took, it would show that. */
static void login_failed(struct smtp_session *s)
{
    unsigned n = ++s->auth_failures;
    uint64_t mine = s->conf->auth_delay * (n + 1) / 2;
    uint64_t delay = mine > s->auth_delay ? mine : s->auth_delay;
    uint64_t took = loop_now_ms(s->server->conf.loop) - s->auth_began;
    smtp_count_login(SMTP_LOGIN_FAILED);
    log_info(&s->log, "login_failed", L_Z("user", s->auth_asked), L_Z("ip", conn_peer(s->conn)->ip),
             L_UINT("failures", n),
             L_Z("reason", s->auth_for_other ? "for another user" : "wrong name or password"));
    if (n > (unsigned)s->conf->auth_failures)
        smtp_session_close_421(s, "4.7.0", "Too many failed logins", "auth");
    else
        smtp_reply_after(s, delay > took ? delay - took : 0, 535, "5.7.8",
                         s->auth_for_other ? "You can't act for another user"
                                           : "Wrong name or password");
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

/* The guard hears of each attempt that it let pass how it ended. */
static void end_attempt(struct smtp_session *s)
{
    if (s->auth_open)
        guard_login_undecided(&s->guard, str_from(s->auth_asked));
    s->auth_open = false;
}

void smtp_auth_left(struct smtp_session *s)
{
    if (s->state != SMTP_SASL || (s->waits & SMTP_WAIT_WORK)) /* a password is being looked at */
        return;
    end_attempt(s);
    sasl_wipe(&s->sasl);
}

static void refused(struct smtp_session *s)
{
    finish(s);
    s->auth_open = false;
    s->auth_failed = true;
    s->auth_delay = guard_login_failed(&s->guard, str_from(s->auth_asked));
    smtp_session_enter(s, SMTP_READY);
    smtp_filter_command(s);
}

static void step(struct smtp_session *s, enum sasl_step step, struct str challenge,
                 const struct err *err);

static void decided(struct smtp_session *s, const struct directory_login *l)
{
    struct str challenge;
    if (l->verifier) {
        step(s, sasl_verifier(&s->sasl, l->verifier, &challenge), challenge, NULL);
    } else if (l->failed) {
        finish(s);
        smtp_session_enter(s, SMTP_READY);
        smtp_count_login(SMTP_LOGIN_UNDECIDED);
        end_attempt(s);
        smtp_reply(s, 454, "4.7.0", "Logins can't be checked at the moment");
    } else if (!l->ok) {
        step(s, sasl_refuse(&s->sasl, &challenge), challenge, NULL);
    } else if (sasl_is_for_other(&s->sasl, l->account)) {
        s->auth_for_other = true;
        step(s, sasl_refuse(&s->sasl, &challenge), challenge, NULL);
    } else {
        finish(s);
        s->auth_open = s->auth_failed = false;
        set_name(s->auth_name, l->account);
        smtp_session_enter(s, SMTP_READY);
        smtp_filter_command(s);
    }
}

static void on_login(void *ctx, const struct directory_login *l)
{
    struct smtp_session *s = ctx;
    if (smtp_session_back(s))
        decided(s, l);
    smtp_session_unref(&s);
}

static bool may_try(struct smtp_session *s)
{
    struct guard_text why;
    if (s->auth_open) /* SCRAM asks twice */
        return true;
    set_name(s->auth_name, s->sasl.user);
    set_name(s->auth_asked, s->sasl.user);
    s->auth_open = guard_login_ask(&s->guard, str_from(s->auth_asked), &why);
    if (s->auth_open)
        return true;
    log_info(&s->log, "login_refused", L_Z("user", s->auth_asked),
             L_Z("ip", conn_peer(s->conn)->ip), L_Z("reason", why.z));
    finish(s);
    smtp_session_enter(s, SMTP_READY);
    smtp_count_error(s);
    smtp_reply_after(s, s->conf->auth_delay, 454, "4.7.0", why.z);
    return false;
}

static void ask_directory(struct smtp_session *s)
{
    struct smtp_session *mine = s;
    if (!may_try(s))
        return;
    s->auth_began = loop_now_ms(s->server->conf.loop);
    bool known = guard_login_known(&s->guard, str_from(s->auth_asked));
    if (directory_sasl(s->server->conf.directory, &s->sasl, known, on_login, smtp_session_ref(s)) ==
        0) {
        if (sasl_kind(&s->sasl) != SASL_SCRAM && sasl_kind(&s->sasl) != SASL_SCRAM_PLUS)
            sasl_wipe(&s->sasl);
        smtp_session_wait(s, SMTP_WAIT_WORK);
        return;
    }
    smtp_session_unref(&mine);
    finish(s);
    end_attempt(s);
    smtp_session_enter(s, SMTP_READY);
    smtp_reply(s, 454, "4.7.0", "Too busy at the moment");
}

/* Somebody who stands between the client and us can't be told from a client with an error; either
 * way nobody is let in. */
static void malformed(struct smtp_session *s, const struct err *err)
{
    if (err->why == ERR_WHY_UNTRUSTED)
        log_warn(&s->log, "login_downgraded", L_Z("ip", conn_peer(s->conn)->ip));
    smtp_session_enter(s, SMTP_READY);
    if (err->why == ERR_WHY_UNTRUSTED)
        smtp_reply(s, 535, "5.7.8", "%s", err->text);
    else
        smtp_reply(s, 501, "5.5.2", "This response can't be understood");
}

static void step(struct smtp_session *s, enum sasl_step step, struct str challenge,
                 const struct err *err)
{
    switch (step) {
    case SASL_CHALLENGE:
        smtp_session_enter(s, SMTP_SASL);
        smtp_reply(s, 334, NULL, STR_FMT, STR_ARG(challenge));
        return;
    case SASL_READY:
        if (s->sasl.scram.misbound)
            log_warn(&s->log, "login_misbound", L_Z("ip", conn_peer(s->conn)->ip));
        smtp_session_enter(s, SMTP_SASL);
        ask_directory(s);
        return;
    case SASL_REFUSED:
        refused(s);
        return;
    case SASL_CANCELLED:
        smtp_session_enter(s, SMTP_READY);
        smtp_reply(s, 501, "5.7.0", "Cancelled"); /* RFC 4954 4 */
        break;
    case SASL_ERROR:
        malformed(s, err);
        break;
    }
    end_attempt(s);
    finish(s);
}

void smtp_auth_proceed(struct smtp_session *s)
{
    struct err err = {0};
    struct str challenge = STR_NULL;
    struct sasl_offer offer;
    s->auth_open = s->auth_for_other = false;
    directory_offer(s->server->conf.directory, &s->port->logins, s->conn, s->command, &offer);
    if (sasl_init(&s->sasl, s->command, s->pending.auth.mechanism, &offer, &err)) {
        struct str words = smtp_auth_words(s);
        smtp_reply(s, 504, "5.5.4", "Mechanisms here: " STR_FMT, STR_ARG(words));
    } else {
        step(s, sasl_begin(&s->sasl, s->pending.auth.initial, &challenge, &err), challenge, &err);
    }
}

void smtp_auth_line(struct smtp_session *s, struct str line)
{
    struct err err = {0};
    struct str challenge = STR_NULL;
    step(s, sasl_feed(&s->sasl, line, &challenge, &err), challenge, &err);
}

struct str smtp_auth_words(struct smtp_session *s)
{
    struct sasl_offer offer;
    struct buf b;
    directory_offer(s->server->conf.directory, &s->port->logins, s->conn, NULL, &offer);
    buf_init(&b, 200);
    sasl_mechanisms(&offer, &b);
    struct str words = arena_str(s->command, buf_str(&b));
    buf_fini(&b);
    return words;
}
