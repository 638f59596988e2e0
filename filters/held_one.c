/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* held_one.c - one held message: read on lane store, judged by the chain, moved by an operation.
 * What is known of its transaction lies in queue.info as "key NUL value NUL ...". It was
 * acknowledged, so it can't be refused any more: what a stage rejects now goes into quarantine,
 * never into a bounce to a sender that may be forged. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/held_private.h"
#include "filters/outbound.h"
#include <fcntl.h>
#include <unistd.h>

enum { REMOVERS_MAX = 200, FULL_RETRIES = 10 /* times hold_retry, as somebody has to make room */ };

/* ---- Its end. */

static void dispose(struct held_one *o)
{
    held_apply_free(o);
    chain_free(&o->chain);
    if (o->message.fd >= 0)
        close(o->message.fd);
    buf_fini(&o->head);
    arena_free(&o->arena);
    mem_free(o);
}

void held_one_free(struct held_one **op)
{
    struct held_one *o = *op;

    *op = NULL;
    chain_free(&o->chain);
    o->held = NULL;
    o->filters = NULL;
    if (!o->away)
        dispose(o); /* else at the answer of its job or operation */
}

/* What was away has answered. False: nobody waits for it. */
static bool back(struct held_one *o)
{
    o->away = false;
    if (o->held)
        return true;
    dispose(o);
    return false;
}

static void submit(struct held_one *o, int (*run)(struct store_op *, struct store_tx *),
                   void (*done)(struct store_op *))
{
    o->op = (struct store_op){.run = run, .done = done, .cls = STORE_INTERACTIVE};
    o->away = true;
    if (store_submit(o->filters->env.store, &o->op) == 0)
        return;
    o->op.failed = true;
    done(&o->op);
}

/* ---- What becomes of it. */

static void plan_quarantine(struct held_one *o, const char *stage, struct str reason)
{
    const struct filters_conf *conf = filters_settings(o->filters);
    const int64_t now = clock_wall_ms();

    o->plan = (struct held_plan){.held = QUEUE_QUARANTINE,
                                 .until_ms = now + (int64_t)conf->quarantine_time,
                                 .count_max = (uint64_t)conf->quarantine_count,
                                 .bytes_max = conf->quarantine_bytes,
                                 .full_next_ms = now + FULL_RETRIES * (int64_t)conf->hold_retry,
                                 .stage = stage[0] ? arena_str(o->arena, str_from(stage))
                                                   : o->entry.stage,
                                 .reason = arena_str(o->arena, reason),
                                 .outcome = "in quarantine"};
}

static void plan(struct held_one *o)
{
    const struct chain_answer *a = chain_answer(o->chain);
    const int64_t now = clock_wall_ms();
    struct held_plan *p = &o->plan;
    bool undecided = a->hold || a->verdict == PH_DEFER;
    bool kept = a->verdict == PH_JUNK && o->quarantine_junk;

    plan_quarantine(o, a->stage, str_from(a->reason));
    if (undecided && now < o->entry.until_ms) { /* all of them are asked again: nothing is lost */
        *p = (struct held_plan){.held = QUEUE_HELD,
                                .until_ms = o->entry.until_ms,
                                .next_ms = now + (int64_t)filters_settings(o->filters)->hold_retry,
                                .stage = o->entry.stage,
                                .reason = o->entry.reason};
    } else if (undecided) {
        p->reason = STR("could not be judged within filters.hold_time");
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

/* Mail that arrives is put off then; this was acknowledged and waits, in the room of held mail. */
static int keep_waiting(struct held_one *o, struct store_tx *tx, struct err *err)
{
    o->plan.full = true;
    o->err = *err;
    return queue_keep_tx(tx, o->id, QUEUE_HELD, o->entry.until_ms, o->plan.full_next_ms,
                         o->entry.stage, o->entry.reason, err);
}

static int move(struct held_one *o, struct store_tx *tx, struct err *err) /* commit thread */
{
    struct held_plan *p = &o->plan;
    const uint64_t id = o->id;
    struct queue_entry now;
    bool mine;

    if (queue_claim_held_tx(tx, id, o->next_ms, &mine, err))
        return -1;
    if (!mine)
        return ERR(err, ERR_TEMP, "another node has it");
    if (queue_get_tx(tx, id, &now, err))
        return -1;
    if (!o->released && held_is_released(now.view))
        return ERR(err, ERR_TEMP, "it was released meanwhile");
    if (!p->held && !p->release)
        return queue_remove_tx(tx, id, err);
    p->full = false;
    if (p->held == QUEUE_QUARANTINE &&
        queue_room_tx(tx, QUEUE_QUARANTINE, p->count_max, p->bytes_max, err))
        return err->why == ERR_WHY_LIMIT ? keep_waiting(o, tx, err) : -1;
    if (p->held != QUEUE_HELD && held_apply_tx(o, tx, err))
        return -1;
    if (p->held)
        return queue_keep_tx(tx, id, p->held, p->until_ms, p->next_ms, p->stage, p->reason, err);
    if (o->prefix.n && queue_add_prefix_tx(tx, id, o->prefix, err))
        return -1;
    return queue_release_tx(tx, id, p->mailbox, &o->gone, err);
}

static int run_move(struct store_op *op, struct store_tx *tx)
{
    struct held_one *o = CONTAINER_OF(op, struct held_one, op);

    return move(o, tx, &op->err) ? -1 : STORE_DONE;
}

static void keep(struct held_one *o, const char *what)
{
    chain_keep(o->chain, &(struct chain_subject){
                             .sender = o->entry.sender,
                             .outcome = str_from(what),
                             .rcpts = (size_t)o->entry.n_rcpts,
                             .size = o->entry.size,
                             .head = o->plan.held || o->plan.release ? STR_NULL : o->message.head,
                             .more = true});
}

static void on_moved(struct store_op *op)
{
    struct held_one *o = CONTAINER_OF(op, struct held_one, op);

    if (!back(o))
        return;
    const struct log_ctx ctx = {.module = "filters", .sid = o->chain->session, .mid = o->id};
    const char *what = o->gone.n ? "in quarantine: a recipient is gone" : o->plan.outcome;
    if (o->plan.full) /* what it would be isn't told as what became of it */
        what = NULL;
    if (op->failed)
        log_warn(&ctx, "held_not_moved", L_Z("why", op->err.text));
    else if (o->plan.full)
        held_say_full(o->held, &o->err);
    else if (what)
        log_info(&ctx, "held_judged", L_Z("outcome", what), L_STR("from", o->entry.sender),
                 L_Z("reason",
                     o->change.impossible ? o->change.impossible : chain_answer(o->chain)->reason));
    if (!op->failed && o->gone.n)
        log_warn(&ctx, "recipient_gone", L_UINT("rcpts", o->gone.n), L_ID("kept_as", o->gone.id));
    if (what && !op->failed)
        keep(o, what);
    held_one_over(o, o->plan.held == QUEUE_HELD);
}

static void move_it(struct held_one *o)
{
    o->gone.until_ms = clock_wall_ms() + (int64_t)filters_settings(o->filters)->quarantine_time;
    submit(o, run_move, on_moved);
}

/* Nothing leaves with half of what the stages wanted done to it. */
static void on_body(struct held_one *o)
{
    if (o->change.impossible)
        plan_quarantine(o, chain_answer(o->chain)->stage,
                        arena_printf(o->arena, "what the stages change can't be done: %s",
                                     o->change.impossible));
    move_it(o);
}

/* ---- What the stages say to the copies that leave. */

/* Who released it has the last word about quarantine. */
static bool may_leave(const struct held_one *o)
{
    const struct chain_answer *a = chain_answer(o->chain);

    return o->released ? a->verdict <= PH_QUARANTINE && !a->hold : a->verdict < PH_QUARANTINE;
}

static void on_leaving(void *ctx)
{
    struct held_one *o = ctx;

    if (!may_leave(o)) {
        plan(o);
        if (!o->plan.held) /* DISCARD: that is about the copies that leave, not about the others */
            o->plan.held = QUEUE_QUARANTINE;
    } else {
        (void)outbound_prefix(o->chain, o->actions, o->arena, &o->prefix);
    }
    held_apply_body(o, on_body);
}

static void leave(struct held_one *o)
{
    struct chain_message m = o->message;
    const char **names = ARENA_ARRAY(o->arena, const char *, o->n_to + 1);
    const struct chain_action *body = chain_new_body(o->chain);

    if (o->head.n)
        m.head = buf_str(&o->head);
    if (body) {
        m.data = body->value;
        m.data_size = body->value.n;
        m.fd = -1;
    }
    o->view.n_rcpts = 0;
    for (size_t i = 0; i < o->n_to; i++)
        if (held_goes_on(o, o->to[i].rcpt))
            names[o->view.n_rcpts++] = arena_str(o->arena, o->to[i].rcpt).p;
    if (o->change.sender.p)
        o->view.mail_from = o->change.sender.p;
    o->view.rcpts = names;
    o->view.route = o->route;
    o->actions = outbound_count_actions(o->chain);
    if (!o->view.n_rcpts ||
        chain_run(o->chain, PH_OUTBOUND, &o->view, &m, NULL, on_leaving, o) == CHAIN_DONE)
        on_leaving(o);
}

static bool stages_see_it_leave(const struct held_one *o)
{
    return o->plan.release && o->n_to && filters_at(o->filters, PH_OUTBOUND);
}

static void on_applied(struct held_one *o)
{
    if (!o->change.impossible && o->plan.release && held_nobody_left(o)) {
        o->plan.release = false;
        char removers[REMOVERS_MAX];
        o->plan.outcome = arena_printf(o->arena, "discarded: all recipients were removed by %s",
                                       chain_removers(o->chain, removers, sizeof removers))
                              .p;
        move_it(o);
    } else if (!o->change.impossible && stages_see_it_leave(o)) {
        leave(o);
    } else {
        held_apply_body(o, on_body);
    }
}

/* ---- It is judged. */

static void on_judged(void *ctx)
{
    struct held_one *o = ctx;

    plan(o);
    if (o->plan.held == QUEUE_HELD || (!o->plan.held && !o->plan.release))
        move_it(o);
    else
        held_apply(o, on_applied);
}

static void let_go(struct held_one *o)
{
    o->plan = (struct held_plan){.release = true, .outcome = "released"};
    if (stages_see_it_leave(o))
        leave(o);
    else
        move_it(o);
}

static void judge(struct held_one *o)
{
    struct ph_view v = {.mail_from = arena_str(o->arena, o->entry.sender).p};
    const char **rcpts = ARENA_ARRAY(o->arena, const char *, HELD_RCPTS_MAX + 1);
    struct str rest = o->entry.view, key, value;
    uint64_t session = 0;

    str_cut(rest, '\0', &key, &rest);
    str_cut(rest, '\0', &value, &rest); /* the session comes first */
    if (!str_eq(key, STR("session")) || str_to_u64(value, UINT64_MAX, &session))
        session = 0;
    o->chain = chain_new(o->filters, session);
    chain_transaction(o->chain, o->id);
    v.rcpts = rcpts;
    o->quarantine_junk = held_restore(o->chain, o->arena, o->entry.view, &v, rcpts);
    o->route = v.route ? v.route : v.auth_user ? "submission" : "forward";
    v.route = NULL;
    o->view = v;
    o->released = held_is_released(o->entry.view);
    if (o->released)
        let_go(o);
    else if (chain_run(o->chain, PH_MESSAGE, &v, &o->message, o->entry.stage.p, on_judged, o) ==
             CHAIN_DONE)
        on_judged(o);
}

/* ---- Several nodes: one judges it. */

static int run_claim(struct store_op *op, struct store_tx *tx)
{
    struct held_one *o = CONTAINER_OF(op, struct held_one, op);

    return queue_claim_held_tx(tx, o->id, o->next_ms, &o->mine, &op->err) ? -1 : STORE_DONE;
}

static void on_claimed(struct store_op *op)
{
    struct held_one *o = CONTAINER_OF(op, struct held_one, op);

    if (!back(o))
        return;
    if (op->failed || !o->mine)
        held_one_over(o, false);
    else
        judge(o);
}

/* ---- Read on lane store. */

static int load_body(struct held_one *o, struct store_reader *r)
{
    struct body_reader b;

    if (body_open(r, o->arena, o->entry.body, BODY_WANT_HEAD | BODY_WANT_DATA, &b, &o->err))
        return -1;
    o->message =
        (struct chain_message){.head = b.head, .data = b.data, .fd = -1, .data_size = b.data_size};
    if (b.fd >= 0)
        o->message.fd = fcntl(b.fd, F_DUPFD_CLOEXEC, 0);
    bool bad = b.fd >= 0 && o->message.fd < 0;
    body_close(&b);
    return bad ? ERR(&o->err, ERR_TEMP, "out of file descriptors") : 0;
}

static void run_load(struct job *j, void *worker)
{
    struct held_one *o = CONTAINER_OF(j, struct held_one, job);

    if (!worker) {
        err_set(&o->err, ERR_TEMP, ERR_WHY_NOT_FOUND, "the store is closed");
        return;
    }
    o->loaded = queue_get(worker, o->arena, o->id, &o->entry, &o->err) == 0 &&
                load_body(o, worker) == 0 &&
                queue_out_to(worker, o->arena, o->id, &o->to, &o->n_to, &o->err) == 0;
}

static void on_loaded(struct job *j)
{
    struct held_one *o = CONTAINER_OF(j, struct held_one, job);

    if (!back(o))
        return;
    if (!o->loaded && o->err.why != ERR_WHY_NOT_FOUND)
        log_warn(&(struct log_ctx){.module = "filters"}, "held_unreadable", L_ID("id", o->id),
                 L_Z("why", o->err.text));
    if (!o->loaded || o->entry.held != QUEUE_HELD || o->entry.next_ms != o->next_ms)
        held_one_over(o, false);
    else if (store_shared(o->filters->env.store))
        submit(o, run_claim, on_claimed);
    else
        judge(o);
}

struct held_one *held_one_start(struct held *h, const struct queue_due_held *row)
{
    struct held_one *o = MEM_NEW(struct held_one);

    o->held = h;
    o->filters = held_filters(h);
    o->id = row->id;
    o->next_ms = row->next_ms;
    o->arena = arena_new(4096);
    o->message.fd = -1;
    o->job = (struct job){.run = run_load, .done = on_loaded};
    o->away = true;
    if (lane_submit(store_lane(o->filters->env.store), &o->job) == 0)
        return o;
    o->away = false;
    dispose(o);
    return NULL;
}
