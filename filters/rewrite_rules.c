/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/rewrite_rules.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "appliance/mail/address_edit.h"

enum { NAME_MAX_ = 600 };

struct rewrite {
    struct arena *arena;
    struct map *rules, *except; /* "a@b", "b", ".b" -> struct rule */
};
struct rule {
    struct str local, domain; /* local .n == 0: it is kept */
};

/* ---- Words */

static bool fold(struct arena *a, struct str local, struct str domain, struct str *out)
{
    struct address_path path = {.local = local, .domain = domain};
    struct buf whole, folded;
    struct err err;

    buf_init(&whole, NAME_MAX_);
    buf_init(&folded, NAME_MAX_);
    bool ok = address_path_format(&path, &whole) == 0 && buf_ok(&whole) &&
              address_fold(buf_str(&whole), &folded, &err) == 0 && buf_ok(&folded);
    if (ok)
        *out = arena_str(a, buf_str(&folded));
    buf_fini(&whole);
    buf_fini(&folded);
    return ok;
}

static bool fold_domain(struct arena *a, struct str word, struct str *out)
{
    struct buf b;

    buf_init(&b, NAME_MAX_);
    bool ok = text_domain(word, &b) == 0 && buf_ok(&b);
    if (ok)
        *out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return ok;
}

static bool parse_path(struct arena *a, struct str word, struct address_path *out)
{
    struct str rest;
    struct err err;

    return address_path_parse(a, arena_printf(a, "<" STR_FMT ">", STR_ARG(word)), out, &rest,
                              &err) == 0 &&
           rest.n == 0 && out->domain.n && out->local.n;
}

/* The key of "a@b", "b", ".b". */
static bool parse_from(struct arena *a, struct str word, struct str *key)
{
    struct address_path path;
    struct str domain;
    size_t at;

    if (str_rchr(word, '@', &at))
        return parse_path(a, word, &path) && fold(a, path.local, path.domain, key);
    if (!str_starts(word, STR(".")))
        return fold_domain(a, word, key);
    if (!fold_domain(a, str_skip(word, 1), &domain))
        return false;
    *key = arena_printf(a, "." STR_FMT, STR_ARG(domain));
    return true;
}

/* An address leads to an address, a domain to a domain. */
static bool parse_to(struct arena *a, struct str word, bool address, struct rule *out)
{
    struct address_path path;

    if (!address)
        return fold_domain(a, word, &out->domain);
    if (!parse_path(a, word, &path))
        return false;
    out->local = path.local;
    out->domain = path.domain;
    return true;
}

static int add_rule(struct rewrite *r, struct str word, struct err *err)
{
    static const struct str arrow = {"->", 2};
    struct rule *rule = ARENA_NEW(r->arena, struct rule);
    struct str key;
    size_t at = 0, ignored;

    while (at < word.n && !str_starts(str_skip(word, at), arrow))
        at++;
    struct str from = str_trim(str_take(word, at)), to = str_trim(str_skip(word, at + arrow.n));
    if (at < word.n && parse_from(r->arena, from, &key) &&
        parse_to(r->arena, to, str_chr(from, '@', &ignored), rule)) {
        map_set(r->rules, key, rule);
        return 0;
    }
    return ERR(err, ERR_PROTO,
               "'" STR_FMT "' is none of: old.example->new.example, .example.com->example.com "
               "(with all below), ann@old.example->ann@new.example",
               STR_ARG(str_take(word, 100)));
}

static int add_except(struct rewrite *r, struct str word, struct err *err)
{
    struct str key;

    if (!parse_from(r->arena, word, &key))
        return ERR(err, ERR_PROTO,
                   "'" STR_FMT "' is none of: ann@example.org, example.org, .example.org",
                   STR_ARG(str_take(word, 100)));
    map_set(r->except, key, r);
    return 0;
}

int rewrite_new(struct str rules, struct str except, struct rewrite **out, struct err *err)
{
    struct rewrite *r = MEM_NEW(struct rewrite);
    struct str word;

    r->arena = arena_new(0);
    r->rules = map_new();
    r->except = map_new();
    *out = r;
    while (settings_list_next(&rules, &word))
        if (add_rule(r, word, err)) {
            rewrite_free(out);
            return -1;
        }
    while (settings_list_next(&except, &word))
        if (add_except(r, word, err)) {
            rewrite_free(out);
            return -1;
        }
    return 0;
}

void rewrite_free(struct rewrite **rp)
{
    struct rewrite *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    map_free(&r->rules);
    map_free(&r->except);
    arena_free(&r->arena);
    mem_free(r);
}

/* ---- Addresses */

/* folded: "local@domain". */
static void *find(const struct map *m, struct arena *a, struct str folded)
{
    struct str local, domain;
    size_t at = 0;

    address_split(folded, &local, &domain);
    void *found = map_get(m, folded);
    if (!found)
        found = map_get(m, domain);
    while (!found && domain.n) {
        found = map_get(m, arena_printf(a, "." STR_FMT, STR_ARG(domain)));
        if (!str_chr(domain, '.', &at))
            break;
        domain = str_skip(domain, at + 1);
    }
    return found;
}

/* False: nothing changes. */
static bool change(const struct rewrite *r, struct arena *a, struct address_parts *parts)
{
    const struct rule *rule;
    struct str folded, domain;

    if (!map_count(r->rules) || !parts->local.n || !fold_domain(a, parts->domain, &domain) ||
        !fold(a, parts->local, domain, &folded) || find(r->except, a, folded))
        return false;
    rule = find(r->rules, a, folded);
    if (!rule ||
        (str_eq(rule->domain, domain) && (!rule->local.n || str_eq(rule->local, parts->local))))
        return false;
    parts->domain = rule->domain;
    if (rule->local.n)
        parts->local = rule->local;
    return true;
}

bool rewrite_address(const struct rewrite *r, struct arena *a, struct str address, struct str *out)
{
    struct address_path path;
    struct buf b;

    if (!parse_path(a, address, &path))
        return false;
    struct address_parts parts = {.local = path.local, .domain = path.domain};
    if (!change(r, a, &parts))
        return false;
    path = (struct address_path){.local = parts.local, .domain = parts.domain};
    buf_init(&b, NAME_MAX_);
    bool ok = address_path_format(&path, &b) == 0 && buf_ok(&b);
    if (ok)
        *out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return ok;
}

struct field {
    const struct rewrite *rules;
    struct arena *arena;
    struct str origin;
};

static bool edit(void *ctx, struct address_parts *parts)
{
    const struct field *f = ctx;
    bool completed = !parts->domain.p && f->origin.n && parts->local.n;

    if (completed)
        parts->domain = f->origin;
    return (parts->domain.n && change(f->rules, f->arena, parts)) || completed;
}

unsigned rewrite_field(const struct rewrite *r, struct str origin, struct str value,
                       struct buf *out)
{
    struct field f = {.rules = r, .arena = arena_new(0), .origin = origin};
    unsigned n = address_list_edit(value, edit, &f, out);

    arena_free(&f.arena);
    return n;
}
