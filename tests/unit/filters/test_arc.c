/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* ARC chains: one that dkimpy made, ours, and both altered in many ways; what is told of them. */
#include "appliance/mail/header.h"
#include "filters/arc_facts.h"
#include "filters/arc_make.h"
#include "filters/authres.h"
#include "tests/unit/filters/arc_vector.h"
#include "tests/unit/filters/world.h"

enum { NOW = 1700000100 };

/* ---- A message, and what becomes of its chain. */

static struct dkim_key *keys[2];
static char *records[2];
static struct buf text;
static struct arena *arena;
static struct arc_chain chain;

static struct str head_of(void)
{
    struct header_split s = {0};
    uint64_t end;

    assert_int_equal(header_split_feed(&s, buf_str(&text), &end), HEADER_SPLIT_DONE);
    return str_take(buf_str(&text), (size_t)end);
}

static int64_t read_text(void *ctx, uint64_t offset, void *to, size_t n)
{
    struct str s = str_take(str_skip(buf_str(&text), (size_t)offset), n);

    (void)ctx;
    if (s.n)
        memcpy(to, s.p, s.n);
    return (int64_t)s.n;
}

static void set_text(const char *z)
{
    buf_clear(&text);
    buf_add_z(&text, z);
}

static void prepend(const char *name, struct str value)
{
    struct str rest = arena_str(arena, buf_str(&text));

    buf_clear(&text);
    buf_printf(&text, "%s: " STR_FMT "\r\n", name, STR_ARG(value));
    buf_add_str(&text, rest);
}

/* The nth (from 0) of what is there. */
static void replace(const char *what, unsigned n, const char *with)
{
    struct str all = arena_str(arena, buf_str(&text));
    size_t from = 0, at;

    for (;; from = at + 1) {
        assert_true(str_find(str_skip(all, from), str_from(what), &at));
        at += from;
        if (n-- == 0)
            break;
    }
    buf_clear(&text);
    buf_add_str(&text, str_take(all, at));
    buf_add_z(&text, with);
    buf_add_str(&text, str_skip(all, at + strlen(what)));
}

/* record: of all keys; NULL: those of ours. */
static enum arc_result verify_with(const char *record)
{
    struct dkim_one *list[2 * ARC_SETS_MAX];

    arc_chain_read(&chain, arena, head_of(), NOW);
    size_t n = arc_chain_open(&chain, list);
    for (size_t i = 0; i < n; i++) {
        struct str r = str_from(record ? record : records[list[i]->sig.type]);
        dkim_one_key(arena, list[i], &r, 1);
    }
    const struct dkim_message m = {.head = head_of(), .read = read_text};
    arc_chain_run(&chain, &m);
    return chain.result;
}

static void expect(const char *record, enum arc_result result, const char *why)
{
    enum arc_result r = verify_with(record);

    if (r != result || !strstr(chain.why, why))
        fail_msg("%s (%s), not %s (%s)", arc_result_name(r), chain.why, arc_result_name(result),
                 why);
}

static void add_set(enum dkim_key_type type, const char *cv)
{
    const struct dkim_signer signer = {
        .domain = STR("example.org"), .selector = STR("s"), .key = keys[type]};
    struct arc_chain before;
    struct str message, seal;
    struct err err = {0};

    arc_chain_read(&before, arena, head_of(), NOW);
    const struct dkim_message m = {.head = head_of(), .read = read_text};
    const struct arc_new set = {
        .signer = &signer,
        .instance = before.highest + 1,
        .cv = cv,
        .results = arena_printf(arena, "i=%u; mx.example.org;\r\n\tspf=pass", before.highest + 1),
        .now = NOW};
    if (arc_make(arena, &before, &m, &set, &message, &seal, &err))
        fail_msg("%s", err.text);
    prepend("ARC-Authentication-Results", set.results);
    prepend("ARC-Message-Signature", message);
    prepend("ARC-Seal", seal);
}

static const char plain[] =
    "DKIM-Signature: v=1; d=x\r\nReceived: from a by b; now\r\n"
    "From: Joe <joe@Example.ORG>\r\nTo: a@example.net,\r\n\t b@example.net\r\n"
    "Subject:   a   long  \tsubject \r\n\r\n Hi.  \r\n\r\nWe lost.\r\n\r\n";

static void ours(int sets)
{
    set_text(plain);
    for (int i = 0; i < sets; i++)
        add_set(i % 2 ? DKIM_KEY_ED25519 : DKIM_KEY_RSA, i ? "pass" : "none");
}

/* ---- Chains in order */

static void of_others(void **state)
{
    struct buf b;

    (void)state;
    set_text(arc_vector);
    expect(ARC_VECTOR_RECORD, ARC_PASS, "");
    assert_int_equal(chain.n, 3);
    assert_int_equal(chain.oldest, 2); /* the list added a footer */
    buf_init(&b, ARC_FACT_MAX);
    arc_facts_sealers(&chain, &b);
    assert_string_equal(buf_z(&b), "lists.example relay.example third.example");
    buf_clear(&b);
    arc_facts_sets(&chain, &b);
    assert_string_equal(buf_z(&b), "3 third.example holds - - fail -; "
                                   "2 relay.example holds softfail fail fail bank.example; "
                                   "1 lists.example altered pass pass pass bank.example");
    buf_clear(&b);
    arc_facts_authres(&chain, "192.0.2.1", &b);
    assert_string_equal(buf_z(&b), "arc=pass (i=3) header.oldest-pass=2 smtp.remote-ip=192.0.2.1");
    buf_clear(&b);
    arc_facts_words(&chain, &b);
    assert_string_equal(buf_z(&b), "pass, 3 sets, sealed by third.example, altered before i=2");
    buf_fini(&b);
}

static void of_ours(void **state)
{
    struct buf b;

    (void)state;
    set_text(plain);
    expect(NULL, ARC_NONE, "");
    buf_init(&b, ARC_FACT_MAX);
    for (int n = 1; n <= 5; n++) {
        ours(n);
        expect(NULL, ARC_PASS, "");
        assert_int_equal(chain.n, n);
        assert_int_equal(chain.oldest, 1);
    }
    arc_facts_authres(&chain, "", &b);
    assert_string_equal(buf_z(&b), "arc=pass (i=5) header.oldest-pass=0");
    buf_fini(&b);
    /* What a host on the way may do. */
    prepend("Received", STR("from b by c; later"));
    prepend("Authentication-Results", STR("x; none"));
    expect(NULL, ARC_PASS, "");
    replace("a   long", 0, "a long");
    expect(NULL, ARC_PASS, "");
    replace("Subject:", 0, "Subject: other");
    expect(NULL, ARC_FAIL, "the signature of i=5: it isn't signed");
}

static void longest(void **state)
{
    struct arena *before = arena;

    (void)state;
    arena = arena_new(0);
    set_text(plain);
    for (int i = 0; i < ARC_SETS_MAX; i++)
        add_set(DKIM_KEY_ED25519, i ? "pass" : "none");
    expect(NULL, ARC_PASS, "");
    assert_int_equal(chain.n, ARC_SETS_MAX);
    assert_int_equal(chain.oldest, 1);
    prepend("ARC-Seal", STR("i=51; cv=pass; a=rsa-sha256; d=a.b; s=s; b=AAAA"));
    expect(NULL, ARC_FAIL, "too many");
    ours(1);
    prepend("ARC-Seal", STR("i=51; cv=pass; a=rsa-sha256; d=a.b; s=s; b=AAAA"));
    expect(NULL, ARC_FAIL, "i= is no number");
    arena_free(&arena);
    arena = before;
}

/* ---- Altered */

static void altered(void **state)
{
    static const struct {
        const char *what;
        unsigned nth;
        const char *with;
        enum arc_result result;
        const char *why;
    } cases[] = {
        {"list footer", 0, "list  footer", ARC_PASS, ""},
        {"list footer", 0, "other footer", ARC_FAIL, "the signature of i=3: the body was altered"},
        {"Joe", 0, "Jim", ARC_FAIL, "the signature of i=3"},
        {"dmarc=pass", 0, "dmarc=none", ARC_FAIL, "the seal of i=1"},
        {"dmarc=fail", 2, "dmarc=pass", ARC_FAIL, "the seal of i=2"},
        {"dmarc=fail", 0, "dmarc=pass", ARC_FAIL, "the seal of i=3"},
        {"i=3; mx.", 0, "i=3; \t mx.", ARC_PASS, ""},
        {"cv=none", 0, "cv=pass", ARC_FAIL, "i=1 doesn't say cv=none"},
        {"cv=pass", 1, "cv=none", ARC_FAIL, "i=2 doesn't say cv=pass"},
        {"cv=pass", 0, "cv=fail", ARC_FAIL, "i=3 says that the chain is broken"},
        {"cv=pass", 0, "cv=odd", ARC_FAIL, "i=3 doesn't say cv=pass"},
        {"cv=pass; ", 0, "", ARC_FAIL, "cv= is missing"},
        {"cv=pass; ", 0, "cv=pass; h=from; ", ARC_FAIL, "h= isn't allowed"},
        {"ARC-Seal: i=2", 0, "X-Seal: i=2", ARC_FAIL, "i=2 isn't complete"},
        {"ARC-Seal: i=2", 0, "ARC-Seal: i=1", ARC_FAIL, "two ARC-Seal with i=1"},
        {"ARC-Seal: i=2", 0, "ARC-Seal: i=4", ARC_FAIL, "isn't complete"},
        {"ARC-Seal: i=2", 0, "ARC-Seal: i=0", ARC_FAIL, "i= is no number"},
        {"ARC-Seal: i=2", 0, "ARC-Seal: j=2", ARC_FAIL, "ARC-Seal without its i="},
        {"ARC-Seal: i=2", 0, "ARC-Seal: nonsense i=2", ARC_FAIL, "ARC-Seal without its i="},
        {"ARC-Authentication-Results: i=1", 0, "ARC-Authentication-Results: i=x", ARC_FAIL,
         "ARC-Authentication-Results without"},
        {"ARC-Message-Signature: i=1", 0, "X: i=1", ARC_FAIL, "i=1 isn't complete"},
        {"ARC-Message-Signature: i=3; a=rsa", 0, "ARC-Message-Signature: i=3; l=1; a=rsa", ARC_FAIL,
         "part of the body"},
        {"ARC-Message-Signature: i=3; a=rsa", 0, "ARC-Message-Signature: i=3; x=1; a=rsa", ARC_FAIL,
         "x= isn't after"},
        {"ARC-Message-Signature: i=3; a=rsa-sha256", 0, "ARC-Message-Signature: i=3; a=rsa-sha1",
         ARC_FAIL, "rsa-sha1"},
        {"ARC-Message-Signature: i=1; a=rsa-sha256", 0, "ARC-Message-Signature: i=1; a=rsa-sha1",
         ARC_FAIL, "the seal of i=1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_text(arc_vector);
        replace(cases[i].what, cases[i].nth, cases[i].with);
        expect(ARC_VECTOR_RECORD, cases[i].result, cases[i].why);
    }
}

/* A set that somebody puts together from those of another message. */
static void copied(void **state)
{
    (void)state;
    ours(2);
    replace("We lost.", 0, "We won.");
    expect(NULL, ARC_FAIL, "body");
    add_set(DKIM_KEY_RSA, "pass"); /* a host that didn't look */
    expect(NULL, ARC_PASS, "");
    assert_int_equal(chain.oldest, 3);
    prepend("ARC-Seal", STR("i=4"));
    expect(NULL, ARC_FAIL, "");
    assert_int_equal(chain.highest, 4);
}

static void declared_broken(void **state)
{
    struct dkim_one *list[2];

    (void)state;
    ours(2);
    replace("ARC-Seal: i=1", 0, "X: i=1");
    expect(NULL, ARC_FAIL, "i=1 isn't complete");
    assert_false(chain.ended);
    add_set(DKIM_KEY_RSA, "fail");
    expect(NULL, ARC_FAIL, "i=3 says that the chain is broken");
    assert_true(chain.ended);
    assert_int_equal(arc_chain_open(&chain, list), 0);
}

static void without_keys(void **state)
{
    static const char weak[] = /* 512 bits */
        "p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAPLXajj5GZKmFdPxavbP9qKwQkDkcG4k"
        "oQ79WyQZCwo64IjEK2TBsJ0dte0mwkyrOGADNt2CqnESFcViadHvZrMCAwEAAQ==";

    (void)state;
    set_text(arc_vector);
    expect("v=DKIM1; p=", ARC_FAIL, "its key was revoked");
    expect(weak, ARC_FAIL, "the signature of i=3: its key has only 512 bits");
    expect("v=DKIM1; p=AAAA", ARC_FAIL, "can't be read");
    expect(records[DKIM_KEY_ED25519], ARC_FAIL, "another type");
    expect(records[DKIM_KEY_RSA], ARC_FAIL, "isn't signed with that key");
    struct dkim_one *list[2 * ARC_SETS_MAX];
    arc_chain_read(&chain, arena, head_of(), NOW);
    size_t n = arc_chain_open(&chain, list);
    assert_int_equal(n, 6);
    for (size_t i = 0; i < n; i++) {
        struct str r = STR(ARC_VECTOR_RECORD);
        if (i == 2) /* the seal of i=2 */
            dkim_one_settle(list[i], DKIM_TEMPERROR, "no answer");
        else
            dkim_one_key(arena, list[i], &r, 1);
    }
    const struct dkim_message m = {.head = head_of(), .read = read_text};
    arc_chain_run(&chain, &m);
    assert_int_equal(chain.result, ARC_TEMPERROR);
    assert_string_equal(chain.why, "the seal of i=2: no answer");
}

/* ---- Claims */

static void claims(void **state)
{
    static const struct {
        const char *value, *words; /* spf dkim dmarc from */
    } cases[] = {{"i=1; mx; spf=pass; dkim=fail; dkim=pass; dmarc=pass header.from=a.b",
                  "pass pass pass a.b"},
                 {"i=1; mx 1; spf=pass (why; not=this) smtp.mailfrom=x", "pass   "},
                 {"i=1; mx; dmarc=fail; dmarc=pass", "  fail "},
                 {"i=1; mx; DMARC/1 = Pass (p=none) header.from = \"a.b\" x=y", "  Pass a.b"},
                 {"i=1; mx; dmarc/2=pass", "   "},
                 {"i=1; mx; x=\"; dmarc=pass\"; spf=none", "none   "},
                 {"i=1; mx (; dmarc=pass", "   "},
                 {"i=1; \"dmarc=pass\"; spf=", "   "},
                 {"i=1; mx; dmarc=pass reason=\"header.from=x\" header.from=a.b", "  pass a.b"},
                 {"i=1; mx; dmarc=pass junk header.from=a.b", "  pass "},
                 {"i=1; mx; dkim=fail; dkim=policy", " fail  "},
                 {"i=1; mx; none", "   "},
                 {"", "   "}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arc_claims c;
        char words[200];
        arc_claims_read(str_from(cases[i].value), &c);
        snprintf(words, sizeof words, STR_FMT " " STR_FMT " " STR_FMT " " STR_FMT, STR_ARG(c.spf),
                 STR_ARG(c.dkim), STR_ARG(c.dmarc), STR_ARG(c.from));
        if (strcmp(words, cases[i].words) != 0)
            fail_msg("%s: %s", cases[i].value, words);
    }
}

static void told(void **state)
{
    struct str rest = STR("2 b.test altered - pass - -; 1 a.test holds pass - fail x.test");
    struct arc_told one;

    (void)state;
    assert_true(arc_facts_next(&rest, &one));
    assert_true(str_eq(one.instance, STR("2")) && str_eq(one.domain, STR("b.test")) && !one.holds);
    assert_true(str_eq(one.claims.dkim, STR("pass")) && !one.claims.spf.n && !one.claims.from.n);
    assert_true(arc_facts_next(&rest, &one));
    assert_true(one.holds && str_eq(one.claims.from, STR("x.test")));
    assert_false(arc_facts_next(&rest, &one));
}

/* ---- */

static int make(void **state)
{
    struct err err = {0};

    (void)state;
    arena = arena_new(0);
    buf_init(&text, 1 << 22);
    for (int i = 0; i < 2; i++) {
        struct buf b;
        buf_init(&b, 4096);
        assert_int_equal(dkim_key_new((enum dkim_key_type)i, &keys[i], &err), 0);
        assert_int_equal(dkim_key_record(keys[i], &b, &err), 0);
        records[i] = str_dup_z(buf_str(&b));
        buf_fini(&b);
    }
    return 0;
}

static int drop(void **state)
{
    (void)state;
    arena_free(&arena);
    buf_fini(&text);
    for (int i = 0; i < 2; i++) {
        dkim_key_free(&keys[i]);
        mem_free(records[i]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_others),    cmocka_unit_test(of_ours),
        cmocka_unit_test(longest),      cmocka_unit_test(altered),
        cmocka_unit_test(copied),       cmocka_unit_test(declared_broken),
        cmocka_unit_test(without_keys), cmocka_unit_test(claims),
        cmocka_unit_test(told)};

    return cmocka_run_group_tests_name("arc", tests, make, drop);
}
