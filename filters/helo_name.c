/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/helo_name.h"
#include "appliance/base/settings.h"
#include "appliance/base/text.h"
#include "filters/client.h"
#include <stdio.h>

enum { IP_SIZE = 64, NAME_LIMIT = 253 };

/* RFC 5321 4.1.3: [192.0.2.7], [IPv6:2001:db8::1]. */
static bool literal(struct str s, uint8_t ip[16])
{
    char text[IP_SIZE];
    size_t colon;

    if (s.n < 2 || s.n >= sizeof text || s.p[0] != '[' || s.p[s.n - 1] != ']')
        return false;
    s = str_of(s.p + 1, s.n - 2);
    bool six = str_istarts(s, STR("IPv6:"));
    if (six)
        s = str_skip(s, 5);
    if (six != str_chr(s, ':', &colon))
        return false;
    snprintf(text, sizeof text, STR_FMT, STR_ARG(s));
    return client_parse(text, ip);
}

static struct str without_dot(struct str s)
{
    return s.n && s.p[s.n - 1] == '.' ? str_take(s, s.n - 1) : s;
}

/* Underscores aren't allowed in host names (RFC 1123 2.1), and are common all the same. */
static bool is_domain(struct str name)
{
    char plain[NAME_LIMIT];
    struct buf out;
    size_t dot, n = 0;

    if (name.n > sizeof plain || !str_rchr(name, '.', &dot))
        return false;
    for (; n < name.n; n++)
        plain[n] = name.p[n] == '_' ? 'x' : name.p[n];
    buf_init(&out, NAME_LIMIT + 1);
    bool good = text_domain(str_of(plain, n), &out) == 0;
    buf_fini(&out);
    /* A last label of digits: an address (RFC 1123 2.1). */
    return good && strspn(name.p + dot + 1, "0123456789") < name.n - dot - 1;
}

enum helo_kind helo_kind(const char *helo, const char *client_ip)
{
    struct str s = str_from(helo);
    uint8_t said[16], is[16];

    if (s.n && s.p[0] == '[')
        return literal(s, said) && client_parse(client_ip, is) && memcmp(said, is, sizeof is) == 0
                   ? HELO_LITERAL_OWN
                   : HELO_LITERAL_OTHER;
    return is_domain(without_dot(s)) ? HELO_QUALIFIED : HELO_UNQUALIFIED;
}

bool helo_is_ours(const char *helo, const char *host, const char *list)
{
    struct str s = without_dot(str_from(helo)), rest = str_from(list), word;
    uint8_t said[16], ours[16];
    char text[IP_SIZE];
    bool address = literal(s, said) || (s.n < sizeof said * 4 && client_parse(helo, said));

    if (host[0] && str_ieq(s, str_from(host)))
        return true;
    while (settings_list_next(&rest, &word)) {
        if (str_ieq(s, word))
            return true;
        snprintf(text, sizeof text, STR_FMT, STR_ARG(word));
        if (address && client_parse(text, ours) && memcmp(said, ours, sizeof ours) == 0)
            return true;
    }
    return false;
}
