/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/cidr.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include <arpa/inet.h>
#include <stdio.h>

enum { V4_PREFIX = 96, ALL_BITS = 128, SET_MAX = 4096 };

/* 4 or 6, or 0: no address. */
static int parse_ip(const char *ip, uint8_t out[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (inet_pton(AF_INET6, ip, out) == 1)
        return 6;
    memcpy(out, mapped, sizeof mapped);
    return inet_pton(AF_INET, ip, out + 12) == 1 ? 4 : 0;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool host_bits_zero(const struct cidr *c)
{
    for (unsigned i = c->bits; i < ALL_BITS; i++)
        if (c->address[i / 8] & (0x80u >> (i % 8)))
            return false;
    return true;
}

static int parse_one(struct str word, struct cidr *out, struct err *err)
{
    struct str ip, mask;
    char z[INET6_ADDRSTRLEN];
    uint64_t bits;

    bool masked = str_cut(word, '/', &ip, &mask);
    snprintf(z, sizeof z, STR_FMT, STR_ARG(str_take(ip, sizeof z - 1)));
    int version = ip.n < sizeof z ? parse_ip(z, out->address) : 0;
    if (!version)
        return ERR(err, ERR_PROTO, "'" STR_FMT "' is not an IP address or network",
                   STR_ARG(str_take(word, 60)));
    bits = version == 4 ? 32 : ALL_BITS;
    if (masked && str_to_u64(mask, bits, &bits))
        return ERR(err, ERR_PROTO, "'" STR_FMT "': the part after / is a number of bits up to %d",
                   STR_ARG(str_take(word, 60)), version == 4 ? 32 : ALL_BITS);
    out->bits = (unsigned)bits + (version == 4 ? V4_PREFIX : 0);
    if (!host_bits_zero(out))
        return ERR(err, ERR_PROTO, "'" STR_FMT "' has bits set behind its first %u",
                   STR_ARG(str_take(word, 60)), (unsigned)bits);
    return 0;
}

int cidr_set_parse(struct str text, struct cidr_set *out, struct err *err)
{
    struct str word;

    *out = (struct cidr_set){NULL, 0};
    while (settings_list_next(&text, &word)) {
        if (out->n == SET_MAX) {
            cidr_set_free(out);
            return ERR(err, ERR_PROTO, "more than %d networks", SET_MAX);
        }
        out->at = mem_realloc(out->at, (out->n + 1) * sizeof *out->at);
        if (parse_one(word, &out->at[out->n], err)) {
            cidr_set_free(out);
            return -1;
        }
        out->n++;
    }
    return 0;
}

void cidr_set_free(struct cidr_set *s)
{
    mem_free(s->at);
    *s = (struct cidr_set){NULL, 0};
}

bool cidr_set_has(const struct cidr_set *s, const char *ip)
{
    uint8_t address[16];

    if (!s->n || !parse_ip(ip, address))
        return false;
    for (size_t i = 0; i < s->n; i++)
        if (same_bits(s->at[i].address, address, s->at[i].bits))
            return true;
    return false;
}
