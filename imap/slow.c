/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* slow.c - how long a command and the message of APPEND may take to arrive. Silence is conn's
 * business (idle_timeout), and so is the time for the login; this is for what trickles. */
#include "imap/session.h"

enum { AGAIN_MS = 1000 };

static bool is_message(const struct imap_session *s)
{
    return s->on_piece || s->swallowing;
}

static uint64_t due_ms(const struct imap_session *s)
{
    return s->arriving_ms + (is_message(s) ? s->conf->append_timeout : s->conf->command_timeout);
}

static void arm(struct imap_session *s);

static void on_slow(void *ctx)
{
    struct imap_session *s = ctx;
    if (!s->arriving_ms)
        return;
    if (loop_now_ms(s->server->conf.loop) < due_ms(s))
        arm(s);
    else if (!imap_session_wants_input(s)) /* it waits for us */
        timer_start(s->slow, AGAIN_MS);
    else
        imap_session_bye(s, "slow",
                         is_message(s) ? "This message takes too long"
                                       : "This command takes too long");
}

static void arm(struct imap_session *s)
{
    uint64_t now = loop_now_ms(s->server->conf.loop), due = due_ms(s);
    if (!s->slow)
        s->slow = timer_new(s->server->conf.loop, on_slow, s);
    timer_start(s->slow, due > now ? due - now : 1);
}

/* Between commands nothing is arriving; what is held while a command runs isn't looked at yet. */
void imap_slow_look(struct imap_session *s)
{
    if (!s->conn || imap_reader_idle(&s->reader) ||
        (!imap_session_wants_input(s) && !is_message(s))) {
        s->arriving_ms = 0;
    } else if (!s->arriving_ms) {
        s->arriving_ms = loop_now_ms(s->server->conf.loop);
        arm(s);
    }
}

void imap_slow_again(struct imap_session *s)
{
    s->arriving_ms = loop_now_ms(s->server->conf.loop);
    arm(s);
}
