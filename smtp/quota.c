/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* quota.c - the check made at RCPT: have the accounts room for the message?
 * Answering means reading the store, a hop to another thread. What was read is remembered for a few
 * seconds, less what is accepted meanwhile, so that mail for accounts with room goes without it.
 * Mail that comes in other ways isn't counted until then: the commit looks once more. */
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "smtp/session.h"

enum { REMEMBERED_MS = 5000, ROOMS_MAX = 4096 };

struct room {
    uint64_t until_ms, bytes, messages;
};
struct ask {
    struct job job;
    struct smtp_session *session;
    struct arena *arena;
    smtp_room_fn on_room;
    uint64_t size;
    struct str *accounts;
    struct room *rooms;
    size_t n;
    enum smtp_room_verdict verdict;
};

static uint64_t left(uint64_t quota, uint64_t used)
{
    return !quota ? UINT64_MAX : quota > used ? quota - used : 0;
}

static int read_one(struct ask *q, struct store_reader *r, size_t i)
{
    struct account_info info = {0};
    struct err err = {0};
    /* One that isn't there yet: what will hold for it. */
    if (account_find(r, q->arena, q->accounts[i], &info, &err) && err.why != ERR_WHY_NOT_FOUND)
        return -1;
    uint64_t own = left(info.quota_bytes, info.used_bytes);
    uint64_t all = left(info.domain_quota, info.domain_used);
    q->rooms[i].bytes = own < all ? own : all;
    q->rooms[i].messages = left(info.quota_messages, info.used_messages);
    if (q->verdict == SMTP_ROOM_OK && account_check_quota(&info, q->size, &err))
        q->verdict = SMTP_ROOM_FULL;
    if ((info.quota_bytes && q->size > info.quota_bytes) ||
        (info.domain_quota && q->size > info.domain_quota))
        q->verdict = SMTP_ROOM_NEVER;
    return 0;
}

static void run(struct job *j, void *worker)
{
    struct ask *q = CONTAINER_OF(j, struct ask, job);
    if (!worker)
        q->verdict = SMTP_ROOM_FAILED;
    for (size_t i = 0; i < q->n && q->verdict != SMTP_ROOM_FAILED; i++)
        if (read_one(q, worker, i))
            q->verdict = SMTP_ROOM_FAILED;
}

static void forget_all(struct smtp_server *server)
{
    size_t at = 0;
    struct str key;
    void *room;
    while (map_next(server->rooms, &at, &key, &room))
        mem_free(room);
    map_free(&server->rooms);
    server->rooms = map_new();
}

static void remember(struct smtp_server *server, struct str account, const struct room *found)
{
    struct room *room = map_get(server->rooms, account);
    if (!room) {
        if (map_count(server->rooms) >= ROOMS_MAX)
            forget_all(server);
        room = MEM_NEW(struct room);
        map_set(server->rooms, account, room);
    }
    *room = *found;
    room->until_ms = loop_now_ms(server->conf.loop) + REMEMBERED_MS;
}

static bool has_room(const struct room *room, uint64_t now_ms, uint64_t size)
{
    return room && room->until_ms > now_ms && room->messages > 0 && room->bytes >= size;
}

static void take(struct room *room, uint64_t size)
{
    if (room->bytes != UINT64_MAX)
        room->bytes -= size < room->bytes ? size : room->bytes;
    if (room->messages != UINT64_MAX && room->messages)
        room->messages--;
}

static void done(struct job *j)
{
    struct ask *q = CONTAINER_OF(j, struct ask, job);
    struct smtp_session *s = q->session;
    for (size_t i = 0; i < q->n && q->verdict == SMTP_ROOM_OK; i++) {
        take(&q->rooms[i], q->size);
        remember(s->server, q->accounts[i], &q->rooms[i]);
    }
    if (smtp_session_back(s))
        q->on_room(s, q->verdict);
    arena_free(&q->arena);
    mem_free(q);
    smtp_session_unref(&s);
}

static bool known_room(struct smtp_session *s, uint64_t size)
{
    uint64_t now = loop_now_ms(s->server->conf.loop);
    for (size_t i = 0; i < s->n_dests; i++)
        if (!has_room(map_get(s->server->rooms, s->dests[i]), now, size))
            return false;
    for (size_t i = 0; i < s->n_dests; i++)
        take(map_get(s->server->rooms, s->dests[i]), size);
    return true;
}

void smtp_quota_forget(struct smtp_session *s)
{
    for (size_t i = 0; i < s->tx.accounts.n; i++)
        mem_free(map_del(s->server->rooms, s->tx.accounts.at[i]));
}

enum smtp_room smtp_quota_ask(struct smtp_session *s, uint64_t size, smtp_room_fn on_room)
{
    struct store *store = s->server->conf.store;
    if (known_room(s, size))
        return SMTP_ROOM;
    struct ask *q = MEM_NEW(struct ask);
    q->arena = arena_new(0);
    q->job = (struct job){.run = run, .done = done};
    q->on_room = on_room;
    q->size = size;
    q->n = s->n_dests;
    q->accounts = ARENA_ARRAY(q->arena, struct str, q->n);
    q->rooms = ARENA_ARRAY(q->arena, struct room, q->n);
    for (size_t i = 0; i < q->n; i++)
        q->accounts[i] = arena_str(q->arena, s->dests[i]);
    q->session = smtp_session_ref(s);
    if (lane_submit(store_lane(store), &q->job) == 0) {
        smtp_session_wait(s, SMTP_WAIT_WORK);
        return SMTP_ROOM_ASKED;
    }
    smtp_session_unref(&q->session);
    arena_free(&q->arena);
    mem_free(q);
    return SMTP_ROOM_UNKNOWN;
}

void smtp_quota_free(struct smtp_server *server)
{
    forget_all(server);
    map_free(&server->rooms);
}
