/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Accounts of a dump in our tables: the first run, the next ones, and what they leave alone. */
#include "appliance/directory/rows_sql.h"
#include "appliance/directory/takeover.h"
#include "tests/unit/directory/scratch.h"

static struct scratch s;
static struct takeover_report r;
static struct buf told;
static const struct directory_conf own = {.source = DIRECTORY_FROM_OWN};

static void on_row(void *ctx, enum takeover_kind k, enum takeover_outcome o, struct str name,
                   const char *why)
{
    (void)ctx;
    buf_printf(&told, "%s " STR_FMT " %s%s%s\n", takeover_kind_name(k), STR_ARG(name),
               takeover_outcome_name(o), why ? ": " : "", why ? why : "");
}

static const char *run_as(const char *dump, bool dry_run, bool replace)
{
    const struct takeover_conf conf = {.on_row = on_row, .dry_run = dry_run, .replace = replace};
    struct takeover *t;
    buf_clear(&told);
    if (takeover_open(s.dir, &own, &conf, &t, &s.err) < 0 ||
        takeover_dump(t, str_from(dump), &s.err) < 0 || takeover_end(t, &r, &s.err) < 0)
        fail_msg("%s", s.err.text);
    takeover_close(&t);
    return buf_z(&told);
}

static const char *run(const char *dump)
{
    return run_as(dump, false, false);
}

static const char *value(const char *query)
{
    static char out[600];
    char path[128];
    struct sql *db;
    struct sql_stmt *st;
    snprintf(path, sizeof path, "%s/directory.db", s.dir);
    const struct sql_conf conf = {.path = path, .read_only = true, .busy_ms = 5000};
    assert_int_equal(sql_open(&conf, &db, &s.err), 0);
    assert_int_equal(sql_prepare(db, query, &st, &s.err), 0);
    int rc = sql_step(st, &s.err);
    assert_true(rc >= 0);
    snprintf(out, sizeof out, STR_FMT, STR_ARG(rc ? sql_text(st, 0) : STR("(none)")));
    sql_close(&db);
    return out;
}

#define DOMAINS "INSERT INTO domains (domain, enabled) VALUES ('Example.com',1),('example.net',0);"
#define USERS(hash)                                                                                \
    "INSERT INTO users (id, name, crypt, clear, quota, enabled) VALUES"                            \
    " ('Anna@example.com','Anna','" hash "','ChangeMe','10M',1),"                                  \
    " ('bert@example.com','Bert','','clear','',0);"
#define ALIASES                                                                                    \
    "INSERT INTO aliases (mail, destination) VALUES"                                               \
    " ('info@example.com','anna@example.com,x@else.example'),('@example.net','@example.com');"

static void first_run(void **state)
{
    (void)state;
    assert_string_equal(
        run(DOMAINS USERS("$5$x$y") ALIASES
            "INSERT INTO relocated (oldadr,newadr) VALUES ('gone@example.com','n@e.example');"
            "INSERT INTO backups (domain,transport) VALUES ('b.example',':[]');"
            "INSERT INTO other (a) VALUES (1);"),
        "domain example.com added\ndomain example.net added\nuser anna@example.com added\n"
        "user bert@example.com added\nalias info@example.com added\nalias @example.net added\n"
        "moved gone@example.com added\nbackup b.example added\n");
    assert_string_equal(value("SELECT crypt || '|' || clear || '|' || quota || '|' || enabled FROM "
                              "users WHERE id = 'anna@example.com'"),
                        "$5$x$y||10M|1");
    assert_string_equal(value("SELECT crypt || '|' || clear || '|' || enabled || '|' || uid FROM "
                              "users WHERE id = 'bert@example.com'"),
                        "|clear|0|5000");
    assert_string_equal(value("SELECT transport || enabled FROM domains WHERE domain = "
                              "'example.net'"),
                        "virtual:0");
    assert_int_equal(r.counts[TAKEOVER_USER][TAKEOVER_ADDED], 2);
    assert_true(r.found[TAKEOVER_MOVED] && !r.found[TAKEOVER_RELAY]);
}

static void next_runs(void **state)
{
    (void)state;
    run(DOMAINS USERS("$5$x$y") ALIASES);
    assert_string_equal(run(DOMAINS USERS("$5$x$y") ALIASES), "");
    assert_int_equal(r.counts[TAKEOVER_USER][TAKEOVER_UNCHANGED], 2);
    assert_string_equal(run(DOMAINS USERS("$5$x$z") ALIASES), "user anna@example.com updated\n");
    assert_string_equal(value("SELECT crypt FROM users WHERE id = 'anna@example.com'"), "$5$x$z");
    /* Changed here: it stays, whatever the other side does. */
    scratch_sql(&s, "UPDATE users SET crypt = '$y$new' WHERE id = 'anna@example.com'");
    scratch_sql(&s, "DELETE FROM aliases WHERE mail = 'info@example.com'");
    assert_string_equal(run(DOMAINS USERS("$5$x$z") ALIASES),
                        "user anna@example.com left_alone: changed here: password\n"
                        "alias info@example.com left_alone: it was removed here\n");
    assert_string_equal(value("SELECT crypt FROM users WHERE id = 'anna@example.com'"), "$y$new");
    assert_string_equal(run(DOMAINS USERS("$5$x$a")),
                        "user anna@example.com left_alone: changed here: password\n");
    assert_string_equal(value("SELECT crypt FROM users WHERE id = 'anna@example.com'"), "$y$new");
    assert_string_equal(run_as(DOMAINS USERS("$5$x$a"), false, true),
                        "user anna@example.com updated\n");
    /* What isn't there any more stays; of tables that don't come nothing is said. */
    assert_string_equal(run(DOMAINS "INSERT INTO users (id,crypt) VALUES ('c@example.com','x')"),
                        "user c@example.com added\nuser anna@example.com gone\n"
                        "user bert@example.com gone\n");
    assert_string_equal(value("SELECT crypt FROM users WHERE id = 'anna@example.com'"), "$5$x$a");
}

#define USER(name, enabled, quota, hash)                                                           \
    "INSERT INTO users (id, name, enabled, quota, crypt) VALUES"                                   \
    " ('anna@example.com','" name "'," enabled ",'" quota "','" hash "');"
#define ANNA                                                                                       \
    value("SELECT name || '|' || enabled || '|' || quota || '|' || crypt || '|' || clear FROM "    \
          "users")

/* Both sides change: each value is that of who changed it, and of both ours. */
static void value_by_value(void **state)
{
    (void)state;
    run(USER("Anna", "1", "10M", "$5$a"));
    scratch_sql(&s, "UPDATE users SET enabled = 0, quota = '5M', crypt = '$y$mine'");
    assert_string_equal(run(USER("Anna B", "1", "10M", "$5$a")),
                        "user anna@example.com updated\n"
                        "user anna@example.com left_alone: changed here: enabled, password, "
                        "quota\n");
    assert_string_equal(ANNA, "Anna B|0|5M|$y$mine|");
    assert_int_equal(r.counts[TAKEOVER_USER][TAKEOVER_UPDATED], 1);
    assert_int_equal(r.counts[TAKEOVER_USER][TAKEOVER_KEPT], 1);
    assert_string_equal(run(USER("Anna C", "1", "20M", "$5$b")),
                        "user anna@example.com updated\n"
                        "user anna@example.com left_alone: changed here: enabled, password, "
                        "quota\n");
    assert_string_equal(ANNA, "Anna C|0|5M|$y$mine|");
    scratch_sql(&s, "UPDATE users SET name = 'Mine'");
    run(USER("Anna D", "1", "20M", "$5$b"));
    assert_string_equal(ANNA, "Mine|0|5M|$y$mine|");
    assert_string_equal(run_as(USER("Anna D", "1", "20M", "$5$b"), false, true),
                        "user anna@example.com updated\n");
    assert_string_equal(ANNA, "Anna D|1|20M|$5$b|");
    assert_string_equal(run(USER("Anna D", "0", "20M", "$5$c")), "user anna@example.com updated\n");
    assert_string_equal(ANNA, "Anna D|0|20M|$5$c|");
    /* As a run of before remembered it: a row as a whole. Nothing of ours is lost by that. */
    scratch_sql(&s, "UPDATE directory_import SET digest = '0123456789abcdef0123456789abcdef"
                    "0123456789abcdef0123456789abcdef'");
    assert_string_equal(run(USER("Anna E", "0", "20M", "$5$c")),
                        "user anna@example.com left_alone: changed here: name\n");
    assert_string_equal(run(USER("Anna E", "0", "20M", "$5$d")),
                        "user anna@example.com updated\n"
                        "user anna@example.com left_alone: changed here: name\n");
}

static void aliases_and_removed(void **state)
{
    (void)state;
    run(ALIASES);
    scratch_sql(&s, "UPDATE aliases SET destination = 'mine@example.com' WHERE mail LIKE 'info%'");
    scratch_sql(&s, "DELETE FROM aliases WHERE mail = '@example.net'");
#define CHANGED                                                                                    \
    "INSERT INTO aliases (mail, destination) VALUES ('info@example.com','x@else.example'),"        \
    "('@example.net','@example.org');"
    for (int i = 0; i < 2; i++)
        assert_string_equal(run(CHANGED),
                            "alias info@example.com left_alone: changed here: destination\n"
                            "alias @example.net left_alone: it was removed here\n");
    assert_string_equal(value("SELECT group_concat(destination) FROM aliases"), "mine@example.com");
    assert_string_equal(run_as(CHANGED, false, true),
                        "alias info@example.com updated\nalias @example.net added\n");
    assert_string_equal(value("SELECT destination FROM aliases WHERE mail = '@example.net'"),
                        "@example.org");
}

/* What a login does with an old hash. */
static void upgrade(const char *old, const char *hash)
{
    struct rows *writer;
    char path[128];
    struct sql *db;
    bool changed;
    snprintf(path, sizeof path, "%s/directory.db", s.dir);
    const struct sql_conf conf = {.path = path, .sync = SQL_SYNC_OFF, .busy_ms = 5000};
    const struct rows_sql_conf ours = {.preset = "flurdy", .own = true};
    assert_int_equal(sql_open(&conf, &db, &s.err), 0);
    assert_int_equal(rows_sql_writer(db, &ours, &writer, &s.err), 0);
    assert_int_equal(rows_sql_set_hash(writer, STR("anna@example.com"), str_from(old),
                                       str_from(hash), &changed, &s.err),
                     0);
    assert_true(changed);
    rows_close(&writer);
}

static void upgraded(void **state)
{
    (void)state;
    run(USER("Anna", "1", "", "$5$a"));
    upgrade("$5$a", "$y$A");
    assert_string_equal(run(USER("Anna", "1", "", "$5$a")), "");
    assert_string_equal(run(USER("Anna B", "1", "", "$5$a")), "user anna@example.com updated\n");
    assert_string_equal(ANNA, "Anna B|1||$y$A|");
    upgrade("$y$A", "$z$A"); /* there will be better ones */
    assert_string_equal(run(USER("Anna B", "1", "", "$5$a")), "");
    assert_string_equal(run_as(USER("Anna B", "1", "", "$5$a"), false, true), "");
    /* There it has got another one since: that one counts. */
    assert_string_equal(run(USER("Anna B", "1", "", "$5$b")), "user anna@example.com updated\n");
    assert_string_equal(ANNA, "Anna B|1||$5$b|");
    upgrade("$5$b", "$y$B");
    /* A password that was set here is no upgrade of anything, nor is what becomes of it. */
    scratch_sql(&s, "UPDATE users SET crypt = '$5$mine'");
    upgrade("$5$mine", "$y$mine");
    assert_string_equal(run(USER("Anna B", "1", "", "$5$b")),
                        "user anna@example.com left_alone: changed here: password\n");
    assert_string_equal(run(USER("Anna B", "1", "", "$5$c")),
                        "user anna@example.com left_alone: changed here: password\n");
    assert_string_equal(ANNA, "Anna B|1||$y$mine|");
}

static void upgraded_clear(void **state)
{
#define BERT(clear)                                                                                \
    "INSERT INTO users (id, crypt, clear, name) VALUES ('anna@example.com','','" clear "','B');"
    (void)state;
    run(BERT("secret"));
    assert_string_equal(ANNA, "B|1|||secret");
    upgrade("{PLAIN}secret", "$y$S");
    assert_string_equal(ANNA, "B|1||$y$S|");
    assert_string_equal(run(BERT("secret")), "");
    assert_string_equal(run(BERT("other")), "user anna@example.com updated\n");
    assert_string_equal(ANNA, "B|1|||other");
}

static void made_here(void **state)
{
    (void)state;
    run("");
    scratch_sql(&s, "INSERT INTO users (id, crypt) VALUES ('anna@example.com', 'mine')");
    assert_string_equal(run(USERS("theirs")),
                        "user anna@example.com left_alone: made here: name, password, quota\n"
                        "user bert@example.com added\n");
    assert_string_equal(value("SELECT crypt FROM users WHERE id = 'anna@example.com'"), "mine");
    assert_string_equal(run_as(USERS("theirs"), false, true), "user anna@example.com updated\n");
    assert_string_equal(value("SELECT crypt FROM users WHERE id = 'anna@example.com'"), "theirs");
}

static void dry_run(void **state)
{
    (void)state;
    assert_string_equal(run_as(DOMAINS, true, false),
                        "domain example.com added\ndomain example.net added\n");
    assert_string_equal(value("SELECT COUNT(*) FROM domains"), "0");
    assert_string_equal(value("SELECT COUNT(*) FROM directory_import"), "0");
}

static void refused_rows(void **state)
{
    (void)state;
    assert_string_equal(run("INSERT INTO users (id, crypt) VALUES ('no address','x'),('','y'),"
                            "('a@example.com','1'),('A@Example.com','2'),"
                            "('b@example.com',0xff);"
                            "INSERT INTO aliases (mail,destination) VALUES ('x@example.com',' ');"),
                        "user no address refused: \"no address\" is not a mail address\n"
                        "user a@example.com added\n"
                        "user a@example.com refused: it is there twice; the first row counts\n"
                        "user b@example.com refused: a value is no text in UTF-8\n"
                        "alias x@example.com refused: there is no destination\n");
    assert_string_equal(value("SELECT crypt FROM users"), "1");
}

static void of_postfixadmin(void **state)
{
    (void)state;
    assert_string_equal(
        run("INSERT INTO domain (domain,transport,backupmx,active) VALUES ('ALL','',0,1),"
            "('example.com','virtual',0,1),('b.example','',1,1);"
            "INSERT INTO mailbox (username,password,name,quota,active) VALUES"
            " ('anna@example.com','$1$a$b','Anna',1048576,1);"
            "INSERT INTO alias (address,goto,active) VALUES"
            " ('anna@example.com','anna@example.com',1),('all@example.com','anna@example.com',0);"
            "INSERT INTO alias_domain (alias_domain,target_domain,active) VALUES"
            " ('other.example','example.com',1);"
            /* another program's tables of such names */
            "INSERT INTO domain (domain, note) VALUES ('x.example','y');"
            "INSERT INTO users (user_id, username) VALUES (1,'web@mail.example');"),
        "domain example.com added\nbackup b.example added\nuser anna@example.com added\n"
        "alias all@example.com added\nalias @other.example added\n");
    assert_string_equal(value("SELECT destination || enabled FROM aliases WHERE mail = "
                              "'@other.example'"),
                        "@example.com1");
    assert_string_equal(value("SELECT quota FROM users"), "1048576");
}

static void many_rows(void **state)
{
    struct buf dump;
    (void)state;
    buf_init(&dump, 1 << 20);
    buf_add_z(&dump, "INSERT INTO users (id, crypt) VALUES ('x0@example.com','x')");
    for (int i = 1; i < 1700; i++)
        buf_printf(&dump, ",('x%d@example.com','x')", i);
    run(buf_z(&dump));
    assert_int_equal(r.counts[TAKEOVER_USER][TAKEOVER_ADDED], 1700);
    assert_string_equal(value("SELECT COUNT(*) FROM users"), "1700");
    assert_string_equal(run(buf_z(&dump)), "");
    buf_fini(&dump);
}

static void not_into_others(void **state)
{
    static const struct directory_conf files = {.source = DIRECTORY_FROM_FILES, .folder = "/x"};
    const struct takeover_conf conf = {.on_row = on_row};
    struct takeover *t;
    (void)state;
    assert_int_equal(takeover_open(s.dir, &files, &conf, &t, &s.err), -1);
    assert_int_equal(s.err.kind, ERR_PERM);
}

static int setup(void **state)
{
    (void)state;
    scratch_init(&s);
    buf_init(&told, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_fini(&s);
    buf_fini(&told);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(value_by_value), TEST(aliases_and_removed), TEST(upgraded),  TEST(upgraded_clear),
        TEST(first_run),      TEST(next_runs),           TEST(made_here), TEST(dry_run),
        TEST(refused_rows),   TEST(of_postfixadmin),     TEST(many_rows), TEST(not_into_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
