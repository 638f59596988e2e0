/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_endpoint.c - where a milter listens. */
#include "filters/client.h"
#include "filters/milter_client.h"
#include <stdio.h>

static bool good_host(struct str host)
{
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] <= ' ' || host.p[i] > '~')
            return false;
    return host.n > 0 && host.n <= MILTER_HOST_MAX;
}

/* "host:port", "[v6]:port", "port@host". */
static int parse_inet(struct str rest, struct milter_endpoint *out, struct err *err)
{
    struct str host, port;
    uint64_t n;
    size_t at;
    uint8_t ip[16];

    if (str_chr(rest, '@', &at)) {
        port = str_take(rest, at);
        host = str_skip(rest, at + 1);
    } else if (str_rchr(rest, ':', &at)) {
        host = str_take(rest, at);
        port = str_skip(rest, at + 1);
    } else {
        return ERR(err, ERR_PROTO, "\"%s\" has no port: inet:host:port", out->text);
    }
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_of(host.p + 1, host.n - 2);
    if (str_to_u64(port, 65535, &n) || n == 0)
        return ERR(err, ERR_PROTO, "\"%s\": the port is a number from 1 to 65535", out->text);
    if (!good_host(host))
        return ERR(err, ERR_PROTO, "\"%s\": that is no host", out->text);
    if (str_ieq(host, STR("localhost")))
        host = STR("127.0.0.1");
    snprintf(out->host, sizeof out->host, STR_FMT, STR_ARG(host));
    out->port = (uint16_t)n;
    out->numeric = client_parse(out->host, ip);
    return 0;
}

static int parse_unix(struct str path, struct milter_endpoint *out, struct err *err)
{
    if (!path.n || path.p[0] != '/' || path.n > MILTER_PATH_MAX)
        return ERR(err, ERR_PROTO, "\"%s\": the path begins with / and has up to %d octets",
                   out->text, MILTER_PATH_MAX);
    snprintf(out->path, sizeof out->path, STR_FMT, STR_ARG(path));
    return 0;
}

int milter_endpoint_parse(struct str text, struct milter_endpoint *out, struct err *err)
{
    struct str kind, rest;

    *out = (struct milter_endpoint){.port = 0};
    snprintf(out->text, sizeof out->text, STR_FMT, STR_ARG(text));
    if (str_cut(text, ':', &kind, &rest)) {
        if (str_eq(kind, STR("inet")) || str_eq(kind, STR("inet6")))
            return parse_inet(rest, out, err);
        if (str_eq(kind, STR("unix")) || str_eq(kind, STR("local")))
            return parse_unix(rest, out, err);
    }
    return ERR(err, ERR_PROTO,
               "\"%.200s\" is no place where a milter listens: inet:host:port or unix:/path",
               out->text);
}
