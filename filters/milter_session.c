/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_session.c - one SMTP session and its milters: at each point they are asked one after the
 * other, as each must see what those before it have made of the message. */
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "filters/milter_private.h"
#include <stdio.h>

const struct ph_view *milter_view(const struct milter_session *s)
{
    return &s->view;
}

/* The name of the client is what the stage `rdns` has found, if it has. */
static void look(struct milter_session *s)
{
    const struct ph_host *host = s->milter->host;
    const char *name = host->fact_get(host->acts(host, s->turn), "rdns.name");

    s->view = *host->view(host, s->turn);
    if (name && !s->view.client_name[0])
        s->view.client_name = name;
}

/* ---- Ends. */

static void forget(struct milter_peer *p)
{
    p->told = MILTER_TOLD_NOTHING;
    p->mail = 0;
    p->rcpts = 0;
    p->opening = false;
}

static bool at_work(const struct milter_peer *p)
{
    const struct milter_session *s = p->session;

    return s->turn.id && s->current < s->n && &s->peers[s->current] == p;
}

static void turn_over(struct milter_session *s)
{
    s->turn.id = 0;
    if (s->has_mail)
        milter_mail_fini(&s->mail);
    s->has_mail = false;
}

void milter_session_cancel(struct milter_session *s)
{
    if (s->current < s->n) {
        milter_client_close(s->peers[s->current].client, false);
        forget(&s->peers[s->current]);
    }
    turn_over(s);
}

static void tell_changes(struct milter_session *s, const struct ph_host *host)
{
    unsigned refused = milter_mail_tell(&s->mail, host, host->acts(host, s->turn));

    if (refused)
        host->log(host, milter_view(s), PH_LOG_WARN,
                  "%u changes of milters are not well-formed, and were not made", refused);
}

static void finish(struct milter_session *s)
{
    const struct ph_host *host = s->milter->host;
    const char *reply = s->reply[0] ? s->reply : NULL;
    ph_turn turn = s->turn;

    if (s->has_mail && s->worst < PH_DISCARD)
        tell_changes(s, host);
    turn_over(s);
    if (s->failure[0])
        host->failed(host, turn, s->worst, reply, s->failure);
    else
        host->done(host, turn, s->worst, reply, s->reason);
}

void milter_session_decide(struct milter_peer *p, enum ph_verdict v, const char *reply,
                           const char *what)
{
    struct milter_session *s = p->session;

    s->worst = v;
    snprintf(s->reply, sizeof s->reply, "%s", reply ? reply : "");
    snprintf(s->reason, sizeof s->reason, "%s: %s", p->endpoint.text, what);
    if (v >= PH_DISCARD)
        s->current = s->n;
}

/* The others are asked all the same: on_error may let the mail pass. */
void milter_peer_fail(struct milter_peer *p, const char *why)
{
    struct milter_session *s = p->session;
    const struct ph_view *v = milter_view(s);

    milter_client_close(p->client, false);
    forget(p);
    if (s->has_mail)
        milter_mail_rollback(&s->mail);
    p->failed = true;
    p->failed_mail = v->message;
    if (!s->failure[0])
        snprintf(s->failure, sizeof s->failure, "%s: %s", p->endpoint.text, why);
    else
        s->milter->host->log(s->milter->host, v, PH_LOG_WARN, "%s: %s", p->endpoint.text, why);
}

/* ---- Connecting. */

static void on_address(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg)
{
    struct milter_peer *p = arg;
    const struct ph_host *host = p->session->milter->host;
    char why[200];

    (void)inst;
    if (a->status == PH_DNS_FOUND && a->n && a->records[0]->ip) {
        milter_client_open(p->client, a->records[0]->ip);
        return;
    }
    if (a->status == PH_DNS_NO_DATA && p->opening) { /* once */
        p->opening = false;
        if (host->dns(host, turn, PH_DNS_AAAA, p->endpoint.host, on_address, p) == 0)
            return;
    }
    snprintf(why, sizeof why, "its name has no address (%.100s)",
             a->why && a->why[0] ? a->why : "the DNS has none");
    milter_peer_fail(p, why);
    milter_session_run(p->session);
}

static void open_peer(struct milter_peer *p)
{
    const struct ph_host *host = p->session->milter->host;

    p->opening = true;
    if (p->endpoint.path[0] || p->endpoint.numeric)
        milter_client_open(p->client, NULL);
    else if (host->dns(host, p->session->turn, PH_DNS_A, p->endpoint.host, on_address, p))
        milter_peer_fail(p, "its name can't be looked up");
}

static void begin_peer(struct milter_peer *p)
{
    enum ph_point at = p->session->at;

    p->helo_due = at == PH_HELO;
    p->rcpt_due = at == PH_RCPT;
    p->late = false;
    p->reused = milter_client_is_open(p->client);
    p->part = MILTER_PART_DATA;
    p->field = 0;
    p->offset = 0;
}

static void on_ready(void *peer)
{
    struct milter_peer *p = peer;

    p->opening = false;
    if (at_work(p))
        milter_session_run(p->session);
}

static void on_failed(void *peer, const char *why)
{
    struct milter_peer *p = peer;

    forget(p);
    if (!at_work(p))
        return;
    milter_peer_fail(p, why);
    milter_session_run(p->session);
}

/* One that was restarted meanwhile, or has grown tired of waiting, is told all again. */
static void on_lost(void *peer, const char *why)
{
    struct milter_peer *p = peer;

    if (!at_work(p) || !p->reused) {
        on_failed(p, why);
        return;
    }
    forget(p);
    begin_peer(p);
    milter_session_run(p->session);
}

static void on_room(void *peer)
{
    struct milter_peer *p = peer;

    if (at_work(p) && !milter_client_awaits(p->client))
        milter_session_run(p->session);
}

/* ---- One point. */

static bool settled(const struct milter_peer *p, const struct ph_view *v)
{
    return p->settled || (v->message && p->settled_mail == v->message);
}

static bool wants(struct milter_peer *p, const struct ph_view *v)
{
    char why[120];

    if (settled(p, v))
        return false;
    if (p->failed && v->message && p->failed_mail != v->message)
        p->failed = false; /* another transaction, another try */
    if (p->failed) {
        snprintf(why, sizeof why, "it failed before in this %s",
                 v->message ? "transaction" : "session");
        milter_peer_fail(p, why);
    }
    return !p->failed;
}

/* False: it is waited for. */
static bool run_peer(struct milter_peer *p)
{
    const struct ph_view *v = milter_view(p->session);
    enum milter_go go = MILTER_GO_ON;

    if (p->failed || settled(p, v))
        return true;
    if (!milter_client_is_open(p->client)) {
        open_peer(p);
        return p->failed;
    }
    while (go == MILTER_GO_ON)
        go = milter_step(p, v);
    if (go == MILTER_GO_BROKEN)
        milter_peer_fail(p, "the message can't be read");
    return go != MILTER_GO_WAIT;
}

static void next_peer(struct milter_session *s)
{
    s->current++;
    while (s->current < s->n && !wants(&s->peers[s->current], milter_view(s)))
        s->current++;
    if (s->current < s->n)
        begin_peer(&s->peers[s->current]);
}

void milter_session_run(struct milter_session *s)
{
    while (s->current < s->n && run_peer(&s->peers[s->current]))
        next_peer(s);
    if (s->current >= s->n)
        finish(s);
}

void milter_session_point(struct milter_session *s, ph_turn turn, enum ph_point at)
{
    const struct ph_view *v;

    s->turn = turn;
    s->at = at;
    s->worst = PH_PASS;
    s->reply[0] = s->reason[0] = s->failure[0] = '\0';
    look(s);
    v = milter_view(s);
    if (at == PH_MESSAGE && s->discarded && s->discarded == v->message) {
        s->turn.id = 0;
        s->milter->host->done(s->milter->host, turn, PH_DISCARD, NULL,
                              "a milter wanted it dropped, at a recipient");
        return;
    }
    if (at == PH_MESSAGE) {
        milter_mail_init(&s->mail, str_of(v->head, v->head_size), s->conf->body_limit);
        s->has_mail = true;
    }
    s->current = SIZE_MAX;
    next_peer(s);
    milter_session_run(s);
}

/* ---- Its life. */

static void peer_init(struct milter_peer *p, struct milter_session *s, struct str endpoint)
{
    static const struct milter_events events = {.on_ready = on_ready,
                                                .on_answer = milter_on_answer,
                                                .on_room = on_room,
                                                .on_failed = on_failed,
                                                .on_lost = on_lost};
    const struct milter_times times = {s->conf->connect_timeout, s->conf->command_timeout,
                                       s->conf->content_timeout};
    struct err err = {0};

    p->session = s;
    CHECK(milter_endpoint_parse(endpoint, &p->endpoint, &err) == 0); /* open() has seen to it */
    p->client = milter_client_new(s->milter->loop, &p->endpoint, &times, &events, p);
}

static size_t count_words(const char *list)
{
    struct str rest = str_from(list), word;
    size_t n = 0;

    while (settings_list_next(&rest, &word))
        n++;
    return n;
}

struct milter_session *milter_session_new(struct milter *m, const struct milter_conf *conf)
{
    struct milter_session *s = MEM_NEW(struct milter_session);
    struct str rest = str_from(conf->endpoints), word;
    size_t n = 0;

    s->milter = m;
    s->conf = conf;
    s->n = count_words(conf->endpoints);
    s->peers = mem_alloc((s->n + 1) * sizeof *s->peers);
    while (settings_list_next(&rest, &word))
        peer_init(&s->peers[n++], s, word);
    return s;
}

void milter_session_free(struct milter_session **sp)
{
    struct milter_session *s = *sp;

    if (!s)
        return;
    *sp = NULL;
    turn_over(s);
    for (size_t i = 0; i < s->n; i++)
        milter_client_free(&s->peers[i].client);
    mem_free(s->peers);
    mem_free(s);
}
