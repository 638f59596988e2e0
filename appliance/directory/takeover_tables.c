/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/directory/takeover_private.h"

/* ---- theirs */

static bool is_yes(struct str s)
{
    static const char *const no[] = {"0", "n", "no", "f", "false"};
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (str_ieq(str_trim(s), str_from(no[i])))
            return false;
    return s.p == NULL || str_trim(s).n > 0;
}

static void flag(struct str *v)
{
    if (v->p)
        *v = is_yes(*v) ? STR("1") : STR("0");
}

static bool shape_domain(struct arena *m, struct str *v, struct str mark, enum takeover_kind *kind)
{
    (void)m;
    (void)mark;
    (void)kind;
    flag(&v[2]);
    return true;
}

/* A clear password beside a hash is of no use to anybody but a thief. */
static bool shape_user(struct arena *m, struct str *v, struct str mark, enum takeover_kind *kind)
{
    (void)m;
    (void)mark;
    (void)kind;
    flag(&v[6]);
    flag(&v[7]);
    if (v[9].n)
        v[8] = STR("");
    return true;
}

static bool shape_alias(struct arena *m, struct str *v, struct str mark, enum takeover_kind *kind)
{
    (void)m;
    (void)mark;
    (void)kind;
    flag(&v[2]);
    return true;
}

/* Of each mailbox PostfixAdmin keeps an alias to itself; here an account implies its address. */
static bool shape_goto(struct arena *m, struct str *v, struct str mark, enum takeover_kind *kind)
{
    (void)m;
    (void)mark;
    (void)kind;
    flag(&v[2]);
    return !str_ieq(str_trim(v[0]), str_trim(v[1]));
}

static bool shape_pair(struct arena *m, struct str *v, struct str mark, enum takeover_kind *kind)
{
    (void)mark;
    (void)kind;
    flag(&v[2]);
    v[0] = arena_printf(m, "@" STR_FMT, STR_ARG(v[0]));
    v[1] = arena_printf(m, "@" STR_FMT, STR_ARG(v[1]));
    return true;
}

/* "ALL" stands for all domains of an administrator; a backup MX is another's domain. */
static bool shape_admin_domain(struct arena *m, struct str *v, struct str mark,
                               enum takeover_kind *kind)
{
    (void)m;
    flag(&v[2]);
    if (mark.p && is_yes(mark))
        *kind = TAKEOVER_BACKUP;
    if (str_eq(v[1], STR("virtual")) || !v[1].n)
        v[1] = *kind == TAKEOVER_BACKUP ? STR("") : STR("virtual:");
    return !str_eq(v[0], STR("ALL"));
}

/* Domains before what is in them; so they come in tables' own order of a server. */
const struct takeover_table takeover_tables[] = {
    {"domains", TAKEOVER_DOMAIN, {"domain", "transport", "enabled"}, NULL, shape_domain, false},
    {"users",
     TAKEOVER_USER,
     {"id", "name", "uid", "gid", "home", "maildir", "enabled", "change_password", "clear", "crypt",
      "quota"},
     NULL,
     shape_user,
     false},
    {"aliases", TAKEOVER_ALIAS, {"mail", "destination", "enabled"}, NULL, shape_alias, false},
    {"relocated", TAKEOVER_MOVED, {"oldadr", "newadr"}, NULL, NULL, false},
    {"backups", TAKEOVER_BACKUP, {"domain", "transport"}, NULL, NULL, false},
    {"relays", TAKEOVER_RELAY, {"recipient", "status"}, NULL, NULL, false},
    {"domain",
     TAKEOVER_DOMAIN,
     {"domain", "transport", "active"},
     "backupmx",
     shape_admin_domain,
     true},
    {"mailbox",
     TAKEOVER_USER,
     {"username", "name", NULL, NULL, NULL, "maildir", "active", NULL, NULL, "password", "quota"},
     NULL,
     shape_user,
     false},
    {"alias", TAKEOVER_ALIAS, {"address", "goto", "active"}, NULL, shape_goto, false},
    {"alias_domain",
     TAKEOVER_ALIAS,
     {"alias_domain", "target_domain", "active"},
     NULL,
     shape_pair,
     false},
};
const size_t takeover_n_tables = ARRAY_LEN(takeover_tables);

/* ---- ours. Read as text, whatever the column is: to be compared. */

// clang-format off
const struct takeover_own takeover_own[TAKEOVER_KINDS] = {
    [TAKEOVER_DOMAIN] = {"domains", 3, {"domain", "transport", "enabled"}, {NULL, "virtual:", "1"},
        "SELECT domain, transport, CAST(enabled AS CHAR) FROM domains WHERE domain = ?",
        "INSERT INTO domains (domain, transport, enabled) VALUES (?, ?, ?)",
        "UPDATE domains SET transport = ?, enabled = ? WHERE domain = ?"},
    [TAKEOVER_USER] = {"users", 11,
        {"id", "name", "uid", "gid", "home", "maildir", "enabled", "change_password", "clear", "crypt", "quota"},
        {NULL, "", "5000", "5000", "/var/spool/mail/virtual", "", "1", "1", "", "", ""},
        "SELECT id, name, CAST(uid AS CHAR), CAST(gid AS CHAR), home, maildir, CAST(enabled AS CHAR),"
        " CAST(change_password AS CHAR), clear, crypt, quota FROM users WHERE id = ?",
        "INSERT INTO users (id, name, uid, gid, home, maildir, enabled, change_password, clear, crypt, quota)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        "UPDATE users SET name = ?, uid = ?, gid = ?, home = ?, maildir = ?, enabled = ?, change_password = ?,"
        " clear = ?, crypt = ?, quota = ? WHERE id = ?"},
    [TAKEOVER_ALIAS] = {"aliases", 3, {"mail", "destination", "enabled"}, {NULL, "", "1"},
        "SELECT mail, destination, CAST(enabled AS CHAR) FROM aliases WHERE mail = ?",
        "INSERT INTO aliases (mail, destination, enabled) VALUES (?, ?, ?)",
        "UPDATE aliases SET destination = ?, enabled = ? WHERE mail = ?"},
    [TAKEOVER_MOVED] = {"relocated", 2, {"oldadr", "newadr"}, {NULL, ""},
        "SELECT oldadr, newadr FROM relocated WHERE oldadr = ?",
        "INSERT INTO relocated (oldadr, newadr) VALUES (?, ?)",
        "UPDATE relocated SET newadr = ? WHERE oldadr = ?"},
    [TAKEOVER_BACKUP] = {"backups", 2, {"domain", "transport"}, {NULL, ""},
        "SELECT domain, transport FROM backups WHERE domain = ?",
        "INSERT INTO backups (domain, transport) VALUES (?, ?)",
        "UPDATE backups SET transport = ? WHERE domain = ?"},
    [TAKEOVER_RELAY] = {"relays", 2, {"recipient", "status"}, {NULL, "OK"},
        "SELECT recipient, status FROM relays WHERE recipient = ?",
        "INSERT INTO relays (recipient, status) VALUES (?, ?)",
        "UPDATE relays SET status = ? WHERE recipient = ?"},
};
// clang-format on

const char *takeover_kind_name(enum takeover_kind k)
{
    static const char *const names[TAKEOVER_KINDS] = {
        [TAKEOVER_DOMAIN] = "domain", [TAKEOVER_USER] = "user",     [TAKEOVER_ALIAS] = "alias",
        [TAKEOVER_MOVED] = "moved",   [TAKEOVER_BACKUP] = "backup", [TAKEOVER_RELAY] = "relay"};
    return names[k];
}

const char *takeover_outcome_name(enum takeover_outcome o)
{
    static const char *const names[TAKEOVER_OUTCOMES] = {
        [TAKEOVER_ADDED] = "added",         [TAKEOVER_UPDATED] = "updated",
        [TAKEOVER_UNCHANGED] = "unchanged", [TAKEOVER_KEPT] = "left_alone",
        [TAKEOVER_REFUSED] = "refused",     [TAKEOVER_GONE] = "gone"};
    return names[o];
}
