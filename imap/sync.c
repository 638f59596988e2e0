/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/sync.h"
#include "appliance/base/clock.h"
#include "imap/pages.h"
#include "imap/session.h"

enum { PAGE = 500, WORK_US = 20000 };
enum { STEP_LOOK, STEP_ECHO, STEP_CHANGED, STEP_EXPUNGED, STEP_NEW, STEP_DONE };

struct sync_call {
    struct imap_sync *y;
    struct store_reader *r;
    struct arena *arena;
    struct buf *out;
};

static bool same_keywords(const struct imap_view *v, const struct mailbox_keyword *k, size_t n)
{
    if (n != v->n_keywords)
        return false;
    for (size_t i = 0; i < n; i++)
        if (k[i].bit != v->keywords[i].bit || !str_eq(k[i].name, v->keywords[i].name))
            return false;
    return true;
}

/* New keywords are told before the first message that has one (RFC 3501 7.2.6). */
static int look_at_keywords(struct sync_call *c)
{
    struct imap_view *v = c->y->view;
    struct mailbox_keyword *k;
    size_t n;
    if (mailbox_keywords(c->r, c->arena, v->mailbox, &k, &n, &c->y->err))
        return -1;
    if (!same_keywords(v, k, n)) {
        imap_view_set_keywords(v, k, n);
        imap_put_view_flags(c->out, v);
    }
    return 0;
}

static int step_look(struct sync_call *c)
{
    struct imap_sync *y = c->y;
    struct mailbox_info info;
    if (mailbox_get(c->r, c->arena, y->view->mailbox, &info, &y->err)) {
        y->gone = y->err.why == ERR_WHY_NOT_FOUND;
        return -1;
    }
    if (str_eq(y->view->name, STR("INBOX")) && !str_eq(info.name, STR("INBOX"))) {
        /* RFC 3501 6.3.5: renaming INBOX takes its messages away; the INBOX there is now is another
         * mailbox. */
        y->gone = true;
        return ERR_WHY(&y->err, ERR_PERM, ERR_WHY_NOT_FOUND, "INBOX was renamed");
    }
    y->modseq = info.modseq;
    y->uidnext = info.uidnext;
    y->floor = info.qresync_floor;
    y->step = STEP_ECHO;
    y->range = 0;
    y->next = y->n_echo ? y->echo[0].first : 0;
    if (y->modseq == y->view->modseq && y->modseq == y->view->expunge_modseq && !y->n_echo) {
        y->step = STEP_DONE;
        return 0;
    }
    return look_at_keywords(c);
}

static void put_fetch(struct sync_call *c, const struct message_info *m)
{
    size_t seq = imap_view_seq(c->y->view, m->uid);
    if (!seq)
        return;
    buf_printf(c->out, "* %zu FETCH (", seq);
    if (c->y->uid)
        buf_printf(c->out, "UID %u ", (unsigned)m->uid);
    buf_add_z(c->out, "FLAGS ");
    imap_put_flags(c->out, c->y->view, m->uid, m->flags);
    buf_add_z(c->out, ")\r\n");
}

static int step_echo(struct sync_call *c)
{
    struct imap_sync *y = c->y;
    struct message_info *m;
    size_t n;
    if (y->range == y->n_echo) {
        y->step = STEP_CHANGED;
        y->next = 1;
        return 0;
    }
    struct message_query q = {.first = y->next, .last = y->echo[y->range].last, .max = PAGE};
    if (message_range(c->r, c->arena, y->view->mailbox, &q, &m, &n, &y->err))
        return -1;
    for (size_t i = 0; i < n; i++)
        put_fetch(c, &m[i]);
    if (n < PAGE || m[n - 1].uid == q.last) {
        y->range++;
        y->next = y->range < y->n_echo ? y->echo[y->range].first : 0;
    } else {
        y->next = m[n - 1].uid + 1;
    }
    return 0;
}

static bool hushed(const struct imap_sync *y, const struct message_info *m)
{
    return y->cmd && y->cmd->hush && y->cmd->hush(y->cmd, m);
}

static int step_changed(struct sync_call *c)
{
    struct imap_sync *y = c->y;
    struct imap_view *v = y->view;
    struct message_info *m;
    size_t n = 0;
    struct message_query q = {
        .first = y->next, .last = v->uidnext - 1, .since = v->modseq, .max = PAGE};
    if (v->n && y->modseq > v->modseq && q.first <= q.last &&
        message_range(c->r, c->arena, v->mailbox, &q, &m, &n, &y->err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (!hushed(y, &m[i]) && !imap_ranges_have(y->echo, y->n_echo, m[i].uid))
            put_fetch(c, &m[i]);
    if (n == PAGE && m[n - 1].uid < q.last) {
        y->next = m[n - 1].uid + 1;
        return 0;
    }
    v->modseq = y->modseq;
    y->step = STEP_EXPUNGED;
    return 0;
}

/* The view's uids that aren't among `alive`; heap. */
static uint32_t *missing(const struct imap_view *v, const uint32_t *alive, size_t n_alive,
                         size_t *n_out)
{
    uint32_t *gone = mem_alloc((v->n + 1) * sizeof *gone);
    size_t n = 0, k = 0;
    for (size_t i = 0; i < v->n; i++) {
        while (k < n_alive && alive[k] < v->uids[i])
            k++;
        if (k == n_alive || alive[k] != v->uids[i])
            gone[n++] = v->uids[i];
    }
    *n_out = n;
    return gone;
}

static int find_expunged(struct sync_call *c, uint32_t **out, size_t *n_out)
{
    struct imap_sync *y = c->y;
    struct imap_view *v = y->view;
    if (v->expunge_modseq >= y->floor)
        return message_expunged(c->r, v->mailbox, v->expunge_modseq, out, n_out, &y->err);
    /* The store has forgotten what was expunged that long ago: compare with what is there. */
    uint32_t *alive;
    size_t n;
    if (message_uids(c->r, v->mailbox, v->uidnext, &alive, &n, &y->err))
        return -1;
    *out = missing(v, alive, n, n_out);
    mem_free(alive);
    return 0;
}

/* Takes `gone` (ascending) out of the view and says so. False: the output is full, some are left.
 */
static bool expunge(struct imap_view *v, const uint32_t *gone, size_t n_gone, struct buf *out)
{
    bool all = true;
    size_t to = 0, k = 0;
    for (size_t i = 0; i < v->n; i++) {
        while (k < n_gone && gone[k] < v->uids[i])
            k++;
        bool hit = k < n_gone && gone[k] == v->uids[i];
        if (hit && out->n < IMAP_OUT_SOFT) {
            buf_printf(out, "* %zu EXPUNGE\r\n", to + 1);
        } else {
            all = all && !hit;
            v->uids[to++] = v->uids[i];
        }
    }
    v->n = to;
    return all;
}

static int step_expunged(struct sync_call *c)
{
    struct imap_sync *y = c->y;
    struct imap_view *v = y->view;
    y->n_before = v->n;
    if (v->expunge_modseq == y->modseq || !y->expunges) {
        y->held = v->expunge_modseq != y->modseq;
        y->step = STEP_NEW;
        return 0;
    }
    uint32_t *gone;
    size_t n;
    if (find_expunged(c, &gone, &n))
        return -1;
    if (expunge(v, gone, n, c->out)) {
        v->expunge_modseq = y->modseq;
        y->n_before = v->n;
        y->step = STEP_NEW;
    }
    mem_free(gone);
    return 0;
}

static int step_new(struct sync_call *c)
{
    struct imap_sync *y = c->y;
    struct imap_view *v = y->view;
    struct message_info *m;
    size_t n = 0;
    struct message_query q = {.first = v->uidnext, .last = y->uidnext - 1, .max = PAGE};
    if (y->uidnext > v->uidnext && message_range(c->r, c->arena, v->mailbox, &q, &m, &n, &y->err))
        return -1;
    for (size_t i = 0; i < n; i++)
        imap_view_add(v, m[i].uid);
    if (n == PAGE) {
        v->uidnext = m[n - 1].uid + 1;
        return 0;
    }
    if (y->uidnext > v->uidnext)
        v->uidnext = y->uidnext;
    if (v->n > y->n_before)
        buf_printf(c->out, "* %zu EXISTS\r\n* %zu RECENT\r\n", v->n, imap_view_recent(v));
    y->step = STEP_DONE;
    return 0;
}

enum imap_work imap_sync_work(struct imap_sync *y, struct store_reader *r, struct buf *out,
                              uint64_t started_us)
{
    static int (*const steps[])(struct sync_call *) = {step_look, step_echo, step_changed,
                                                       step_expunged, step_new};
    struct sync_call c = {y, r, arena_new(0), out};
    bool more = true;
    if (store_read_begin(r, &y->err)) {
        y->failed = true;
    } else {
        while (!y->failed && y->step != STEP_DONE && more) {
            y->failed = steps[y->step](&c) != 0;
            arena_clear(c.arena);
            more = out->n < IMAP_OUT_SOFT && clock_mono_us() - started_us < WORK_US;
        }
        store_read_end(r);
    }
    arena_free(&c.arena);
    return y->failed || y->step == STEP_DONE ? IMAP_WORK_DONE : IMAP_WORK_MORE;
}
