/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dnslist.c - the stage `dnslist`: what DNS lists of clients and domains say, weighed. All are
 * asked at once; what doesn't answer says nothing. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "filters/builtin.h"
#include "filters/dnslist_lists.h"
#include "filters/outside.h"
#include <stdio.h>
#include <stdlib.h>

enum { QUESTIONS = 96, QUERIES = QUESTIONS + 1, TIME_MS = 5000, MOST = 1000, SECOND = 1000 };
enum { TICK_MS = 60 * SECOND, DAY = 24 * 3600 * SECOND, TEXT_SIZE = 140, REASON_MAX = 16000 };

struct dnslist_conf {
    const char *lists, *domain_lists;
    int64_t refuse, defer, junk, trust, accept;
    bool test;
    uint64_t test_every;
    const char *skip;
};
// clang-format off
static const struct ph_setting dnslist_settings[] = {
    PH_SETTING(TEXT, dnslist_conf, lists, PH_RELOAD | PH_LIST, "", 0, 0,
               "DNS lists of addresses (RFC 5782) to ask about each client, with what they weigh: \"zen.spamhaus.org=5\" for any answer, "
               "\"bl.example=127.0.0.2:4\" or \"bl.example=127.0.0.4-7:2.5\" for some, \"list.dnswl.org=127.0.*.2-3:-4\" for one that "
               "speaks for the client. A list may be named several times; of its answers the weight furthest from 0 counts. Empty, as it "
               "is at first: nobody is asked anything. Most lists answer only resolvers of one's own, not public ones."),
    PH_SETTING(TEXT, dnslist_conf, domain_lists, PH_RELOAD | PH_LIST, "", 0, 0,
               "The same of lists of domain names, which are asked about the sender's domain, the name in HELO and the client's name "
               "(stage rdns)."),
    PH_SETTING(INT, dnslist_conf, refuse, PH_RELOAD, "8", 0, MOST,
               "From this sum of all weights on mail is refused; the sender is told which list says so, and its explanation. 0, here and "
               "below: never."),
    PH_SETTING(INT, dnslist_conf, defer, PH_RELOAD, "0", 0, MOST, "From this sum on the client is told to come again later."),
    PH_SETTING(INT, dnslist_conf, junk, PH_RELOAD, "5", 0, MOST, "From this sum on mail goes to Junk."),
    PH_SETTING(INT, dnslist_conf, trust, PH_RELOAD, "1", 0, MOST,
               "With a sum so far below 0 the client is trusted: the stage greylist lets its mail pass."),
    PH_SETTING(INT, dnslist_conf, accept, PH_RELOAD, "0", 0, MOST,
               "With a sum so far below 0 mail is wanted, and no stage may put it into Junk or quarantine but those that look for viruses."),
    PH_SETTING(BOOL, dnslist_conf, test, PH_RELOAD, "yes", 0, 0,
               "Ask each list for its test entries, at the start and every `test_every`: 127.0.0.2 (TEST) must be listed, 127.0.0.1 (INVALID) "
               "must not. A list that fails is off until it passes, and until it has passed. no: lists that have none."),
    PH_SETTING(TIME, dnslist_conf, test_every, PH_RELOAD, "1h", 100, DAY, "How often lists are tested."),
    PH_SETTING(TEXT, dnslist_conf, skip, PH_RELOAD | PH_LIST, OUTSIDE_PRIVATE, 0, 0,
               "Clients that lists aren't asked about. Nor are those in guard.trusted, and whoever has logged in."),
    PH_SETTING_END};
// clang-format on

enum subject { ADDRESS, SENDER, HELO, NAME, SUBJECTS };
struct dnslist {
    const struct ph_host *host;
    struct outside outside;
    struct dnslist_lists *lists;
    uint64_t every_ms;
};
struct question {
    struct dnslist_list *list;
    enum subject subject;
    bool done;
    enum dnslist_outcome outcome;
    int weight; /* of a listing */
    uint8_t answer[4];
};
struct dnslist_turn {
    struct dnslist_lists *lists; /* a reference */
    const struct dnslist_conf *conf;
    size_t n, waiting;
    struct question questions[QUESTIONS];
    /* when all have answered */
    enum ph_verdict verdict;
    const struct question *worst;
    char reason[240];
};

/* ---- Who is asked about. */

/* As the DNS writes it; false: there is none. */
static bool domain_of(const struct dnslist *st, ph_turn turn, enum subject s, struct buf *out)
{
    const struct ph_host *host = st->host;
    const struct ph_view *v = host->view(host, turn);
    const char *at = strrchr(v->mail_from, '@');
    const char *name = s == SENDER ? (at ? at + 1 : "")
                       : s == HELO ? v->helo
                                   : host->fact_get(host->acts(host, turn), "rdns.name");

    buf_clear(out);
    return name && strchr(name, '.') && text_domain(str_from(name), out) == 0;
}

/* Of this subject in this list; false: it has none, or it is that of a subject before it. */
static bool question_name(const struct dnslist *st, ph_turn turn, const struct dnslist_list *l,
                          enum subject s, char *out, size_t room)
{
    const struct ph_view *v = st->host->view(st->host, turn);
    struct buf name, other;
    bool fresh;

    if (s == ADDRESS)
        return dnslist_address_name(v->client_ip, l->zone.name, out, room);
    buf_init(&name, DNSLIST_NAME);
    buf_init(&other, DNSLIST_NAME);
    fresh = domain_of(st, turn, s, &name);
    for (enum subject before = SENDER; fresh && before < s; before++)
        fresh = !domain_of(st, turn, before, &other) || !str_eq(buf_str(&name), buf_str(&other));
    if (fresh)
        fresh = snprintf(out, room, "%s.%s", buf_z(&name), l->zone.name) < DNSLIST_NAME;
    buf_fini(&name);
    buf_fini(&other);
    return fresh;
}

/* ---- What they say. */

static const struct question *furthest(const struct dnslist_turn *t, const struct dnslist_list *l)
{
    const struct question *best = NULL;

    for (size_t i = 0; i < t->n; i++) {
        const struct question *q = &t->questions[i];
        if (q->list == l && q->outcome == DNSLIST_YES &&
            (!best || abs(q->weight) > abs(best->weight)))
            best = q;
    }
    return best;
}

static bool silent(const struct dnslist_turn *t, const struct dnslist_list *l)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->questions[i].list == l && t->questions[i].outcome == DNSLIST_UNANSWERED)
            return true;
    return false;
}

/* Those that have something to say; returns the sum. */
static int weigh(struct dnslist_turn *t, struct buf *reason, struct buf *listed)
{
    int sum = 0;

    for (size_t i = 0; i < t->lists->n; i++) {
        const struct dnslist_list *l = &t->lists->at[i];
        const struct question *q = furthest(t, l);
        if (!q)
            continue;
        const uint8_t *b = q->answer;
        buf_printf(reason, "%s%s %s (%u.%u.%u.%u)", reason->n ? ", " : "", l->zone.name,
                   dnslist_points(q->weight).z, b[0], b[1], b[2], b[3]);
        buf_printf(listed, "%s%s", listed->n ? ", " : "", l->zone.name);
        sum += q->weight;
        if (!t->worst || q->weight > t->worst->weight)
            t->worst = q;
    }
    return sum;
}

/* Those that have not. */
static void tell_silent(const struct dnslist_turn *t, struct buf *reason)
{
    for (size_t i = 0; i < t->lists->n; i++) {
        const struct dnslist_list *l = &t->lists->at[i];
        const char *comma = reason->n ? ", " : "";
        if (!l->v4 && !l->v6)
            buf_printf(reason, "%s%s: off, %s", comma, l->zone.name, l->why);
        else if (!furthest(t, l) && silent(t, l))
            buf_printf(reason, "%s%s: no answer", comma, l->zone.name);
    }
}

static int conclude(const struct dnslist *st, ph_turn turn, struct dnslist_turn *t)
{
    struct ph_acts *acts = st->host->acts(st->host, turn);
    struct buf reason, listed;

    buf_init(&reason, REASON_MAX);
    buf_init(&listed, REASON_MAX);
    int sum = weigh(t, &reason, &listed);
    tell_silent(t, &reason);
    snprintf(t->reason, sizeof t->reason, "%s", reason.n ? buf_z(&reason) : "not listed");
    if (listed.n)
        st->host->fact_set(acts, "dnslist.lists", buf_z(&listed));
    buf_fini(&reason);
    buf_fini(&listed);
    return sum;
}

static bool reaches(int64_t threshold, int sum)
{
    return threshold && sum >= threshold * DNSLIST_POINT;
}

static enum ph_verdict verdict_of(const struct dnslist_conf *c, int sum)
{
    return reaches(c->refuse, sum)    ? PH_REJECT
           : reaches(c->defer, sum)   ? PH_DEFER
           : reaches(c->junk, sum)    ? PH_JUNK
           : reaches(c->accept, -sum) ? PH_ACCEPT
                                      : PH_PASS;
}

/* ---- The answer. */

static void subject_text(const struct dnslist *st, ph_turn turn, enum subject s, char *out,
                         size_t room)
{
    struct buf name;

    buf_init(&name, DNSLIST_NAME);
    if (s == ADDRESS)
        snprintf(out, room, "%s", st->host->view(st->host, turn)->client_ip);
    else
        snprintf(out, room, "%.90s", domain_of(st, turn, s, &name) ? buf_z(&name) : "");
    buf_fini(&name);
}

static void answer(struct dnslist *st, ph_turn turn, struct dnslist_turn *t, const char *text)
{
    char reply[256], subject[100];

    reply[0] = '\0';
    if (t->verdict >= PH_DEFER && t->worst) {
        subject_text(st, turn, t->worst->subject, subject, sizeof subject);
        snprintf(reply, sizeof reply, "%s %s is listed by %.60s: %s",
                 t->verdict == PH_REJECT ? "550 5.7.1" : "450 4.7.1", subject,
                 t->worst->list->zone.name,
                 text[0] ? text : "ask there why, and how to be removed");
    }
    dnslist_lists_unref(&t->lists);
    st->host->done(st->host, turn, t->verdict, reply, t->reason);
}

/* RFC 5782 2.1: what the list has to say of it. */
static void on_text(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg)
{
    char text[TEXT_SIZE + 1];
    size_t n = 0;

    for (; a->n && n < a->records[0]->text_size && n < TEXT_SIZE; n++) {
        char c = a->records[0]->text[n];
        text[n] = c;
        if (c < ' ' || c > '~')
            text[n] = '?';
    }
    text[n] = '\0';
    answer(inst, turn, arg, text);
}

static void finish(struct dnslist *st, ph_turn turn, struct dnslist_turn *t)
{
    const struct ph_host *host = st->host;
    struct ph_acts *acts = host->acts(host, turn);
    int sum = conclude(st, turn, t);
    char name[DNSLIST_NAME + 80];

    host->fact_set(acts, "dnslist.score", dnslist_points(sum).z);
    if (reaches(t->conf->trust, -sum))
        host->fact_set(acts, "dnslist.trusted", "yes");
    if (sum)
        host->score(acts, (double)sum / DNSLIST_POINT);
    t->verdict = verdict_of(t->conf, sum);
    if (t->verdict >= PH_DEFER && t->worst &&
        question_name(st, turn, t->worst->list, t->worst->subject, name, sizeof name) &&
        host->dns(host, turn, PH_DNS_TXT, name, on_text, t) == 0)
        return;
    answer(st, turn, t, "");
}

/* ---- Questions. */

static void on_answer(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg)
{
    struct dnslist *st = inst;
    struct dnslist_turn *t = st->host->memory(st->host, turn);
    struct question *q = arg;

    q->outcome = dnslist_take(q->list, st->host, a, &q->weight, q->answer);
    if (--t->waiting == 0)
        finish(st, turn, t);
}

static void ask(struct dnslist *st, ph_turn turn, struct dnslist_turn *t, struct dnslist_list *l,
                enum subject s)
{
    char name[DNSLIST_NAME + 80];

    if (t->n == QUESTIONS || !question_name(st, turn, l, s, name, sizeof name))
        return;
    struct question *q = &t->questions[t->n];
    *q = (struct question){.list = l, .subject = s, .outcome = DNSLIST_UNANSWERED};
    if (st->host->dns(st->host, turn, PH_DNS_A, name, on_answer, q))
        return;
    t->n++;
    t->waiting++;
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct dnslist *st = inst;
    const struct ph_view *v = st->host->view(st->host, turn);
    struct dnslist_turn *t = st->host->memory(st->host, turn);
    const char *why = outside_why_not(&st->outside, st->host, v);
    bool six = strchr(v->client_ip, ':') != NULL;

    (void)at;
    if (why) {
        st->host->done(st->host, turn, PH_PASS, NULL, why);
        return;
    }
    t->conf = conf;
    t->lists = dnslist_lists_ref(st->lists);
    for (size_t i = 0; i < t->lists->n; i++) {
        struct dnslist_list *l = &t->lists->at[i];
        if (l->zone.domains && l->v4)
            for (enum subject s = SENDER; s < SUBJECTS; s++)
                ask(st, turn, t, l, s);
        else if (!l->zone.domains && (six ? l->v6 : l->v4))
            ask(st, turn, t, l, ADDRESS);
    }
    if (!t->waiting)
        finish(st, turn, t);
}

static void cancel(void *inst, ph_turn turn)
{
    struct dnslist *st = inst;
    struct dnslist_turn *t = st->host->memory(st->host, turn);

    dnslist_lists_unref(&t->lists);
}

/* ---- Its life. */

static void on_tick(void *inst, ph_turn turn, void *arg)
{
    struct dnslist *st = inst;

    (void)turn;
    (void)arg;
    if (builtin_runs(st->host)) /* else the administrator has switched it off meanwhile */
        dnslist_test_due(st->lists, st->host, st->every_ms);
    st->host->after(st->host, (ph_turn){0}, st->every_ms < TICK_MS ? st->every_ms : TICK_MS,
                    on_tick, NULL);
}

static int check(const void *conf, struct ph_err *err)
{
    const struct dnslist_conf *c = conf;
    struct err why = {0};
    struct dnslist_lists *lists = dnslist_lists_new(c->lists, c->domain_lists, !c->test, &why);

    if (!lists) {
        snprintf(err->text, sizeof err->text, "%.230s", why.text);
        return -1;
    }
    dnslist_lists_unref(&lists);
    return outside_check(c->skip, err);
}

static void take(struct dnslist *st, const struct dnslist_conf *c)
{
    struct err why;
    struct dnslist_lists *fresh = dnslist_lists_new(c->lists, c->domain_lists, !c->test, &why);

    CHECK(fresh); /* check() has seen them */
    outside_take(&st->outside, c->skip);
    if (st->lists) {
        dnslist_lists_inherit(fresh, st->lists);
        dnslist_test_stop(st->lists);
        dnslist_lists_unref(&st->lists);
    }
    st->lists = fresh;
    st->every_ms = c->test_every;
}

static int reload(void *inst, const void *conf, struct ph_err *err)
{
    struct dnslist *st = inst;

    (void)err;
    take(st, conf);
    dnslist_test_due(st->lists, st->host, st->every_ms);
    return 0;
}

static void close_stage(void *inst)
{
    struct dnslist *st = inst;

    if (st->lists)
        dnslist_test_stop(st->lists);
    dnslist_lists_unref(&st->lists);
    outside_fini(&st->outside);
    mem_free(st);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    struct dnslist *st = MEM_NEW(struct dnslist);

    (void)err;
    st->host = host;
    take(st, conf);
    *inst = st;
    host->after(host, (ph_turn){0}, 0, on_tick, NULL); /* when all is open */
    return 0;
}

static bool idle(const void *conf)
{
    const struct dnslist_conf *c = conf;

    return !c->lists[0] && !c->domain_lists[0];
}

const struct ph_stage dnslist_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MAIL),
    .flags = PH_UNLESS_ACCEPTED | PH_ABOUT_SENDER, /* what policy allows may stand in a list */
    .name = "dnslist",
    .doc =
        "Asks DNS lists about the client's address, its names and the sender's domain, and weighs "
        "what they say. None is asked unless it is named here. Facts: dnslist.score, "
        "dnslist.lists, dnslist.trusted.",
    .after = "rdns",
    .settings = dnslist_settings,
    .conf_size = sizeof(struct dnslist_conf),
    .turn_size = sizeof(struct dnslist_turn),
    .check = check,
    .open = open_stage,
    .reload = reload,
    .close = close_stage,
    .on_point = on_point,
    .cancel = cancel,
    .dns_queries = QUERIES,
    .dns_ms = TIME_MS,
    .idle = idle};
