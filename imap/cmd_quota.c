/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* QUOTA (RFC 9208): one root, named "", for all mailboxes of an account that has a limit; resources
 * STORAGE (KiB) and MESSAGE. */
#include "imap/cmd.h"
#include "imap/session.h"

struct quota {
    bool of_mailbox; /* GETQUOTAROOT */
    struct str name;
};

void getquota_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct quota *d = ARENA_NEW(cmd->arena, struct quota);
    cmd->data = d;
    if (imap_space(args) || imap_astring(args, &d->name))
        imap_bad(cmd, "Expected the name of a quota root");
    else if (d->name.n)
        imap_no(cmd, "NONEXISTENT", "There is one quota root, named \"\"");
}

void getquotaroot_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct quota *d = ARENA_NEW(cmd->arena, struct quota);
    cmd->data = d;
    d->of_mailbox = true;
    if (imap_space(args) || imap_mailbox(args, &d->name))
        imap_bad(cmd, "Expected a mailbox name");
}

void setquota_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    (void)args;
    imap_no(cmd, "NOPERM", "The administrator sets quotas");
}

/* Only resources that have a limit are listed, and a list must not be empty (RFC 9208 7,
 * quota-list): an account without limits has no root. */
static bool is_limited(const struct account_info *info)
{
    return info->quota_bytes || info->quota_messages;
}

static void put_quota(struct buf *b, const struct account_info *info)
{
    buf_add_z(b, "* QUOTA \"\" (");
    if (info->quota_bytes)
        buf_printf(b, "STORAGE %llu %llu", (unsigned long long)(info->used_bytes + 1023) / 1024,
                   (unsigned long long)info->quota_bytes / 1024);
    if (info->quota_messages)
        buf_printf(b, "%sMESSAGE %llu %llu", info->quota_bytes ? " " : "",
                   (unsigned long long)info->used_messages,
                   (unsigned long long)info->quota_messages);
    buf_add_z(b, ")\r\n");
}

enum imap_work quota_work(struct imap_command *cmd, struct store_reader *r)
{
    const struct imap_session *s = cmd->session;
    struct quota *d = cmd->data;
    struct account_info info;
    struct mailbox_info box;
    if (d->of_mailbox &&
        mailbox_find(r, cmd->arena, imap_session_account_id(s), d->name, &box, &cmd->err)) {
        cmd->failed = true;
    } else if (account_find(r, cmd->arena, str_from(imap_session_account(s)), &info, &cmd->err)) {
        cmd->failed = true;
    } else {
        bool limited = is_limited(&info);
        if (d->of_mailbox) {
            buf_add_z(&cmd->out, "* QUOTAROOT ");
            imap_put_mailbox(&cmd->out, d->name);
            buf_add_z(&cmd->out, limited ? " \"\"\r\n" : "\r\n");
        }
        if (limited)
            put_quota(&cmd->out, &info);
        else if (!d->of_mailbox)
            imap_no(cmd, "NONEXISTENT", "The account has no quota");
    }
    return IMAP_WORK_DONE;
}
