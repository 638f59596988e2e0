/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/io/proxy.h"
#include "appliance/base/mem.h"
#include <arpa/inet.h>

enum { V1_MAX = 107, V2_HEAD = 16, V2_IPV4 = 12, V2_IPV6 = 36 };

static const char v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";
#define V2_SIGNATURE ((struct str){v2_signature, sizeof v2_signature - 1})

static enum proxy_result bad(struct err *err, const char *why)
{
    err_set(err, ERR_PROTO, ERR_WHY_OTHER, "PROXY header: %s", why);
    return PROXY_BAD;
}

/* One of the two begins like the other, as far as there is anything. */
static bool may_become(struct str in, struct str what)
{
    size_t n = in.n < what.n ? in.n : what.n;

    return memcmp(in.p, what.p, n) == 0;
}

/* An address in the form that inet_ntop gives, v4-mapped ones as v4. */
static bool set_ip(int family, const void *address, struct proxy_client *out)
{
    const unsigned char *a = address;

    if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)address)) {
        family = AF_INET;
        a += 12;
    }
    out->v6 = family == AF_INET6;
    return inet_ntop(family, a, out->ip, sizeof out->ip) != NULL;
}

/* ---- version 1: "PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n" */
static bool parse_ip(struct str word, int family, unsigned char out[16])
{
    char z[INET6_ADDRSTRLEN];

    if (word.n == 0 || word.n >= sizeof z)
        return false;
    memcpy(z, word.p, word.n);
    z[word.n] = '\0';
    return strlen(z) == word.n && inet_pton(family, z, out) == 1;
}

static bool parse_port(struct str word, uint16_t *out)
{
    uint64_t v;

    if (str_to_u64(word, 65535, &v) || (word.n > 1 && word.p[0] == '0'))
        return false;
    *out = (uint16_t)v;
    return true;
}

static bool parse_words(struct str rest, int family, struct proxy_client *out)
{
    struct in6_addr client, server;
    struct str word[4];
    uint16_t any;

    for (size_t i = 0; i < ARRAY_LEN(word); i++)
        if (str_cut(rest, ' ', &word[i], &rest) != (i < 3))
            return false;
    out->known = true;
    return parse_ip(word[0], family, client.s6_addr) && parse_ip(word[1], family, server.s6_addr) &&
           parse_port(word[2], &out->port) && parse_port(word[3], &any) &&
           set_ip(family, &client, out);
}

static enum proxy_result parse_v1(struct str in, struct proxy_client *out, size_t *used,
                                  struct err *err)
{
    struct str line = str_take(in, V1_MAX);
    size_t end;

    if (!str_find(line, STR("\r\n"), &end))
        return in.n < V1_MAX ? PROXY_MORE : bad(err, "the line is too long");
    *used = end + 2;
    line = str_skip(str_take(line, end), 6);
    if (str_eq(line, STR("UNKNOWN")) || str_starts(line, STR("UNKNOWN ")))
        return PROXY_OK;
    if (str_starts(line, STR("TCP4 ")) && parse_words(str_skip(line, 5), AF_INET, out))
        return PROXY_OK;
    if (str_starts(line, STR("TCP6 ")) && parse_words(str_skip(line, 5), AF_INET6, out))
        return PROXY_OK;
    return bad(err, "its line can't be understood");
}

/* ---- version 2, binary */
static size_t number16(const char *p)
{
    return (size_t)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

static enum proxy_result take_v2(const char *head, struct str body, struct proxy_client *out,
                                 struct err *err)
{
    enum { LOCAL = 0x20, PROXY = 0x21, TCP4 = 0x11, TCP6 = 0x21 };
    unsigned char command = (unsigned char)head[12], family = (unsigned char)head[13];
    struct in6_addr address;

    if (command == LOCAL)
        return PROXY_OK;
    if (command != PROXY)
        return bad(err, "unknown version or command");
    if (family != TCP4 && family != TCP6)
        return family == 0 ? PROXY_OK : bad(err, "the client's connection is not TCP");
    size_t n = family == TCP4 ? 4 : 16;
    if (body.n < (family == TCP4 ? V2_IPV4 : V2_IPV6))
        return bad(err, "it is too short for its addresses");
    memcpy(&address, body.p, n);
    out->port = (uint16_t)number16(body.p + 2 * n);
    out->known = set_ip(family == TCP4 ? AF_INET : AF_INET6, &address, out);
    return PROXY_OK;
}

static enum proxy_result parse_v2(struct str in, struct proxy_client *out, size_t *used,
                                  struct err *err)
{
    if (in.n < V2_HEAD)
        return PROXY_MORE;
    size_t n = number16(in.p + 14);
    if (V2_HEAD + n > PROXY_HEADER_MAX)
        return bad(err, "it is too long");
    if (in.n < V2_HEAD + n)
        return PROXY_MORE;
    *used = V2_HEAD + n;
    return take_v2(in.p, str_take(str_skip(in, V2_HEAD), n), out, err);
}

enum proxy_result proxy_parse(struct str in, struct proxy_client *out, size_t *used,
                              struct err *err)
{
    *out = (struct proxy_client){.known = false};
    *used = 0;
    if (in.n == 0)
        return PROXY_MORE;
    if (may_become(in, STR("PROXY ")))
        return in.n < 6 ? PROXY_MORE : parse_v1(in, out, used, err);
    if (may_become(in, V2_SIGNATURE))
        return in.n < V2_SIGNATURE.n ? PROXY_MORE : parse_v2(in, out, used, err);
    return bad(err, "a trusted proxy began without it");
}
