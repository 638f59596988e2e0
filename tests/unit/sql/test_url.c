/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/mem.h"
#include "appliance/sql/sql_url.h"

static int setup(void **state)
{
    *state = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    struct arena *m = *state;

    arena_free(&m);
    return 0;
}

static struct sql_server parsed(struct arena *m, const char *url)
{
    struct sql_server server;
    struct err err = {0};

    if (sql_server_parse(str_from(url), m, &server, &err) != 0)
        fail_msg("%s: %s", url, err.text);
    return server;
}

static void the_parts_of_a_url(void **state)
{
    struct sql_server s = parsed(*state, "mysql://mail:secret@db.example.org:3307/maildb");

    assert_string_equal(s.user, "mail");
    assert_string_equal(s.password, "secret");
    assert_string_equal(s.host, "db.example.org");
    assert_int_equal(s.port, 3307);
    assert_string_equal(s.database, "maildb");
    assert_null(s.socket);
    assert_null(s.address);
    assert_false(sql_server_is_local(&s));
    assert_true(str_eq(sql_server_name(&s, *state), STR("mail@db.example.org:3307/maildb")));
    s = parsed(*state, "MariaDB://mail@h/d");
    assert_null(s.password);
    assert_int_equal(s.port, 3306);
}

static void parts_are_percent_decoded(void **state)
{
    struct sql_server s = parsed(*state, "mysql://m%40il:a%2Fb%25:@c@h/my%20db");

    assert_string_equal(s.user, "m@il");
    assert_string_equal(s.password, "a/b%:@c"); /* the last @ is the one before the host */
    assert_string_equal(s.database, "my db");
}

static void servers_of_this_machine(void **state)
{
    static const struct {
        const char *url;
        bool local;
    } cases[] = {
        {"mysql://u@localhost/d", true},
        {"mysql://u@127.0.0.9/d", true},
        {"mysql://u@[::1]:3307/d", true},
        {"mysql://u@/d?socket=/run/mysqld/mysqld.sock", true},
        {"mysql://u@192.0.2.1/d", false},
        {"mysql://u@[2001:db8::1]/d", false},
        {"mysql://u@localhost.example.org/d", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sql_server s = parsed(*state, cases[i].url);
        if (sql_server_is_local(&s) != cases[i].local)
            fail_msg("%s", cases[i].url);
    }
    struct sql_server s = parsed(*state, "mysql://u@[::1]:3307/d");
    assert_string_equal(s.host, "::1");
    assert_int_equal(s.port, 3307);
    s = parsed(*state, "mysql://u@/d?socket=/run/my%20sock");
    assert_string_equal(s.socket, "/run/my sock");
    assert_null(s.host);
    assert_true(str_eq(sql_server_name(&s, *state), STR("u@/run/my sock/d")));
}

static void what_is_no_url_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "sqlite:///x",
        "mysql:/u@h/d",
        "mysql://",
        "mysql://h/d",
        "mysql://@h/d",
        "mysql://u@h",
        "mysql://u@h/",
        "mysql://u@/d",
        "mysql://u@h/d/e",
        "mysql://u@h:/d",
        "mysql://u@h:0/d",
        "mysql://u@h:65536/d",
        "mysql://u@h:3x/d",
        "mysql://u@h%/d",
        "mysql://u@h/d%4",
        "mysql://u@h/d%zz",
        "mysql://u@h/d%00e",
        "mysql://u:%0a@h/d",
        "mysql://u@a b/d",
        "mysql://u@[::1/d",
        "mysql://u@[::1]x/d",
        "mysql://u@[no]/d",
        "mysql://u@h/d?sock=/x",
        "mysql://u@h/d?socket=x",
        "mysql://u@h/d?socket=",
    };
    struct sql_server s;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err_clear(&err);
        if (sql_server_parse(str_from(bad[i]), *state, &s, &err) != -1)
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(err.kind, ERR_PROTO);
        assert_null(s.user);
    }
    char *longest = mem_alloc(SQL_URL_MAX + 32);
    memset(longest, 'x', SQL_URL_MAX + 31);
    memcpy(longest, "mysql://", 8);
    assert_int_equal(sql_server_parse(str_from(longest), *state, &s, &err), -1);
    mem_free(longest);
}

/* It is written into logs and onto terminals. */
static void the_password_is_in_no_error(void **state)
{
    struct sql_server s;
    struct err err;

    assert_int_equal(sql_server_parse(STR("mysql://u:geheim@h:x/d"), *state, &s, &err), -1);
    assert_null(strstr(err.text, "geheim"));
    assert_true(sql_url_is(STR("mysql://x")));
    assert_false(sql_url_is(STR("/var/lib/x.db")));
}

static void settings_add_what_a_url_has_not(void **state)
{
    const struct sql_server_words all = {.password = "p",
                                         .ca = "/ca.pem",
                                         .tls = SQL_TLS_REQUIRED,
                                         .unsafe = true,
                                         .connect_ms = 1500,
                                         .io_ms = 2500};
    struct sql_server s = parsed(*state, "mysql://mail@h/d");

    sql_server_set(&s, &all);
    assert_string_equal(s.password, "p");
    assert_string_equal(s.ca, "/ca.pem");
    assert_int_equal(s.tls, SQL_TLS_REQUIRED);
    assert_true(s.unsafe);
    assert_int_equal(s.connect_ms, 1500);
    assert_int_equal(s.io_ms, 2500);
    s = parsed(*state, "mysql://mail:own@h/d");
    sql_server_set(&s, &all);
    assert_string_equal(s.password, "own");
    s = parsed(*state, "mysql://mail@h/d");
    sql_server_set(&s, &(struct sql_server_words){.password = "", .ca = ""});
    assert_null(s.password);
    assert_null(s.ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_parts_of_a_url, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_are_percent_decoded, setup, teardown),
        cmocka_unit_test_setup_teardown(servers_of_this_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_url_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_password_is_in_no_error, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_add_what_a_url_has_not, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
