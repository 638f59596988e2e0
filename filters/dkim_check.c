/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_check.c - before and after the cryptography: fields, keys, results as text. */
#include "filters/dkim_check.h"
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"
#include <stdarg.h>
#include <stdio.h>

void dkim_one_settle(struct dkim_one *one, enum dkim_result r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(one->why, sizeof one->why, fmt, ap);
    va_end(ap);
    one->result = r;
}

void dkim_check_begin(struct dkim_check *c, struct str head, size_t most, int64_t now)
{
    struct header_field f;
    struct str rest = head;

    c->arena = arena_new(0);
    if (most > DKIM_CHECK_MAX)
        most = DKIM_CHECK_MAX;
    while (header_next(&rest, &f)) {
        if (!str_ieq(str_trim(f.name), STR("DKIM-Signature")))
            continue;
        if (c->n == most) {
            c->ignored++;
            continue;
        }
        struct dkim_one *one = &c->list[c->n++];
        /* The head may go before the check does. */
        one->result = dkim_signature_parse(
            c->arena, arena_str(c->arena, str_take(f.value, DKIM_FIELD_MAX + 1)), now, &one->sig,
            one->why);
        /* RFC 8616 lets U-labels in; the library takes no field with them. */
        if (one->result == DKIM_NONE && one->sig.utf8)
            dkim_one_settle(one, DKIM_NEUTRAL, "it isn't written in ASCII");
    }
}

void dkim_check_fini(struct dkim_check *c)
{
    arena_free(&c->arena);
}

/* RFC 6376 3.6.2.2: of several records which one counts isn't said. One that is a key does; two
 * that are make it unusable. */
static int choose(struct arena *a, struct dkim_one *one, const struct str *records, size_t n)
{
    struct err first = {0};
    size_t keys = 0;

    for (size_t i = 0; i < n; i++) {
        struct dkim_record r;
        struct err err = {0};
        struct str copy = arena_str(a, str_take(records[i], DKIM_RECORD_MAX + 1));
        if (dkim_record_parse(a, copy, &r, &err)) {
            if (first.kind == ERR_NONE)
                first = err;
            continue;
        }
        one->record = r;
        keys++;
    }
    if (keys == 0)
        dkim_one_settle(one, DKIM_PERMERROR, "key record: %.90s", n ? first.text : "there is none");
    else if (keys > 1)
        dkim_one_settle(one, DKIM_PERMERROR, "there are several key records");
    return keys == 1 ? 0 : -1;
}

void dkim_one_key(struct arena *a, struct dkim_one *one, const struct str *records, size_t n)
{
    const struct dkim_record *r = &one->record;

    if (one->result != DKIM_NONE || choose(a, one, records, n))
        return;
    if (!r->key.n)
        dkim_one_settle(one, DKIM_PERMERROR, "its key was revoked");
    else if (r->type != one->sig.type)
        dkim_one_settle(one, DKIM_PERMERROR, "its key is of another type");
    else if (!r->sha256)
        dkim_one_settle(one, DKIM_PERMERROR, "its key isn't for SHA-256");
    else if (!r->email)
        dkim_one_settle(one, DKIM_PERMERROR, "its key isn't for mail");
    else if (r->strict && one->sig.subdomain)
        dkim_one_settle(one, DKIM_PERMERROR, "its key isn't for subdomains");
}

void dkim_check_key(struct dkim_check *c, struct dkim_one *one, const struct str *records, size_t n)
{
    dkim_one_key(c->arena, one, records, n);
}

bool dkim_check_open(const struct dkim_check *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].result == DKIM_NONE)
            return true;
    return false;
}

enum dkim_result dkim_check_result(const struct dkim_check *c)
{
    enum dkim_result best = DKIM_NONE;

    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].result < best)
            best = c->list[i].result;
    return best;
}

void dkim_word_write(struct buf *out, struct str s)
{
    buf_add_char(out, ' ');
    if (!s.n)
        buf_add_char(out, '-');
    for (size_t i = 0; i < s.n && i < 255; i++)
        buf_add_char(out, s.p[i] <= ' ' || s.p[i] == ';' || s.p[i] == 0x7f ? '?' : s.p[i]);
}

int dkim_one_write(const struct dkim_one *one, struct buf *out)
{
    const struct dkim_signature *s = &one->sig;

    buf_add_z(out, dkim_result_name(one->result));
    dkim_word_write(out, s->domain);
    dkim_word_write(out, s->selector);
    dkim_word_write(out, s->algorithm);
    dkim_word_write(out, s->identity);
    dkim_word_write(out, s->mark);
    buf_printf(out, one->bits ? " %u" : " -", one->bits);
    for (const char *z = one->why; *z; z++) {
        if (z == one->why)
            buf_add_char(out, ' ');
        buf_add_char(out, *z == ';' || (unsigned char)*z < ' ' ? ',' : *z);
    }
    return buf_ok(out) ? 0 : -1;
}
