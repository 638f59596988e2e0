/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* vacation.c - after the commit: the sender is told who of the recipients is away. RFC 3834. Never
 * of junk, nor to an address that the message's domain disowns (SPF, DMARC): the answer would go to
 * somebody who wrote nothing. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "smtp/commands.h"
#include "smtp/deliver.h"
#include "smtp/notice.h"
#include "smtp/trace.h"
#include "smtp/vacation_text.h"

enum { HEAD_MAX = 64 << 10, FOLDED_MAX = 1000, AWAY_MAX = 50 /* of one message */ };

struct asking {
    struct smtp_session *session;
    struct arena *arena;
    uint64_t about;
    struct str account, sender, head;
};

static void end(struct asking **ap)
{
    struct asking *a = *ap;
    struct smtp_session *s = a->session;
    *ap = NULL;
    arena_free(&a->arena);
    mem_free(a);
    smtp_session_unref(&s);
}

static void tell(struct asking *a, const struct directory_notice *notice)
{
    struct smtp_server *server = a->session->server;
    const struct vacation v = {.id = store_new_id(server->conf.store),
                               .from = a->account,
                               .to = a->sender,
                               .hostname = str_from(server->hostname),
                               .now = smtp_trace_now(),
                               .head = a->head,
                               .notice = notice};
    struct buf text;
    buf_init(&text, NOTICE_MAX);
    if (vacation_write(&v, &text) == 0)
        notice_send(a->session, &(struct notice){.what = "vacation",
                                                 .id = v.id,
                                                 .about = a->about,
                                                 .to = v.to,
                                                 .account = v.from,
                                                 .text = buf_str(&text),
                                                 .utf8 = !text_ascii(v.to) || !text_ascii(v.from)});
    buf_fini(&text);
}

static void on_away(void *ctx, const struct directory_away *answer)
{
    struct asking *a = ctx;
    if (!answer->failed && answer->tell)
        tell(a, &answer->notice);
    end(&a);
}

static void ask(struct smtp_session *s, struct str account, struct str sender, struct str folded)
{
    struct asking *a = MEM_NEW(struct asking);
    a->arena = arena_new(0);
    a->session = smtp_session_ref(s);
    a->about = s->tx.id;
    a->account = arena_str(a->arena, account);
    a->sender = arena_str(a->arena, sender);
    a->head = arena_str(a->arena, str_take(body_sink_head(s->tx.sink), HEAD_MAX));
    if (directory_away(s->server->conf.directory, a->account, folded, on_away, a))
        end(&a); /* the lane is full: the next message will be answered */
}

static void consider(struct smtp_session *s, const struct smtp_recipient *r, size_t i,
                     struct str folded)
{
    const struct str own[] = {r->accounts[i], r->address};
    const char *why =
        vacation_forbidden(body_sink_head(s->tx.sink), s->tx.sender, own, ARRAY_LEN(own));
    if (why)
        log_debug(&s->log, "no_vacation", L_STR("account", r->accounts[i]), L_Z("reason", why));
    else
        ask(s, r->accounts[i], s->tx.sender, folded);
}

void smtp_vacation(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct buf folded;
    struct err err = {0};
    size_t left = AWAY_MAX;
    bool any = false;
    for (size_t i = 0; i < tx->n_list; i++)
        any = any || tx->list[i].away;
    if (!any || !tx->sender.n || tx->junk || smtp_filter_disowned(s))
        return;
    buf_init(&folded, FOLDED_MAX);
    if (address_fold(tx->sender, &folded, &err) == 0)
        for (size_t i = 0; i < tx->n_list; i++)
            for (size_t k = 0; tx->list[i].away && k < tx->list[i].n_accounts; k++)
                if (tx->list[i].away[k] && !tx->list[i].deleted && left &&
                    !notice_busy(s->server)) {
                    left--;
                    consider(s, &tx->list[i], k, buf_str(&folded));
                }
    buf_fini(&folded);
}
