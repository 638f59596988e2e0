/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue_claim.c - of several nodes one tries a recipient: it writes its owner number into the row
 * first. The number is good as long as that node's lease (node.h), which it renews; so a long
 * delivery keeps its rows, and those of a node that died are free at once when its lease is over.
 */
#include "appliance/store/node.h"
#include "appliance/store/queue_private.h"

/* As it was read, and nobody's or `from`'s. */
static int take(struct store_tx *tx, struct queue_claim_row *r, uint64_t from, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "UPDATE queue_to SET owner = ? WHERE queue = ? AND n = ? AND state = 0 AND "
                    "next_try = ? AND tries = ? AND owner IN (0, ?)",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)node_self(tx->store));
    sql_bind_int(st, 2, (int64_t)r->id);
    sql_bind_int(st, 3, r->n);
    sql_bind_int(st, 4, r->next_ms);
    sql_bind_int(st, 5, r->tries);
    sql_bind_int(st, 6, (int64_t)from);
    if (sql_run(st, err))
        return -1;
    r->taken = sql_changes(tx->db) == 1;
    return 0;
}

static int owner_of(struct store_tx *tx, const struct queue_claim_row *r, uint64_t *out,
                    struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = 0;
    if (sql_prepare(tx->db, "SELECT owner FROM queue_to WHERE queue = ? AND n = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)r->id);
    sql_bind_int(st, 2, r->n);
    rc = sql_step(st, err);
    if (rc == 1)
        *out = (uint64_t)sql_int(st, 0);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int claim_row(struct store_tx *tx, struct queue_claim_row *r, struct err *err)
{
    uint64_t owner;
    bool elsewhere;

    if (take(tx, r, node_self(tx->store), err))
        return -1;
    if (r->taken)
        return 0;
    if (owner_of(tx, r, &owner, err) || node_elsewhere_tx(tx, owner, &elsewhere, err))
        return -1;
    return owner && !elsewhere ? take(tx, r, owner, err) : 0;
}

static int claim_run(struct store_op *op, struct store_tx *tx)
{
    struct queue_claim *q = CONTAINER_OF(op, struct queue_claim, op);

    q->owner = node_self(tx->store);
    for (size_t i = 0; i < q->n; i++)
        if (claim_row(tx, &q->rows[i], &op->err))
            return -1;
    return STORE_DONE;
}

void queue_claim_init(struct queue_claim *q, void (*done)(struct store_op *))
{
    *q = (struct queue_claim){.op = {.run = claim_run, .done = done, .cls = STORE_DELIVERY}};
}

/* ---- Held mail. */

static int held_owner(struct store_tx *tx, uint64_t id, int64_t next_ms, uint64_t *owner_out,
                      bool *found, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(tx->db,
                    "SELECT owner FROM queue WHERE id = ? AND held = 1 AND next_try = ? FOR UPDATE",
                    &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    sql_bind_int(st, 2, next_ms);
    rc = sql_step(st, err);
    *found = rc == 1;
    *owner_out = rc == 1 ? (uint64_t)sql_int(st, 0) : 0;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int queue_claim_held_tx(struct store_tx *tx, uint64_t id, int64_t next_ms, bool *taken,
                        struct err *err)
{
    struct sql_stmt *st;
    uint64_t owner;
    bool found, elsewhere;

    *taken = true;
    if (!tx->store->node)
        return 0;
    if (held_owner(tx, id, next_ms, &owner, &found, err) ||
        node_elsewhere_tx(tx, owner, &elsewhere, err))
        return -1;
    *taken = found && !elsewhere;
    if (!*taken || owner == node_self(tx->store))
        return 0;
    if (sql_prepare(tx->db, "UPDATE queue SET owner = ? WHERE id = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)node_self(tx->store));
    sql_bind_int(st, 2, (int64_t)id);
    return sql_run(st, err);
}
