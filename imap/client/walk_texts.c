/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* walk_texts.c - the texts of wanted messages, some with one command. A text counts when the
 * response it stands in has ended as it should. */
#include "appliance/base/mem.h"
#include "imap/client/walk_private.h"
#include <stdio.h>

/* ---- Whose text it is. */

static struct imap_walk_message *first_wanted(struct imap_walk *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->window[i].state == WALK_WANTED)
            return &w->window[i];
    return NULL;
}

/* A server may tell the UID after the text; then the number counts, or that it is the only one that
 * was asked for. */
static struct imap_walk_message *find(struct imap_walk *w, const struct imap_fetched *f)
{
    if (f->uid == 0 && w->alone)
        return first_wanted(w);
    for (size_t i = 0; i < w->n; i++) {
        struct imap_walk_message *m = &w->window[i];
        if (f->uid ? m->uid == f->uid : m->seq && m->seq == f->seq)
            return m->state == WALK_WANTED ? m : NULL;
    }
    return NULL;
}

static int settle(struct imap_walk *w, struct imap_walk_message *m, const char *why)
{
    m->state = WALK_SETTLED;
    w->settled++;
    w->one_by_one = false;
    return why ? imap_walk_stop(w, w->events->on_failed(w->ctx, m, why)) : 0;
}

/* Ends the text that is under way, as a whole one or not. */
static int close_text(struct imap_walk *w, bool whole)
{
    bool begun = w->begun;

    w->begun = false;
    return begun ? imap_walk_stop(w, w->events->on_end(w->ctx, whole)) : 0;
}

static int begin_text(struct imap_walk *w, const struct imap_fetched *f, uint64_t size)
{
    w->current = find(w, f);
    w->begun = w->discard = false;
    if (!w->current) {
        w->discard = true;
        return 0;
    }
    if (w->max_size && size > w->max_size) {
        w->discard = true;
        return settle(w, w->current, "it is too large");
    }
    w->begun = true;
    return imap_walk_stop(w, w->events->on_text(w->ctx, w->current));
}

/* ---- Events. */

static int on_text(void *ctx, const struct imap_response *head, uint64_t size)
{
    struct imap_walk *w = ctx;
    struct arena *a = arena_new(0);
    struct imap_fetched f;
    int rc = 0;

    w->current = NULL;
    w->discard = true;
    if (imap_response_fetched(head, a, &f) == 0)
        rc = begin_text(w, &f, size);
    arena_free(&a);
    return rc;
}

static int on_piece(void *ctx, struct str piece)
{
    struct imap_walk *w = ctx;

    return w->discard ? 0 : imap_walk_stop(w, w->events->on_piece(w->ctx, piece));
}

/* Not as a literal: quoted, or NIL. */
static int short_text(struct imap_walk *w, const struct imap_fetched *f)
{
    if (begin_text(w, f, f->text.n) != 0)
        return -1;
    if (w->discard)
        return 0;
    if (f->no_text) {
        w->begun = false;
        return imap_walk_stop(w, w->events->on_end(w->ctx, false)) == 0
                   ? settle(w, w->current, "the server has no text of it")
                   : -1;
    }
    return imap_walk_stop(w, w->events->on_piece(w->ctx, f->text));
}

static int fetched(struct imap_walk *w, const struct imap_fetched *f)
{
    bool literal = w->current || w->discard;

    if (!f->has_text)
        return 0;
    if (!literal && short_text(w, f) != 0)
        return -1;
    if (w->begun) {
        bool ours = !f->uid || f->uid == w->current->uid; /* another's: it comes again, alone */
        if (close_text(w, ours) != 0)
            return -1;
        if (ours)
            (void)settle(w, w->current, NULL);
    }
    w->current = NULL;
    w->discard = false;
    return 0;
}

static int on_response(void *ctx, const struct imap_response *r)
{
    struct imap_walk *w = ctx;
    struct arena *a;
    struct imap_fetched f;
    int rc = -1;

    imap_walk_note(w, r);
    if (r->kind != IMAP_RESPONSE_DATA || !str_ieq(r->name, STR("FETCH")))
        return 0;
    a = arena_new(0);
    if (imap_response_fetched(r, a, &f) == 0)
        rc = fetched(w, &f);
    else if (!w->begun) /* of what wasn't asked for */
        rc = 0;
    arena_free(&a);
    return rc; /* -1: the text ends in nonsense, and with it the connection */
}

/* ---- Commands. */

static size_t batch(const struct imap_walk *w, struct buf *line)
{
    size_t n = 0, most = w->one_by_one ? 1 : IMAP_WALK_BATCH;

    buf_add_z(line, "UID FETCH ");
    for (size_t i = 0; i < w->n && n < most; i++) {
        if (w->window[i].state != WALK_WANTED)
            continue;
        if (n++)
            buf_add_char(line, ',');
        buf_add_u64(line, w->window[i].uid);
    }
    buf_add_z(line, " (UID BODY.PEEK[])");
    return n;
}

/* The connection broke. */
static int broken(struct imap_walk *w, struct err *err)
{
    struct imap_walk_message *m = w->begun ? w->current : first_wanted(w);
    char why[300];

    if (close_text(w, false) != 0)
        return -1;
    w->current = NULL;
    w->discard = false;
    if (err->why == ERR_WHY_CANCELLED)
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "the server says nonsense after it");
    if (err->why == ERR_WHY_BUSY || !m || ++m->tries < IMAP_WALK_TRIES)
        return -1;
    snprintf(why, sizeof why, "the connection broke %d times while it was read: %s",
             IMAP_WALK_TRIES, err->text);
    (void)settle(w, m, why);
    return -1;
}

/* The command ended, and what was asked for didn't come. */
static int omitted(struct imap_walk *w, size_t asked, const char *refused)
{
    struct imap_walk_message *m = first_wanted(w);

    if (asked > 1) {
        w->one_by_one = true; /* which of them is it? */
        return 0;
    }
    if (refused)
        return settle(w, m, refused);
    m->state = WALK_SETTLED;
    w->settled++;
    w->one_by_one = false;
    return imap_walk_stop(w, w->events->on_gone(w->ctx, m));
}

static int oversized(struct imap_walk *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->max_size && w->window[i].state == WALK_WANTED && w->window[i].size > w->max_size &&
            settle(w, &w->window[i], "it is too large") != 0)
            return -1;
    return 0;
}

int imap_walk_texts(struct imap_walk *w, struct imap_client *c, struct err *err)
{
    static const struct imap_client_events events = {
        .on_response = on_response, .on_text = on_text, .on_piece = on_piece};
    struct imap_walk_message *first;
    struct buf line;
    size_t asked;
    int rc = oversized(w);

    buf_init(&line, 4096);
    while (rc == 0 && (first = first_wanted(w))) {
        buf_clear(&line);
        asked = batch(w, &line);
        w->alone = asked == 1;
        w->current = NULL;
        w->discard = false;
        rc = imap_client_ask(c, buf_str(&line), &events, w, err);
        if (rc != 0 && err->kind != ERR_PERM) {
            rc = w->stopped ? -1 : broken(w, err);
        } else if (first->state == WALK_WANTED || rc != 0) {
            /* Some came: the rest is asked for again, from the one that didn't. */
            rc = omitted(w, first->state == WALK_WANTED ? asked : 2, rc ? err->text : NULL);
            err_clear(err);
        }
    }
    buf_fini(&line);
    return rc;
}
