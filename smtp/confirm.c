/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* confirm.c - RFC 3461 NOTIFY=SUCCESS for copies that ended here: one report to the sender about
 * all of them, after the commit. It is a message of its own: one that gets lost in a crash between
 * the two commits was only a courtesy. Copies for other hosts are reported by who sends them. */
#include "appliance/base/clock.h"
#include "smtp/deliver.h"
#include "smtp/notice.h"
#include "smtp/queue/report.h"

enum { HEAD_MAX = 64 << 10 }; /* of the original, in the report */

/* ---- What it says */

/* False: nothing to be said of it here. */
static bool describe(const struct smtp_session *s, const struct smtp_recipient *r,
                     struct report_rcpt *out)
{
    bool captured = s->server->conf.capture_account && r->n_remotes;
    size_t here = r->n_accounts - (captured ? 1 : 0), n = here + r->n_remotes;
    if (r->deleted || !report_wanted(r->notify, REPORT_DELIVERED) || !n)
        return false;
    if (n == 1 && !here && !captured)
        return false; /* who sends it will */
    *out = (struct report_rcpt){.kind = n > 1  ? REPORT_EXPANDED
                                        : here ? REPORT_DELIVERED
                                               : REPORT_RELAYED,
                                .status = "2.1.5",
                                .last_ms = clock_wall_ms()};
    return true;
}

static size_t collect(const struct smtp_session *s, struct arena *a, struct report_rcpt *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->tx.n_list; i++) {
        const struct smtp_recipient *r = &s->tx.list[i];
        if (!describe(s, r, &out[n]))
            continue;
        out[n].address = arena_str(a, r->address);
        out[n].orcpt = arena_str(a, r->orcpt);
        n++;
    }
    return n;
}

static void send(const struct smtp_session *s, const struct report_rcpt *rcpts, size_t n)
{
    const struct report report = {.id = store_new_id(s->server->conf.store),
                                  .about = s->tx.id,
                                  .hostname = str_from(s->server->hostname),
                                  .origin = str_from(s->server->origin),
                                  .to = s->tx.sender,
                                  .envid = s->tx.envid,
                                  .now_ms = clock_wall_ms(),
                                  .arrived_ms = clock_wall_ms(),
                                  .rcpts = rcpts,
                                  .n_rcpts = n,
                                  .head = str_take(body_sink_head(s->tx.sink), HEAD_MAX),
                                  .utf8 = s->tx.utf8};
    struct buf text;
    buf_init(&text, NOTICE_MAX);
    report_write(&report, &text);
    if (buf_ok(&text))
        notice_send(s, &(struct notice){.what = "confirmation",
                                        .id = report.id,
                                        .about = s->tx.id,
                                        .to = report.to,
                                        .account = STR(""),
                                        .text = buf_str(&text),
                                        .utf8 = report.utf8});
    buf_fini(&text);
}

void smtp_confirm(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    bool any = false;
    for (size_t i = 0; i < tx->n_list && !any; i++)
        any = report_wanted(tx->list[i].notify, REPORT_DELIVERED);
    /* What was taken for junk, or is forged, isn't confirmed to whoever it claims to be from. */
    if (!any || !tx->sender.n || tx->junk || smtp_filter_disowned(s) || notice_busy(s->server))
        return;
    struct arena *arena = arena_new(0);
    struct report_rcpt *rcpts = ARENA_ARRAY(arena, struct report_rcpt, tx->n_list);
    size_t n = collect(s, arena, rcpts);
    if (n)
        send(s, rcpts, n);
    arena_free(&arena);
}
