/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* list.h - intrusive doubly linked list. Floor 0 (base). Threads: one at a time; owns nothing. */
#ifndef PH_BASE_LIST_H
#define PH_BASE_LIST_H
#include "appliance/base/mem.h"
#include <stdbool.h>

struct list { /* the head, and the link embedded in each member */
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_add(struct list *head, struct list *item) /* at the end */
{
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}
static inline void
list_del(struct list *item) /* leaves the item as an empty list: deleting twice is harmless */
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}
/* Safe against removal of the current member. */
#define LIST_EACH(head, it)                                                                        \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)
#define LIST_ITEM(l, type, member) CONTAINER_OF(l, type, member)
#endif
