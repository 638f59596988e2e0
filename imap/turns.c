/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* turns.c - the jobs of one account take turns: half the workers at most are at them or have them
 * in their queue, its other sessions stand in line. Twenty long searches of one account then slow
 * each other, and nobody else's commands. A job ends after 20 ms or 64 KB (command.h), and the
 * session goes to the end of the line for the rest. */
#include "appliance/base/map.h"
#include "imap/session.h"

enum { RETRY_MS = 50 };

struct imap_turns { /* of one account, while it has jobs */
    char *account;
    unsigned taken;   /* jobs the lane has */
    struct list line; /* sessions, by turn_link */
};

static struct lane *lane_of(const struct imap_session *s)
{
    return store_lane(s->server->conf.store);
}

static unsigned share(const struct imap_session *s)
{
    int64_t readers = store_conf(s->server->conf.store)->readers;
    return readers > 1 ? (unsigned)readers / 2 : 1;
}

static struct imap_turns *turns_of(struct imap_session *s)
{
    struct imap_turns *t = map_get(s->server->turns, str_from(s->account));
    if (!t) {
        t = MEM_NEW(struct imap_turns);
        t->account = str_dup_z(str_from(s->account));
        list_init(&t->line);
        map_set(s->server->turns, str_from(s->account), t);
    }
    return t;
}

static void forget_idle(struct imap_server *server, struct imap_turns *t)
{
    if (t->taken || !list_empty(&t->line))
        return;
    map_del(server->turns, str_from(t->account));
    mem_free(t->account);
    mem_free(t);
}

static void on_retry(struct imap_session *s);

/* The next in line. Where the lane is full, the end of another job tries again, or the clock. */
static void hand_on(struct imap_server *server, struct imap_turns *t)
{
    while (!list_empty(&t->line)) {
        struct imap_session *next = LIST_ITEM(t->line.next, struct imap_session, turn_link);
        if (t->taken >= share(next))
            break;
        if (lane_submit(lane_of(next), &next->job)) {
            if (!t->taken)
                imap_session_after(next, RETRY_MS, on_retry);
            break;
        }
        list_del(&next->turn_link);
        t->taken++;
    }
    forget_idle(server, t);
}

static void on_retry(struct imap_session *s)
{
    if (s->turns)
        hand_on(s->server, s->turns);
}

int imap_turn_ask(struct imap_session *s)
{
    list_init(&s->turn_link);
    s->turns = NULL;
    if (!s->account) /* before the login nobody has more than one */
        return lane_submit(lane_of(s), &s->job);
    struct imap_turns *t = turns_of(s);
    bool in_line = t->taken >= share(s) || !list_empty(&t->line);
    if (in_line) {
        list_add(&t->line, &s->turn_link);
    } else if (lane_submit(lane_of(s), &s->job)) {
        forget_idle(s->server, t);
        return -1;
    } else {
        t->taken++;
    }
    s->turns = t;
    return 0;
}

void imap_turn_over(struct imap_session *s)
{
    struct imap_turns *t = s->turns;
    s->turns = NULL;
    if (!t)
        return;
    t->taken--;
    hand_on(s->server, t);
}

bool imap_turn_cancel(struct imap_session *s)
{
    struct imap_turns *t = s->turns;
    if (t && !list_empty(&s->turn_link)) {
        s->turns = NULL;
        list_del(&s->turn_link);
        hand_on(s->server, t); /* it may have been the one to try again */
        return true;
    }
    if (!lane_cancel(lane_of(s), &s->job))
        return false;
    imap_turn_over(s);
    return true;
}
