/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* How many sessions an account has from one address. A client that leaks connections, or a stolen
 * password, takes no more than its share. */
#include "appliance/base/buf.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "imap/counts.h"
#include "imap/session.h"

enum { KEY_MAX = 2048 };

static void count(struct imap_server *server, const char *key, uintptr_t n)
{
    if (n)
        map_set(server->logins, str_from(key), (void *)n);
    else
        map_del(server->logins, str_from(key));
}

static uintptr_t counted(const struct imap_server *server, const char *key)
{
    return (uintptr_t)map_get(server->logins, str_from(key));
}

bool imap_limit_enter(struct imap_session *s, struct str account)
{
    struct imap_server *server = s->server;
    struct buf key;
    bool room;

    if (!s->conn)
        return true;
    buf_init(&key, KEY_MAX);
    buf_printf(&key, STR_FMT " %s", STR_ARG(account), conn_peer(s->conn)->ip);
    uintptr_t n = counted(server, buf_z(&key));
    room = n < (uintptr_t)s->conf->max_conn_per_user_ip;
    if (room) {
        count(server, buf_z(&key), n + 1);
        s->login_key = str_dup_z(buf_str(&key));
    } else {
        imap_count_login(IMAP_LOGIN_LIMIT);
        log_info(&s->log, "login_over_limit", L_STR("account", account),
                 L_Z("ip", conn_peer(s->conn)->ip), L_UINT("open", n));
    }
    buf_fini(&key);
    return room;
}

void imap_limit_leave(struct imap_session *s)
{
    if (!s->login_key)
        return;
    count(s->server, s->login_key, counted(s->server, s->login_key) - 1);
    mem_free(s->login_key);
    s->login_key = NULL;
}
