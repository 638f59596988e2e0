/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* walk.c - the mailbox opened, and window after window of it listed. Sequence numbers move when
 * messages are expunged, which may be told during any command (RFC 3501 7.4.1). */
#include "imap/client/walk.h"
#include "appliance/base/mem.h"
#include "imap/client/walk_private.h"
#include "imap/cursor.h"
#include <stdio.h>
#include <stdlib.h>

int imap_walk_stop(struct imap_walk *w, int rc)
{
    w->stopped = w->stopped || rc < 0;
    return rc < 0 ? -1 : 0;
}

/* ---- What the server tells at any time. */

static void expunged(struct imap_walk *w, uint32_t seq)
{
    if (w->now.exists)
        w->now.exists--;
    if (seq < w->position)
        w->position--;
    if (seq >= w->low && seq <= w->high)
        w->missing--; /* it counts as listed, or won't be */
    for (size_t i = 0; i < w->n; i++) {
        if (w->window[i].seq == seq)
            w->window[i].seq = 0;
        else if (w->window[i].seq > seq)
            w->window[i].seq--;
    }
}

void imap_walk_note(struct imap_walk *w, const struct imap_response *r)
{
    uint64_t n = 0;

    if (r->kind == IMAP_RESPONSE_DATA && str_ieq(r->name, STR("EXISTS")))
        w->now.exists = (uint32_t)r->number;
    else if (r->kind == IMAP_RESPONSE_DATA && str_ieq(r->name, STR("EXPUNGE")) && r->number)
        expunged(w, (uint32_t)r->number);
    else if (r->kind != IMAP_RESPONSE_STATUS || str_to_u64(r->arguments, INT64_MAX, &n) != 0)
        return;
    if (str_ieq(r->code, STR("UIDVALIDITY")) && n <= UINT32_MAX)
        w->now.uidvalidity = (uint32_t)n;
    if (str_ieq(r->code, STR("UIDNEXT")) && n <= UINT32_MAX)
        w->now.uidnext = (uint32_t)n;
    if (str_ieq(r->code, STR("HIGHESTMODSEQ")))
        w->now.modseq = n;
}

static int on_note(void *ctx, const struct imap_response *r)
{
    imap_walk_note(ctx, r);
    return 0;
}

/* ---- Opening. */

static int open_mailbox(struct imap_walk *w, struct imap_client *c, struct err *err)
{
    static const struct imap_client_events events = {.on_response = on_note};
    struct buf line;
    int rc;

    buf_init(&line, 8192);
    buf_add_z(&line, "EXAMINE ");
    imap_put_quoted_or_literal(&line, w->mailbox);
    if (imap_client_can(c) & IMAP_CAN_CONDSTORE) /* some keep modseqs only when they are asked to */
        buf_add_z(&line, " (CONDSTORE)");
    w->now = (struct imap_walk_mailbox){.exists = 0};
    w->position = 1;
    for (size_t i = 0; i < w->n; i++)
        w->window[i].seq = 0;
    rc = imap_client_ask(c, buf_str(&line), &events, w, err);
    buf_fini(&line);
    if (rc != 0)
        return -1;
    if (w->mem && w->uidvalidity != w->now.uidvalidity)
        return ERR(err, ERR_PERM, "it was made anew there meanwhile: run this again");
    if (w->mem)
        return 0;
    w->mem = arena_new(0);
    w->window = mem_alloc(IMAP_WALK_WINDOW * sizeof *w->window);
    w->uidvalidity = w->now.uidvalidity;
    w->complete = true;
    return imap_walk_stop(w, w->events->on_mailbox(w->ctx, &w->now));
}

/* ---- Where we were. */

struct probe {
    struct imap_walk *w;
    uint32_t seq, uid;
};

static int on_probe(void *ctx, const struct imap_response *r)
{
    struct probe *p = ctx;
    struct arena *a;
    struct imap_fetched f;

    imap_walk_note(p->w, r);
    if (r->kind != IMAP_RESPONSE_DATA || !str_ieq(r->name, STR("FETCH")))
        return 0;
    a = arena_new(0);
    if (imap_response_fetched(r, a, &f) == 0 && f.seq == p->seq && f.uid)
        p->uid = f.uid;
    arena_free(&a);
    return 0;
}

/* The first sequence number whose UID is above done_uid. */
static int find_position(struct imap_walk *w, struct imap_client *c, struct err *err)
{
    static const struct imap_client_events events = {.on_response = on_probe};
    uint32_t low = 1, high = w->now.exists + 1;
    char line[64];

    if (w->done_uid == 0)
        high = 1;
    while (low < high) {
        struct probe p = {.w = w, .seq = low + (high - low) / 2};
        snprintf(line, sizeof line, "FETCH %u (UID)", (unsigned)p.seq);
        if (imap_client_ask(c, str_from(line), &events, &p, err) != 0)
            return -1;
        if (p.uid == 0)
            return ERR(err, ERR_TEMP, "the server doesn't tell the UID of message %u",
                       (unsigned)p.seq);
        if (p.uid <= w->done_uid)
            low = p.seq + 1;
        else
            high = p.seq;
    }
    w->position = low;
    return 0;
}

/* ---- A window. */

static int on_listed(void *ctx, const struct imap_response *r)
{
    struct imap_walk *w = ctx;
    struct arena *a;
    struct imap_fetched f;
    struct str *words;

    imap_walk_note(w, r);
    if (r->kind != IMAP_RESPONSE_DATA || !str_ieq(r->name, STR("FETCH")) ||
        w->n == IMAP_WALK_WINDOW)
        return 0;
    a = arena_new(0);
    if (imap_response_fetched(r, a, &f) == 0 && f.uid && f.has_flags &&
        (f.has_size || f.has_date) && f.seq >= w->low && f.seq <= w->high) {
        words = ARENA_ARRAY(w->mem, struct str, f.n_keywords + 1);
        for (size_t i = 0; i < f.n_keywords; i++)
            words[i] = arena_str(w->mem, f.keywords[i]);
        w->window[w->n++] = (struct imap_walk_message){.uid = f.uid,
                                                       .seq = f.seq,
                                                       .flags = f.flags,
                                                       .recent = f.recent,
                                                       .keywords = words,
                                                       .n_keywords = f.n_keywords,
                                                       .has_date = f.has_date,
                                                       .date = f.date,
                                                       .size = f.has_size ? f.size : 0};
    }
    arena_free(&a);
    return 0;
}

static int compare(const void *pa, const void *pb)
{
    const struct imap_walk_message *a = pa, *b = pb;

    return a->uid < b->uid ? -1 : a->uid > b->uid;
}

/* Without those that were told twice, or are known from before. */
static void tidy(struct imap_walk *w)
{
    size_t n = 0;

    if (w->n)
        qsort(w->window, w->n, sizeof *w->window, compare);
    for (size_t i = 0; i < w->n; i++)
        if (w->window[i].uid > w->done_uid && (n == 0 || w->window[n - 1].uid != w->window[i].uid))
            w->window[n++] = w->window[i];
    if (n < w->n) /* UIDs that don't grow: who knows what isn't told */
        w->complete = false;
    w->n = n;
}

static int list_window(struct imap_walk *w, struct imap_client *c, struct err *err)
{
    static const struct imap_client_events events = {.on_response = on_listed};
    uint32_t left = w->now.exists - w->position;
    size_t told;
    char line[128];
    int rc;

    arena_clear(w->mem);
    w->n = 0;
    w->low = w->position;
    w->high = w->position + (left < IMAP_WALK_WINDOW ? left : IMAP_WALK_WINDOW - 1);
    w->missing = w->high - w->low + 1;
    w->position = w->high + 1;
    snprintf(line, sizeof line, "FETCH %u:%u (UID FLAGS INTERNALDATE RFC822.SIZE)",
             (unsigned)w->low, (unsigned)w->high);
    if (w->since)
        snprintf(line + strlen(line), sizeof line - strlen(line), " (CHANGEDSINCE %llu)",
                 (unsigned long long)w->since);
    rc = imap_client_ask(c, str_from(line), &events, w, err);
    told = w->n;
    w->low = UINT32_MAX;
    w->high = 0;
    if (rc != 0) {
        w->n = 0;
        return -1;
    }
    if (told < w->missing && !w->since)
        w->complete = false;
    tidy(w);
    w->window_uid = w->n ? w->window[w->n - 1].uid : w->done_uid;
    return 0;
}

static int choose(struct imap_walk *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct imap_walk_message *m = &w->window[i];
        int rc = w->events->on_message(w->ctx, m);
        if (imap_walk_stop(w, rc) != 0)
            return -1;
        m->state = rc == 1 ? WALK_WANTED : WALK_SETTLED;
        if (rc != 1)
            w->settled++;
    }
    return 0;
}

static int walk_all(struct imap_walk *w, struct imap_client *c, struct err *err)
{
    if (open_mailbox(w, c, err) != 0 || imap_walk_texts(w, c, err) != 0)
        return -1;
    if (w->since && w->since == w->now.modseq && w->n == 0 && w->done_uid == 0)
        return 0; /* nothing changed */
    if (w->n)
        w->done_uid = w->window_uid;
    if (find_position(w, c, err) != 0)
        return -1;
    while (w->position <= w->now.exists) {
        if (list_window(w, c, err) != 0 || choose(w) != 0 || imap_walk_texts(w, c, err) != 0)
            return -1;
        w->done_uid = w->window_uid;
        w->n = 0;
    }
    return 0;
}

int imap_walk(struct imap_walk *w, struct imap_client *c, struct err *err)
{
    int rc = walk_all(w, c, err);

    if (rc != 0 && w->stopped)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_CANCELLED, "stopped");
    if (rc != 0 && err->why == ERR_WHY_CANCELLED)
        return ERR(err, ERR_TEMP, "the server says nonsense after a message");
    return rc;
}

void imap_walk_fini(struct imap_walk *w)
{
    arena_free(&w->mem);
    mem_free(w->window);
    w->window = NULL;
}
