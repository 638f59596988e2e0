/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* committer_answer.c - the operations of a batch are answered by one post to the loop, and then
 * whoever watches what they changed. */
#include "appliance/store/committer.h"

struct answers {
    struct loop_post post;
    struct store *store;
    struct list ops;
    size_t n_changed;
    uint64_t changed[];
};

static void on_answers(struct loop_post *p)
{
    struct answers *a = CONTAINER_OF(p, struct answers, post);

    while (!list_empty(&a->ops)) {
        struct store_op *op = LIST_ITEM(a->ops.next, struct store_op, link);
        list_del(&op->link);
        if (op->done)
            op->done(op);
    }
    if (!a->store->closed)
        watches_tell(a->store, a->changed, a->n_changed);
    store_unref(a->store);
    mem_free(a);
}

static void answer_waiting(struct committer *c, struct batch *b)
{
    bool any = false;

    pthread_mutex_lock(&c->lock);
    LIST_EACH(&b->settled, it)
    {
        struct store_op *op = LIST_ITEM(it, struct store_op, link);
        c->stats.failed += op->failed;
        if (op->waited_for)
            list_del(&op->link);
        op->settled = any = true;
    }
    if (any)
        pthread_cond_broadcast(&c->settled);
    pthread_mutex_unlock(&c->lock);
}

void committer_answer(struct store *s, struct batch *b)
{
    size_t n_changed = b->changed.n / sizeof(uint64_t);

    answer_waiting(&s->committer, b);
    if (list_empty(&b->settled) && n_changed == 0)
        return;
    struct answers *a = mem_alloc(sizeof *a + b->changed.n);
    a->store = s;
    store_ref(s);
    list_init(&a->ops);
    while (!list_empty(&b->settled)) {
        struct list *it = b->settled.next;
        list_del(it);
        list_add(&a->ops, it);
    }
    a->n_changed = n_changed;
    if (n_changed)
        memcpy(a->changed, b->changed.p, b->changed.n);
    buf_clear(&b->changed);
    loop_post(s->loop, &a->post, on_answers);
}
