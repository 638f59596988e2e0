/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_resite.c - recipients for whom the settings of today say another way. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"

enum { AGAIN_MS = 5000 };

struct resite {
    struct store_op op;
    struct delivery *d;
    struct arena *arena;
    struct str from;
    const struct queue_to *rows;
    size_t n;
};

static int run(struct store_op *op, struct store_tx *tx)
{
    struct resite *r = CONTAINER_OF(op, struct resite, op);

    for (size_t i = 0; i < r->n; i++)
        if (queue_set_site_tx(tx, r->rows[i].id, r->rows[i].n, r->rows[i].site, &op->err))
            return -1;
    return STORE_DONE;
}

static void end(struct resite *r)
{
    arena_free(&r->arena);
    mem_free(r);
}

static void failed(struct resite *r)
{
    log_warn(&r->d->log, "reroute-failed", L_STR("site", r->from), L_Z("reason", r->op.err.text));
    site_next(site_get(r->d, r->from), clock_wall_ms() + AGAIN_MS);
    end(r);
}

static void done(struct store_op *op)
{
    struct resite *r = CONTAINER_OF(op, struct resite, op);
    struct delivery *d = r->d;

    d->ops--;
    if (d->stopping) {
        end(r);
        delivery_check_stopped(d);
    } else if (op->failed) {
        failed(r);
    } else {
        for (size_t i = 0; i < r->n; i++)
            site_next(site_get(d, r->rows[i].site), r->rows[i].next_ms);
        end(r);
    }
}

void resite(struct site *from, struct arena **arena, const struct queue_to *rows, size_t n)
{
    struct resite *r = MEM_NEW(struct resite);

    r->op = (struct store_op){.run = run, .done = done, .cls = STORE_DELIVERY};
    r->d = from->d;
    r->arena = *arena;
    r->from = arena_str(r->arena, from->name);
    r->rows = rows;
    r->n = n;
    *arena = NULL;
    for (size_t i = 0; i < n; i++)
        log_info(&r->d->log, "rerouted", L_STR("to", rows[i].rcpt), L_STR("from", r->from),
                 L_STR("site", rows[i].site));
    if (store_submit(r->d->conf.store, &r->op))
        failed(r);
    else
        r->d->ops++;
}
