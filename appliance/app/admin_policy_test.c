/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* policy test: which rule would decide, with aliases looked up as a server does at RCPT
 * (smtp/alias.c, filters/policy.c). */
#include "appliance/app/admin_policy.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/directory/directory_admin.h"
#include "filters/alias_rows.h"
#include "filters/client.h"

enum { ACCOUNTS_ROOM = 1000 };

struct testing {
    struct admin_call *c;
    struct arena *mem;
    struct policy_rule *rules;
    struct alias *aliases;
    size_t n_rules, n_aliases;
    const char **accounts; /* that the recipient leads to */
    size_t n;
    int64_t now;
};

static int read_rows(struct testing *t)
{
    struct store_reader *r;
    struct err *err = &t->c->err;

    if (store_reader_open(t->c->store, &r, err))
        return -1;
    struct sql *db = store_reader_sql(r);
    int rc = policy_rows_read(db, t->mem, t->now, &t->rules, &t->n_rules, err) ||
                     alias_rows_read(db, t->mem, &t->aliases, &t->n_aliases, err)
                 ? -1
                 : 0;
    store_reader_close(&r);
    return rc;
}

static void add_account(struct testing *t, struct str account)
{
    for (size_t i = 0; i < t->n; i++)
        if (str_eq(account, str_from(t->accounts[i])))
            return;
    if (t->n < ACCOUNTS_ROOM)
        t->accounts[t->n++] = arena_str(t->mem, account).p;
}

/* What can't be an address, or runs in a circle, leads nowhere. */
static int look_up(struct testing *t, struct str address)
{
    struct str *accounts;
    size_t n;

    if (!t->c->directory)
        return 0;
    if (directory_where(t->c->dir, t->c->directory, t->mem, address, &accounts, &n, &t->c->err))
        return t->c->err.kind == ERR_PERM ? 0 : -1;
    for (size_t i = 0; i < n; i++)
        add_account(t, accounts[i]);
    return 0;
}

static int expand(struct testing *t, const struct alias_set *rows, const struct alias_set *fixed)
{
    struct str rcpt = str_from(t->c->args[0]), *to;
    size_t n;

    switch (alias_set_expand(rows, fixed, t->mem, rcpt, &to, &n)) {
    case ALIAS_NONE:
        return look_up(t, rcpt);
    case ALIAS_FOUND:
        for (size_t i = 0; i < n; i++)
            if (look_up(t, to[i]))
                return -1;
        return 0;
    case ALIAS_CIRCLE:
    case ALIAS_TOO_MANY:
        break;
    }
    return ERR(&t->c->err, ERR_PERM,
               "the global aliases of this address lead in a circle, or to "
               "too many others: its mail is refused");
}

static int find_accounts(struct testing *t)
{
    struct alias_set *fixed = NULL;

    t->accounts = ARENA_ARRAY(t->mem, const char *, ACCOUNTS_ROOM);
    if (alias_set_parse(str_from(t->c->global_aliases), &fixed, &t->c->err))
        return -1;
    struct alias_set *rows = alias_set_new(t->aliases, t->n_aliases);
    int rc = expand(t, rows, fixed);
    alias_set_free(&rows);
    alias_set_free(&fixed);
    return rc;
}

/* Where it leads, unless that goes without saying. */
static void put_accounts(const struct testing *t)
{
    if (!t->n || (t->n == 1 && str_ieq(str_from(t->accounts[0]), str_from(t->c->args[0]))))
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < t->n; i++)
        json_array_append_new(list, admin_str(str_from(t->accounts[i])));
    json_object_set_new(t->c->result, "leads_to", list);
}

static int test(struct testing *t)
{
    struct admin_call *c = t->c;
    const char *sender = admin_option(c, "sender"), *ip = admin_option(c, "client");
    uint8_t parsed[16];

    if (ip && !client_parse(ip, parsed))
        return ERR(&c->err, ERR_PROTO, "--client: '%.100s' is no address of IP", ip);
    if (read_rows(t) || find_accounts(t))
        return -1;
    struct policy_set *set = policy_set_new(t->rules, t->n_rules);
    const struct policy_subject about = {
        .ip = ip,
        .sender = sender && strcmp(sender, "<>") == 0 ? STR("") : str_from(sender),
        .rcpt = str_from(c->args[0]),
        .helo = str_from(admin_option(c, "helo")),
        .now = t->now};
    const struct policy_rule *r = policy_set_find_for(set, &about, t->accounts, t->n);
    c->result = r ? policy_rule_json(r) : json_pack("{sn}", "action");
    put_accounts(t);
    policy_set_free(&set);
    return 0;
}

int policy_cmd_test(struct admin_call *c)
{
    struct testing t = {.c = c, .mem = arena_new(0), .now = clock_wall_ms() / 1000};
    int rc = test(&t);

    arena_free(&t.mem);
    return rc;
}
