/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dmarc_record.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_alpha(char c)
{
    c = ascii_lower(c);
    return c >= 'a' && c <= 'z';
}

static struct str trim(struct str s)
{
    while (s.n && is_blank(s.p[0]))
        s = str_skip(s, 1);
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* dmarc-tag of 4.8. False: it isn't one. */
static bool split_tag(struct str tag, struct str *name, struct str *value)
{
    if (!str_cut(tag, '=', name, value))
        return false;
    *name = trim(*name);
    *value = trim(*value);
    for (size_t i = 0; i < name->n; i++)
        if (!is_alpha(name->p[i]))
            return false;
    for (size_t i = 0; i < value->n; i++)
        if (value->p[i] < ' ' || value->p[i] > '~')
            return false;
    return name->n && value->n;
}

/* ---- URIs. */

static bool is_uri(struct str s)
{
    size_t n = 0;

    while (n < s.n &&
           (is_alpha(s.p[n]) || (n && ((s.p[n] >= '0' && s.p[n] <= '9') || strchr("+-.", s.p[n])))))
        n++;
    if (n == 0 || n + 1 >= s.n || s.p[n] != ':')
        return false;
    for (size_t i = 0; i < s.n; i++) /* RFC 3986 2 */
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\"<>\\^`{|}", s.p[i]))
            return false;
    return true;
}

bool dmarc_uri_next(struct str *rest, struct str *uri_out)
{
    struct str one, size;

    while (rest->n) {
        str_cut(*rest, ',', &one, rest);
        str_cut(trim(one), '!', uri_out, &size);
        if (is_uri(*uri_out))
            return true;
    }
    return false;
}

/* ---- Tags. */

struct seen {
    bool p, sp, np, t, wrong; /* wrong: a policy that isn't one */
    bool adkim, aspf, psd, pct, pct_0;
};

static bool read_policy(struct str value, enum dmarc_policy *out)
{
    for (unsigned i = 0; i < DMARC_POLICIES; i++)
        if (str_ieq(value, str_from(dmarc_policy_name(i)))) {
            *out = i;
            return true;
        }
    return false;
}

/* A letter of two: the first is the default. What is neither, is left out. */
static bool read_letter(struct str value, char no, char yes, bool *out)
{
    char c = value.n == 1 ? ascii_lower(value.p[0]) : '\0';

    if (c != no && c != yes)
        return false;
    *out = c == yes;
    return true;
}

static bool read_psd(struct str value, enum dmarc_psd *out)
{
    char c = value.n == 1 ? ascii_lower(value.p[0]) : '\0';

    if (c != 'y' && c != 'n' && c != 'u')
        return false;
    *out = c == 'y' ? DMARC_PSD_YES : c == 'n' ? DMARC_PSD_NO : DMARC_PSD_UNKNOWN;
    return true;
}

static void take_policy(bool *seen, bool *wrong, struct str value, enum dmarc_policy *out)
{
    if (*seen)
        return;
    *seen = true;
    *wrong |= !read_policy(value, out);
}

static void take_once(struct str *out, struct str value)
{
    if (out->n == 0)
        *out = value;
}

/* Of a tag that is there twice the first counts. */
static void take_tag(struct dmarc_record *r, struct seen *s, struct str name, struct str value)
{
    if (str_ieq(name, STR("p"))) {
        take_policy(&s->p, &s->wrong, value, &r->p);
    } else if (str_ieq(name, STR("sp"))) {
        take_policy(&s->sp, &s->wrong, value, &r->sp);
    } else if (str_ieq(name, STR("np"))) {
        take_policy(&s->np, &s->wrong, value, &r->np);
    } else if (str_ieq(name, STR("adkim"))) {
        s->adkim = s->adkim || read_letter(value, 'r', 's', &r->strict_dkim);
    } else if (str_ieq(name, STR("aspf"))) {
        s->aspf = s->aspf || read_letter(value, 'r', 's', &r->strict_spf);
    } else if (str_ieq(name, STR("t"))) {
        s->t = s->t || read_letter(value, 'n', 'y', &r->test);
    } else if (str_ieq(name, STR("psd"))) {
        s->psd = s->psd || read_psd(value, &r->psd);
    } else if (str_ieq(name, STR("pct"))) {
        s->pct_0 |= !s->pct && str_eq(value, STR("0"));
        s->pct = true;
    } else if (str_ieq(name, STR("rua"))) {
        take_once(&r->rua, value);
    } else if (str_ieq(name, STR("ruf"))) {
        take_once(&r->ruf, value);
    } else if (str_ieq(name, STR("fo"))) {
        take_once(&r->fo, value);
    }
}

/* 4.10.1: without a valid p, or with an sp or np that isn't, it is p=none if anybody wants reports;
 * else nothing. */
static void settle(struct dmarc_record *r, const struct seen *s)
{
    struct str rest = r->rua, uri;

    r->has_sp = s->sp;
    r->has_np = s->np;
    r->usable = true;
    if (!s->t)
        r->test = s->pct_0; /* A.6 */
    if (s->p && !s->wrong)
        return;
    r->p = r->sp = r->np = DMARC_NONE;
    r->usable = dmarc_uri_next(&rest, &uri);
}

bool dmarc_record_parse(struct str txt, struct dmarc_record *out)
{
    struct str tag, name, value, rest;
    struct seen seen = {0};

    *out = (struct dmarc_record){0};
    str_cut(txt, ';', &tag, &rest);
    if (tag.n == 0 || ascii_lower(tag.p[0]) != 'v' || !split_tag(tag, &name, &value) ||
        name.n != 1 || !str_eq(value, STR("DMARC1")))
        return false;
    while (rest.n) {
        str_cut(rest, ';', &tag, &rest);
        if (split_tag(tag, &name, &value))
            take_tag(out, &seen, name, value);
    }
    settle(out, &seen);
    return true;
}

enum dmarc_policy dmarc_record_policy(const struct dmarc_record *r, bool below, bool exists)
{
    if (below && !exists && r->has_np)
        return r->np;
    return below && r->has_sp ? r->sp : r->p;
}

const char *dmarc_policy_name(enum dmarc_policy p)
{
    static const char *const names[DMARC_POLICIES] = {"none", "quarantine", "reject"};

    return names[p];
}
