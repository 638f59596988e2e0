/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/alias.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"

struct alias_set {
    struct arena *arena;
    struct map *names;
    size_t n;
};

/* ---- Words */

static int not_one(struct str word, const char *what, struct err *err)
{
    return ERR(err, ERR_PROTO, "'" STR_FMT "' is none of: %s", STR_ARG(str_take(word, 100)), what);
}

/* A whole address, as MAIL and RCPT may have it. */
static int parse_address(struct arena *a, struct str word, struct str *out)
{
    struct address_path path;
    struct str rest;
    struct buf b;
    struct err err;

    if (word.n > ALIAS_NAME ||
        address_path_parse(a, arena_printf(a, "<" STR_FMT ">", STR_ARG(word)), &path, &rest,
                           &err) ||
        rest.n || !path.domain.n || !path.local.n)
        return -1;
    buf_init(&b, ALIAS_NAME);
    int rc = address_path_format(&path, &b) || !buf_ok(&b) ? -1 : 0;
    if (rc == 0)
        *out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return rc;
}

/* "@domain", and with `below` "@.domain". */
static int parse_domain(struct arena *a, struct str word, bool below, struct str *out)
{
    size_t skip = below && str_starts(word, STR("@.")) ? 2 : 1;
    struct buf b;

    buf_init(&b, ALIAS_NAME);
    buf_add_str(&b, str_take(word, skip));
    int rc = text_domain(str_skip(word, skip), &b) || !buf_ok(&b) ? -1 : 0;
    if (rc == 0)
        *out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return rc;
}

static bool fold(struct arena *a, struct str address, struct str *out)
{
    struct buf b;
    struct err err;

    buf_init(&b, ALIAS_NAME);
    bool ok = address.n && address_fold(address, &b, &err) == 0 && buf_ok(&b);
    if (ok)
        *out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return ok;
}

/* As it is looked up. One whose local part only quotes can hold couldn't be named by what is shown
 * of it, and nobody has one. */
static int parse_name(struct arena *a, struct str word, struct str *out)
{
    struct str address, again;

    if (parse_address(a, word, &address) || !fold(a, address, out) ||
        parse_address(a, *out, &address) || !fold(a, address, &again))
        return -1;
    return str_eq(again, *out) ? 0 : -1;
}

int alias_name_parse(struct arena *a, struct str word, struct str *out, struct err *err)
{
    if (str_starts(word, STR("@")) ? parse_domain(a, word, true, out) : parse_name(a, word, out))
        return not_one(word, "an address, @example.org, @.example.org (with all below)", err);
    return 0;
}

int alias_target_parse(struct arena *a, struct str word, struct str *out, struct err *err)
{
    if (str_starts(word, STR("@")) ? parse_domain(a, word, false, out)
                                   : parse_address(a, word, out))
        return not_one(word, "an address, @example.org (the local part is kept)", err);
    return 0;
}

/* ---- The set */

struct alias_set *alias_set_new(const struct alias *list, size_t n)
{
    struct alias_set *s = MEM_NEW(struct alias_set);

    s->arena = arena_new(0);
    s->names = map_new();
    for (size_t i = 0; i < n; i++) {
        struct alias *own = ARENA_NEW(s->arena, struct alias);
        *own = list[i];
        own->name = arena_str(s->arena, list[i].name);
        own->targets = ARENA_ARRAY(s->arena, struct str, own->n + 1);
        for (size_t k = 0; k < own->n; k++)
            own->targets[k] = arena_str(s->arena, list[i].targets[k]);
        if (own->n && !map_set(s->names, own->name, own))
            s->n++;
    }
    return s;
}

/* More targets for an alias of the list, or a new one. */
static struct alias *alias_named(struct arena *a, struct map *known, struct alias *list, size_t *n,
                                 struct str name)
{
    struct alias *al = map_get(known, name);

    if (al)
        return al;
    al = &list[(*n)++];
    *al = (struct alias){.name = name, .targets = ARENA_ARRAY(a, struct str, ALIAS_TARGETS)};
    map_set(known, name, al);
    return al;
}

static int parse_word(struct arena *a, struct map *known, struct alias *list, size_t *n,
                      struct str word, struct err *err)
{
    static const struct str arrow = {"->", 2};
    struct str name, target;
    struct alias *al;
    size_t at = 0;

    while (at < word.n && !str_starts(str_skip(word, at), arrow))
        at++;
    if (at == word.n)
        return not_one(word, "NAME->TARGET", err);
    if (alias_name_parse(a, str_trim(str_take(word, at)), &name, err) ||
        alias_target_parse(a, str_trim(str_skip(word, at + arrow.n)), &target, err))
        return -1;
    al = alias_named(a, known, list, n, name);
    if (al->n == ALIAS_TARGETS)
        return ERR(err, ERR_PROTO, "an alias has at most %d targets", ALIAS_TARGETS);
    al->targets[al->n++] = target;
    return 0;
}

int alias_set_parse(struct str text, struct alias_set **out, struct err *err)
{
    struct arena *a = arena_new(0);
    struct map *known = map_new();
    struct str rest = text, word;
    struct alias *list;
    size_t n = 0, words = 0;
    int rc = 0;

    while (settings_list_next(&rest, &word))
        words++;
    list = ARENA_ARRAY(a, struct alias, words + 1);
    while (rc == 0 && settings_list_next(&text, &word))
        rc = parse_word(a, known, list, &n, word, err);
    *out = rc == 0 ? alias_set_new(list, n) : NULL;
    map_free(&known);
    arena_free(&a);
    return rc;
}

void alias_set_free(struct alias_set **sp)
{
    struct alias_set *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    map_free(&s->names);
    arena_free(&s->arena);
    mem_free(s);
}

size_t alias_set_count(const struct alias_set *s)
{
    return s->n;
}

struct walk {
    const struct alias_set *set, *more;
    struct arena *a;
    struct map *seen; /* folded: visited, or among the results */
    struct str *out;
    size_t n;
    bool too_many, any;
};

static const struct alias *get(const struct walk *w, struct str name)
{
    const struct alias *found = map_get(w->set->names, name);

    return found || !w->more ? found : map_get(w->more->names, name);
}

/* folded: with a domain. */
static const struct alias *find(const struct walk *w, struct str folded)
{
    const struct alias *found = get(w, folded);
    struct arena *a = w->a;
    struct str local, domain;
    size_t at = 0;

    address_split(folded, &local, &domain);
    if (!found)
        found = get(w, arena_printf(a, "@" STR_FMT, STR_ARG(domain)));
    while (!found && domain.n) {
        found = get(w, arena_printf(a, "@." STR_FMT, STR_ARG(domain)));
        if (!str_chr(domain, '.', &at))
            break;
        domain = str_skip(domain, at + 1);
    }
    return found;
}

/* ---- Where they lead */

static void result(struct walk *w, struct str address)
{
    if (w->n == ALIAS_RESULTS) {
        w->too_many = true;
        return;
    }
    w->out[w->n++] = address;
}

static void visit(struct walk *w, struct str address, size_t depth);

static void follow(struct walk *w, const struct alias *al, struct str address, struct str folded,
                   size_t depth)
{
    struct str local, domain, target_folded;

    address_split(address, &local, &domain);
    for (size_t i = 0; i < al->n && !w->too_many; i++) {
        struct str target = al->targets[i];
        if (str_starts(target, STR("@")))
            target = arena_printf(w->a, STR_FMT STR_FMT, STR_ARG(local), STR_ARG(target));
        if (fold(w->a, target, &target_folded) && str_eq(target_folded, folded))
            result(w, target); /* its own address: there, and no further */
        else
            visit(w, target, depth + 1);
    }
}

static void visit(struct walk *w, struct str address, size_t depth)
{
    const struct alias *al;
    struct str folded;

    if (depth > ALIAS_DEPTH) {
        w->too_many = true;
        return;
    }
    if (!fold(w->a, address, &folded) || folded.p[0] == '@') {
        if (depth)
            result(w, address);
        return;
    }
    if (map_set(w->seen, folded, w))
        return;
    al = find(w, folded);
    w->any |= al != NULL;
    if (al)
        follow(w, al, address, folded, depth);
    else if (depth)
        result(w, address);
}

enum alias_found alias_set_expand(const struct alias_set *s, const struct alias_set *more,
                                  struct arena *a, struct str address, struct str **out,
                                  size_t *n_out)
{
    struct walk w = {.set = s, .more = more, .a = a};

    *n_out = 0;
    if (!s->n && (!more || !more->n))
        return ALIAS_NONE;
    w.seen = map_new();
    w.out = ARENA_ARRAY(a, struct str, ALIAS_RESULTS);
    visit(&w, address, 0);
    map_free(&w.seen);
    *out = w.out;
    *n_out = w.n;
    return !w.any ? ALIAS_NONE : w.too_many ? ALIAS_TOO_MANY : w.n ? ALIAS_FOUND : ALIAS_CIRCLE;
}
