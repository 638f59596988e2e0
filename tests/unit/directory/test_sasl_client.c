/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/sasl_client.h"

#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* RFC 7677 3 */
#define NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SERVER_FIRST "r=" SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static struct sasl_client *c;
static struct str out;
static struct err err;
static struct buf coded, text;

static int setup(void **state)
{
    (void)state;
    buf_init(&coded, 1 << 16);
    buf_init(&text, 1 << 16);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sasl_client_free(&c);
    buf_fini(&coded);
    buf_fini(&text);
    return 0;
}

static void start(const char *mechanism, const char *user, const char *password)
{
    sasl_client_free(&c);
    assert_int_equal(
        sasl_client_new(str_from(mechanism), str_from(user), str_from(password), &c, &err), 0);
}

static enum sasl_client_step feed(const char *said)
{
    buf_clear(&coded);
    text_base64_encode(str_from(said), &coded);
    return sasl_client_feed(c, buf_str(&coded), &out, &err);
}

/* NULs are shown as '|'. */
static void check_sent(const char *want)
{
    buf_clear(&text);
    assert_int_equal(text_base64_decode(out, &text), 0);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\0')
            text.p[i] = '|';
    assert_string_equal(buf_z(&text), want);
}

static void what_can_be_sent(void **state)
{
    (void)state;
    const struct str good = STR("x"), bad[] = {STR(""), STR("a\nb"), STR("a\0b"), STR("\xff")};
    char longer[SASL_CLIENT_TEXT_MAX + 1];
    memset(longer, 'x', sizeof longer);
    assert_true(sasl_client_knows(STR("scram-sha-256")));
    assert_false(sasl_client_knows(STR("CRAM-MD5")));
    assert_int_equal(sasl_client_new(STR("CRAM-MD5"), good, good, &c, &err), -1);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(sasl_client_new(STR("PLAIN"), bad[i], good, &c, &err), -1);
        assert_int_equal(err.kind, ERR_PERM);
        assert_int_equal(sasl_client_new(STR("PLAIN"), good, bad[i], &c, &err), -1);
        assert_null(c);
    }
    assert_int_equal(sasl_client_new(STR("PLAIN"), str_of(longer, sizeof longer), good, &c, &err),
                     -1);
    assert_int_equal(
        sasl_client_new(STR("PLAIN"), str_of(longer, sizeof longer - 1), good, &c, &err), 0);
}

static void plain(void **state)
{
    (void)state;
    start("plain", "tim", "tanstaaf\xc3\xa4");
    assert_true(sasl_client_initial(c, 100, &out));
    check_sent("|tim|tanstaaf\xc3\xa4");
    assert_int_equal(sasl_client_finish(c, &err), 0);
    assert_int_equal(feed(""), SASL_CLIENT_ERROR);
    assert_int_equal(sasl_client_finish(c, &err), -1);
}

static void plain_when_asked(void **state)
{
    (void)state;
    start("PLAIN", "tim", "tanstaaftanstaaf");
    assert_false(sasl_client_initial(c, 20, &out));
    assert_int_equal(sasl_client_finish(c, &err), -1);
    assert_int_equal(sasl_client_feed(c, STR("not base64!"), &out, &err), SASL_CLIENT_SEND);
    check_sent("|tim|tanstaaftanstaaf");
    assert_int_equal(sasl_client_finish(c, &err), 0);
}

static void login(void **state)
{
    (void)state;
    start("LOGIN", "tim", "secret");
    assert_string_equal(sasl_client_name(c), "LOGIN");
    assert_false(sasl_client_initial(c, 100, &out));
    assert_int_equal(feed("Username:"), SASL_CLIENT_SEND);
    check_sent("tim");
    assert_int_equal(sasl_client_finish(c, &err), -1);
    assert_int_equal(feed("whatever it says"), SASL_CLIENT_SEND);
    check_sent("secret");
    assert_int_equal(sasl_client_finish(c, &err), 0);
    assert_int_equal(feed("And now?"), SASL_CLIENT_ERROR);
}

static void scram_begin(void)
{
    start("SCRAM-SHA-256", "user", "pencil");
    sasl_client_set_nonce(c, NONCE);
    assert_true(sasl_client_initial(c, 500, &out));
    check_sent("n,,n=user,r=" NONCE);
}

static void scram_prove(void)
{
    scram_begin();
    assert_int_equal(feed(SERVER_FIRST), SASL_CLIENT_WORK);
    sasl_client_work(c);
    assert_int_equal(sasl_client_worked(c, &out, &err), SASL_CLIENT_SEND);
    check_sent("c=biws,r=" SERVER_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
}

static void scram(void **state)
{
    (void)state;
    scram_prove();
    assert_int_equal(sasl_client_finish(c, &err), -1); /* it has proved nothing yet */
    assert_int_equal(feed(SERVER_FINAL), SASL_CLIENT_SEND);
    assert_int_equal(out.n, 0);
    assert_int_equal(sasl_client_finish(c, &err), 0);
    assert_int_equal(feed(""), SASL_CLIENT_ERROR);
}

static void scram_impostor(void **state)
{
    (void)state;
    static const char *const finals[] = {"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=",
                                         "v=",
                                         "v=AAAA",
                                         "x=1",
                                         "",
                                         "e=invalid-proof"};
    for (size_t i = 0; i < ARRAY_LEN(finals); i++) {
        scram_prove();
        assert_int_equal(feed(finals[i]), SASL_CLIENT_ERROR);
        assert_int_equal(err.kind, ERR_PROTO);
        assert_int_equal(sasl_client_finish(c, &err), -1);
    }
    scram_prove();
    assert_int_equal(sasl_client_feed(c, STR("@@@"), &out, &err), SASL_CLIENT_ERROR);
}

static void scram_bad_first(void **state)
{
    (void)state;
    static const char *const firsts[] = {
        "",
        "r=" NONCE,
        "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",         /* nothing added to ours */
        "r=x" SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", /* not ours */
        "r=" SERVER_NONCE ",s=,i=4096",
        "r=" SERVER_NONCE ",s=*,i=4096",
        "r=" SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095",
        "r=" SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000001",
        "r=" SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999999999999",
        "r=" SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=",
        "r=" SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==",
        "m=x,r=" SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "r=" SERVER_NONCE "\x01,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    };
    for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
        scram_begin();
        assert_int_equal(feed(firsts[i]), SASL_CLIENT_ERROR);
        assert_int_equal(feed(SERVER_FIRST), SASL_CLIENT_ERROR); /* it stays over */
    }
    scram_begin();
    assert_int_equal(feed(SERVER_FIRST ",x=later"), SASL_CLIENT_WORK);
}

static void scram_name(void **state)
{
    (void)state;
    start("SCRAM-SHA-256", "a=b,c", "pencil");
    sasl_client_set_nonce(c, "n");
    assert_int_equal(feed(""), SASL_CLIENT_SEND);
    check_sent("n,,n=a=3Db=2Cc,r=n");
    /* Two have two nonces. */
    char first[256];
    start("SCRAM-SHA-256", "u", "p");
    sasl_client_initial(c, 500, &out);
    assert_true(out.n > 0 && out.n < sizeof first);
    memcpy(first, out.p, out.n);
    first[out.n] = 0;
    start("SCRAM-SHA-256", "u", "p");
    sasl_client_initial(c, 500, &out);
    assert_false(str_eq(out, str_from(first)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_can_be_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(plain, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_when_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(login, setup, teardown),
        cmocka_unit_test_setup_teardown(scram, setup, teardown),
        cmocka_unit_test_setup_teardown(scram_impostor, setup, teardown),
        cmocka_unit_test_setup_teardown(scram_bad_first, setup, teardown),
        cmocka_unit_test_setup_teardown(scram_name, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
