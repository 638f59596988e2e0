/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* SELECT and EXAMINE: work reads the mailbox into a new view, in one snapshot; write takes \Recent;
 * finish shows it. CLOSE and UNSELECT. */
#include "imap/cmd.h"
#include "imap/session.h"

struct select {
    struct str name;
    bool read_only, found;
    struct mailbox_info info;
    uint32_t first_unseen; /* uid; 0: none */
    uint32_t recent_from;
    struct imap_view *view; /* until the session takes it */
    struct store_op op;
};

static void select_fini(struct imap_command *cmd)
{
    struct select *d = cmd->data;
    imap_view_free(&d->view);
}

static void begin(struct imap_command *cmd, struct imap_cursor *args, bool read_only)
{
    struct select *d = ARENA_NEW(cmd->arena, struct select);
    cmd->data = d;
    cmd->fini = select_fini;
    d->read_only = read_only;
    if (imap_space(args) || imap_mailbox(args, &d->name))
        imap_bad(cmd, "Expected a mailbox name");
}

void select_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    begin(cmd, args, false);
}

void examine_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    begin(cmd, args, true);
}

static int read_mailbox(struct imap_command *cmd, struct select *d, struct store_reader *r)
{
    struct imap_view *v = d->view;
    struct mailbox_keyword *k;
    size_t n;
    if (mailbox_find(r, cmd->arena, imap_session_account_id(cmd->session), d->name, &d->info,
                     &cmd->err) ||
        mailbox_keywords(r, cmd->arena, d->info.id, &k, &n, &cmd->err) ||
        message_uids(r, d->info.id, d->info.uidnext, &v->uids, &v->n, &cmd->err))
        return -1;
    v->cap = v->n;
    imap_view_set_keywords(v, k, n);
    return d->info.unseen ? message_first_unseen(r, d->info.id, &d->first_unseen, &cmd->err) : 0;
}

enum imap_work select_work(struct imap_command *cmd, struct store_reader *r)
{
    struct select *d = cmd->data;
    d->view = imap_view_new(d->name);
    d->found = read_mailbox(cmd, d, r) == 0;
    cmd->failed = !d->found;
    d->recent_from = d->info.recent_from;
    return IMAP_WORK_DONE;
}

static int take_recent(struct store_op *op, struct store_tx *tx)
{
    struct select *d = CONTAINER_OF(op, struct select, op);
    return mailbox_take_recent_tx(tx, d->info.id, &d->recent_from, &op->err) ? -1 : STORE_DONE;
}

struct store_op *select_write(struct imap_command *cmd)
{
    struct select *d = cmd->data;
    if (d->read_only || d->info.recent_from >= d->info.uidnext)
        return NULL;
    d->op.run = take_recent;
    d->op.cls = STORE_INTERACTIVE;
    return &d->op;
}

static void put_mailbox(struct imap_command *cmd, const struct select *d, const struct imap_view *v)
{
    struct buf *b = &cmd->out;
    imap_put_view_flags(b, v);
    buf_printf(b, "* %zu EXISTS\r\n* %zu RECENT\r\n", v->n, imap_view_recent(v));
    size_t unseen = d->first_unseen ? imap_view_seq(v, d->first_unseen) : 0;
    if (unseen)
        buf_printf(b, "* OK [UNSEEN %zu] First unseen\r\n", unseen);
    buf_printf(b, "* OK [UIDVALIDITY %u] UIDs valid\r\n", (unsigned)v->uidvalidity);
    buf_printf(b, "* OK [UIDNEXT %u] Predicted next UID\r\n", (unsigned)v->uidnext);
}

void select_finish(struct imap_command *cmd)
{
    struct select *d = cmd->data;
    struct imap_view *v = d->view;
    if (!d->found) /* the tagged line says why; without \Recent the mailbox can be used all the same
                    */
        return;
    v->mailbox = d->info.id;
    v->account = d->info.account;
    v->uidvalidity = d->info.uidvalidity;
    v->uidnext = d->info.uidnext;
    v->modseq = v->expunge_modseq = d->info.modseq;
    v->recent_from = d->recent_from;
    v->read_only = d->read_only;
    put_mailbox(cmd, d, v);
    d->view = NULL;
    imap_session_select(cmd->session, v);
    imap_ok(cmd, v->read_only ? "READ-ONLY" : "READ-WRITE",
            v->read_only ? "Examine completed" : "Select completed");
}

/* CLOSE expunges without a word (RFC 3501 6.4.2). */
struct close_mailbox {
    struct message_expunge expunge;
    uint64_t mailbox;
};

void close_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct close_mailbox *d = ARENA_NEW(cmd->arena, struct close_mailbox);
    (void)args;
    cmd->data = d;
    d->mailbox = cmd->view->read_only ? 0 : cmd->view->mailbox;
}

struct store_op *close_write(struct imap_command *cmd)
{
    struct close_mailbox *d = cmd->data;
    if (!d->mailbox)
        return NULL;
    message_expunge_init(&d->expunge, NULL);
    d->expunge.mailbox = d->mailbox;
    return &d->expunge.op;
}

void unselect_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    (void)cmd, (void)args; /* RFC 3691; IMAP_CLOSES does it */
}
