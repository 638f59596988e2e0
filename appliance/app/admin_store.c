/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mailbox, account: the store's commands. */
#include "appliance/app/admin.h"
#include "appliance/base/mem.h"
#include "appliance/mail/address.h"
#include "appliance/store/account.h"
#include "appliance/store/mailbox.h"
#include "appliance/store/message.h"

struct reading {
    struct store_reader *r;
    struct arena *mem;
};

static int begin(struct admin_call *c, struct reading *s)
{
    s->mem = arena_new(0);
    if (store_reader_open(c->store, &s->r, &c->err) == 0)
        return 0;
    arena_free(&s->mem);
    return -1;
}

static int end(struct reading *s, int rc)
{
    store_reader_close(&s->r);
    arena_free(&s->mem);
    return rc;
}

static int find_account(struct admin_call *c, struct reading *s, struct account_info *out)
{
    struct buf folded;
    int rc;

    buf_init(&folded, 512);
    rc = address_fold(str_from(c->args[0]), &folded, &c->err);
    if (rc == 0)
        rc = account_find(s->r, s->mem, buf_str(&folded), out, &c->err);
    buf_fini(&folded);
    return rc;
}

static const char *special_name(enum mailbox_special special)
{
    static const char *const names[] = {"",        "\\Sent",    "\\Drafts", "\\Junk",
                                        "\\Trash", "\\Archive", "\\All",    "\\Flagged"};

    return names[special];
}

static json_t *mailbox_json(const struct account_info *a, const struct mailbox_info *m)
{
    return json_pack("{so so sI sI sI ss sI sI}", "account", admin_str(a->name), "mailbox",
                     admin_str(m->name), "messages", (json_int_t)m->messages, "unseen",
                     (json_int_t)m->unseen, "bytes", (json_int_t)m->bytes, "use",
                     special_name(m->special), "uidvalidity", (json_int_t)m->uidvalidity, "uidnext",
                     (json_int_t)m->uidnext);
}

static int each_mailbox(struct admin_call *c, struct reading *s, const struct account_info *a,
                        int (*fn)(struct admin_call *, struct reading *,
                                  const struct account_info *, const struct mailbox_info *))
{
    struct mailbox_info *boxes;
    size_t n;

    if (mailbox_list(s->r, s->mem, a->id, &boxes, &n, &c->err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (fn(c, s, a, &boxes[i]))
            return -1;
    return 0;
}

/* One account when an argument names it, else all. */
static int each_account(struct admin_call *c, struct reading *s,
                        int (*fn)(struct admin_call *, struct reading *,
                                  const struct account_info *, const struct mailbox_info *))
{
    struct account_info one, *all = &one;
    size_t n = 1;

    if (c->n_args ? find_account(c, s, &one) : account_list(s->r, s->mem, &all, &n, &c->err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (each_mailbox(c, s, &all[i], fn))
            return -1;
    return 0;
}

static int add_row(struct admin_call *c, struct reading *s, const struct account_info *a,
                   const struct mailbox_info *m)
{
    (void)s;
    json_array_append_new(c->result, mailbox_json(a, m));
    return 0;
}

static int cmd_list(struct admin_call *c)
{
    struct reading s;

    if (begin(c, &s))
        return -1;
    c->result = json_array();
    return end(&s, each_account(c, &s, add_row));
}

static int show_messages(struct admin_call *c, struct reading *s, const struct mailbox_info *m)
{
    struct message_query q = {.first = 1, .last = UINT32_MAX, .max = 1000};
    struct message_info *list;
    size_t n;

    do {
        if (message_range(s->r, s->mem, m->id, &q, &list, &n, &c->err))
            return -1;
        for (size_t i = 0; i < n; i++)
            json_array_append_new(
                c->result, json_pack("{sI sI sI ss ss ss so}", "uid", (json_int_t)list[i].uid,
                                     "size", (json_int_t)list[i].size, "received",
                                     (json_int_t)(list[i].internal_ms / 1000), "seen",
                                     list[i].flags & MESSAGE_SEEN ? "yes" : "no", "flagged",
                                     list[i].flags & MESSAGE_FLAGGED ? "yes" : "no", "deleted",
                                     list[i].flags & MESSAGE_DELETED ? "yes" : "no", "body",
                                     json_sprintf("%llu", (unsigned long long)list[i].body)));
        if (n)
            q.first = list[n - 1].uid + 1;
    } while (n == q.max && q.first);
    return 0;
}

static int cmd_show(struct admin_call *c)
{
    struct account_info a;
    struct mailbox_info m;
    struct reading s;
    int rc;

    if (begin(c, &s))
        return -1;
    c->result = json_array();
    rc = find_account(c, &s, &a);
    if (rc == 0 && c->n_args == 1)
        rc = each_mailbox(c, &s, &a, add_row);
    else if (rc == 0) {
        rc = mailbox_find(s.r, s.mem, a.id, str_from(c->args[1]), &m, &c->err);
        if (rc == 0)
            rc = show_messages(c, &s, &m);
    }
    return end(&s, rc);
}

static void on_problem(void *ctx, const char *text)
{
    struct admin_call *c = ctx;

    json_array_append_new(c->result, json_pack("{ss}", "problem", text));
}

static int check_one(struct admin_call *c, struct reading *s, const struct account_info *a,
                     const struct mailbox_info *m)
{
    (void)a;
    return mailbox_check(s->r, s->mem, m->id, on_problem, c, &c->err);
}

static int cmd_check(struct admin_call *c)
{
    struct reading s;
    int rc;

    if (begin(c, &s))
        return -1;
    c->result = json_array();
    rc = each_account(c, &s, check_one);
    if (rc == 0 && c->n_args == 0)
        rc = store_check(s.r, on_problem, c, &c->err);
    if (rc == 0 && json_array_size(c->result))
        rc = ERR(&c->err, ERR_PERM, "%zu problems", json_array_size(c->result));
    return end(&s, rc);
}

const struct admin_command admin_mailbox_commands[] = {
    {"mailbox", "list", "[ACCOUNT]", 0, 1, NULL, false, cmd_list,
     "List mailboxes and what they hold."},
    {"mailbox", "show", "ACCOUNT [MAILBOX]", 1, 2, NULL, false, cmd_show,
     "Show an account's mailboxes, or the messages of one."},
    {"mailbox", "check", "[ACCOUNT]", 0, 1, NULL, false, cmd_check,
     "Recount everything and compare; without ACCOUNT also bodies and their files. Exit 1: "
     "problems."},
    {.group = NULL}};

/* ---- account */
static json_t *account_json(const struct account_info *a)
{
    return json_pack("{so so sb sI sI sI sI}", "id",
                     json_sprintf("%llu", (unsigned long long)a->id), "account", admin_str(a->name),
                     "detached", a->detached, "messages", (json_int_t)a->used_messages, "bytes",
                     (json_int_t)a->used_bytes, "quota", (json_int_t)a->quota_bytes,
                     "quota_messages", (json_int_t)a->quota_messages);
}

static int accounts_list(struct admin_call *c)
{
    struct account_info *all;
    struct reading s;
    size_t n;
    int rc;

    if (begin(c, &s))
        return -1;
    rc = account_list(s.r, s.mem, &all, &n, &c->err);
    c->result = rc ? NULL : json_array();
    for (size_t i = 0; rc == 0 && i < n; i++)
        json_array_append_new(c->result, account_json(&all[i]));
    return end(&s, rc);
}

static int account_show(struct admin_call *c)
{
    struct account_info a;
    struct reading s;
    int rc;

    if (begin(c, &s))
        return -1;
    rc = find_account(c, &s, &a);
    c->result = rc ? NULL : account_json(&a);
    return end(&s, rc);
}

struct change {
    struct store_op op;
    uint64_t id;
    struct str name;
    bool more;
};

static int attach_run(struct store_op *op, struct store_tx *tx)
{
    struct change *ch = CONTAINER_OF(op, struct change, op);

    return account_attach_tx(tx, ch->id, ch->name, &op->err);
}

static int remove_run(struct store_op *op, struct store_tx *tx)
{
    struct change *ch = CONTAINER_OF(op, struct change, op);

    if (account_remove_tx(tx, ch->id, &ch->more, &op->err))
        return -1;
    return ch->more ? STORE_AGAIN : STORE_DONE;
}

static int submit(struct admin_call *c, struct change *ch)
{
    if (store_submit_wait(c->store, &ch->op) == 0 && !ch->op.failed)
        return 0;
    c->err = ch->op.err;
    return -1;
}

static int parse_id(struct admin_call *c, uint64_t *out)
{
    if (str_to_u64(str_from(c->args[0]), UINT64_MAX, out))
        return ERR(&c->err, ERR_PROTO, "'%s' is not an account id (posthouse account list)",
                   c->args[0]);
    return 0;
}

static int account_attach(struct admin_call *c)
{
    struct change ch = {.op = {.run = attach_run, .cls = STORE_INTERACTIVE}};
    struct buf folded;
    int rc;

    buf_init(&folded, 512);
    rc = parse_id(c, &ch.id);
    if (rc == 0)
        rc = address_fold(str_from(c->args[1]), &folded, &c->err);
    ch.name = buf_str(&folded);
    if (rc == 0)
        rc = submit(c, &ch);
    buf_fini(&folded);
    return rc;
}

static int account_remove(struct admin_call *c)
{
    struct change ch = {.op = {.run = remove_run, .cls = STORE_BULK}};

    if (!admin_option(c, "mail"))
        return ERR(&c->err, ERR_PROTO, "this deletes all mail of the account: say --mail");
    return parse_id(c, &ch.id) ? -1 : submit(c, &ch);
}

static const char *const account_remove_options[] = {"mail", NULL};
const struct admin_command admin_account_commands[] = {
    {"account", "list", "", 0, 0, NULL, false, accounts_list,
     "List the accounts of the store, those of removed users too (detached)."},
    {"account", "show", "ACCOUNT", 1, 1, NULL, false, account_show, "Show one account."},
    {"account", "attach", "ID ADDRESS", 2, 2, NULL, false, account_attach,
     "Give the mail of a detached account to an address that has none yet."},
    {"account", "remove", "ID", 1, 1, account_remove_options, false, account_remove,
     "Delete an account with all its mail (--mail)."},
    {.group = NULL}};
