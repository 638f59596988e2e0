/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Sources of rows: tables as others made them, flat files, the system's users. */
#include "appliance/base/log.h"
#include "appliance/directory/rows_files.h"
#include "appliance/directory/rows_sql.h"
#include "appliance/directory/rows_system.h"
#include "tests/unit/directory/scratch.h"
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>

static struct scratch s;
static struct arena *m;
static struct rows *rows;

static const char *text(struct str t)
{
    return t.p ? arena_str(m, t).p : "-";
}

static bool hosted(const char *domain)
{
    bool yes;
    assert_int_equal(rows_hosted(rows, str_from(domain), &yes, &s.err), 0);
    return yes;
}

static bool user(const char *address)
{
    bool yes;
    assert_int_equal(rows_user(rows, str_from(address), &yes, &s.err), 0);
    return yes;
}

static const char *alias(const char *address)
{
    struct str out;
    assert_int_equal(rows_alias(rows, m, str_from(address), &out, &s.err), 0);
    return text(out);
}

static const char *login(const char *address)
{
    struct rows_login l;
    assert_int_equal(rows_login(rows, m, str_from(address), &l, &s.err), 0);
    return l.found ? arena_printf(m, STR_FMT " %llu", STR_ARG(l.stored),
                                  (unsigned long long)l.quota_bytes)
                         .p
                   : "-";
}

static const char *first_domain(void)
{
    struct str out;
    bool only;
    assert_int_equal(rows_first_domain(rows, m, &out, &only, &s.err), 0);
    return arena_printf(m, STR_FMT "%s", STR_ARG(out), only ? "" : " ...").p;
}

static const char *first_user(const char *domain)
{
    struct str out;
    assert_int_equal(rows_first_user(rows, m, str_from(domain), &out, &s.err), 0);
    return text(out);
}

static const char *moved(const char *address)
{
    struct str out;
    assert_int_equal(rows_moved(rows, m, str_from(address), &out, &s.err), 0);
    return text(out);
}

static bool relayed(const char *address)
{
    bool yes;
    assert_int_equal(rows_relayed(rows, str_from(address), &yes, &s.err), 0);
    return yes;
}

static int add_user(void *ctx, struct str address, struct err *err)
{
    struct buf *b = ctx;
    (void)err;
    buf_printf(b, STR_FMT " ", STR_ARG(address));
    return 0;
}

static const char *users(void)
{
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(rows_users(rows, add_user, &b, &s.err), 0);
    const char *out = arena_str(m, buf_str(&b)).p;
    buf_fini(&b);
    return out;
}

/* ---- tables */

static void drop(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", s.dir, name);
    unlink(path);
}

static struct sql *connect_to(const char *schema)
{
    char path[128];
    struct sql *db;
    snprintf(path, sizeof path, "%s/directory.db", s.dir);
    const struct sql_conf conf = {.path = path, .sync = SQL_SYNC_OFF, .busy_ms = 5000};
    assert_int_equal(sql_open(&conf, &db, &s.err), 0);
    char *copy = strdup(schema), *rest = copy, *one;
    while ((one = strsep(&rest, ";")))
        if (*one)
            assert_int_equal(sql_exec(db, one, &s.err), 0);
    free(copy);
    return db;
}

static int open_tables(const char *schema, const struct rows_sql_conf *conf)
{
    struct sql *db = connect_to(schema);
    int rc = rows_sql_new(db, true, conf, &rows, &s.err);
    if (rc < 0)
        sql_close(&db);
    return rc;
}

#define DOMAINS                                                                                    \
    "CREATE TABLE domains (pkid INTEGER PRIMARY KEY, domain TEXT, transport TEXT, enabled INT);"   \
    "INSERT INTO domains VALUES (1, 'b.example', 'virtual:', 1), (2, 'a.example', 'virtual:', 1)," \
    " (3, 'off.example', 'virtual:', 0), (4, 'relay.example', 'smtp:[x]', 1);"
#define ALIASES                                                                                    \
    "CREATE TABLE aliases (pkid INTEGER PRIMARY KEY, mail TEXT, destination TEXT, enabled INT);"   \
    "INSERT INTO aliases VALUES (1, 'x@a.example', 'y@a.example,z@b.example', 1),"                 \
    " (2, '@b.example', '@a.example', 1), (3, 'off@a.example', 'x@a.example', 0);"

static void flurdy(void **state)
{
    static const struct rows_sql_conf conf = {.preset = "flurdy"};
    (void)state;
    assert_int_equal(
        open_tables(DOMAINS ALIASES
                    "CREATE TABLE users (id TEXT, crypt TEXT, clear TEXT, quota TEXT, enabled INT);"
                    "INSERT INTO users VALUES ('y@a.example', '$5$x', 'c', '10M', 1),"
                    " ('Z@b.example', '', 'clear', '', 1), ('n@b.example', NULL, NULL, NULL, 1),"
                    " ('o@b.example', 'x', '', '', 0);"
                    "CREATE TABLE relocated (oldadr TEXT, newadr TEXT);"
                    "INSERT INTO relocated VALUES ('gone@a.example', 'new@else.example');"
                    "CREATE TABLE backups (domain TEXT, transport TEXT);"
                    "INSERT INTO backups VALUES ('back.example', ''), ('list.example', '');"
                    "CREATE TABLE relays (recipient TEXT, status TEXT);"
                    "INSERT INTO relays VALUES ('one@list.example', 'OK')",
                    &conf),
        0);
    assert_true(hosted("a.example") && hosted("b.example"));
    assert_false(hosted("off.example") || hosted("relay.example") || hosted("back.example"));
    assert_true(user("y@a.example"));
    assert_false(user("o@b.example") || user("y@b.example"));
    assert_string_equal(alias("x@a.example"), "y@a.example,z@b.example");
    assert_string_equal(alias("@b.example"), "@a.example");
    assert_string_equal(alias("off@a.example"), "-");
    assert_string_equal(login("y@a.example"), "$5$x 10485760");
    assert_string_equal(login("Z@b.example"), "{PLAIN}clear 0");
    assert_string_equal(login("n@b.example"), " 0");
    assert_string_equal(login("o@b.example"), "-");
    assert_string_equal(login("y@off.example"), "-");
    assert_string_equal(first_domain(), "b.example ...");
    assert_string_equal(first_user("b.example"), "z@b.example");
    assert_string_equal(first_user("%"), "");
    assert_string_equal(users(), "y@a.example z@b.example n@b.example ");
    assert_string_equal(moved("gone@a.example"), "new@else.example");
    assert_string_equal(moved("x@a.example"), "-");
    assert_true(relayed("anybody@back.example") && relayed("one@list.example"));
    assert_false(relayed("two@list.example") || relayed("x@a.example") || relayed("x@c.example"));
    /* What a client writes stays a value. */
    assert_false(user("' OR 1=1 --@a.example") || hosted("' OR '1'='1"));
}

/* Columns and tables that some sites never had. */
static void flurdy_variants(void **state)
{
    static const struct rows_sql_conf conf = {.preset = "flurdy"};
    (void)state;
    assert_int_equal(open_tables("CREATE TABLE domains (domain TEXT, enabled INT);"
                                 "INSERT INTO domains VALUES ('a.example', 1);" ALIASES
                                 "CREATE TABLE users (id TEXT, crypt TEXT, enabled INT);"
                                 "INSERT INTO users VALUES ('y@a.example', '$5$x', 1)",
                                 &conf),
                     0);
    assert_true(hosted("a.example"));
    assert_string_equal(login("y@a.example"), "$5$x 0");
    assert_string_equal(first_domain(), "a.example");
    assert_string_equal(moved("gone@a.example"), "-");
    assert_false(relayed("x@back.example"));
}

static void no_such_tables(void **state)
{
    static const struct rows_sql_conf conf = {.preset = "flurdy"},
                                      wrong = {.preset = "flurdy",
                                               .queries = {[ROWS_MOVED] = "SELECT x FROM none"}};
    (void)state;
    assert_int_equal(open_tables(DOMAINS, &conf), -1);
    assert_int_equal(s.err.kind, ERR_PERM);
    assert_non_null(strstr(s.err.text, "query_user"));
    /* What is optional in a preset isn't when somebody asks for it. */
    assert_int_equal(
        open_tables(ALIASES "CREATE TABLE users (id TEXT, crypt TEXT, enabled INT)", &wrong), -1);
    assert_non_null(strstr(s.err.text, "query_moved"));
}

static void postfixadmin(void **state)
{
    static const struct rows_sql_conf conf = {.preset = "postfixadmin"};
    (void)state;
    assert_int_equal(
        open_tables(
            "CREATE TABLE domain (domain TEXT, transport TEXT, backupmx INT, active INT, created "
            "TEXT);"
            "INSERT INTO domain VALUES ('ALL', '', 0, 1, ''), ('b.example', 'virtual', 0, 1, '1'),"
            " ('a.example', 'virtual', 0, 1, '2'), ('back.example', '', 1, 1, '3'),"
            " ('other.example', 'virtual', 0, 1, '4');"
            "CREATE TABLE mailbox (username TEXT, password TEXT, quota INT, domain TEXT, active "
            "INT);"
            "INSERT INTO mailbox VALUES ('y@a.example', '$1$x', 1024, 'a.example', 1),"
            " ('n@a.example', 'x', 0, 'a.example', 0);"
            "CREATE TABLE alias (address TEXT, goto TEXT, domain TEXT, active INT);"
            "INSERT INTO alias VALUES ('y@a.example', 'y@a.example', 'a.example', 1),"
            " ('x@back.example', 'x@back.example', 'back.example', 1);"
            "CREATE TABLE alias_domain (alias_domain TEXT, target_domain TEXT, active INT);"
            "INSERT INTO alias_domain VALUES ('other.example', 'a.example', 1)",
            &conf),
        0);
    assert_true(hosted("a.example") && hosted("other.example"));
    assert_false(hosted("back.example"));
    assert_true(user("y@a.example"));
    assert_false(user("n@a.example"));
    assert_string_equal(alias("y@a.example"), "y@a.example");
    assert_string_equal(alias("@other.example"), "@a.example");
    assert_string_equal(alias("x@other.example"), "-");
    assert_string_equal(login("y@a.example"), "$1$x 1024");
    assert_string_equal(first_domain(), "b.example ...");
    assert_string_equal(first_user("a.example"), "y@a.example");
    assert_string_equal(users(), "y@a.example ");
    assert_true(relayed("x@back.example"));
    assert_false(relayed("y@back.example"));
}

static void own_queries(void **state)
{
    static const struct rows_sql_conf conf = {
        .preset = "flurdy",
        .queries = {[ROWS_DOMAIN] = "SELECT '' FROM d WHERE name = '%d'",
                    [ROWS_USER] = "SELECT 1 FROM u WHERE local = '%u' AND domain = '%d'",
                    [ROWS_ALIAS] = "SELECT target FROM a WHERE source = '%u@%d'",
                    [ROWS_LOGIN] = "SELECT hash, '' FROM u WHERE local = %u AND domain = %d",
                    [ROWS_DOMAINS] = "SELECT name FROM d ORDER BY name",
                    [ROWS_DOMAIN_USER] =
                        "SELECT local || '@' || domain FROM u WHERE domain = %d ORDER BY local",
                    [ROWS_USERS] = "SELECT local || '@' || domain FROM u"}};
    (void)state;
    assert_int_equal(
        open_tables("CREATE TABLE d (name TEXT); INSERT INTO d VALUES ('a.example');"
                    "CREATE TABLE u (local TEXT, domain TEXT, hash TEXT);"
                    "INSERT INTO u VALUES ('y', 'a.example', '$6$');"
                    "CREATE TABLE a (source TEXT, target TEXT);"
                    "INSERT INTO a VALUES ('x@a.example', 'y@a.example'), ('x@a.example', 'z@c.d')",
                    &conf),
        0);
    assert_true(hosted("a.example") && !hosted("b.example"));
    assert_true(user("y@a.example") && !user("x@a.example"));
    assert_string_equal(alias("x@a.example"), "y@a.example,z@c.d");
    assert_string_equal(login("y@a.example"), "$6$ 0");
    assert_string_equal(users(), "y@a.example ");
}

/* As a collation of a server does it: what differs in accents and case alone is equal. */
#define ALIKE(a, b) "replace(lower(" a "), 'à', 'a') = replace(lower(" b "), 'à', 'a')"

static void look_alikes(const char *query_user, const char *query_login)
{
    struct rows_sql_conf conf = {.preset = "flurdy"};
    conf.queries[ROWS_DOMAIN] = "SELECT '' FROM d WHERE name = %d";
    conf.queries[ROWS_USER] = query_user;
    conf.queries[ROWS_LOGIN] = query_login;
    if (rows)
        rows_close(&rows);
    drop("directory.db");
    assert_int_equal(open_tables("CREATE TABLE d (name TEXT); INSERT INTO d VALUES ('a.example');"
                                 "CREATE TABLE domains (domain TEXT, enabled INT);"
                                 "CREATE TABLE users (id TEXT, enabled INT);" ALIASES
                                 "CREATE TABLE u (local TEXT, domain TEXT, hash TEXT);"
                                 "INSERT INTO u VALUES ('Anna', 'a.example', 'x'),"
                                 " ('bàrt', 'a.example', 'y')",
                                 &conf),
                     0);
    assert_true(user("anna@a.example"));
    assert_string_equal(login("anna@a.example"), "x 0");
    assert_false(user("annà@a.example") || user("ànnà@a.example"));
    assert_string_equal(login("annà@a.example"), "-");
}

#define OF_U " FROM u WHERE " ALIKE("local", "%u") " AND domain = %d"
static void others_rows(void **state)
{
    (void)state;
    look_alikes("SELECT 1" OF_U, "SELECT hash, ''" OF_U);
    assert_false(user("bàrt@a.example")); /* nothing tells that it is him */
    assert_string_equal(login("bàrt@a.example"), "-");
    look_alikes("SELECT local" OF_U, "SELECT hash, '', local" OF_U);
    assert_true(user("bàrt@a.example"));
    assert_string_equal(login("bàrt@a.example"), "y 0");
    look_alikes("SELECT local || '@' || domain" OF_U,
                "SELECT hash, '', local || '@' || domain" OF_U);
    assert_true(user("bàrt@a.example"));
    assert_string_equal(login("bàrt@a.example"), "y 0");
    assert_false(user("bart@a.example"));
    assert_string_equal(login("bart@a.example"), "-");
    /* Something else of the row proves nothing, and does no harm. */
    look_alikes("SELECT '/mail/' || local || '@' || domain" OF_U, "SELECT hash, '', 7" OF_U);
    assert_false(user("bàrt@a.example"));
    assert_string_equal(login("bàrt@a.example"), "-");
}

static void others_aliases(void **state)
{
    static const struct rows_sql_conf conf = {.preset = "flurdy"};
    (void)state;
    assert_int_equal(open_tables(DOMAINS
                                 "CREATE TABLE users (id TEXT, crypt TEXT, enabled INT);"
                                 "CREATE TABLE aliases (mail TEXT COLLATE RTRIM, destination TEXT,"
                                 " enabled INT);"
                                 "INSERT INTO aliases VALUES ('x@a.example ', 'y@a.example', 1)",
                                 &conf),
                     0);
    assert_string_equal(alias("x@a.example"), "y@a.example"); /* as on a server: PAD SPACE */
}

static void changing_a_hash(void **state)
{
    static const struct rows_sql_conf conf = {.preset = "flurdy"};
    bool changed;
    (void)state;
    struct sql *db = connect_to("CREATE TABLE users (id TEXT, crypt TEXT, clear TEXT);"
                                "INSERT INTO users VALUES ('y@a.example', 'old', ''),"
                                " ('c@a.example', '', 'clear')");
    assert_int_equal(rows_sql_writer(db, &conf, &rows, &s.err), 0);
    assert_int_equal(
        rows_sql_set_hash(rows, STR("y@a.example"), STR("else"), STR("new"), &changed, &s.err), 0);
    assert_false(changed); /* somebody else was quicker */
    assert_int_equal(
        rows_sql_set_hash(rows, STR("y@a.example"), STR("old"), STR("new"), &changed, &s.err), 0);
    assert_true(changed);
    assert_int_equal(rows_sql_set_hash(rows, STR("c@a.example"), STR("{PLAIN}clear"), STR("new2"),
                                       &changed, &s.err),
                     0);
    assert_true(changed);
    struct sql_stmt *st;
    assert_int_equal(
        sql_prepare(db, "SELECT crypt || '/' || clear FROM users ORDER BY id", &st, &s.err), 0);
    assert_int_equal(sql_step(st, &s.err), 1);
    assert_string_equal(text(sql_text(st, 0)), "new2/");
    assert_int_equal(sql_step(st, &s.err), 1);
    assert_string_equal(text(sql_text(st, 0)), "new/");
    sql_reset(st);
}

/* ---- files */

static void put(const char *name, const char *what)
{
    char path[200], made[220];
    snprintf(path, sizeof path, "%s/%s", s.dir, name);
    snprintf(made, sizeof made, "%s.new~", path);
    FILE *f = fopen(made, "w");
    assert_non_null(f);
    fputs(what, f);
    fclose(f);
    assert_int_equal(rename(made, path), 0);
}

static void folder(const char *name, bool make)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", s.dir, name);
    assert_int_equal(make ? mkdir(path, 0700) : rmdir(path), 0);
}

static struct rows_files_shared *shared;

static void open_files(void)
{
    shared = rows_files_shared_new(s.dir);
    rows = rows_files_new(shared);
}

static void close_files(void)
{
    rows_close(&rows);
    rows_files_shared_free(&shared);
}

static void files(void **state)
{
    (void)state;
    folder("passwd", true);
    folder("aliases", true);
    put("passwd/B.example", "# who\n\nAnna:$6$x:1000:more\r\nbert: {PLAIN}p\nanna:other\nno:!\n");
    put("aliases/b.example", "info:anna, bert,x@else.example\n*:anna\nsales@b.example: bert");
    put("aliases/a.example", "all:anna@b.example\n");
    put("passwd/c.example~", "x:y");
    open_files();
    assert_int_equal(rows_begin(rows, &s.err), 0);
    assert_true(hosted("a.example") && hosted("b.example"));
    assert_false(hosted("c.example"));
    assert_true(user("anna@b.example") && user("bert@b.example"));
    assert_false(user("info@b.example") || user("anna@a.example"));
    assert_string_equal(login("anna@b.example"), "$6$x 0");
    assert_string_equal(login("bert@b.example"), "{PLAIN}p 0");
    assert_string_equal(login("no@b.example"), "! 0");
    assert_string_equal(login("x@b.example"), "-");
    assert_string_equal(alias("info@b.example"), "anna@b.example,bert@b.example,x@else.example");
    assert_string_equal(alias("@b.example"), "anna@b.example");
    assert_string_equal(alias("sales@b.example"), "bert@b.example");
    assert_string_equal(alias("all@a.example"), "anna@b.example");
    assert_string_equal(first_domain(), "a.example ...");
    assert_string_equal(first_user("b.example"), "anna@b.example");
    assert_string_equal(first_user("a.example"), "");
    assert_false(rows_gaps(rows, STR("b.example")));
    rows_end(rows);
}

/* What was logged since the last call, and how often it has this word. */
static unsigned logged(int fd, const char *word)
{
    static char text[20000];
    unsigned found = 0;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    for (const char *p = text; (p = strstr(p, word)); p++)
        found++;
    return found;
}

/* Where nothing is known yet, what can be read counts; what isn't there may be in the bad lines. */
static void broken_at_the_start(void **state)
{
    FILE *log = tmpfile();
    int fd = fileno(log);
    struct rows *other;
    (void)state;
    log_set_fd(fd);
    folder("passwd", true);
    put("passwd/a.example", "anna:x\nbroken\nbert:x\n");
    put("passwd/b.example", "carl:x\n");
    open_files();
    other = rows_files_new(shared);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rows_begin(rows, &s.err), 0);
        assert_int_equal(rows_begin(other, &s.err), 0);
    }
    assert_true(user("anna@a.example") && user("bert@a.example") && user("carl@b.example"));
    assert_false(user("broken@a.example"));
    assert_true(rows_gaps(rows, STR("a.example")) && rows_gaps(other, STR("a.example")));
    assert_false(rows_gaps(rows, STR("b.example")));
    /* Each worker that is opened anew finds what the others know. */
    rows_close(&other);
    other = rows_files_new(shared);
    assert_int_equal(rows_begin(other, &s.err), 0);
    assert_int_equal(logged(fd, "a.example line 2"), 1);
    struct resolve_source src = rows_source(rows);
    const struct resolve_limits limits = {.depth = 10, .targets = 10};
    struct resolve_result r;
    assert_int_equal(resolve_address(&src, &limits, m, STR("anna@a.example"), &r, &s.err), 0);
    assert_int_equal(r.kind, DIRECTORY_LOCAL);
    assert_int_equal(resolve_address(&src, &limits, m, STR("x@b.example"), &r, &s.err), 0);
    assert_int_equal(r.kind, DIRECTORY_UNKNOWN);
    assert_int_equal(resolve_address(&src, &limits, m, STR("x@a.example"), &r, &s.err), -1);
    assert_int_equal(s.err.kind, ERR_TEMP);
    assert_int_equal(s.err.why, ERR_WHY_DAMAGED);
    rows_close(&other);
    log_set_fd(-1);
    fclose(log);
}

/* A look is due once a second: so long may a change take. */
static bool begins_with_user(const char *address, bool want)
{
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rows_begin(rows, &s.err), 0);
        if (user(address) == want)
            return true;
        usleep(20000);
    }
    return false;
}

static void changed_files(void **state)
{
    (void)state;
    folder("passwd", true);
    put("passwd/a.example", "anna:x\n");
    open_files();
    assert_true(begins_with_user("anna@a.example", true));
    put("passwd/a.example", "bert:x\n");
    assert_true(begins_with_user("bert@a.example", true));
    assert_false(user("anna@a.example"));
    put("passwd/a.example", "broken\n");
    put("passwd/b.example", "anna:x\n");
    usleep(1100000); /* it is looked at, and what was known stays */
    assert_true(begins_with_user("bert@a.example", true));
    assert_false(user("anna@b.example") || rows_gaps(rows, STR("a.example")));
    rows_close(&rows); /* also for a worker that begins anew */
    rows = rows_files_new(shared);
    assert_int_equal(rows_begin(rows, &s.err), 0);
    assert_true(user("bert@a.example"));
    put("passwd/a.example", "carl:x\n");
    assert_true(begins_with_user("anna@b.example", true));
    assert_true(user("carl@a.example"));
    char path[200], away[200];
    snprintf(path, sizeof path, "%s/passwd", s.dir);
    snprintf(away, sizeof away, "%s/away", s.dir);
    assert_int_equal(rename(path, away), 0);
    usleep(1100000);
    assert_true(begins_with_user("carl@a.example", true));
    assert_int_equal(rename(away, path), 0);
}

static void no_folder(void **state)
{
    (void)state;
    shared = rows_files_shared_new("/nonexistent/folder");
    rows = rows_files_new(shared);
    assert_int_equal(rows_begin(rows, &s.err), -1);
    assert_int_equal(s.err.kind, ERR_TEMP);
}

/* ---- the system */

static void the_system(void **state)
{
    const struct passwd *me = getpwuid(getuid());
    char address[200];
    (void)state;
    if (!me)
        skip();
    snprintf(address, sizeof address, "%s@host.example", me->pw_name);
    assert_int_equal(rows_system_new("Host.example", getuid(), getuid(), &rows, &s.err), 0);
    assert_true(hosted("host.example") && !hosted("b.example"));
    assert_true(user(address));
    assert_false(user("nobody-has-this-name@host.example") || user("root@b.example"));
    assert_string_equal(first_user("host.example"), address);
    assert_string_equal(first_domain(), "host.example");
    assert_string_equal(alias(address), "-");
    struct rows_login l;
    assert_int_equal(rows_login(rows, m, str_from(address), &l, &s.err), 0);
    assert_true(l.found && l.system);
    rows_close(&rows);
    assert_int_equal(rows_system_new("host.example", getuid() + 1u, getuid() + 2u, &rows, &s.err),
                     0);
    assert_false(user(address));
    rows_close(&rows);
    assert_int_equal(rows_system_new("not a domain", 0, 1, &rows, &s.err), -1);
}

static int setup(void **state)
{
    (void)state;
    scratch_init(&s);
    m = arena_new(0);
    rows = NULL;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {
        "passwd/B.example",  "passwd/a.example",  "passwd/b.example", "passwd/c.example~",
        "aliases/a.example", "aliases/b.example", "directory.db"};
    (void)state;
    close_files();
    arena_free(&m);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        drop(names[i]);
    char path[200];
    snprintf(path, sizeof path, "%s/passwd", s.dir);
    rmdir(path);
    snprintf(path, sizeof path, "%s/aliases", s.dir);
    rmdir(path);
    scratch_fini(&s);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(flurdy),      TEST(flurdy_variants),     TEST(no_such_tables), TEST(postfixadmin),
        TEST(own_queries), TEST(others_rows),         TEST(others_aliases), TEST(changing_a_hash),
        TEST(files),       TEST(broken_at_the_start), TEST(changed_files),  TEST(no_folder),
        TEST(the_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
