/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* SCRAM as a server: the example of RFC 7677 3, channel bindings, and what is no exchange. */
#include "appliance/directory/scram.h"

#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/directory/sasl.h"
#include "appliance/directory/sasl_client.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *mem;
static struct err err;
static struct scram_verifier verifier;
static struct scram_channel channel;

static struct str decode(const char *base64)
{
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(text_base64_decode(str_from(base64), &b), 0);
    struct str out = arena_str(mem, buf_str(&b));
    buf_fini(&b);
    return out;
}

static struct str encode(struct str s)
{
    struct buf b;
    buf_init(&b, 20000);
    text_base64_encode(s, &b);
    struct str out = arena_str(mem, buf_str(&b));
    buf_fini(&b);
    return out;
}

static int setup(void **state)
{
    (void)state;
    mem = arena_new(0);
    assert_true(scram_make(STR("pencil"), decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096, &verifier));
    channel = (struct scram_channel){STR("exporter-bytes"), STR("end-point-bytes")};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&mem);
    return 0;
}

#define assert_str(view, lit) assert_true(str_eq((view), STR(lit)))
#define FIRST "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define NONCE "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

static void begin(struct scram *s, const char *first)
{
    if (scram_first(s, mem, str_from(first), false, false, &channel, &err) < 0)
        fail_msg("%s: %s", first, err.text);
    scram_set_nonce(s, STR("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"));
}

static void example(void **state)
{
    struct scram s;
    struct str out;
    bool good;
    (void)state;
    begin(&s, FIRST);
    assert_str(s.user, "user");
    assert_str(scram_challenge(&s, &verifier), "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert_int_equal(
        scram_last(&s, STR("c=biws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
                   &good, &out, &err),
        0);
    assert_true(good);
    assert_str(out, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

static void wrong_proofs(void **state)
{
    static const char *const wrong[] = {
        "c=biws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVU=",
        "c=biws,r=" NONCE ",x=y,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=eSws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="};
    static const char *const malformed[] = {
        "",
        "c=biws,r=" NONCE,
        "c=biws,r=" NONCE ",p=",
        "c=biws,r=" NONCE ",p=AAAA",
        "c=biws,r=" NONCE ",p=*",
        "c=*,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "r=" NONCE ",c=biws,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="};
    struct scram s;
    struct str out;
    bool good;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        begin(&s, FIRST);
        scram_challenge(&s, &verifier);
        assert_int_equal(scram_last(&s, str_from(wrong[i]), &good, &out, &err), 0);
        assert_false(good);
        assert_int_equal(out.n, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
        begin(&s, FIRST);
        scram_challenge(&s, &verifier);
        assert_int_equal(scram_last(&s, str_from(malformed[i]), &good, &out, &err), -1);
        assert_int_equal(err.kind, ERR_PROTO);
        assert_false(good);
    }
}

static void first_messages(void **state)
{
    static const char *const bad[] = {"",
                                      "n",
                                      "n,",
                                      "n,,",
                                      "n,,n=,r=x",
                                      "n,,n=a",
                                      "n,,n=a,r=",
                                      "n,,r=x,n=a",
                                      "n,,m=x,n=a,r=x",
                                      "n,,n=a=2D,r=x",
                                      "n,,n=a=,r=x",
                                      "n,,n=a=2,r=x",
                                      "n,b=x,n=a,r=x",
                                      "n,a=,n=a,r=x",
                                      "n,,n=\xff,r=x",
                                      "n,,n=a,r=x y",
                                      "z,,n=a,r=x",
                                      "p=tls-exporter,,n=a,r=x"};
    struct scram s;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(scram_first(&s, mem, str_from(bad[i]), false, false, &channel, &err), -1);
        assert_int_equal(err.kind, ERR_PROTO);
        assert_false(s.downgraded);
    }
    begin(&s, "y,a=x=2Cy=3Dz,n=x=2Cy=3Dz,r=abc,ext=1");
    assert_str(s.user, "x,y=z");
    assert_str(s.authzid, "x,y=z");
    assert_int_equal(scram_first(&s, mem, STR("n,,n=a\0b,r=x"), false, false, &channel, &err), -1);
}

/* A client's proof with whatever channel. */
static struct str prove(struct scram *s, const char *password, struct str c)
{
    unsigned char salted[32], key[32], stored[32], sign[32];
    unsigned n = 32;
    size_t size = 32;
    struct str without =
        arena_printf(mem, "c=" STR_FMT ",r=" STR_FMT, STR_ARG(encode(c)), STR_ARG(s->nonce));
    struct str auth = arena_printf(mem, STR_FMT "," STR_FMT "," STR_FMT, STR_ARG(s->bare),
                                   STR_ARG(s->server_first), STR_ARG(without));
    PKCS5_PBKDF2_HMAC(password, (int)strlen(password), verifier.salt, (int)verifier.n_salt, 4096,
                      EVP_sha256(), 32, salted);
    HMAC(EVP_sha256(), salted, 32, (const unsigned char *)"Client Key", 10, key, &n);
    EVP_Q_digest(NULL, "SHA256", NULL, key, 32, stored, &size);
    HMAC(EVP_sha256(), stored, 32, (const unsigned char *)auth.p, auth.n, sign, &n);
    for (size_t i = 0; i < 32; i++)
        sign[i] = (unsigned char)(sign[i] ^ key[i]);
    return arena_printf(mem, STR_FMT ",p=" STR_FMT, STR_ARG(without),
                        STR_ARG(encode(str_of(sign, 32))));
}

static bool bind(const char *first, const char *c, struct scram *s)
{
    struct str out;
    bool good;
    if (scram_first(s, mem, str_from(first), true, true, &channel, &err) < 0)
        return false;
    scram_challenge(s, &verifier);
    assert_int_equal(scram_last(s, prove(s, "pencil", str_from(c)), &good, &out, &err), 0);
    return good;
}

static void channels(void **state)
{
    struct scram s;
    (void)state;
    assert_true(bind("p=tls-exporter,,n=user,r=x", "p=tls-exporter,,exporter-bytes", &s));
    assert_true(
        bind("p=tls-server-end-point,,n=user,r=x", "p=tls-server-end-point,,end-point-bytes", &s));
    assert_false(s.misbound);
    /* The bytes of another connection, another header than in the beginning, none */
    assert_false(bind("p=tls-exporter,,n=user,r=x", "p=tls-exporter,,exporter-BYTES", &s));
    assert_true(s.misbound);
    assert_false(bind("p=tls-exporter,,n=user,r=x", "n,,", &s));
    assert_false(bind("p=tls-exporter,,n=user,r=x", "p=tls-exporter,,", &s));
    assert_false(bind("p=tls-exporter,,n=user,r=x", "p=tls-exporter,,end-point-bytes", &s));
    /* Kinds that there aren't, and none at all */
    assert_false(bind("p=tls-unique,,n=user,r=x", "p=tls-unique,,", &s));
    assert_false(bind("n,,n=user,r=x", "n,,", &s));
    assert_false(bind("y,,n=user,r=x", "y,,", &s));
    channel.exporter = STR_NULL; /* TLS 1.2 */
    assert_false(bind("p=tls-exporter,,n=user,r=x", "p=tls-exporter,,", &s));
    /* A wrong password isn't taken for somebody in between */
    struct str out;
    bool good;
    assert_int_equal(
        scram_first(&s, mem, STR("p=tls-server-end-point,,n=user,r=x"), true, true, &channel, &err),
        0);
    scram_challenge(&s, &verifier);
    assert_int_equal(scram_last(&s, prove(&s, "pen", STR("n,,")), &good, &out, &err), 0);
    assert_false(good || s.misbound);
}

static void downgrade(void **state)
{
    struct scram s;
    (void)state;
    assert_int_equal(scram_first(&s, mem, STR("y,,n=user,r=x"), false, true, &channel, &err), -1);
    assert_true(s.downgraded);
    assert_int_equal(err.why, ERR_WHY_UNTRUSTED);
    assert_int_equal(scram_first(&s, mem, STR("n,,n=user,r=x"), false, true, &channel, &err), 0);
    assert_int_equal(scram_first(&s, mem, STR("y,,n=user,r=x"), false, false, &channel, &err), 0);
}

static void verifiers(void **state)
{
    static const char *const bad[] = {"",
                                      "SCRAM-SHA-256$",
                                      "SCRAM-SHA-1$4096:AAAA$AAAA:AAAA",
                                      "SCRAM-SHA-256$0:AAAA$AAAA:AAAA",
                                      "SCRAM-SHA-256$9999999999:AAAA$AAAA:AAAA",
                                      "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
                                      "SCRAM-SHA-256$4096:$AAAA:AAAA"};
    struct scram_verifier v;
    struct buf b;
    (void)state;
    buf_init(&b, SCRAM_TEXT_MAX);
    scram_print(&verifier, &b);
    assert_true(buf_ok(&b));
    assert_true(str_starts(buf_str(&b), STR("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")));
    assert_true(scram_parse(buf_str(&b), &v));
    assert_memory_equal(&v, &verifier, sizeof v);
    buf_fini(&b);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(scram_parse(str_from(bad[i]), &v));
    assert_false(scram_make(STR("x"), STR(""), 4096, &v));
}

static void fakes(void **state)
{
    unsigned char key[SCRAM_HASH] = {1}, salt[SCRAM_SALT];
    struct scram_verifier a, b, c;
    (void)state;
    scram_fake(key, STR("nobody@example.com"), 5000, &a);
    scram_fake(key, STR("nobody@example.com"), 5000, &b);
    scram_fake(key, STR("noboby@example.com"), 5000, &c);
    scram_salt(key, STR("nobody@example.com"), salt);
    assert_memory_equal(a.salt, b.salt, SCRAM_SALT);
    assert_memory_equal(a.salt, salt, SCRAM_SALT);
    assert_memory_not_equal(a.salt, c.salt, SCRAM_SALT);
    assert_memory_not_equal(a.stored_key, b.stored_key, SCRAM_HASH);
    assert_int_equal(a.iterations, 5000);
}

/* ---- as a mechanism among others */

static const struct sasl_offer plain_tls = {.scram = true};

static enum sasl_step with_our_client(const char *password, struct sasl *s)
{
    struct sasl_client *c;
    struct str out, challenge;
    assert_int_equal(
        sasl_client_new(STR("SCRAM-SHA-256"), STR("us,er"), str_from(password), &c, &err), 0);
    assert_int_equal(sasl_init(s, mem, STR("scram-sha-256"), &plain_tls, &err), 0);
    assert_true(sasl_client_initial(c, 1000, &out));
    assert_int_equal(sasl_begin(s, out, &challenge, &err), SASL_READY);
    assert_str(s->user, "us,er");
    assert_false(s->proving);
    assert_int_equal(sasl_verifier(s, &verifier, &challenge), SASL_CHALLENGE);
    assert_int_equal(sasl_client_feed(c, challenge, &out, &err), SASL_CLIENT_WORK);
    sasl_client_work(c);
    assert_int_equal(sasl_client_worked(c, &out, &err), SASL_CLIENT_SEND);
    enum sasl_step step = sasl_feed(s, out, &challenge, &err);
    if (step == SASL_CHALLENGE) {
        assert_true(s->proved);
        assert_int_equal(sasl_client_feed(c, challenge, &out, &err), SASL_CLIENT_SEND);
        assert_int_equal(out.n, 0);
        step = sasl_feed(s, out, &challenge, &err);
        assert_int_equal(sasl_client_finish(c, &err), 0);
    }
    sasl_client_free(&c);
    return step;
}

static void mechanism(void **state)
{
    struct sasl s;
    struct str challenge;
    (void)state;
    assert_int_equal(with_our_client("pencil", &s), SASL_READY);
    assert_true(s.proving && s.proved);
    assert_int_equal(with_our_client("Pencil", &s), SASL_READY);
    assert_true(s.proving);
    assert_false(s.proved);
    assert_int_equal(sasl_refuse(&s, &challenge), SASL_REFUSED);
    assert_int_equal(sasl_feed(&s, STR(""), &challenge, &err), SASL_ERROR);
    sasl_wipe(&s);
}

static void asked_for(void **state)
{
    struct sasl s;
    struct str challenge;
    (void)state;
    assert_int_equal(sasl_init(&s, mem, STR("SCRAM-SHA-256"), &plain_tls, &err), 0);
    assert_int_equal(sasl_begin(&s, STR_NULL, &challenge, &err), SASL_CHALLENGE);
    assert_int_equal(challenge.n, 0);
    assert_int_equal(sasl_feed(&s, encode(STR(FIRST)), &challenge, &err), SASL_READY);
    assert_int_equal(sasl_verifier(&s, &verifier, &challenge), SASL_CHALLENGE);
    assert_int_equal(sasl_feed(&s, STR("*"), &challenge, &err), SASL_CANCELLED);
    assert_int_equal(sasl_feed(&s, STR(""), &challenge, &err), SASL_ERROR);
    /* for somebody else: refused once the password has been proved */
    assert_int_equal(sasl_init(&s, mem, STR("SCRAM-SHA-256"), &plain_tls, &err), 0);
    assert_int_equal(sasl_begin(&s, encode(STR("n,a=boss,n=user,r=x")), &challenge, &err),
                     SASL_READY);
    assert_true(sasl_is_for_other(&s, STR("user")));
    assert_int_equal(sasl_init(&s, mem, STR("SCRAM-SHA-256"), &plain_tls, &err), 0);
    assert_int_equal(sasl_begin(&s, encode(STR("n,a=user,n=user,r=x")), &challenge, &err),
                     SASL_READY);
    assert_false(sasl_is_for_other(&s, STR("user")));
}

static void offers(void **state)
{
    const struct sasl_offer none = {0}, all = {.scram = true, .plus = true, .oauth = true};
    struct sasl s;
    struct buf b;
    (void)state;
    buf_init(&b, 200);
    sasl_mechanisms(&none, &b);
    assert_str(buf_str(&b), "PLAIN LOGIN");
    buf_clear(&b);
    sasl_mechanisms(&plain_tls, &b);
    assert_str(buf_str(&b), "SCRAM-SHA-256 PLAIN LOGIN");
    buf_clear(&b);
    sasl_mechanisms(&all, &b);
    assert_str(buf_str(&b), "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN OAUTHBEARER XOAUTH2");
    buf_fini(&b);
    assert_int_equal(sasl_init(&s, mem, STR("SCRAM-SHA-256"), &none, &err), -1);
    assert_int_equal(sasl_init(&s, mem, STR("SCRAM-SHA-256-PLUS"), &plain_tls, &err), -1);
    assert_int_equal(sasl_init(&s, mem, STR("OAUTHBEARER"), &plain_tls, &err), -1);
    assert_int_equal(sasl_init(&s, mem, STR("XOAUTH2"), &none, &err), -1);
    assert_int_equal(sasl_init(&s, mem, STR("SCRAM-SHA-256-PLUS"), &all, &err), 0);
    assert_string_equal(sasl_name(&s), "SCRAM-SHA-256-PLUS");
}

static enum sasl_step oauth(struct sasl *s, const char *mechanism_name, struct str message)
{
    const struct sasl_offer all = {.oauth = true};
    struct str challenge;
    assert_int_equal(sasl_init(s, mem, str_from(mechanism_name), &all, &err), 0);
    return sasl_begin(s, encode(message), &challenge, &err);
}

static void tokens(void **state)
{
    struct sasl s;
    struct str challenge;
    (void)state;
    /* RFC 7628 4.1 */
    assert_int_equal(oauth(&s, "OAUTHBEARER",
                           STR("n,a=user@example.com,\1host=server.example.com\1port=143\1auth="
                               "Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1")),
                     SASL_READY);
    assert_str(s.user, "user@example.com");
    assert_str(s.password, "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
    assert_int_equal(sasl_refuse(&s, &challenge), SASL_CHALLENGE);
    assert_str(decode(challenge.p), "{\"status\":\"invalid_token\"}");
    assert_int_equal(sasl_feed(&s, STR("AQ=="), &challenge, &err), SASL_REFUSED);
    assert_int_equal(oauth(&s, "OAUTHBEARER", STR("n,,\1auth=bearer abc\1\1")), SASL_READY);
    assert_int_equal(s.user.n, 0);
    assert_int_equal(oauth(&s, "XOAUTH2", STR("user=u@x.test\1auth=Bearer abc\1\1")), SASL_READY);
    assert_str(s.user, "u@x.test");
    assert_str(s.password, "abc");
    assert_int_equal(sasl_refuse(&s, &challenge), SASL_CHALLENGE);
    assert_int_equal(sasl_feed(&s, STR("*"), &challenge, &err), SASL_REFUSED);
    assert_int_equal(oauth(&s, "XOAUTH2", STR("auth=Bearer abc\1\1")), SASL_ERROR);
    assert_int_equal(oauth(&s, "XOAUTH2", STR("user=u\1\1")), SASL_ERROR);
    assert_int_equal(oauth(&s, "XOAUTH2", STR("user=u\1auth=Basic abc\1\1")), SASL_ERROR);
    assert_int_equal(oauth(&s, "XOAUTH2", STR("user=u\1auth=Bearer a c\1\1")), SASL_ERROR);
    assert_int_equal(oauth(&s, "XOAUTH2", STR("user=u\1auth=Bearer \1\1")), SASL_ERROR);
    assert_int_equal(oauth(&s, "XOAUTH2", STR("user=u\1auth=Bearer a\1auth=Bearer b\1\1")),
                     SASL_ERROR);
    assert_int_equal(oauth(&s, "XOAUTH2", STR("user=u\1auth=Bearer abc")), SASL_ERROR);
    assert_int_equal(oauth(&s, "OAUTHBEARER", STR("p=tls-exporter,,\1auth=Bearer abc\1\1")),
                     SASL_ERROR);
    assert_int_equal(oauth(&s, "OAUTHBEARER", STR("n,x=y,\1auth=Bearer abc\1\1")), SASL_ERROR);
    assert_int_equal(oauth(&s, "OAUTHBEARER", STR("n,,\1auth=Bearer abc\1\1more")), SASL_ERROR);
    assert_int_equal(oauth(&s, "OAUTHBEARER", STR("\1")), SASL_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(example, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_proofs, setup, teardown),
        cmocka_unit_test_setup_teardown(first_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(channels, setup, teardown),
        cmocka_unit_test_setup_teardown(downgrade, setup, teardown),
        cmocka_unit_test_setup_teardown(verifiers, setup, teardown),
        cmocka_unit_test_setup_teardown(fakes, setup, teardown),
        cmocka_unit_test_setup_teardown(mechanism, setup, teardown),
        cmocka_unit_test_setup_teardown(asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(offers, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
