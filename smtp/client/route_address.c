/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/client/route_address.h"
#include "appliance/base/mem.h"
#include <arpa/inet.h>

/* The first `bits` of an address are these. IPv4 as its four octets. */
struct net {
    enum route_scope scope;
    unsigned bits;
    uint8_t head[16];
};
// clang-format off
static const struct net nets4[] = {
    {ROUTE_SCOPE_LOCAL, 8, {0}},            /* "this network", RFC 1122 */
    {ROUTE_SCOPE_PRIVATE, 8, {10}},
    {ROUTE_SCOPE_PRIVATE, 10, {100, 64}},   /* carriers' NAT, RFC 6598 */
    {ROUTE_SCOPE_LOCAL, 8, {127}},
    {ROUTE_SCOPE_LOCAL, 16, {169, 254}},    /* link-local, and the metadata of clouds */
    {ROUTE_SCOPE_PRIVATE, 12, {172, 16}},
    {ROUTE_SCOPE_PRIVATE, 16, {192, 168}},
    {ROUTE_SCOPE_LOCAL, 4, {224}},          /* multicast */
    {ROUTE_SCOPE_LOCAL, 4, {240}},          /* reserved, broadcast */
};
static const struct net nets6[] = {
    {ROUTE_SCOPE_LOCAL, 127, {0}},          /* ::, ::1 */
    {ROUTE_SCOPE_PRIVATE, 7, {0xfc}},       /* unique local, RFC 4193 */
    {ROUTE_SCOPE_LOCAL, 10, {0xfe, 0x80}},  /* link-local */
    {ROUTE_SCOPE_PRIVATE, 10, {0xfe, 0xc0}}, /* site-local, RFC 3879 */
    {ROUTE_SCOPE_LOCAL, 8, {0xff}},         /* multicast */
};
// clang-format on

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b}; /* RFC 6052 */
static const uint8_t compatible[12];

/* 4 or 6 octets' worth, or 0. An IPv6 address that stands for an IPv4 one is that one. */
static int parse(const char *ip, uint8_t out[16])
{
    if (inet_pton(AF_INET, ip, out) == 1)
        return 4;
    if (inet_pton(AF_INET6, ip, out) != 1)
        return 0;
    bool v4 = memcmp(out, mapped, sizeof mapped) == 0;
    if (v4)
        memmove(out, out + sizeof mapped, 4);
    return v4 ? 4 : 6;
}

static bool within(const uint8_t *address, const struct net *n)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;

    if (memcmp(address, n->head, whole) != 0)
        return false;
    return rest == 0 || ((address[whole] ^ n->head[whole]) >> (8 - rest)) == 0;
}

static enum route_scope scope_in(const struct net *nets, size_t n, const uint8_t *address)
{
    for (size_t i = 0; i < n; i++)
        if (within(address, &nets[i]))
            return nets[i].scope;
    return ROUTE_SCOPE_GLOBAL;
}

enum route_scope route_scope(const char *ip)
{
    uint8_t a[16];
    int version = parse(ip, a);

    if (version == 0)
        return ROUTE_SCOPE_LOCAL;
    if (version == 4)
        return scope_in(nets4, ARRAY_LEN(nets4), a);
    if (memcmp(a, nat64, sizeof nat64) == 0 ||
        (memcmp(a, compatible, sizeof compatible) == 0 && (a[12] || a[13])))
        return scope_in(nets4, ARRAY_LEN(nets4), a + 12);
    return scope_in(nets6, ARRAY_LEN(nets6), a);
}

bool route_is_loopback(const char *ip)
{
    static const uint8_t one[16] = {[15] = 1};
    uint8_t a[16];
    int version = parse(ip, a);

    return version == 4 ? a[0] == 127 : version == 6 && memcmp(a, one, sizeof one) == 0;
}

int route_ip(struct str text, char out[ROUTE_IP_MAX])
{
    char z[ROUTE_IP_MAX];
    uint8_t a[16];

    if (text.n >= sizeof z || str_chr(text, '\0', NULL))
        return 0;
    memcpy(z, text.p ? text.p : "", text.n);
    z[text.n] = '\0';
    int version = parse(z, a);
    if (version)
        inet_ntop(version == 4 ? AF_INET : AF_INET6, a, out, ROUTE_IP_MAX);
    return version;
}

int route_literal(struct str text, char out[ROUTE_IP_MAX])
{
    static const struct str v6 = {"[IPv6:", 6};

    if (!str_starts(text, STR("[")) || !str_ends(text, STR("]")))
        return 0;
    bool tagged = str_istarts(text, v6);
    struct str ip = str_skip(text, tagged ? v6.n : 1);
    ip.n -= ip.n > 0;
    if (tagged != str_chr(ip, ':', NULL)) /* RFC 5321 4.1.3: IPv6 has its tag */
        return 0;
    return route_ip(ip, out);
}
