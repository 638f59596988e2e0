/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* domain: which mail is for us, and how much its users may store together. */
#include "appliance/app/admin_leads.h"
#include "appliance/base/mem.h"
#include "appliance/mail/address.h"
#include "appliance/store/account.h"

enum { FOLDED_MAX = 512 };

/* "@domain", folded; heap. NULL: no domain's name. */
static char *all_of(struct str domain)
{
    struct buf at, folded;
    struct err err;

    buf_init(&at, FOLDED_MAX);
    buf_init(&folded, FOLDED_MAX);
    buf_printf(&at, "@" STR_FMT, STR_ARG(domain));
    char *all = address_fold(buf_str(&at), &folded, &err) == 0 ? str_dup_z(buf_str(&folded)) : NULL;
    buf_fini(&folded);
    buf_fini(&at);
    return all;
}

/* With what its accounts may hold together, and what they do. */
static int domain_json(struct admin_call *c, struct store_reader *r,
                       const struct directory_domain *d, json_t **out)
{
    uint64_t quota, used;

    if (account_domain_quota(r, d->domain, &quota, &used, &c->err))
        return -1;
    *out = json_pack("{so sb sI sI sI}", "domain", admin_str(d->domain), "enabled", d->enabled,
                     "users", (json_int_t)d->users, "aliases", (json_int_t)d->aliases, "quota",
                     (json_int_t)quota);
    if (quota)
        json_object_set_new(*out, "used", json_integer((json_int_t)used));
    return 0;
}

static int domain_add(struct admin_call *c)
{
    struct admin_session s;

    return admin_begin(c, &s)
               ? -1
               : admin_end(&s, directory_domain_add(s.dir, admin_arg(c, 0), &c->err));
}

struct set_domain_quota {
    struct store_op op;
    struct str domain;
    uint64_t bytes;
};

static int set_domain_quota_run(struct store_op *op, struct store_tx *tx)
{
    struct set_domain_quota *q = CONTAINER_OF(op, struct set_domain_quota, op);

    return account_set_domain_quota_tx(tx, q->domain, q->bytes, &op->err);
}

static int set_quota(struct admin_call *c, struct str domain, uint64_t bytes)
{
    struct set_domain_quota q = {.op = {.run = set_domain_quota_run, .cls = STORE_INTERACTIVE},
                                 .domain = domain,
                                 .bytes = bytes};

    if (store_submit_wait(c->store, &q.op) == 0 && !q.op.failed)
        return 0;
    c->err = q.op.err;
    return -1;
}

static int domain_remove(struct admin_call *c)
{
    struct admin_session s;

    if (admin_begin(c, &s))
        return -1;
    char *all = all_of(admin_arg(c, 0));
    json_t *leads = all ? admin_leads_to(c, &s, str_from(all)) : NULL;
    int rc =
        directory_domain_remove(s.dir, admin_arg(c, 0), admin_option(c, "force") != NULL, &c->err);
    if (rc == 0)
        c->revoked = all;
    else
        mem_free(all);
    /* Who adds it again begins without a limit. */
    if (rc == 0)
        rc = set_quota(c, str_skip(str_from(c->revoked ? c->revoked : "@"), 1), 0);
    c->result = rc == 0 ? json_incref(leads) : NULL;
    json_decref(leads);
    return admin_end(&s, rc);
}

/* name.p NULL: all. */
static int put_domains(struct admin_call *c, struct admin_session *s, struct str name)
{
    struct directory_domain *list;
    struct store_reader *r;
    json_t *one;
    size_t n;
    int rc = directory_domain_list(s->dir, s->mem, &list, &n, &c->err);

    if (rc || store_reader_open(c->store, &r, &c->err))
        return -1;
    c->result = name.p ? NULL : json_array();
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (name.p && !str_ieq(list[i].domain, name))
            continue;
        rc = domain_json(c, r, &list[i], &one);
        if (rc == 0 && name.p)
            c->result = one;
        else if (rc == 0)
            json_array_append_new(c->result, one);
    }
    store_reader_close(&r);
    return rc;
}

static int domain_list(struct admin_call *c)
{
    struct admin_session s;

    return admin_begin(c, &s) ? -1 : admin_end(&s, put_domains(c, &s, STR_NULL));
}

static int domain_show(struct admin_call *c)
{
    struct admin_session s;

    if (admin_begin(c, &s))
        return -1;
    int rc = put_domains(c, &s, admin_arg(c, 0));
    if (rc == 0 && !c->result)
        rc = ERR_WHY(&c->err, ERR_PERM, ERR_WHY_NOT_FOUND, "no domain %s", c->args[0]);
    return admin_end(&s, rc);
}

static int domain_quota(struct admin_call *c)
{
    struct directory_domain *list;
    struct str domain = STR("");
    uint64_t bytes;
    struct admin_session s;
    size_t n;

    if (admin_size(c, c->args[1], &bytes) || admin_begin(c, &s))
        return -1;
    int rc = directory_domain_list(s.dir, s.mem, &list, &n, &c->err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (str_ieq(list[i].domain, admin_arg(c, 0)))
            domain = list[i].domain;
    if (rc == 0 && !domain.n)
        rc = ERR_WHY(&c->err, ERR_PERM, ERR_WHY_NOT_FOUND, "no domain %s", c->args[0]);
    return admin_end(&s, rc ? rc : set_quota(c, domain, bytes));
}

static const char *const domain_remove_options[] = {"force", NULL};
const struct admin_command admin_domain_commands[] = {
    {"domain", "add", "DOMAIN", 1, 1, NULL, false, domain_add, "Receive mail for a domain."},
    {"domain", "list", "", 0, 0, NULL, false, domain_list, "List the domains."},
    {"domain", "show", "DOMAIN", 1, 1, NULL, false, domain_show, "Show one domain."},
    {"domain", "quota", "DOMAIN SIZE", 2, 2, NULL, false, domain_quota,
     "Limit what all users of a domain together may store; 0: no limit."},
    {"domain", "remove", "DOMAIN", 1, 1, domain_remove_options, false, domain_remove,
     "Stop receiving for a domain; --force removes its users and aliases too, and ends their "
     "sessions. Their mail is kept."},
    {.group = NULL}};
