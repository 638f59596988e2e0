/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* edit.c - the header actions of all stages applied to a head. Indexes and nths count the fields as
 * received, so that what one stage does never shifts what another one meant. */
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"
#include "filters/private.h"
#include <stdlib.h>

#define TAGS "X-Posthouse-Tags" /* ours alone: what comes in under this name is removed */

enum { NAME_MAX_ = 256 };

struct field {
    struct str name, raw;
    size_t group;
    const struct chain_action *changed;
    bool deleted;
};
struct group { /* fields of one name, in their order: by_name[begin ...] */
    size_t begin, n;
    bool gone; /* all of it is deleted already */
};
struct fields {
    struct field *at;
    size_t n, cap;
    struct group *groups;
    size_t n_groups;
    size_t *by_name;   /* indexes of fields, group by group */
    struct map *names; /* in lower case: index of the group, from 1 */
    struct str end;    /* the empty line */
};

static void split(struct fields *f, struct str head)
{
    struct header_field h;
    struct str rest = head;

    while (header_next(&rest, &h)) {
        if (f->n == f->cap) {
            f->cap = f->cap ? f->cap * 2 : 32;
            f->at = mem_realloc(f->at, f->cap * sizeof *f->at);
        }
        f->at[f->n++] = (struct field){.name = h.name, .raw = h.raw};
    }
    size_t end = f->n ? (size_t)(f->at[f->n - 1].raw.p + f->at[f->n - 1].raw.n - head.p) : 0;
    f->end = str_skip(head, end);
}

/* Longer ones are nobody's: no action has such a name (actions.c). They share a group. */
static struct str key_of(char key[NAME_MAX_], struct str name)
{
    if (name.n > NAME_MAX_)
        return STR("");
    for (size_t i = 0; i < name.n; i++)
        key[i] = ascii_lower(name.p[i]);
    return str_of(key, name.n);
}

static struct group *group_of(const struct fields *f, struct str name)
{
    char key[NAME_MAX_];
    uintptr_t i = name.n <= NAME_MAX_ ? (uintptr_t)map_get(f->names, key_of(key, name)) : 0;

    return i ? &f->groups[i - 1] : NULL;
}

/* A hostile head has thousands of fields, and there may be as many actions: each finds its own
 * without a walk. */
static void group(struct fields *f)
{
    char key[NAME_MAX_];
    size_t begin = 0;

    f->names = map_new();
    f->groups = mem_alloc((f->n + 1) * sizeof *f->groups);
    f->by_name = mem_alloc((f->n + 1) * sizeof *f->by_name);
    for (size_t i = 0; i < f->n; i++) {
        struct str name = key_of(key, f->at[i].name);
        uintptr_t g = (uintptr_t)map_get(f->names, name);
        if (!g) {
            g = ++f->n_groups;
            (void)map_set(f->names, name, (void *)g);
        }
        f->at[i].group = g - 1;
        f->groups[g - 1].n++;
    }
    for (size_t i = 0; i < f->n_groups; i++) {
        f->groups[i].begin = begin;
        begin += f->groups[i].n;
        f->groups[i].n = 0;
    }
    for (size_t i = 0; i < f->n; i++) {
        struct group *g = &f->groups[f->at[i].group];
        f->by_name[g->begin + g->n++] = i;
    }
}

static void fields_fini(struct fields *f)
{
    map_free(&f->names);
    mem_free(f->at);
    mem_free(f->groups);
    mem_free(f->by_name);
}

static void put_field(struct buf *out, struct str name, struct str value)
{
    buf_add_str(out, name);
    buf_add_z(out, value.n && (value.p[0] == ' ' || value.p[0] == '\t') ? ":" : ": ");
    buf_add_str(out, value);
    buf_add_z(out, "\r\n");
}

static bool mark(struct fields *f, const struct chain_action *a)
{
    struct group *g = group_of(f, a->name);
    size_t i = a->n ? a->n - 1 : 0, end = a->n ? a->n : g ? g->n : 0;

    if (!g || end > g->n)
        return false;
    for (; i < end && !g->gone; i++) {
        struct field *one = &f->at[f->by_name[g->begin + i]];
        if (a->kind == CHAIN_HEADER_DELETE)
            one->deleted = true;
        else
            one->changed = a;
    }
    g->gone = g->gone || (a->kind == CHAIN_HEADER_DELETE && !a->n);
    return true;
}

static void delete_all(struct fields *f, const char *name)
{
    mark(f, &(struct chain_action){.kind = CHAIN_HEADER_DELETE, .name = str_from(name)});
}

/* ---- What is inserted before a field (at the end: past the last), in the order it was asked for.
 */
struct insert {
    size_t before, nth;
    const struct chain_action *action;
};
struct inserts {
    struct insert *at;
    size_t n, next;
};

static int by_place(const void *x, const void *y)
{
    const struct insert *a = x, *b = y;

    if (a->before != b->before)
        return a->before < b->before ? -1 : 1;
    return a->nth < b->nth ? -1 : a->nth > b->nth;
}

static void collect_inserts(const struct chain_action *actions, size_t fields, struct inserts *out)
{
    size_t n = 0;

    for (const struct chain_action *a = actions; a; a = a->next)
        n += a->kind == CHAIN_HEADER_INSERT;
    out->at = mem_alloc((n + 1) * sizeof *out->at);
    for (const struct chain_action *a = actions; a; a = a->next)
        if (a->kind == CHAIN_HEADER_INSERT) {
            out->at[out->n] = (struct insert){a->n < fields ? a->n : fields, out->n, a};
            out->n++;
        }
    qsort(out->at, out->n, sizeof *out->at, by_place);
}

static void put_inserted(struct inserts *in, size_t before, struct buf *out)
{
    for (; in->next < in->n && in->at[in->next].before == before; in->next++)
        put_field(out, in->at[in->next].action->name, in->at[in->next].action->value);
}

static void put_tags(const struct chain_action *actions, struct buf *out)
{
    size_t column = 0;

    for (const struct chain_action *a = actions; a; a = a->next) {
        if (a->kind != CHAIN_TAG)
            continue;
        buf_add_z(out, !column ? TAGS ": " : column + a->value.n > 70 ? ",\r\n\t" : ", ");
        column = column + a->value.n > 70 ? a->value.n + 8 : column + a->value.n + sizeof TAGS;
        buf_add_str(out, a->value);
    }
    if (column)
        buf_add_z(out, "\r\n");
}

static void put_added(struct fields *f, const struct chain_action *actions, struct buf *added)
{
    for (const struct chain_action *a = actions; a; a = a->next)
        if (a->kind == CHAIN_HEADER_ADD ||
            ((a->kind == CHAIN_HEADER_CHANGE || a->kind == CHAIN_HEADER_DELETE) && !mark(f, a) &&
             a->kind == CHAIN_HEADER_CHANGE))
            put_field(added, a->name, a->value);
}

bool chain_edit_head(const struct chain *c, struct str head, struct buf *out)
{
    const struct chain_action *actions = chain_actions(c);
    struct fields f = {0};
    struct inserts inserts = {0};
    struct header_field h;
    struct buf added;

    if (!actions && !header_find(head, STR(TAGS), 0, &h))
        return false;
    split(&f, head);
    group(&f);
    delete_all(&f, TAGS);
    buf_init(&added, out->max);
    put_added(&f, actions, &added);
    collect_inserts(actions, f.n, &inserts);
    put_tags(actions, out);
    for (size_t i = 0; i < f.n; i++) {
        put_inserted(&inserts, i, out);
        if (f.at[i].changed && !f.at[i].deleted)
            put_field(out, f.at[i].name, f.at[i].changed->value);
        else if (!f.at[i].deleted)
            buf_add_str(out, f.at[i].raw);
    }
    put_inserted(&inserts, f.n, out);
    buf_add_str(out, buf_str(&added));
    buf_add_str(out, f.end);
    buf_fini(&added);
    mem_free(inserts.at);
    fields_fini(&f);
    return true;
}
