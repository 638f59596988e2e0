/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/sasl.h"

#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *mem;
static struct sasl s;
static struct str challenge;
static struct err err;

static int setup(void **state)
{
    (void)state;
    mem = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&mem);
    return 0;
}

static void start(const char *mechanism)
{
    assert_int_equal(sasl_init(&s, mem, str_from(mechanism), NULL, &err), 0);
}

static struct str b64(const void *p, size_t n)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    text_base64_encode(str_of(p, n), &b);
    struct str out = arena_str(mem, buf_str(&b));
    buf_fini(&b);
    return out;
}
#define B64(lit) b64("" lit "", sizeof(lit) - 1)
#define assert_str(view, lit) assert_true(str_eq((view), STR(lit)))

static void mechanisms(void **state)
{
    (void)state;
    assert_int_equal(sasl_init(&s, mem, STR("PLAIN"), NULL, &err), 0);
    assert_int_equal(sasl_init(&s, mem, STR("login"), NULL, &err), 0);
    assert_int_equal(sasl_init(&s, mem, STR("CRAM-MD5"), NULL, &err), -1);
    assert_int_equal(err.kind, ERR_PROTO);
    assert_int_equal(sasl_init(&s, mem, STR(""), NULL, &err), -1);
    assert_int_equal(sasl_init(&s, mem, STR("PLAI"), NULL, &err), -1);
}

static void plain_at_once(void **state)
{
    (void)state;
    start("PLAIN"); /* the message of RFC 4616 4 */
    assert_int_equal(sasl_begin(&s, B64("\0tim\0tanstaaftanstaaf"), &challenge, &err), SASL_READY);
    assert_str(s.user, "tim");
    assert_str(s.password, "tanstaaftanstaaf");
    assert_str(s.authzid, "");
}

static void plain_asked(void **state)
{
    (void)state;
    start("PLAIN");
    assert_int_equal(sasl_begin(&s, STR_NULL, &challenge, &err), SASL_CHALLENGE);
    assert_str(challenge, "");
    assert_int_equal(
        sasl_feed(&s, B64("karl@example.com\0karl@example.com\0pa ss"), &challenge, &err),
        SASL_READY);
    assert_str(s.authzid, "karl@example.com");
    assert_str(s.password, "pa ss");
}

static void plain_malformed(void **state)
{
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
        {"", 0},
        {"user", 4},
        {"\0user", 5},
        {"\0\0pass", 6},        /* no user */
        {"\0user\0pa\0ss", 11}, /* four parts */
        {"\0us\xff\0pass", 9},  /* not UTF-8 */
        {"\0user\0p\xc3", 8},   /* cut in a character */
        {"\xff\0user\0pass", 11},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        start("PLAIN");
        assert_int_equal(sasl_begin(&s, STR_NULL, &challenge, &err), SASL_CHALLENGE);
        assert_int_equal(sasl_feed(&s, b64(bad[i].p, bad[i].n), &challenge, &err), SASL_ERROR);
        assert_int_equal(err.kind, ERR_PROTO);
        assert_null(s.password.p);
        assert_int_equal(sasl_feed(&s, B64("\0user\0pass"), &challenge, &err), SASL_ERROR);
    }
}

/* The password is looked at first: RFC 4616 2. */
static void plain_for_others(void **state)
{
    (void)state;
    start("PLAIN");
    assert_int_equal(sasl_begin(&s, B64("ceo\0user\0pass"), &challenge, &err), SASL_READY);
    assert_true(sasl_is_for_other(&s, STR("user@example.com")));
    assert_int_equal(sasl_refuse(&s, &challenge), SASL_REFUSED);
    start("PLAIN");
    assert_int_equal(sasl_begin(&s, B64("User@Example.com\0user\0pass"), &challenge, &err),
                     SASL_READY);
    assert_false(sasl_is_for_other(&s, STR("user@example.com")));
    start("PLAIN");
    assert_int_equal(sasl_begin(&s, B64("user\0user\0pass"), &challenge, &err), SASL_READY);
    assert_false(sasl_is_for_other(&s, STR("user@example.com")));
}

static void plain_empty_password(void **state)
{
    (void)state; /* a wrong password rather than a malformed line: clients then ask their user again
                  */
    start("PLAIN");
    assert_int_equal(sasl_begin(&s, B64("\0user\0"), &challenge, &err), SASL_READY);
    assert_int_equal(s.password.n, 0);
}

static void login(void **state)
{
    (void)state;
    start("LOGIN");
    assert_int_equal(sasl_begin(&s, STR_NULL, &challenge, &err), SASL_CHALLENGE);
    assert_str(challenge, "VXNlcm5hbWU6");
    assert_int_equal(sasl_feed(&s, B64("vivita@example.com"), &challenge, &err), SASL_CHALLENGE);
    assert_str(challenge, "UGFzc3dvcmQ6");
    assert_int_equal(sasl_feed(&s, B64("s3kr3t"), &challenge, &err), SASL_READY);
    assert_str(s.user, "vivita@example.com");
    assert_str(s.password, "s3kr3t");
    assert_str(s.authzid, "");
}

static void login_initial(void **state)
{
    (void)state;
    start("LOGIN");
    assert_int_equal(sasl_begin(&s, B64("vivita"), &challenge, &err), SASL_CHALLENGE);
    assert_str(challenge, "UGFzc3dvcmQ6");
    assert_int_equal(sasl_feed(&s, STR(""), &challenge, &err), SASL_READY);
    assert_str(s.user, "vivita");
    assert_int_equal(s.password.n, 0);
}

static void login_malformed(void **state)
{
    (void)state;
    start("LOGIN");
    assert_int_equal(sasl_begin(&s, STR("="), &challenge, &err), SASL_ERROR); /* no user */
    start("LOGIN");
    assert_int_equal(sasl_begin(&s, B64("us\0er"), &challenge, &err), SASL_ERROR);
    start("LOGIN");
    assert_int_equal(sasl_begin(&s, B64("user"), &challenge, &err), SASL_CHALLENGE);
    assert_int_equal(sasl_feed(&s, B64("pa\0ss"), &challenge, &err), SASL_ERROR);
    start("LOGIN");
    assert_int_equal(sasl_begin(&s, B64("user"), &challenge, &err), SASL_CHALLENGE);
    assert_int_equal(sasl_feed(&s, B64("\xc3\x28"), &challenge, &err), SASL_ERROR);
}

static void empty_initial(void **state)
{
    (void)state;
    start("PLAIN"); /* RFC 4954 4: "=" is an empty response, which PLAIN hasn't */
    assert_int_equal(sasl_begin(&s, STR("="), &challenge, &err), SASL_ERROR);
    start("PLAIN"); /* later it is just not base64 */
    assert_int_equal(sasl_begin(&s, STR_NULL, &challenge, &err), SASL_CHALLENGE);
    assert_int_equal(sasl_feed(&s, STR("="), &challenge, &err), SASL_ERROR);
}

static void cancelled(void **state)
{
    (void)state;
    start("PLAIN");
    assert_int_equal(sasl_begin(&s, STR_NULL, &challenge, &err), SASL_CHALLENGE);
    assert_int_equal(sasl_feed(&s, STR("*"), &challenge, &err), SASL_CANCELLED);
    assert_int_equal(sasl_feed(&s, B64("\0user\0pass"), &challenge, &err), SASL_ERROR);
    start("LOGIN");
    assert_int_equal(sasl_begin(&s, B64("user"), &challenge, &err), SASL_CHALLENGE);
    assert_int_equal(sasl_feed(&s, STR("*"), &challenge, &err), SASL_CANCELLED);
    start("PLAIN"); /* an initial response cannot cancel */
    assert_int_equal(sasl_begin(&s, STR("*"), &challenge, &err), SASL_ERROR);
}

static void sizes(void **state)
{
    char *line = mem_alloc(SASL_LINE_MAX + 4);
    (void)state;
    memset(line, 'A', SASL_LINE_MAX + 4);
    start("PLAIN"); /* decodes to NULs alone */
    assert_int_equal(sasl_begin(&s, str_of(line, SASL_LINE_MAX), &challenge, &err), SASL_ERROR);
    assert_int_equal(arena_used(mem) >= SASL_LINE_MAX / 4 * 3, 1);
    size_t before = arena_used(mem);
    start("PLAIN"); /* refused before anything of its size is made */
    assert_int_equal(sasl_begin(&s, str_of(line, SASL_LINE_MAX + 4), &challenge, &err), SASL_ERROR);
    assert_int_equal(arena_used(mem), before);
    memset(line, 'a', SASL_LINE_MAX);
    start("LOGIN");
    assert_int_equal(sasl_begin(&s, B64("user"), &challenge, &err), SASL_CHALLENGE);
    struct str longest = b64(line, SASL_LINE_MAX / 4 * 3);
    assert_int_equal(longest.n, SASL_LINE_MAX);
    assert_int_equal(sasl_feed(&s, longest, &challenge, &err), SASL_READY);
    assert_int_equal(s.password.n, SASL_LINE_MAX / 4 * 3);
    mem_free(line);
}

/* A session that hands over less than the whole line gets an error, or something that isn't the
 * login; never more than was sent. Exact copies let the sanitizers see a read beyond. */
static void cut_lines(void **state)
{
    struct str whole = B64("karl@example.com\0karl@example.com\0password");
    (void)state;
    for (size_t n = 1; n < whole.n; n++) {
        char *part = mem_dup(whole.p, n);
        start("PLAIN");
        enum sasl_step step = sasl_begin(&s, str_of(part, n), &challenge, &err);
        assert_true(step == SASL_ERROR || (step == SASL_READY && s.password.n < 8));
        mem_free(part);
    }
}

static void wiped(void **state)
{
    (void)state;
    start("PLAIN");
    assert_int_equal(sasl_begin(&s, B64("\0tim\0tanstaaf"), &challenge, &err), SASL_READY);
    const char *where = s.password.p;
    sasl_wipe(&s);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(where[i], 0);
    assert_null(s.password.p);
    sasl_wipe(&s);
}

static void out_of_order(void **state)
{
    (void)state;
    start("PLAIN");
    assert_int_equal(sasl_feed(&s, B64("\0user\0pass"), &challenge, &err), SASL_ERROR);
    start("PLAIN");
    assert_int_equal(sasl_begin(&s, B64("\0user\0pass"), &challenge, &err), SASL_READY);
    assert_int_equal(sasl_feed(&s, STR("*"), &challenge, &err), SASL_ERROR);
    assert_null(s.password.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mechanisms, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_for_others, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_empty_password, setup, teardown),
        cmocka_unit_test_setup_teardown(login, setup, teardown),
        cmocka_unit_test_setup_teardown(login_initial, setup, teardown),
        cmocka_unit_test_setup_teardown(login_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_initial, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(wiped, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_order, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
