/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* memory.c - what messages on their way in hold in memory (heads, small data, what waits for its
 * file), all sessions together. Anybody may begin as many messages as connections are let in, and
 * finish none: over a share of the machine's memory the largest one of a stranger gives way, so
 * that mail goes on beside those who only take room. */
#include "appliance/io/machine.h"
#include "smtp/commands.h"
#include "smtp/counts.h"

enum { SHARE = 8, WARN_EVERY_MS = 60000 };

void smtp_memory_init(struct smtp_server *s)
{
    const uint64_t unknown = (uint64_t)1 << 30;
    struct machine_memory m;
    s->memory.limit =
        (machine_memory_read("", &m) && m.total < UINT64_MAX / 2 ? m.total : unknown) / SHARE;
}

/* Those that do nothing but wait are given less time; twice as far down again, all of it. */
static void feel(struct smtp_server *s)
{
    struct smtp_memory *m = &s->memory;
    bool pressed = m->held > (m->pressed ? m->limit / 2 : m->limit / 4 * 3);
    if (pressed == m->pressed)
        return;
    m->pressed = pressed;
    LIST_EACH(&s->sessions, it)
    smtp_session_retime(LIST_ITEM(it, struct smtp_session, link));
}

void smtp_memory_note(struct smtp_session *s)
{
    struct smtp_memory *m = &s->server->memory;
    uint64_t now = s->tx.sink ? body_sink_memory(s->tx.sink) : 0;
    m->held = m->held - s->tx.memory + now;
    s->tx.memory = now;
    smtp_count_memory(m->held);
    feel(s->server);
}

static struct smtp_session *largest(struct smtp_server *server)
{
    struct smtp_session *found = NULL;
    LIST_EACH(&server->sessions, it)
    {
        struct smtp_session *s = LIST_ITEM(it, struct smtp_session, link);
        bool arriving = s->state == SMTP_DATA || s->state == SMTP_CHUNK || s->state == SMTP_BDAT;
        if (arriving && s->tx.sink && (!found || s->tx.memory > found->tx.memory) &&
            !smtp_is_known(s))
            found = s;
    }
    return found;
}

static void warn(struct smtp_server *server)
{
    struct smtp_memory *m = &server->memory;
    const struct log_ctx ctx = {.module = "smtp"};
    uint64_t now = loop_now_ms(server->conf.loop);
    m->refused++;
    smtp_count_memory_refusal();
    if (m->warned_ms && now - m->warned_ms < WARN_EVERY_MS)
        return;
    m->warned_ms = now;
    log_warn(&ctx, "memory_short", L_UINT("held", m->held), L_UINT("limit", m->limit),
             L_UINT("refused", m->refused), L_UINT("sessions", server->open));
    m->refused = 0;
}

int smtp_memory_room(struct smtp_session *s, struct smtp_refusal *why)
{
    if (s->server->memory.held < s->server->memory.limit || smtp_is_known(s))
        return 0;
    warn(s->server);
    return smtp_refuse(why, 452, "4.3.1", "Too little memory for more mail at the moment");
}

/* Its rest is consumed, or the next chunk, and then it is told so. */
static void give_way(struct smtp_session *s)
{
    warn(s->server);
    log_info(&s->log, "receive_failed", L_Z("reason", "too little memory"), L_Z("ip", s->ip),
             L_UINT("held", s->tx.memory));
    smtp_refuse(&s->tx.refused, 452, "4.3.1", "Too little memory for more mail at the moment");
    body_sink_free(&s->tx.sink);
    smtp_memory_note(s);
    smtp_session_resume(s, SMTP_WAIT_SINK);
}

void smtp_memory_keep(struct smtp_session *s)
{
    struct smtp_server *server = s->server;
    struct smtp_session *one;
    smtp_memory_note(s);
    while (server->memory.held > server->memory.limit && (one = largest(server)))
        give_way(one);
}
