/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* space.c - the free space of the bodies' disk: who may still write. What arrives is counted as it
 * comes, so min_free holds between two looks; below it the largest message that is still arriving
 * gives way, so nobody keeps others out by sending and never ending. Loop, but for store_space().
 */
#include "appliance/store/store_private.h"
#include <inttypes.h>
#include <sys/statvfs.h>

enum {
    WAL_SHARE = 4, /* of min_free, always kept on the disk itself */
    SPACE_EVERY_MS = 20,
    TELL_EVERY_MS = 10000
};

uint64_t store_min_free(const struct store_conf *conf, uint64_t message_limit)
{
    return conf->min_free ? conf->min_free : 2 * message_limit + (64u << 20);
}

void store_set_message_limit(struct store *s, uint64_t largest)
{
    atomic_store(&s->message_limit, largest);
}

static int kernel_space(int bodies_fd, uint64_t *free_out)
{
    struct statvfs st;

    /* Answered from memory by every local file system: fit for the loop. */
    if (fstatvfs(bodies_fd, &st) != 0)
        return -1;
    *free_out = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

int store_space(struct store *s, uint64_t *free_out, uint64_t *min_free_out)
{
    *min_free_out = store_min_free(s->conf, atomic_load(&s->message_limit));
    return s->disk->space ? s->disk->space(s->disk->ctx, free_out)
                          : kernel_space(s->bodies_fd, free_out);
}

/* Entering and leaving, each once, and not again at every message around the limit. */
static void tell(struct store *s, bool tight)
{
    uint64_t now = clock_mono_ms();

    if (tight == s->told_tight || (s->told_ms && now - s->told_ms < TELL_EVERY_MS))
        return;
    s->told_tight = tight;
    s->told_ms = now;
    log_warn(&store_log, tight ? "low_on_space" : "space_again",
             L_INT("free", s->room + s->min_free), L_INT("min_free", s->min_free));
}

static int64_t signed_of(uint64_t n)
{
    return n > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)n;
}

/* What lies in memory still goes to the disk; files on their way out still count there. */
static void look(struct store *s)
{
    uint64_t now = clock_mono_ms();
    uint64_t free_bytes, min_free;

    if (s->space_known && now - s->space_checked_ms < SPACE_EVERY_MS)
        return;
    s->space_checked_ms = now;
    s->space_known = true;
    if (store_space(s, &free_bytes, &min_free) != 0) {
        s->room = INT64_MAX / 4; /* writing will tell */
        return;
    }
    s->min_free = signed_of(min_free);
    s->room = signed_of(free_bytes) + atomic_load(&s->leaving_bytes) - s->unwritten - s->min_free;
    /* What is expunged leaves room within the database, not on the disk. */
    if (s->room < 0 && !atomic_exchange(&s->tight, true))
        sweeper_soon(s);
    if (s->room >= 0)
        atomic_store(&s->tight, false);
    tell(s, s->room < 0);
}

/* ---- Messages that are arriving. */

static struct body_sink *largest(const struct store *s)
{
    struct body_sink *found = NULL;

    LIST_EACH(&s->arriving, l)
    {
        struct body_sink *b = LIST_ITEM(l, struct body_sink, arriving);
        if (b->file && (!found || b->data_size > found->data_size))
            found = b;
    }
    return found;
}

static void reclaim(struct store *s)
{
    struct body_sink *b;

    if (s->room < 0)
        tell(s, true);
    while (s->room < 0 && (b = largest(s))) {
        s->room += (int64_t)b->data_size;
        log_info(&store_log, "gives_way", L_UINT("size", b->data_size), L_INT("room", s->room));
        body_sink_give_way(b);
    }
}

void store_space_promise(struct body_sink *b, uint64_t size)
{
    if (size <= b->store->conf->inline_limit || size <= b->promised)
        return;
    b->promised = size;
    if (list_empty(&b->arriving))
        list_add(&b->store->arriving, &b->arriving);
}

bool store_space_take(struct body_sink *b, size_t n)
{
    struct store *s = b->store;

    look(s);
    if (list_empty(&b->arriving))
        list_add(&s->arriving, &b->arriving);
    s->room -= (int64_t)n;
    if (s->room < 0)
        reclaim(s);
    return b->state != SINK_FAILED;
}

static int64_t promised(const struct store *s)
{
    int64_t sum = 0;

    LIST_EACH(&s->arriving, l)
    {
        const struct body_sink *b = LIST_ITEM(l, struct body_sink, arriving);
        if (b->promised > b->data_size)
            sum += signed_of(b->promised - b->data_size);
    }
    return sum;
}

/* ---- New ones. */

bool store_low_on_space(struct store *s)
{
    look(s);
    reclaim(s);
    /* Room within the database counts for what needs no file, as long as the disk has some for the
     * WAL. */
    return s->room < 0 && (s->room + s->min_free < s->min_free / WAL_SHARE ||
                           s->room + atomic_load(&s->spare) < 0);
}

bool store_has_room(struct store *s, uint64_t size)
{
    if (store_low_on_space(s))
        return false;
    if (size <= s->conf->inline_limit)
        return true;
    int64_t left = s->room - promised(s);
    return left >= 0 && (uint64_t)left >= size;
}
