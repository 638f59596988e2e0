/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* LOGIN and AUTHENTICATE. parse (held) finds user and password and asks the directory; work looks
 * for the account in the store; write opens it at the first login and takes over the directory's
 * quota; finish changes the state. */
#include "appliance/directory/sasl.h"
#include "imap/cmd.h"
#include "imap/counts.h"
#include "imap/session.h"

struct login {
    struct sasl sasl;
    struct str account;   /* folded */
    uint64_t quota_bytes; /* as it should be */
    bool own_quota;       /* the directory names one */
    bool opened;          /* the account is in the store */
    bool set_quota;
    uint64_t began_ms; /* of the last question to the directory */
    bool for_other;    /* it fails because of its authorization identity */
    bool asked;        /* the guard has let it be tried, and waits for how it ends */
    struct account_info info;
    struct store_op op;
    uint64_t id;
};

enum { DELAY_DOUBLINGS = 4 };

static void login_fini(struct imap_command *cmd)
{
    struct login *l = cmd->data;
    sasl_wipe(&l->sasl);
}

static struct login *login_new(struct imap_command *cmd)
{
    struct login *l = ARENA_NEW(cmd->arena, struct login);
    cmd->data = l;
    cmd->fini = login_fini;
    return l;
}

/* Passwords only go over TLS (RFC 3501 6.2.3, RFC 5530 PRIVACYREQUIRED). */
static bool refuse_plain(struct imap_command *cmd)
{
    if (imap_session_secure(cmd->session))
        return false;
    imap_no(cmd, "PRIVACYREQUIRED", "Use STARTTLS, or the port for TLS, before you log in");
    return true;
}

static void after_delay(struct imap_session *s)
{
    imap_go_on(s->cmd);
}

/* The answer to a wrong password takes longer each time; counted from the attempt, since what was
 * added to the time of the check would show that. */
static void failed(struct imap_session *s, struct str user)
{
    const struct login *l = s->cmd->data;
    unsigned doublings = s->failed_logins < DELAY_DOUBLINGS ? s->failed_logins : DELAY_DOUBLINGS;
    s->failed_logins++;
    imap_count_login(IMAP_LOGIN_FAILED);
    log_info(&s->log, "login_failed", L_STR("user", user), L_Z("ip", conn_peer(s->conn)->ip),
             L_Z("listener", s->port->name),
             L_Z("reason", l->for_other ? "for another user" : "wrong name or password"));
    if (l->for_other) /* RFC 5530 3 */
        imap_no(s->cmd, "AUTHORIZATIONFAILED", "You can't act for another user");
    else
        imap_no(s->cmd, "AUTHENTICATIONFAILED", "Wrong user name or password");
    uint64_t mine = s->conf->login_delay << doublings, theirs = guard_login_failed(&s->guard, user);
    uint64_t delay = mine > theirs ? mine : theirs;
    uint64_t took = loop_now_ms(s->server->conf.loop) - l->began_ms;
    imap_session_after(s, delay > took ? delay - took : 0, after_delay);
}

static void sasl_next(struct imap_command *cmd, enum sasl_step step, struct str challenge,
                      const struct err *err);

/* The guard hears of each attempt that it let pass how it ended. */
static void end_attempt(struct imap_command *cmd)
{
    struct login *l = cmd->data;
    if (l->asked)
        guard_login_undecided(&cmd->session->guard, l->sasl.user);
    l->asked = false;
}

static void decided(struct imap_command *cmd, const struct directory_login *answer)
{
    struct imap_session *s = cmd->session;
    struct login *l = cmd->data;
    struct str challenge;
    if (answer->verifier) {
        sasl_next(cmd, sasl_verifier(&l->sasl, answer->verifier, &challenge), challenge, NULL);
    } else if (answer->failed) {
        imap_count_login(IMAP_LOGIN_UNDECIDED);
        end_attempt(cmd);
        log_warn(&s->log, "login_undecided", L_Z("error", answer->err.text));
        imap_no(cmd, "UNAVAILABLE", "Logins can't be checked at the moment, try again later");
        imap_go_on(cmd);
    } else if (!answer->ok || sasl_is_for_other(&l->sasl, answer->account)) {
        l->for_other = answer->ok;
        sasl_next(cmd, sasl_refuse(&l->sasl, &challenge), challenge, NULL);
    } else {
        l->asked = false;
        l->account = arena_str(cmd->arena, answer->account);
        guard_login_ok(&s->guard, l->sasl.user, l->account);
        l->own_quota = answer->quota_bytes != 0;
        l->quota_bytes = answer->quota_bytes ? answer->quota_bytes
                                             : store_conf(imap_session_store(s))->quota_bytes;
        imap_go_on(cmd);
    }
}

static void on_login(void *ctx, const struct directory_login *answer)
{
    struct imap_session *s = ctx, *of_login = s;
    if (s->conn)
        decided(s->cmd, answer);
    imap_session_unref(&of_login);
}

/* -1: refused at once. */
static int ask_directory(struct imap_command *cmd)
{
    struct imap_session *s = cmd->session;
    struct login *l = cmd->data;
    struct guard_text why;
    if (!l->asked && !guard_login_ask(&s->guard, l->sasl.user, &why)) { /* SCRAM asks twice */
        s->failed_logins++;
        log_info(&s->log, "login_refused", L_STR("user", l->sasl.user),
                 L_Z("ip", conn_peer(s->conn)->ip), L_Z("reason", why.z));
        imap_no(cmd, "LIMIT", why.z);
        return -1;
    }
    l->asked = true;
    l->began_ms = loop_now_ms(s->server->conf.loop);
    bool known = guard_login_known(&s->guard, l->sasl.user);
    if (directory_sasl(s->server->conf.directory, &l->sasl, known, on_login, s)) {
        end_attempt(cmd);
        imap_no(cmd, "INUSE", "Too many logins at the moment, try again later");
        return -1;
    }
    imap_session_ref(s);
    return 0;
}

void login_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct login *l = login_new(cmd);
    if (refuse_plain(cmd))
        return;
    struct str user, password;
    if (imap_space(args) || imap_astring(args, &user) || imap_space(args) ||
        imap_astring(args, &password) || !imap_at_end(args)) {
        imap_bad(cmd, "Expected user name and password");
        return;
    }
    sasl_init_password(&l->sasl, cmd->arena, user, password);
    if (ask_directory(cmd) == 0)
        imap_hold(cmd);
}

static void on_response(struct imap_command *cmd, struct str line, bool too_big);

/* Somebody who stands between the client and us can't be told from a client with an error; either
 * way nobody is let in. */
static void malformed(struct imap_command *cmd, const struct err *err)
{
    struct imap_session *s = cmd->session;
    end_attempt(cmd);
    if (err->why != ERR_WHY_UNTRUSTED) {
        imap_bad(cmd, err->text);
        return;
    }
    log_warn(&s->log, "login_downgraded", L_Z("ip", conn_peer(s->conn)->ip));
    imap_no(cmd, "AUTHENTICATIONFAILED", err->text);
}

/* The command is held, or (at its begin) becomes it unless it ended. */
static void sasl_next(struct imap_command *cmd, enum sasl_step step, struct str challenge,
                      const struct err *err)
{
    struct imap_session *s = cmd->session;
    struct login *l = cmd->data;
    switch (step) {
    case SASL_CHALLENGE:
        buf_printf(&cmd->out, "+ " STR_FMT "\r\n", STR_ARG(challenge));
        imap_session_flush(s);
        cmd->left = end_attempt;
        imap_want_line(cmd, on_response);
        break;
    case SASL_READY:
        if (l->sasl.scram.misbound)
            log_warn(&s->log, "login_misbound", L_Z("ip", conn_peer(s->conn)->ip));
        ask_directory(cmd);
        break;
    case SASL_REFUSED:
        l->asked = false;
        failed(s, l->sasl.user);
        break;
    case SASL_CANCELLED:
        end_attempt(cmd);
        imap_bad(cmd, "Authentication cancelled");
        break;
    case SASL_ERROR:
        malformed(cmd, err);
        break;
    }
}

static void on_response(struct imap_command *cmd, struct str line, bool too_big)
{
    struct login *l = cmd->data;
    struct str challenge = STR_NULL;
    struct err err = {0};
    enum sasl_step step = SASL_CANCELLED;
    if (too_big) {
        end_attempt(cmd);
        imap_bad(cmd, "Response is too long");
    } else {
        step = sasl_feed(&l->sasl, line, &challenge, &err);
        sasl_next(cmd, step, challenge, &err);
    }
    if (cmd->ended && step != SASL_REFUSED) /* that goes on after its delay */
        imap_go_on(cmd);
}

void authenticate_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct login *l = login_new(cmd);
    struct str mechanism, initial = STR_NULL, challenge = STR_NULL;
    struct sasl_offer offer;
    struct err err = {0};
    if (imap_space(args) || imap_atom(args, &mechanism)) {
        imap_bad(cmd, "Expected the name of a mechanism");
        return;
    }
    if (imap_space(args) == 0 && imap_atom(args, &initial)) { /* RFC 4959 */
        imap_bad(cmd, "Expected an initial response in base64, or =");
        return;
    }
    if (!imap_at_end(args) || refuse_plain(cmd))
        return;
    directory_offer(cmd->session->server->conf.directory, &cmd->session->port->logins,
                    cmd->session->conn, cmd->arena, &offer);
    if (sasl_init(&l->sasl, cmd->arena, mechanism, &offer, &err)) {
        imap_no(cmd, "CANNOT", "Mechanism not supported");
        return;
    }
    sasl_next(cmd, sasl_begin(&l->sasl, initial, &challenge, &err), challenge, &err);
    if (!cmd->ended)
        imap_hold(cmd);
}

enum imap_work login_work(struct imap_command *cmd, struct store_reader *r)
{
    struct login *l = cmd->data;
    struct err err;
    if (account_find(r, cmd->arena, l->account, &l->info, &err) == 0) {
        l->opened = true;
        l->id = l->info.id;
    } else if (err.why != ERR_WHY_NOT_FOUND) {
        cmd->failed = true;
        cmd->err = err;
    }
    return IMAP_WORK_DONE;
}

static int open_run(struct store_op *op, struct store_tx *tx)
{
    struct login *l = CONTAINER_OF(op, struct login, op);
    if (account_open_tx(tx, l->account, &l->id, &op->err))
        return -1;
    if (l->set_quota && account_set_quota_tx(tx, l->id, l->own_quota, l->quota_bytes,
                                             l->info.quota_messages, &op->err))
        return -1;
    return STORE_DONE;
}

struct store_op *login_write(struct imap_command *cmd)
{
    struct login *l = cmd->data;
    const struct store_conf *conf = store_conf(imap_session_store(cmd->session));
    if (!l->opened) {
        l->info.quota_bytes = conf->quota_bytes;
        l->info.quota_messages = (uint64_t)conf->quota_messages;
    }
    l->set_quota = l->quota_bytes != l->info.quota_bytes;
    if (l->opened && !l->set_quota)
        return NULL;
    l->op.run = open_run;
    l->op.cls = STORE_INTERACTIVE;
    return &l->op;
}

void login_finish(struct imap_command *cmd)
{
    struct login *l = cmd->data;
    struct buf code;
    if (cmd->failed && !(l->opened && cmd->err.why == ERR_WHY_READ_ONLY)) /* reading goes on then */
        return;
    if (!imap_limit_enter(cmd->session, l->account)) {
        imap_no(cmd, "LIMIT", "Too many connections of this account from your address");
        return;
    }
    imap_session_login(cmd->session, l->account, l->id);
    buf_init(&code, 4096);
    buf_add_z(&code, "CAPABILITY ");
    imap_put_capabilities(&code, cmd->session);
    imap_ok(cmd, buf_z(&code), "Logged in");
    buf_fini(&code);
}
