/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The chain with stages that answer at once, later, never, twice; what verdicts come to; order,
 * facts, actions. */
#include "tests/unit/filters/world.h"

/* A loop-style stage whose verdict is set by the test. */
struct fake {
    const struct ph_host *host;
    enum ph_verdict verdict;
    const char *reply, *reason;
    unsigned begun, cancelled, closed, timers;
    ph_turn turn; /* the last one */
    enum { AT_ONCE, LATER, NEVER, TWICE } how;
    const char *fact, *header, *seen;
    char seen_text[64];
    int order;
    double score;
};
static struct fake fakes[6];
static int clock_of_order;

static void fake_answer(struct fake *f, ph_turn turn)
{
    struct ph_acts *acts = f->host->acts(f->host, turn);

    if (f->fact)
        assert_int_equal(f->host->fact_set(acts, f->fact, "yes"), 0);
    if (f->header)
        assert_int_equal(f->host->header_add(acts, f->header, "1"), 0);
    if (f->score != 0)
        f->host->score(acts, f->score);
    f->host->done(f->host, turn, f->verdict, f->reply, f->reason);
}

static void fake_later(void *inst, ph_turn turn, void *arg)
{
    struct fake *f = inst;

    assert_ptr_equal(arg, f);
    f->timers++;
    fake_answer(f, turn);
}

static void fake_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct fake *f = inst;

    (void)conf;
    (void)at;
    f->begun++;
    f->turn = turn;
    f->order = ++clock_of_order;
    assert_non_null(f->host->view(f->host, turn));
    if (f->seen) {
        const char *v = f->host->fact_get(f->host->acts(f->host, turn), f->seen);
        snprintf(f->seen_text, sizeof f->seen_text, "%s", v ? v : "(none)");
    }
    if (f->how == AT_ONCE || f->how == TWICE)
        fake_answer(f, turn);
    if (f->how == TWICE)
        f->host->done(f->host, turn, PH_REJECT, NULL, NULL);
    if (f->how == LATER)
        assert_int_equal(f->host->after(f->host, turn, 1, fake_later, f), 0);
}

static void fake_cancel(void *inst, ph_turn turn)
{
    struct fake *f = inst;

    assert_int_equal(turn.id, f->turn.id);
    assert_non_null(f->host->view(f->host, turn));
    f->cancelled++;
}

static void fake_close(void *inst)
{
    ((struct fake *)inst)->closed++;
}

#define OPENER(n)                                                                                  \
    static int open_##n(const struct ph_host *host, const void *conf, void **inst,                 \
                        struct ph_err *err)                                                        \
    {                                                                                              \
        (void)conf;                                                                                \
        (void)err;                                                                                 \
        fakes[n].host = host;                                                                      \
        *inst = &fakes[n];                                                                         \
        return 0;                                                                                  \
    }
OPENER(0)
OPENER(1)
OPENER(2)
static int (*const openers[])(const struct ph_host *, const void *, void **,
                              struct ph_err *) = {open_0, open_1, open_2};
static const char *const names[] = {"a", "b", "c"};

static void add(struct world *w, int n, const char *after, uint32_t flags)
{
    world_add(w, (struct ph_stage){.name = names[n],
                                   .points = PH_AT(PH_MAIL) | PH_AT(PH_RCPT) | PH_AT(PH_MESSAGE),
                                   .after = after,
                                   .flags = flags,
                                   .turn_size = 16,
                                   .open = openers[n],
                                   .close = fake_close,
                                   .on_point = fake_point,
                                   .cancel = fake_cancel});
}

static void begin(struct world *w)
{
    memset(fakes, 0, sizeof fakes);
    clock_of_order = 0;
    world_init(w);
}

static void verdicts(void **state)
{
    /* of a and b; flags of b; the result */
    static const struct {
        enum ph_verdict a, b;
        uint32_t flags;
        enum ph_verdict result;
    } cases[] = {
        {PH_PASS, PH_PASS, 0, PH_PASS},
        {PH_JUNK, PH_PASS, 0, PH_JUNK},
        {PH_JUNK, PH_QUARANTINE, 0, PH_QUARANTINE},
        {PH_QUARANTINE, PH_JUNK, 0, PH_QUARANTINE},
        {PH_ACCEPT, PH_PASS, 0, PH_ACCEPT},
        {PH_ACCEPT, PH_JUNK, 0, PH_ACCEPT},
        {PH_JUNK, PH_ACCEPT, 0, PH_ACCEPT},
        {PH_ACCEPT, PH_JUNK, PH_ALWAYS, PH_JUNK},
        {PH_ACCEPT, PH_REJECT, 0, PH_REJECT},
        {PH_JUNK, PH_DISCARD, 0, PH_DISCARD},
        {PH_DISCARD, PH_REJECT, 0, PH_DISCARD},
        {PH_DISCARD, PH_REJECT, PH_ALWAYS, PH_REJECT},
        {PH_DEFER, PH_REJECT, 0, PH_DEFER},
        {PH_REJECT, PH_PASS, PH_ALWAYS, PH_REJECT},
        {PH_ACCEPT, PH_DEFER, PH_UNLESS_ACCEPTED, PH_ACCEPT},
    };
    (void)state;
    for (int how = AT_ONCE; how <= LATER; how++)
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct world w;
            begin(&w);
            add(&w, 0, NULL, 0);
            add(&w, 1, "a", cases[i].flags);
            world_open(&w);
            fakes[0].verdict = cases[i].a;
            fakes[1].verdict = cases[i].b;
            fakes[0].how = fakes[1].how = how;
            struct chain *c = chain_new(w.filters, 7);
            chain_transaction(c, 8);
            assert_int_equal(world_run(&w, c, PH_MESSAGE)->verdict, cases[i].result);
            chain_free(&c);
            world_fini(&w);
            assert_int_equal(fakes[0].closed, 1);
        }
}

static void order_and_facts(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    add(&w, 0, "b, nobody", 0); /* one that isn't there is not waited for */
    add(&w, 1, "c", 0);
    add(&w, 2, NULL, 0);
    world_open(&w);
    fakes[2].how = LATER;
    fakes[2].fact = "c.result";
    fakes[0].seen = fakes[1].seen = fakes[2].seen = "c.result";
    fakes[0].header = "X-A";
    fakes[2].header = "X-C";
    fakes[1].score = 1.5;
    fakes[2].score = 2;
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    assert_int_equal(world_run(&w, c, PH_MAIL)->verdict, PH_PASS);
    assert_true(fakes[2].order < fakes[1].order && fakes[1].order < fakes[0].order);
    assert_string_equal(fakes[0].seen_text, "yes");
    assert_string_equal(fakes[2].seen_text, "(none)");
    assert_true(chain_score(c) == 3.5);
    const struct chain_action *a = chain_actions(c);
    assert_string_equal(a->name.p, "X-C");
    assert_string_equal(a->next->name.p, "X-A");
    world_run(&w, c, PH_MESSAGE); /* a later point sees it too */
    assert_string_equal(fakes[2].seen_text, "yes");
    chain_transaction(c, 3);
    assert_null(chain_actions(c));
    world_run(&w, c, PH_MAIL);
    assert_string_equal(fakes[2].seen_text, "(none)");
    unsigned n = 0;
    for (const struct chain_record *r = chain_records(c, false); r; r = r->next)
        n++;
    assert_int_equal(n, 3);
    chain_free(&c);
    world_fini(&w);
}

static void circle(void **state)
{
    struct world w;
    struct err err = {0};

    (void)state;
    begin(&w);
    add(&w, 0, "b", 0);
    add(&w, 1, "c", 0);
    add(&w, 2, "a", 0);
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_non_null(strstr(err.text, "circle"));
    world_fini(&w);
}

static void waits_for_itself(void **state)
{
    struct world w;
    struct err err = {0};

    (void)state;
    begin(&w);
    add(&w, 0, NULL, 0);
    add(&w, 1, "a,b", 0);
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_string_equal(err.text, "stage b waits (`after`) for itself");
    world_fini(&w);
}

static unsigned looked_at, opened;
static int refuse_settings(const void *conf, struct ph_err *err)
{
    (void)conf;
    looked_at++;
    snprintf(err->text, sizeof err->text, "word: not this one");
    return -1;
}
static int count_open(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)host, (void)conf, (void)inst, (void)err;
    opened++;
    return 0;
}

/* What a stage says of its settings is heard before any stage is opened; but not of one that is
 * off. */
static void looks_at_settings_first(void **state)
{
    struct world w;
    struct err err = {0};

    (void)state;
    looked_at = opened = 0;
    begin(&w);
    world_add(&w, (struct ph_stage){.name = "early",
                                    .points = PH_AT(PH_MAIL),
                                    .open = count_open,
                                    .on_point = fake_point});
    world_add(&w, (struct ph_stage){.name = "picky",
                                    .points = PH_AT(PH_MAIL),
                                    .after = "early",
                                    .check = refuse_settings,
                                    .on_point = fake_point});
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_string_equal(err.text, "picky: word: not this one");
    assert_int_equal(looked_at, 1);
    assert_int_equal(opened, 0);
    world_set(&w, "picky.mode=off");
    world_open(&w);
    assert_int_equal(looked_at, 1);
    assert_int_equal(opened, 1);
    world_fini(&w);
}

static void stops_others(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    add(&w, 0, NULL, 0);
    add(&w, 1, NULL, 0);
    add(&w, 2, NULL, PH_ALWAYS);
    world_open(&w);
    fakes[0].how = NEVER;
    fakes[1].how = LATER;
    fakes[1].verdict = PH_REJECT;
    fakes[1].reply = "553 5.7.9 Not today";
    fakes[2].how = LATER;
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    const struct chain_answer *a = world_run(&w, c, PH_MESSAGE);
    assert_int_equal(a->verdict, PH_REJECT);
    assert_int_equal(a->code, 553);
    assert_string_equal(a->status, "5.7.9");
    assert_string_equal(a->text, "Not today");
    assert_string_equal(a->stage, "b");
    assert_int_equal(fakes[0].cancelled, 1);
    assert_int_equal(fakes[2].timers, 1);
    /* a late answer finds nothing */
    fakes[0].host->done(fakes[0].host, fakes[0].turn, PH_PASS, NULL, NULL);
    assert_null(fakes[0].host->view(fakes[0].host, fakes[0].turn));
    assert_int_equal(fakes[0].host->after(fakes[0].host, fakes[0].turn, 1, fake_later, NULL), -1);
    chain_free(&c);
    world_fini(&w);
}

static void second_answer(void **state)
{
    struct world w;
    struct filters_stats stats[FILTERS_MAX];

    (void)state;
    begin(&w);
    add(&w, 0, NULL, 0);
    world_open(&w);
    fakes[0].how = TWICE;
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    assert_int_equal(world_run(&w, c, PH_MESSAGE)->verdict, PH_PASS);
    size_t n = filters_stats(w.filters, stats, FILTERS_MAX);
    assert_int_equal(stats[n - 1].late, 1);
    assert_int_equal(stats[n - 1].turns, 1);
    chain_free(&c);
    world_fini(&w);
}

static void recipients(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    add(&w, 0, NULL, 0);
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    fakes[0].verdict = PH_REJECT;
    assert_int_equal(world_run(&w, c, PH_RCPT)->verdict, PH_REJECT);
    fakes[0].verdict = PH_PASS;
    assert_int_equal(world_run(&w, c, PH_RCPT)->verdict, PH_PASS); /* it was about the other one */
    fakes[0].verdict = PH_JUNK;
    assert_int_equal(world_run(&w, c, PH_RCPT)->verdict, PH_JUNK);
    fakes[0].verdict = PH_PASS;
    assert_int_equal(world_run(&w, c, PH_MESSAGE)->verdict, PH_JUNK);
    chain_free(&c);
    world_fini(&w);
}

/* However many recipients there are, what was found in the message is known to who comes after. */
static void many_recipients(void **state)
{
    struct world w;
    size_t rcpts = 0, messages = 0;

    (void)state;
    begin(&w);
    add(&w, 0, NULL, 0);
    add(&w, 1, "a", 0);
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    fakes[0].fact = "a.at_rcpt";
    fakes[0].verdict = PH_DEFER;
    for (int i = 0; i < 2 * RECORDS_MAX; i++)
        assert_int_equal(world_run(&w, c, PH_RCPT)->verdict, PH_DEFER);
    fakes[0].verdict = PH_PASS;
    fakes[0].fact = "a.found";
    fakes[1].seen = "a.found";
    fakes[1].verdict = PH_REJECT;
    assert_int_equal(world_run(&w, c, PH_MESSAGE)->verdict, PH_REJECT);
    assert_string_equal(fakes[1].seen_text, "yes");
    assert_true(str_eq(chain_fact(c, STR("a.at_rcpt")), STR("yes")));
    for (const struct chain_record *r = chain_records(c, false); r; r = r->next)
        *(r->point == PH_RCPT ? &rcpts : &messages) += 1;
    assert_int_equal(rcpts, RECORDS_MAX);
    assert_int_equal(messages, 2);
    assert_int_equal(c->of_message.left_out, RECORDS_MAX);
    assert_true(c->of_message.n_facts < 200); /* those of all recipients are one */
    chain_free(&c);
    world_fini(&w);
}

/* A stage whose facts can't be kept has failed: nobody takes it for one that didn't look. */
static void too_many_facts(void **state)
{
    static const struct {
        const char *setting;
        enum ph_verdict own, result;
        bool failed;
    } cases[] = {{"a.on_error=defer", PH_PASS, PH_DEFER, true},
                 {"a.on_error=pass", PH_PASS, PH_PASS, true},
                 {"a.on_error=pass", PH_REJECT, PH_REJECT, false},
                 {"a.on_error=junk", PH_JUNK, PH_JUNK, true},
                 {"a.on_error=hold", PH_JUNK, PH_PASS, true}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        char name[40];
        begin(&w);
        add(&w, 0, NULL, 0);
        world_set(&w, cases[i].setting);
        world_open(&w);
        struct chain *c = chain_new(w.filters, 1);
        chain_transaction(c, 2);
        fakes[0].fact = name;
        for (int n = 0; n < 2000; n++) {
            snprintf(name, sizeof name, "a.fact%d", n);
            assert_int_equal(world_run(&w, c, PH_RCPT)->verdict, PH_PASS);
        }
        snprintf(name, sizeof name, "a.fact7"); /* known: there is room for another value */
        assert_int_equal(world_run(&w, c, PH_RCPT)->verdict, PH_PASS);
        fakes[0].fact = "a.more";
        fakes[0].verdict = cases[i].own;
        const struct chain_answer *a = world_run(&w, c, PH_MESSAGE);
        assert_int_equal(a->verdict, cases[i].result);
        assert_int_equal(a->hold, i == 4);
        const struct chain_record *r = chain_records(c, false);
        while (r->next)
            r = r->next;
        assert_int_equal(r->failed, cases[i].failed);
        assert_null(chain_fact(c, STR("a.more")).p);
        chain_free(&c);
        world_fini(&w);
    }
}

/* ACCEPT of a recipient: no other stage of the kind is asked about this one; the message is settled
 * when all of them have it. */
static void recipients_accepted(void **state)
{
    static const struct {
        enum ph_verdict rcpts[3]; /* of b, each in its turn; ACCEPT or PASS */
        enum ph_verdict result;
    } cases[] = {{{PH_ACCEPT, PH_ACCEPT, PH_ACCEPT}, PH_ACCEPT},
                 {{PH_ACCEPT, PH_PASS, PH_ACCEPT}, PH_JUNK},
                 {{PH_ACCEPT, PH_ACCEPT, PH_PASS}, PH_JUNK},
                 {{PH_ACCEPT, PH_REJECT, PH_ACCEPT}, PH_ACCEPT}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        begin(&w);
        add(&w, 0, NULL, 0);
        add(&w, 1, "a", 0);
        add(&w, 2, "b", PH_UNLESS_ACCEPTED);
        world_open(&w);
        struct chain *c = chain_new(w.filters, 1);
        chain_transaction(c, 2);
        fakes[0].verdict = PH_JUNK;
        assert_int_equal(world_run(&w, c, PH_MAIL)->verdict, PH_JUNK);
        fakes[0].verdict = PH_PASS;
        for (size_t r = 0; r < 3; r++) {
            unsigned before = fakes[2].begun;
            fakes[1].verdict = cases[i].rcpts[r];
            enum ph_verdict v = world_run(&w, c, PH_RCPT)->verdict;
            assert_int_equal(v, fakes[1].verdict == PH_PASS ? PH_JUNK : fakes[1].verdict);
            assert_int_equal(fakes[2].begun - before, fakes[1].verdict == PH_PASS);
        }
        fakes[1].verdict = PH_PASS;
        assert_int_equal(world_run(&w, c, PH_MESSAGE)->verdict, cases[i].result);
        chain_transaction(c, 3); /* of that one only */
        fakes[0].verdict = PH_JUNK;
        assert_int_equal(world_run(&w, c, PH_MESSAGE)->verdict, PH_JUNK);
        chain_free(&c);
        world_fini(&w);
    }
}

static void modes_and_errors(void **state)
{
    static const struct {
        const char *set;
        enum ph_verdict result;
    } cases[] = {{"a.mode=shadow", PH_PASS},   {"a.mode=off", PH_PASS},
                 {"a.on_error=pass", PH_PASS}, {"a.on_error=reject", PH_REJECT},
                 {"a.mode=on", PH_DEFER},      {"a.on_error=junk", PH_JUNK},
                 {"a.on_error=hold", PH_PASS}, {"a.on_error=quarantine", PH_QUARANTINE}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        begin(&w);
        add(&w, 0, NULL, 0);
        world_set(&w, "a.deadline=5ms");
        world_set(&w, cases[i].set);
        world_open(&w);
        fakes[0].how = NEVER;
        struct chain *c = chain_new(w.filters, 1);
        chain_transaction(c, 2);
        const struct chain_answer *a = world_run(&w, c, PH_MESSAGE);
        assert_int_equal(a->verdict, cases[i].result);
        assert_int_equal(a->hold, i == 6);
        if (i == 6)
            assert_string_equal(a->stage, "a");
        if (i == 4)
            assert_int_equal(a->code, 451);
        assert_int_equal(fakes[0].cancelled, i != 1);
        chain_free(&c);
        world_fini(&w);
    }
}

static void shadow_does_nothing(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    add(&w, 0, NULL, 0);
    world_set(&w, "a.mode=shadow");
    world_open(&w);
    fakes[0].verdict = PH_REJECT;
    fakes[0].header = "X-A";
    fakes[0].score = 5;
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    assert_int_equal(world_run(&w, c, PH_MESSAGE)->verdict, PH_PASS);
    assert_null(chain_actions(c));
    assert_true(chain_score(c) == 0);
    assert_true(chain_records(c, false)->shadow);
    assert_int_equal(chain_records(c, false)->verdict, PH_REJECT);
    chain_free(&c);
    world_fini(&w);
}

static void client_gone(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    add(&w, 0, NULL, 0);
    add(&w, 1, "a", 0);
    world_open(&w);
    fakes[0].how = NEVER;
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    assert_int_equal(world_begin(&w, c, PH_MESSAGE), CHAIN_WAIT);
    chain_free(&c);
    assert_int_equal(fakes[0].cancelled, 1);
    assert_int_equal(fakes[1].begun, 0);
    for (int i = 0; i < 5; i++)
        world_turn(&w);
    assert_int_equal(w.answers, 0);
    world_fini(&w);
}

/* ---- Acts */

static void acts_checked(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    add(&w, 0, NULL, 0);
    world_open(&w);
    fakes[0].how = NEVER;
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    world_begin(&w, c, PH_MESSAGE);
    const struct ph_host *h = fakes[0].host;
    struct ph_acts *a = h->acts(h, fakes[0].turn);
    assert_int_equal(h->header_add(a, "X-Good", "one\r\n\ttwo\n three"), 0);
    assert_int_equal(h->header_add(a, "X Bad", "v"), -1);
    assert_int_equal(h->header_add(a, "X-Bad:", "v"), -1);
    assert_int_equal(h->header_add(a, "X-Bad", "v\r\nInjected: yes"), -1);
    assert_int_equal(h->header_add(a, "X-Bad", "v\n\n body"), -1);
    assert_int_equal(h->header_add(a, "X-Bad", "v\n \t\n w"), -1);
    assert_int_equal(h->header_add(a, "X-Bad", "a\rb"), -1);
    assert_int_equal(h->header_add(a, "X-Bad", "\xff"), -1);
    assert_int_equal(h->body_replace(a, "no line end", 11), -1);
    assert_int_equal(h->body_replace(a, "bare\nlf\r\n", 9), -1);
    assert_int_equal(h->body_replace(a, "good\r\n", 6), 0);
    assert_int_equal(h->rcpt_add(a, "x@example.com"), 0);
    assert_int_equal(h->rcpt_add(a, "x@example.com>"), -1);
    assert_int_equal(h->rcpt_add(a, "nodomain"), -1);
    assert_int_equal(h->sender_change(a, ""), 0);
    assert_int_equal(h->tag(a, "two words"), -1);
    assert_int_equal(h->tag(a, "word"), 0);
    assert_int_equal(h->score(a, 0.0 / 0.0), -1);
    char *big = mem_alloc(70000);
    memset(big, 'x', 69999);
    assert_int_equal(h->fact_set(a, "big", big), -1);
    mem_free(big);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(h->tag(a, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 0);
    h->done(h, fakes[0].turn, PH_PASS, NULL, NULL);
    while (!w.answers)
        world_turn(&w);
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_true(chain_edit_head(c, STR("A: 1\r\nX-Posthouse-Tags: forged\r\n\r\n"), &out));
    assert_true(str_starts(buf_str(&out), STR("X-Posthouse-Tags: word, aaaa")));
    assert_true(str_ends(buf_str(&out), STR("A: 1\r\nX-Good: one\r\n\ttwo\r\n three\r\n\r\n")));
    assert_false(str_find(buf_str(&out), STR("forged"), &(size_t){0}));
    buf_fini(&out);
    chain_free(&c);
    world_fini(&w);
}

/* 256 KB a turn. What the others were for isn't known: none of them is done. */
static void acts_without_room(void **state)
{
    static const struct {
        const char *on_error;
        enum ph_verdict verdict, want;
        bool fails; /* the stage says so itself */
    } rows[] = {{"a.on_error=defer", PH_PASS, PH_DEFER, false},
                {"a.on_error=pass", PH_PASS, PH_PASS, false},
                {"a.on_error=pass", PH_JUNK, PH_JUNK, false},
                {"a.on_error=defer", PH_REJECT, PH_REJECT, false},
                {"a.on_error=defer", PH_JUNK, PH_DEFER, false},
                {"a.on_error=pass", PH_PASS, PH_PASS, true}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        struct buf out;
        int n = 0;
        begin(&w);
        add(&w, 0, NULL, 0);
        world_set(&w, rows[i].on_error);
        world_open(&w);
        fakes[0].how = NEVER;
        struct chain *c = chain_new(w.filters, 1);
        chain_transaction(c, 2);
        world_begin(&w, c, PH_MESSAGE);
        const struct ph_host *h = fakes[0].host;
        struct ph_acts *a = h->acts(h, fakes[0].turn);
        while (n < 100000 && h->tag(a, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") == 0)
            n++;
        assert_in_range(n, 1000, 10000);
        (rows[i].fails ? h->failed : h->done)(h, fakes[0].turn, rows[i].verdict, NULL, NULL);
        while (!w.answers)
            world_turn(&w);
        assert_int_equal(chain_answer(c)->verdict, rows[i].want);
        buf_init(&out, 1 << 20);
        assert_false(chain_edit_head(c, STR("A: 1\r\n\r\n"), &out));
        buf_fini(&out);
        chain_free(&c);
        world_fini(&w);
    }
}

/* Each action finds its field among those of its name, whatever stands between them. */
static void many_edits(void **state)
{
    enum { FIELDS = 3000 };
    struct world w;
    struct buf head, want, out;

    (void)state;
    begin(&w);
    add(&w, 0, NULL, 0);
    world_open(&w);
    fakes[0].how = NEVER;
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    world_begin(&w, c, PH_MESSAGE);
    const struct ph_host *h = fakes[0].host;
    struct ph_acts *a = h->acts(h, fakes[0].turn);
    buf_init(&head, 1 << 20);
    buf_init(&want, 1 << 20);
    buf_init(&out, 1 << 20);
    for (unsigned i = 0; i < FIELDS; i++) {
        buf_printf(&head, "%s: %u\r\n", i % 3 ? "Aa" : i % 2 ? "B" : "b", i);
        if (i % 3 == 0 && i % 5)
            buf_printf(&want, "%s: %u\r\n", i % 2 ? "B" : "b", i);
    }
    for (int again = 0; again < 1000; again++) /* all of it, once more and once more */
        assert_int_equal(h->header_delete(a, "aA", 0), 0);
    for (unsigned i = 0; i < FIELDS / 3; i += 5)
        assert_int_equal(h->header_delete(a, "B", i + 1), 0);
    assert_int_equal(h->header_delete(a, "B", FIELDS / 3 + 1), 0); /* there is none */
    assert_int_equal(h->header_change(a, "aa", 7, "x"), 0);        /* gone */
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(h->header_insert(a, 0, "Top", i ? "2" : "1"), 0);
    buf_add_z(&head, "\r\n");
    buf_add_z(&want, "\r\n");
    h->done(h, fakes[0].turn, PH_PASS, NULL, NULL);
    while (!w.answers)
        world_turn(&w);
    assert_true(chain_edit_head(c, buf_str(&head), &out));
    struct str rest = buf_str(&out);
    for (unsigned i = 0; i < 500; i++) {
        assert_true(str_starts(rest, i ? STR("Top: 2\r\n") : STR("Top: 1\r\n")));
        rest = str_skip(rest, 8);
    }
    assert_true(str_eq(rest, buf_str(&want)));
    buf_fini(&head);
    buf_fini(&want);
    buf_fini(&out);
    chain_free(&c);
    world_fini(&w);
}

static void edits(void **state)
{
    struct world w;
    struct buf out;

    (void)state;
    begin(&w);
    add(&w, 0, NULL, 0);
    world_open(&w);
    fakes[0].how = NEVER;
    struct chain *c = chain_new(w.filters, 1);
    chain_transaction(c, 2);
    world_begin(&w, c, PH_MESSAGE);
    const struct ph_host *h = fakes[0].host;
    struct ph_acts *a = h->acts(h, fakes[0].turn);
    h->header_insert(a, 0, "Top", "t");
    h->header_insert(a, 2, "Before-C", "t");
    h->header_insert(a, 99, "Last", "t");
    h->header_change(a, "b", 2, "changed");
    h->header_change(a, "New", 1, "n");
    h->header_delete(a, "D", 0);
    h->header_delete(a, "None", 1);
    h->done(h, fakes[0].turn, PH_PASS, NULL, NULL);
    while (!w.answers)
        world_turn(&w);
    buf_init(&out, 1 << 20);
    assert_true(chain_edit_head(
        c, STR("A: 1\r\nB: 1\r\nC: 1\r\n x\r\nB: 2\r\nD: 1\r\nD: 2\r\n\r\n"), &out));
    assert_string_equal(buf_z(&out),
                        "Top: t\r\nA: 1\r\nB: 1\r\nBefore-C: t\r\nC: 1\r\n x\r\nB: changed\r\n"
                        "Last: t\r\nNew: n\r\n\r\n");
    buf_fini(&out);
    chain_free(&c);
    world_fini(&w);
}

static void replies(void **state)
{
    static const struct {
        enum ph_verdict v;
        const char *reply;
        unsigned code;
        const char *status, *text;
    } cases[] = {
        {PH_REJECT, "554 5.6.0 Bad thing", 554, "5.6.0", "Bad thing"},
        {PH_REJECT, "554 Bad thing", 554, "5.7.1", "Bad thing"},
        {PH_DEFER, "450 4.7.1 Later", 450, "4.7.1", "Later"},
        {PH_REJECT, "450 4.7.1 Later", 550, "5.7.1", NULL},
        {PH_REJECT, "550 5.7.1 a\r\n250 ok", 550, "5.7.1", NULL},
        {PH_REJECT, "550", 550, "5.7.1", NULL},
        {PH_REJECT, "599 x", 550, "5.7.1", NULL},
        {PH_REJECT, "", 550, "5.7.1", NULL},
        {PH_DEFER, NULL, 451, "4.7.1", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct decision d = {.verdict = cases[i].v, .stage = "s"};
        reply_parse(&d, cases[i].reply);
        assert_int_equal(d.code, cases[i].code);
        assert_string_equal(d.status, cases[i].status);
        if (cases[i].text)
            assert_string_equal(d.text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),
        cmocka_unit_test(order_and_facts),
        cmocka_unit_test(circle),
        cmocka_unit_test(waits_for_itself),
        cmocka_unit_test(looks_at_settings_first),
        cmocka_unit_test(stops_others),
        cmocka_unit_test(second_answer),
        cmocka_unit_test(recipients),
        cmocka_unit_test(many_recipients),
        cmocka_unit_test(too_many_facts),
        cmocka_unit_test(recipients_accepted),
        cmocka_unit_test(modes_and_errors),
        cmocka_unit_test(shadow_does_nothing),
        cmocka_unit_test(client_gone),
        cmocka_unit_test(acts_checked),
        cmocka_unit_test(acts_without_room),
        cmocka_unit_test(many_edits),
        cmocka_unit_test(edits),
        cmocka_unit_test(replies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
