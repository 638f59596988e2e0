/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/expunge.h"

struct expunge {
    struct uid_range *set;
    size_t n_set;
    struct message_expunge op;
};

void expunge_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct expunge *e = ARENA_NEW(cmd->arena, struct expunge);
    struct imap_set set;
    cmd->data = e;
    if (!cmd->uid)
        return;
    if (imap_space(args) || imap_set(args, &set))
        imap_bad(cmd, "Invalid message set");
    else if (imap_view_resolve(cmd->view, cmd->arena, &set, true, &e->set, &e->n_set))
        imap_bad(cmd, "Invalid uid set");
}

struct store_op *expunge_write(struct imap_command *cmd)
{
    struct expunge *e = cmd->data;
    if (cmd->uid && e->n_set == 0) /* an empty set would mean all to the store */
        return NULL;
    message_expunge_init(&e->op, NULL);
    e->op.mailbox = cmd->view->mailbox;
    e->op.set = e->set;
    e->op.n_set = e->n_set;
    return &e->op.op;
}

void expunge_finish(struct imap_command *cmd)
{
    if (cmd->failed)
        imap_no_err(cmd, &cmd->err);
    else
        imap_ok(cmd, NULL, "Expunge completed.");
}
