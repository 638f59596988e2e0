/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The running directory: real lanes, real database. */
#include "appliance/directory/directory.h"

#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "appliance/directory/private.h"
#include "tests/unit/directory/scratch.h"

static struct scratch s;
static struct loop *loop;
static struct directory *d;
static struct directory_admin *admin;
static struct directory_conf conf;

static int setup(void **state)
{
    (void)state;
    scratch_init(&s);
    log_set_fd(-1);
    loop = loop_new();
    assert_int_equal(settings_defaults(directory_settings, &conf, &s.err), 0);
    if (directory_open(s.dir, &conf, loop, &d, &s.err) < 0)
        fail_msg("%s", s.err.text);
    assert_int_equal(directory_admin_open(s.dir, &admin, &s.err), 0);
    scratch_sql(
        &s,
        "INSERT INTO domains (domain, transport, enabled) VALUES ('example.com', 'virtual:', 1),"
        " ('example.net', 'virtual:', 1), ('off.test', 'virtual:', 0), ('relayed.test',"
        " 'smtp:[192.0.2.1]', 1), ('lmtp.test', 'lmtp:unix:x', 1)");
    scratch_sql(&s, "INSERT INTO users (id, crypt, clear, quota, enabled) VALUES"
                    " ('karl@example.com', '', 'secret', '10M', 1),"
                    " ('vivita@example.com', '{SHA}tESsBmE/yNY3lb6a0L6vVQEZNqw=', '', '', 1),"
                    " ('off@example.com', '', 'secret', '', 0),"
                    " ('none@example.com', '', '', '', 1),"
                    " ('odd@example.com', '{NOPE}x', 'secret', '', 1),"
                    " ('x@off.test', '', 'secret', '', 1), ('y@lmtp.test', '', 'secret', '', 1)");
    scratch_sql(&s, "INSERT INTO aliases (mail, destination, enabled) VALUES"
                    " ('sales@example.com', 'karl@example.com,vivita@example.com', 1),"
                    " ('old@example.com', 'karl@example.com', 0),"
                    " ('out@example.com', 'karl@elsewhere.test', 1),"
                    " ('loop@example.com', 'pool@example.com', 1),"
                    " ('pool@example.com', 'loop@example.com', 1),"
                    " ('tooff@example.com', 'off@example.com', 1),"
                    " ('@example.net', '@example.com', 1)");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    directory_admin_close(&admin);
    directory_close(&d);
    loop_stop(loop);
    loop_run(loop);
    loop_free(&loop);
    settings_free(directory_settings, &conf);
    scratch_fini(&s);
    return 0;
}

struct asked { /* the last answer, copied */
    unsigned answers;
    bool failed, ok;
    enum err_kind kind_of_err;
    enum directory_kind kind;
    char text[512], account[128];
    uint64_t quota;
};
static struct asked got;

static void on_answer(void *ctx, const struct directory_answer *a)
{
    struct asked *g = ctx;
    size_t n = 0;
    g->answers++;
    g->failed = a->failed;
    g->kind_of_err = a->err.kind;
    g->kind = a->kind;
    g->text[0] = 0;
    for (size_t i = 0; i < a->n_accounts + a->n_remotes; i++) {
        struct str one = i < a->n_accounts ? a->accounts[i] : a->remotes[i - a->n_accounts];
        n += (size_t)snprintf(g->text + n, sizeof g->text - n, "%s" STR_FMT, n ? " " : "",
                              STR_ARG(one));
    }
}

static void on_login(void *ctx, const struct directory_login *l)
{
    struct asked *g = ctx;
    g->answers++;
    g->failed = l->failed;
    g->kind_of_err = l->err.kind;
    g->ok = l->ok;
    g->quota = l->quota_bytes;
    snprintf(g->account, sizeof g->account, STR_FMT, STR_ARG(l->account));
}

static void wait_for(unsigned answers)
{
    while (got.answers < answers)
        loop_turn(loop, true);
    assert_int_equal(got.answers, answers);
}

static const char *resolve(const char *address)
{
    got = (struct asked){0};
    assert_int_equal(directory_resolve(d, str_from(address), on_answer, &got), 0);
    assert_int_equal(got.answers, 0); /* never before the call returns */
    wait_for(1);
    if (got.failed)
        return got.kind_of_err == ERR_PERM ? "refused" : "failed";
    return got.kind == DIRECTORY_LOCAL      ? got.text
           : got.kind == DIRECTORY_NOT_OURS ? "not ours"
                                            : "unknown";
}

static bool login_bytes(const char *user, struct str password)
{
    got = (struct asked){0};
    assert_int_equal(directory_login(d, str_from(user), password, on_login, &got), 0);
    assert_int_equal(got.answers, 0);
    wait_for(1);
    assert_true(got.ok || got.account[0] == 0);
    return got.ok;
}

static bool login(const char *user, const char *password)
{
    bool ok = login_bytes(user, str_from(password));
    assert_false(got.failed);
    return ok;
}

static bool may_send(const char *account, const char *address)
{
    got = (struct asked){0};
    assert_int_equal(
        directory_may_send_as(d, str_from(account), str_from(address), on_answer, &got), 0);
    wait_for(1);
    assert_false(got.failed);
    assert_int_not_equal(got.kind, DIRECTORY_NOT_OURS);
    return got.kind == DIRECTORY_LOCAL;
}

static void resolving(void **state)
{
    (void)state;
    assert_string_equal(resolve("Karl@example.com"), "karl@example.com");
    assert_string_equal(resolve("karl+tag@example.net"), "karl@example.com");
    assert_string_equal(resolve("sales@example.com"), "karl@example.com vivita@example.com");
    assert_string_equal(resolve("out@example.com"), "karl@elsewhere.test");
    assert_string_equal(resolve("nobody@example.com"), "unknown");
    assert_string_equal(resolve("karl@elsewhere.test"), "not ours");
    assert_string_equal(resolve("loop@example.com"), "refused");
    assert_string_equal(resolve("postmaster"), "karl@example.com"); /* nobody has it: the first */
    scratch_sql(&s, "INSERT INTO aliases (mail, destination) VALUES"
                    " ('postmaster@example.com', 'vivita@example.com')");
    assert_string_equal(resolve("postmaster"), "vivita@example.com"); /* counts at once */
    assert_string_equal(resolve("abuse@lmtp.test"), "vivita@example.com");
}

static void disabled_rows(void **state)
{
    (void)state;
    assert_string_equal(resolve("off@example.com"), "unknown");
    assert_string_equal(resolve("old@example.com"), "unknown");
    assert_string_equal(resolve("tooff@example.com"), "unknown");
    assert_string_equal(resolve("x@off.test"), "not ours");
    scratch_sql(&s, "UPDATE aliases SET enabled = 1 WHERE mail = 'old@example.com'");
    assert_string_equal(resolve("old@example.com"), "karl@example.com");
    scratch_sql(&s, "UPDATE aliases SET enabled = 0 WHERE mail = '@example.net'");
    assert_string_equal(resolve("karl@example.net"), "unknown");
}

static void transports(void **state)
{
    (void)state;
    assert_string_equal(resolve("y@lmtp.test"), "y@lmtp.test");
    assert_string_equal(resolve("x@relayed.test"), "not ours");
}

static void logging_in(void **state)
{
    (void)state;
    assert_true(login("karl@example.com", "secret"));
    assert_string_equal(got.account, "karl@example.com");
    assert_int_equal(got.quota, 10 << 20);
    assert_true(login("KARL@example.com", "secret"));
    assert_string_equal(got.account, "karl@example.com");
    assert_true(login("vivita@example.com", "test1"));
    assert_int_equal(got.quota, 0);
    assert_false(login("karl@example.com", "Secret"));
    assert_false(login("karl@example.com", ""));
    assert_false(login("nobody@example.com", "secret"));
    assert_false(login("sales@example.com", "secret")); /* an alias is no account */
    assert_false(login("karl+tag@example.com", "secret"));
    assert_false(login("off@example.com", "secret"));
    assert_false(login("none@example.com", ""));
    assert_false(login("none@example.com", "x"));
    assert_false(login("x@off.test", "secret"));
    assert_false(login("@example.com", "secret"));
    assert_false(login("", "secret"));
}

/* crypt comes before clear: a hash that can't be read doesn't open the other door. */
static void unreadable_hash(void **state)
{
    (void)state;
    assert_false(login("odd@example.com", "secret"));
    assert_int_equal(got.kind_of_err, ERR_NONE);
}

static void login_without_domain(void **state)
{
    (void)state;
    assert_false(login("karl", "secret")); /* which domain? */
    scratch_sql(&s, "UPDATE domains SET enabled = 0 WHERE domain <> 'example.com'");
    assert_true(login("karl", "secret"));
    assert_string_equal(got.account, "karl@example.com");
}

static void long_login(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 20000; i++)
        buf_add_char(&b, 's');
    assert_false(login("karl@example.com", buf_z(&b)));
    assert_false(login(buf_z(&b), "secret"));
    buf_add_z(&b, "@example.com");
    assert_false(login(buf_z(&b), "secret"));
    assert_string_equal(resolve(buf_z(&b)), "unknown");
    buf_add_z(&b, "@elsewhere.test");
    assert_string_equal(resolve(buf_z(&b)), "not ours");
    buf_fini(&b);
    assert_false(login_bytes("karl@example.com", str_of("secret\0", 7)));
}

static uint64_t hashes_run(void)
{
    struct lane_stats st;
    lane_stats(d->auth, &st);
    return st.jobs;
}

static void cache_follows_the_row(void **state)
{
    (void)state;
    assert_int_equal(
        directory_user_set_password(admin, STR("karl@example.com"), STR("first"), &s.err), 0);
    assert_true(login("karl@example.com", "first"));
    assert_int_equal(hashes_run(), 1);
    assert_true(login("karl@example.com", "first"));
    assert_int_equal(hashes_run(), 1);
    assert_false(login("karl@example.com", "second"));
    assert_int_equal(hashes_run(), 2);
    assert_false(login("karl@example.com", "second")); /* failures aren't remembered */
    assert_int_equal(hashes_run(), 3);
    assert_int_equal(
        directory_user_set_password(admin, STR("karl@example.com"), STR("second"), &s.err), 0);
    assert_false(login("karl@example.com", "first")); /* remembered, but the hash has changed */
    assert_true(login("karl@example.com", "second"));
    assert_int_equal(directory_user_set_enabled(admin, STR("karl@example.com"), false, &s.err), 0);
    assert_false(login("karl@example.com", "second"));
    assert_int_equal(directory_user_set_enabled(admin, STR("karl@example.com"), true, &s.err), 0);
    assert_true(login("karl@example.com", "second"));
    assert_int_equal(directory_user_remove(admin, STR("karl@example.com"), &s.err), 0);
    uint64_t before = hashes_run();
    assert_false(login("karl@example.com", "second"));
    assert_int_equal(hashes_run(), before + 1); /* nobody's check takes its time too */
}

static void sending_as(void **state)
{
    (void)state;
    assert_true(may_send("karl@example.com", "karl@example.com"));
    assert_true(may_send("karl@example.com", "Karl+Lists@Example.com"));
    assert_true(may_send("karl@example.com", "sales@example.com"));
    assert_true(may_send("vivita@example.com", "sales@example.com"));
    assert_true(may_send("karl@example.com", "karl@example.net"));
    assert_string_equal(got.text, "karl@example.com");
    assert_false(may_send("karl@example.com", "vivita@example.com"));
    assert_false(may_send("karl@example.com", "vivita@example.net"));
    assert_false(may_send("karl@example.com", "nobody@example.com"));
    assert_false(may_send("karl@example.com", "karl@elsewhere.test"));
    assert_false(may_send("karl@example.com", "out@example.com"));
    assert_false(may_send("karl@example.com", "loop@example.com"));
    assert_false(may_send("karl@example.com", "old@example.com"));
    assert_false(may_send("karl@example.com", ""));
    assert_false(may_send("", ""));
    assert_false(may_send("off@example.com", "off@example.com"));
    assert_false(may_send("gone@example.com", "gone@example.com"));
}

/* The own name stays one's own, even while an alias sends its mail elsewhere. */
static void sending_as_oneself(void **state)
{
    (void)state;
    scratch_sql(&s, "INSERT INTO aliases (mail, destination) VALUES"
                    " ('karl@example.com', 'vivita@example.com')");
    assert_string_equal(resolve("karl@example.com"), "vivita@example.com");
    assert_true(may_send("karl@example.com", "karl@example.com"));
    assert_true(may_send("vivita@example.com", "karl@example.com"));
}

static void broken_database(void **state)
{
    (void)state;
    scratch_sql(&s, "ALTER TABLE users RENAME TO lost");
    assert_string_equal(resolve("karl@example.com"), "failed");
    assert_int_equal(got.kind_of_err, ERR_TEMP);
    assert_false(login_bytes("karl@example.com", STR("secret")));
    assert_true(got.failed);
    assert_int_equal(got.kind_of_err, ERR_TEMP);
    scratch_sql(&s, "ALTER TABLE lost RENAME TO users");
    assert_string_equal(resolve("karl@example.com"), "karl@example.com");
    assert_true(login("karl@example.com", "secret"));
}

static void full_lane(void **state)
{
    unsigned accepted = 0, refused = 0;
    (void)state;
    got = (struct asked){0};
    for (int i = 0; i < 50000 && refused == 0; i++) {
        if (directory_resolve(d, STR("sales@example.com"), on_answer, &got) == 0)
            accepted++;
        else
            refused++;
    }
    assert_true(refused == 1 && accepted >= 1000);
    wait_for(accepted);
}

/* Each login is answered, as a refusal to check at worst. */
static void full_auth_lane(void **state)
{
    (void)state;
    got = (struct asked){0};
    for (int i = 0; i < 260; i++)
        assert_int_equal(
            directory_login(d, STR("vivita@example.com"), STR("wrong"), on_login, &got), 0);
    wait_for(260);
}

static void closed_while_asking(void **state)
{
    (void)state;
    got = (struct asked){0};
    for (int i = 0; i < 20; i++) {
        assert_int_equal(directory_resolve(d, STR("sales@example.com"), on_answer, &got), 0);
        assert_int_equal(directory_login(d, STR("karl@example.com"), STR("secret"), on_login, &got),
                         0);
    }
    directory_close(&d);
    assert_null(d);
    wait_for(40);
}

static void opening(void **state)
{
    struct directory_conf bad = conf;
    struct directory *other;
    (void)state;
    bad.tag_delimiter = "++";
    assert_int_equal(directory_open(s.dir, &bad, loop, &other, &s.err), -1);
    assert_null(other);
    assert_int_equal(directory_open("/nonexistent/folder", &conf, loop, &other, &s.err), -1);
    assert_null(other);
    /* a second time on the same file: its rows are still there */
    assert_int_equal(directory_open(s.dir, &conf, loop, &other, &s.err), 0);
    directory_close(&other);
    assert_string_equal(resolve("karl@example.com"), "karl@example.com");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(resolving),          TEST(disabled_rows),         TEST(transports),
        TEST(logging_in),         TEST(unreadable_hash),       TEST(login_without_domain),
        TEST(long_login),         TEST(cache_follows_the_row), TEST(sending_as),
        TEST(sending_as_oneself), TEST(broken_database),       TEST(full_lane),
        TEST(full_auth_lane),     TEST(closed_while_asking),   TEST(opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
