/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Logging in, with all that is beside the user's row: verifiers, app passwords, memory. */
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "appliance/directory/credential.h"
#include "appliance/directory/login.h"
#include "appliance/directory/own.h"
#include "appliance/directory/private.h"
#include "appliance/directory/sasl_client.h"
#include "appliance/directory/writer.h"
#include "tests/unit/directory/scratch.h"
#include <pthread.h>

#define KARL STR("karl@example.com")

static struct scratch s;
static struct loop *loop;
static struct directory *d;
static struct directory_conf conf;
static struct arena *mem;

static void start(void)
{
    if (directory_open(s.dir, &conf, loop, &d, &s.err) < 0)
        fail_msg("%s", s.err.text);
}

static void stop(void)
{
    directory_close(&d);
    loop_stop(loop);
    loop_run(loop);
}

static int setup(void **state)
{
    (void)state;
    scratch_init(&s);
    log_set_fd(-1);
    loop = loop_new();
    mem = arena_new(0);
    assert_int_equal(settings_defaults(directory_settings, &conf, &s.err), 0);
    conf.scram_iterations = 4096;
    conf.upgrade_hashes = DIRECTORY_UPGRADE_NO;
    conf.refusal_time = 1;
    start();
    scratch_sql(&s, "INSERT INTO domains (domain) VALUES ('example.com')");
    scratch_sql(&s, "INSERT INTO users (id, clear, quota) VALUES ('karl@example.com', 'secret', "
                    "'10M')");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (d)
        stop();
    loop_free(&loop);
    arena_free(&mem);
    settings_free(directory_settings, &conf);
    scratch_fini(&s);
    return 0;
}

/* ---- asking */

struct asked {
    unsigned answers;
    bool failed, ok, verifier;
    char account[128];
    uint64_t quota;
    struct scram_verifier v;
};

static void on_login(void *ctx, const struct directory_login *l)
{
    struct asked *g = ctx;
    g->answers++;
    g->failed = l->failed;
    g->ok = l->ok;
    g->quota = l->quota_bytes;
    g->verifier = l->verifier != NULL;
    if (l->verifier)
        g->v = *l->verifier;
    snprintf(g->account, sizeof g->account, STR_FMT, STR_ARG(l->account));
}

static struct asked ask(const struct sasl *x)
{
    struct asked g = {0};
    assert_int_equal(directory_sasl(d, x, false, on_login, &g), 0);
    while (!g.answers)
        loop_turn(loop, true);
    return g;
}

static struct asked plain(const char *user, const char *password)
{
    struct sasl x;
    sasl_init_password(&x, mem, str_from(user), str_from(password));
    return ask(&x);
}

/* "ok", "no", "later" */
static const char *word(struct asked g)
{
    return g.failed ? "later" : g.ok ? "ok" : "no";
}
#define assert_plain(user, password, want) assert_string_equal(word(plain(user, password)), want)

static struct asked scram(const char *user, const char *password)
{
    const struct sasl_offer offer = {.scram = true};
    struct sasl_client *c;
    struct sasl x;
    struct str out, challenge;
    struct err err;
    assert_int_equal(
        sasl_client_new(STR("SCRAM-SHA-256"), str_from(user), str_from(password), &c, &err), 0);
    assert_int_equal(sasl_init(&x, mem, STR("SCRAM-SHA-256"), &offer, &err), 0);
    assert_true(sasl_client_initial(c, 2000, &out));
    assert_int_equal(sasl_begin(&x, out, &challenge, &err), SASL_READY);
    struct asked g = ask(&x);
    if (g.verifier) {
        assert_int_equal(sasl_verifier(&x, &g.v, &challenge), SASL_CHALLENGE);
        assert_int_equal(sasl_client_feed(c, challenge, &out, &err), SASL_CLIENT_WORK);
        sasl_client_work(c);
        assert_int_equal(sasl_client_worked(c, &out, &err), SASL_CLIENT_SEND);
        if (sasl_feed(&x, out, &challenge, &err) == SASL_CHALLENGE)
            assert_int_equal(sasl_feed(&x, STR(""), &challenge, &err), SASL_READY);
        struct scram_verifier v = g.v;
        g = ask(&x);
        g.v = v;
    }
    sasl_client_free(&c);
    return g;
}
#define assert_scram(user, password, want) assert_string_equal(word(scram(user, password)), want)

/* What was noted behind a login is there. */
static void settle(void)
{
    stop();
    start();
}

static struct sql *own(void)
{
    struct sql *db;
    if (own_open(s.dir, NULL, SCHEMA_CHANGE, &db, &s.err) < 0)
        fail_msg("%s", s.err.text);
    return db;
}

static bool has_verifier(const char *stored)
{
    struct sql *db = own();
    struct scram_verifier v;
    bool found;
    assert_int_equal(credential_verifier(db, KARL, str_from(stored), &v, &found, &s.err), 0);
    sql_close(&db);
    return found;
}

static bool offers_scram(void)
{
    return d->scram_verifiers && writer_complete(d->writer);
}

/* ---- tests */

static void verifier_of_a_login(void **state)
{
    (void)state;
    assert_false(offers_scram());
    assert_scram("karl@example.com", "secret", "no");
    assert_plain("karl@example.com", "wrong", "no");
    settle();
    assert_false(has_verifier("{PLAIN}secret"));
    assert_plain("karl@example.com", "secret", "ok");
    settle();
    assert_true(has_verifier("{PLAIN}secret"));
    assert_true(offers_scram());
    struct asked g = scram("Karl@EXAMPLE.com", "secret");
    assert_string_equal(word(g), "ok");
    assert_string_equal(g.account, "karl@example.com");
    assert_int_equal(g.quota, 10 << 20);
    assert_scram("karl", "secret", "ok"); /* the only domain */
    assert_scram("karl@example.com", "Secret", "no");
    assert_scram("nobody@example.com", "secret", "no");
}

static void changed_password(void **state)
{
    (void)state;
    assert_plain("karl@example.com", "secret", "ok");
    settle();
    assert_scram("karl@example.com", "secret", "ok");
    scratch_sql(&s, "UPDATE users SET clear = 'other'");
    assert_scram("karl@example.com", "secret", "no");
    assert_scram("karl@example.com", "other", "no"); /* not yet */
    assert_false(has_verifier("{PLAIN}other"));
    assert_plain("karl@example.com", "other", "ok");
    settle();
    assert_scram("karl@example.com", "other", "ok");
    scratch_sql(&s, "UPDATE users SET enabled = 0");
    assert_scram("karl@example.com", "other", "no");
}

/* A hash that is replaced after a login takes its verifier with it. */
static void upgraded_hash(void **state)
{
    (void)state;
    conf.upgrade_hashes = DIRECTORY_UPGRADE_AUTO;
    settle();
    assert_plain("karl@example.com", "secret", "ok");
    while (!offers_scram())
        loop_turn(loop, true);
    assert_scram("karl@example.com", "secret", "ok");
    assert_false(has_verifier("{PLAIN}secret"));
    assert_plain("karl@example.com", "secret", "ok");
}

/* Dovecot's hash is a verifier: pencil, as in RFC 7677 3. */
static void stored_verifier(void **state)
{
    (void)state;
    scratch_sql(
        &s, "UPDATE users SET clear = '', crypt = '{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
            "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
            "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU='");
    assert_scram("karl@example.com", "pencil", "ok");
    assert_scram("karl@example.com", "Pencil", "no");
    assert_plain("karl@example.com", "pencil", "ok");
    settle();
    assert_true(offers_scram());
}

static void other_iterations(void **state)
{
    (void)state;
    assert_plain("karl@example.com", "secret", "ok");
    settle();
    assert_int_equal(scram("karl@example.com", "secret").v.iterations, 4096);
    conf.scram_iterations = 5000;
    settle();
    assert_plain("karl@example.com", "secret", "ok");
    settle();
    assert_int_equal(scram("karl@example.com", "secret").v.iterations, 5000);
}

/* Who has no verifier, or doesn't exist, gets a salt that is always the same, and as long. */
static void salts(void **state)
{
    struct scram_verifier before, nobody;
    (void)state;
    before = scram("karl@example.com", "secret").v;
    nobody = scram("nobody@example.com", "secret").v;
    assert_plain("karl@example.com", "secret", "ok");
    settle();
    struct scram_verifier after = scram("karl@example.com", "secret").v,
                          again = scram("Nobody@Example.com", "x").v;
    assert_int_equal(before.n_salt, after.n_salt);
    assert_int_equal(before.n_salt, nobody.n_salt);
    assert_int_equal(before.iterations, after.iterations);
    assert_memory_equal(before.salt, after.salt, after.n_salt);
    assert_memory_equal(nobody.salt, again.salt, again.n_salt);
    assert_memory_not_equal(nobody.salt, after.salt, after.n_salt);
    assert_int_equal(scram("no domain@", "x").v.n_salt, after.n_salt);
}

static void no_verifiers(void **state)
{
    (void)state;
    conf.scram_verifiers = false;
    settle();
    assert_plain("karl@example.com", "secret", "ok");
    settle();
    assert_false(has_verifier("{PLAIN}secret"));
    assert_false(offers_scram());
}

static void auto_counts(void **state)
{
    (void)state;
    assert_plain("karl@example.com", "secret", "ok");
    scratch_sql(&s, "INSERT INTO users (id, clear, enabled) VALUES ('off@example.com', 'x', 0), "
                    "('none@example.com', '', 1)");
    settle();
    assert_true(offers_scram()); /* the others can't log in anyway */
    scratch_sql(&s, "INSERT INTO users (id, clear) VALUES ('new@example.com', 'x')");
    settle();
    assert_false(offers_scram());
    /* It turns on by itself, when the last one is there. */
    assert_plain("new@example.com", "x", "ok");
    while (!offers_scram())
        loop_turn(loop, true);
}

static void app_passwords(void **state)
{
    char text[APP_PASSWORD_TEXT], other[APP_PASSWORD_TEXT], letters[APP_PASSWORD_LETTERS];
    struct sql *db = own();
    struct credential_app *list;
    uint64_t removed;
    size_t n;
    (void)state;
    assert_int_equal(credential_app_add(db, KARL, STR("phone"), text, &s.err), 0);
    assert_int_equal(credential_app_add(db, KARL, STR("phone"), other, &s.err), -1);
    assert_int_equal(s.err.why, ERR_WHY_EXISTS);
    assert_int_equal(credential_app_add(db, KARL, STR("tablet"), other, &s.err), 0);
    assert_int_equal(credential_app_add(db, KARL, STR(""), other + 0, &s.err), -1);
    assert_int_equal(credential_app_add(db, KARL, STR("a\nb"), other + 0, &s.err), -1);
    assert_int_equal(strlen(text), 23);
    assert_true(app_password_read(str_from(text), letters));
    assert_plain("karl@example.com", text, "ok");
    assert_plain("karl@example.com", "secret", "ok");
    assert_plain("nobody@example.com", text, "no");
    assert_scram("karl@example.com", text, "no");
    text[0] = text[0] == 'a' ? 'b' : 'a';
    assert_plain("karl@example.com", text, "no");
    assert_plain("karl@example.com", other, "ok");
    for (char *p = other; *p; p++) /* as people type it */
        *p = *p == '-' ? ' ' : ascii_upper(*p);
    assert_plain("karl@example.com", other, "ok");
    sql_close(&db);
    settle();
    db = own();
    assert_int_equal(credential_app_list(db, mem, KARL, &list, &n, &s.err), 0);
    assert_int_equal(n, 2);
    assert_true(str_eq(list[0].label, STR("phone")));
    assert_true(list[0].used > 0 && list[1].used > 0 && list[0].created > 0);
    /* At once, however often it was good. */
    assert_int_equal(credential_app_remove(db, KARL, STR("tablet"), &removed, &s.err), 0);
    assert_int_equal(removed, 1);
    assert_plain("karl@example.com", other, "no");
    assert_int_equal(credential_app_remove(db, KARL, STR("tablet"), &removed, &s.err), 0);
    assert_int_equal(removed, 0);
    assert_int_equal(credential_app_remove(db, KARL, STR_NULL, &removed, &s.err), 0);
    assert_int_equal(removed, 1);
    sql_close(&db);
    assert_plain("karl@example.com", "secret", "ok");
}

static void not_app_passwords(void **state)
{
    static const char *const bad[] = {"",
                                      "abcde",
                                      "abcde-fghij-kmnpq-rstu",
                                      "abcde-fghij-kmnpq-rstuvw",
                                      "abcde-fghij-kmnpq-rstu0",
                                      "abcde-fghij-kmnpq-rstu\xc3\xa4"};
    char letters[APP_PASSWORD_LETTERS];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(app_password_read(str_from(bad[i]), letters));
}

/* While the rows can't be read, who was right lately gets in; nobody is refused. */
static void away(void **state)
{
    char text[APP_PASSWORD_TEXT];
    struct sql *db = own();
    (void)state;
    assert_int_equal(credential_app_add(db, KARL, STR("phone"), text, &s.err), 0);
    sql_close(&db);
    assert_plain("karl@example.com", "secret", "ok");
    assert_plain("karl@example.com", text, "ok");
    settle();
    assert_plain("karl@example.com", "secret", "ok");
    assert_plain("karl@example.com", text, "ok");
    assert_scram("karl@example.com", "secret", "ok");
    scratch_sql(&s, "ALTER TABLE users RENAME TO gone");
    struct asked g = plain("karl@example.com", "secret");
    assert_string_equal(word(g), "ok");
    assert_int_equal(g.quota, 10 << 20);
    assert_string_equal(g.account, "karl@example.com");
    assert_plain("karl@example.com", text, "ok");
    assert_scram("karl@example.com", "secret", "ok");
    assert_scram("karl@example.com", "Secret", "later");
    assert_plain("karl@example.com", "Secret", "later");
    assert_plain("nobody@example.com", "secret", "later");
    assert_scram("nobody@example.com", "secret", "later");
    directory_forget(d, KARL);
    assert_plain("karl@example.com", "secret", "later");
    assert_scram("karl@example.com", "secret", "later");
    scratch_sql(&s, "ALTER TABLE gone RENAME TO users");
    loop_turn(loop, false);
    for (unsigned i = 0; i < 100 && strcmp(word(plain("karl@example.com", "secret")), "ok") != 0;
         i++)
        usleep(50 * 1000); /* what can't be opened isn't tried for each login */
    assert_plain("karl@example.com", "secret", "ok");
    assert_plain("karl@example.com", "Secret", "no");
}

/* Our own tables are away: the main password is still checked, an app password isn't refused. */
static void own_tables_away(void **state)
{
    (void)state;
    scratch_sql(&s, "ALTER TABLE credential RENAME TO gone");
    assert_plain("karl@example.com", "secret", "ok");
    assert_plain("karl@example.com", "Secret", "no");
    assert_plain("karl@example.com", "abcde-fghij-kmnpq-rstuv", "later");
    assert_scram("karl@example.com", "secret", "later");
    scratch_sql(&s, "ALTER TABLE gone RENAME TO credential");
}

/* ---- who is hashed first */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static struct one {
    struct hash_job job;
    char name[32];
} jobs[400];
static char order[4000];
static unsigned done;

static void one_run(struct hash_job *j)
{
    (void)j;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static void one_done(struct hash_job *j)
{
    struct one *o = CONTAINER_OF(j, struct one, job);
    done++;
    if (strlen(order) < 200)
        snprintf(order + strlen(order), 64, "%s%s ", j->skipped ? "!" : "", o->name);
}

static int put(struct hash_queue *q, size_t i, const char *name, bool device, bool recent)
{
    struct one *o = &jobs[i];
    snprintf(o->name, sizeof o->name, "%s", name);
    o->job = (struct hash_job){.run = one_run, .done = one_done, .account = str_from(o->name)};
    return hash_queue_submit(q, &o->job, device, recent);
}

static void users_before_strangers(void **state)
{
    const struct lane_conf lc = {.name = "auth", .threads = 1, .depth = 400};
    struct lane *lane = lane_new(loop, &lc, &s.err);
    struct hash_queue *q = hash_queue_new(lane, 1);
    size_t i = 0;
    (void)state;
    order[0] = '\0';
    done = 0;
    pthread_mutex_lock(&gate);
    assert_int_equal(put(q, i++, "s0", false, false), 0); /* runs */
    while (put(q, i, "s", false, false) == 0)
        i++;
    assert_int_equal(hash_queue_waiting(q, false), HASH_QUEUE_STRANGERS);
    assert_int_equal(put(q, i++, "device", true, false), 0);
    assert_int_equal(put(q, i++, "recent", false, true), 0);
    assert_int_equal(put(q, i++, "recent", false, true), 0);
    assert_int_equal(put(q, i, "recent", false, true), -1); /* a third is a stranger */
    assert_int_equal(put(q, i++, "other", false, true), 0);
    pthread_mutex_unlock(&gate);
    while (done < 1 + HASH_QUEUE_STRANGERS + 4)
        loop_turn(loop, true);
    assert_true(str_starts(str_from(order), STR("s0 device recent recent other s s s ")));
    assert_int_equal(put(q, 0, "recent", false, true), 0); /* its share is free again */
    while (done < 2 + HASH_QUEUE_STRANGERS + 4)
        loop_turn(loop, true);
    hash_queue_stop(q);
    lane_free(&lane);
    hash_queue_free(&q);
}

static void strangers_share(void **state)
{
    const struct lane_conf lc = {.name = "auth", .threads = 4, .depth = 400};
    struct lane *lane = lane_new(loop, &lc, &s.err);
    struct hash_queue *q = hash_queue_new(lane, 4);
    (void)state;
    order[0] = '\0';
    done = 0;
    pthread_mutex_lock(&gate);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(put(q, i, "s", false, false), 0);
    assert_int_equal(hash_queue_waiting(q, false), 8); /* two of four threads */
    assert_int_equal(put(q, 10, "device", true, false), 0);
    assert_int_equal(put(q, 11, "device", true, false), 0);
    assert_int_equal(hash_queue_waiting(q, true), 0);
    /* Stopped: what waits is answered, and not hashed. */
    hash_queue_stop(q);
    assert_int_equal(put(q, 12, "late", true, true), -1);
    pthread_mutex_unlock(&gate);
    lane_free(&lane);
    while (done < 12)
        loop_turn(loop, true);
    assert_non_null(strstr(order, "!s"));
    assert_null(strstr(order, "!device"));
    hash_queue_free(&q);
}

/* A directory that ends answers all that is asked of it. */
static void ends(void **state)
{
    struct asked g = {0};
    struct sasl x;
    (void)state;
    sasl_init_password(&x, mem, KARL, STR("wrong"));
    scratch_sql(&s, "UPDATE users SET clear = '', crypt = '$6$saltsalt$abc'");
    for (int i = 0; i < 20; i++)
        assert_int_equal(directory_sasl(d, &x, false, on_login, &g), 0);
    while (g.answers < 1)
        loop_turn(loop, true);
    stop();
    for (int i = 0; i < 1000 && g.answers < 20; i++)
        loop_turn(loop, false);
    assert_int_equal(g.answers, 20);
}

/* ---- when a refusal is told */

enum { REFUSAL_MS = 500 };
static _Atomic uint64_t turned_ms;

static uint64_t turned_mono(void)
{
    return turned_ms;
}

static int64_t turned_wall(void)
{
    return (int64_t)turned_ms;
}

static const struct clock_source turned = {.mono_ms = turned_mono, .wall_ms = turned_wall};

static void turn_clock(uint64_t by)
{
    turned_ms += by;
    loop_turn(loop, false);
}

static struct login *wait_held(void)
{
    while (list_empty(&d->held))
        loop_turn(loop, true);
    return LIST_ITEM(d->held.next, struct login, held);
}

/* Held to the millisecond, whatever was found out and however long that took. */
static void expect_held(const struct sasl *x, uint64_t takes, uint64_t due)
{
    static const char nothing[sizeof((struct login *)0)->password];
    struct asked g = {0};
    uint64_t began = turned_ms;
    assert_int_equal(directory_sasl(d, x, false, on_login, &g), 0);
    turned_ms += takes;
    struct login *op = wait_held();
    assert_int_equal(op->due_ms, began + due);
    assert_memory_equal(op->password, nothing, sizeof nothing);
    turn_clock(due - takes - 1);
    assert_int_equal(g.answers, 0);
    turn_clock(1);
    assert_int_equal(g.answers, 1);
    assert_false(g.ok || g.failed);
}

static void expect_refusal(const char *user, const char *password, uint64_t takes, uint64_t due)
{
    struct sasl x;
    sasl_init_password(&x, mem, str_from(user), str_from(password));
    expect_held(&x, takes, due);
}

static void expect_challenge(const char *user)
{
    const struct sasl_offer offer = {.scram = true};
    struct sasl_client *c;
    struct sasl x;
    struct str out, challenge;
    assert_int_equal(sasl_client_new(STR("SCRAM-SHA-256"), str_from(user), STR("x"), &c, &s.err),
                     0);
    assert_int_equal(sasl_init(&x, mem, STR("SCRAM-SHA-256"), &offer, &s.err), 0);
    assert_true(sasl_client_initial(c, 2000, &out));
    assert_int_equal(sasl_begin(&x, out, &challenge, &s.err), SASL_READY);
    expect_held(&x, 0, 20);
    sasl_client_free(&c);
}

static void turned_start(void)
{
    stop();
    conf.refusal_time = REFUSAL_MS;
    turned_ms = 1000000;
    clock_replace(&turned);
    start();
}

static void refusals(void **state)
{
    (void)state;
    scratch_sql(&s, "INSERT INTO users (id, crypt, enabled) VALUES"
                    " ('off@example.com', '{PLAIN}x', 0), ('none@example.com', '', 1),"
                    " ('odd@example.com', '{ODD}x', 1),"
                    " ('six@example.com', '$6$saltsalt$abc', 1),"
                    " ('argon@example.com', '{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$"
                    "c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 1)");
    turned_start();
    static const char *const users[] = {
        "karl@example.com", "nobody@example.com", "x@elsewhere.test",
        "off@example.com",  "none@example.com",   "odd@example.com",
        "six@example.com",  "argon@example.com",  "no address@"};
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        expect_refusal(users[i], "wrong", 0, REFUSAL_MS);
        expect_challenge(users[i]);
    }
    expect_refusal("karl@example.com", "", 0, REFUSAL_MS);
    expect_refusal("six@example.com", "wrong", 1, REFUSAL_MS);
    expect_refusal("six@example.com", "wrong", REFUSAL_MS - 1, REFUSAL_MS);
    /* One that took longer isn't told from the others by that. */
    expect_refusal("six@example.com", "wrong", REFUSAL_MS + 1, 2 * REFUSAL_MS);
    expect_refusal("six@example.com", "wrong", 0, 2 * REFUSAL_MS);
    expect_refusal("nobody@example.com", "wrong", 0, 2 * REFUSAL_MS);
    expect_refusal("six@example.com", "wrong", 9 * REFUSAL_MS + 1, 10 * REFUSAL_MS);
    expect_refusal("nobody@example.com", "wrong", 1, 4 * REFUSAL_MS);
    expect_challenge("nobody@example.com");
    turn_clock(10 * 60 * 1000);
    expect_refusal("nobody@example.com", "wrong", 0, REFUSAL_MS);
    /* The clock stands: what is right needn't wait for it. */
    assert_plain("karl@example.com", "secret", "ok");
    assert_plain("karl@example.com", "secret", "ok");
    stop();
    clock_replace(NULL);
}

static void due(void **state)
{
    (void)state;
    assert_int_equal(login_due(1000, 1000, 500), 1500);
    assert_int_equal(login_due(1000, 1001, 500), 1500);
    assert_int_equal(login_due(1000, 1500, 500), 1500);
    assert_int_equal(login_due(1000, 1501, 500), 2000);
    assert_int_equal(login_due(1000, 990, 500), 1500);
    assert_int_equal(login_due(1000, 1007, 0), 1007);
}

/* What is held when the directory ends is answered then. */
static void ends_held(void **state)
{
    struct asked g = {0};
    struct sasl x;
    (void)state;
    turned_start();
    sasl_init_password(&x, mem, KARL, STR("wrong"));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(directory_sasl(d, &x, false, on_login, &g), 0);
        (void)wait_held();
    }
    assert_int_equal(g.answers, 0);
    stop();
    assert_int_equal(g.answers, 3);
    assert_false(g.ok || g.failed);
    clock_replace(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(due),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(ends_held, setup, teardown),
        cmocka_unit_test_setup_teardown(verifier_of_a_login, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_password, setup, teardown),
        cmocka_unit_test_setup_teardown(upgraded_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(stored_verifier, setup, teardown),
        cmocka_unit_test_setup_teardown(other_iterations, setup, teardown),
        cmocka_unit_test_setup_teardown(salts, setup, teardown),
        cmocka_unit_test_setup_teardown(no_verifiers, setup, teardown),
        cmocka_unit_test_setup_teardown(auto_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(app_passwords, setup, teardown),
        cmocka_unit_test_setup_teardown(not_app_passwords, setup, teardown),
        cmocka_unit_test_setup_teardown(away, setup, teardown),
        cmocka_unit_test_setup_teardown(own_tables_away, setup, teardown),
        cmocka_unit_test_setup_teardown(users_before_strangers, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers_share, setup, teardown),
        cmocka_unit_test_setup_teardown(ends, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
