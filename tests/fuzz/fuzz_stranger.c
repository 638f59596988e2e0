/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What strangers say of themselves and what the DNS says of them: HELO, names of hosts, answers of
 * DNS lists, and lists as the administrator writes them. First line: the client's address; second:
 * the HELO name; the rest: lists. */
#include "appliance/base/mem.h"
#include "filters/client_kind.h"
#include "filters/dnslist_rules.h"
#include "filters/helo_name.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *text(struct str s)
{
    char *z = mem_alloc(s.n + 1); /* exactly as long as it is */
    for (size_t i = 0; i < s.n; i++)
        z[i] = s.p[i] ? s.p[i] : ' ';
    return z;
}

static void check_helo(const char *helo, const char *ip)
{
    enum helo_kind kind = helo_kind(helo, ip);

    CHECK((helo[0] == '[') == (kind == HELO_LITERAL_OWN || kind == HELO_LITERAL_OTHER));
    CHECK(kind != HELO_QUALIFIED || strchr(helo, '.'));
    helo_is_ours(helo, "mx.example.org", "localhost, 127.0.0.1, ::1");
    CHECK(!helo[0] || strchr(helo, ',') || helo_is_ours(helo, helo, "") || strchr(helo, '.'));
    client_name_generic(helo, ip);
    if (!client_name_plain(helo))
        return;
    CHECK(strlen(helo) < DNSLIST_NAME && helo[0] != '.' && !strpbrk(helo, " \r\n\\\"()<>,;"));
}

static void check_answer(const char *ip)
{
    uint8_t answer[4];
    char name[400];

    if (dnslist_kind(ip, answer) != DNSLIST_FOREIGN)
        CHECK(answer[0] == 127);
    if (dnslist_address_name(ip, "bl.example", name, sizeof name))
        CHECK(strlen(name) < DNSLIST_NAME && strstr(name, ".bl.example"));
}

static void check_lists(const char *lists)
{
    static struct dnslist_zone zones[DNSLIST_ZONES];
    struct err err = {0};
    size_t n = 0;

    if (dnslist_parse(lists, lists, zones, &n, &err)) {
        CHECK(err.text[0]);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        CHECK(zones[i].n_rules > 0 && zones[i].n_rules <= DNSLIST_RULES);
        const struct dnslist_rule *r = &zones[i].rules[0];
        CHECK(r->weight != 0 && dnslist_weight(&zones[i], r->low) != 0);
        CHECK(abs(dnslist_weight(&zones[i], r->high)) >= abs(r->weight));
        CHECK(strlen(dnslist_points(r->weight).z) < sizeof(struct dnslist_points) - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_of(data, size), ip, helo;

    str_cut(rest, '\n', &ip, &rest);
    str_cut(rest, '\n', &helo, &rest);
    char *ip_z = text(ip), *helo_z = text(helo), *lists = text(rest);
    check_helo(helo_z, ip_z);
    check_answer(ip_z);
    check_lists(lists);
    mem_free(ip_z);
    mem_free(helo_z);
    mem_free(lists);
    return 0;
}
