/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/client/route.h"
#include "appliance/base/text.h"
#include "smtp/client/route_address.h"
#include <stdio.h>

static const struct str relay_prefix = {"relay:", 6};
static const struct str any_tls = {"~", 1}; /* no route can have that name */

/* ---- a recipient's domain */
struct target {
    struct str name; /* A-labels in lower case; of a literal: as a site has it, with brackets */
    char ip[ROUTE_IP_MAX];
    bool literal;
};

/* In lower case and A-labels. */
static int plain_name(struct arena *a, struct str text, struct str *out)
{
    struct buf b;

    buf_init(&b, 256);
    int rc = text_domain(text, &b);
    if (rc == 0)
        *out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return rc;
}

static int parse_target(struct arena *a, struct str domain, struct target *out, struct err *err)
{
    if (str_starts(domain, STR("["))) {
        int version = route_literal(domain, out->ip);
        out->literal = true;
        out->name = arena_printf(a, version == 6 ? "[IPv6:%s]" : "[%s]", version ? out->ip : "");
        if (!version)
            return ERR(err, ERR_PERM, "'" STR_FMT "' is not an address literal",
                       STR_ARG(str_take(domain, 80)));
        return 0;
    }
    out->literal = false;
    if (domain.n > 1 && str_ends(domain, STR(".")))
        domain.n--;
    if (plain_name(a, domain, &out->name))
        return ERR(err, ERR_PERM, "'" STR_FMT "' is not a name that a host can have",
                   STR_ARG(str_take(domain, 80)));
    return 0;
}

/* ---- which route */
static bool same_domain(struct arena *a, struct str pattern, struct str name)
{
    struct str plain;

    return plain_name(a, pattern, &plain) == 0 && str_eq(plain, name);
}

static bool domain_fits(struct arena *a, struct str pattern, const struct target *t)
{
    struct str plain;
    char ip[ROUTE_IP_MAX];

    if (str_eq(pattern, STR("*")))
        return true;
    if (t->literal)
        return route_literal(pattern, ip) && strcmp(ip, t->ip) == 0;
    if (!str_starts(pattern, STR(".")))
        return same_domain(a, pattern, t->name);
    if (plain_name(a, str_skip(pattern, 1), &plain))
        return false;
    return str_eq(plain, t->name) || (t->name.n > plain.n && str_ends(t->name, plain) &&
                                      t->name.p[t->name.n - plain.n - 1] == '.');
}

static bool domains_fit(struct arena *a, const struct route_conf *r, const struct target *t)
{
    struct str rest = str_from(r->domains), word;

    while (settings_list_next(&rest, &word))
        if (domain_fits(a, word, t))
            return true;
    return false;
}

static bool sender_fits(struct arena *a, struct str pattern, struct str local, struct str domain)
{
    size_t at;

    if (!str_rchr(pattern, '@', &at) || !same_domain(a, str_skip(pattern, at + 1), domain))
        return false;
    /* RFC 5321 2.4 leaves the case of local parts to their host; nobody has two that differ in it.
     */
    return at == 0 || str_ieq(str_take(pattern, at), local);
}

static bool senders_fit(struct arena *a, const struct route_conf *r, struct str sender)
{
    struct str rest = str_from(r->senders), word, domain;
    size_t at;

    if (!settings_list_next(&rest, &word))
        return true;
    if (!str_rchr(sender, '@', &at) || plain_name(a, str_skip(sender, at + 1), &domain))
        return false;
    rest = str_from(r->senders);
    while (settings_list_next(&rest, &word))
        if (sender_fits(a, word, str_take(sender, at), domain))
            return true;
    return false;
}

/* ---- a way to a named host: of section relay, or of a route */
struct way {
    const char *host, *user, *password, *mechanisms, *route; /* route NULL: section relay */
    uint16_t port;
    enum route_tls tls;
};

static struct way way_of_relay(const struct relay_conf *c)
{
    return (struct way){.host = c->host,
                        .user = c->user,
                        .password = c->password,
                        .mechanisms = c->mechanisms,
                        .port = (uint16_t)c->port,
                        .tls = (enum route_tls)c->tls};
}

static struct way way_of(const struct route_conf *r)
{
    return (struct way){.host = r->host,
                        .user = r->user,
                        .password = r->password,
                        .mechanisms = r->mechanisms,
                        .route = r->name,
                        .port = (uint16_t)r->port,
                        .tls = (enum route_tls)r->tls};
}

/* The i-th of all ways to named hosts; false: no more. */
static bool way_at(const struct relay_conf *c, size_t i, struct way *out)
{
    if (i > c->n_routes)
        return false;
    *out = i == 0 ? way_of_relay(c) : way_of(&c->routes[i - 1]);
    return true;
}

/* As it stands in a site: A-labels, or the address, IPv6 in brackets. */
static struct str host_in_site(struct arena *a, const char *host)
{
    char ip[ROUTE_IP_MAX];
    struct str name;

    switch (route_ip(str_from(host), ip)) {
    case 4:
        return arena_str(a, str_from(ip));
    case 6:
        return arena_printf(a, "[%s]", ip);
    default:
        return plain_name(a, str_from(host), &name) == 0 ? name : arena_str(a, str_from(host));
    }
}

static bool same_host(struct arena *a, const struct way *x, const struct way *y)
{
    return x->port == y->port && y->host[0] &&
           str_eq(host_in_site(a, x->host), host_in_site(a, y->host));
}

static bool same_use(const struct way *x, const struct way *y)
{
    return x->tls == y->tls && strcmp(x->user, y->user) == 0 &&
           strcmp(x->password, y->password) == 0 && strcmp(x->mechanisms, y->mechanisms) == 0;
}

/* The first that names the host needs no name in its site, nor do those that use it as it does. */
static bool needs_name(const struct relay_conf *c, struct arena *a, const struct way *w)
{
    struct way first;

    for (size_t i = 0; way_at(c, i, &first); i++)
        if (same_host(a, w, &first))
            return w->route && !same_use(w, &first);
    return false;
}

static const struct smtp_credentials *credentials(struct arena *a, const struct way *w)
{
    struct smtp_credentials *c;

    if (!w->user[0])
        return NULL;
    c = ARENA_NEW(a, struct smtp_credentials);
    c->user = arena_str(a, str_from(w->user)).p;
    c->password = arena_str(a, str_from(w->password)).p;
    c->mechanisms = arena_str(a, str_from(w->mechanisms)).p;
    return c;
}

static void take_way(const struct relay_conf *c, struct arena *a, const struct way *w,
                     struct route *out)
{
    struct str host = host_in_site(a, w->host);
    bool named = needs_name(c, a, w);

    out->site = arena_printf(a, "relay:" STR_FMT ":%u%s%s", STR_ARG(host), w->port,
                             named ? "/" : "", named ? w->route : "");
    out->mx = false;
    if (str_starts(host, STR("[")))
        host = arena_str(a, str_of(host.p + 1, host.n - 2));
    out->host = host.p;
    out->port = w->port;
    out->tls = w->tls;
    out->credentials = credentials(a, w);
    out->name = w->route ? arena_printf(a, "route %s", w->route).p : "relay";
}

/* ---- by MX, or to an address literal */
static bool literal_allowed(const struct relay_conf *c, const char *ip)
{
    return c->local_hosts || route_scope(ip) == ROUTE_SCOPE_GLOBAL;
}

/* The route by MX that holds for this domain whoever sends; NULL: none. */
static const struct route_conf *mx_route(const struct relay_conf *c, struct arena *a,
                                         const struct target *t)
{
    for (size_t i = 0; i < c->n_routes; i++)
        if (!c->routes[i].host[0] && !c->routes[i].senders[0] && domains_fit(a, &c->routes[i], t))
            return &c->routes[i];
    return NULL;
}

static int tls_of(const struct route_conf *r)
{
    return r ? r->tls : ROUTE_TLS_AUTO;
}

static int take_mx(const struct relay_conf *c, struct arena *a, const struct target *t,
                   const struct route_conf *r, struct route *out, struct err *err)
{
    bool named = r && r->senders[0] && tls_of(r) != tls_of(mx_route(c, a, t));

    if (t->literal && !literal_allowed(c, t->ip))
        return ERR_WHY(err, ERR_PERM, ERR_WHY_DENIED,
                       "no mail is sent to the address " STR_FMT
                       ": it is this host's own or of a private network",
                       STR_ARG(t->name));
    out->site = named ? arena_printf(a, STR_FMT "/%s", STR_ARG(t->name), r->name) : t->name;
    out->mx = !t->literal;
    out->host = t->literal ? arena_str(a, str_from(t->ip)).p : t->name.p;
    out->port = (uint16_t)c->mx_port;
    out->tls = (enum route_tls)tls_of(r);
    out->credentials = NULL;
    out->name = r ? arena_printf(a, "route %s", r->name).p : "mx";
    return 0;
}

int route_choose(const struct relay_conf *conf, struct arena *a, struct str sender,
                 struct str domain, struct route *out, struct err *err)
{
    struct target t;
    struct way w;

    if (parse_target(a, domain, &t, err))
        return -1;
    for (size_t i = 0; i < conf->n_routes; i++) {
        const struct route_conf *r = &conf->routes[i];
        if (!domains_fit(a, r, &t) || !senders_fit(a, r, sender))
            continue;
        if (!r->host[0])
            return take_mx(conf, a, &t, r, out, err);
        w = way_of(r);
        take_way(conf, a, &w, out);
        return 0;
    }
    if (!conf->host[0])
        return take_mx(conf, a, &t, NULL, out, err);
    w = way_of_relay(conf);
    take_way(conf, a, &w, out);
    return 0;
}

/* ---- back from a site */
static int no_such_route(struct str name, struct err *err)
{
    return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND,
                   "there is no route '" STR_FMT "' for it any "
                   "more",
                   STR_ARG(str_take(name, 60)));
}

static int domain_of_site(const struct relay_conf *c, struct arena *a, struct str site,
                          struct route *out, struct err *err)
{
    struct str domain, name;
    struct target t;
    bool named = str_cut(site, '/', &domain, &name);

    if (parse_target(a, domain, &t, err))
        return -1;
    if (!named)
        return take_mx(c, a, &t, mx_route(c, a, &t), out, err);
    if (str_eq(name, any_tls)) {
        if (take_mx(c, a, &t, NULL, out, err))
            return -1;
        out->tls = ROUTE_TLS_ANY;
        out->site = arena_str(a, site);
        return 0;
    }
    for (size_t i = 0; i < c->n_routes; i++) {
        const struct route_conf *r = &c->routes[i];
        if (!r->host[0] && str_eq(name, str_from(r->name)) && domains_fit(a, r, &t))
            return take_mx(c, a, &t, r, out, err);
    }
    return no_such_route(name, err);
}

/* "HOST:PORT/ROUTE" */
static int split_host(struct arena *a, struct str text, struct way *w, struct err *err)
{
    struct str host, port, name;
    char ip[ROUTE_IP_MAX];
    uint64_t number;
    size_t at;

    bool named = str_cut(text, '/', &host, &name);
    if (!str_rchr(host, ':', &at) || at == 0)
        return ERR(err, ERR_PERM, "'" STR_FMT "' is not HOST:PORT", STR_ARG(str_take(text, 80)));
    port = str_skip(host, at + 1);
    host = str_take(host, at);
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_of(host.p + 1, host.n - 2);
    struct str plain;
    if (str_to_u64(port, 65535, &number) || number == 0 ||
        (!route_ip(host, ip) && plain_name(a, host, &plain)))
        return ERR(err, ERR_PERM, "'" STR_FMT "' is not HOST:PORT", STR_ARG(str_take(text, 80)));
    *w = (struct way){.host = arena_str(a, host).p,
                      .user = "",
                      .password = "",
                      .mechanisms = "",
                      .route = named ? arena_str(a, name).p : NULL,
                      .port = (uint16_t)number};
    return 0;
}

int route_of_site(const struct relay_conf *conf, struct arena *a, struct str site,
                  struct route *out, struct err *err)
{
    struct way asked, w;

    if (!str_starts(site, relay_prefix))
        return domain_of_site(conf, a, site, out, err);
    if (split_host(a, str_skip(site, relay_prefix.n), &asked, err))
        return -1;
    for (size_t i = 0; way_at(conf, i, &w); i++) {
        if (!same_host(a, &asked, &w) ||
            (asked.route && (!w.route || strcmp(asked.route, w.route) != 0)))
            continue;
        take_way(conf, a, &w, out);
        out->site = arena_str(a, site);
        return 0;
    }
    if (asked.route)
        return no_such_route(str_from(asked.route), err);
    asked.tls = (enum route_tls)conf->tls;
    take_way(conf, a, &asked, out);
    return 0;
}

struct str route_any_tls_site(struct arena *a, const struct route *r)
{
    return arena_printf(a, "%s/" STR_FMT, r->host, STR_ARG(any_tls));
}

void route_text(const struct route *r, struct buf *out)
{
    const char *open = strchr(r->host, ':') ? "[" : "", *close = *open ? "]" : "";

    if (r->mx)
        buf_printf(out, "mx %s", r->host);
    else
        buf_printf(out, "host %s%s%s:%u", open, r->host, close, r->port);
    if (strcmp(r->name, "mx") != 0)
        buf_printf(out, " (%s)", r->name);
}
