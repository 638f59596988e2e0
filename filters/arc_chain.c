/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* arc_chain.c - before the cryptography: which fields there are, and whether they are a chain. */
#include "filters/arc_chain.h"
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"
#include "filters/dkim_canon.h"
#include <stdarg.h>
#include <stdio.h>

enum { KINDS = 3, FIELDS = KINDS * ARC_SETS_MAX };
enum kind { RESULTS, MESSAGE, SEAL, OTHER };

struct part { /* one field */
    enum kind kind;
    struct arc_field field;
    struct dkim_one one; /* MESSAGE, SEAL */
    unsigned instance;
};
struct parts {
    struct part *at;
    size_t n;
};

const char *arc_result_name(enum arc_result r)
{
    static const char *const names[] = {[ARC_NONE] = "none",
                                        [ARC_PASS] = "pass",
                                        [ARC_FAIL] = "fail",
                                        [ARC_TEMPERROR] = "temperror"};

    return names[r];
}

static void fail(struct arc_chain *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct arc_chain *c, const char *fmt, ...)
{
    va_list ap;

    if (c->result == ARC_FAIL) /* the first reason is the one to tell */
        return;
    va_start(ap, fmt);
    (void)vsnprintf(c->why, sizeof c->why, fmt, ap);
    va_end(ap);
    c->result = ARC_FAIL;
}

/* ---- Fields */

static enum kind kind_of(struct str name)
{
    static const struct str names[KINDS] = {[RESULTS] = {"ARC-Authentication-Results", 26},
                                            [MESSAGE] = {"ARC-Message-Signature", 21},
                                            [SEAL] = {"ARC-Seal", 8}};

    for (int i = 0; i < KINDS; i++)
        if (str_ieq(str_trim(name), names[i]))
            return (enum kind)i;
    return OTHER;
}

/* RFC 8617 4.1.1: an AAR begins with "i=1;". */
static unsigned results_instance(struct str value)
{
    struct str tag, number;
    uint64_t i;

    if (!str_cut(value, ';', &tag, &value) || !str_cut(tag, '=', &tag, &number) ||
        !str_ieq(str_trim(tag), STR("i")) || str_to_u64(str_trim(number), ARC_SETS_MAX, &i))
        return 0;
    return (unsigned)i;
}

static void read_part(struct arena *a, struct part *p, const struct header_field *f, int64_t now)
{
    size_t before = f->value.n ? (size_t)(f->value.p - f->raw.p) : 0;

    p->field.raw = arena_str(a, f->raw);
    p->field.value = str_take(str_skip(p->field.raw, before), f->value.n);
    if (p->kind == RESULTS) {
        p->instance = results_instance(p->field.value);
        return;
    }
    p->one.result = dkim_kind_parse(a, p->kind == SEAL ? DKIM_KIND_ARC_SEAL : DKIM_KIND_ARC_MESSAGE,
                                    p->field.value, now, &p->one.sig, p->one.why);
    p->instance = p->one.sig.instance;
}

static void read_parts(struct arc_chain *c, struct str head, int64_t now, struct parts *all)
{
    struct header_field f;

    while (header_next(&head, &f)) {
        enum kind kind = kind_of(f.name);
        if (kind == OTHER)
            continue;
        if (!all->at)
            all->at = ARENA_ARRAY(c->arena, struct part, FIELDS);
        if (all->n == FIELDS || f.raw.n > DKIM_FIELD_MAX) {
            fail(c, all->n == FIELDS ? "too many ARC fields" : "an ARC field is too long");
            return;
        }
        struct part *p = &all->at[all->n++];
        p->kind = kind;
        read_part(c->arena, p, &f, now);
        if (p->instance > c->highest)
            c->highest = p->instance;
    }
}

/* ---- Structure: RFC 8617 5.2, steps 1 to 3 */

static bool is_seal(struct parts all, unsigned instance, const char *cv)
{
    for (size_t i = 0; i < all.n; i++)
        if (all.at[i].kind == SEAL && all.at[i].instance == instance &&
            str_ieq(all.at[i].one.sig.cv, str_from(cv)))
            return true;
    return false;
}

static struct arc_field *place(struct arc_set *s, enum kind kind)
{
    return kind == RESULTS   ? &s->results_field
           : kind == MESSAGE ? &s->message_field
                             : &s->seal_field;
}

static void put(struct arc_chain *c, const struct part *p)
{
    static const char *const names[] = {"ARC-Authentication-Results", "ARC-Message-Signature",
                                        "ARC-Seal"};

    if (p->instance == 0) {
        fail(c, "an %s without its i=: %.60s", names[p->kind], p->one.why);
        return;
    }
    struct arc_set *s = &c->sets[p->instance - 1];
    struct arc_field *to = place(s, p->kind);
    if (to->raw.p)
        fail(c, "two %s with i=%u", names[p->kind], p->instance);
    *to = p->field;
    if (p->kind == MESSAGE)
        s->message = p->one;
    else if (p->kind == SEAL)
        s->seal = p->one;
}

static void check_set(struct arc_chain *c, const struct arc_set *s, unsigned i)
{
    const char *cv = i == 1 ? "none" : "pass";

    if (!s->results_field.raw.p || !s->message_field.raw.p || !s->seal_field.raw.p)
        fail(c, "the set i=%u isn't complete", i);
    else if (s->seal.result != DKIM_NONE)
        fail(c, "the seal of i=%u: %s", i, s->seal.why);
    else if (!str_ieq(s->seal.sig.cv, str_from(cv)))
        fail(c, "the seal of i=%u doesn't say cv=%s", i, cv);
    else if (i == c->highest && s->message.result != DKIM_NONE)
        fail(c, "the signature of i=%u: %s", i, s->message.why);
}

void arc_chain_read(struct arc_chain *c, struct arena *a, struct str head, int64_t now)
{
    struct parts all = {.n = 0};

    *c = (struct arc_chain){.arena = a, .result = ARC_PASS};
    read_parts(c, head, now, &all);
    if (all.n == 0 && c->result == ARC_PASS)
        c->result = ARC_NONE;
    c->ended = is_seal(all, c->highest, "fail");
    if (c->ended)
        fail(c, "i=%u says that the chain is broken", c->highest);
    if (all.n == 0 || c->result == ARC_FAIL)
        return;
    c->sets = ARENA_ARRAY(a, struct arc_set, c->highest);
    for (size_t i = 0; i < all.n && c->result == ARC_PASS; i++)
        put(c, &all.at[i]);
    for (unsigned i = c->highest; i > 0 && c->result == ARC_PASS; i--)
        check_set(c, &c->sets[i - 1], i);
    if (c->result == ARC_PASS)
        c->n = c->highest;
}

size_t arc_chain_open(struct arc_chain *c, struct dkim_one **list)
{
    size_t n = 0;

    /* The newest first, as these are the ones to ask for if only some can be. */
    for (size_t i = c->n; i-- > 0;) {
        if (c->sets[i].seal.result == DKIM_NONE)
            list[n++] = &c->sets[i].seal;
        if (c->sets[i].message.result == DKIM_NONE)
            list[n++] = &c->sets[i].message;
    }
    return n;
}

void arc_chain_text(const struct arc_chain *c, struct buf *out)
{
    for (size_t i = 0; i < c->n; i++) {
        dkim_field_relaxed(STR("ARC-Authentication-Results"), c->sets[i].results_field.value, out);
        dkim_field_relaxed(STR("ARC-Message-Signature"), c->sets[i].message_field.value, out);
        dkim_field_relaxed(STR("ARC-Seal"), c->sets[i].seal_field.value, out);
    }
}
