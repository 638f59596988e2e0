/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Rules that rewrite, global aliases, and fields of addresses. First line: rules, second:
 * exceptions, third: an alias and its targets; the rest: the value of a field. What is written anew
 * differs in addresses only, and rewriting by a rule that leads outside of the rules happens once.
 */
#include "appliance/base/mem.h"
#include "appliance/mail/address_edit.h"
#include "filters/alias.h"
#include "filters/rewrite_rules.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool same(void *ctx, struct address_parts *p)
{
    (void)p;
    ++*(unsigned *)ctx;
    return true; /* changed to what it is */
}

static bool none(void *ctx, struct address_parts *p)
{
    struct str *domain = ctx;
    if (p->domain.p && str_eq(p->domain, *domain))
        return false;
    p->domain = *domain;
    return true;
}

static void edit(struct str value)
{
    struct str domain = STR("rewritten.example");
    struct buf out, again;
    unsigned asked = 0, left = 0;

    buf_init(&out, 64 * (value.n + 64));
    buf_init(&again, 64 * (value.n + 64));
    if (address_list_edit(value, same, &asked, &out) != asked ||
        (asked && !str_eq(buf_str(&out), value)) || (!asked && out.n))
        abort();
    buf_clear(&out);
    unsigned n = address_list_edit(value, none, &domain, &out);
    if (n && address_list_edit(buf_str(&out), none, &domain, &again) != 0)
        abort(); /* what was written isn't read as it was meant */
    buf_clear(&again);
    if (n && address_list_edit(buf_str(&out), same, &left, &again) != asked)
        abort(); /* as many addresses as before */
    buf_fini(&again);
    buf_fini(&out);
}

static void rules(struct str list, struct str except, struct str value)
{
    struct arena *a = arena_new(0);
    struct rewrite *r;
    struct buf out;
    struct str to;
    struct err err;

    buf_init(&out, 1000 * (value.n + 64));
    if (rewrite_new(list, except, &r, &err) == 0) {
        if (rewrite_field(r, STR("origin.example"), value, &out) == 0 && out.n)
            abort();
        (void)rewrite_address(r, a, value, &to);
        rewrite_free(&r);
    }
    buf_fini(&out);
    arena_free(&a);
}

static void aliases(struct str line, struct str value)
{
    struct arena *a = arena_new(0);
    struct alias al = {.targets = ARENA_ARRAY(a, struct str, ALIAS_TARGETS)};
    struct str word, again, *to;
    struct err err;
    size_t n;

    str_cut(line, ' ', &word, &line);
    if (alias_name_parse(a, word, &al.name, &err) == 0) {
        if (alias_name_parse(a, al.name, &again, &err) || !str_eq(again, al.name))
            abort();
        while (line.n && al.n < ALIAS_TARGETS) {
            str_cut(line, ' ', &word, &line);
            if (alias_target_parse(a, word, &al.targets[al.n], &err) == 0)
                al.n++;
        }
        struct alias_set *s = alias_set_new(&al, 1);
        if (alias_set_expand(s, NULL, a, value, &to, &n) == ALIAS_FOUND &&
            (!n || n > ALIAS_RESULTS))
            abort();
        (void)alias_set_expand(s, s, a, al.name, &to, &n);
        alias_set_free(&s);
    }
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = str_of(data, n), said[3];

    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        str_cut(rest, '\n', &said[i], &rest);
    edit(rest);
    rules(said[0], said[1], rest);
    aliases(said[2], rest);
    return 0;
}
