/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Mail that leaves: durable with its message, found when it is due, gone with its last recipient.
 */
#include "queue_bed.h"

static const struct queue_to three[] = {QB_TO("x@one.example", "one.example", 100),
                                        QB_TO("y@two.example", "two.example", 200),
                                        QB_TO("z@one.example", "one.example", 50)};

static struct queue_site *sites(struct bed *b, const char *after, size_t max, size_t *n)
{
    struct queue_site *list;
    struct err err;

    assert_int_equal(queue_sites(b->reader, b->arena, str_from(after), max, &list, n, &err), 0);
    return list;
}

static struct queue_totals totals(struct bed *b)
{
    struct queue_totals t;
    struct err err;

    assert_int_equal(queue_totals(b->reader, &t, &err), 0);
    return t;
}

static void all_is_kept(void **state)
{
    struct bed *b = *state;
    const struct queue_to one = {.rcpt = STR("q@x.example"),
                                 .site = STR("relay:mx:25"),
                                 .sender = STR("SRS0=a@b"),
                                 .orcpt = STR("rfc822;o@x"),
                                 .notify = QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_DELAY,
                                 .forced = true,
                                 .next_ms = 7,
                                 .expires_ms = 8,
                                 .last = STR("421 later")};
    struct queue_entry e;
    struct queue_out o;
    struct queue_to *to;
    struct err err;

    qb_put(b, 21, "s@b", &one, 1);
    bed_reopen(b); /* nothing but the commit made it durable */
    assert_int_equal(queue_out_get(b->reader, b->arena, 21, &e, &o, &err), 0);
    assert_int_equal(e.held, QUEUE_LEAVES);
    assert_true(str_eq(e.sender, STR("s@b")) && e.since_ms == 500 && e.size == QB_TEXT.n);
    assert_int_equal(e.n_rcpts, 1);
    assert_true(str_eq(o.prefix, STR("DKIM-Signature: x\r\n")));
    assert_true(str_eq(o.envid, STR("env\0id")) && str_eq(o.account, STR("a@b")));
    assert_int_equal(o.ret, QUEUE_RET_HDRS);
    assert_int_equal(o.flags, QUEUE_UTF8 | QUEUE_8BIT);
    assert_int_equal(qb_of(b, 21, &to), 1);
    assert_true(str_eq(to->rcpt, one.rcpt) && str_eq(to->site, one.site));
    assert_true(str_eq(to->sender, one.sender) && str_eq(to->orcpt, one.orcpt));
    assert_true(str_eq(to->last, one.last) && to->forced && !to->warned);
    assert_int_equal(to->notify, one.notify);
    assert_true(to->next_ms == 7 && to->expires_ms == 8 && to->tries == 0 && to->id == 21);
    assert_int_equal(bed_int(b, "SELECT refs FROM body"), 1);
    bed_check(b);
}

static void local_and_remote_in_one(void **state)
{
    struct bed *b = *state;
    struct message_recipient local = {.account = STR("a@x"), .mailbox = STR("INBOX")};
    struct queue_new leaves = {.entry = {.id = 5}, .to = three, .n_to = 3};
    struct message_delivery d;
    struct queue_entry e;
    struct queue_out o;
    struct err err;

    message_delivery_init(&d, NULL);
    d.sink = bed_sink(b, QB_TEXT);
    d.rcpts = &local;
    d.n_rcpts = 1;
    d.leaves = &leaves;
    bed_run(b, &d.op);
    body_sink_free(&d.sink);
    assert_int_equal(bed_int(b, "SELECT refs FROM body"), 2);
    assert_int_equal(queue_out_get(b->reader, b->arena, 5, &e, &o, &err), 0);
    assert_int_equal(o.flags, QUEUE_NULL_SENDER);
    assert_int_equal(e.body, d.body);
    bed_check(b);
    /* All or nothing: an id that is taken undoes the delivery into the mailbox too. */
    message_delivery_init(&d, NULL);
    d.sink = bed_sink(b, QB_TEXT);
    d.rcpts = &local;
    d.n_rcpts = 1;
    d.leaves = &leaves;
    assert_int_equal(bed_try(b, &d.op), -1);
    body_sink_free(&d.sink);
    assert_int_equal(bed_mailbox(b, bed_account(b, "a@x"), "INBOX").messages, 1);
    bed_check(b);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct bed *b = *state;
    struct queue_to to = {.site = STR("x")};
    char *longest = arena_alloc(b->arena, 1001);
    struct err err;

    memset(longest, 'a', 1001);
    to.rcpt = str_of(longest, 1001);
    assert_int_equal(qb_try_put(b, 1, "s@b", &to, 1, &err), -1);
    assert_int_equal(err.why, ERR_WHY_LIMIT);
    to.rcpt = str_of(longest, 1000);
    assert_int_equal(qb_try_put(b, 1, "s@b", &to, 1, &err), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue"), 1);
}

static void sites_by_name_and_time(void **state)
{
    struct bed *b = *state;
    const struct queue_to held[] = {
        {.rcpt = STR("h@a"), .site = STR("a.first"), .state = QUEUE_ON_HOLD}};
    struct queue_site *list;
    struct queue_to *to;
    size_t n;

    sites(b, "", 10, &n);
    assert_int_equal(n, 0);
    qb_put(b, 1, "s@b", three, 3);
    qb_put(b, 2, "s@b", held, 1); /* waits for a person: its site has nobody who waits */
    list = sites(b, "", 10, &n);
    assert_int_equal(n, 2);
    assert_true(str_eq(list[0].name, STR("one.example")) && list[0].next_ms == 50);
    assert_true(str_eq(list[1].name, STR("two.example")) && list[1].next_ms == 200);
    list = sites(b, "one.example", 10, &n);
    assert_true(n == 1 && str_eq(list[0].name, STR("two.example")));
    sites(b, "", 1, &n);
    assert_int_equal(n, 1);
    assert_int_equal(qb_due(b, "one.example", 49, &to), 0);
    assert_int_equal(qb_due(b, "one.example", 50, &to), 1);
    assert_true(str_eq(to[0].rcpt, STR("z@one.example")));
    assert_int_equal(qb_due(b, "one.example", 100, &to), 2);
    assert_int_equal(to[0].n, 2);
    assert_int_equal(qb_due(b, "a.first", INT64_MAX, &to), 0);
}

static int other_site_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return queue_set_site_tx(tx, 1, *(uint32_t *)ctx, STR("other"), err);
}

static void another_site_today(void **state)
{
    struct bed *b = *state;
    struct queue_to two[] = {QB_TO("x@one.example", "one.example", 100),
                             QB_TO("y@one.example", "one.example", 100)};
    struct queue_to *to;

    two[1].forced = true;
    qb_put(b, 1, "s@b", two, 2);
    for (uint32_t n = 0; n < 3; n++)
        bed_call(b, other_site_fn, &n);
    assert_int_equal(qb_due(b, "other", 100, &to), 1);
    assert_int_equal(to[0].n, 0);
    assert_int_equal(qb_due(b, "one.example", 100, &to), 1);
}

static void due_in_order(void **state)
{
    struct bed *b = *state;
    struct queue_to to[4] = {{.rcpt = STR("0@x"), .site = STR("x"), .sender = STR("B")},
                             {.rcpt = STR("1@x"), .site = STR("x")},
                             {.rcpt = STR("2@x"), .site = STR("x"), .sender = STR("B")},
                             {.rcpt = STR("3@x"), .site = STR("x")}};
    static const uint64_t ids[] = {8, 8, 9, 9, 9, 9, 8, 8};
    static const uint32_t ns[] = {1, 3, 1, 3, 0, 2, 0, 2};
    struct queue_to *list;
    struct err err;
    size_t n;

    for (int i = 0; i < 4; i++)
        to[i].next_ms = 70;
    qb_put(b, 9, "s@b", to, 4);
    to[0].next_ms = to[2].next_ms = 71;
    qb_put(b, 8, "s@b", to, 4);
    assert_int_equal(qb_due(b, "x", 100, &list), 8);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(list[i].id, ids[i]);
        assert_int_equal(list[i].n, ns[i]);
    }
    assert_int_equal(queue_due(b->reader, b->arena, STR("x"), 100, 3, &list, &n, &err), 0);
    assert_int_equal(n, 3);
}

static void settled(void **state)
{
    struct bed *b = *state;
    const struct queue_result first[] = {
        {.id = 3, .n = 0, .what = QUEUE_SETTLED},
        {.id = 3, .n = 1, .what = QUEUE_LATER, .next_ms = 777, .warned = true, .last = STR("4xx")}};
    const struct queue_result rest[] = {{.id = 3, .n = 2, .what = QUEUE_SETTLED},
                                        {.id = 77, .n = 0, .what = QUEUE_SETTLED},
                                        {.id = 3, .n = 1, .what = QUEUE_SETTLED}};
    struct queue_to *to;
    struct queue_entry e;
    struct queue_out o;
    struct err err;

    qb_put(b, 3, "s@b", three, 3);
    qb_settle(b, first, 2);
    bed_reopen(b);
    assert_int_equal(qb_of(b, 3, &to), 2);
    assert_true(to[0].n == 1 && to[0].next_ms == 777 && to[0].tries == 1 && to[0].warned);
    assert_true(str_eq(to[0].last, STR("4xx")) && to[0].expires_ms == 9000);
    assert_true(to[1].n == 2 && to[1].tries == 0 && !to[1].warned);
    assert_int_equal(totals(b).recipients, 2);
    bed_check(b);
    qb_settle(b, first, 2); /* again: the one that is gone is no error */
    assert_int_equal(qb_of(b, 3, &to), 2);
    assert_int_equal(to[0].tries, 2);
    qb_settle(b, rest, 3);
    assert_int_equal(queue_out_get(b->reader, b->arena, 3, &e, &o, &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM queue_out"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_dead"), 1);
    qb_settle(b, rest, 3);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_dead"), 1);
    bed_check(b);
}

static void words_of_hosts(void **state)
{
    struct bed *b = *state;
    char text[600];
    const struct queue_result bad = {.id = 3, .what = QUEUE_LATER, .last = STR("5\xff z\xc3\xa4")};
    struct queue_result big = {.id = 3, .n = 1, .what = QUEUE_LATER};
    struct queue_to *to;

    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa4", 2);
    text[0] = 'x';
    text[1] = 'y';
    memmove(text + 1, text + 2, sizeof text - 2);
    big.last = str_of(text, sizeof text - 1);
    qb_put(b, 3, "s@b", three, 3);
    qb_settle(b, &bad, 1);
    qb_settle(b, &big, 1);
    qb_of(b, 3, &to);
    assert_true(str_eq(to[0].last, STR("5? z??")));
    assert_int_equal(to[1].last.n, 399); /* no half character at its end */
    assert_memory_equal(to[1].last.p, text, 399);
}

static int settle_with_report(struct bed *b, uint64_t report_id, bool here, size_t *found)
{
    const struct queue_result all[] = {{.id = 3, .n = 0, .what = QUEUE_SETTLED},
                                       {.id = 3, .n = 1, .what = QUEUE_SETTLED},
                                       {.id = 3, .n = 2, .what = QUEUE_SETTLED}};
    const struct queue_to back = QB_TO("s@far.example", "far.example", 0);
    const struct queue_new leaves = {.entry = {.id = report_id}, .to = &back, .n_to = 1};
    struct message_recipient local = {.account = STR("s@b"), .mailbox = STR("INBOX")};
    struct queue_settle q;

    queue_settle_init(&q, NULL);
    q.results = all;
    q.n_results = 3;
    q.report = bed_sink(b, STR("Subject: failed\r\n\r\nalas\r\n"));
    if (here) {
        q.rcpts = &local;
        q.n_rcpts = 1;
    } else {
        q.leaves = &leaves;
    }
    int rc = bed_try(b, &q.op);
    body_sink_free(&q.report);
    *found = q.n_found;
    return rc;
}

static void report_to_us(void **state)
{
    struct bed *b = *state;
    size_t found;

    qb_put(b, 3, "s@b", three, 3);
    assert_int_equal(settle_with_report(b, 30, true, &found), 0);
    assert_int_equal(found, 3);
    assert_int_equal(bed_mailbox(b, bed_account(b, "s@b"), "INBOX").messages, 1);
    assert_int_equal(totals(b).messages, 0);
    bed_check(b);
    assert_int_equal(settle_with_report(b, 30, true, &found), 0); /* as after a lost answer */
    assert_int_equal(found, 0);
    assert_int_equal(bed_mailbox(b, bed_account(b, "s@b"), "INBOX").messages, 1);
    bed_check(b);
}

static void report_to_elsewhere(void **state)
{
    struct bed *b = *state;
    struct queue_to *to;
    struct queue_entry e;
    struct queue_out o;
    struct err err;
    size_t found;

    qb_put(b, 3, "s@far.example", three, 3);
    qb_put(b, 4, "s@b", three, 3);
    /* The report can't be written (its id is taken): then nothing of the attempt is recorded. */
    assert_int_equal(settle_with_report(b, 4, false, &found), -1);
    assert_int_equal(qb_of(b, 3, &to), 3);
    bed_check(b);
    assert_int_equal(settle_with_report(b, 30, false, &found), 0);
    assert_int_equal(qb_of(b, 3, &to), 0);
    assert_int_equal(qb_of(b, 30, &to), 1);
    assert_true(str_eq(to[0].rcpt, STR("s@far.example")));
    assert_int_equal(queue_out_get(b->reader, b->arena, 30, &e, &o, &err), 0);
    assert_true(o.flags & QUEUE_NULL_SENDER);
    assert_int_equal(e.size, 25);
    assert_int_equal(totals(b).messages, 2);
    bed_check(b);
}

static void thousand_recipients(void **state)
{
    struct bed *b = *state;
    enum { N = 1000 };
    struct queue_to *to = ARENA_ARRAY(b->arena, struct queue_to, N), *list;
    struct queue_result *results = ARENA_ARRAY(b->arena, struct queue_result, N);

    for (unsigned i = 0; i < N; i++) {
        to[i] = (struct queue_to){.rcpt = arena_printf(b->arena, "u%u@x.example", i),
                                  .site = STR("x.example")};
        results[i] = (struct queue_result){.id = 3, .n = i, .what = QUEUE_SETTLED};
    }
    qb_put(b, 3, "s@b", to, N);
    assert_int_equal(qb_of(b, 3, &list), N);
    assert_true(str_eq(list[999].rcpt, STR("u999@x.example")));
    assert_int_equal(qb_due(b, "x.example", 1, &list), 100);
    qb_settle(b, results, N - 1);
    assert_int_equal(totals(b).recipients, 1);
    bed_check(b);
    qb_settle(b, results + N - 1, 1);
    assert_int_equal(totals(b).messages, 0);
    bed_check(b);
}

static void counted(void **state)
{
    struct bed *b = *state;
    const struct queue_filter two = {.domain = STR("two.example"), .state = -1};
    struct queue_totals t = totals(b);

    assert_true(t.messages == 0 && t.recipients == 0 && t.bytes == 0 && t.oldest_ms == 0);
    qb_put(b, 3, "s@b", three, 3);
    qb_put(b, 4, "s@b", three, 2);
    assert_int_equal(qb_change(b, QUEUE_HOLD, &two, ""), 2);
    t = totals(b);
    assert_true(t.messages == 2 && t.recipients == 5 && t.on_hold == 2);
    assert_true(t.bytes == 2 * QB_TEXT.n && t.oldest_ms == 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(all_is_kept),
        BED_TEST(local_and_remote_in_one),
        BED_TEST(what_does_not_fit_is_refused),
        BED_TEST(sites_by_name_and_time),
        BED_TEST(another_site_today),
        BED_TEST(due_in_order),
        BED_TEST(settled),
        BED_TEST(words_of_hosts),
        BED_TEST(report_to_us),
        BED_TEST(report_to_elsewhere),
        BED_TEST(thousand_recipients),
        BED_TEST(counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
