/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* schema.c - the tables of the store (DESIGN.md 4).
 * Nothing that changes and nothing that is listed shares a row with a blob: `message` and `body`
 * are scanned and updated, their rows are short; head, meta and data lie in tables of their own,
 * reached by id. */
#include "appliance/store/import.h"
#include "appliance/store/store_private.h"

static const char *const version_1[] = {
    "CREATE TABLE store_meta(name VARCHAR(64) NOT NULL PRIMARY KEY, value BIGINT NOT NULL)",
    "CREATE TABLE body(id %KEY%, size BIGINT NOT NULL, refs BIGINT NOT NULL, place SMALLINT NOT "
    "NULL, "
    "sha256 LONGBLOB NOT NULL, data_size BIGINT NOT NULL)",
    "CREATE TABLE body_meta(id %KEY%, meta LONGBLOB NOT NULL)",
    "CREATE TABLE body_head(id %KEY%, head LONGBLOB NOT NULL)",
    "CREATE TABLE body_data(id %KEY%, data LONGBLOB NOT NULL)",
    "CREATE TABLE body_dead(since BIGINT NOT NULL, id BIGINT NOT NULL, place SMALLINT NOT NULL, "
    "PRIMARY KEY(since, id)) %CLUSTERED%",
    /* detached: 0, or an id drawn at that time, so a name may be detached often */
    "CREATE TABLE account(id %KEY%, name VARCHAR(320) NOT NULL, detached BIGINT NOT NULL, "
    "quota_bytes BIGINT, quota_messages BIGINT, used_bytes BIGINT NOT NULL, "
    "used_messages BIGINT NOT NULL, uidvalidity_next BIGINT NOT NULL, UNIQUE(name, detached))",
    /* account 0: deleted, its rows are being removed; its name is then its id */
    "CREATE TABLE mailbox(id %KEY%, account BIGINT NOT NULL, name VARCHAR(1000) NOT NULL, "
    "uidvalidity BIGINT NOT NULL, uidnext BIGINT NOT NULL, modseq BIGINT NOT NULL, "
    "qresync_floor BIGINT NOT NULL, msgs BIGINT NOT NULL, bytes BIGINT NOT NULL, "
    "unseen BIGINT NOT NULL, recent_from BIGINT NOT NULL, special SMALLINT NOT NULL, "
    "stage_first BIGINT NOT NULL, UNIQUE(account, name))",
    "CREATE TABLE subscription(account BIGINT NOT NULL, name VARCHAR(1000) NOT NULL, "
    "PRIMARY KEY(account, name)) %CLUSTERED%",
    "CREATE TABLE keyword(mailbox BIGINT NOT NULL, bit SMALLINT NOT NULL, name VARCHAR(255) NOT "
    "NULL, "
    "PRIMARY KEY(mailbox, bit)) %CLUSTERED%",
    "CREATE TABLE message(mailbox BIGINT NOT NULL, uid BIGINT NOT NULL, modseq BIGINT NOT NULL, "
    "flags BIGINT NOT NULL, idate BIGINT NOT NULL, size BIGINT NOT NULL, body BIGINT NOT NULL, "
    "prefix LONGBLOB NOT NULL, PRIMARY KEY(mailbox, uid)) %CLUSTERED%",
    /* day: days since 1970, for pruning by age */
    "CREATE TABLE expunged(mailbox BIGINT NOT NULL, modseq BIGINT NOT NULL, uid BIGINT NOT NULL, "
    "day INTEGER NOT NULL, PRIMARY KEY(mailbox, modseq, uid)) %CLUSTERED%",
    /* A MOVE under way into `target`: what leaves `source` once the staged rows are published */
    "CREATE TABLE moving(target BIGINT NOT NULL, source BIGINT NOT NULL, uid BIGINT NOT NULL, "
    "PRIMARY KEY(target, source, uid)) %CLUSTERED%",
    NULL};

static const char *const version_2[] = {
    /* What filter stages decided about a transaction, as JSON (filters/keep.c); id: of its message,
       else of its session */
    "CREATE TABLE verdict(id %KEY%, detail LONGBLOB NOT NULL)",
    /* Each stage's own small table (filters/kv.c); until: wall ms, 0 for ever */
    "CREATE TABLE stage_kv(stage VARCHAR(31) NOT NULL, k VARBINARY(256) NOT NULL, v LONGBLOB NOT "
    "NULL, "
    "until BIGINT NOT NULL, PRIMARY KEY(stage, k)) %CLUSTERED%",
    NULL};

/* Who is banned, and from which networks an account has logged in (filters/guard_rows.c). Networks
 * as text; times in s, until 0: for ever. */
static const char *const guard_1[] = {
    "CREATE TABLE ban(net VARCHAR(50) NOT NULL PRIMARY KEY, since BIGINT NOT NULL, until BIGINT "
    "NOT "
    "NULL, times INTEGER NOT NULL, manual SMALLINT NOT NULL, reason VARCHAR(200) NOT NULL) "
    "%CLUSTERED%",
    "CREATE TABLE login_seen(net VARCHAR(50) NOT NULL, account VARCHAR(320) NOT NULL, last BIGINT "
    "NOT NULL, PRIMARY KEY(net, account)) %CLUSTERED%",
    NULL};
static const struct sql_migration guard_migrations[] = {{"bans and logins", guard_1}};

/* With what domains sign (filters/dkim_rows.c); times in s. */
static const char *const dkim_1[] = {
    "CREATE TABLE dkim_key(domain VARCHAR(255) NOT NULL, selector VARCHAR(255) NOT NULL, "
    "type SMALLINT NOT NULL, state SMALLINT NOT NULL, created BIGINT NOT NULL, "
    "since BIGINT NOT NULL, due BIGINT NOT NULL, record VARCHAR(4000) NOT NULL, "
    "pem LONGBLOB NOT NULL, PRIMARY KEY(domain, selector)) %CLUSTERED%",
    NULL};
static const struct sql_migration dkim_migrations[] = {{"keys of DKIM", dkim_1}};

/* MTA-STS policies (smtp/client/sts_rows.c; times: wall ms), and with what TLS mail left
 * (smtp/client/tls_results.c; day: days since 1970). */
static const char *const tls_1[] = {
    "CREATE TABLE sts_policy(domain VARCHAR(255) NOT NULL PRIMARY KEY, id VARCHAR(32) NOT NULL, "
    "fetched BIGINT NOT NULL, expires BIGINT NOT NULL, policy LONGBLOB NOT NULL) %CLUSTERED%",
    "CREATE TABLE tls_result(day INTEGER NOT NULL, domain VARCHAR(255) NOT NULL, mx VARCHAR(255) "
    "NOT NULL, kind SMALLINT NOT NULL, type SMALLINT NOT NULL, sessions BIGINT NOT NULL, "
    "policy LONGBLOB NOT NULL, PRIMARY KEY(day, domain, mx, kind, type)) %CLUSTERED%",
    NULL};
static const struct sql_migration tls_migrations[] = {{"TLS of mail that leaves", tls_1}};

/* What DMARC came to (filters/dmarc_results.c; day: days since 1970). digest: of the results. */
static const char *const dmarc_1[] = {
    "CREATE TABLE dmarc_result(day INTEGER NOT NULL, domain VARCHAR(255) NOT NULL, author "
    "VARCHAR(255) NOT NULL, ip VARCHAR(45) NOT NULL, digest BIGINT NOT NULL, disposition SMALLINT "
    "NOT NULL, spf SMALLINT NOT NULL, dkim SMALLINT NOT NULL, override SMALLINT NOT NULL, "
    "messages BIGINT NOT NULL, auth LONGBLOB NOT NULL, record LONGBLOB NOT NULL, "
    "PRIMARY KEY(day, domain, author, ip, digest)) %CLUSTERED%",
    NULL};
static const struct sql_migration dmarc_migrations[] = {{"results of DMARC", dmarc_1}};

/* Who is allowed and who denied (filters/policy_rows.c); times in s, expires 0: never. */
static const char *const policy_1[] = {
    "CREATE TABLE policy_rule(kind SMALLINT NOT NULL, scope VARCHAR(320) NOT NULL, value "
    "VARCHAR(320) NOT NULL, action SMALLINT NOT NULL, reason VARCHAR(200) NOT NULL, created BIGINT "
    "NOT NULL, expires BIGINT NOT NULL, PRIMARY KEY(kind, scope, value)) %CLUSTERED%",
    NULL};
/* Whose mail goes elsewhere (filters/alias_rows.c). targets: one a line. */
static const char *const policy_2[] = {
    "CREATE TABLE policy_alias(name VARCHAR(320) NOT NULL PRIMARY KEY, targets LONGBLOB NOT NULL, "
    "created BIGINT NOT NULL) %CLUSTERED%",
    NULL};
static const struct sql_migration policy_migrations[] = {{"allow and deny rules", policy_1},
                                                         {"global aliases", policy_2}};

static const char *const version_3[] = {
    /* Mail that is acknowledged and not in its mailboxes (queue.h). held: enum queue_held; times:
       wall ms */
    "CREATE TABLE queue(id %KEY%, body BIGINT NOT NULL, held SMALLINT NOT NULL, since BIGINT NOT "
    "NULL, "
    "until BIGINT NOT NULL, next_try BIGINT NOT NULL, sender VARBINARY(1024) NOT NULL, stage "
    "VARCHAR(512) NOT NULL, "
    "reason VARBINARY(1024) NOT NULL, info LONGBLOB NOT NULL)",
    "CREATE TABLE queue_rcpt(queue BIGINT NOT NULL, n INTEGER NOT NULL, account VARCHAR(320) NOT "
    "NULL, "
    "mailbox VARCHAR(1000) NOT NULL, prefix LONGBLOB NOT NULL, PRIMARY KEY(queue, n)) %CLUSTERED%",
    NULL};

static const char *const version_4[] = {
    /* Mail that leaves: what its recipients share, and they themselves. state: enum queue_state;
       sender NULL: the message's */
    "CREATE TABLE queue_out(queue %KEY%, flags INTEGER NOT NULL, ret SMALLINT NOT NULL, account "
    "VARCHAR(320) NOT NULL, envid VARBINARY(1024) NOT NULL, prefix LONGBLOB NOT NULL)",
    "CREATE TABLE queue_to(queue BIGINT NOT NULL, n INTEGER NOT NULL, state SMALLINT NOT NULL, "
    "site VARCHAR(320) NOT NULL, next_try BIGINT NOT NULL, expires BIGINT NOT NULL, "
    "tries INTEGER NOT NULL, forced SMALLINT NOT NULL, warned SMALLINT NOT NULL, "
    "notify SMALLINT NOT NULL, rcpt VARBINARY(1024) NOT NULL, sender VARBINARY(1024), "
    "orcpt VARBINARY(1024) NOT NULL, last VARCHAR(500) NOT NULL, PRIMARY KEY(queue, n)) "
    "%CLUSTERED%",
    "CREATE INDEX queue_to_due ON queue_to(state, site, next_try, queue, n)",
    /* What is held is found among much that leaves */
    "CREATE INDEX queue_held ON queue(held, id)", NULL};

static const char *const version_5[] = {
    /* Several processes on one database (node.h). until: wall ms of the database; reserved: no id
       from there on was given out; mark: of its last transaction */
    "CREATE TABLE node(n INTEGER NOT NULL PRIMARY KEY, owner BIGINT NOT NULL, until BIGINT NOT "
    "NULL, reserved BIGINT NOT NULL, mark BIGINT NOT NULL, name VARCHAR(96) NOT NULL)",
    /* Whose the stage in a mailbox is (copy.c). source: that a MOVE empties, 0: a COPY */
    "CREATE TABLE stage(mailbox BIGINT NOT NULL PRIMARY KEY, source BIGINT NOT NULL, "
    "owner BIGINT NOT NULL) %CLUSTERED%",
    /* Who tries to deliver it, who judges it; 0: nobody */
    "ALTER TABLE queue_to ADD COLUMN owner BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE queue ADD COLUMN owner BIGINT NOT NULL DEFAULT 0", NULL};

static const char *const version_6[] = {
    "ALTER TABLE account ADD COLUMN domain VARCHAR(255) NOT NULL DEFAULT ''",
    "UPDATE account SET domain = SUBSTR(name, INSTR(name, '@') + 1) WHERE INSTR(name, '@') > 0",
    "CREATE INDEX account_domain ON account(domain)",
    /* What all accounts of a domain may hold together */
    "CREATE TABLE domain_quota(domain VARCHAR(255) NOT NULL PRIMARY KEY, bytes BIGINT NOT NULL) "
    "%CLUSTERED%",
    NULL};

static const char *const version_7[] = {
    /* Rows that nodes keep in memory and one has written (news_log.c). seq: their numbers, without
       gaps; name: of the table; k: the row's key */
    "CREATE TABLE row_change(seq BIGINT NOT NULL PRIMARY KEY, owner BIGINT NOT NULL, name "
    "VARCHAR(63) NOT NULL, k VARBINARY(700) NOT NULL) %CLUSTERED%",
    NULL};

static const char *const version_8[] = {
    /* Whose held mail is, whoever has the name when it is released. 0: whoever has it then */
    "ALTER TABLE queue_rcpt ADD COLUMN account_id BIGINT NOT NULL DEFAULT 0",
    "UPDATE queue_rcpt SET account_id = COALESCE("
    "(SELECT MAX(a.id) FROM account a WHERE a.name = queue_rcpt.account AND a.id < "
    "queue_rcpt.queue AND (a.detached = 0 OR a.detached > queue_rcpt.queue)), 0)",
    NULL};

static const struct sql_migration migrations[] = {
    {"tables of the message store", version_1},
    {"verdicts of filters, tables of their stages", version_2},
    {"held mail", version_3},
    {"mail that leaves", version_4},
    {"several nodes", version_5},
    {"quotas of domains", version_6},
    {"rows that other nodes keep in memory", version_7},
    {"whose held mail is", version_8},
};

/* UIDVALIDITY values of all accounts start here; kept, so that the clock is never asked again
 * (DESIGN.md 4). */
static int ensure_uidvalidity(struct sql *db, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db, "SELECT value FROM store_meta WHERE name = 'uidvalidity'", &st, err) != 0)
        return -1;
    rc = sql_step(st, err);
    sql_reset(st);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (sql_prepare(db, "INSERT INTO store_meta(name, value) VALUES ('uidvalidity', ?)", &st,
                    err) != 0)
        return -1;
    sql_bind_int(st, 1, clock_wall_ms() / 1000);
    return sql_run(st, err);
}

static const struct {
    const char *name;
    const struct sql_migration *list;
    unsigned n;
} schemas[] = {{"store", migrations, ARRAY_LEN(migrations)},
               {"guard", guard_migrations, ARRAY_LEN(guard_migrations)},
               {"tls", tls_migrations, ARRAY_LEN(tls_migrations)},
               {"dkim", dkim_migrations, ARRAY_LEN(dkim_migrations)},
               {"dmarc", dmarc_migrations, ARRAY_LEN(dmarc_migrations)},
               {"policy", policy_migrations, ARRAY_LEN(policy_migrations)}};

int schema_open(struct sql *db, bool as_is, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        if ((as_is ? sql_check_schema(db, schemas[i].name, schemas[i].n, err)
                   : sql_migrate(db, schemas[i].name, schemas[i].list, schemas[i].n, err)) != 0)
            return -1;
    }
    if (import_schema(db, as_is, err) != 0)
        return -1;
    return as_is ? 0 : ensure_uidvalidity(db, err);
}
