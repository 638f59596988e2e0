/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* STATUS (RFC 3501 6.3.10). Everything is in the mailbox's row but RECENT, which is counted. */
#include "imap/cmd.h"
#include "imap/session.h"

enum {
    STATUS_MESSAGES,
    STATUS_RECENT,
    STATUS_UIDNEXT,
    STATUS_UIDVALIDITY,
    STATUS_UNSEEN,
    STATUS_ITEMS
};
enum { PAGE = 2000 };
static const char *const item_names[STATUS_ITEMS] = {"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY",
                                                     "UNSEEN"};

struct status {
    struct str name;
    bool wanted[STATUS_ITEMS];
    struct mailbox_info info;
    bool found;
    uint32_t next; /* RECENT: counted up to here */
    uint64_t recent;
};

static int parse_items(struct status *d, struct imap_cursor *args)
{
    if (imap_space(args) || imap_take(args, '('))
        return -1;
    do {
        int i = 0;
        while (i < STATUS_ITEMS && imap_word(args, item_names[i]))
            i++;
        if (i == STATUS_ITEMS)
            return -1;
        d->wanted[i] = true;
    } while (imap_space(args) == 0);
    return imap_take(args, ')');
}

void status_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct status *d = ARENA_NEW(cmd->arena, struct status);
    cmd->data = d;
    if (imap_space(args) || imap_mailbox(args, &d->name))
        imap_bad(cmd, "Expected a mailbox name");
    else if (parse_items(d, args))
        imap_bad(cmd, "Expected a list of MESSAGES, RECENT, UIDNEXT, UIDVALIDITY, UNSEEN");
}

/* False: not through yet, or failed. */
static bool count_recent(struct imap_command *cmd, struct status *d, struct store_reader *r)
{
    struct arena *a = arena_new(0);
    bool through = false;
    while (!through && !cmd->failed && !imap_work_time_up(cmd)) {
        struct message_info *m;
        size_t n = 0;
        struct message_query q = {.first = d->next, .last = d->info.uidnext - 1, .max = PAGE};
        if (d->next < d->info.uidnext)
            cmd->failed = message_range(r, a, d->info.id, &q, &m, &n, &cmd->err) != 0;
        d->recent += n;
        through = n < PAGE;
        if (!through)
            d->next = m[n - 1].uid + 1;
        arena_clear(a);
    }
    arena_free(&a);
    return through && !cmd->failed;
}

static void put_status(struct imap_command *cmd, const struct status *d)
{
    const uint64_t values[STATUS_ITEMS] = {d->info.messages, d->recent, d->info.uidnext,
                                           d->info.uidvalidity, d->info.unseen};
    struct buf *b = &cmd->out;
    bool first = true;
    buf_add_z(b, "* STATUS ");
    imap_put_mailbox(b, d->name);
    buf_add_z(b, " (");
    for (int i = 0; i < STATUS_ITEMS; i++) {
        if (!d->wanted[i])
            continue;
        buf_printf(b, "%s%s %llu", first ? "" : " ", item_names[i], (unsigned long long)values[i]);
        first = false;
    }
    buf_add_z(b, ")\r\n");
}

enum imap_work status_work(struct imap_command *cmd, struct store_reader *r)
{
    struct status *d = cmd->data;
    if (!d->found) {
        if (mailbox_find(r, cmd->arena, imap_session_account_id(cmd->session), d->name, &d->info,
                         &cmd->err)) {
            cmd->failed = true;
            return IMAP_WORK_DONE;
        }
        d->found = true;
        d->next = d->info.recent_from ? d->info.recent_from : 1;
    }
    if (d->wanted[STATUS_RECENT] && !count_recent(cmd, d, r))
        return cmd->failed ? IMAP_WORK_DONE : IMAP_WORK_MORE;
    put_status(cmd, d);
    return IMAP_WORK_DONE;
}
