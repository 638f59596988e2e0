/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd_rcpt.c - RCPT TO: one recipient. RFC 5321 4.1.1.3. Whether a recipient is taken is decided
 * here, in decide(): global aliases and the directory say where the address leads -> ours and
 * known, or elsewhere for who may relay -> has it room? -> what do the filters say? ->
 * smtp_rcpt_accept(). A bounce to a sender of forwarded mail is looked up under the address that
 * was rewritten (srs.h). */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "smtp/client/route.h"
#include "smtp/commands.h"
#include "smtp/queue/srs.h"

enum { OVERSHOOT = 1000 };

/* RFC 9422 4.3. False: it is one too many. */
static bool domain_fits(struct smtp_session *s, struct str domain)
{
    size_t limit = (size_t)s->conf->rcpt_domain_limit;
    if (!limit || smtp_is_known(s) || guard_trusts(&s->guard))
        return true;
    char *lower = arena_dup(s->command, domain.p, domain.n);
    for (size_t i = 0; i < domain.n; i++)
        lower[i] = ascii_lower(lower[i]);
    uint64_t hash = str_hash(str_of(lower, domain.n));
    for (size_t i = 0; i < s->n_rcpt_domains; i++)
        if (s->rcpt_domains[i] == hash)
            return true;
    if (s->n_rcpt_domains >= limit)
        return false;
    if (!s->rcpt_domains)
        s->rcpt_domains = mem_alloc(limit * sizeof *s->rcpt_domains);
    s->rcpt_domains[s->n_rcpt_domains++] = hash;
    return true;
}

void smtp_rcpt_refused(struct smtp_session *s, unsigned code)
{
    if (code < 500 && !smtp_is_known(s) && !guard_trusts(&s->guard) &&
        ++s->tx.put_off > (size_t)s->conf->rcpt_limit)
        smtp_count_slow_error(s);
}

/* RFC 5321 4.5.3.1.10: whoever pipelines has sent many before it hears of it. */
static int one_too_many(struct smtp_session *s, struct smtp_refusal *why)
{
    if (++s->tx.one_more > OVERSHOOT && !smtp_is_known(s) && !guard_trusts(&s->guard))
        smtp_count_slow_error(s);
    return smtp_refuse(why, 452, "4.5.3", "Too many recipients; send the rest again");
}

int smtp_rcpt_check(struct smtp_session *s, struct str args, struct smtp_refusal *why)
{
    struct smtp_rcpt_args *r = &s->pending.rcpt;
    if (smtp_rcpt_parse(s->command, smtp_qualify(s, args), r, why))
        return -1;
    if (r->path.utf8 && !s->tx.utf8) /* RFC 6531 3.5 */
        return smtp_refuse(why, 553, "5.6.7", "This address needs SMTPUTF8 at MAIL");
    if (s->tx.rcpts >= (size_t)s->conf->rcpt_limit)
        return one_too_many(s, why);
    if (r->dsn && (!s->esmtp || !smtp_offers_dsn(s)))
        return smtp_refuse(why, 555, "5.5.4", "NOTIFY and ORCPT are not known here");
    if (!domain_fits(s, r->path.domain))
        return smtp_refuse(why, 452, "4.5.3", "Too many domains in one session; connect again");
    return 0;
}

static void refuse(struct smtp_session *s, unsigned code, const char *status, const char *text)
{
    struct smtp_refusal why = {0};
    smtp_refuse(&why, code, status, "%s", text);
    smtp_rcpt_refused(s, code);
    smtp_refuse_command(s, "RCPT", s->pending.rcpt.rcpt, &why);
    /* A user's list with stale addresses isn't an attack. */
    if ((s->account || s->port->role == SMTP_LOCAL) && code >= 500 && s->errors)
        s->errors--;
}

static bool add_all(struct arena *a, struct smtp_list *l, const struct str *items, size_t n)
{
    size_t before = l->n;
    for (size_t i = 0; i < n; i++)
        if (!smtp_list_add(a, l, items[i])) {
            l->n = before;
            return false;
        }
    return true;
}

/* RFC 3461 4.2: as it was given; RFC 3461 5.2.7.1 (b): that of an address which leads elsewhere is
 * that address, so that reports tell what its sender knows. */
static struct str orcpt_of(struct smtp_session *s)
{
    const struct smtp_rcpt_args *r = &s->pending.rcpt;
    if (r->orcpt.n)
        return arena_printf(s->command, STR_FMT ";" STR_FMT, STR_ARG(r->orcpt_type),
                            STR_ARG(r->orcpt));
    if (s->forwarded && !s->reversed && text_ascii(r->rcpt))
        return arena_printf(s->command, "rfc822;" STR_FMT, STR_ARG(r->rcpt));
    return STR_NULL;
}

/* Remembered one by one, as filters may take single ones away. */
static void remember(struct smtp_session *s)
{
    smtp_recipient_add(s, &(struct smtp_recipient){.address = s->pending.rcpt.rcpt,
                                                   .accounts = s->dests,
                                                   .n_accounts = s->n_dests,
                                                   .away = s->n_dests ? s->away : NULL,
                                                   .remotes = s->remotes,
                                                   .n_remotes = s->n_remotes,
                                                   .notify = s->pending.rcpt.notify,
                                                   .orcpt = orcpt_of(s),
                                                   .forwarded = s->forwarded});
}

void smtp_rcpt_accept(struct smtp_session *s)
{
    struct smtp_transaction *tx = &s->tx;
    if (smtp_filter_drops(s)) /* it is told ok, and gets nothing */
        s->n_dests = s->n_remotes = 0;
    if (tx->remotes.n + s->n_remotes > SMTP_COPIES_MAX ||
        !add_all(tx->arena, &tx->accounts, s->dests, s->n_dests) ||
        !add_all(tx->arena, &tx->remotes, s->remotes, s->n_remotes)) {
        refuse(s, 452, "4.5.3", "Too many recipients; send the rest again");
        return;
    }
    if (tx->rcpts++ == 0)
        tx->first_rcpt = arena_str(tx->arena, s->pending.rcpt.rcpt);
    remember(s);
    smtp_session_enter(s, SMTP_RCPT);
    smtp_reply(s, 250, "2.1.5", "Recipient ok");
}

static void on_room(struct smtp_session *s, enum smtp_room_verdict verdict)
{
    if (verdict == SMTP_ROOM_OK)
        smtp_filter_command(s);
    else if (verdict == SMTP_ROOM_FULL)
        refuse(s, 452, "4.2.2", "The mailbox is full");
    else if (verdict == SMTP_ROOM_NEVER)
        refuse(s, 552, "5.2.2", "The message is larger than the mailbox may grow");
    else
        refuse(s, 451, "4.3.0", "The mailbox can't be read at the moment");
}

static void check_room(struct smtp_session *s)
{
    switch (smtp_quota_ask(s, s->tx.declared, on_room)) {
    case SMTP_ROOM:
        smtp_filter_command(s);
        break;
    case SMTP_ROOM_ASKED:
        break;
    case SMTP_ROOM_UNKNOWN:
        refuse(s, 451, "4.3.2", "Too busy at the moment");
    }
}

static struct str *keep(struct arena *a, const struct str *from, size_t n, struct str extra)
{
    struct str *to = ARENA_ARRAY(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        to[i] = arena_str(a, from[i]);
    to[n] = extra;
    return to;
}

/* Keeps where it goes until it is accepted; what would leave goes to the capture account. */
static void take(struct smtp_session *s, const struct str *accounts, size_t n_accounts,
                 const struct str *remotes, size_t n_remotes)
{
    struct str capture = str_from(s->server->conf.capture_account);
    s->dests = keep(s->command, accounts, n_accounts, capture);
    s->n_dests = n_accounts + (capture.n && n_remotes ? 1 : 0);
    s->remotes = keep(s->command, remotes, n_remotes, STR_NULL);
    s->n_remotes = n_remotes;
    check_room(s);
}

/* Mail for another host. The client asks for it itself, or returns what we sent on before: we
 * signed that address. */
static void decide_relay(struct smtp_session *s, struct str rcpt)
{
    struct err err = {0};
    bool open = s->port->role == SMTP_OPEN && !smtp_can_leave(s);
    if (!smtp_may_relay(s) && !s->reversed && !open)
        refuse(s, 550, "5.7.1", "Relaying denied: we don't serve this address");
    else if (!smtp_can_leave(s))
        refuse(s, 550, "5.7.1", "Sending to other hosts isn't set up here");
    else if (open || !smtp_has_route(s, rcpt, &err))
        refuse(s, 550, "5.1.2", "No mail can be sent to this domain");
    else
        take(s, NULL, 0, &rcpt, 1);
}

/* An alias that leads to other hosts, as far as there is a way to them. */
static void decide_forward(struct smtp_session *s, const struct directory_answer *a)
{
    struct str *remotes = ARENA_ARRAY(s->command, struct str, a->n_remotes + 1);
    size_t n = 0;
    struct err err = {0};
    if (!smtp_can_leave(s)) {
        refuse(s, 550, "5.7.1", "The address leads to another host; sending out isn't set up here");
        return;
    }
    for (size_t i = 0; i < a->n_remotes; i++) {
        if (smtp_has_route(s, a->remotes[i], &err))
            remotes[n++] = a->remotes[i];
        else
            log_warn(&s->log, "destination_ignored", L_STR("address", a->remotes[i]),
                     L_STR("of", s->pending.rcpt.rcpt), L_Z("reason", err.text));
    }
    s->forwarded = true;
    if (a->n_accounts + n)
        take(s, a->accounts, a->n_accounts, remotes, n);
    else
        refuse(s, 550, "5.1.2", "The address leads to a domain that no mail can be sent to");
}

/* Taken in for the host whose mail it is: passed on as it came. */
static void decide_backup(struct smtp_session *s, struct str rcpt)
{
    struct err err = {0};
    if (!smtp_can_leave(s))
        refuse(s, 550, "5.7.1", "Sending to other hosts isn't set up here");
    else if (!smtp_has_route(s, rcpt, &err))
        refuse(s, 550, "5.1.2", "No mail can be sent to this domain");
    else
        take(s, NULL, 0, &rcpt, 1);
}

/* RFC 5321 4.5.1: postmaster must be taken. Nobody would read it before there is a user. */
static bool is_postmaster(struct str rcpt)
{
    struct str local, domain;
    address_split(rcpt, &local, &domain);
    return str_ieq(local.n ? local : rcpt, STR("postmaster"));
}

static void refuse_unknown(struct smtp_session *s)
{
    bool later = s->conf->unknown_local_code == SMTP_UNKNOWN_450;
    if (is_postmaster(s->pending.rcpt.rcpt)) {
        refuse(s, 450, "4.2.1", "Nobody reads mail for postmaster here yet; try later");
        return;
    }
    if (later) /* whoever guesses addresses is slowed down all the same */
        smtp_count_slow_error(s);
    guard_fault(&s->guard, GUARD_UNKNOWN_RECIPIENT);
    refuse(s, later ? 450 : 550, later ? "4.1.1" : "5.1.1", "No such address here");
}

/* RFC 5321 3.4. What is stored is an administrator's text: nothing but an address is said. */
static void refuse_moved(struct smtp_session *s, struct str to)
{
    bool plain = to.n <= 320;
    for (size_t i = 0; plain && i < to.n; i++)
        plain = to.p[i] > ' ' && to.p[i] < 127 && to.p[i] != '<' && to.p[i] != '>';
    struct str hint =
        plain ? arena_printf(s->command, ": please try <" STR_FMT ">", STR_ARG(to)) : STR("");
    refuse(s, 551, "5.1.6",
           arena_printf(s->command, "The mailbox has moved" STR_FMT, STR_ARG(hint)).p);
}

/* Who of them is away; a capture account that comes last isn't. */
static bool *keep_away(struct arena *m, const struct directory_answer *a)
{
    bool any = false;
    for (size_t i = 0; a->away && i < a->n_accounts; i++)
        any = any || a->away[i];
    if (!any)
        return NULL;
    bool *to = ARENA_ARRAY(m, bool, a->n_accounts + 1);
    memcpy(to, a->away, a->n_accounts * sizeof *to);
    return to;
}

static void decide(struct smtp_session *s, const struct directory_answer *a)
{
    s->forwarded = s->reversed;
    s->away = a->failed ? NULL : keep_away(s->command, a);
    if (a->failed && a->err.kind == ERR_PERM)
        refuse(s, 550, "5.4.6", a->err.text); /* an alias loop, or too many destinations */
    else if (a->failed)
        refuse(s, 451, "4.3.0", "The address can't be looked up at the moment");
    else if (a->kind == DIRECTORY_NOT_OURS)
        decide_relay(s, s->lookup);
    else if (a->backup)
        decide_backup(s, s->lookup); /* as the client wrote it */
    else if (a->kind == DIRECTORY_MOVED)
        refuse_moved(s, a->moved);
    else if (a->closed) /* RFC 3463 3.3 */
        refuse(s, 550, "5.2.1", "This mailbox takes no mail");
    else if (a->kind == DIRECTORY_UNKNOWN || a->n_accounts + a->n_remotes == 0)
        refuse_unknown(s);
    else if (a->n_remotes)
        decide_forward(s, a);
    else
        take(s, a->accounts, a->n_accounts, a->remotes, a->n_remotes);
}

static void on_resolved(void *ctx, const struct directory_answer *a)
{
    struct smtp_session *s = ctx;
    if (smtp_session_back(s))
        decide(s, a);
    smtp_session_unref(&s);
}

/* The address to look up: of a bounce that comes back, whose it is. False: forged, or too old. */
static bool reverse(struct smtp_session *s)
{
    struct err err = {0};
    const struct srs_conf *srs = s->server->conf.srs;
    s->lookup = s->pending.rcpt.rcpt;
    s->reversed = false;
    if (!srs || !s->relay || !s->relay->enabled)
        return true;
    int found = srs_reverse(srs, s->command, s->lookup, clock_wall_ms(), &s->lookup, &err);
    s->reversed = found > 0;
    return found >= 0;
}

void smtp_rcpt_proceed(struct smtp_session *s)
{
    if (!reverse(s)) {
        guard_fault(&s->guard, GUARD_UNKNOWN_RECIPIENT);
        refuse(s, 550, "5.1.1", "No such address here: it was not made here, or is too old");
        return;
    }
    if (smtp_alias_resolve(s, decide))
        return;
    if (directory_resolve(s->server->conf.directory, s->lookup, on_resolved, smtp_session_ref(s)) ==
        0) {
        smtp_session_wait(s, SMTP_WAIT_WORK);
        return;
    }
    struct smtp_session *mine = s;
    smtp_session_unref(&mine);
    refuse(s, 451, "4.3.2", "Too busy at the moment");
}
