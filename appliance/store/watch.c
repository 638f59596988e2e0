/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* watch.c - who is told that a mailbox changed. Loop only.
 * A watcher may add or remove watchers (itself too) while it is told: the list is taken away and
 * refilled one by one. */
#include "appliance/store/store_private.h"

struct watch_group {
    struct list watches;
    unsigned telling;
    uint64_t mailbox, seen; /* seen: state of the mailbox as watch_poll.c read it; 0: not yet */
};

void store_watch_add(struct store *s, uint64_t mailbox, struct store_watch *w)
{
    struct watch_group *g = map_get_id(s->watches, mailbox);

    if (!g) {
        g = MEM_NEW(struct watch_group);
        list_init(&g->watches);
        g->mailbox = mailbox;
        map_set_id(s->watches, mailbox, g);
    }
    w->mailbox = mailbox;
    list_add(&g->watches, &w->link);
}

static void drop_if_empty(struct store *s, uint64_t mailbox, struct watch_group *g)
{
    if (list_empty(&g->watches) && g->telling == 0) {
        map_del_id(s->watches, mailbox);
        mem_free(g);
    }
}

void store_watch_del(struct store *s, struct store_watch *w)
{
    struct watch_group *g = map_get_id(s->watches, w->mailbox);

    if (!w->link.next || list_empty(&w->link))
        return;
    list_del(&w->link);
    drop_if_empty(s, w->mailbox, g);
}

static void tell_group(struct watch_group *g)
{
    struct list waiting;

    list_init(&waiting);
    while (!list_empty(&g->watches)) { /* whoever is added from here on sees the new state anyway */
        struct list *it = g->watches.next;
        list_del(it);
        list_add(&waiting, it);
    }
    while (!list_empty(&waiting)) {
        struct store_watch *w = LIST_ITEM(waiting.next, struct store_watch, link);
        list_del(&w->link);
        list_add(&g->watches, &w->link);
        w->on_change(w);
    }
}

void watches_list(struct store *s, struct buf *out)
{
    size_t pos = 0;
    void *value;

    while (map_next(s->watches, &pos, NULL, &value)) {
        const struct watch_group *g = value;
        if (g->mailbox >= STORE_WATCH_MAILBOXES)
            buf_add(out, &g->mailbox, sizeof g->mailbox);
    }
}

/* Also the first state that is read is told: somebody may have begun to look before it. */
void watches_seen(struct store *s, uint64_t mailbox, uint64_t state)
{
    struct watch_group *g = map_get_id(s->watches, mailbox);

    if (!g || g->seen == state)
        return;
    g->seen = state;
    watches_tell(s, &mailbox, 1);
}

void watches_tell(struct store *s, const uint64_t *mailboxes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct watch_group *g = map_get_id(s->watches, mailboxes[i]);
        if (!g)
            continue;
        g->telling++;
        tell_group(g);
        g->telling--;
        drop_if_empty(s, mailboxes[i], g);
    }
}
