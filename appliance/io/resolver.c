/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* resolver.c - questions from asking to answering: who waits, how long, at whose expense. */
#include "appliance/base/arena.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/metrics.h"
#include "appliance/io/resolver_private.h"
#include "appliance/io/resolver_rdata.h"
#include <stdio.h>

enum {
    WAITING_FACTOR = 8, /* so many times conf.queries may wait */
    FLIGHTS_FACTOR = 2  /* and so many be on their way, those that nobody waits for included */
};

struct resolver {
    struct loop *loop;
    struct resolver_context *context;
    struct list retired; /* contexts of before a reload */
    uint64_t timeout_ms;
    size_t queries;
    struct list waiting, running, done; /* struct resolver_query */
    struct loop_defer deliver;
    struct resolver_stats stats;
    bool delivering, closed;
};
struct resolver_query {
    struct list link;
    struct resolver *resolver;
    struct timer timer;
    enum resolver_type type;
    char *question;
    struct resolver_budget *budget;
    resolver_answer_fn on_answer;
    void *ctx;
    uint64_t since_us;
    struct resolver_flight *flight;
    struct ub_result *result;
    const char *why; /* it failed here, not in the DNS */
    bool answering;
};

static const struct log_ctx log_ctx = {.module = "dns"};

/* ---- metrics */

static const struct {
    enum resolver_type type;
    const char *name;
} types[] = {
    {RESOLVER_A, "A"},     {RESOLVER_CNAME, "CNAME"}, {RESOLVER_PTR, "PTR"},   {RESOLVER_MX, "MX"},
    {RESOLVER_TXT, "TXT"}, {RESOLVER_AAAA, "AAAA"},   {RESOLVER_TLSA, "TLSA"}, {0, "other"}};
static const char *const status_names[] = {
    [RESOLVER_FOUND] = "found", [RESOLVER_NO_DATA] = "no_data", [RESOLVER_NO_NAME] = "no_name",
    [RESOLVER_BOGUS] = "bogus", [RESOLVER_FAILED] = "failed",
};
enum { TYPES = ARRAY_LEN(types), STATUSES = ARRAY_LEN(status_names) };

static const char *type_name(size_t i)
{
    return types[i].name;
}
static const char *status_name(size_t i)
{
    return status_names[i];
}
static const uint64_t latency_us[] = {100,    1000,    5000,    20000,   50000,   100000,
                                      250000, 1000000, 2500000, 5000000, 10000000};
METRIC(answers, TYPES *STATUSES, .type = METRIC_COUNTER, .name = "posthouse_dns_answers_total",
       .help = "Questions to the DNS by what came of them.",
       .labels = {{"type", type_name, TYPES}, {"result", status_name, STATUSES}});
METRIC_BUCKETS(latency, latency_us, .name = "posthouse_dns_answer_seconds", .scale = 6,
               .help = "How long a question to the DNS took, waiting for its turn included.");
METRIC(pending, 1, .type = METRIC_GAUGE, .name = "posthouse_dns_pending",
       .help = "Questions to the DNS that wait or are on their way.");

static size_t type_index(enum resolver_type type)
{
    size_t i = 0;

    while (i < TYPES - 1 && types[i].type != type)
        i++;
    return i;
}

static void count(struct resolver_query *q, enum resolver_status status)
{
    struct resolver_stats *s = &q->resolver->stats;
    uint64_t us = clock_mono_us() - q->since_us;

    s->answered++;
    s->failed += status == RESOLVER_FAILED;
    s->bogus += status == RESOLVER_BOGUS;
    s->us_total += us;
    s->us_max = us > s->us_max ? us : s->us_max;
    metric_inc(&answers, type_index(q->type) * STATUSES + status);
    metric_observe(&latency, us);
}

/* ---- answers */

static const char *rcode_text(int rcode)
{
    static const char *const texts[] = {
        [1] = "FORMERR", [2] = "SERVFAIL", [4] = "NOTIMP", [5] = "REFUSED"};

    return rcode > 0 && (size_t)rcode < ARRAY_LEN(texts) && texts[rcode] ? texts[rcode]
                                                                         : "an error";
}

/* How many records there are is bounded by a message's 64 KB. */
static void read_records(enum resolver_type type, const struct ub_result *r, struct arena *a,
                         struct resolver_answer *out)
{
    size_t n = 0;

    while (r->data[n])
        n++;
    struct resolver_record *records = ARENA_ARRAY(a, struct resolver_record, n ? n : 1);
    for (size_t i = 0; i < n; i++)
        if (r->len[i] >= 0 && resolver_rdata_parse(type, str_of(r->data[i], (size_t)r->len[i]), a,
                                                   &records[out->n]) == 0)
            out->n++;
    out->records = records;
    out->status = out->n ? RESOLVER_FOUND : RESOLVER_FAILED;
    out->why = out->n ? NULL : "malformed records";
}

static void read_result(const struct resolver_query *q, struct arena *a,
                        struct resolver_answer *out)
{
    const struct ub_result *r = q->result;

    out->secure = r->secure;
    out->ttl = r->ttl > 0 ? (uint32_t)r->ttl : 0;
    if (r->canonname)
        out->name = resolver_name_tidy(r->canonname, a);
    if (str_eq(out->name, resolver_name_tidy(q->question, a)))
        out->name = STR_NULL;
    if (r->bogus) {
        out->status = RESOLVER_BOGUS;
        out->why = r->why_bogus ? r->why_bogus : "validation failed";
    } else if (r->nxdomain) {
        out->status = RESOLVER_NO_NAME;
    } else if (r->rcode != 0) {
        out->status = RESOLVER_FAILED;
        out->why = rcode_text(r->rcode);
    } else if (r->havedata) {
        read_records(q->type, r, a, out);
    } else {
        out->status = RESOLVER_NO_DATA;
    }
    if (out->status == RESOLVER_FAILED || out->status == RESOLVER_BOGUS) {
        out->secure = false;
        out->name = STR_NULL;
    }
}

static void spend(struct resolver_budget *b, struct resolver_answer *out)
{
    if (!b || (out->status != RESOLVER_NO_DATA && out->status != RESOLVER_NO_NAME))
        return;
    b->empty++;
    if (b->voids && b->empty > b->voids) {
        out->status = RESOLVER_OVER_BUDGET;
        out->why = "too many questions without an answer";
    }
}

static void query_free(struct resolver_query *q)
{
    list_del(&q->link);
    timer_fini(&q->timer);
    resolver_flight_abandon(&q->flight);
    ub_resolve_free(q->result);
    mem_free(q->question);
    mem_free(q);
    metric_dec(&pending, 0);
}

static void answer(struct resolver_query *q)
{
    struct arena *a = arena_new(0);
    struct resolver_answer out = {.status = RESOLVER_FAILED, .why = q->why};

    if (q->result)
        read_result(q, a, &out);
    count(q, out.status);
    if (out.why)
        log_debug(&log_ctx, "no_answer", L_Z("name", q->question),
                  L_Z("type", type_name(type_index(q->type))), L_Z("why", out.why));
    spend(q->budget, &out);
    q->answering = true;
    q->on_answer(q->ctx, &out);
    query_free(q);
    arena_free(&a);
}

static void resolver_free(struct resolver *r)
{
    resolver_context_free(&r->context);
    resolver_contexts_free(&r->retired);
    loop_defer_cancel(&r->deliver);
    mem_free(r);
}

/* What is there now; what the callbacks cause comes in the next round. */
static void deliver(void *ctx)
{
    struct resolver *r = ctx;
    struct list batch = r->done;

    if (list_empty(&r->done))
        return;
    batch.next->prev = batch.prev->next = &batch;
    list_init(&r->done);
    r->delivering = true;
    while (!list_empty(&batch)) {
        struct resolver_query *q = LIST_ITEM(batch.next, struct resolver_query, link);
        list_del(&q->link);
        answer(q);
    }
    r->delivering = false;
    if (r->closed)
        resolver_free(r);
}

static void leave_list(struct resolver_query *q)
{
    struct resolver_stats *s = &q->resolver->stats;

    if (q->flight)
        s->running--;
    else if (!q->result && !q->why)
        s->waiting--;
    list_del(&q->link);
}

static void finish(struct resolver_query *q, struct ub_result *result, const char *why)
{
    struct resolver *r = q->resolver;

    timer_stop(&q->timer);
    q->result = result;
    q->why = why;
    list_add(&r->done, &q->link);
    loop_defer(r->loop, &r->deliver);
}

static void on_landed(struct resolver_query *q, struct ub_result *result, const char *why)
{
    leave_list(q);
    q->flight = NULL; /* it has ended */
    finish(q, result, why ? why : result ? NULL : "no result");
}

/* ---- questions */

static bool has_room(const struct resolver *r)
{
    return r->stats.running < r->queries &&
           resolver_context_flights(r->context) < r->queries * FLIGHTS_FACTOR;
}

static void start(struct resolver_query *q)
{
    struct resolver *r = q->resolver;
    const char *why = NULL;

    q->flight = resolver_context_ask(r->context, q, q->question, q->type, &why);
    if (!q->flight) {
        finish(q, NULL, why);
        return;
    }
    list_add(&r->running, &q->link);
    r->stats.running++;
}

static void on_room(void *ctx)
{
    struct resolver *r = ctx;

    while (!list_empty(&r->waiting) && has_room(r)) {
        struct resolver_query *q = LIST_ITEM(r->waiting.next, struct resolver_query, link);
        leave_list(q);
        start(q);
    }
}

static void on_late(void *ctx)
{
    struct resolver_query *q = ctx;
    struct resolver *r = q->resolver;

    leave_list(q);
    resolver_flight_abandon(&q->flight);
    finish(q, NULL, "no answer in time");
    on_room(r);
}

static bool may_ask(const struct resolver *r, const struct resolver_budget *b)
{
    if (b && ((b->queries && b->asked >= b->queries) || (b->voids && b->empty > b->voids)))
        return false;
    return r->stats.waiting < r->queries * WAITING_FACTOR;
}

static uint64_t time_left(const struct resolver *r, const struct resolver_budget *b)
{
    uint64_t now = loop_now_ms(r->loop), left = r->timeout_ms;

    if (b && b->deadline_ms) {
        uint64_t own = b->deadline_ms > now ? b->deadline_ms - now : 0;
        left = own < left ? own : left;
    }
    return left;
}

struct resolver_query *resolver_ask(struct resolver *r, enum resolver_type type, struct str name,
                                    struct resolver_budget *budget, resolver_answer_fn on_answer,
                                    void *ctx)
{
    char question[RESOLVER_QUESTION_SIZE];

    CHECK(!r->closed);
    if (!may_ask(r, budget) || !resolver_question(name, question))
        return NULL;
    struct resolver_query *q = MEM_NEW(struct resolver_query);
    q->resolver = r;
    q->type = type;
    q->question = str_dup_z(str_from(question));
    q->budget = budget;
    q->on_answer = on_answer;
    q->ctx = ctx;
    q->since_us = clock_mono_us();
    list_init(&q->link);
    timer_init(&q->timer, r->loop, on_late, q);
    timer_start(&q->timer, time_left(r, budget));
    if (budget)
        budget->asked++;
    r->stats.asked++;
    metric_add(&pending, 0, 1);
    if (list_empty(&r->waiting) && has_room(r)) {
        start(q);
    } else {
        list_add(&r->waiting, &q->link);
        r->stats.waiting++;
    }
    return q;
}

void resolver_cancel(struct resolver_query **qp)
{
    struct resolver_query *q = *qp;

    *qp = NULL;
    if (!q || q->answering)
        return;
    leave_list(q);
    query_free(q);
}

/* ---- life */

static int context_new(struct resolver *r, const struct resolver_conf *conf,
                       struct resolver_context **out, struct err *err)
{
    struct resolver_context_hooks hooks = {.on_landed = on_landed, .on_room = on_room, .ctx = r};

    if (resolver_check(conf, err) != 0)
        return -1;
    return resolver_context_new(conf, r->loop, &hooks, out, err);
}

static void take_conf(struct resolver *r, const struct resolver_conf *conf)
{
    r->timeout_ms = conf->timeout;
    r->queries = (size_t)conf->queries;
}

int resolver_open(const struct resolver_conf *conf, struct loop *l, struct resolver **out,
                  struct err *err)
{
    struct resolver *r = MEM_NEW(struct resolver);

    r->loop = l;
    list_init(&r->retired);
    list_init(&r->waiting);
    list_init(&r->running);
    list_init(&r->done);
    r->deliver = (struct loop_defer){.fn = deliver, .ctx = r};
    take_conf(r, conf);
    if (context_new(r, conf, &r->context, err) != 0) {
        mem_free(r);
        return -1;
    }
    *out = r;
    return 0;
}

int resolver_reload(struct resolver *r, const struct resolver_conf *conf, struct err *err)
{
    struct resolver_context *fresh, *old = r->context;

    if (context_new(r, conf, &fresh, err) != 0)
        return -1;
    take_conf(r, conf);
    r->context = fresh;
    resolver_context_retire(old, &r->retired);
    on_room(r);
    return 0;
}

void resolver_close(struct resolver **rp)
{
    struct resolver *r = *rp;

    if (!r)
        return;
    *rp = NULL;
    CHECK(list_empty(&r->waiting) && list_empty(&r->running) && list_empty(&r->done));
    r->closed = true;
    if (!r->delivering)
        resolver_free(r);
}

void resolver_stats(const struct resolver *r, struct resolver_stats *out)
{
    *out = r->stats;
}
