/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What is signed here is verified by libopendkim, what libopendkim signs too; altered, cut,
 * appended to, with keys of all kinds; tag lists, key records, canonical forms in pieces. */
#include "appliance/base/text.h"
#include "appliance/mail/header.h"
#include "filters/dkim_canon.h"
#include "filters/dkim_check.h"
#include "filters/dkim_seal.h"
#include "tests/unit/filters/world.h"
#include <opendkim/dkim.h>

static const char head[] = "Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
                           "From: Joe <joe@Example.ORG>\r\n"
                           "To: a@example.net,\r\n\t b@example.net\r\n"
                           "Subject:   a   long  \tsubject \r\n"
                           "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
                           "Message-ID: <1@example.org>\r\n\r\n";
static const char body[] = " Hi.  \r\n\r\nWe lost  the game.\t \r\nAre you hungry yet?\r\n\r\n\r\n";

struct text { /* a message in memory, read in pieces of `piece` */
    struct buf all;
    size_t head_n, piece;
    bool broken;
};

static int64_t read_text(void *ctx, uint64_t offset, void *to, size_t n)
{
    const struct text *t = ctx;

    if (t->broken)
        return -1;
    struct str s = str_skip(buf_str(&t->all), (size_t)offset);
    if (t->piece && n > t->piece)
        n = t->piece;
    s = str_take(s, n);
    if (s.n)
        memcpy(to, s.p, s.n);
    return (int64_t)s.n;
}

static void text_init(struct text *t, const char *fields, const char *h, const char *b)
{
    *t = (struct text){0};
    buf_init(&t->all, 1 << 24);
    buf_add_z(&t->all, fields);
    buf_add_z(&t->all, h);
    t->head_n = t->all.n;
    buf_add_z(&t->all, b);
}

static struct dkim_message message(const struct text *t)
{
    return (struct dkim_message){.head = str_take(buf_str(&t->all), t->head_n),
                                 .read = read_text,
                                 .ctx = (void *)(uintptr_t)t};
}

/* ---- Keys of the tests: made once. */

static struct dkim_key *keys[2];
static char *records[2];
static struct dkim_signer signers[2];
static struct dkim_verifier *verifier;

static char *record_of(const struct dkim_key *k)
{
    struct err err = {0};
    struct buf b;

    buf_init(&b, 4096);
    assert_int_equal(dkim_key_record(k, &b, &err), 0);
    char *z = str_dup_z(buf_str(&b));
    buf_fini(&b);
    return z;
}

static int make_keys(void **state)
{
    static const char *const selectors[] = {"sel-rsa", "sel-ed"};
    struct err err = {0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dkim_key_new((enum dkim_key_type)i, &keys[i], &err), 0);
        records[i] = record_of(keys[i]);
        signers[i] = (struct dkim_signer){
            .domain = STR("example.org"), .selector = str_from(selectors[i]), .key = keys[i]};
    }
    signers[0].next = &signers[1];
    verifier = dkim_verifier_new();
    assert_non_null(verifier);
    return 0;
}

static int drop_keys(void **state)
{
    (void)state;
    dkim_verifier_free(&verifier);
    for (int i = 0; i < 2; i++) {
        dkim_key_free(&keys[i]);
        mem_free(records[i]);
    }
    return 0;
}

/* ---- Verifying a text whose keys are those of the tests, or `record`. */

static void check_text(struct dkim_check *c, const struct text *t, const char *record)
{
    const struct dkim_message m = message(t);

    *c = (struct dkim_check){.min_bits = 1024};
    dkim_check_begin(c, m.head, 8, clock_wall_ms() / 1000);
    for (size_t i = 0; i < c->n; i++) {
        struct dkim_one *one = &c->list[i];
        struct str r = str_from(record ? record : records[one->sig.type]);
        if (one->result == DKIM_NONE)
            dkim_check_key(c, one, &r, 1);
    }
    if (dkim_check_open(c))
        dkim_check_run(verifier, c, &m);
    assert_false(dkim_check_open(c));
}

static void expect(const struct text *t, const char *record, enum dkim_result wanted,
                   const char *why)
{
    struct dkim_check c;

    check_text(&c, t, record);
    for (size_t i = 0; i < c.n; i++)
        if (c.list[i].result != wanted || (why && !strstr(c.list[i].why, why)))
            fail_msg("%s (%s), not %s (%s)", dkim_result_name(c.list[i].result), c.list[i].why,
                     dkim_result_name(wanted), why ? why : "");
    assert_int_equal(dkim_check_result(&c), wanted);
    dkim_check_fini(&c);
}

/* Puts the signatures in front. */
static void sign(struct text *t)
{
    const struct dkim_message m = message(t);
    struct arena *a = arena_new(0);
    struct str values[DKIM_SIGNERS_MAX];
    struct err err = {0};
    struct buf out;
    size_t n;

    if (dkim_seal(a, &m, signers, clock_wall_ms() / 1000, values, &n, &err))
        fail_msg("%s", err.text);
    assert_int_equal(n, 2);
    buf_init(&out, 1 << 24);
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, "DKIM-Signature: %s\r\n", values[i].p);
    t->head_n += out.n;
    buf_add_str(&out, buf_str(&t->all));
    buf_fini(&t->all);
    t->all = out;
    arena_free(&a);
}

static void signed_text(struct text *t, const char *h, const char *b)
{
    text_init(t, "", h, b);
    sign(t);
}

static void replace(struct text *t, const char *what, const char *with)
{
    struct buf out;
    size_t at;

    assert_true(str_find(buf_str(&t->all), str_from(what), &at));
    buf_init(&out, 1 << 24);
    buf_add_str(&out, str_take(buf_str(&t->all), at));
    buf_add_z(&out, with);
    buf_add_str(&out, str_skip(buf_str(&t->all), at + strlen(what)));
    if (at < t->head_n)
        t->head_n += strlen(with) - strlen(what);
    buf_fini(&t->all);
    t->all = out;
}

/* ---- Tests */

static void own_signatures(void **state)
{
    static const char *const bodies[] = {"",
                                         "\r\n",
                                         "\r\n\r\n\r\n",
                                         "x",
                                         " \t \r\n",
                                         "a\r\n b\r\n\r\n \t\r\nc \r\n",
                                         "no end",
                                         "ends in blanks \r\n  ",
                                         "\r\n\r\nlate\r\n",
                                         body};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        for (size_t piece = 1; piece < 70000; piece = piece * 3 + 1) {
            struct text t;
            signed_text(&t, head, bodies[i]);
            t.piece = piece;
            expect(&t, NULL, DKIM_PASS, NULL);
            buf_fini(&t.all);
        }
}

static void odd_heads(void **state)
{
    static const char *const heads[] = {
        "From: a@example.org\r\n\r\n", "from :a@example.org\r\nSUBJECT  : \r\n\t x\r\n\r\n",
        "From: a@example.org\r\nTo: 1\r\nTo: 2\r\nCc: 3\r\nTo: 4\r\nSubject:\r\n\r\n",
        "X: \xc3\xa9\r\nFrom: \xc3\xa9 <a@example.org>\r\nSubject: \xf0\x9f\x93\xaf\r\n\r\n",
        "From: a@example.org\r\nTo: 1\r\nTo: 2\r\nTo: 3\r\nTo: 4\r\nTo: 5\r\nTo: 6\r\nTo: 7\r\n"
        "To: 8\r\nTo: 9\r\nTo: 10\r\nTo: 11\r\nTo: 12\r\n\r\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct text t;
        signed_text(&t, heads[i], body);
        t.piece = i + 1;
        expect(&t, NULL, DKIM_PASS, NULL);
        buf_fini(&t.all);
    }
}

static void altered(void **state)
{
    static const struct {
        const char *what, *with;
        enum dkim_result result;
    } cases[] = {{"Are you", "Art you", DKIM_FAIL},
                 {"the game.\t ", "the game.", DKIM_PASS},
                 {"lost  the", "lost the", DKIM_PASS},
                 {"lost  the", "lostthe", DKIM_FAIL},
                 {"\r\nSubject:   a", "\r\nsubject : a", DKIM_PASS},
                 {"a   long", "along", DKIM_FAIL},
                 {"Joe", "Jim", DKIM_FAIL},
                 {"Received: from a", "Received: from c", DKIM_PASS},
                 {"Message-ID: <1@", "Message-ID: <2@", DKIM_FAIL},
                 {"From: Joe", "From: x@example.com\r\nFrom: Joe", DKIM_FAIL},
                 {"\r\nSubject:", "\r\nSubject: first\r\nSubject:", DKIM_FAIL},
                 {"\r\nSubject:", "\r\nCc: added\r\nSubject:", DKIM_FAIL},
                 {"\r\nSubject:", "\r\nReply-To: added\r\nSubject:", DKIM_FAIL},
                 {"\r\nSubject:", "\r\nContent-Type: text/html\r\nSubject:", DKIM_FAIL},
                 {"\r\nSubject:", "\r\nList-Id: added\r\nSubject:", DKIM_PASS},
                 {"yet?\r\n\r\n", "yet?\r\n\r\nSpam\r\n", DKIM_FAIL},
                 {"yet?\r\n\r\n", "yet?\r\n\r\n\r\n\r\n\r\n", DKIM_PASS}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct text t;
        signed_text(&t, head, body);
        replace(&t, cases[i].what, cases[i].with);
        expect(&t, NULL, cases[i].result, NULL);
        buf_fini(&t.all);
    }
}

static void large(void **state)
{
    struct text t;

    (void)state;
    text_init(&t, "", head, "");
    for (size_t i = 0; t.all.n < (3 << 20); i++)
        buf_printf(&t.all, i % 50 ? "line %zu  of  many \r\n" : "\r\n", i);
    sign(&t);
    expect(&t, NULL, DKIM_PASS, NULL);
    replace(&t, "line 3  of", "line 3 or");
    expect(&t, NULL, DKIM_FAIL, "body");
    t.broken = true;
    expect(&t, NULL, DKIM_TEMPERROR, "read");
    buf_fini(&t.all);
}

static void bad_heads(void **state)
{
    struct text t;

    (void)state;
    signed_text(&t, head, body);
    replace(&t, "Received: from a", "Received: from\ra");
    expect(&t, NULL, DKIM_NEUTRAL, "bare CR");
    buf_fini(&t.all);
    signed_text(&t, head, body);
    replace(&t, "Received: from a", "Received: from\na");
    expect(&t, NULL, DKIM_NEUTRAL, "bare CR");
    buf_fini(&t.all);
    signed_text(&t, head, body);
    replace(&t, "Received: from a", "bad name\x01: x\r\nReceived: from a"); /* not a field */
    expect(&t, NULL, DKIM_PASS, NULL);
    buf_fini(&t.all);
    struct buf many;
    buf_init(&many, 1 << 20);
    for (int i = 0; i < 2000; i++)
        buf_add_z(&many, "X: y\r\n");
    signed_text(&t, head, body);
    replace(&t, "Received: from a", buf_z(&many));
    expect(&t, NULL, DKIM_NEUTRAL, "too large");
    buf_fini(&t.all);
    buf_fini(&many);
}

/* ---- By libopendkim's own signer. */

static void sign_by_library(struct text *t, const struct dkim_key *k, dkim_alg_t alg, bool relaxed,
                            ssize_t length)
{
    DKIM_LIB *lib = dkim_init(NULL, NULL);
    int canon = relaxed ? DKIM_CANON_RELAXED : DKIM_CANON_SIMPLE;
    struct str rest = str_take(buf_str(&t->all), t->head_n);
    struct header_field f;
    struct err err = {0};
    struct buf pem, out;
    DKIM_STAT st;
    u_char *value;
    size_t n;

    buf_init(&pem, DKIM_PEM_MAX);
    assert_int_equal(dkim_key_write(k, &pem, &err), 0);
    DKIM *d = dkim_sign(lib, (const u_char *)"t", NULL, (u_char *)(uintptr_t)buf_z(&pem),
                        (const u_char *)"sel", (const u_char *)"example.org", canon, canon, alg,
                        length, &st);
    assert_non_null(d);
    while (header_next(&rest, &f))
        assert_int_equal(dkim_header(d, (u_char *)(uintptr_t)f.raw.p, f.raw.n - 2), DKIM_STAT_OK);
    assert_int_equal(dkim_eoh(d), DKIM_STAT_OK);
    struct str data = str_skip(buf_str(&t->all), t->head_n);
    if (data.n)
        assert_int_equal(dkim_body(d, (u_char *)(uintptr_t)data.p, data.n), DKIM_STAT_OK);
    assert_int_equal(dkim_eom(d, NULL), DKIM_STAT_OK);
    assert_int_equal(dkim_getsighdr_d(d, 16, &value, &n), DKIM_STAT_OK);
    buf_init(&out, 1 << 24);
    buf_printf(&out, "DKIM-Signature: %.*s\r\n", (int)n, (const char *)value);
    t->head_n += out.n;
    buf_add_str(&out, buf_str(&t->all));
    buf_fini(&t->all);
    t->all = out;
    dkim_free(d);
    dkim_close(lib);
    buf_fini(&pem);
}

static void of_others(void **state)
{
    (void)state;
    for (int relaxed = 0; relaxed < 2; relaxed++) {
        struct text t;
        text_init(&t, "", head, body);
        sign_by_library(&t, keys[0], DKIM_SIGN_RSASHA256, relaxed, -1);
        expect(&t, NULL, DKIM_PASS, NULL);
        replace(&t, "Subject:   a", "Subject: a");
        expect(&t, NULL, relaxed ? DKIM_PASS : DKIM_FAIL, NULL);
        replace(&t, "hungry", "angry");
        expect(&t, NULL, DKIM_FAIL, NULL);
        buf_fini(&t.all);
    }
}

/* RFC 8463 A. */
static void of_the_rfc(void **state)
{
    static const char fields_of[] =
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
        " d=football.example.com; i=@football.example.com;\r\n"
        " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
        " subject : date : message-id : from : subject : date;\r\n"
        " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
        " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
        " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n",
                      head_of[] =
                          "From: Joe SixPack <joe@football.example.com>\r\n"
                          "To: Suzie Q <suzie@shopping.example.net>\r\n"
                          "Subject: Is dinner ready?\r\n"
                          "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
                          "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n",
                      body_of[] =
                          "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
    struct text t;

    (void)state;
    text_init(&t, fields_of, head_of, body_of);
    expect(&t, "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", DKIM_PASS,
           NULL);
    replace(&t, "hungry", "angry");
    expect(&t, "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", DKIM_FAIL,
           NULL);
    buf_fini(&t.all);
}

static void old_hash(void **state)
{
    struct text t;

    (void)state;
    text_init(&t, "", head, body);
    sign_by_library(&t, keys[0], DKIM_SIGN_RSASHA1, true, -1);
    expect(&t, NULL, DKIM_PERMERROR, "sha1"); /* RFC 8301 */
    buf_fini(&t.all);
}

/* l=: whatever follows what was signed passes the hash. */
static void appended(void **state)
{
    (void)state;
    for (int relaxed = 0; relaxed < 2; relaxed++) {
        struct text t;
        text_init(&t, "", head, "All of it.\r\n");
        sign_by_library(&t, keys[0], DKIM_SIGN_RSASHA256, relaxed, 12);
        expect(&t, NULL, DKIM_PASS, NULL);
        buf_add_z(&t.all, "\r\n\r\n"); /* empty lines at the end belong to no form */
        expect(&t, NULL, DKIM_PASS, NULL);
        buf_add_z(&t.all, "And this\r\n");
        expect(&t, NULL, DKIM_POLICY, "octets of the body aren't signed");
        buf_truncate(&t.all, t.head_n + 4);
        expect(&t, NULL, DKIM_PERMERROR, "l= is larger");
        buf_fini(&t.all);
    }
}

/* ---- Keys */

static void key_records(void **state)
{
    static const struct {
        const char *before, *after;
        enum dkim_result result;
        const char *why;
    } cases[] = {{"", "", DKIM_PASS, ""},
                 {"v=DKIM1; t=y; ", "", DKIM_POLICY, "testing"},
                 {"v=DKIM1; t=s:y; ", "", DKIM_POLICY, "testing"},
                 {"v=DKIM1; t=s; ", "", DKIM_PASS, ""}, /* i= is that of d= */
                 {"v=DKIM1; s=email; h=sha1:sha256; ", "; n=x", DKIM_PASS, ""},
                 {"v=DKIM1; s=*; ", ";", DKIM_PASS, ""},
                 {"v=DKIM1; s=other; ", "", DKIM_PERMERROR, "mail"},
                 {"v=DKIM1; h=sha1; ", "", DKIM_PERMERROR, "SHA-256"},
                 {"v=DKIM2; ", "", DKIM_PERMERROR, "DKIM1"},
                 {"t=y; v=DKIM1; ", "", DKIM_PERMERROR, "DKIM1"},
                 {"v=DKIM1; v=DKIM1; ", "", DKIM_PERMERROR, "twice"},
                 {"nonsense ", "", DKIM_PERMERROR, "list of tags"}};
    struct text t;

    (void)state;
    text_init(&t, "", head, body);
    sign_by_library(&t, keys[0], DKIM_SIGN_RSASHA256, true, -1);
    const char *p = strstr(records[0], "p=");
    char text[2048];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof text, "%s%s%s", cases[i].before, p, cases[i].after);
        expect(&t, text, cases[i].result, cases[i].why);
    }
    expect(&t, "v=DKIM1; p=", DKIM_PERMERROR, "revoked");
    expect(&t, "v=DKIM1; k=rsa", DKIM_PERMERROR, "no key");
    expect(&t, "v=DKIM1; k=rsa; p=AAAA", DKIM_PERMERROR, "can't be read");
    expect(&t, "v=DKIM1; k=rsa; p=a", DKIM_PERMERROR, "base64");
    expect(&t, "v=DKIM1; k=dsa; p=AAAA", DKIM_PERMERROR, "unknown type");
    expect(&t, records[1], DKIM_PERMERROR, "another type");
    struct dkim_key *other;
    struct err err = {0};
    assert_int_equal(dkim_key_new(DKIM_KEY_RSA, &other, &err), 0);
    char *record = record_of(other);
    expect(&t, record, DKIM_FAIL, "another key");
    dkim_key_free(&other);
    mem_free(record);
    buf_fini(&t.all);
}

static void several_records(void **state)
{
    struct dkim_check c = {.min_bits = 1024};
    struct text t;

    (void)state;
    signed_text(&t, head, body);
    const struct dkim_message m = message(&t);
    const struct str one[] = {STR("v=spf1 -all"), str_from(records[0])};
    const struct str two[] = {str_from(records[1]), str_from(records[1])};
    dkim_check_begin(&c, m.head, 8, clock_wall_ms() / 1000);
    dkim_check_key(&c, &c.list[0], one, 2);
    dkim_check_key(&c, &c.list[1], two, 2);
    dkim_check_run(verifier, &c, &m);
    assert_int_equal(c.list[0].result, DKIM_PASS);
    assert_int_equal(c.list[0].bits, 2048);
    assert_int_equal(c.list[1].result, DKIM_PERMERROR);
    dkim_check_fini(&c);
    c = (struct dkim_check){.min_bits = 4096};
    dkim_check_begin(&c, m.head, 1, clock_wall_ms() / 1000);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.ignored, 1);
    dkim_check_key(&c, &c.list[0], one, 2);
    dkim_check_run(verifier, &c, &m);
    assert_int_equal(c.list[0].result, DKIM_POLICY);
    assert_non_null(strstr(c.list[0].why, "2048"));
    dkim_check_fini(&c);
    buf_fini(&t.all);
}

static void keys_as_text(void **state)
{
    struct err err = {0};
    struct buf pem, b;

    (void)state;
    buf_init(&pem, DKIM_PEM_MAX);
    buf_init(&b, 8192);
    for (int i = 0; i < 2; i++) {
        struct dkim_key *again;
        buf_clear(&pem);
        assert_int_equal(dkim_key_write(keys[i], &pem, &err), 0);
        assert_int_equal(dkim_key_read(buf_str(&pem), &again, &err), 0);
        char *r = record_of(again);
        assert_string_equal(r, records[i]);
        mem_free(r);
        dkim_key_free(&again);
    }
    struct dkim_key *none = NULL;
    assert_int_equal(dkim_key_read(STR("no key"), &none, &err), -1);
    assert_int_equal(dkim_key_read(STR(""), &none, &err), -1);
    dkim_zone_line(STR("sel"), STR("example.org"), str_from(records[0]), &b);
    assert_true(str_starts(buf_str(&b), STR("sel._domainkey.example.org. IN TXT ( \"v=DKIM1;")));
    struct str rest = buf_str(&b), piece, joined;
    struct buf all;
    buf_init(&all, 8192);
    for (size_t n = 0; str_cut(rest, '"', &piece, &rest); n++)
        if (n % 2) {
            assert_true(piece.n <= 255);
            buf_add_str(&all, piece);
        }
    joined = buf_str(&all);
    assert_true(str_eq(joined, str_from(records[0])));
    buf_fini(&all);
    buf_fini(&pem);
    buf_fini(&b);
}

/* ---- Fields */

static void fields(void **state)
{
#define OK                                                                                         \
    "v=1; a=rsa-sha256; d=Example.org; s=Sel; h=From:To; "                                         \
    "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA BBBB\r\n\tCCCC"
    static const struct {
        const char *text;
        enum dkim_result result;
        const char *why;
    } cases[] = {{OK, DKIM_NONE, ""},
                 {OK ";", DKIM_NONE, ""},
                 {OK "; x=2000000000; t=1999999990", DKIM_POLICY, "future"},
                 {OK "; x=1600000000; t=1500000000", DKIM_POLICY, "expired"},
                 {OK "; x=1700000100; t=1700000000; c=relaxed", DKIM_NONE, ""},
                 {OK "; x=10; t=20", DKIM_PERMERROR, "after"},
                 {OK "; t=-1", DKIM_PERMERROR, "number"},
                 {OK "; l=x", DKIM_PERMERROR, "l="},
                 {OK "; l=99999999999999999999999", DKIM_PERMERROR, "l="},
                 {OK "; i=joe@example.org", DKIM_NONE, ""},
                 {OK "; i=@sub.example.org", DKIM_NONE, ""},
                 {OK "; i=@badexample.org", DKIM_PERMERROR, "within"},
                 {OK "; i=joe", DKIM_PERMERROR, "i="},
                 {OK "; q=dns/txt", DKIM_NONE, ""},
                 {OK "; q=x/y:dns/txt", DKIM_NONE, ""},
                 {OK "; q=x/y", DKIM_NEUTRAL, "key"},
                 {OK "; c=relaxed/simple", DKIM_NONE, ""},
                 {OK "; c=nofws", DKIM_NEUTRAL, "canon"},
                 {OK "; unknown=x; z=A:b|C:d", DKIM_NONE, ""},
                 {OK "; d=example.com", DKIM_PERMERROR, "twice"},
                 {OK "; ; ", DKIM_PERMERROR, "tags"},
                 {"", DKIM_PERMERROR, "v="},
                 {"v=2", DKIM_NEUTRAL, "version"},
                 {"v=1; a=rsa-sha256; d=example..org; s=s", DKIM_PERMERROR, "domain"},
                 {"v=1; a=rsa-sha256; d=example.org; s=a b", DKIM_PERMERROR, "selector"},
                 {"v=1; a=rsa-sha512; d=example.org; s=s", DKIM_NEUTRAL, "algorithm"},
                 {"v=1; a=rsa-sha256; d=example.org; s=s; bh=AAAA", DKIM_PERMERROR, "bh="},
                 {"v=1; a=rsa-sha1; d=example.org; s=s", DKIM_PERMERROR, "sha1"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct dkim_signature s;
        char why[120];
        enum dkim_result r = dkim_signature_parse(a, str_from(cases[i].text), 1700000000, &s, why);
        if (r != cases[i].result || !strstr(why, cases[i].why))
            fail_msg("%s: %s (%s)", cases[i].text, dkim_result_name(r), why);
        if (i == 0) {
            assert_true(str_eq(s.domain, STR("example.org")) && str_eq(s.selector, STR("sel")));
            assert_true(str_eq(s.mark, STR("AAAABBBB")));
        }
        arena_free(&a);
    }
}

static void results_as_text(void **state)
{
    struct dkim_one one = {.result = DKIM_FAIL,
                           .sig = {.domain = STR("example.org"),
                                   .selector = STR("sel"),
                                   .algorithm = STR("rsa-sha256"),
                                   .identity = STR("a;b @x"),
                                   .mark = STR("AAAA")},
                           .why = "one; two"};
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_int_equal(dkim_one_write(&one, &b), 0);
    assert_string_equal(buf_z(&b), "fail example.org sel rsa-sha256 a?b?@x AAAA - one, two");
    buf_clear(&b);
    one = (struct dkim_one){.result = DKIM_PERMERROR};
    assert_int_equal(dkim_one_write(&one, &b), 0);
    assert_string_equal(buf_z(&b), "permerror - - - - - -");
    buf_fini(&b);
}

/* ---- Canonical forms: RFC 6376 3.4.5, and pieces. */

static void collect(void *ctx, const char *p, size_t n)
{
    buf_add(ctx, p, n);
}

static void forms(void **state)
{
    static const struct {
        const char *in, *simple, *relaxed;
    } cases[] = {{" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},
                 {"", "\r\n", ""},
                 {"\r\n\r\n", "\r\n", ""},
                 {" \r\n", " \r\n", ""},
                 {"x", "x\r\n", "x\r\n"},
                 {"\r\n x", "\r\n x\r\n", "\r\n x\r\n"},
                 {"a\rb\r", "a\rb\r\r\n", "a\rb\r\r\n"},
                 {"a \r", "a \r\r\n", "a \r\r\n"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t cut = 0; cut <= strlen(cases[i].in); cut++)
            for (int relaxed = 0; relaxed < 2; relaxed++) {
                static struct dkim_body b;
                struct str in = str_from(cases[i].in);
                struct buf out;
                buf_init(&out, 1000);
                dkim_body_begin(&b, relaxed, collect, &out);
                dkim_body_feed(&b, str_take(in, cut));
                dkim_body_feed(&b, str_skip(in, cut));
                dkim_body_end(&b);
                assert_string_equal(buf_z(&out), relaxed ? cases[i].relaxed : cases[i].simple);
                assert_int_equal(b.length, out.n);
                buf_fini(&out);
            }
    struct buf out;
    buf_init(&out, 1000);
    dkim_field_relaxed(STR("B \t"), STR(" Y\t\r\n\tZ  \r\n"), &out);
    assert_string_equal(buf_z(&out), "b:Y Z\r\n");
    buf_fini(&out);
}

static void authors(void **state)
{
    static const char *const cases[][2] = {
        {"From: Joe <joe@Example.ORG>\r\n\r\n", "example.org"},
        {"From: list:a@b.example, c@d.example;\r\n\r\n", "b.example"},
        {"From: a@b\xc3\xbc"
         "cher.example\r\n\r\n",
         "xn--bcher-kva.example"},
        {"From: a@[192.0.2.1]\r\n\r\n", ""},
        {"From: nobody\r\n\r\n", ""},
        {"From: \r\n\r\n", ""},
        {"To: a@example.org\r\n\r\n", ""}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct str d = dkim_author_domain(a, str_from(cases[i][0]));
        if (!str_eq(d, str_from(cases[i][1])))
            fail_msg("%s: " STR_FMT, cases[i][0], STR_ARG(d));
        arena_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_signatures),  cmocka_unit_test(odd_heads),
        cmocka_unit_test(altered),         cmocka_unit_test(large),
        cmocka_unit_test(bad_heads),       cmocka_unit_test(of_others),
        cmocka_unit_test(of_the_rfc),      cmocka_unit_test(old_hash),
        cmocka_unit_test(appended),        cmocka_unit_test(key_records),
        cmocka_unit_test(several_records), cmocka_unit_test(keys_as_text),
        cmocka_unit_test(fields),          cmocka_unit_test(results_as_text),
        cmocka_unit_test(forms),           cmocka_unit_test(authors)};

    return cmocka_run_group_tests_name("dkim", tests, make_keys, drop_keys);
}
