/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/store_flags.h"
#include "appliance/base/mem.h"
#include "imap/pages.h"

enum { PAGE = 1000 };

/* What the client of a STORE .SILENT will take a message's flags to be. */
struct known {
    uint32_t uid;
    uint64_t flags;
};
struct store_cmd {
    struct uid_range *set;
    size_t n_set;
    bool silent;
    struct imap_pages pages;
    struct buf known; /* struct known, by uid */
    uint64_t bits;    /* the flags that had a meaning when `known` was read */
    uint64_t mask;    /* those of them that the command names */
    struct message_store_flags op;
};

static void store_fini(struct imap_command *cmd)
{
    struct store_cmd *s = cmd->data;
    imap_pages_fini(&s->pages);
    buf_fini(&s->known);
    buf_fini(&s->op.modified);
}

static bool parse_how(struct imap_cursor *c, struct store_cmd *s)
{
    s->op.how = imap_take(c, '+') == 0   ? MESSAGE_FLAGS_ADD
                : imap_take(c, '-') == 0 ? MESSAGE_FLAGS_REMOVE
                                         : MESSAGE_FLAGS_SET;
    s->silent = imap_word(c, "FLAGS.SILENT") == 0;
    return s->silent || imap_word(c, "FLAGS") == 0;
}

void store_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct store_cmd *s = ARENA_NEW(cmd->arena, struct store_cmd);
    struct imap_set set;
    struct str *keywords;
    message_store_flags_init(&s->op, NULL);
    if (imap_space(args) || imap_set(args, &set) || imap_space(args)) {
        imap_bad(cmd, "Invalid message set");
    } else if (!parse_how(args, s) || imap_space(args)) {
        imap_bad(cmd, "Unknown item");
    } else if (imap_flag_list(args, true, &s->op.flags, &keywords, &s->op.n_keywords)) {
        imap_bad(cmd, "Invalid flags");
    } else if (imap_view_resolve(cmd->view, cmd->arena, &set, cmd->uid, &s->set, &s->n_set)) {
        imap_bad(cmd, "No such message sequence number");
    } else {
        s->op.keywords = keywords;
        imap_pages_init(&s->pages, cmd->view->mailbox, s->set, s->n_set, PAGE, false);
        buf_init(&s->known, sizeof(struct known) * (cmd->view->n + 1));
        cmd->data = s;
        cmd->fini = store_fini;
        return;
    }
    buf_fini(&s->op.modified);
}

/* ---- .SILENT: the client isn't told what it did itself, but is told what others did (RFC
 * 3501 6.4.6). sync.h would report each message this command changes; it is hushed where the result
 * is what the client must expect. */

static uint64_t keyword_bits(const struct imap_view *v, const struct store_cmd *s, uint64_t *all)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < v->n_keywords; i++) {
        uint64_t bit = (uint64_t)1 << v->keywords[i].bit;
        *all |= bit;
        for (size_t k = 0; k < s->op.n_keywords; k++)
            if (str_ieq(v->keywords[i].name, s->op.keywords[k]))
                mask |= bit;
    }
    return mask;
}

enum imap_work store_work(struct imap_command *cmd, struct store_reader *r)
{
    struct store_cmd *s = cmd->data;
    const struct message_info *m;
    if (!s->silent)
        return IMAP_WORK_DONE;
    while (!imap_pages_at_edge(&s->pages) || !imap_work_time_up(cmd)) {
        if (imap_pages_next(&s->pages, r, &m, &cmd->err)) {
            cmd->failed = true;
            return IMAP_WORK_DONE;
        }
        if (!m)
            return IMAP_WORK_DONE;
        struct known k = {m->uid, m->flags};
        if (m->modseq <= cmd->view->modseq) /* else the client doesn't know its flags yet */
            buf_add(&s->known, &k, sizeof k);
    }
    return IMAP_WORK_MORE;
}

static const struct known *find_known(const struct store_cmd *s, uint32_t uid)
{
    const struct known *list = (const struct known *)(const void *)s->known.p;
    size_t low = 0, high = s->known.n / sizeof *list, n = high;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (list[mid].uid < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && list[low].uid == uid ? &list[low] : NULL;
}

static bool hush(const struct imap_command *cmd, const struct message_info *m)
{
    const struct store_cmd *s = cmd->data;
    const struct known *k = find_known(s, m->uid);
    if (!k)
        return false;
    uint64_t expected = s->op.how == MESSAGE_FLAGS_SET   ? s->mask
                        : s->op.how == MESSAGE_FLAGS_ADD ? k->flags | s->mask
                                                         : k->flags & ~s->mask;
    return ((expected ^ m->flags) & s->bits) == 0;
}

struct store_op *store_write(struct imap_command *cmd)
{
    struct store_cmd *s = cmd->data;
    if (s->n_set == 0) /* RFC 3501 6.4.8: uids that don't exist are no error */
        return NULL;
    s->bits = MESSAGE_SYSTEM_FLAGS;
    s->mask = s->op.flags | keyword_bits(cmd->view, s, &s->bits);
    s->op.mailbox = cmd->view->mailbox;
    s->op.set = s->set;
    s->op.n_set = s->n_set;
    s->op.unchanged_since = UINT64_MAX;
    return &s->op.op;
}

void store_finish(struct imap_command *cmd)
{
    struct store_cmd *s = cmd->data;
    if (cmd->failed) {
        imap_no_err(cmd, &cmd->err);
        return;
    }
    if (s->silent) {
        cmd->hush = hush;
    } else {
        cmd->echo = s->set;
        cmd->n_echo = s->n_set;
    }
    imap_ok(cmd, NULL, "Store completed.");
}
