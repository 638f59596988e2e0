/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/outbound.h"
#include "appliance/base/mem.h"

enum { PREFIX_MAX = 256 << 10 };

struct outbound {
    struct loop *loop;
    struct loop_defer told;
    struct chain *chain;
    void (*on_done)(void *ctx);
    void *ctx;
};

/* ---- What stands in front. */

size_t outbound_count_actions(const struct chain *c)
{
    size_t n = 0;

    for (const struct chain_action *a = c ? chain_actions(c) : NULL; a; a = a->next)
        n++;
    return n;
}

static void add_field(struct buf *out, const struct chain_action *a)
{
    buf_add_str(out, a->name);
    buf_add_z(out, ": ");
    buf_add_str(out, a->value);
    buf_add_z(out, "\r\n");
}

static void add_fields(const struct chain *c, size_t skip, struct buf *out)
{
    const size_t n = outbound_count_actions(c);
    const struct chain_action **inserted;
    struct arena *arena;
    size_t n_inserted = 0, i = 0;

    if (n <= skip)
        return;
    arena = arena_new(0);
    inserted = ARENA_ARRAY(arena, const struct chain_action *, n);
    for (const struct chain_action *a = chain_actions(c); a; a = a->next, i++)
        if (i >= skip && a->kind == CHAIN_HEADER_INSERT)
            inserted[n_inserted++] = a;
    while (n_inserted)
        add_field(out, inserted[--n_inserted]);
    i = 0;
    for (const struct chain_action *a = chain_actions(c); a; a = a->next, i++)
        if (i >= skip && a->kind == CHAIN_HEADER_ADD)
            add_field(out, a);
    arena_free(&arena);
}

int outbound_prefix(const struct chain *c, size_t skip, struct arena *a, struct str *prefix)
{
    struct buf fields;

    buf_init(&fields, PREFIX_MAX);
    add_fields(c, skip, &fields);
    buf_add_str(&fields, *prefix);
    bool fits = buf_ok(&fields);
    if (fits)
        *prefix = arena_str(a, buf_str(&fields));
    buf_fini(&fields);
    return fits ? 0 : -1;
}

struct chain_message outbound_message(struct str text)
{
    size_t at, head = str_find(text, STR("\r\n\r\n"), &at) ? at + 4 : text.n;

    return (struct chain_message){.head = str_take(text, head),
                                  .data = str_skip(text, head),
                                  .fd = -1,
                                  .data_size = text.n - head};
}

/* ---- A run. */

static void on_told(void *ctx)
{
    struct outbound *o = ctx;

    o->on_done(o->ctx);
}

static void on_answer(void *ctx)
{
    struct outbound *o = ctx;

    loop_defer(o->loop, &o->told);
}

bool outbound_start(struct filters *f, struct loop *l, const struct outbound_mail *m,
                    void (*on_done)(void *ctx), void *ctx, struct outbound **out)
{
    const struct ph_view v = {.service = "",
                              .auth_user = m->account,
                              .mail_from = m->sender,
                              .rcpts = m->rcpts,
                              .n_rcpts = m->n_rcpts,
                              .host = m->host,
                              .utf8 = m->utf8,
                              .route = m->route};

    if (!filters_at(f, PH_OUTBOUND))
        return false;
    struct outbound *o = MEM_NEW(struct outbound);
    o->loop = l;
    o->told = (struct loop_defer){.fn = on_told, .ctx = o};
    o->on_done = on_done;
    o->ctx = ctx;
    o->chain = chain_new(f, 0);
    *out = o;
    chain_transaction(o->chain, m->id);
    if (chain_run(o->chain, PH_OUTBOUND, &v, &m->message, NULL, on_answer, o) == CHAIN_DONE)
        on_answer(o);
    return true;
}

const struct chain_answer *outbound_answer(const struct outbound *o)
{
    return chain_answer(o->chain);
}

const struct chain *outbound_chain(const struct outbound *o)
{
    return o->chain;
}

void outbound_free(struct outbound **op)
{
    struct outbound *o = *op;

    *op = NULL;
    if (!o)
        return;
    loop_defer_cancel(&o->told);
    chain_free(&o->chain);
    mem_free(o);
}
