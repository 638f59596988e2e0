/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/list_names.h"
#include "appliance/base/map.h"
#include <stdlib.h>

struct names {
    struct arena *arena;
    struct map *map; /* name -> struct imap_name */
};

static struct imap_name *name_get(struct names *t, struct str name)
{
    struct imap_name *e = map_get(t->map, name);
    if (!e) {
        e = ARENA_NEW(t->arena, struct imap_name);
        e->name = name;
        map_set(t->map, name, e);
    }
    return e;
}

static void add_parents(struct names *t, struct str name, bool exists)
{
    size_t at;
    while (str_rchr(name, '/', &at)) {
        name = str_take(name, at);
        struct imap_name *e = name_get(t, name);
        if (exists ? e->children : e->subscribed_children)
            break; /* and so those above it */
        if (exists)
            e->children = true;
        else
            e->subscribed_children = true;
    }
}

static int by_name(const void *va, const void *vb)
{
    const struct imap_name *a = va, *b = vb;
    bool a_inbox = str_eq(a->name, STR("INBOX")), b_inbox = str_eq(b->name, STR("INBOX"));
    return a_inbox != b_inbox ? b_inbox - a_inbox : str_cmp(a->name, b->name);
}

static void sorted(struct names *t, struct imap_name **out, size_t *n_out)
{
    size_t n = 0, pos = 0;
    struct str key;
    void *value;
    struct imap_name *list = ARENA_ARRAY(t->arena, struct imap_name, map_count(t->map) + 1);
    while (map_next(t->map, &pos, &key, &value))
        list[n++] = *(struct imap_name *)value;
    qsort(list, n, sizeof *list, by_name);
    *out = list;
    *n_out = n;
}

int imap_names_read(struct store_reader *r, struct arena *a, uint64_t account,
                    struct imap_name **out, size_t *n_out, struct err *err)
{
    struct mailbox_info *boxes;
    struct str *subs;
    size_t n_boxes, n_subs;
    if (mailbox_list(r, a, account, &boxes, &n_boxes, err) ||
        mailbox_subscriptions(r, a, account, &subs, &n_subs, err))
        return -1;
    struct names t = {a, map_new()};
    for (size_t i = 0; i < n_boxes; i++) {
        struct imap_name *e = name_get(&t, boxes[i].name);
        e->exists = true;
        e->special = boxes[i].special;
        add_parents(&t, e->name, true);
    }
    for (size_t i = 0; i < n_subs; i++) {
        name_get(&t, subs[i])->subscribed = true;
        add_parents(&t, subs[i], false);
    }
    sorted(&t, out, n_out);
    map_free(&t.map);
    return 0;
}
