/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/import_imap.h"
#include "appliance/base/cidr.h"
#include "appliance/base/text.h"
#include <arpa/inet.h>
#include <netdb.h>

enum { URL_MAX = 1024 };

static int percent_decode(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] != '%') {
            buf_add_char(out, in.p[i]);
            continue;
        }
        if (text_hex_decode(str_take(str_skip(in, i + 1), 2), out) != 0 || in.n - i < 3)
            return -1;
        i += 2;
    }
    return out->n && memchr(out->p, '\0', out->n) ? -1 : 0;
}

/* "host", "host:port", "[2001:db8::1]:port" */
static int host_port(struct import_imap *j, struct str s)
{
    struct str host, port = STR_NULL, rest;
    uint64_t n = j->implicit ? 993 : 143;

    if (str_starts(s, STR("["))) {
        if (!str_cut(str_skip(s, 1), ']', &host, &rest) || (rest.n && !str_starts(rest, STR(":"))))
            return -1;
        port = rest;
    } else {
        size_t at;
        bool has = str_chr(s, ':', &at);
        host = has ? str_take(s, at) : s;
        port = has ? str_skip(s, at) : STR_NULL;
    }
    if (!host.n || (port.n && (str_to_u64(str_skip(port, 1), 65535, &n) != 0 || n == 0)))
        return -1;
    j->host = arena_str(j->mem, host).p;
    j->port = (uint16_t)n;
    return 0;
}

int import_imap_url(struct import_imap *j, const char *url, struct err *err)
{
    struct str s = str_from(url), user;
    struct buf decoded;
    size_t at;
    int rc = 0;

    j->implicit = str_istarts(s, STR("imaps://"));
    if (s.n > URL_MAX || (!j->implicit && !str_istarts(s, STR("imap://"))))
        return ERR(err, ERR_PROTO, "say where from: imap://USER@HOST or imaps://USER@HOST");
    s = str_skip(s, j->implicit ? 8 : 7);
    if (str_ends(s, STR("/")))
        s.n--;
    if (str_rchr(s, '@', &at)) {
        user = str_take(s, at);
        s = str_skip(s, at + 1);
        buf_init(&decoded, URL_MAX);
        rc = percent_decode(user, &decoded);
        if (str_chr(user, ':', &at))
            rc =
                ERR(err, ERR_PROTO, "no password in the URL, where others see it: --password-file");
        else if (rc != 0 || user.n == 0)
            rc = ERR(err, ERR_PROTO, "the user of the URL can't be read");
        j->user = arena_str(j->mem, buf_str(&decoded)).p;
        buf_fini(&decoded);
    }
    if (rc != 0)
        return -1;
    if (host_port(j, s) != 0 || memchr(s.p, '/', s.n))
        return ERR(err, ERR_PROTO, "the host of the URL can't be read");
    return 0;
}

static bool is_loopback(const char *ip)
{
    return strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0;
}

/* The system's resolver, as for any command of who typed it (hosts file, search domains): the
 * server's own serves mail. */
int import_imap_resolve(struct import_imap *j, struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(j->host, NULL, &hints, &list);

    if (rc == EAI_ADDRFAMILY || rc == EAI_NONAME || rc == EAI_BADFLAGS)
        rc = getaddrinfo(j->host, NULL, &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &list);
    if (rc != 0)
        return ERR(err, rc == EAI_NONAME ? ERR_PERM : ERR_TEMP, "%s: %s", j->host,
                   gai_strerror(rc));
    j->local = true;
    for (struct addrinfo *a = list; a && j->n_ips < IMPORT_IMAP_ADDRESSES; a = a->ai_next) {
        char *ip = j->ips[j->n_ips];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, ip, sizeof j->ips[0], NULL, 0, NI_NUMERICHOST) !=
            0)
            continue;
        j->local = j->local && is_loopback(ip);
        j->ip_list[j->n_ips++] = ip;
    }
    freeaddrinfo(list);
    return j->n_ips ? 0 : ERR(err, ERR_PERM, "%s has no address", j->host);
}
