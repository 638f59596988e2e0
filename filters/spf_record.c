/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/spf_record.h"
#include "filters/spf_macro.h"
#include <arpa/inet.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool spf_record_is(struct str txt, struct str *terms_out)
{
    const struct str version = STR("v=spf1");

    *terms_out = str_skip(txt, version.n);
    return str_istarts(txt, version) && (terms_out->n == 0 || terms_out->p[0] == ' ');
}

/* ---- Lengths of prefixes. */

/* 12: "0", or digits without a leading zero. */
static bool read_bits(struct str digits, unsigned max, unsigned *out)
{
    uint64_t value;

    if ((digits.n > 1 && digits.p[0] == '0') || str_to_u64(digits, max, &value))
        return false;
    *out = (unsigned)value;
    return true;
}

/* Takes "/digits" off the end, and another '/' before it if `slashes` is 2. */
static bool cut_bits(struct str *s, size_t slashes, struct str *digits_out)
{
    size_t n = s->n;

    while (n && is_digit(s->p[n - 1]))
        n--;
    if (n == s->n || n < slashes || s->p[n - 1] != '/' || (slashes == 2 && s->p[n - 2] != '/'))
        return false;
    *digits_out = str_skip(*s, n);
    s->n = n - slashes;
    return true;
}

/* [ "/" bits4 ] [ "//" bits6 ] */
static bool cut_dual(struct str *s, struct spf_term *out)
{
    struct str digits;

    if (cut_bits(s, 2, &digits) && !read_bits(digits, 128, &out->bits6))
        return false;
    return !cut_bits(s, 1, &digits) || read_bits(digits, 32, &out->bits4);
}

/* ---- Mechanisms. `rest` is what follows the name. */

static bool read_spec(struct str rest, bool required, struct spf_term *out)
{
    if (rest.n == 0)
        return !required;
    out->spec = str_skip(rest, 1);
    return rest.p[0] == ':' && spf_macro_check_domain(out->spec);
}

static bool read_address(struct str rest, int family, unsigned max, struct spf_term *out)
{
    char text[64];
    struct str digits;
    unsigned *bits = family == AF_INET ? &out->bits4 : &out->bits6;

    if (rest.n == 0 || rest.p[0] != ':')
        return false;
    if (cut_bits(&rest, 1, &digits) && !read_bits(digits, max, bits))
        return false;
    rest = str_skip(rest, 1);
    if (rest.n == 0 || rest.n >= sizeof text || memchr(rest.p, '\0', rest.n))
        return false;
    memcpy(text, rest.p, rest.n);
    text[rest.n] = '\0';
    return inet_pton(family, text, out->ip) == 1;
}

static bool read_mechanism(struct str name, struct str rest, struct spf_term *out)
{
    static const struct {
        struct str name;
        enum spf_kind kind;
    } names[] = {{{"all", 3}, SPF_ALL}, {{"include", 7}, SPF_INCLUDE}, {{"a", 1}, SPF_A},
                 {{"mx", 2}, SPF_MX},   {{"ptr", 3}, SPF_PTR},         {{"ip4", 3}, SPF_IP4},
                 {{"ip6", 3}, SPF_IP6}, {{"exists", 6}, SPF_EXISTS}};
    size_t i = 0;

    while (i < sizeof names / sizeof names[0] && !str_ieq(names[i].name, name))
        i++;
    if (i == sizeof names / sizeof names[0])
        return false;
    out->kind = names[i].kind;
    switch (out->kind) {
    case SPF_ALL:
        return rest.n == 0;
    case SPF_A:
    case SPF_MX:
        return cut_dual(&rest, out) && read_spec(rest, false, out);
    case SPF_PTR:
        return read_spec(rest, false, out);
    case SPF_IP4:
        return read_address(rest, AF_INET, 32, out);
    case SPF_IP6:
        return read_address(rest, AF_INET6, 128, out);
    default:
        return read_spec(rest, true, out);
    }
}

/* ---- Modifiers. */

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        bool alpha = c >= 'a' && c <= 'z';
        if (!alpha && (i == 0 || !(is_digit(c) || c == '-' || c == '_' || c == '.')))
            return false;
    }
    return s.n > 0;
}

static bool read_modifier(struct str name, struct str value, struct spf_term *out)
{
    out->spec = value;
    out->kind = str_ieq(name, STR("redirect")) ? SPF_REDIRECT
                : str_ieq(name, STR("exp"))    ? SPF_EXP
                                               : SPF_UNKNOWN;
    if (out->kind == SPF_UNKNOWN)
        return is_name(name) && spf_macro_check(value, true); /* no blanks in a term */
    return spf_macro_check_domain(value);
}

/* ---- Terms. */

static bool read_term(struct str s, struct spf_term *out)
{
    size_t n = 0;
    bool qualified = strchr("+-~?", s.p[0]) && s.p[0];

    out->qualifier = qualified ? s.p[0] : '+';
    s = str_skip(s, qualified);
    while (n < s.n && s.p[n] != ':' && s.p[n] != '/' && s.p[n] != '=')
        n++;
    if (n < s.n && s.p[n] == '=')
        return !qualified && read_modifier(str_take(s, n), str_skip(s, n + 1), out);
    return read_mechanism(str_take(s, n), str_skip(s, n), out);
}

int spf_term_next(struct str *rest, struct spf_term *out)
{
    struct str s = *rest;

    while (s.n && s.p[0] == ' ')
        s = str_skip(s, 1);
    *out = (struct spf_term){.bits4 = 32, .bits6 = 128};
    str_cut(s, ' ', &out->text, rest);
    if (out->text.n == 0)
        return 0;
    return read_term(out->text, out) ? 1 : -1;
}

int spf_record_check(struct str terms, struct spf_record *out, struct str *wrong_out)
{
    struct spf_term t;
    int rc;

    *out = (struct spf_record){.terms = terms};
    while ((rc = spf_term_next(&terms, &t)) == 1) {
        struct str *once = t.kind == SPF_REDIRECT ? &out->redirect
                           : t.kind == SPF_EXP    ? &out->exp
                                                  : NULL;
        if (!once)
            continue;
        if (once->n) { /* 6: each at most once */
            rc = -1;
            break;
        }
        *once = t.spec;
    }
    *wrong_out = t.text;
    return rc;
}
