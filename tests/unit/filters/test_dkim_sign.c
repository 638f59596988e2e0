/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stages of DKIM in a chain: keys put into the store while it runs sign what leaves; what comes
 * back is verified; keys that retire sign no more and lose their private half. */
#include "appliance/sql/sql.h"
#include "filters/dkim_check.h"
#include "tests/unit/filters/signing.h"

static const struct str head = {"From: Joe <joe@sub.example.org>\r\nSubject: x\r\n\r\n",
                                sizeof("From: Joe <joe@sub.example.org>\r\nSubject: x\r\n\r\n") -
                                    1};
static const struct str data = {"Hello\r\n", sizeof("Hello\r\n") - 1};

static void move_key(struct world *w, const char *selector, enum dkim_state from,
                     enum dkim_state to)
{
    const struct dkim_change c = {
        .what = DKIM_MOVE,
        .to = to,
        .row = {.domain = STR("example.org"), .selector = str_from(selector), .state = from}};

    signing_change(w, &c, 1);
}

static struct dkim_row read_key(struct world *w, struct arena *a, const char *selector)
{
    struct dkim_row *rows, found = {.domain = STR_NULL};
    struct store_reader *r;
    struct err err = {0};
    size_t n;

    assert_int_equal(store_reader_open(w->store, &r, &err), 0);
    assert_int_equal(
        dkim_rows_read(store_reader_sql(r), a, STR("example.org"), true, &rows, &n, &err), 0);
    store_reader_close(&r);
    for (size_t i = 0; i < n; i++)
        if (str_eq(rows[i].selector, str_from(selector)))
            found = rows[i];
    return found;
}

/* What is kept in the row, whatever its state. */
static int64_t private_size(struct world *w, const char *selector)
{
    struct store_reader *r;
    struct sql_stmt *st;
    struct err err = {0};

    assert_int_equal(store_reader_open(w->store, &r, &err), 0);
    assert_int_equal(sql_prepare(store_reader_sql(r),
                                 "SELECT LENGTH(pem) FROM dkim_key WHERE selector = ?", &st, &err),
                     0);
    sql_bind_text(st, 1, str_from(selector));
    assert_int_equal(sql_step(st, &err), 1);
    int64_t n = sql_int(st, 0);
    sql_reset(st);
    store_reader_close(&r);
    return n;
}

static size_t outbound(struct world *w, struct chain *c, const char *route)
{
    size_t n = 0;

    assert_int_equal(signing_run(w, c, PH_OUTBOUND, route, head, data)->verdict, PH_PASS);
    for (const struct chain_action *a = chain_actions(c); a; a = a->next) {
        assert_int_equal(a->kind, CHAIN_HEADER_INSERT);
        assert_true(str_eq(a->name, STR("DKIM-Signature")));
        n++;
    }
    return n;
}

/* A change is seen a moment later. */
static void outbound_until(struct world *w, struct chain *c, size_t n)
{
    while (outbound(w, c, "submission") != n)
        world_turn(w);
}

static int64_t read_text(void *ctx, uint64_t offset, void *to, size_t n)
{
    struct str s = str_take(str_skip(buf_str(ctx), (size_t)offset), n);

    if (s.n)
        memcpy(to, s.p, s.n);
    return (int64_t)s.n;
}

static void verify(struct chain *c, char *const records[2])
{
    struct dkim_verifier *verifier = dkim_verifier_new();
    struct dkim_check check = {.min_bits = 1024};
    struct buf all;

    buf_init(&all, 1 << 20);
    for (const struct chain_action *a = chain_actions(c); a; a = a->next)
        buf_printf(&all, STR_FMT ": " STR_FMT "\r\n", STR_ARG(a->name), STR_ARG(a->value));
    buf_add_str(&all, head);
    size_t head_n = all.n;
    buf_add_str(&all, data);
    const struct dkim_message m = {
        .head = str_take(buf_str(&all), head_n), .read = read_text, .ctx = &all};
    dkim_check_begin(&check, m.head, 8, clock_wall_ms() / 1000);
    assert_int_equal(check.n, 2);
    for (size_t i = 0; i < check.n; i++) {
        struct str r = str_from(records[check.list[i].sig.type]);
        assert_true(str_eq(check.list[i].sig.domain, STR("example.org")));
        dkim_check_key(&check, &check.list[i], &r, 1);
    }
    dkim_check_run(verifier, &check, &m);
    for (size_t i = 0; i < check.n; i++)
        if (check.list[i].result != DKIM_PASS)
            fail_msg("%s", check.list[i].why);
    dkim_check_fini(&check);
    dkim_verifier_free(&verifier);
    buf_fini(&all);
}

static void signs(void **state)
{
    struct world w;
    char *records[2];
    size_t at;

    (void)state;
    world_init(&w);
    world_store(&w);
    w.dkim = true;
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    assert_int_equal(outbound(&w, c, "submission"), 0);
    assert_true(str_find(chain_records(c, false)->reason, STR("no key for sub.example.org"), &at));
    records[0] = signing_add_key(&w, "r", DKIM_KEY_RSA);
    records[1] = signing_add_key(&w, "e", DKIM_KEY_ED25519);
    outbound_until(&w, c, 2);
    verify(c, records);
    assert_int_equal(outbound(&w, c, "forward"), 0);
    assert_int_equal(
        signing_run(&w, c, PH_OUTBOUND, "submission", STR("To: x\r\n\r\n"), data)->verdict,
        PH_PASS);
    assert_null(chain_actions(c));
    /* Another one of the type takes over. */
    char *again = signing_add_key(&w, "r2", DKIM_KEY_RSA);
    struct arena *a = arena_new(0);
    assert_int_equal(read_key(&w, a, "r").state, DKIM_RETIRING);
    assert_int_equal(read_key(&w, a, "r2").state, DKIM_ACTIVE);
    move_key(&w, "e", DKIM_ACTIVE, DKIM_RETIRED);
    assert_int_equal(private_size(&w, "e"), 0);
    assert_true(private_size(&w, "r2") > 0);
    outbound_until(&w, c, 1);
    assert_true(str_find(chain_actions(c)->value, STR("s=r2;"), &at));
    chain_free(&c);
    arena_free(&a);
    mem_free(records[0]);
    mem_free(records[1]);
    mem_free(again);
    world_fini(&w);
}

/* The keys are there again after a restart; what is due goes on by itself. */
static void goes_on(void **state)
{
    struct arena *a = arena_new(0);
    struct world w;

    (void)state;
    world_init(&w);
    world_store(&w);
    mem_free(signing_add_key(&w, "one", DKIM_KEY_ED25519));
    mem_free(signing_add_key(&w, "two", DKIM_KEY_RSA));
    move_key(&w, "one", DKIM_ACTIVE, DKIM_RETIRING);
    w.dkim = true;
    world_set(&w, "dkim_sign.retire_time=0");
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    assert_int_equal(outbound(&w, c, "submission"), 1);
    while (read_key(&w, a, "one").state != DKIM_RETIRED)
        world_turn(&w);
    assert_int_equal(private_size(&w, "one"), 0);
    assert_int_equal(outbound(&w, c, "submission"), 1);
    const struct dkim_change gone[] = {
        {.what = DKIM_DELETE, .row = {.domain = STR("example.org"), .selector = STR("one")}}};
    signing_change(&w, gone, 1);
    assert_null(read_key(&w, a, "one").domain.p);
    struct dkim_change_op op;
    dkim_change_init(&op, gone, 1);
    assert_true(store_submit_wait(w.store, &op.op) || op.op.failed);
    assert_int_equal(op.op.err.why, ERR_WHY_NOT_FOUND);
    chain_free(&c);
    world_fini(&w);
    arena_free(&a);
}

/* Without a resolver no key can be had: temporary, and the message passes. */
static void no_resolver(void **state)
{
    static const char text[] = "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s; h=From;\r\n"
                               " bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
                               "DKIM-Signature: nonsense\r\n"
                               "From: joe@example.org\r\n\r\n";
    struct world w;
    size_t at;

    (void)state;
    world_init(&w);
    w.dkim = true;
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    assert_int_equal(signing_run(&w, c, PH_MESSAGE, "", str_from(text), data)->verdict, PH_PASS);
    const struct chain_record *r = chain_records(c, false);
    assert_string_equal(r->stage, "dkim");
    assert_true(str_eq(signing_fact(r, "dkim.result"), STR("temperror")));
    struct str results = signing_fact(r, "dkim.results");
    assert_true(str_starts(results, STR("temperror example.org s rsa-sha256 - AAAA - its key")));
    assert_true(str_find(results, STR("; permerror - - - - - - it is not a list of tags"), &at));
    assert_int_equal(signing_run(&w, c, PH_MESSAGE, "", head, data)->verdict, PH_PASS);
    r = chain_records(c, false);
    assert_true(str_eq(r->reason, STR("no signature")));
    assert_true(str_eq(signing_fact(r, "dkim.result"), STR("none")));
    chain_free(&c);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(signs), cmocka_unit_test(goes_on),
                                       cmocka_unit_test(no_resolver)};

    return cmocka_run_group_tests_name("dkim_sign", tests, NULL, NULL);
}
