/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_load.c - what is due for a site comes into memory, and is routed as today's settings
 * say. */
#include "smtp/queue/delivery_load.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include <stdlib.h>

enum { AGAIN_MS = 5000 };

/* Without the rows that are under way or were settled since. */
static void claim_rows(struct delivery *d, struct mail *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->n; i++) {
        if (!flight_add(&d->flight, m->rows[i].to.id, m->rows[i].to.n))
            continue;
        m->rows[kept] = m->rows[i];
        m->rcpts[kept++] = m->rcpts[i];
    }
    m->n = kept;
}

static void adopt(struct site *s, struct mail *m)
{
    struct delivery *d = s->d;

    list_del(&m->link);
    claim_rows(d, m);
    if (m->n == 0) {
        mail_free(&m);
        return;
    }
    m->site = s;
    list_add(&s->mails, &m->of_site);
    s->n_mails++;
    s->n_rows += m->n;
    d->n_mails++;
    d->n_rows += m->n;
    if (m->fault.kind != SMTP_FAULT_NONE) {
        struct smtp_fault f = m->fault;
        mail_fail(m, &f, 0);
        return;
    }
    list_add(&s->ready, &m->link);
    s->n_ready++;
}

static void free_load(struct load *l)
{
    LIST_EACH(&l->mails, it)
    {
        struct mail *m = LIST_ITEM(it, struct mail, link);
        mail_free(&m);
    }
    snapshot_unref(&l->snapshot);
    mem_free(l->known);
    arena_free(&l->arena);
    mem_free(l);
}

static void take(struct load *l)
{
    struct site *s = l->site;
    struct delivery *d = l->d;

    if (l->failed) {
        log_warn(&d->log, "queue-unreadable", L_STR("site", s->name), L_Z("reason", l->err.text));
        site_next(s, clock_wall_ms() + AGAIN_MS);
        return;
    }
    LIST_EACH(&l->mails, it)
    adopt(s, LIST_ITEM(it, struct mail, link));
    if (l->n_strays)
        resite(s, &l->arena, l->strays, l->n_strays);
    if (l->more)
        s->due = true;
    else if (l->next_ms != DELIVERY_NEVER)
        site_next(s, l->next_ms);
}

static void end(struct load *l)
{
    struct delivery *d = l->d;

    l->site->load = NULL;
    if (!d->stopping)
        take(l);
    flight_load_end(&d->flight, &l->flight);
    site_touch(l->site);
    free_load(l);
}

/* ---- Several nodes: rows are claimed before anything is done with them. */

static size_t count_rows(const struct load *l)
{
    size_t n = 0;

    LIST_EACH(&l->mails, it)
    n += LIST_ITEM(it, struct mail, link)->n;
    return n;
}

static void list_rows(struct load *l, struct queue_claim_row *rows)
{
    LIST_EACH(&l->mails, it)
    {
        const struct mail *m = LIST_ITEM(it, struct mail, link);
        for (size_t i = 0; i < m->n; i++, rows++)
            *rows = (struct queue_claim_row){.id = m->rows[i].to.id,
                                             .n = m->rows[i].to.n,
                                             .tries = m->rows[i].to.tries,
                                             .next_ms = m->rows[i].to.next_ms};
    }
}

/* The same order as list_rows(). */
static void drop_untaken(struct load *l)
{
    const struct queue_claim_row *row = l->claim.rows;

    LIST_EACH(&l->mails, it)
    {
        struct mail *m = LIST_ITEM(it, struct mail, link);
        size_t kept = 0;
        m->owner = l->claim.owner;
        for (size_t i = 0; i < m->n; i++, row++) {
            if (!row->taken)
                continue;
            m->rows[kept] = m->rows[i];
            m->rcpts[kept++] = m->rcpts[i];
        }
        m->n = kept;
    }
}

static void claim_failed(struct load *l)
{
    l->failed = true;
    l->err = l->claim.op.err;
    end(l);
}

static void claimed(struct store_op *op)
{
    struct load *l = CONTAINER_OF(op, struct load, claim.op);

    if (op->failed) {
        claim_failed(l);
        return;
    }
    drop_untaken(l);
    end(l);
}

static void done(struct job *j)
{
    struct load *l = CONTAINER_OF(j, struct load, job);
    struct delivery *d = l->d;
    size_t n = count_rows(l);

    if (!store_shared(d->conf.store) || d->stopping || l->failed || n == 0) {
        end(l);
        return;
    }
    queue_claim_init(&l->claim, claimed);
    l->claim.rows = ARENA_ARRAY(l->arena, struct queue_claim_row, n);
    l->claim.n = n;
    list_rows(l, l->claim.rows);
    if (store_submit(d->conf.store, &l->claim.op))
        claim_failed(l);
}

static void list_known(struct load *l)
{
    l->known = mem_alloc((l->site->n_rows + 1) * sizeof *l->known);
    LIST_EACH(&l->site->mails, it)
    {
        struct mail *m = LIST_ITEM(it, struct mail, of_site);
        for (size_t i = 0; i < m->n; i++)
            l->known[l->n_known++] =
                (struct load_key){.id = m->rows[i].to.id, .n = m->rows[i].to.n};
    }
    qsort(l->known, l->n_known, sizeof *l->known, load_by_key);
}

void load_start(struct site *s)
{
    struct delivery *d = s->d;
    struct load *l = MEM_NEW(struct load);

    l->job = (struct job){.run = load_run, .done = done};
    l->site = s;
    l->d = d;
    l->name = s->name;
    l->now_ms = clock_wall_ms();
    l->relay = d->conf.relay;
    l->snapshot = snapshot_ref(d->conf.snapshot);
    l->transaction = (size_t)d->conf.relay->recipients;
    l->arena = arena_new(0);
    l->next_ms = DELIVERY_NEVER;
    list_init(&l->mails);
    list_known(l);
    s->due = false;
    s->loaded = true;
    if (lane_submit(store_lane(d->conf.store), &l->job)) {
        free_load(l);
        site_next(s, clock_wall_ms() + AGAIN_MS);
        return;
    }
    site_heap_set(s, DELIVERY_NEVER); /* what is known then comes with the rows */
    s->load = l;
    flight_load_begin(&d->flight, &l->flight);
}
