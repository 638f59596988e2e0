/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The texts of MTA-STS: policy file and TXT record. Pure. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "smtp/client/sts.h"
#include <inttypes.h>

enum { MAX_AGE_MAX = 31557600, ID_MAX = 32, TEXT_MAX = 65536 };

static const char *const mode_names[] = {
    [STS_NONE] = "none", [STS_TESTING] = "testing", [STS_ENFORCE] = "enforce"};

struct seen { /* RFC 8461 3.2: of a field that stands there twice the first counts */
    bool version, mode, max_age;
};

static int lower_name(struct arena *a, struct str name, struct str *out)
{
    struct buf b;

    buf_init(&b, 256);
    int rc = text_domain(name, &b);
    if (rc == 0)
        *out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return rc;
}

static int take_mx(struct arena *a, struct str value, struct sts_policy *p, struct err *err)
{
    bool wild = str_starts(value, STR("*."));
    struct str name;

    if (p->n_mx == ARRAY_LEN(p->mx))
        return ERR_WHY(err, ERR_PROTO, ERR_WHY_LIMIT, "more than %zu mx", ARRAY_LEN(p->mx));
    if (lower_name(a, str_skip(value, wild ? 2 : 0), &name))
        return ERR(err, ERR_PROTO, "mx is not a host name");
    p->mx[p->n_mx++] = wild ? arena_printf(a, "*." STR_FMT, STR_ARG(name)) : name;
    return 0;
}

static int take_mode(struct str value, struct sts_policy *p, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(mode_names); i++)
        if (str_eq(value, str_from(mode_names[i]))) {
            p->mode = (enum sts_mode)i;
            return 0;
        }
    return ERR(err, ERR_PROTO, "unknown mode");
}

static int take_field(struct arena *a, struct str key, struct str value, struct seen *seen,
                      struct sts_policy *p, struct err *err)
{
    if (str_eq(key, STR("mx")))
        return take_mx(a, value, p, err);
    if (str_eq(key, STR("version")) && !seen->version) {
        seen->version = true;
        return str_eq(value, STR("STSv1")) ? 0 : ERR(err, ERR_PROTO, "unknown version");
    }
    if (str_eq(key, STR("mode")) && !seen->mode) {
        seen->mode = true;
        return take_mode(value, p, err);
    }
    if (str_eq(key, STR("max_age")) && !seen->max_age) {
        seen->max_age = true;
        if (str_to_u64(value, 9999999999, &p->max_age))
            return ERR(err, ERR_PROTO, "max_age is not a number");
        if (p->max_age > MAX_AGE_MAX)
            p->max_age = MAX_AGE_MAX;
    }
    return 0; /* RFC 8461 3.2: fields that aren't known are ignored */
}

int sts_parse(struct arena *a, struct str text, struct sts_policy *out, struct err *err)
{
    struct str line, key, value;
    struct seen seen = {false, false, false};

    memset(out, 0, sizeof *out);
    if (text.n > TEXT_MAX)
        return ERR_WHY(err, ERR_PROTO, ERR_WHY_LIMIT, "longer than %d octets", TEXT_MAX);
    while (text.n) {
        str_cut(text, '\n', &line, &text);
        line = str_trim(line);
        if (!line.n)
            continue;
        if (!str_cut(line, ':', &key, &value))
            return ERR(err, ERR_PROTO, "a line without a colon");
        if (take_field(a, str_trim(key), str_trim(value), &seen, out, err))
            return -1;
    }
    if (!seen.version || !seen.mode || !seen.max_age)
        return ERR(err, ERR_PROTO, "%s is missing",
                   !seen.version ? "version"
                   : !seen.mode  ? "mode"
                                 : "max_age");
    if (out->mode != STS_NONE && !out->n_mx)
        return ERR(err, ERR_PROTO, "mx is missing");
    return 0;
}

void sts_write(const struct sts_policy *p, struct buf *out)
{
    buf_printf(out, "version: STSv1\nmode: %s\n", mode_names[p->mode]);
    for (size_t i = 0; i < p->n_mx; i++)
        buf_printf(out, "mx: " STR_FMT "\n", STR_ARG(p->mx[i]));
    buf_printf(out, "max_age: %" PRIu64 "\n", p->max_age);
}

/* RFC 8461 4.1: "*." stands for one label. */
static bool covers(struct str pattern, struct str mx)
{
    size_t dot;

    if (!str_starts(pattern, STR("*.")))
        return str_ieq(pattern, mx);
    return str_chr(mx, '.', &dot) && dot > 0 && str_ieq(str_skip(pattern, 1), str_skip(mx, dot));
}

bool sts_covers(const struct sts_policy *p, struct str mx)
{
    if (mx.n > 1 && str_ends(mx, STR(".")))
        mx.n--;
    for (size_t i = 0; i < p->n_mx; i++)
        if (covers(p->mx[i], mx))
            return true;
    return false;
}

static bool is_id(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
    }
    return s.n > 0 && s.n <= ID_MAX;
}

/* "v=STSv1" and a semicolon behind it. */
static bool is_record(struct str txt, struct str *fields_out)
{
    struct str version;

    return str_cut(txt, ';', &version, fields_out) && str_starts(txt, STR("v")) &&
           str_eq(str_trim(version), STR("v=STSv1"));
}

bool sts_record_id(const struct str *txt, size_t n, struct str *id_out)
{
    struct str fields, found = STR_NULL, field, key, value;
    size_t records = 0;

    for (size_t i = 0; i < n; i++)
        if (is_record(txt[i], &fields)) {
            found = fields;
            records++;
        }
    if (records != 1)
        return false;
    while (found.n) {
        str_cut(found, ';', &field, &found);
        if (str_cut(str_trim(field), '=', &key, &value) && str_eq(key, STR("id"))) {
            *id_out = value;
            return is_id(value);
        }
    }
    return false;
}
