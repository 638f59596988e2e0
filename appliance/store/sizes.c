/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sizes.c - how much there is, counted in slices of rows by key: no statement runs long, whatever
 * the store holds. */
#include "appliance/store/store_private.h"

enum { SLICE_ROWS = 10000 }; /* 2 to 5 ms */

/* Number of rows, two sums, largest key; of the rows above ?1, at most ?2. */
static const char *const slices[] = {
    "SELECT COUNT(*), 0, 0, MAX(id) FROM "
    "(SELECT id FROM account WHERE id > ? ORDER BY id LIMIT ?) s",
    "SELECT COUNT(*), SUM(msgs), SUM(bytes), MAX(id) FROM "
    "(SELECT id, msgs, bytes FROM mailbox WHERE id > ? ORDER BY id LIMIT ?) s",
    "SELECT COUNT(*), SUM(size), 0, MAX(id) FROM "
    "(SELECT id, size FROM body WHERE id > ? ORDER BY id LIMIT ?) s",
};

static void add(struct store_sizing *z, const uint64_t *n)
{
    switch (z->table) {
    case 0:
        z->sizes.accounts += n[0];
        break;
    case 1:
        z->sizes.mailboxes += n[0];
        z->sizes.messages += n[1];
        z->sizes.message_bytes += n[2];
        break;
    default:
        z->sizes.bodies += n[0];
        z->sizes.body_bytes += n[1];
    }
}

int store_size_slice(struct store_reader *r, struct store_sizing *z, struct err *err)
{
    struct sql_stmt *st;
    uint64_t n[3] = {0};
    int rc;

    if (z->done)
        return 0;
    if (sql_prepare(store_reader_sql(r), slices[z->table], &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, z->last);
    sql_bind_int(st, 2, SLICE_ROWS);
    rc = sql_step(st, err);
    if (rc == 1) {
        for (int i = 0; i < 3; i++)
            n[i] = (uint64_t)sql_int(st, i);
        z->last = sql_int(st, 3);
    }
    sql_reset(st);
    if (rc < 0)
        return -1;
    add(z, n);
    if (n[0] < SLICE_ROWS) {
        z->last = 0;
        z->done = ++z->table == ARRAY_LEN(slices);
    }
    return 0;
}
