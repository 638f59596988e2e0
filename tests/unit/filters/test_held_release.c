/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Mail in quarantine that a command releases: what leaves of it is shown to the stages at
 * PH_OUTBOUND first, once, and what they say counts. */
#include "held_world.h"

/* The stage of this test. */
static struct {
    enum ph_verdict verdict;
    unsigned turns;
    char route[16], rcpt[64], head[200];
} stage;

static int (*header_insert)(struct ph_acts *, unsigned, const char *, const char *);

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *e)
{
    (void)conf;
    (void)e;
    *inst = NULL;
    header_insert = host->header_insert;
    return 0;
}

static void work(void *inst, const void *conf, enum ph_point at, const struct ph_view *v,
                 struct ph_result *r)
{
    (void)inst;
    (void)conf;
    assert_int_equal(at, PH_OUTBOUND);
    stage.turns++;
    snprintf(stage.route, sizeof stage.route, "%s", v->route);
    snprintf(stage.rcpt, sizeof stage.rcpt, "%s", v->rcpts[0]);
    snprintf(stage.head, sizeof stage.head, "%.*s", (int)v->head_size, v->head);
    header_insert(r->acts, 0, "X-Signed", "yes");
    r->verdict = stage.verdict;
}

static void start(bool with_stage)
{
    memset(&stage, 0, sizeof stage);
    world_init(&w);
    if (with_stage)
        world_add(&w, (struct ph_stage){.name = "marker",
                                        .points = PH_AT(PH_OUTBOUND),
                                        .open = open_stage,
                                        .work = work});
    held_world_open();
}

/* In quarantine, with one recipient elsewhere. */
static void put(uint64_t id, struct str view)
{
    const int64_t now = clock_wall_ms();
    const struct queue_to to = {.rcpt = STR("x@elsewhere.example"),
                                .site = STR("elsewhere.example"),
                                .next_ms = now,
                                .expires_ms = now + 1000000};
    const struct queue_new leaves = {.entry = {.id = id,
                                               .held = QUEUE_QUARANTINE,
                                               .since_ms = now,
                                               .until_ms = now + 1000000,
                                               .next_ms = now,
                                               .sender = STR("a@example.com"),
                                               .stage = STR("policy"),
                                               .reason = STR("odd"),
                                               .view = view},
                                     .out = {.prefix = STR("Delivered-To: b@example.com\r\n")},
                                     .to = &to,
                                     .n_to = 1};
    struct body_sink *sink = held_text();
    struct message_delivery d;

    message_delivery_init(&d, NULL);
    d.sink = sink;
    d.leaves = &leaves;
    assert_int_equal(store_submit_wait(w.store, &d.op), 0);
    assert_false(d.op.failed);
    body_sink_free(&sink);
}

struct release {
    struct store_op op;
    uint64_t id;
    bool later;
};

static int run_release(struct store_op *op, struct store_tx *tx)
{
    struct release *r = CONTAINER_OF(op, struct release, op);

    struct queue_gone gone = {.n = 0};

    return held_release_tx(tx, r->id, NULL, &r->later, &gone, &op->err) ? -1 : STORE_DONE;
}

static bool release(uint64_t id)
{
    struct release r = {.op = {.run = run_release, .cls = STORE_INTERACTIVE}, .id = id};

    assert_int_equal(store_submit_wait(w.store, &r.op), 0);
    assert_false(r.op.failed);
    return r.later;
}

static struct queue_entry held(uint64_t id)
{
    struct queue_entry e = {0};
    struct err err = {0};

    if (queue_get(reader, arena, id, &e, &err))
        assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    return e;
}

static bool leaves(uint64_t id, struct queue_out *out)
{
    struct queue_entry e;
    struct err err = {0};

    return queue_out_get(reader, arena, id, &e, out, &err) == 0;
}

static void let_leave(uint64_t id, const char *prefix)
{
    struct queue_out out;
    struct queue_to *to;
    struct err err = {0};
    size_t n;

    while (!leaves(id, &out))
        world_turn(&w);
    assert_true(str_eq(out.prefix, str_from(prefix)));
    assert_int_equal(queue_out_to(reader, arena, id, &to, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(to[0].state, QUEUE_WAITING);
}

#define SIGNED "X-Signed: yes\r\nDelivered-To: b@example.com\r\n"

static void shown_once(void **state)
{
    (void)state;
    start(true);
    put(1, STR("session\0007\0auth\0a@example.com\0"));
    assert_true(release(1));
    assert_int_equal(held(1).held, QUEUE_HELD);
    assert_true(release(1)); /* again: nothing changes */
    filters_look_at_held(w.filters);
    let_leave(1, SIGNED);
    assert_int_equal(stage.turns, 1);
    assert_string_equal(stage.route, "submission");
    assert_string_equal(stage.rcpt, "x@elsewhere.example");
    assert_string_equal(stage.head, "Subject: x\r\n\r\n");
    finish();
}

/* Whoever released it knows that a stage would like to keep it; a refusal is another thing. */
static void what_stages_say(void **state)
{
    (void)state;
    start(true);
    stage.verdict = PH_QUARANTINE;
    put(1, STR(""));
    assert_true(release(1));
    filters_look_at_held(w.filters);
    let_leave(1, SIGNED);

    stage.verdict = PH_REJECT;
    put(2, STR(""));
    assert_true(release(2));
    filters_look_at_held(w.filters);
    while (held(2).held == QUEUE_HELD)
        world_turn(&w);
    assert_int_equal(held(2).held, QUEUE_QUARANTINE);
    assert_true(str_eq(held(2).stage, STR("marker")));

    stage.verdict = PH_DEFER;
    assert_true(release(2));
    filters_look_at_held(w.filters);
    while (held(2).next_ms <= clock_wall_ms())
        world_turn(&w);
    assert_int_equal(held(2).held, QUEUE_HELD);
    stage.verdict = PH_PASS;
    assert_true(release(2)); /* which makes it due */
    filters_look_at_held(w.filters);
    let_leave(2, SIGNED);
    assert_int_equal(stage.turns, 4);
    finish();
}

static void no_stage_looks_at_it(void **state)
{
    (void)state;
    start(false);
    put(1, STR(""));
    assert_true(release(1));
    filters_look_at_held(w.filters);
    let_leave(1, "Delivered-To: b@example.com\r\n");
    finish();
}

/* Released while no server ran: seen when one begins. */
static void without_a_server(void **state)
{
    (void)state;
    start(true);
    filters_close(&w.filters);
    put(1, STR(""));
    assert_true(release(1));
    assert_false(leaves(1, &(struct queue_out){0}));
    world_open(&w);
    let_leave(1, SIGNED);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shown_once),
        cmocka_unit_test(what_stages_say),
        cmocka_unit_test(no_stage_looks_at_it),
        cmocka_unit_test(without_a_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
