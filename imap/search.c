/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/search.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "imap/pages.h"
#include "imap/search_body.h"
#include "imap/session.h"

enum {
    PAGE = 1000,
    LOOK_AT_CLOCK = 64 /* cheap messages between two looks at the clock */
};

struct search {
    struct search_program program;
    struct uid_range bounds; /* the uids that can match */
    bool none;
    struct imap_pages pages;
    size_t view_at; /* instead of pages, when no rows are needed */
    unsigned cheap;
    /* The message at hand, when its text is being looked through. */
    bool scanning;
    uint64_t body_id;
    struct search_message m;
    struct arena *arena;
    struct body_reader body;
    struct search_scan scan;
    /* Then the answer. */
    struct buf found; /* numbers for the client, as uint32_t */
    bool found_all, begun;
    size_t written;
};

static void search_fini(struct imap_command *cmd)
{
    struct search *s = cmd->data;
    imap_pages_fini(&s->pages);
    search_scan_fini(&s->scan);
    arena_free(&s->arena);
    buf_fini(&s->found);
}

/* The part of the mailbox that is to be looked at. */
static void set_bounds(struct search *s, const struct imap_view *v)
{
    if (v->n == 0) {
        s->none = true;
        return;
    }
    s->bounds = (struct uid_range){v->uids[0], v->uids[v->n - 1]};
    s->none = !search_program_bounds(&s->program, &s->bounds.first, &s->bounds.last);
}

void search_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct search *s = ARENA_NEW(cmd->arena, struct search);
    const char *why;
    if (imap_space(args)) {
        imap_bad(cmd, "Search keys are missing");
        return;
    }
    enum search_refusal refusal = search_program_parse(args, cmd->view, &s->program, &why);
    if (refusal == SEARCH_BADCHARSET) {
        imap_no(cmd, "BADCHARSET (US-ASCII UTF-8)", why);
        return;
    }
    if (refusal != SEARCH_FINE) {
        imap_bad(cmd, why);
        return;
    }
    set_bounds(s, cmd->view);
    imap_pages_init(&s->pages, cmd->view->mailbox, &s->bounds, s->none ? 0 : 1, PAGE,
                    s->program.uses_head);
    search_scan_init(&s->scan, cmd->arena, &s->program);
    s->arena = arena_new(0);
    buf_init(&s->found, sizeof(uint32_t) * (cmd->view->n + 1));
    cmd->data = s;
    cmd->fini = search_fini;
}

/* ---- Finding. */

/* The next message to look at: 0, 1 = none is left, -1. */
static int next_message(struct imap_command *cmd, struct search *s, struct store_reader *r)
{
    const struct imap_view *v = cmd->view;
    s->m = (struct search_message){.recent_from = v->recent_from};
    if (s->none)
        return 1;
    if (!s->program.uses_rows) {
        while (s->view_at < v->n && v->uids[s->view_at] < s->bounds.first)
            s->view_at++;
        if (s->view_at == v->n || v->uids[s->view_at] > s->bounds.last)
            return 1;
        s->m.uid = v->uids[s->view_at++];
        return 0;
    }
    do {
        if (imap_pages_next(&s->pages, r, &s->m.row, &cmd->err))
            return -1;
        if (!s->m.row)
            return 1;
        s->m.uid = s->m.row->uid;
    } while (imap_view_seq(v, s->m.uid) == 0);
    return 0;
}

static void note(struct imap_command *cmd, struct search *s, enum search_truth t)
{
    if (t != SEARCH_YES)
        return;
    uint32_t number = cmd->uid ? s->m.uid : (uint32_t)imap_view_seq(cmd->view, s->m.uid);
    buf_add(&s->found, &number, sizeof number);
}

/* Expunged while we search: it doesn't match. Nor does one whose text is damaged: the others are
 * to be found all the same. */
static int gone(struct imap_command *cmd, struct search *s)
{
    static const struct log_ctx log_imap = {.module = "imap"};
    if (cmd->err.why == ERR_WHY_DAMAGED)
        log_error(cmd->session ? &cmd->session->log : &log_imap, "message_damaged",
                  L_ID("mailbox", cmd->view->mailbox), L_UINT("uid", s->m.uid),
                  L_ID("body", s->body_id), L_Z("error", cmd->err.text));
    else if (cmd->err.why != ERR_WHY_NOT_FOUND)
        return -1;
    s->scanning = false;
    err_clear(&cmd->err);
    return 0;
}

static int match_head(struct search *s, struct store_reader *r, enum search_truth *t_out,
                      struct err *err)
{
    struct body_reader body;
    if (body_open(r, s->arena, s->m.row->body, BODY_WANT_HEAD, &body, err))
        return -1;
    body_close(&body);
    search_message_head(&s->m, s->arena, s->m.row->prefix, body.head);
    *t_out = search_match(s->program.root, &s->m);
    return 0;
}

static int begin_scan(struct search *s, struct store_reader *r, struct err *err)
{
    struct mime_part *root;
    s->body_id = s->m.row->body;
    if (body_open(r, s->arena, s->body_id, BODY_WANT_META | BODY_WANT_DATA, &s->body, err))
        return -1;
    if (body_structure(&s->body, s->arena, &root, err)) {
        body_close(&s->body);
        return -1;
    }
    search_scan_begin(&s->scan, s->arena, root);
    s->m.hits = s->scan.hits;
    s->scanning = true;
    return 0;
}

/* Scans the open body until the tree is decided or time is up. 1: time is up. */
static int run_scan(struct imap_command *cmd, struct search *s)
{
    enum search_truth t = SEARCH_UNKNOWN;
    int more;
    do { /* at least one step, however long the opening took */
        more = search_scan_step(&s->scan, &s->body, &cmd->err);
        if (more >= 0)
            t = search_match(s->program.root, &s->m);
    } while (more > 0 && t == SEARCH_UNKNOWN && !imap_work_time_up(cmd));
    body_close(&s->body);
    if (more < 0)
        return gone(cmd, s);
    if (t == SEARCH_UNKNOWN)
        return 1;
    note(cmd, s, t);
    s->scanning = false;
    return 0;
}

static int resume_scan(struct imap_command *cmd, struct search *s, struct store_reader *r)
{
    if (body_open(r, s->arena, s->body_id, BODY_WANT_DATA, &s->body, &cmd->err) == 0)
        return run_scan(cmd, s);
    return gone(cmd, s);
}

/* One message to its end, or 1: time is up. */
static int look_at(struct imap_command *cmd, struct search *s, struct store_reader *r)
{
    enum search_truth t = search_match(s->program.root, &s->m);
    if (t == SEARCH_UNKNOWN) {
        arena_clear(s->arena);
        s->cheap = LOOK_AT_CLOCK;
        if (s->program.uses_head && match_head(s, r, &t, &cmd->err))
            return gone(cmd, s);
    }
    if (t == SEARCH_UNKNOWN) {
        if (begin_scan(s, r, &cmd->err))
            return gone(cmd, s);
        return run_scan(cmd, s);
    }
    note(cmd, s, t);
    return 0;
}

/* 0: all found; 1: time is up. */
static int find(struct imap_command *cmd, struct search *s, struct store_reader *r)
{
    int state = s->scanning ? resume_scan(cmd, s, r) : 0;
    while (state == 0) {
        if (++s->cheap > LOOK_AT_CLOCK) {
            s->cheap = 0;
            if (imap_work_time_up(cmd))
                return 1;
        }
        int end = next_message(cmd, s, r);
        if (end)
            return end < 0 ? -1 : 0;
        state = look_at(cmd, s, r);
    }
    return state;
}

/* ---- Telling: one line, in as many pieces as it takes. */

static enum imap_work tell(struct imap_command *cmd, struct search *s)
{
    const uint32_t *numbers = (const uint32_t *)(const void *)s->found.p;
    size_t n = s->found.n / sizeof *numbers;
    if (!s->begun)
        buf_add_z(&cmd->out, "* SEARCH");
    s->begun = true;
    for (; s->written < n; s->written++) {
        if (cmd->out.n >= IMAP_OUT_SOFT)
            return IMAP_WORK_MORE;
        buf_add_char(&cmd->out, ' ');
        buf_add_u64(&cmd->out, numbers[s->written]);
    }
    buf_add_z(&cmd->out, "\r\n");
    return IMAP_WORK_DONE;
}

enum imap_work search_work(struct imap_command *cmd, struct store_reader *r)
{
    struct search *s = cmd->data;
    if (!s->found_all) {
        int state = find(cmd, s, r);
        if (state > 0)
            return IMAP_WORK_MORE;
        if (state < 0) {
            cmd->failed = true;
            return IMAP_WORK_DONE;
        }
        s->found_all = true;
    }
    return tell(cmd, s);
}

void search_finish(struct imap_command *cmd)
{
    if (cmd->failed)
        imap_no_err(cmd, &cmd->err);
    else
        imap_ok(cmd, NULL, "Search completed.");
}
