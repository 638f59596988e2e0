/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dns.c - questions of stages to the DNS: each belongs to a turn, is paid from its budget, and ends
 * with it. */
#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include "filters/private.h"

struct question {
    struct list link; /* in turn.questions */
    struct turn *turn;
    struct resolver_query *query;
    struct loop_defer defer; /* of an answer that nobody was asked for */
    enum ph_dns_status status;
    void (*fn)(void *inst, ph_turn, const struct ph_dns_answer *, void *arg);
    void *arg;
};

static void question_drop(struct question *q)
{
    q->turn->n_questions--;
    list_del(&q->link);
    loop_defer_cancel(&q->defer);
    resolver_cancel(&q->query);
    mem_free(q);
}

void dns_begin(struct turn *t)
{
    list_init(&t->questions);
    t->budget = (struct resolver_budget){.queries = (unsigned)t->common->dns_queries,
                                         .voids = (unsigned)t->common->dns_voids};
    if (t->common->dns_time)
        t->budget.deadline_ms = loop_now_ms(t->stage->filters->env.loop) + t->common->dns_time;
}

void dns_cancel(struct turn *t)
{
    LIST_EACH(&t->questions, it)
    question_drop(LIST_ITEM(it, struct question, link));
}

/* ---- Answers. */

/* The question is over before the stage hears of it: what it does then may end the turn. */
static void give(struct question *q, const struct ph_dns_answer *a)
{
    struct question copy = *q;
    struct stage *s = q->turn->stage;
    ph_turn turn = {q->turn->id};

    question_drop(q);
    stage_enter(s);
    copy.fn(s->inst, turn, a, copy.arg);
    stage_leave(s);
}

static void on_unasked(void *ctx)
{
    struct question *q = ctx;
    const struct ph_dns_answer a = {.size = sizeof a,
                                    .status = q->status,
                                    .name = "",
                                    .why =
                                        q->status == PH_DNS_FAILED ? "it couldn't be asked" : ""};

    give(q, &a);
}

static enum ph_dns_status status_of(enum resolver_status s)
{
    static const enum ph_dns_status statuses[] = {
        [RESOLVER_FOUND] = PH_DNS_FOUND,     [RESOLVER_NO_DATA] = PH_DNS_NO_DATA,
        [RESOLVER_NO_NAME] = PH_DNS_NO_NAME, [RESOLVER_BOGUS] = PH_DNS_BOGUS,
        [RESOLVER_FAILED] = PH_DNS_FAILED,   [RESOLVER_OVER_BUDGET] = PH_DNS_OVER_BUDGET};

    return statuses[s];
}

static const struct ph_dns_record *const *records_of(struct arena *a,
                                                     const struct resolver_answer *from)
{
    const struct ph_dns_record **list = ARENA_ARRAY(a, const struct ph_dns_record *, from->n + 1);

    for (size_t i = 0; i < from->n; i++) {
        const struct resolver_record *r = &from->records[i];
        struct ph_dns_record *to = ARENA_NEW(a, struct ph_dns_record);
        to->ip = r->ip;
        to->name = arena_str(a, r->name).p;
        to->preference = r->preference;
        to->text = arena_str(a, r->data).p;
        to->text_size = r->data.n;
        list[i] = to;
    }
    return list;
}

static void on_answer(void *ctx, const struct resolver_answer *from)
{
    struct question *q = ctx;
    struct arena *arena = arena_new(0);
    const struct ph_dns_answer a = {.size = sizeof a,
                                    .status = status_of(from->status),
                                    .secure = from->secure,
                                    .ttl = from->ttl,
                                    .name = arena_str(arena, from->name).p,
                                    .n = from->n,
                                    .records = records_of(arena, from),
                                    .why = from->why ? from->why : ""};

    q->query = NULL;
    give(q, &a);
    arena_free(&arena);
}

/* ---- Questions. */

enum { NAME_LIMIT = 253, LABEL_LIMIT = 63 };

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : -1;
}

/* \DDD to the octet that it stands for (RFC 1035 5.1). False: too long, or not one that a name can
 * be asked for with. */
static bool unescape(const char *name, struct buf *out)
{
    while (*name) {
        unsigned char c = (unsigned char)*name++;
        if (c == '\\') {
            int value = 0;
            for (int i = 0; i < 3; i++, name++) {
                if (digit(*name) < 0)
                    return false;
                value = value * 10 + digit(*name);
            }
            if (value <= ' ' || value > '~' || value == '.' || value == '\\')
                return false;
            c = (unsigned char)value;
        }
        if (buf_add_char(out, (char)c))
            return false;
    }
    return true;
}

/* RFC 1035 2.3.4; without this what isn't a name and what there is no room for would look alike. */
static bool is_name(struct str name)
{
    size_t label = 0;

    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n > NAME_LIMIT)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c < ' ' || c > '~')
            return false;
        if (c == '.' ? label == 0 : label == LABEL_LIMIT)
            return false;
        label = c == '.' ? 0 : label + 1;
    }
    return label > 0;
}

static bool over_budget(const struct resolver_budget *b)
{
    return b->asked >= b->queries || (b->voids && b->empty > b->voids);
}

static void ask(struct question *q, enum ph_dns_type type, const char *name)
{
    struct turn *t = q->turn;
    struct filters *f = t->stage->filters;
    char reverse[80];
    struct buf plain;

    buf_init(&plain, NAME_LIMIT + 1);
    if (type == PH_DNS_PTR && resolver_reverse_name(name, reverse, sizeof reverse))
        name = reverse;
    q->status = PH_DNS_FAILED;
    if (!unescape(name, &plain) || !is_name(buf_str(&plain)))
        q->status = PH_DNS_NO_NAME;
    else if (over_budget(&t->budget))
        q->status = PH_DNS_OVER_BUDGET;
    else if (f->env.resolver)
        q->query = resolver_ask(f->env.resolver, (enum resolver_type)type, buf_str(&plain),
                                &t->budget, on_answer, q);
    buf_fini(&plain);
    if (!q->query)
        loop_defer(f->env.loop, &q->defer);
}

static bool known_type(enum ph_dns_type type)
{
    return type == PH_DNS_A || type == PH_DNS_AAAA || type == PH_DNS_MX || type == PH_DNS_PTR ||
           type == PH_DNS_TXT;
}

static int host_dns(const struct ph_host *h, ph_turn turn, enum ph_dns_type type, const char *name,
                    void (*fn)(void *inst, ph_turn, const struct ph_dns_answer *, void *arg),
                    void *arg)
{
    struct turn *t = turn_find(h, turn);

    if (!t || t->work || !name || !fn || !known_type(type) || t->budget.queries == 0 ||
        t->n_questions == QUESTIONS_MAX)
        return -1;
    struct question *q = MEM_NEW(struct question);
    *q = (struct question){.turn = t, .fn = fn, .arg = arg};
    q->defer = (struct loop_defer){.fn = on_unasked, .ctx = q};
    list_add(&t->questions, &q->link);
    t->n_questions++;
    ask(q, type, name);
    return 0;
}

void dns_host(struct ph_host *h)
{
    h->dns = host_dns;
}
