/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/client_kind.h"
#include "appliance/base/str.h"
#include "filters/client.h"
#include <stdio.h>

enum { NAME_LIMIT = 253, LABEL_LIMIT = 63, V4_AT = 12 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

bool client_name_plain(const char *name)
{
    size_t label = 0, n = 0;

    for (; name[n]; n++) {
        char c = name[n];
        if (n == NAME_LIMIT || (c == '.' ? label == 0 : label == LABEL_LIMIT))
            return false;
        if (!is_letter(c) && !is_digit(c) && c != '-' && c != '_' && c != '.')
            return false;
        label = c == '.' ? 0 : label + 1;
    }
    return label > 0;
}

/* ---- Words. */

static bool is_word(struct str s)
{
    static const char *const words[] = {"adsl",    "broadband", "cable", "dhcp", "dial",  "dialin",
                                        "dialup",  "dsl",       "dyn",   "ftth", "pool",  "ppp",
                                        "dynamic", "pppoe",     "vdsl",  "xdsl", "dynip", "wimax"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (str_ieq(s, str_from(words[i])))
            return true;
    return false;
}

static bool has_word(struct str name)
{
    for (size_t i = 0; i < name.n;) {
        size_t from = i;
        while (i < name.n && is_letter(name.p[i]))
            i++;
        if (i > from && is_word(str_of(name.p + from, i - from)))
            return true;
        i += i == from;
    }
    return false;
}

/* ---- The address. */

/* All four octets are among the numbers in it, in whatever order. */
static bool has_numbers(struct str name, const uint8_t ip[4])
{
    unsigned found = 0;

    for (size_t i = 0; i < name.n;) {
        unsigned value = 0, digits = 0;
        for (; i < name.n && is_digit(name.p[i]) && digits < 4; i++, digits++)
            value = value * 10 + (unsigned)(name.p[i] - '0');
        for (unsigned b = 0; digits && b < 4; b++)
            if (!(found & 1u << b) && ip[b] == value) {
                found |= 1u << b;
                break;
            }
        i += digits == 0;
    }
    return found == 15;
}

/* The hexadecimal or padded digits of it in one piece, '-' and '.' not counted. */
static bool has_digits(struct str name, const char *digits)
{
    char joined[NAME_LIMIT + 1];
    size_t n = 0, at;

    for (size_t i = 0; i < name.n && n < NAME_LIMIT; i++)
        if (name.p[i] != '-' && name.p[i] != '.')
            joined[n++] = ascii_lower(name.p[i]);
    return str_find(str_of(joined, n), str_from(digits), &at);
}

bool client_name_generic(const char *name_z, const char *ip_text)
{
    struct str name = str_from(name_z);
    char digits[16];
    uint8_t ip[16];

    if (has_word(name))
        return true;
    if (!client_parse(ip_text, ip))
        return false;
    const uint8_t *b = ip + V4_AT; /* of IPv6: the end, which is what tells hosts apart */
    snprintf(digits, sizeof digits, "%02x%02x%02x%02x", b[0], b[1], b[2], b[3]);
    if (has_digits(name, digits))
        return (b[0] | b[1] | b[2]) != 0; /* 0000000n may be anything */
    if (strchr(ip_text, ':'))
        return false;
    snprintf(digits, sizeof digits, "%03u%03u%03u%03u", b[0], b[1], b[2], b[3]);
    return has_numbers(name, b) || has_digits(name, digits);
}
