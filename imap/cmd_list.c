/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* LIST and LSUB (RFC 3501 6.3.8, 6.3.9), with the attributes of RFC 3348 (children) and RFC 6154
 * (special use), and as much of RFC 5258's syntax as RFC 6154 needs: (SPECIAL-USE) and
 * (SUBSCRIBED), several patterns, RETURN. */
#include "appliance/base/text.h"
#include "imap/cmd.h"
#include "imap/list_match.h"
#include "imap/list_names.h"
#include "imap/session.h"

enum { PATTERNS_MAX = 32, PATTERN_MAX = 4096 };

struct list_command {
    bool lsub;
    bool only_special, only_subscribed; /* selection */
    bool return_subscribed;
    struct str patterns[PATTERNS_MAX];
    size_t n_patterns;
    bool root; /* an empty pattern asks for the delimiter */
    struct imap_name *names;
    size_t n, at;
};

/* The pattern as matched: reference and pattern together, in UTF-8, runs of wildcards made one.
 * False: matches nothing. */
static bool add_pattern(struct imap_command *cmd, struct str reference, struct str pattern)
{
    struct list_command *d = cmd->data;
    struct buf coded, plain;
    buf_init(&coded, PATTERN_MAX);
    buf_init(&plain, PATTERN_MAX * 2);
    buf_add_str(&coded, reference);
    for (size_t i = 0; i < pattern.n; i++) {
        bool wild = pattern.p[i] == '*' || pattern.p[i] == '%';
        char last = coded.n ? coded.p[coded.n - 1] : 0;
        if (wild && (last == '*' || (last == '%' && pattern.p[i] == '%')))
            continue;
        if (pattern.p[i] == '*' && last == '%')
            coded.n--;
        buf_add_char(&coded, pattern.p[i]);
    }
    bool good = buf_ok(&coded) && text_utf7_decode(buf_str(&coded), &plain) == 0;
    if (good)
        d->patterns[d->n_patterns++] = arena_str(cmd->arena, buf_str(&plain));
    buf_fini(&coded);
    buf_fini(&plain);
    return good;
}

static int parse_patterns(struct imap_command *cmd, struct imap_cursor *args)
{
    struct list_command *d = cmd->data;
    struct str reference, pattern;
    if (imap_astring(args, &reference) || imap_space(args))
        return -1;
    bool parens = !d->lsub && imap_take(args, '(') == 0;
    for (size_t n = 0;; n++) {
        if (n == PATTERNS_MAX || (n && imap_space(args)) || imap_list_mailbox(args, &pattern))
            return -1;
        if (pattern.n == 0)
            d->root = true;
        else
            add_pattern(cmd, reference, pattern);
        if (!parens || imap_take(args, ')') == 0)
            return 0;
    }
}

static int parse_selection(struct list_command *d, struct imap_cursor *args)
{
    if (imap_take(args, '('))
        return 0;
    for (size_t n = 0; imap_take(args, ')'); n++) {
        if (n && imap_space(args))
            return -1;
        if (imap_word(args, "SPECIAL-USE") == 0)
            d->only_special = true;
        else if (imap_word(args, "SUBSCRIBED") == 0)
            d->only_subscribed = d->return_subscribed = true;
        else if (imap_word(args, "REMOTE")) /* there are none */
            return -1;
    }
    return imap_space(args);
}

static int parse_return(struct list_command *d, struct imap_cursor *args)
{
    if (imap_at_end(args))
        return 0;
    if (imap_space(args) || imap_word(args, "RETURN") || imap_space(args) || imap_take(args, '('))
        return -1;
    for (size_t n = 0; imap_take(args, ')'); n++) {
        if (n && imap_space(args))
            return -1;
        if (imap_word(args, "SUBSCRIBED") == 0)
            d->return_subscribed = true;
        else if (imap_word(args, "SPECIAL-USE") &&
                 imap_word(args, "CHILDREN")) /* these always come */
            return -1;
    }
    return 0;
}

static void parse(struct imap_command *cmd, struct imap_cursor *args, bool lsub)
{
    struct list_command *d = ARENA_NEW(cmd->arena, struct list_command);
    cmd->data = d;
    d->lsub = lsub;
    if (imap_space(args) || (!lsub && parse_selection(d, args)) || parse_patterns(cmd, args) ||
        (!lsub && parse_return(d, args)))
        imap_bad(cmd, "Expected a reference and a mailbox name or pattern");
}

void list_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    parse(cmd, args, false);
}

void lsub_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    parse(cmd, args, true);
}

static const char *const special_names[] = {
    [MAILBOX_SENT] = "\\Sent",       [MAILBOX_DRAFTS] = "\\Drafts",   [MAILBOX_JUNK] = "\\Junk",
    [MAILBOX_TRASH] = "\\Trash",     [MAILBOX_ARCHIVE] = "\\Archive", [MAILBOX_ALL] = "\\All",
    [MAILBOX_FLAGGED] = "\\Flagged",
};

static void put_name(struct imap_command *cmd, const struct imap_name *e)
{
    const struct list_command *d = cmd->data;
    struct buf *b = &cmd->out;
    buf_printf(b, "* %s (", d->lsub ? "LSUB" : "LIST");
    if (d->lsub && !e->subscribed) /* RFC 3501 6.3.9: not itself, but something below it */
        buf_add_z(b, "\\Noselect ");
    else if (!e->exists)
        buf_add_z(b, "\\NonExistent \\Noselect ");
    buf_add_z(b, e->children ? "\\HasChildren" : "\\HasNoChildren");
    if (e->exists && e->special)
        buf_printf(b, " %s", special_names[e->special]);
    if (d->return_subscribed && e->subscribed)
        buf_add_z(b, " \\Subscribed");
    buf_add_z(b, ") \"/\" ");
    imap_put_mailbox(b, e->name);
    buf_add_z(b, "\r\n");
}

static bool selected(const struct list_command *d, const struct imap_name *e)
{
    if (d->lsub)
        return e->subscribed || e->subscribed_children;
    if (d->only_special && !(e->exists && e->special))
        return false;
    if (d->only_subscribed)
        return e->subscribed;
    return e->exists || e->children;
}

/* "%" of LSUB shows a name that isn't subscribed only when "%" hides what is subscribed below it.
 */
static bool matches(const struct list_command *d, const struct imap_name *e)
{
    for (size_t i = 0; i < d->n_patterns; i++) {
        size_t at;
        if (d->lsub && !e->subscribed && !str_chr(d->patterns[i], '%', &at))
            continue;
        if (imap_list_match(d->patterns[i], e->name))
            return true;
    }
    return false;
}

enum imap_work list_work(struct imap_command *cmd, struct store_reader *r)
{
    struct list_command *d = cmd->data;
    if (!d->names && d->n_patterns &&
        imap_names_read(r, cmd->arena, imap_session_account_id(cmd->session), &d->names, &d->n,
                        &cmd->err)) {
        cmd->failed = true;
        return IMAP_WORK_DONE;
    }
    if (d->root)
        buf_printf(&cmd->out, "* %s (\\Noselect) \"/\" \"\"\r\n", d->lsub ? "LSUB" : "LIST");
    d->root = false;
    while (d->at < d->n) {
        if (cmd->out.n >= IMAP_OUT_SOFT || imap_work_time_up(cmd))
            return IMAP_WORK_MORE;
        const struct imap_name *e = &d->names[d->at++];
        if (selected(d, e) && matches(d, e))
            put_name(cmd, e);
    }
    return IMAP_WORK_DONE;
}
