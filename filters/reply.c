/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* reply.c - the words in which a stage refuses: "550 5.7.1 Text", checked, as a client will parse
 * them. */
#include "filters/private.h"
#include <stdio.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "4.7.1" (RFC 3463 2), of this class. Its length; 0: none. */
static size_t status_length(struct str s, char class)
{
    size_t i = 1;

    if (s.n < 5 || s.p[0] != class)
        return 0;
    for (int part = 0; part < 2; part++) {
        size_t digits = 0;
        if (i >= s.n || s.p[i++] != '.')
            return 0;
        while (i < s.n && is_digit(s.p[i]) && digits < 3)
            i++, digits++;
        if (digits == 0)
            return 0;
    }
    return i == s.n || s.p[i] == ' ' ? i : 0;
}

static bool good_text(struct str s, size_t room)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    return s.n < room;
}

static bool parse(struct decision *d, struct str s, char class)
{
    if (s.n < 5 || s.p[0] != class || s.p[1] > '5' || !is_digit(s.p[1]) || !is_digit(s.p[2]) ||
        s.p[3] != ' ')
        return false;
    unsigned code =
        (unsigned)(s.p[0] - '0') * 100 + (unsigned)(s.p[1] - '0') * 10 + (unsigned)(s.p[2] - '0');
    s = str_skip(s, 4);
    size_t n = status_length(s, class);
    struct str words = str_trim(str_skip(s, n));
    if (!words.n || !good_text(words, sizeof d->text))
        return false;
    d->code = code;
    snprintf(d->status, sizeof d->status, STR_FMT, (int)n, s.p);
    if (!n)
        snprintf(d->status, sizeof d->status, "%c.7.1", class);
    snprintf(d->text, sizeof d->text, STR_FMT, STR_ARG(words));
    return true;
}

void reply_parse(struct decision *d, const char *reply)
{
    bool later = d->verdict == PH_DEFER;

    if (d->verdict < PH_DEFER || (reply && parse(d, str_from(reply), later ? '4' : '5')))
        return;
    d->code = later ? 451 : 550;
    snprintf(d->status, sizeof d->status, later ? "4.7.1" : "5.7.1");
    snprintf(d->text, sizeof d->text,
             later ? "This can't be decided at the moment; try again later (%s)"
                   : "Refused by policy (%s)",
             d->stage);
}
