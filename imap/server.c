/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/server.h"
#include "appliance/base/map.h"
#include "imap/session.h"
#include <stdio.h>
#include <unistd.h>

// clang-format off
const struct ph_setting imap_settings[] = {
    PH_SETTING(TEXT, imap_conf, hostname, 0, "", 0, 0,
        "Name in the greeting. Empty: the system's host name."),
    PH_SETTING(SIZE, imap_conf, command_limit, PH_RELOAD, "256K", 16 << 10, 16 << 20,
        "Largest command, with its literals but without the message of APPEND."),
    PH_SETTING(SIZE, imap_conf, append_limit, PH_RELOAD, "50M", 1 << 10, INT64_C(2) << 30,
        "Largest message that APPEND takes."),
    PH_SETTING(TIME, imap_conf, idle_timeout, PH_RELOAD, "30min", 1000, INT64_C(7) * 24 * 3600 * 1000,
        "A session from which nothing came for so long is ended. RFC 3501 wants 30 minutes at least."),
    PH_SETTING(TIME, imap_conf, idle_notify, PH_RELOAD, "4min", 0, 3600 * 1000,
        "How often a client within IDLE is told that the server is still there, so that routers keep the connection. 0: never."),
    PH_SETTING(TIME, imap_conf, login_timeout, PH_RELOAD, "1min", 1000, 3600 * 1000,
        "A client has to log in within this time."),
    PH_SETTING(TIME, imap_conf, command_timeout, PH_RELOAD, "5min", 1000, 24 * 3600 * 1000,
        "How long a command may take to arrive, from its first octet to its last, however it trickles in; without the message of APPEND."),
    PH_SETTING(TIME, imap_conf, append_timeout, PH_RELOAD, "1h", 1000, 24 * 3600 * 1000,
        "How long the message of APPEND may take to arrive."),
    PH_SETTING(INT, imap_conf, login_attempts, PH_RELOAD, "5", 1, 100,
        "Failed logins after which the connection is ended."),
    PH_SETTING(TIME, imap_conf, login_delay, PH_RELOAD, "1s", 0, 60 * 1000,
        "Pause after the first failed login of a connection; doubles with each further one, up to 16 times."),
    PH_SETTING(INT, imap_conf, max_conn_per_user_ip, PH_RELOAD, "25", 1, 100000,
        "How many connections one account may have at once from one address."),
    PH_SETTING_END
};
// clang-format on

static char *system_name(void)
{
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) || !name[0])
        return str_dup_z(STR("localhost"));
    return str_dup_z(str_from(name));
}

static void on_ban(struct guard_watch *w)
{
    struct imap_server *server = CONTAINER_OF(w, struct imap_server, watch);
    LIST_EACH(&server->sessions, it)
    {
        struct imap_session *s = LIST_ITEM(it, struct imap_session, link);
        if (s->state == IMAP_PREAUTH && guard_is_banned(&s->guard))
            imap_session_bye(s, "banned", "Your address is blocked");
    }
}

struct imap_server *imap_server_new(const struct imap_server_conf *conf)
{
    struct imap_server *s = MEM_NEW(struct imap_server);
    s->conf = *conf;
    s->hostname = conf->imap->hostname && conf->imap->hostname[0]
                      ? str_dup_z(str_from(conf->imap->hostname))
                      : system_name();
    s->logins = map_new();
    s->turns = map_new();
    snapshot_ref(s->conf.snapshot);
    if (conf->tls)
        s->conf.tls = tls_ctx_ref(conf->tls);
    list_init(&s->sessions);
    s->watch.on_ban = on_ban;
    guard_watch_add(s->conf.guard, &s->watch);
    return s;
}

void imap_server_set_conf(struct imap_server *s, const struct imap_conf *conf,
                          struct snapshot *snapshot, struct tls_ctx *tls)
{
    struct snapshot *old = s->conf.snapshot;
    struct tls_ctx *old_tls = s->conf.tls;
    s->conf.imap = conf;
    s->conf.snapshot = snapshot_ref(snapshot);
    s->conf.tls = tls ? tls_ctx_ref(tls) : NULL;
    snapshot_unref(&old);
    tls_ctx_unref(&old_tls);
}

bool imap_admit(void *imap_port, const char *ip, struct listener_farewell *bye)
{
    const struct imap_port *port = imap_port;
    struct guard_text why;
    if (guard_check(port->server->conf.guard, ip, true, &why) == GUARD_OK)
        return true;
    if (!port->implicit_tls)
        bye->n = (size_t)snprintf(bye->text, sizeof bye->text, "* BYE %s\r\n", why.z);
    return false;
}

void imap_on_accept(void *imap_port, struct conn *c)
{
    const struct imap_port *port = imap_port;
    if (port->server->stopping)
        conn_close(&c);
    else
        imap_session_start(port, c);
}

/* A command under way may be within a literal, where no BYE can be said. */
static void end_login(struct imap_session *s)
{
    if (!s->cmd || s->idling)
        imap_session_bye(s, "login revoked", "Your login is no longer valid");
    else
        imap_session_end(s, "login revoked");
}

void imap_server_end_account(struct imap_server *s, struct str account)
{
    LIST_EACH(&s->sessions, it)
    {
        struct imap_session *session = LIST_ITEM(it, struct imap_session, link);
        if (session->account && address_fits(str_from(session->account), account))
            end_login(session);
    }
}

unsigned imap_server_sessions(const struct imap_server *s)
{
    return s->n_sessions;
}

static void on_drained(void *ctx)
{
    struct imap_server *s = ctx;
    LIST_EACH(&s->sessions, it)
    imap_session_bye(LIST_ITEM(it, struct imap_session, link), "stopped",
                     "The server is shutting down");
}

static void on_none_left(void *ctx)
{
    struct imap_server *s = ctx;
    if (s->drain)
        timer_free(&s->drain);
    s->on_stopped(s->stopped_ctx);
}

void imap_server_left(struct imap_server *s)
{
    if (s->stopping && s->n_sessions == 0) {
        s->stopped.fn = on_none_left;
        s->stopped.ctx = s;
        loop_defer(s->conf.loop, &s->stopped);
    }
}

void imap_server_stop(struct imap_server *s, uint64_t drain_ms, void (*on_stopped)(void *ctx),
                      void *ctx)
{
    s->stopping = true;
    s->on_stopped = on_stopped;
    s->stopped_ctx = ctx;
    s->drain = timer_new(s->conf.loop, on_drained, s);
    timer_start(s->drain, drain_ms);
    LIST_EACH(&s->sessions, it)
    imap_session_stop(LIST_ITEM(it, struct imap_session, link));
    imap_server_left(s);
}

void imap_server_free(struct imap_server **sp)
{
    struct imap_server *s = *sp;
    if (!s)
        return;
    CHECK(s->n_sessions == 0);
    guard_watch_del(&s->watch);
    if (s->drain)
        timer_free(&s->drain);
    loop_defer_cancel(&s->stopped);
    if (s->conf.tls)
        tls_ctx_unref(&s->conf.tls);
    snapshot_unref(&s->conf.snapshot);
    CHECK(map_count(s->turns) == 0);
    map_free(&s->turns);
    map_free(&s->logins);
    mem_free(s->hostname);
    mem_free(s);
    *sp = NULL;
}
