/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The question about an access token and the answer; the rest is in tests/integration. */
#include "appliance/base/mem.h"
#include "appliance/directory/oauth.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *mem;
static struct oauth_conf conf;
static struct err err;

static int setup(void **state)
{
    (void)state;
    mem = arena_new(0);
    return settings_defaults(oauth_settings, &conf, &err);
}

static int teardown(void **state)
{
    (void)state;
    settings_free(oauth_settings, &conf);
    arena_free(&mem);
    return 0;
}

static void set(const char *name, const char *value)
{
    assert_int_equal(settings_set(oauth_settings, &conf, str_from(name), str_from(value), &err), 0);
}
#define assert_str(view, lit) assert_true(str_eq((view), STR(lit)))

static void question(void **state)
{
    struct str body, header;
    (void)state;
    oauth_question(&conf, mem, STR("a+b/c=="), &body, &header);
    assert_str(body, "token_type_hint=access_token&token=a%2Bb%2Fc%3D%3D");
    assert_int_equal(header.n, 0);
    set("client_id", "us:er");
    set("client_secret", "p w");
    oauth_question(&conf, mem, STR("x"), &body, &header);
    assert_string_equal(header.p, "Authorization: Basic dXMlM0FlcjpwJTIwdw=="); /* us%3Aer:p%20w */
}

/* "user until", "no until", "error" */
static const char *answer(const char *json)
{
    struct str user;
    bool active;
    int64_t until;
    if (oauth_read(&conf, mem, str_from(json), 1000, &active, &user, &until, &err) < 0) {
        assert_int_equal(err.kind, ERR_TEMP);
        return "error";
    }
    return active ? arena_printf(mem, STR_FMT " %lld", STR_ARG(user), (long long)until).p : "no";
}

static void answers(void **state)
{
    (void)state;
    assert_string_equal(answer("{\"active\":true,\"username\":\"ann@x.test\"}"), "ann@x.test 0");
    assert_string_equal(answer("{\"active\":true,\"username\":\"a\",\"exp\":1001}"), "a 1001");
    assert_string_equal(answer("{\"active\":true,\"username\":\"a\",\"exp\":1000}"), "no");
    assert_string_equal(answer("{\"active\":true,\"username\":\"a\",\"nbf\":1001}"), "no");
    assert_string_equal(answer("{\"active\":true,\"username\":\"a\",\"nbf\":1000}"), "a 0");
    assert_string_equal(answer("{\"active\":false,\"username\":\"a\"}"), "no");
    assert_string_equal(answer("{\"active\":\"true\",\"username\":\"a\"}"), "error");
    assert_string_equal(answer("{\"username\":\"a\"}"), "error");
    assert_string_equal(answer("{\"active\":true}"), "error");
    assert_string_equal(answer("{\"active\":true,\"username\":\"\"}"), "error");
    assert_string_equal(answer("{\"active\":true,\"username\":7}"), "error");
    assert_string_equal(answer("[true]"), "error");
    assert_string_equal(answer("{\"active\":true,"), "error");
    assert_string_equal(answer(""), "error");
    assert_string_equal(answer("{\"active\":true,\"active\":false,\"username\":\"a\"}"), "error");
    set("user_claim", "sub");
    assert_string_equal(answer("{\"active\":true,\"username\":\"a\",\"sub\":\"b\"}"), "b 0");
}

static void scopes(void **state)
{
    (void)state;
    set("scope", "imap, smtp");
    assert_string_equal(answer("{\"active\":true,\"username\":\"a\"}"), "no");
    assert_string_equal(answer("{\"active\":true,\"username\":\"a\",\"scope\":\"imap\"}"), "no");
    assert_string_equal(answer("{\"active\":true,\"username\":\"a\",\"scope\":\"smtps imap\"}"),
                        "no");
    assert_string_equal(answer("{\"active\":true,\"username\":\"a\",\"scope\":\"x smtp imap\"}"),
                        "a 0");
}

static int check(const char *url)
{
    set("introspection", url);
    return oauth_check(&conf, &err);
}

static void urls(void **state)
{
    (void)state;
    assert_int_equal(check(""), 0);
    assert_int_equal(check("https://id.example.com/introspect"), 0);
    assert_int_equal(check("http://127.0.0.1:8080/x"), 0);
    assert_int_equal(check("http://127.0.0.1:80@id.example.com/"), -1); /* a user and password */
    assert_int_equal(check("http://localhost/x"), 0);
    assert_int_equal(check("http://[::1]:80"), 0);
    assert_int_equal(check("http://id.example.com/"), -1);
    assert_int_equal(check("http://localhost.example.com/"), -1);
    assert_int_equal(check("http://127.0.0.1.example.com/"), -1);
    assert_int_equal(check("http://127.0.0.1@example.com/"), -1);
    assert_int_equal(check("ftp://x"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(question, setup, teardown),
        cmocka_unit_test_setup_teardown(answers, setup, teardown),
        cmocka_unit_test_setup_teardown(scopes, setup, teardown),
        cmocka_unit_test_setup_teardown(urls, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
