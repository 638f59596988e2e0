/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* facts.c - what stages have told, as those after them read it. Many RCPTs tell the same again and
 * again: the list keeps the newest of each name, so it is bounded by how many names there are.
 * Lists that turns have begun with are never changed: a shorter one is made anew. */
#include "filters/private.h"

enum { FACTS_MAX = 2000, FACTS_BYTES = 4 << 20, FACTS_SPARE = 64 };

static const struct fact_node *find(const struct fact_node *n, const struct fact_node *end,
                                    struct str name)
{
    while (n != end && !str_eq(n->fact->name, name))
        n = n->next;
    return n == end ? NULL : n;
}

static void push(struct scope *s, const struct chain_fact *f)
{
    struct fact_node *n = ARENA_NEW(s->arena, struct fact_node);

    *n = (struct fact_node){.next = s->facts, .fact = f};
    s->facts = n;
    s->n_facts++;
    s->facts_bytes += f->name.n + f->value.n;
}

/* Leaves out what a newer one stands for. */
static void compact(struct scope *s)
{
    struct fact_node *first = NULL, *last = NULL;

    s->n_facts = s->facts_bytes = 0;
    for (const struct fact_node *from = s->facts; from != s->base; from = from->next) {
        if (find(first, NULL, from->fact->name))
            continue;
        struct fact_node *n = ARENA_NEW(s->arena, struct fact_node);
        n->fact = from->fact;
        n->next = NULL;
        if (last)
            last->next = n;
        else
            first = n;
        last = n;
        s->n_facts++;
        s->facts_bytes += n->fact->name.n + n->fact->value.n;
    }
    if (last)
        last->next = s->base;
    s->facts = first ? first : s->base;
    s->compact_at = 2 * s->n_facts + FACTS_SPARE;
}

static bool fits(const struct scope *s, size_t n, size_t bytes, size_t most)
{
    return s->n_facts + n <= most && s->facts_bytes + bytes <= FACTS_BYTES;
}

int facts_add(struct scope *s, const struct chain_fact *facts)
{
    size_t n = 0, bytes = 0;

    for (const struct chain_fact *f = facts; f; f = f->next) {
        n++;
        bytes += f->name.n + f->value.n;
    }
    if (!n)
        return 0;
    if (!fits(s, n, bytes, s->compact_at < FACTS_MAX ? s->compact_at : FACTS_MAX)) {
        compact(s);
        for (const struct chain_fact *f = facts; f; f = f->next)
            n -= find(s->facts, s->base, f->name) != NULL; /* in its place */
        if (!fits(s, n, bytes, FACTS_MAX))
            return -1;
    }
    for (const struct chain_fact *f = facts; f; f = f->next)
        push(s, f);
    return 0;
}

struct str facts_find(const struct fact_node *from, struct str name)
{
    const struct fact_node *n = find(from, NULL, name);

    return n ? n->fact->value : STR_NULL;
}

const struct fact_node *facts_copy(struct arena *a, const struct fact_node *from)
{
    struct fact_node *first = NULL, **last = &first;

    for (; from; from = from->next) {
        struct chain_fact *fact = ARENA_NEW(a, struct chain_fact);
        struct fact_node *node = ARENA_NEW(a, struct fact_node);
        fact->name = arena_str(a, from->fact->name);
        fact->value = arena_str(a, from->fact->value);
        node->fact = fact;
        *last = node;
        last = (struct fact_node **)(void *)&node->next;
    }
    return first;
}
