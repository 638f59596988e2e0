/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* deadline.c - ends a client that takes too long for a line or a message, whether anything of it
 * comes or not. Silence is conn's business; this is for what trickles. */
#include "smtp/session.h"

/* When the line or the message under way is over. UINT64_MAX: nothing is. */
static uint64_t due_ms(const struct smtp_session *s, const char **text)
{
    uint64_t due = UINT64_MAX;
    if (s->line_ms) {
        due = s->line_ms + s->conf->command_timeout;
        *text = "This line takes too long";
    }
    if (s->tx.data_ms && s->state != SMTP_ENDING &&
        s->tx.data_ms + s->conf->message_timeout < due) {
        due = s->tx.data_ms + s->conf->message_timeout;
        *text = "This message takes too long";
    }
    return due;
}

static void on_deadline(void *ctx)
{
    struct smtp_session *s = smtp_session_ref(ctx);
    if (!smtp_deadline_over(s))
        smtp_deadline_arm(s);
    smtp_session_unref(&s);
}

bool smtp_deadline_over(struct smtp_session *s)
{
    const char *text = NULL;
    if (!s->conn || (s->waits & ~(unsigned)SMTP_WAIT_OUTPUT) || /* it waits for us */
        due_ms(s, &text) >= loop_now_ms(s->server->conf.loop))
        return false;
    smtp_session_close_421(s, "4.4.2", text, "slow");
    return true;
}

void smtp_deadline_arm(struct smtp_session *s)
{
    const char *text;
    uint64_t now = loop_now_ms(s->server->conf.loop), due = due_ms(s, &text);
    if (!s->conn || due == UINT64_MAX || (s->waits & ~(unsigned)SMTP_WAIT_OUTPUT))
        return; /* who waits comes back by smtp_session_resume() */
    if (!s->deadline)
        s->deadline = timer_new(s->server->conf.loop, on_deadline, s);
    timer_start(s->deadline, due >= now ? due - now + 1 : 1);
}

void smtp_deadline_free(struct smtp_session *s)
{
    timer_free(&s->deadline);
}
