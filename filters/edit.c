/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* edit.c - the header actions of all stages applied to a head. Indexes and nths count the fields as
 * received, so that what one stage does never shifts what another one meant. */
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"
#include "filters/private.h"

#define TAGS "X-Posthouse-Tags" /* ours alone: what comes in under this name is removed */

struct field {
    struct str name, raw;
    const struct chain_action *changed;
    bool deleted;
};
struct fields {
    struct field *at;
    size_t n, cap;
    struct str end; /* the empty line */
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

static void put_field(struct buf *out, struct str name, struct str value)
{
    buf_add_str(out, name);
    buf_add_z(out, value.n && (value.p[0] == ' ' || value.p[0] == '\t') ? ":" : ": ");
    buf_add_str(out, value);
    buf_add_z(out, "\r\n");
}

static bool mark(struct fields *f, const struct chain_action *a)
{
    unsigned nth = 0;
    bool found = false;

    for (size_t i = 0; i < f->n; i++) {
        if (!str_ieq(f->at[i].name, a->name))
            continue;
        nth++;
        if (a->n && nth != a->n)
            continue;
        if (a->kind == CHAIN_HEADER_DELETE)
            f->at[i].deleted = true;
        else
            f->at[i].changed = a;
        found = true;
    }
    return found;
}

static void delete_all(struct fields *f, const char *name)
{
    mark(f, &(struct chain_action){.kind = CHAIN_HEADER_DELETE, .name = str_from(name)});
}

/* What is inserted before field i (at the end for i past the last): the last one that was asked for
 * on top. */
static void put_inserted(const struct chain_action *actions, size_t i, bool last, struct buf *out)
{
    for (const struct chain_action *a = actions; a; a = a->next)
        if (a->kind == CHAIN_HEADER_INSERT && (a->n == i || (last && a->n > i)))
            put_field(out, a->name, a->value);
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

bool chain_edit_head(const struct chain *c, struct str head, struct buf *out)
{
    const struct chain_action *actions = chain_actions(c);
    struct fields f = {0};
    struct header_field h;

    if (!actions && !header_find(head, STR(TAGS), 0, &h))
        return false;
    split(&f, head);
    delete_all(&f, TAGS);
    struct buf added;
    buf_init(&added, out->max);
    for (const struct chain_action *a = actions; a; a = a->next)
        if (a->kind == CHAIN_HEADER_ADD ||
            ((a->kind == CHAIN_HEADER_CHANGE || a->kind == CHAIN_HEADER_DELETE) && !mark(&f, a) &&
             a->kind == CHAIN_HEADER_CHANGE))
            put_field(&added, a->name, a->value);
    put_tags(actions, out);
    for (size_t i = 0; i < f.n; i++) {
        put_inserted(actions, i, false, out);
        if (f.at[i].changed && !f.at[i].deleted)
            put_field(out, f.at[i].name, f.at[i].changed->value);
        else if (!f.at[i].deleted)
            buf_add_str(out, f.at[i].raw);
    }
    put_inserted(actions, f.n, true, out);
    buf_add_str(out, buf_str(&added));
    buf_add_str(out, f.end);
    buf_fini(&added);
    mem_free(f.at);
    return true;
}
