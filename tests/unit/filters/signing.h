/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* signing.h - keys that sign, and messages for stages that sign and verify. */
#ifndef PH_TESTS_FILTERS_SIGNING_H
#define PH_TESTS_FILTERS_SIGNING_H
#include "filters/dkim_ring.h"
#include "tests/unit/filters/world.h"

static inline void signing_change(struct world *w, const struct dkim_change *list, size_t n)
{
    struct dkim_change_op op;

    dkim_change_init(&op, list, n);
    if (store_submit_wait(w->store, &op.op) || op.op.failed)
        fail_msg("%s", op.op.err.text);
}

/* A new key that signs at once; its record is given back. */
static inline char *signing_add_key(struct world *w, const char *selector, enum dkim_key_type type)
{
    struct dkim_change list[2] = {{.what = DKIM_ADD}, {.what = DKIM_SWITCH}};
    struct dkim_row *row = &list[0].row;
    struct dkim_key *key;
    struct err err = {0};
    struct buf pem, record;

    buf_init(&pem, DKIM_PEM_MAX);
    buf_init(&record, DKIM_RECORD_MAX);
    assert_int_equal(dkim_key_new(type, &key, &err), 0);
    assert_int_equal(dkim_key_write(key, &pem, &err), 0);
    assert_int_equal(dkim_key_record(key, &record, &err), 0);
    *row = (struct dkim_row){.domain = STR("example.org"),
                             .selector = str_from(selector),
                             .type = type,
                             .record = buf_str(&record),
                             .pem = buf_str(&pem)};
    list[1].row = *row;
    signing_change(w, list, 2);
    char *z = str_dup_z(buf_str(&record));
    dkim_key_free(&key);
    buf_fini(&pem);
    buf_fini(&record);
    return z;
}

/* Runs a point to its end. */
static inline const struct chain_answer *signing_go(struct world *w, struct chain *c,
                                                    enum ph_point at, const char *route,
                                                    struct str h, struct str data)
{
    static const char *const rcpts[] = {"b@example.net", NULL};
    const struct ph_view v = {.client_ip = "192.0.2.1",
                              .helo = "there",
                              .mail_from = "joe@example.org",
                              .rcpts = rcpts,
                              .n_rcpts = 1,
                              .host = "mail.example.org",
                              .route = route};
    const struct chain_message m = {.head = h, .data = data, .fd = -1};
    unsigned before = w->answers;

    if (chain_run(c, at, &v, &m, NULL, world_on_answer, w) == CHAIN_WAIT)
        while (w->answers == before)
            world_turn(w);
    return chain_answer(c);
}

/* The same in a new transaction. */
static inline const struct chain_answer *signing_run(struct world *w, struct chain *c,
                                                     enum ph_point at, const char *route,
                                                     struct str h, struct str data)
{
    chain_transaction(c, 7);
    return signing_go(w, c, at, route, h, data);
}

static inline struct str signing_fact(const struct chain_record *r, const char *name)
{
    for (const struct chain_fact *f = r->facts; f; f = f->next)
        if (str_eq(f->name, str_from(name)))
            return f->value;
    return STR_NULL;
}

#endif
