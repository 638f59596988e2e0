/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7): names in, one operation
 * each. */
#include "imap/cmd.h"
#include "imap/session.h"

struct mailbox_command {
    int (*act)(struct mailbox_command *m, struct store_tx *tx, struct err *err);
    struct str name, to;
    enum mailbox_special special;
    bool more;
    uint64_t account, id;
    struct store_op op;
};

static struct mailbox_command *begin(struct imap_command *cmd, struct imap_cursor *args,
                                     int (*act)(struct mailbox_command *, struct store_tx *,
                                                struct err *))
{
    struct mailbox_command *m = ARENA_NEW(cmd->arena, struct mailbox_command);
    cmd->data = m;
    m->act = act;
    m->account = imap_session_account_id(cmd->session);
    if (imap_space(args) || imap_mailbox(args, &m->name))
        imap_bad(cmd, "Expected a mailbox name");
    return m;
}

/* RFC 3501 6.3.3: a delimiter at the end says that names will be made below; it isn't part of the
 * name. */
static struct str without_delimiter(struct str name)
{
    return str_ends(name, STR("/")) ? str_take(name, name.n - 1) : name;
}

static int act_create(struct mailbox_command *m, struct store_tx *tx, struct err *err)
{
    return mailbox_create_tx(tx, m->account, m->name, m->special, &m->id, err);
}

static int act_delete(struct mailbox_command *m, struct store_tx *tx, struct err *err)
{
    if (!m->id && mailbox_find_tx(tx, m->account, m->name, &m->id, err))
        return -1;
    return mailbox_delete_tx(tx, m->account, m->name, &m->more, err);
}

static int act_rename(struct mailbox_command *m, struct store_tx *tx, struct err *err)
{
    return mailbox_rename_tx(tx, m->account, m->name, m->to, err);
}

static int act_subscribe(struct mailbox_command *m, struct store_tx *tx, struct err *err)
{
    return mailbox_subscribe_tx(tx, m->account, m->name, true, err);
}

static int act_unsubscribe(struct mailbox_command *m, struct store_tx *tx, struct err *err)
{
    return mailbox_subscribe_tx(tx, m->account, m->name, false, err);
}

/* RFC 6154 3: CREATE name (USE (\Archive)). -1: malformed; *known_out: it is a use that a mailbox
 * can have. */
static int parse_use(struct imap_cursor *args, enum mailbox_special *out, bool *known_out)
{
    static const struct {
        const char *name;
        enum mailbox_special special;
    } uses[] = {
        {"Sent", MAILBOX_SENT},   {"Drafts", MAILBOX_DRAFTS},   {"Junk", MAILBOX_JUNK},
        {"Trash", MAILBOX_TRASH}, {"Archive", MAILBOX_ARCHIVE},
    };
    struct str name;
    size_t n = 0;
    if (imap_space(args) || imap_take(args, '(') || imap_word(args, "USE") || imap_space(args) ||
        imap_take(args, '('))
        return -1;
    for (; imap_take(args, ')'); n++) {
        if ((n && imap_space(args)) || imap_take(args, '\\') || imap_atom(args, &name))
            return -1;
        for (size_t i = 0; i < ARRAY_LEN(uses); i++)
            if (str_ieq(name, str_from(uses[i].name)))
                *out = uses[i].special;
    }
    *known_out = n == 0 || (n == 1 && *out != MAILBOX_NORMAL);
    return imap_take(args, ')');
}

void create_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct mailbox_command *m = begin(cmd, args, act_create);
    bool known = true;
    m->name = without_delimiter(m->name);
    if (cmd->ended || imap_at_end(args))
        return;
    if (parse_use(args, &m->special, &known))
        imap_bad(cmd, "Expected nothing more, or (USE (...))");
    else if (!known)
        imap_no(cmd, "USEATTR",
                "Only one of \\Archive, \\Drafts, \\Junk, \\Sent and \\Trash can be the use of a "
                "mailbox");
}

void delete_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    begin(cmd, args, act_delete);
}

void rename_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct mailbox_command *m = begin(cmd, args, act_rename);
    if (!cmd->ended && (imap_space(args) || imap_mailbox(args, &m->to)))
        imap_bad(cmd, "Expected the new name");
    m->name = without_delimiter(m->name);
    m->to = without_delimiter(m->to);
}

void subscribe_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    begin(cmd, args, act_subscribe);
}

void unsubscribe_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    begin(cmd, args, act_unsubscribe);
}

static int run(struct store_op *op, struct store_tx *tx)
{
    struct mailbox_command *m = CONTAINER_OF(op, struct mailbox_command, op);
    m->more = false;
    if (m->act(m, tx, &op->err))
        return -1;
    return m->more ? STORE_AGAIN : STORE_DONE;
}

struct store_op *mailbox_write(struct imap_command *cmd)
{
    struct mailbox_command *m = cmd->data;
    m->op.run = run;
    m->op.cls = STORE_INTERACTIVE;
    return &m->op;
}

/* A client that deletes the mailbox it has selected is left without one; other sessions get a BYE
 * (sync). */
void mailbox_finish(struct imap_command *cmd)
{
    struct mailbox_command *m = cmd->data;
    if (!cmd->failed && m->act == act_delete && cmd->view && cmd->view->mailbox == m->id)
        imap_session_deselect(cmd->session);
}
