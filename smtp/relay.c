/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* relay.c - who may send mail to other hosts through this one, whether a way leads there, and
 * addresses without a domain on the local socket. */
#include "appliance/base/mem.h"
#include "smtp/client/route.h"
#include "smtp/commands.h"

enum { ROUTE_TEXT_MAX = 1024 };

static bool relays(const struct smtp_session *s)
{
    return s->relay && s->relay->enabled;
}

bool smtp_is_known(const struct smtp_session *s)
{
    return s->account || s->port->role == SMTP_LOCAL ||
           (relays(s) && cidr_set_has(&s->relay->trusted, s->ip));
}

bool smtp_may_relay(const struct smtp_session *s)
{
    return smtp_is_known(s) || (s->port->role == SMTP_OPEN && s->server->conf.capture_account);
}

bool smtp_can_leave(const struct smtp_session *s)
{
    return s->server->conf.capture_account || relays(s);
}

/* Where reports can't leave they would only reach our own senders. */
bool smtp_offers_dsn(const struct smtp_session *s)
{
    return smtp_can_leave(s);
}

static int choose(struct smtp_session *s, struct str address, struct route *out, struct err *err)
{
    struct str local, domain;
    address_split(address, &local, &domain);
    return route_choose(s->relay, s->tx.arena, s->tx.sender, domain, out, err);
}

bool smtp_has_route(struct smtp_session *s, struct str address, struct err *why)
{
    struct route route;
    return s->server->conf.capture_account || choose(s, address, &route, why) == 0;
}

struct str smtp_route_text(struct smtp_session *s, struct str address)
{
    struct route route;
    struct err err = {0};
    struct buf text;
    buf_init(&text, ROUTE_TEXT_MAX);
    if (choose(s, address, &route, &err))
        buf_printf(&text, "none: %s", err.text);
    else
        route_text(&route, &text);
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f)
            text.p[i] = '?';
    struct str kept = arena_str(s->tx.arena, buf_str(&text));
    buf_fini(&text);
    return kept;
}

/* The '>' that ends the path beginning at '<', or a '@' before it: quoted ones don't count. */
static bool needs_domain(struct str path, size_t *end_out)
{
    bool quoted = false;
    for (size_t i = 1; i < path.n; i++) {
        char c = path.p[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && c == '@')
            return false;
        else if (!quoted && c == '>') {
            *end_out = i;
            return i > 1 && !str_ieq(str_of(path.p + 1, i - 1), STR("postmaster"));
        }
    }
    return false;
}

struct str smtp_qualify(struct smtp_session *s, struct str args)
{
    size_t begin, end;
    if (s->port->role != SMTP_LOCAL || !str_chr(args, '<', &begin) ||
        !needs_domain(str_skip(args, begin), &end))
        return args;
    end += begin;
    return arena_printf(s->command, STR_FMT "@%s" STR_FMT, STR_ARG(str_take(args, end)),
                        s->server->origin, STR_ARG(str_skip(args, end)));
}
