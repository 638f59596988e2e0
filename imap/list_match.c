/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/list_match.h"

struct match {
    struct str pattern, name;
    size_t any_case; /* this many bytes of the name are compared ignoring case */
};

static bool same(const struct match *m, size_t p, size_t n)
{
    char a = m->pattern.p[p], b = m->name.p[n];
    return n < m->any_case ? ascii_lower(a) == ascii_lower(b) : a == b;
}

/* Greedy, with one place to go back to for each kind of wildcard: the last '*' makes all before it
 * settled, and a '%' that met a '/' can't be helped by an earlier '%', which would have to pass the
 * same '/'. */
static bool match(const struct match *m)
{
    const size_t none = SIZE_MAX;
    size_t p = 0, n = 0, star = none, star_n = 0, percent = none, percent_n = 0;
    for (;;) {
        if (p < m->pattern.n && m->pattern.p[p] == '*') {
            star = ++p;
            star_n = n;
            percent = none;
        } else if (p < m->pattern.n && m->pattern.p[p] == '%') {
            percent = ++p;
            percent_n = n;
        } else if (p == m->pattern.n && n == m->name.n) {
            return true;
        } else if (p < m->pattern.n && n < m->name.n && same(m, p, n)) {
            p++;
            n++;
        } else if (percent != none && percent_n < m->name.n && m->name.p[percent_n] != '/') {
            p = percent;
            n = ++percent_n;
        } else if (star != none && star_n < m->name.n) {
            p = star;
            n = ++star_n;
            percent = none;
        } else {
            return false;
        }
    }
}

bool imap_list_match(struct str pattern, struct str name)
{
    struct match m = {pattern, name, 0};
    if (str_istarts(name, STR("INBOX")) && (name.n == 5 || name.p[5] == '/'))
        m.any_case = 5;
    return match(&m);
}
