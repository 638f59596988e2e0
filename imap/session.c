/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/session.h"
#include "appliance/base/clock.h"
#include "imap/counts.h"

enum { LINGER_MS = 5000 };

struct imap_session *imap_session_ref(struct imap_session *s)
{
    s->refs++;
    return s;
}

void imap_session_unref(struct imap_session **sp)
{
    struct imap_session *s = *sp;
    *sp = NULL;
    if (--s->refs)
        return;
    CHECK(!s->conn && !s->cmd && !s->job_running);
    CHECK(!s->watch.link.next || list_empty(&s->watch.link));
    struct imap_server *server = s->server;
    list_del(&s->link);
    server->n_sessions--;
    imap_reader_fini(&s->reader);
    imap_view_free(&s->view);
    mem_free(s->account);
    snapshot_unref(&s->snapshot);
    mem_free(s);
    imap_server_left(server);
}

static void log_closed(struct imap_session *s)
{
    log_info(&s->log, "closed", L_Z("why", s->why), L_Z("ip", conn_peer(s->conn)->ip),
             L_Z("listener", s->port->name), L_Z("account", s->account),
             L_UINT("commands", s->commands), L_Z("during", s->cmd ? s->cmd->def->name : NULL));
}

/* What may call back later is stopped here; a job or an operation under way keeps the command until
 * it answers. */
static void detach(struct imap_session *s, const char *why)
{
    if (!s->why)
        s->why = why;
    log_closed(s);
    imap_count_end(conn_error(s->conn)->text[0] ? "broken" : s->why);
    imap_session_set_idling(s, false);
    imap_limit_leave(s);
    if (s->cmd && s->on_line && s->cmd->left)
        s->cmd->left(s->cmd);
    guard_leave(&s->guard);
    imap_session_deselect(s);
    if (s->deadline)
        timer_free(&s->deadline);
    if (s->timer)
        timer_free(&s->timer);
    timer_free(&s->slow);
}

static void release(struct imap_session *s)
{
    if (s->job_running && imap_turn_cancel(s)) {
        struct imap_session *of_job = s;
        s->job_running = false;
        imap_session_unref(&of_job);
    }
    if (!s->job_running && !s->writing)
        imap_command_free(s);
    struct imap_session *of_conn = s;
    imap_session_unref(&of_conn);
}

void imap_session_end(struct imap_session *s, const char *why)
{
    if (!s->conn)
        return;
    detach(s, why);
    conn_close(&s->conn);
    release(s);
}

static void end_flushed(struct imap_session *s, const char *why)
{
    if (!s->conn)
        return;
    detach(s, why);
    conn_close_flushed(&s->conn, LINGER_MS);
    release(s);
}

void imap_session_left(struct imap_session *s)
{
    end_flushed(s, "left");
}

void imap_session_bye(struct imap_session *s, const char *why, const char *text)
{
    if (!s->conn)
        return;
    if (s->state != IMAP_LOGOUT) {
        conn_write_str(s->conn, STR("* BYE "));
        conn_write_str(s->conn, str_from(text));
        conn_write_str(s->conn, STR("\r\n"));
    }
    end_flushed(s, why);
}

void imap_session_stop(struct imap_session *s)
{
    s->say_bye = true;
    s->why = "stopped";
    if (!s->cmd || s->idling ||
        (s->on_line && !s->on_piece)) /* a message on its way is still taken */
        imap_session_bye(s, "stopped", "The server is shutting down");
}

bool imap_session_secure(const struct imap_session *s)
{
    return conn_has_tls(s->conn) || conn_peer(s->conn)->local;
}

void imap_session_login(struct imap_session *s, struct str account, uint64_t id)
{
    s->account = str_dup_z(account);
    s->account_id = id;
    s->state = IMAP_AUTH;
    s->reader.limit = s->conf->command_limit;
    s->reader.swallow_limit = 2 * s->conf->append_limit;
    s->bads = 0;
    timer_free(&s->deadline);
    imap_count_login(IMAP_LOGIN_OK);
    log_info(&s->log, "login", L_Z("account", s->account), L_Z("ip", conn_peer(s->conn)->ip),
             L_Z("listener", s->port->name));
}

void imap_session_on_change(struct store_watch *w)
{
    struct imap_session *s = CONTAINER_OF(w, struct imap_session, watch);
    s->dirty = true;
    if (s->idling)
        imap_session_sync_idle(s);
}

void imap_session_select(struct imap_session *s, struct imap_view *view)
{
    s->view = view;
    s->state = IMAP_SELECTED;
    s->dirty = true; /* what came between reading the mailbox and watching it */
    s->watch = (struct store_watch){.on_change = imap_session_on_change};
    store_watch_add(s->server->conf.store, view->mailbox, &s->watch);
}

/* The view itself may still be read by a job of a connection that is gone: then it stays until the
 * session goes. */
void imap_session_deselect(struct imap_session *s)
{
    if (!s->view)
        return;
    store_watch_del(s->server->conf.store, &s->watch);
    if (s->state == IMAP_SELECTED) /* after LOGOUT it isn't, and the watch must go all the same */
        s->state = IMAP_AUTH;
    s->dirty = false;
    if (!s->job_running) {
        imap_view_free(&s->view);
        if (s->cmd)
            s->cmd->view = NULL;
    }
}

void imap_session_set_idling(struct imap_session *s, bool idling)
{
    if (idling != s->idling)
        imap_count_idle(idling);
    s->idling = idling;
}

static void on_timer(void *ctx)
{
    struct imap_session *s = ctx;
    s->on_timer(s);
}

void imap_session_after(struct imap_session *s, uint64_t ms, void (*fn)(struct imap_session *s))
{
    if (!s->timer)
        s->timer = timer_new(s->server->conf.loop, on_timer, s);
    s->on_timer = fn;
    timer_start(s->timer, ms);
}

static void on_deadline(void *ctx)
{
    imap_session_bye(ctx, "login timeout", "You took too long to log in");
}

static bool admit(struct imap_session *s, struct guard_text *why)
{
    if (!s->admitted)
        s->admitted = guard_connect(s->server->conf.guard, &s->guard, conn_peer(s->conn)->ip, true,
                                    why) == GUARD_OK;
    return s->admitted;
}

static void greet(struct imap_session *s)
{
    struct guard_text why;
    if (!admit(s, &why)) { /* asked here for a client behind a proxy, else at accept */
        imap_session_bye(s, "refused", why.z);
        return;
    }
    struct buf b;
    buf_init(&b, 4096);
    buf_add_z(&b, "* OK [CAPABILITY ");
    imap_put_capabilities(&b, s);
    buf_printf(&b, "] %s posthouse ready\r\n", s->server->hostname);
    conn_write_str(s->conn, buf_str(&b));
    buf_fini(&b);
}

/* No byte came for the time set. A client within IDLE is told that we are there; one that is being
 * answered has to read. */
static void on_timeout(struct imap_session *s)
{
    uint64_t now = clock_mono_ms();
    if (s->idling && s->conf->idle_notify) {
        s->idled_ms += s->conf->idle_notify;
        if (s->idled_ms < s->conf->idle_timeout) {
            if (!s->full)
                imap_session_say(s, STR("* OK Still here\r\n"));
            return;
        }
    } else if (s->cmd && !s->on_line && !s->on_piece &&
               (!s->full || now - s->last_sent_ms < s->conf->idle_timeout)) {
        return;
    }
    imap_session_bye(s, "timeout", "Nothing came from you for too long");
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
    struct imap_session *s = ctx;
    switch (ev) {
    case CONN_OPEN:
        greet(s);
        break;
    case CONN_TLS:
        break;
    case CONN_INPUT:
        imap_session_read(s);
        break;
    case CONN_DRAINED:
        imap_session_resume(s);
        break;
    case CONN_TIMEOUT:
        on_timeout(s);
        break;
    case CONN_EOF:
        s->eof = true;
        if (!s->cmd || conn_input(c).n == 0)
            imap_session_left(s);
        break;
    case CONN_CLOSED:
        imap_session_end(s, conn_error(s->conn)->text);
        break;
    }
}

void imap_session_start(const struct imap_port *port, struct conn *c)
{
    struct imap_session *s = MEM_NEW(struct imap_session);
    struct imap_server *server = port->server;
    s->server = server;
    s->conf = server->conf.imap;
    s->snapshot = snapshot_ref(server->conf.snapshot);
    s->conn = c;
    struct guard_text why;
    if (!conn_peer(c)->proxied)
        admit(s, &why);
    s->refs = 1;
    s->port = port;
    s->state = IMAP_PREAUTH;
    s->log = (struct log_ctx){.module = "imap", .sid = store_new_id(server->conf.store)};
    imap_reader_init(&s->reader, IMAP_PREAUTH_LIMIT, IMAP_PREAUTH_TOTAL);
    list_add(&server->sessions, &s->link);
    server->n_sessions++;
    imap_count_open();
    s->deadline = timer_new(server->conf.loop, on_deadline, s);
    timer_start(s->deadline, s->conf->login_timeout);
    conn_set_handler(c, on_event, s);
    conn_set_timeout(c, s->conf->idle_timeout);
}

const char *imap_session_account(const struct imap_session *s)
{
    return s->account;
}

uint64_t imap_session_account_id(const struct imap_session *s)
{
    return s->account_id;
}

struct store *imap_session_store(const struct imap_session *s)
{
    return s->server->conf.store;
}

const struct imap_conf *imap_session_conf(const struct imap_session *s)
{
    return s->conf;
}
