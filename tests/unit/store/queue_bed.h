/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue_bed.h - what the tests of leaving mail share: messages put into the queue, looked up again.
 * Floor: tests. Everything fails the running test. */
#ifndef PH_TESTS_STORE_QUEUE_BED_H
#define PH_TESTS_STORE_QUEUE_BED_H
#include "appliance/store/queue.h"
#include "bed.h"

#define QB_TEXT STR("From: a@b\r\nSubject: hi\r\n\r\nHello\r\n")
#define QB_TO(address, where, at)                                                                  \
    {                                                                                              \
        .rcpt = STR(address), .site = STR(where), .next_ms = (at), .expires_ms = 9000              \
    }

/* A message that leaves, its text new. */
static inline int qb_try_put(struct bed *b, uint64_t id, const char *sender,
                             const struct queue_to *to, size_t n, struct err *err)
{
    struct queue_new leaves = {.entry = {.id = id, .sender = str_from(sender), .since_ms = 500},
                               .out = {.prefix = STR("DKIM-Signature: x\r\n"),
                                       .envid = STR("env\0id"),
                                       .account = STR("a@b"),
                                       .ret = QUEUE_RET_HDRS,
                                       .flags = QUEUE_UTF8 | QUEUE_8BIT},
                               .to = to,
                               .n_to = n};
    struct message_delivery d;

    message_delivery_init(&d, NULL);
    d.sink = bed_sink(b, QB_TEXT);
    d.leaves = &leaves;
    int rc = bed_try(b, &d.op);
    *err = d.op.err;
    body_sink_free(&d.sink);
    return rc;
}

static inline void qb_put(struct bed *b, uint64_t id, const char *sender, const struct queue_to *to,
                          size_t n)
{
    struct err err;

    if (qb_try_put(b, id, sender, to, n, &err))
        fail_msg("%s", err.text);
}

static inline size_t qb_due(struct bed *b, const char *site, int64_t at, struct queue_to **out)
{
    struct err err;
    size_t n;

    if (queue_due(b->reader, b->arena, str_from(site), at, 100, out, &n, &err))
        fail_msg("%s", err.text);
    return n;
}

static inline size_t qb_of(struct bed *b, uint64_t id, struct queue_to **out)
{
    struct err err;
    size_t n;

    if (queue_out_to(b->reader, b->arena, id, out, &n, &err))
        fail_msg("%s", err.text);
    return n;
}

static inline size_t qb_find(struct bed *b, const struct queue_filter *f, struct queue_to **out,
                             struct queue_entry **entries)
{
    struct err err;
    size_t n;

    if (queue_find(b->reader, b->arena, f, 0, 0, 100, out, entries, &n, &err))
        fail_msg("%s", err.text);
    return n;
}

static inline uint64_t qb_change(struct bed *b, enum queue_change_what what,
                                 const struct queue_filter *f, const char *site)
{
    struct queue_change_op q;

    queue_change_init(&q, NULL);
    q.what = what;
    q.filter = *f;
    q.site = str_from(site);
    bed_run(b, &q.op);
    return q.count;
}

static inline void qb_settle(struct bed *b, const struct queue_result *results, size_t n)
{
    struct queue_settle q;

    queue_settle_init(&q, NULL);
    q.results = results;
    q.n_results = n;
    bed_run(b, &q.op);
}
#endif
