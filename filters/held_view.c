/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* held_view.c - what is kept of the transaction of held mail (queue.info), as "key NUL value NUL
 * ...", and the chain made as it was. */
#include "filters/held_view.h"
#include "appliance/base/clock.h"
#include "appliance/store/queue.h"
#include "filters/private.h"
#include <stdio.h>
#include <stdlib.h>

static void put(struct buf *out, const char *key, const char *value)
{
    if (!value || !value[0])
        return;
    buf_add(out, key, strlen(key) + 1);
    buf_add(out, value, strlen(value) + 1);
}

static void put_number(struct buf *out, const char *key, double v)
{
    char text[40];

    snprintf(text, sizeof text, "%.17g", v);
    put(out, key, text);
}

static void put_decision(struct buf *out, const char *key, const struct decision *d)
{
    if (d->verdict == PH_PASS)
        return;
    put(out, key, ph_verdict_name(d->verdict));
}

static void put_facts(struct buf *out, const struct fact_node *n)
{
    for (; n; n = n->next) {
        if (!n->fact->value.n)
            continue;
        buf_add_z(out, "fact ");
        put(out, n->fact->name.p, n->fact->value.p);
    }
}

void held_fill(const struct chain *c, const struct ph_view *v, struct buf *out,
               struct queue_entry *e)
{
    const struct filters_conf *conf = filters_config_general(c->config);
    char session[24];

    snprintf(session, sizeof session, "%llu", (unsigned long long)c->session);
    put(out, "session", session);
    put(out, "ip", v->client_ip);
    put(out, "name", v->client_name);
    put(out, "port", v->port);
    put(out, "service", v->service);
    put(out, "tls", v->tls);
    put(out, "helo", v->helo);
    put(out, "host", v->host);
    put(out, "auth", v->auth_user);
    put(out, "utf8", v->utf8 ? "yes" : "");
    put(out, "route", v->route);
    for (size_t i = 0; i < v->n_rcpts; i++)
        put(out, "rcpt", v->rcpts[i]);
    put(out, "accepted", judge_settled(c) ? "yes" : "");
    put(out, "allowed", judge_allowed(c) ? "yes" : "");
    put_decision(out, "soft", &c->of_message.soft);
    put_decision(out, "firm", &c->of_message.firm);
    put_number(out, "score", c->of_message.score);
    put_facts(out, c->of_message.facts);
    e->since_ms = clock_wall_ms();
    e->until_ms =
        e->since_ms + (int64_t)(e->held == QUEUE_HELD ? conf->hold_time : conf->quarantine_time);
    e->next_ms = e->since_ms + (int64_t)conf->hold_retry;
    e->stage = str_from(c->answer.stage);
    e->reason = e->held == QUEUE_HELD ? STR("waits for a stage that can't judge it yet")
                                      : str_from(c->answer.reason);
}

static void put_str(struct buf *out, const char *key, struct str value)
{
    buf_add(out, key, strlen(key) + 1);
    buf_add_str(out, value);
    buf_add(out, "", 1);
}

void held_recipient(struct buf *view, struct str address, const struct str *accounts,
                    size_t n_accounts, const struct str *remotes, size_t n_remotes)
{
    put_str(view, "for", address);
    for (size_t i = 0; i < n_accounts; i++)
        put_str(view, "here", accounts[i]);
    for (size_t i = 0; i < n_remotes; i++)
        put_str(view, "there", remotes[i]);
}

void held_quarantine_junk(struct buf *view)
{
    put(view, "junk", "quarantine");
}

static enum ph_verdict verdict_named(struct str name)
{
    for (int v = 0; v < PH_VERDICTS; v++)
        if (str_eq(name, str_from(ph_verdict_name(v))))
            return v;
    return PH_QUARANTINE;
}

static void restore_fact(struct scope *s, struct str name, struct str value)
{
    struct chain_fact *f = ARENA_NEW(s->arena, struct chain_fact);

    *f =
        (struct chain_fact){.name = arena_str(s->arena, name), .value = arena_str(s->arena, value)};
    if (facts_add(s, f) && s->firm.verdict < PH_QUARANTINE)
        s->firm = (struct decision){
            .verdict = PH_QUARANTINE, .stage = "", .reason = "there is no room for its facts"};
}

static void restore(struct chain *c, struct ph_view *v, const char **rcpts, struct str key,
                    struct str value)
{
    struct scope *s = &c->of_message;
    const struct {
        const char *key, **field;
    } texts[] = {{"ip", &v->client_ip},    {"name", &v->client_name}, {"port", &v->port},
                 {"service", &v->service}, {"tls", &v->tls},          {"helo", &v->helo},
                 {"auth", &v->auth_user},  {"host", &v->host},        {"route", &v->route}};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (str_eq(key, str_from(texts[i].key)))
            *texts[i].field = value.p;
    if (str_eq(key, STR("rcpt")) && v->n_rcpts < HELD_RCPTS_MAX)
        rcpts[v->n_rcpts++] = value.p;
    else if (str_eq(key, STR("utf8")))
        v->utf8 = true;
    else if (str_eq(key, STR("accepted")))
        s->accepted = true;
    else if (str_eq(key, STR("allowed")))
        s->allowed = true;
    else if (str_eq(key, STR("soft")) || str_eq(key, STR("firm")))
        *(str_eq(key, STR("soft")) ? &s->soft : &s->firm) = (struct decision){
            .verdict = verdict_named(value), .stage = "", .reason = "decided before it was held"};
    else if (str_eq(key, STR("score")))
        s->score = strtod(value.p, NULL);
    else if (str_starts(key, STR("fact ")))
        restore_fact(s, str_skip(key, 5), value);
}

/* Facts were saved newest first: they are taken in from the end. */
bool held_restore(struct chain *c, struct arena *a, struct str rest, struct ph_view *v,
                  const char **rcpts)
{
    struct str *items = ARENA_ARRAY(a, struct str, rest.n + 2), key, value;
    bool quarantine_junk = false;
    size_t n = 0;

    while (rest.n) {
        str_cut(rest, '\0', &key, &rest);
        str_cut(rest, '\0', &value, &rest);
        items[n++] = key;
        items[n++] = value;
        quarantine_junk |= str_eq(key, STR("junk"));
    }
    for (size_t i = 0; i < n; i += 2)
        if (!str_starts(items[i], STR("fact ")))
            restore(c, v, rcpts, items[i], items[i + 1]);
    while (n) {
        n -= 2;
        if (str_starts(items[n], STR("fact ")))
            restore(c, v, rcpts, items[n], items[n + 1]);
    }
    return quarantine_junk;
}
