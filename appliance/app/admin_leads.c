/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/admin_leads.h"
#include "appliance/base/mem.h"
#include "appliance/mail/address.h"
#include "filters/alias_rows.h"

enum { FOLDED_MAX = 512, SENTENCE_MAX = 2000, NAMED_MAX = 10 };

struct leads {
    struct admin_call *c;
    struct admin_session *s;
    struct str gone;
    json_t *found[3];
};
static const struct {
    const char *field, *one, *several;
} kinds[] = {{"aliases", "alias", "aliases"},
             {"forwards", "forward of", "forwards of"},
             {"global_aliases", "global alias", "global aliases"}};
enum { ALIAS, FORWARD, GLOBAL };

/* .p NULL: not an address. */
static struct str fold(struct leads *l, struct str in)
{
    struct buf folded;
    struct err ignored;

    buf_init(&folded, FOLDED_MAX);
    struct str out = address_fold(str_trim(in), &folded, &ignored) == 0
                         ? arena_str(l->s->mem, buf_str(&folded))
                         : STR_NULL;
    buf_fini(&folded);
    return out;
}

static bool untag(struct leads *l, struct str *address)
{
    const char *delimiter = l->c->directory ? l->c->directory->tag_delimiter : "+";
    struct str local, domain, base;

    address_split(*address, &local, &domain);
    if (!delimiter || !delimiter[0] || !address_untag(local, delimiter[0], &base))
        return false;
    *address = arena_printf(l->s->mem, STR_FMT "@" STR_FMT, STR_ARG(base), STR_ARG(domain));
    return true;
}

static bool is_gone(struct leads *l, struct str destination)
{
    struct str to = fold(l, destination);

    return to.p && (address_fits(to, l->gone) || (untag(l, &to) && address_fits(to, l->gone)));
}

/* What is of the domain that goes is no news. */
static bool goes_too(const struct leads *l, struct str owner)
{
    return str_starts(l->gone, STR("@")) && address_fits(owner, l->gone);
}

static void look_at(struct leads *l, int kind, struct str owner, struct str destinations)
{
    struct str one;

    if (goes_too(l, owner) || (kind == FORWARD && str_eq(owner, l->gone)))
        return;
    while (destinations.n) {
        str_cut(destinations, ',', &one, &destinations);
        if (is_gone(l, one)) {
            json_array_append_new(l->found[kind], admin_str(owner));
            return;
        }
    }
}

static int look_at_directory(struct leads *l, struct err *err)
{
    struct directory_alias *aliases;
    struct directory_forward *forwards;
    struct admin_session *s = l->s;
    size_t n;

    if (directory_alias_list(s->dir, s->mem, STR_NULL, &aliases, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (aliases[i].enabled)
            look_at(l, ALIAS, aliases[i].address, aliases[i].destinations);
    if (directory_forward_list(s->dir, s->mem, &forwards, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        look_at(l, FORWARD, forwards[i].account, forwards[i].destinations);
    return 0;
}

static int look_at_global(struct leads *l, struct err *err)
{
    struct store_reader *r;
    struct alias *all;
    size_t n;

    if (store_reader_open(l->c->store, &r, err))
        return -1;
    int rc = alias_rows_read(store_reader_sql(r), l->s->mem, &all, &n, err);
    store_reader_close(&r);
    for (size_t i = 0; rc == 0 && i < n; i++)
        for (size_t k = 0; k < all[i].n; k++)
            if (is_gone(l, all[i].targets[k])) {
                json_array_append_new(l->found[GLOBAL], admin_str(all[i].name));
                break;
            }
    return rc;
}

static void put_kind(const struct leads *l, int kind, size_t begun, struct buf *out)
{
    const json_t *list = l->found[kind];
    size_t n = json_array_size(list);

    if (!n)
        return;
    buf_printf(out, "%s the %s", out->n > begun ? ";" : "",
               n > 1 ? kinds[kind].several : kinds[kind].one);
    for (size_t i = 0; i < n && i < NAMED_MAX; i++)
        buf_printf(out, "%s %s", i ? "," : "", json_string_value(json_array_get(list, i)));
    if (n > NAMED_MAX)
        buf_printf(out, " and %zu more", n - NAMED_MAX);
}

static json_t *tell(struct leads *l)
{
    bool domain = str_starts(l->gone, STR("@"));
    struct buf text;

    buf_init(&text, SENTENCE_MAX + 3 * NAMED_MAX * FOLDED_MAX);
    struct str what = domain ? str_skip(l->gone, 1) : l->gone;
    buf_printf(&text, "to " STR_FMT ", which is removed, still lead", STR_ARG(what));
    size_t begun = text.n;
    for (int i = 0; i < 3; i++)
        put_kind(l, i, begun, &text);
    json_t *out = json_object();
    for (int i = 0; i < 3; i++)
        json_object_set(out, kinds[i].field, l->found[i]);
    json_object_set_new(out, "warnings", json_pack("[o]", admin_str(buf_str(&text))));
    buf_fini(&text);
    return out;
}

json_t *admin_leads_to(struct admin_call *c, struct admin_session *s, struct str gone)
{
    struct leads l = {.c = c, .s = s, .gone = gone};
    json_t *out = NULL;
    struct err ignored;
    size_t n = 0;

    for (int i = 0; i < 3; i++)
        l.found[i] = json_array();
    bool known = look_at_directory(&l, &ignored) == 0 && look_at_global(&l, &ignored) == 0;
    for (int i = 0; i < 3; i++)
        n += json_array_size(l.found[i]);
    if (known && n)
        out = tell(&l);
    for (int i = 0; i < 3; i++)
        json_decref(l.found[i]);
    return out;
}
