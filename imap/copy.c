/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/copy.h"
#include "appliance/base/mem.h"

struct copy {
    struct str name;
    struct uid_range *set;
    size_t n_set;
    struct message_copy op;
};

static void copy_fini(struct imap_command *cmd)
{
    struct copy *c = cmd->data;
    buf_fini(&c->op.uids);
}

static void parse(struct imap_command *cmd, struct imap_cursor *args, bool move)
{
    struct copy *c = ARENA_NEW(cmd->arena, struct copy);
    struct imap_set set;
    if (imap_space(args) || imap_set(args, &set) || imap_space(args)) {
        imap_bad(cmd, "Invalid message set");
    } else if (imap_mailbox(args, &c->name)) {
        imap_bad(cmd, "Invalid mailbox name");
    } else if (imap_view_resolve(cmd->view, cmd->arena, &set, cmd->uid, &c->set, &c->n_set)) {
        imap_bad(cmd, "No such message sequence number");
    } else {
        message_copy_init(&c->op, NULL);
        c->op.move = move;
        cmd->data = c;
        cmd->fini = copy_fini;
    }
}

void copy_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    parse(cmd, args, false);
}

void move_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    parse(cmd, args, true);
}

enum imap_work copy_work(struct imap_command *cmd, struct store_reader *r)
{
    struct copy *c = cmd->data;
    struct mailbox_info to;
    if (mailbox_find(r, cmd->arena, cmd->view->account, c->name, &to, &cmd->err))
        cmd->failed = true;
    else
        c->op.to = to.id;
    return IMAP_WORK_DONE;
}

struct store_op *copy_write(struct imap_command *cmd)
{
    struct copy *c = cmd->data;
    if (c->n_set == 0)
        return NULL;
    c->op.from = cmd->view->mailbox;
    c->op.set = c->set;
    c->op.n_set = c->n_set;
    return &c->op.op;
}

/* ---- COPYUID. */

/* One column of the pairs as a set. It is in the order of the pairs, so that the two sets match
 * (RFC 4315 3); both columns ascend. */
static void put_uids(struct buf *b, const uint32_t *column, size_t n)
{
    for (size_t i = 0, last; i < n; i = last + 1) {
        for (last = i; last + 1 < n && column[2 * (last + 1)] == column[2 * last] + 1; last++) {
        }
        buf_printf(b, i ? ",%u" : "%u", column[2 * i]);
        if (last > i)
            buf_printf(b, ":%u", column[2 * last]);
    }
}

void copy_put_copyuid(struct buf *b, uint32_t uidvalidity, const uint32_t *pairs, size_t n)
{
    buf_printf(b, "COPYUID %u ", uidvalidity);
    put_uids(b, pairs, n);
    buf_add_char(b, ' ');
    put_uids(b, pairs + 1, n);
}

static void finish_ok(struct imap_command *cmd, struct copy *c)
{
    const char *done = c->op.move ? "Move completed." : "Copy completed.";
    size_t n = c->op.uids.n / (2 * sizeof(uint32_t));
    if (n == 0) { /* nothing named exists (any more) */
        imap_ok(cmd, NULL, done);
        return;
    }
    struct buf code;
    buf_init(&code, 64 + n * 24);
    copy_put_copyuid(&code, c->op.uidvalidity, (const uint32_t *)(const void *)c->op.uids.p, n);
    if (c->op.move) { /* RFC 6851 4.3: before the expunges */
        buf_add_z(&cmd->out, "* OK [");
        buf_add_str(&cmd->out, buf_str(&code));
        buf_add_z(&cmd->out, "] Moved.\r\n");
        imap_ok(cmd, NULL, done);
    } else {
        imap_ok(cmd, buf_z(&code), done);
    }
    buf_fini(&code);
}

void copy_finish(struct imap_command *cmd)
{
    struct copy *c = cmd->data;
    if (!cmd->failed)
        finish_ok(cmd, c);
    else if (cmd->err.why == ERR_WHY_NOT_FOUND) /* RFC 3501 6.4.7 */
        imap_no(cmd, "TRYCREATE", "No such mailbox.");
    else
        imap_no_err(cmd, &cmd->err);
}
