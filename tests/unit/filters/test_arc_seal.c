/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stages `arc` and `arc_seal` in a chain, before a small name server: what comes in is
 * verified, what is forwarded leaves with a set of ours. */
#include "appliance/mail/header.h"
#include "filters/arc_chain.h"
#include "filters/resign.h"
#include "tests/unit/filters/arc_vector.h"
#include "tests/unit/filters/names.h"
#include "tests/unit/filters/signing.h"

enum { ROOM = 64 << 10 };

static struct stub_rule rules[] = {{"s._domainkey.lists.example.", 16, STUB_ANSWER, {{0}}},
                                   {"s._domainkey.relay.example.", 16, STUB_ANSWER, {{0}}},
                                   {"s._domainkey.third.example.", 16, STUB_ANSWER, {{0}}},
                                   {"s._domainkey.late.example.", 0, STUB_SERVFAIL, {{0}}},
                                   {NULL, 0, STUB_ANSWER, {{0}}}};
static struct world w;
static struct chain *chain;
static char head[ROOM], left[ROOM]; /* as it came; as it leaves */
static const struct str plain = {"From: Joe <joe@bank.example>\r\nSubject: x\r\n\r\n",
                                 sizeof("From: Joe <joe@bank.example>\r\nSubject: x\r\n\r\n") - 1};
static struct str body = {"Hello\r\n", sizeof("Hello\r\n") - 1};

static void put(char to[ROOM], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(char to[ROOM], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    assert_true(vsnprintf(to, ROOM, fmt, ap) < ROOM);
    va_end(ap);
}

static void begin(const char *setting)
{
    world_init(&w);
    world_store(&w);
    w.arc = w.authres = true;
    world_set(&w, "arc.deadline=5min");
    world_set(&w, "arc.dns_time=5min");
    if (setting)
        world_set(&w, setting);
    names_resolver(&w, "example", 100);
    world_open(&w);
    chain = chain_new(w.filters, 1);
}

static void end(void)
{
    chain_free(&chain);
    filters_close(&w.filters);
    resolver_close(&w.resolver);
    world_fini(&w);
}

/* The head of the vector, and its body. */
static void take_vector(void)
{
    const char *at = strstr(arc_vector, "\r\n\r\n") + 4;

    put(head, "%.*s", (int)(at - arc_vector), arc_vector);
    body = str_from(at);
}

static void replace(const char *what, const char *with)
{
    static char before[ROOM];
    char *at;

    put(before, "%s", head);
    at = strstr(before, what);
    assert_non_null(at);
    put(head, "%.*s%s%s", (int)(at - before), before, with, at + strlen(what));
}

static const struct chain_record *record(const char *stage)
{
    const struct chain_record *r = chain_records(chain, false), *found = NULL;

    for (; r; r = r->next)
        if (strcmp(r->stage, stage) == 0)
            found = r;
    assert_non_null(found);
    return found;
}

static void expect_fact(const char *name, const char *value)
{
    struct str found = signing_fact(record("arc"), name);

    if (!str_eq(found, str_from(value)))
        fail_msg("%s: " STR_FMT, name, STR_ARG(found));
}

static void comes(struct str h)
{
    assert_int_equal(signing_run(&w, chain, PH_MESSAGE, "", h, body)->verdict, PH_PASS);
}

static size_t count_actions(void)
{
    size_t n = 0;

    for (const struct chain_action *a = chain_actions(chain); a; a = a->next)
        n++;
    return n;
}

/* Into `left`; how many fields were put before it, and the reason. */
static size_t leaves(struct str h, const char *route, const char *reason)
{
    static char rest[ROOM];
    size_t before = count_actions(), n = 0;

    put(left, STR_FMT, STR_ARG(h));
    assert_int_equal(signing_go(&w, chain, PH_OUTBOUND, route, h, body)->verdict, PH_PASS);
    for (const struct chain_action *a = chain_actions(chain); a; a = a->next) {
        if (before) {
            before--;
            continue;
        }
        n++;
        assert_int_equal(a->kind, CHAIN_HEADER_INSERT);
        put(rest, "%s", left);
        put(left, STR_FMT ": " STR_FMT "\r\n%s", STR_ARG(a->name), STR_ARG(a->value), rest);
    }
    struct str found = record("arc_seal")->reason;
    size_t at;
    if (!str_find(found, str_from(reason), &at))
        fail_msg("not \"%s\": " STR_FMT, reason, STR_ARG(found));
    return n;
}

static int64_t read_left(void *ctx, uint64_t offset, void *to, size_t n)
{
    struct str s = str_take(str_skip(body, (size_t)offset - strlen(left)), n);

    (void)ctx;
    if (s.n)
        memcpy(to, s.p, s.n);
    return (int64_t)s.n;
}

/* Verifies what leaves; ours: the record of our key. */
static void verify_left(const char *ours, size_t sets)
{
    struct arena *a = arena_new(0);
    struct dkim_one *list[2 * ARC_SETS_MAX];
    struct arc_chain c;
    const struct dkim_message m = {.head = str_from(left), .read = read_left};

    arc_chain_read(&c, a, m.head, clock_wall_ms() / 1000);
    size_t n = arc_chain_open(&c, list);
    for (size_t i = 0; i < n; i++) {
        struct str r = str_eq(list[i]->sig.domain, STR("example.org")) ? str_from(ours)
                                                                       : STR(ARC_VECTOR_RECORD);
        dkim_one_key(a, list[i], &r, 1);
    }
    arc_chain_run(&c, &m);
    if (c.result != ARC_PASS || c.n != sets)
        fail_msg("%s: %s", arc_result_name(c.result), c.why);
    arena_free(&a);
}

/* h: what `left` was made of; nothing is taken off that isn't among what was put before it. */
static void seal_again(const char *ours, struct str h, size_t sets)
{
    struct resign *r = resign_new(w.filters), *none = resign_new(NULL);
    const struct str before = body, text = str_from(left);
    struct buf rest, fields;
    struct err err;

    buf_init(&rest, ROOM);
    buf_init(&fields, ROOM);
    resign_take_off(none, text, text.n - h.n, &rest);
    assert_true(str_eq(buf_str(&rest), text));
    buf_clear(&rest);
    resign_take_off(r, text, 0, &rest);
    assert_true(str_eq(buf_str(&rest), text));
    buf_clear(&rest);
    resign_take_off(r, text, text.n - h.n, &rest);
    assert_true(str_eq(buf_str(&rest), h));
    body = STR("Jello\r\n");
    buf_add_str(&rest, body);
    assert_int_equal(resign_make(r, buf_str(&rest), &fields, &err), 0);
    put(left, STR_FMT STR_FMT, STR_ARG(buf_str(&fields)), STR_ARG(h));
    verify_left(ours, sets);
    body = before;
    buf_fini(&rest);
    buf_fini(&fields);
    resign_free(&r);
    resign_free(&none);
}

static void needs_key(void)
{
    comes(plain);
    expect_fact("arc.result", "none");
    expect_fact("arc.authres", "");
    assert_int_equal(leaves(plain, "forward", "no key for mail.example.org"), 0);
}

/* A change of the keys is seen a moment later. */
static char *add_key(void)
{
    char *ours = signing_add_key(&w, "r", DKIM_KEY_RSA);

    mem_free(signing_add_key(&w, "e", DKIM_KEY_ED25519));
    do {
        world_turn(&w);
        comes(plain);
    } while (leaves(plain, "forward", "") != 3);
    return ours;
}

static void seals(void **state)
{
    (void)state;
    begin(NULL);
    needs_key();
    char *ours = add_key();
    comes(plain);
    assert_int_equal(leaves(plain, "forward", "sealed by example.org, i=1, cv=none"), 3);
    assert_non_null(
        strstr(left, "ARC-Authentication-Results: i=1; mail.example.org;\r\n\tnone\r\n"));
    assert_true(str_starts(str_from(left), STR("ARC-Seal: i=1; a=rsa-sha256; cv=none;")));
    verify_left(ours, 1);
    seal_again(ours, plain, 1);
    comes(plain);
    assert_int_equal(leaves(plain, "submission", "not forwarded"), 0);
    /* A chain that is in order. */
    take_vector();
    comes(str_from(head));
    expect_fact("arc.result", "pass");
    expect_fact("arc.sealer", "third.example");
    expect_fact("arc.chain", "lists.example relay.example third.example");
    expect_fact("arc.authres", "arc=pass (i=3) header.oldest-pass=2 smtp.remote-ip=192.0.2.1");
    assert_int_equal(leaves(str_from(head), "forward", "i=4, cv=pass"), 3);
    assert_non_null(strstr(left, "i=4; mail.example.org;\r\n\tarc=pass (i=3)"));
    verify_left(ours, 4);
    seal_again(ours, str_from(head), 4);
    mem_free(ours);
    end();
}

static void broken(void **state)
{
    (void)state;
    begin("arc_seal.domain=sub.Example.org");
    char *ours = add_key();
    take_vector();
    replace("dmarc=pass", "dmarc=none");
    comes(str_from(head));
    expect_fact("arc.result", "fail");
    expect_fact("arc.sets", "");
    assert_int_equal(leaves(str_from(head), "forward", "i=4, cv=fail"), 3);
    assert_non_null(strstr(left, "the seal of i=1: it isn't signed"));
    /* Nobody adds to what was declared broken. */
    put(head, "%s", left);
    comes(str_from(head));
    expect_fact("arc.result", "fail");
    assert_int_equal(leaves(str_from(head), "forward", "declared broken"), 0);
    /* As long as one may be. */
    put(head, "ARC-Seal: i=50; cv=pass\r\n" STR_FMT, STR_ARG(plain));
    comes(str_from(head));
    expect_fact("arc.result", "fail");
    assert_int_equal(leaves(str_from(head), "forward", "as long as"), 0);
    mem_free(ours);
    end();
}

static void not_verified(void **state)
{
    (void)state;
    begin(NULL);
    char *ours = add_key();
    take_vector();
    replace("d=third.example", "d=late.example");
    comes(str_from(head));
    expect_fact("arc.result", "temperror");
    expect_fact("arc.authres", "");
    assert_int_equal(leaves(str_from(head), "forward", "wasn't verified"), 0);
    replace("d=late.example", "d=absent.example");
    comes(str_from(head));
    expect_fact("arc.result", "fail");
    /* Held mail that is let go: nobody has looked at it here. */
    take_vector();
    chain_transaction(chain, 8);
    assert_int_equal(leaves(str_from(head), "forward", "wasn't verified"), 0);
    mem_free(ours);
    end();
    begin("arc.dns_queries=1");
    comes(str_from(head));
    expect_fact("arc.result", "fail");
    end();
    struct err err = {0};
    world_init(&w);
    w.arc = true;
    world_set(&w, "arc_seal.domain=a..b");
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_non_null(strstr(err.text, "domain"));
    world_fini(&w);
}

static int start(void **state)
{
    static char rdata[512];

    (void)state;
    snprintf(rdata, sizeof rdata, "%c%s", (char)strlen(ARC_VECTOR_RECORD), ARC_VECTOR_RECORD);
    for (int i = 0; i < 3; i++)
        rules[i].records[0] = (struct stub_record){.type = 16, .rdata = str_from(rdata)};
    return names_start(rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(seals), cmocka_unit_test(broken),
                                       cmocka_unit_test(not_verified)};

    return cmocka_run_group_tests_name("arc_seal", tests, start, names_stop);
}
