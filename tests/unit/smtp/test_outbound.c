/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Filter stages where mail leaves (PH_OUTBOUND), and messages that are kept with their recipients
 * elsewhere. */
#include "appliance/base/log.h"
#include "filters/registry.h"
#include "world.h"

static struct world w;
static struct client c;
static struct arena *arena;
static struct filters_registry *registry;
static struct filters_config *config;

/* What the stage does at each point, and what it saw at PH_OUTBOUND. */
static struct {
    enum ph_verdict message, outbound;
    unsigned turns;
    char route[16], head[2048];
    size_t read;
    const char *fact, *told;
} stage;

static void work(void *inst, const void *conf, enum ph_point at, const struct ph_view *v,
                 struct ph_result *r);
static struct ph_stage marker = {PH_STAGE_HEAD, .points = PH_AT(PH_MESSAGE) | PH_AT(PH_OUTBOUND),
                                 .name = "marker", .doc = "A stage of a test.", .work = work};
static int (*header_add)(struct ph_acts *, const char *, const char *);
static int (*header_insert)(struct ph_acts *, unsigned, const char *, const char *);
static int (*fact_set)(struct ph_acts *, const char *, const char *);

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *e)
{
    (void)conf;
    (void)e;
    *inst = NULL;
    header_add = host->header_add;
    header_insert = host->header_insert;
    fact_set = host->fact_set;
    return 0;
}

static void work(void *inst, const void *conf, enum ph_point at, const struct ph_view *v,
                 struct ph_result *r)
{
    static char all[100000];
    (void)inst;
    (void)conf;
    if (at == PH_MESSAGE) {
        header_add(r->acts, "X-In", "seen");
        if (stage.fact)
            fact_set(r->acts, stage.fact, stage.told);
        r->verdict = stage.message;
        return;
    }
    stage.turns++;
    snprintf(stage.route, sizeof stage.route, "%s", v->route);
    snprintf(stage.head, sizeof stage.head, "%.*s", (int)v->head_size, v->head);
    stage.read = (size_t)v->read(v, 0, all, sizeof all);
    header_insert(r->acts, 0, "X-First", "1");
    header_add(r->acts, "X-Last", "3");
    header_insert(r->acts, 0, "DKIM-Signature", "v=1;\r\n\tb=2");
    r->verdict = stage.outbound;
    if (stage.outbound == PH_DEFER)
        snprintf(r->reply, sizeof r->reply, "451 4.7.1 Not signed");
}

static void start(void)
{
    world_prepare(&w);
    arena = arena_new(0);
    memset(&stage, 0, sizeof stage);
    w.relays = true;
    w.loop = loop_new();
    registry = filters_registry_new();
    marker.open = open_stage;
    if (filters_registry_add(registry, &marker, &w.err) ||
        filters_config_new(registry, &config, &w.err) ||
        settings_assign(filters_registry_sections(registry), filters_config_object(config),
                        STR("headers.mode=off"), &w.err) ||
        settings_assign(filters_registry_sections(registry), filters_config_object(config),
                        STR("limits.mode=off"), &w.err))
        fail_msg("%s", w.err.text);
    const struct filters_env env = {.loop = w.loop, .registry = registry, .config = config};
    assert_int_equal(filters_open(&env, &w.filters, &w.err), 0);
    world_start(&w, SMTP_LOCAL, NULL);
    client_hello(&c, &w);
}

static void finish(void)
{
    client_close(&c);
    world_stop(&w, 0);
    while (!w.stopped)
        world_turn(&w);
    world_end(&w);
    filters_config_unref(&config);
    filters_registry_free(&registry);
    arena_free(&arena);
}

static void envelope(void)
{
    client_ask(&c, "MAIL FROM:<xandros@example.com>", "250 2.1.0");
    client_ask(&c, "RCPT TO:<vivita@example.com>", "250 2.1.5");
    client_ask(&c, "RCPT TO:<x@elsewhere.example>", "250 2.1.5");
}

#define MESSAGE "Subject: x\r\n\r\nthe text\r\n"

static void fields_of_leaving_copies(void **state)
{
    (void)state;
    struct stored s;
    start();
    envelope();
    client_message(&c, MESSAGE, "250 2.0.0");
    assert_int_equal(stage.turns, 1);
    assert_string_equal(stage.route, "submission");
    /* As it leaves: our Received and what other points have added are in it. */
    assert_true(str_starts(str_from(stage.head), STR("Received: ")));
    assert_true(str_find(str_from(stage.head), STR("\r\nX-In: seen\r\n"), &(size_t){0}));
    assert_int_equal(stage.read, strlen(stage.head) + strlen("the text\r\n"));
    assert_true(stored_open(&s, &w));
    assert_true(str_eq(s.out.prefix, STR("DKIM-Signature: v=1;\r\n\tb=2\r\nX-First: 1\r\n"
                                         "X-Last: 3\r\n")));
    stored_close(&s);
    struct str local = world_newest(&w, arena, "vivita@example.com");
    assert_true(str_find(local, STR("\r\nX-In: seen\r\n"), &(size_t){0}));
    assert_false(str_find(local, STR("X-First"), &(size_t){0}));
    assert_false(str_find(local, STR("DKIM-Signature"), &(size_t){0}));

    /* Nothing leaves: it isn't asked. */
    client_ask(&c, "MAIL FROM:<xandros@example.com>", "250 2.1.0");
    client_ask(&c, "RCPT TO:<vivita@example.com>", "250 2.1.5");
    client_message(&c, MESSAGE, "250 2.0.0");
    assert_int_equal(stage.turns, 1);
    finish();
}

static void large_message(void **state)
{
    (void)state;
    char line[1003];
    start();
    envelope();
    client_ask(&c, "DATA", "354");
    client_say(&c, "Subject: x\r\n\r\n");
    memset(line, 'x', 1000);
    memcpy(line + 1000, "\r\n", 3);
    for (int i = 0; i < 200; i++)
        client_say(&c, line);
    client_ask(&c, ".", "250 2.0.0");
    assert_int_equal(stage.turns, 1);
    assert_int_equal(stage.read, 100000); /* out of its file */
    finish();
}

static void refused(void **state)
{
    (void)state;
    start();
    stage.outbound = PH_DEFER;
    envelope();
    client_message(&c, MESSAGE, "451 4.7.1 Not signed");
    stage.outbound = PH_REJECT;
    envelope();
    client_message(&c, MESSAGE, "550");
    assert_int_equal(world_messages(&w, "vivita@example.com"), 0);
    assert_int_equal(world_queued(&w), 0);
    finish();
}

static void leaving_copies_dropped(void **state)
{
    (void)state;
    start();
    stage.outbound = PH_DISCARD;
    envelope();
    client_message(&c, MESSAGE, "250 2.0.0");
    assert_int_equal(world_messages(&w, "vivita@example.com"), 1);
    assert_int_equal(world_queued(&w), 0);
    client_ask(&c, "MAIL FROM:<xandros@example.com>", "250 2.1.0");
    client_ask(&c, "RCPT TO:<x@elsewhere.example>", "250 2.1.5");
    client_message(&c, MESSAGE, "250 2.0.0"); /* nothing is left of it */
    assert_int_equal(world_queued(&w), 0);
    finish();
}

struct release {
    struct store_op op;
    uint64_t id;
};

static int run_release(struct store_op *op, struct store_tx *tx)
{
    struct release *r = CONTAINER_OF(op, struct release, op);
    struct queue_gone gone = {.n = 0};

    return queue_release_tx(tx, r->id, NULL, &gone, &op->err) ? -1 : STORE_DONE;
}

/* The only message in quarantine. */
static void release(void)
{
    struct release r = {.op = {.run = run_release, .cls = STORE_INTERACTIVE}};
    struct store_reader *reader;
    struct queue_entry *list;
    size_t n = 0;
    assert_int_equal(store_reader_open(w.store, &reader, &w.err), 0);
    assert_int_equal(queue_list(reader, arena, QUEUE_QUARANTINE, 0, 0, 10, &list, &n, &w.err), 0);
    assert_int_equal(n, 1);
    r.id = list[0].id;
    store_reader_close(&reader);
    assert_int_equal(store_submit_wait(w.store, &r.op), 0);
}

/* Stages look at what leaves when it is released: it isn't signed yet. */
static void in_quarantine(enum ph_verdict message, enum ph_verdict outbound)
{
    struct stored s;
    start();
    stage.message = message;
    stage.outbound = outbound;
    envelope();
    client_message(&c, MESSAGE, "250 2.0.0");
    assert_int_equal(world_messages(&w, "vivita@example.com"), 0);
    assert_int_equal(w.queued, 0); /* nothing to be sent yet */
    release();
    assert_int_equal(world_messages(&w, "vivita@example.com"), 1);
    assert_true(stored_open(&s, &w));
    assert_int_equal(s.n_to, 1);
    assert_true(str_eq(s.to[0].rcpt, STR("x@elsewhere.example")));
    assert_int_equal(s.to[0].state, QUEUE_WAITING);
    assert_int_equal(s.out.prefix.n, 0);
    assert_int_equal(stage.turns, message == PH_PASS);
    stored_close(&s);
    finish();
}

static void quarantine(void **state)
{
    (void)state;
    in_quarantine(PH_QUARANTINE, PH_PASS);
    in_quarantine(PH_PASS, PH_QUARANTINE);
}

/* RFC 3461: a forged sender would get confirmations of mail that it never sent. */
static void forged_is_not_confirmed(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"spf.result", "fail"}, {"dmarc.result", "fail"}, {"spf.result", "softfail"}};
    char line[100];
    start();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        stage.fact = rows[i][0];
        stage.told = rows[i][1];
        snprintf(line, sizeof line, "MAIL FROM:<xandros@example.com> ENVID=number%zu", i);
        client_ask(&c, line, "250 2.1.0");
        client_ask(&c, "RCPT TO:<vivita@example.com> NOTIFY=SUCCESS", "250 2.1.5");
        client_message(&c, MESSAGE, "250 2.0.0");
    }
    timer_start(w.patience, PATIENCE_MS);
    while (!world_messages(&w, "xandros@example.com")) /* reports come in the order of messages */
        world_turn(&w);
    struct str text = world_newest(&w, arena, "xandros@example.com");
    assert_true(str_find(text, STR("Original-Envelope-Id: number2\r\n"), &(size_t){0}));
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_leaving_copies),
        cmocka_unit_test(large_message),
        cmocka_unit_test(refused),
        cmocka_unit_test(leaving_copies_dropped),
        cmocka_unit_test(quarantine),
        cmocka_unit_test(forged_is_not_confirmed),
    };
    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
