/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* held.c - one message after the other: read on lane store, judged by the chain, moved by an
 * operation. What is known of its transaction lies in queue.info as "key NUL value NUL ...". It was
 * acknowledged, so it can't be refused any more: what a stage rejects now goes into quarantine,
 * never into a bounce to a sender that may be forged. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"
#include "appliance/store/queue.h"
#include "filters/held_view.h"
#include "filters/outbound.h"
#include "filters/private.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { START_MS = 1000, EXPIRE_EVERY_MS = 600000, HEAD_MAX = BODY_HEAD_MAX + (512 << 10) };

struct plan {             /* what becomes of it; the commit thread's while it moves */
    enum queue_held held; /* 0: it leaves the queue */
    bool release;
    const char *mailbox;
    int64_t until_ms, next_ms;
    struct str stage, reason;
    const char *outcome; /* NULL: it waits on */
};
struct held {
    struct filters *filters; /* NULL: closed; whoever is under way frees it */
    struct timer *timer;
    bool busy, again;
    bool all, all_next; /* whatever next_ms says: in this round, in the next one */
    uint64_t after;     /* the last one looked at in this round */
    int64_t expired_ms;
    /* the one under way */
    struct job job;
    struct store_op op;
    struct arena *arena;
    struct queue_entry entry;
    struct chain_message message;
    struct err err;
    struct queue_to *to; /* its recipients at other hosts */
    size_t n_to;
    struct ph_view view;
    const char *route;
    size_t actions;    /* those before PH_OUTBOUND */
    struct str prefix; /* what stages put in front of copies that leave; empty: nothing */
    bool found, loaded, mine;
    bool released; /* by a command: only its copies that leave are looked at */
    bool quarantine_junk;
    struct chain *chain;
    struct buf head; /* edited; empty: not */
    bool no_room;    /* it couldn't be */
    struct plan plan;
    struct queue_gone gone; /* recipients for whom it stays in quarantine */
};

/* ---- The round. */

static void next(struct held *h);

static void forget(struct held *h)
{
    chain_free(&h->chain);
    if (h->message.fd >= 0)
        close(h->message.fd);
    h->message = (struct chain_message){.fd = -1};
    buf_fini(&h->head);
    h->prefix = STR_NULL;
    h->gone = (struct queue_gone){.n = 0};
    arena_clear(h->arena);
}

static void dispose(struct held *h)
{
    forget(h);
    arena_free(&h->arena);
    mem_free(h);
}

static void round_over(struct held *h)
{
    h->busy = false;
    if (!h->filters)
        dispose(h);
    else
        timer_start(h->timer, h->again ? 0 : filters_settings(h->filters)->hold_retry);
    h->again = false;
}

/* ---- What becomes of it. */

static void plan(struct held *h)
{
    const struct chain_answer *a = chain_answer(h->chain);
    const struct filters_conf *conf = filters_settings(h->filters);
    const int64_t now = clock_wall_ms();
    struct plan *p = &h->plan;
    bool undecided = a->hold || a->verdict == PH_DEFER;
    bool kept = a->verdict == PH_JUNK && h->quarantine_junk;

    *p = (struct plan){.held = QUEUE_QUARANTINE,
                       .until_ms = now + (int64_t)conf->quarantine_time,
                       .stage =
                           arena_str(h->arena, a->stage[0] ? str_from(a->stage) : h->entry.stage),
                       .reason = arena_str(h->arena, str_from(a->reason)),
                       .outcome = "in quarantine"};
    if (undecided && now < h->entry.until_ms) {
        p->held = QUEUE_HELD;
        p->until_ms = h->entry.until_ms;
        p->next_ms = now + (int64_t)conf->hold_retry;
        p->reason = h->entry.reason;
        p->stage = a->hold ? p->stage : h->entry.stage;
        p->outcome = NULL;
    } else if (undecided) {
        p->reason = STR("could not be judged within filters.hold_time");
    } else if (a->verdict != PH_DISCARD && h->no_room) {
        p->reason = STR("its head has no room for what stages add to it");
    } else if (a->verdict == PH_DISCARD) {
        p->held = 0;
        p->outcome = "discarded";
    } else if (a->verdict < PH_QUARANTINE && !kept) {
        p->held = 0;
        p->release = true;
        p->mailbox = a->verdict == PH_JUNK ? "Junk" : NULL;
        p->outcome = a->verdict == PH_JUNK ? "delivered to Junk" : "delivered";
    }
}

static int move(struct held *h, struct store_tx *tx, struct err *err) /* commit thread */
{
    const struct plan *p = &h->plan;
    const uint64_t id = h->entry.id;
    struct queue_entry now;
    bool mine;

    if (queue_claim_held_tx(tx, id, h->entry.next_ms, &mine, err))
        return -1;
    if (!mine)
        return ERR(err, ERR_TEMP, "another node has it");
    if (queue_get_tx(tx, id, &now, err))
        return -1;
    if (!h->released && held_is_released(now.view))
        return ERR(err, ERR_TEMP, "it was released meanwhile");
    if (p->held)
        return queue_keep_tx(tx, id, p->held, p->until_ms, p->next_ms, p->stage, p->reason, err);
    if (!p->release)
        return queue_remove_tx(tx, id, err);
    if (h->head.n && queue_set_head_tx(tx, id, buf_str(&h->head), err))
        return -1;
    if (h->prefix.n && queue_add_prefix_tx(tx, id, h->prefix, err))
        return -1;
    h->gone = (struct queue_gone){.until_ms = p->until_ms};
    return queue_release_tx(tx, id, p->mailbox, &h->gone, err);
}

static int run_move(struct store_op *op, struct store_tx *tx)
{
    struct held *h = CONTAINER_OF(op, struct held, op);

    return move(h, tx, &op->err) ? -1 : STORE_DONE;
}

static void on_moved(struct store_op *op)
{
    struct held *h = CONTAINER_OF(op, struct held, op);

    if (!h->filters) {
        dispose(h);
        return;
    }
    const struct log_ctx ctx = {.module = "filters", .sid = h->chain->session, .mid = h->entry.id};
    const char *what = h->gone.n ? "in quarantine: a recipient is gone" : h->plan.outcome;
    if (!op->failed && h->gone.n)
        log_warn(&ctx, "recipient_gone", L_UINT("rcpts", h->gone.n), L_UINT("kept_as", h->gone.id));
    if (op->failed)
        log_warn(&ctx, "held_not_moved", L_Z("why", op->err.text));
    else if (what)
        log_info(&ctx, "held_judged", L_Z("outcome", what), L_STR("from", h->entry.sender),
                 L_Z("reason", chain_answer(h->chain)->reason));
    if (what && !op->failed)
        chain_keep(h->chain, &(struct chain_subject){.sender = h->entry.sender,
                                                     .outcome = str_from(what),
                                                     .rcpts = (size_t)h->entry.n_rcpts,
                                                     .size = h->entry.size,
                                                     .head = h->plan.held || h->plan.release
                                                                 ? STR_NULL
                                                                 : h->message.head,
                                                     .more = true});
    next(h);
}

/* Our Received stays on top of what is inserted. */
static void edit(struct held *h)
{
    struct str head = h->message.head, rest = head;
    struct header_field first;
    size_t ours =
        header_next(&rest, &first) && str_ieq(first.name, STR("Received")) ? first.raw.n : 0;

    buf_init(&h->head, HEAD_MAX);
    buf_add_str(&h->head, str_take(head, ours));
    struct buf edited;
    buf_init(&edited, HEAD_MAX);
    bool changed = chain_edit_head(h->chain, str_skip(head, ours), &edited) && buf_ok(&edited);
    buf_add_str(&h->head, buf_str(&edited));
    h->no_room = !buf_ok(&edited) || !buf_ok(&h->head);
    buf_fini(&edited);
    if (!changed || h->no_room)
        buf_clear(&h->head);
}

static void submit(struct held *h)
{
    h->op = (struct store_op){.run = run_move, .done = on_moved, .cls = STORE_INTERACTIVE};
    if (store_submit(h->filters->env.store, &h->op) == 0)
        return;
    h->op.failed = true;
    on_moved(&h->op);
}

/* ---- What the stages say to the copies that leave. */

/* Who released it has the last word about quarantine. */
static bool may_leave(const struct held *h)
{
    const struct chain_answer *a = chain_answer(h->chain);

    return h->released ? a->verdict <= PH_QUARANTINE && !a->hold : a->verdict < PH_QUARANTINE;
}

static void on_leaving(void *ctx)
{
    struct held *h = ctx;

    if (!may_leave(h)) {
        plan(h);
        if (!h->plan.held) /* DISCARD: that is about the copies that leave, not about the others */
            h->plan.held = QUEUE_QUARANTINE;
    } else {
        (void)outbound_prefix(h->chain, h->actions, h->arena, &h->prefix);
    }
    submit(h);
}

static void leave(struct held *h)
{
    struct chain_message m = h->message;
    const char **names = ARENA_ARRAY(h->arena, const char *, h->n_to + 1);

    if (h->head.n)
        m.head = buf_str(&h->head);
    for (size_t i = 0; i < h->n_to; i++)
        names[i] = arena_str(h->arena, h->to[i].rcpt).p;
    h->view.rcpts = names;
    h->view.n_rcpts = h->n_to;
    h->view.route = h->route;
    h->actions = outbound_count_actions(h->chain);
    if (chain_run(h->chain, PH_OUTBOUND, &h->view, &m, NULL, on_leaving, h) == CHAIN_DONE)
        on_leaving(h);
}

static void let_go(struct held *h)
{
    h->plan = (struct plan){.release = true, .outcome = "released"};
    if (h->n_to && filters_at(h->filters, PH_OUTBOUND))
        leave(h);
    else
        submit(h);
}

static void on_judged(void *ctx)
{
    struct held *h = ctx;

    edit(h);
    plan(h);
    if (h->plan.release && h->n_to && filters_at(h->filters, PH_OUTBOUND))
        leave(h);
    else
        submit(h);
}

/* ---- It is judged. */

static void judge(struct held *h)
{
    struct ph_view v = {.mail_from = arena_str(h->arena, h->entry.sender).p};
    const char **rcpts = ARENA_ARRAY(h->arena, const char *, HELD_RCPTS_MAX + 1);
    struct str rest = h->entry.view, key, value;
    uint64_t session = 0;

    str_cut(rest, '\0', &key, &rest);
    str_cut(rest, '\0', &value, &rest); /* the session comes first */
    if (!str_eq(key, STR("session")) || str_to_u64(value, UINT64_MAX, &session))
        session = 0;
    h->chain = chain_new(h->filters, session);
    chain_transaction(h->chain, h->entry.id);
    v.rcpts = rcpts;
    h->quarantine_junk = held_restore(h->chain, h->arena, h->entry.view, &v, rcpts);
    h->route = v.route ? v.route : v.auth_user ? "submission" : "forward";
    v.route = NULL;
    h->view = v;
    h->released = held_is_released(h->entry.view);
    if (h->released) {
        let_go(h);
        return;
    }
    if (chain_run(h->chain, PH_MESSAGE, &v, &h->message, h->entry.stage.p, on_judged, h) ==
        CHAIN_DONE)
        on_judged(h);
}

/* ---- Several nodes: one judges it. */

static int run_claim(struct store_op *op, struct store_tx *tx)
{
    struct held *h = CONTAINER_OF(op, struct held, op);

    return queue_claim_held_tx(tx, h->entry.id, h->entry.next_ms, &h->mine, &op->err) ? -1
                                                                                      : STORE_DONE;
}

static void on_claimed(struct store_op *op)
{
    struct held *h = CONTAINER_OF(op, struct held, op);

    if (!h->filters)
        dispose(h);
    else if (op->failed || !h->mine)
        next(h);
    else
        judge(h);
}

static void claim(struct held *h)
{
    if (!store_shared(h->filters->env.store)) {
        judge(h);
        return;
    }
    h->op = (struct store_op){.run = run_claim, .done = on_claimed, .cls = STORE_INTERACTIVE};
    if (store_submit(h->filters->env.store, &h->op))
        next(h);
}

/* ---- Read on lane store. */

static int load(struct held *h, struct store_reader *r, struct err *err)
{
    struct body_reader b;

    if (body_open(r, h->arena, h->entry.body, BODY_WANT_HEAD | BODY_WANT_DATA, &b, err))
        return -1;
    h->message =
        (struct chain_message){.head = b.head, .data = b.data, .fd = -1, .data_size = b.data_size};
    if (b.fd >= 0)
        h->message.fd = fcntl(b.fd, F_DUPFD_CLOEXEC, 0);
    bool bad = b.fd >= 0 && h->message.fd < 0;
    body_close(&b);
    return bad ? ERR(err, ERR_TEMP, "out of file descriptors") : 0;
}

static void run_load(struct job *j, void *worker)
{
    struct held *h = CONTAINER_OF(j, struct held, job);
    struct queue_entry *list;
    size_t n = 0;

    h->found = h->loaded = false;
    if (!worker ||
        queue_list(worker, h->arena, QUEUE_HELD, h->all ? 0 : clock_wall_ms(), h->after, 1, &list,
                   &n, &h->err) ||
        !n)
        return;
    h->found = true;
    h->entry = list[0];
    h->loaded = load(h, worker, &h->err) == 0 &&
                queue_out_to(worker, h->arena, h->entry.id, &h->to, &h->n_to, &h->err) == 0;
}

static void on_loaded(struct job *j)
{
    struct held *h = CONTAINER_OF(j, struct held, job);

    if (!h->filters) {
        dispose(h);
        return;
    }
    if (!h->found) {
        round_over(h);
        return;
    }
    h->after = h->entry.id;
    if (h->loaded) {
        claim(h);
        return;
    }
    log_warn(&(struct log_ctx){.module = "filters"}, "held_unreadable", L_UINT("id", h->entry.id),
             L_Z("why", h->err.text));
    next(h);
}

static void next(struct held *h)
{
    forget(h);
    h->job = (struct job){.run = run_load, .done = on_loaded};
    if (lane_submit(store_lane(h->filters->env.store), &h->job))
        round_over(h);
}

/* ---- Quarantine */

static int run_expire(struct store_op *op, struct store_tx *tx)
{
    size_t n;

    if (queue_expire_tx(tx, clock_wall_ms(), &n, &op->err))
        return -1;
    return n ? STORE_AGAIN : STORE_DONE;
}

static void on_expired(struct store_op *op)
{
    struct held *h = CONTAINER_OF(op, struct held, op);

    if (op->failed)
        log_warn(&(struct log_ctx){.module = "filters"}, "quarantine_not_swept",
                 L_Z("why", op->err.text));
    if (h->filters)
        next(h);
    else
        dispose(h);
}

static void on_timer(void *ctx)
{
    struct held *h = ctx;
    int64_t now = clock_wall_ms();

    h->busy = true;
    h->after = 0;
    h->all = h->all_next;
    h->all_next = false;
    if (now - h->expired_ms < EXPIRE_EVERY_MS && now >= h->expired_ms) {
        next(h);
        return;
    }
    h->expired_ms = now;
    h->op = (struct store_op){.run = run_expire, .done = on_expired, .cls = STORE_BULK};
    if (store_submit(h->filters->env.store, &h->op))
        next(h);
}

void held_wake(struct held *h)
{
    h->again = h->busy;
    if (!h->busy)
        timer_start(h->timer, 0);
}

void held_wake_all(struct held *h)
{
    h->all_next = true;
    held_wake(h);
}

struct held *held_new(struct filters *f)
{
    struct held *h = MEM_NEW(struct held);
    const uint64_t retry = filters_settings(f)->hold_retry;

    h->filters = f;
    h->arena = arena_new(4096);
    h->message.fd = -1;
    h->timer = timer_new(f->env.loop, on_timer, h);
    /* The first look is for what was released meanwhile, the second sweeps. */
    timer_start(h->timer, retry < START_MS ? retry : START_MS);
    h->expired_ms = clock_wall_ms() - EXPIRE_EVERY_MS +
                    (int64_t)(retry < EXPIRE_EVERY_MS ? retry : EXPIRE_EVERY_MS);
    return h;
}

void held_free(struct held **hp)
{
    struct held *h = *hp;

    if (!h)
        return;
    *hp = NULL;
    timer_free(&h->timer);
    bool judging = h->chain && h->chain->run.active;
    bool deciding =
        h->chain && h->chain->run.defer.link.next && !list_empty(&h->chain->run.defer.link);
    chain_free(&h->chain);
    h->filters = NULL;
    if (!h->busy || judging || deciding)
        dispose(h); /* else at the answer of its job or operation */
}
