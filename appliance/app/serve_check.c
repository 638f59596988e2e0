/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What posthouse refuses to start with. */
#include "appliance/app/serve.h"
#include "appliance/app/strangers.h"
#include "appliance/base/text.h"
#include "appliance/sql/sql_url.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_full_name(const char *name)
{
    struct buf out;

    buf_init(&out, 256);
    bool ok = text_domain(str_from(name), &out) == 0 && strchr(name, '.') &&
              strspn(name, "0123456789.") != strlen(name) &&
              !str_iends(str_from(name), STR(".localdomain")) &&
              !str_iends(str_from(name), STR(".localhost"));
    buf_fini(&out);
    return ok;
}

static void set_name(const char **field, const char *name)
{
    char *old = (char *)(uintptr_t)*field;

    *field = str_dup_z(str_from(name));
    mem_free(old);
}

/* Other hosts refuse mail from a server that greets with a name that isn't one in DNS. */
static int check_hostname(struct config *c, struct err *err)
{
    char system[256] = "";

    if (!c->smtp.hostname[0] && gethostname(system, sizeof system - 1) == 0)
        set_name(&c->smtp.hostname, system);
    if (!c->imap.hostname[0])
        set_name(&c->imap.hostname, c->smtp.hostname);
    if (!is_full_name(c->smtp.hostname))
        return ERR(err, ERR_PERM,
                   "'%.60s' is not the full name of a host: set main { hostname = mail.example.com "
                   "} to the name that DNS has for this one",
                   c->smtp.hostname);
    return 0;
}

/* ---- Whom a database server's certificate is believed by. */

static int check_directory_ca(const struct directory_conf *d, struct err *err)
{
    struct arena *m = arena_new(0);
    struct sql_server server;
    int rc = 0;

    if (d->source == DIRECTORY_FROM_MYSQL) {
        rc = sql_server_parse(str_from(d->url), m, &server, err);
        if (rc == 0) {
            sql_server_set(&server, &(struct sql_server_words){.ca = d->ca, .tls = d->tls});
            rc = database_check_ca(&server, "directory.ca", err);
        }
    }
    arena_free(&m);
    return rc;
}

/* ---- Who is trusted. */

static int check_relay(const struct config *c, struct err *err)
{
    const char *relay = c->relay.enabled ? stranger_in(c->relay.trusted_networks) : NULL,
               *guard = stranger_in(c->guard.trusted);

    if (relay)
        return ERR(err, ERR_PERM,
                   "it would be an open relay: relay.trusted_networks lets %s, a stranger, send to "
                   "anybody without a login; name your own networks only",
                   relay);
    if (guard)
        return ERR(err, ERR_PERM,
                   "guard.trusted frees %s, a stranger, of all limits and bans; name your own "
                   "networks only",
                   guard);
    for (size_t i = 0; i < c->n_ports; i++) {
        const struct port_conf *p = &c->ports[i];
        const char *proxy = p->enabled ? stranger_in(p->proxy_from) : NULL;
        if (proxy)
            return ERR(err, ERR_PERM,
                       "listener \"%s\": its proxy_from lets %s, a stranger, say that it is "
                       "anybody; name your own proxies only",
                       p->name, proxy);
    }
    return 0;
}

/* ---- Ports. */

static bool all_addresses(const char *list)
{
    struct str rest = str_from(list), word;
    bool any = false;

    while (settings_list_next(&rest, &word)) {
        if (str_eq(word, STR("0.0.0.0")) || str_eq(word, STR("::")))
            return true;
        any = true;
    }
    return !any;
}

static bool share_an_address(const char *a, const char *b)
{
    struct str as = str_from(a), bs, one, other;

    if (all_addresses(a) || all_addresses(b))
        return true;
    while (settings_list_next(&as, &one))
        for (bs = str_from(b); settings_list_next(&bs, &other);)
            if (str_ieq(one, other))
                return true;
    return false;
}

static int check_ports(const struct config *c, struct err *err)
{
    size_t open = 0;

    for (size_t i = 0; i < c->n_ports; i++) {
        const struct port_conf *p = &c->ports[i];
        if (!p->enabled)
            continue;
        open++;
        if (p->port && p->port == c->metrics.port &&
            share_an_address(p->address, c->metrics.address))
            return ERR(err, ERR_PERM, "listener \"%s\" and metrics.port both want port %lld",
                       p->name, (long long)p->port);
        for (size_t k = 0; k < i; k++) {
            const struct port_conf *q = &c->ports[k];
            if (q->enabled && p->port && p->port == q->port &&
                share_an_address(p->address, q->address))
                return ERR(err, ERR_PERM, "listeners \"%s\" and \"%s\" both want port %lld",
                           q->name, p->name, (long long)p->port);
        }
    }
    if (!open)
        return ERR(err, ERR_PERM, "every listener is switched off");
    return 0;
}

static int check_programs(const struct config *c, struct err *err)
{
    for (size_t i = 0; i < c->n_programs; i++) {
        const struct exec_program *p = &c->programs[i];
        if (p->argv[0] && access(p->argv[0], F_OK) != 0)
            return ERR(err, ERR_PERM, "program \"%s\": its command %s: %s", p->name, p->argv[0],
                       strerror(errno));
    }
    return 0;
}

int serve_check(struct config *c, struct err *err)
{
    if (c->main.data[0] != '/')
        return ERR(err, ERR_PERM, "main.data: '%.60s' is not an absolute path", c->main.data);
    if (c->main.socket[0] && c->main.socket[0] != '/')
        return ERR(err, ERR_PERM, "main.socket: '%.60s' is not an absolute path", c->main.socket);
    if (database_check_ca(&c->database.server, "database.ca", err) ||
        check_directory_ca(&c->directory, err))
        return -1;
    if (check_ports(c, err) || check_relay(c, err) || check_programs(c, err))
        return -1;
    return check_hostname(c, err);
}

int serve_check_data(const struct config *c, const struct service_user *u, struct err *err)
{
    const char *path = c->main.data;
    struct stat st;

    if (stat(path, &st) != 0 && errno == ENOENT)
        return 0; /* it will be made */
    if (stat(path, &st) != 0)
        return ERR(err, ERR_PERM, "cannot look at the data folder %s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return ERR(err, ERR_PERM, "the data folder %s is not a folder", path);
    if (!datadir_fits(path) && (st.st_uid != u->uid || st.st_mode & S_IRWXO))
        return ERR(
            err, ERR_PERM,
            "main.data: the folder %s holds other things; name one that is posthouse's alone, "
            "/var/lib/posthouse for example",
            path);
    if (st.st_uid != u->uid)
        return ERR(err, ERR_PERM, "the data folder %s belongs to another user; run: chown -R %s %s",
                   path, u->name[0] ? u->name : "the user of posthouse", path);
    if (st.st_mode & S_IRWXO)
        return ERR(err, ERR_PERM, "everybody can look into the data folder %s; run: chmod o= %s",
                   path, path);
    return 0;
}
