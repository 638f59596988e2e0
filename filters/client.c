/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/client.h"
#include <arpa/inet.h>
#include <stdio.h>

enum { V4_PREFIX = 96, ALL_BITS = 128, V4_NET = V4_PREFIX + 24, V6_NET = 64 };
static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const uint8_t ip[16])
{
    return memcmp(ip, mapped, sizeof mapped) == 0;
}

bool client_parse(const char *ip, uint8_t out[16])
{
    if (inet_pton(AF_INET6, ip, out) == 1)
        return true;
    memcpy(out, mapped, sizeof mapped);
    return inet_pton(AF_INET, ip, out + sizeof mapped) == 1;
}

struct cidr client_mask(const uint8_t ip[16], unsigned bits)
{
    struct cidr net = {.bits = bits};
    memcpy(net.address, ip, bits / 8);
    if (bits % 8)
        net.address[bits / 8] = (uint8_t)(ip[bits / 8] & (0xff00u >> (bits % 8)));
    return net;
}

struct cidr client_host(const uint8_t ip[16])
{
    return client_mask(ip, is_v4(ip) ? ALL_BITS : V6_NET);
}

struct cidr client_network(const uint8_t ip[16])
{
    return client_mask(ip, is_v4(ip) ? V4_NET : V6_NET);
}

bool client_within(const uint8_t ip[16], const struct cidr *net)
{
    struct cidr mine = client_mask(ip, net->bits);
    return memcmp(mine.address, net->address, sizeof mine.address) == 0;
}

struct client_text client_text(const struct cidr *net)
{
    struct client_text out = {""};
    bool v4 = net->bits >= V4_PREFIX && is_v4(net->address);
    char ip[INET6_ADDRSTRLEN] = "";
    if (v4)
        inet_ntop(AF_INET, net->address + V4_PREFIX / 8, ip, sizeof ip);
    else
        inet_ntop(AF_INET6, net->address, ip, sizeof ip);
    if (net->bits == ALL_BITS)
        snprintf(out.z, sizeof out.z, "%s", ip);
    else
        snprintf(out.z, sizeof out.z, "%s/%u", ip, v4 ? net->bits - V4_PREFIX : net->bits);
    return out;
}

int client_net_parse(struct str text, struct cidr *out, struct err *err)
{
    struct cidr_set set;
    size_t at;
    if (str_chr(text, ',', &at) || str_chr(text, ' ', &at))
        return ERR(err, ERR_PROTO, "one address or network, please");
    if (cidr_set_parse(text, &set, err))
        return -1;
    int rc = set.n == 1 ? 0 : ERR(err, ERR_PROTO, "an address or a network is missing");
    if (rc == 0)
        *out = set.at[0];
    cidr_set_free(&set);
    return rc;
}
