/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_url.c - reads mysql:// URLs. */
#include "appliance/sql/sql_url.h"
#include <arpa/inet.h>

enum { HOST_MAX = 255, PORT_DEFAULT = 3306 };

const char *const sql_tls_names[] = {
    [SQL_TLS_AUTO] = "auto", [SQL_TLS_REQUIRED] = "required", [SQL_TLS_OFF] = "off", NULL};
static const char *const schemes[] = {"mysql://", "mariadb://"};

static bool cut_scheme(struct str url, struct str *rest_out)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        struct str scheme = str_from(schemes[i]);
        if (str_istarts(url, scheme)) {
            *rest_out = str_skip(url, scheme.n);
            return true;
        }
    }
    return false;
}

bool sql_url_is(struct str text)
{
    struct str rest;

    return cut_scheme(text, &rest);
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A part becomes a C string: what would end it too early, or isn't a byte, is refused. */
static int decode(struct str part, const char *what, struct arena *m, const char **out,
                  struct err *err)
{
    char *z = arena_alloc(m, part.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < part.n; i++) {
        int c = (unsigned char)part.p[i];
        if (c == '%') {
            bool whole = part.n - i > 2;
            int high = whole ? hex(part.p[i + 1]) : -1, low = whole ? hex(part.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return ERR(err, ERR_PROTO, "the database's URL has a broken %% in its %s", what);
            c = high * 16 + low;
            i += 2;
        }
        if (c < ' ' || c == 127)
            return ERR(err, ERR_PROTO, "the database's URL has a control character in its %s",
                       what);
        z[n++] = (char)c;
    }
    *out = z;
    return 0;
}

static int parse_port(struct str text, struct sql_server *out, struct err *err)
{
    uint64_t port;

    if (str_to_u64(text, 65535, &port) != 0 || port == 0)
        return ERR(err, ERR_PROTO,
                   "the port in the database's URL is not a number from 1 to 65535");
    out->port = (unsigned)port;
    return 0;
}

static bool host_is_plain(const char *host)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_:";

    return strspn(host, allowed) == strlen(host) && strlen(host) <= HOST_MAX;
}

/* host, host:port, [address]:port */
static int parse_host(struct str text, struct arena *m, struct sql_server *out, struct err *err)
{
    struct str host, port;
    bool has_port;

    if (text.n && text.p[0] == '[') {
        struct in6_addr ignored;
        if (!str_cut(str_skip(text, 1), ']', &host, &port) || (port.n && port.p[0] != ':'))
            return ERR(err, ERR_PROTO, "the host in the database's URL lacks its ]");
        has_port = port.n > 0;
        port = str_skip(port, 1);
        if (decode(host, "host", m, &out->host, err) != 0)
            return -1;
        if (inet_pton(AF_INET6, out->host, &ignored) != 1)
            return ERR(err, ERR_PROTO, "what stands in [] in the database's URL is no address");
    } else {
        has_port = str_cut(text, ':', &host, &port);
        if (host.n && decode(host, "host", m, &out->host, err) != 0)
            return -1;
        if (out->host && (!host_is_plain(out->host) || strchr(out->host, ':')))
            return ERR(err, ERR_PROTO, "the host in the database's URL is not a name or address");
    }
    return has_port ? parse_port(port, out, err) : 0;
}

static int parse_user(struct str text, struct arena *m, struct sql_server *out, struct err *err)
{
    struct str user, password;

    if (str_cut(text, ':', &user, &password) &&
        decode(password, "password", m, &out->password, err) != 0)
        return -1;
    if (user.n == 0)
        return ERR(err, ERR_PROTO, "the database's URL has no user: mysql://user@host/database");
    return decode(user, "user", m, &out->user, err);
}

static int parse_query(struct str query, struct arena *m, struct sql_server *out, struct err *err)
{
    while (query.n) {
        struct str item, name, value;
        str_cut(query, '&', &item, &query);
        str_cut(item, '=', &name, &value);
        if (!str_eq(name, STR("socket")))
            return ERR(err, ERR_PROTO, "the database's URL knows ?socket=/path, not this: " STR_FMT,
                       STR_ARG(str_take(name, 60)));
        if (decode(value, "socket", m, &out->socket, err) != 0)
            return -1;
        if (out->socket[0] != '/' || strlen(out->socket) > 107) /* sun_path */
            return ERR(err, ERR_PROTO, "the socket in the database's URL is not a path from /");
    }
    return 0;
}

static int parse_parts(struct str rest, struct arena *m, struct sql_server *out, struct err *err)
{
    struct str query, authority, database;
    size_t at;

    str_cut(rest, '?', &rest, &query);
    if (!str_cut(rest, '/', &authority, &database) || database.n == 0)
        return ERR(err, ERR_PROTO,
                   "the database's URL names no database: mysql://user@host/database");
    if (!str_rchr(authority, '@', &at)) /* a password may hold a plain @ */
        return ERR(err, ERR_PROTO, "the database's URL has no user: mysql://user@host/database");
    if (parse_user(str_take(authority, at), m, out, err) != 0 ||
        parse_host(str_skip(authority, at + 1), m, out, err) != 0 ||
        decode(database, "database", m, &out->database, err) != 0 ||
        parse_query(query, m, out, err) != 0)
        return -1;
    if (strchr(out->database, '/'))
        return ERR(err, ERR_PROTO, "the database's name in its URL has a /");
    if (!out->host && !out->socket)
        return ERR(err, ERR_PROTO, "the database's URL has no host and no ?socket=/path");
    return 0;
}

int sql_server_parse(struct str url, struct arena *m, struct sql_server *out, struct err *err)
{
    struct str rest;

    memset(out, 0, sizeof *out);
    if (url.n > SQL_URL_MAX)
        return ERR(err, ERR_PROTO, "the database's URL is too long");
    if (!cut_scheme(url, &rest))
        return ERR(err, ERR_PROTO, "the database's URL is not mysql://user@host/database");
    if (parse_parts(rest, m, out, err) != 0) {
        memset(out, 0, sizeof *out);
        return -1;
    }
    if (out->host && out->port == 0)
        out->port = PORT_DEFAULT;
    return 0;
}

static const char *text_or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

void sql_server_set(struct sql_server *server, const struct sql_server_words *words)
{
    if (!server->password)
        server->password = text_or_null(words->password);
    server->ca = text_or_null(words->ca);
    server->tls = words->tls;
    server->unsafe = words->unsafe;
    server->connect_ms = (unsigned)words->connect_ms;
    server->io_ms = (unsigned)words->io_ms;
}

bool sql_server_is_local(const struct sql_server *server)
{
    const char *host = server->address ? server->address : server->host;
    struct in_addr four;
    struct in6_addr six;

    if (server->socket || !host)
        return true;
    if (inet_pton(AF_INET, host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six);
    return str_ieq(str_from(host), STR("localhost"));
}

bool sql_server_wants_tls(const struct sql_server *s)
{
    return s->tls == SQL_TLS_AUTO ? !sql_server_is_local(s) : s->tls == SQL_TLS_REQUIRED;
}

struct str sql_server_name(const struct sql_server *server, struct arena *m)
{
    if (server->socket)
        return arena_printf(m, "%s@%s/%s", server->user, server->socket, server->database);
    return arena_printf(m, "%s@%s:%u/%s", server->user, server->host, server->port,
                        server->database);
}
