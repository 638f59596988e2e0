/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dnslist_lists.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/metrics.h"
#include "appliance/io/resolver.h"
#include "filters/builtin.h"
#include <stdio.h>
#include <stdlib.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, TEST_MS = 10 * SECOND };
enum { SERIES = DNSLIST_ZONES * DNSLIST_OUTCOMES * 2 };
METRIC_DYNAMIC(answers, SERIES, .type = METRIC_COUNTER, .name = "posthouse_dnslist_answers_total",
               .help = "Answers of DNS lists.",
               .labels = {{"list", NULL, SERIES}, {"answer", NULL, SERIES}});

METRIC(lists_off, 1, .type = METRIC_GAUGE, .name = "posthouse_dnslist_off",
       .help = "DNS lists that are configured and not asked, as they don't work.");

/* ---- Lists. */

struct dnslist_lists *dnslist_lists_new(const char *lists, const char *domain_lists, bool untested,
                                        struct err *err)
{
    static const char *const names[] = {"listed", "not_listed", "unanswered"};
    struct dnslist_zone *zones = mem_alloc(DNSLIST_ZONES * sizeof *zones);
    struct dnslist_lists *l = NULL;
    size_t n = 0;

    if (dnslist_parse(lists, domain_lists, zones, &n, err) == 0) {
        l = mem_alloc(sizeof *l + n * sizeof l->at[0]);
        l->refs = 1;
        l->n = n;
        for (size_t i = 0; i < n; i++) {
            l->at[i].zone = zones[i];
            l->at[i].v4 = l->at[i].v6 = untested;
            l->at[i].due_ms = untested ? UINT64_MAX : 0;
            snprintf(l->at[i].why, sizeof l->at[i].why, "it isn't tested yet");
            for (int o = 0; o < DNSLIST_OUTCOMES; o++)
                l->at[i].metrics[o] = metric_find(&answers, zones[i].name, names[o]);
        }
    }
    mem_free(zones);
    return l;
}

struct dnslist_lists *dnslist_lists_ref(struct dnslist_lists *l)
{
    l->refs++;
    return l;
}

void dnslist_lists_unref(struct dnslist_lists **lp)
{
    struct dnslist_lists *l = *lp;

    *lp = NULL;
    if (l && --l->refs == 0)
        mem_free(l);
}

void dnslist_lists_inherit(struct dnslist_lists *l, const struct dnslist_lists *from)
{
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < from->n; k++) {
            struct dnslist_list *to = &l->at[i];
            const struct dnslist_list *old = &from->at[k];
            if (to->due_ms || to->zone.domains != old->zone.domains ||
                strcmp(to->zone.name, old->zone.name) != 0)
                continue;
            to->v4 = old->v4;
            to->v6 = old->v6;
            memcpy(to->why, old->why, sizeof to->why);
        }
}

/* ---- Answers. */

/* Not more than one line an hour; and its next test is due. */
static void warn(struct dnslist_list *list, const struct ph_host *host, const char *ip,
                 bool refuses)
{
    uint64_t now = clock_mono_ms();

    if (list->due_ms != UINT64_MAX)
        list->due_ms = 0;
    if (list->warned_ms && now - list->warned_ms < HOUR)
        return;
    list->warned_ms = now;
    host->log(host, NULL, PH_LOG_WARN,
              refuses ? "list %s refuses to answer this resolver (%s): it counts as no answer; "
                        "lists answer a resolver of one's own (dns.forwarders)"
                      : "list %s answers with %s, which no list does: it counts as no answer",
              list->zone.name, ip);
}

enum dnslist_outcome dnslist_take(struct dnslist_list *list, const struct ph_host *host,
                                  const struct ph_dns_answer *a, int *weight_out,
                                  uint8_t answer_out[4])
{
    enum dnslist_outcome outcome = a->status == PH_DNS_FOUND ? DNSLIST_YES
                                   : a->status == PH_DNS_NO_DATA || a->status == PH_DNS_NO_NAME
                                       ? DNSLIST_NO
                                       : DNSLIST_UNANSWERED;

    *weight_out = 0;
    for (size_t i = 0; i < a->n && outcome == DNSLIST_YES; i++) {
        uint8_t ip[4];
        enum dnslist_kind kind = dnslist_kind(a->records[i]->ip, ip);
        if (kind != DNSLIST_LISTED) {
            warn(list, host, a->records[i]->ip, kind == DNSLIST_REFUSES);
            outcome = DNSLIST_UNANSWERED;
            break;
        }
        int weight = dnslist_weight(&list->zone, ip);
        if (i == 0 || abs(weight) > abs(*weight_out)) {
            *weight_out = weight;
            memcpy(answer_out, ip, sizeof ip);
        }
    }
    if (outcome != DNSLIST_YES)
        *weight_out = 0;
    metric_inc(&answers, list->metrics[outcome]);
    return outcome;
}

/* ---- Tests. */

enum entry { MUST_4, MUST_NOT_4, MUST_6, MUST_NOT_6, ENTRIES };
enum found { UNKNOWN, LISTED, NOT_LISTED, REFUSED, FOREIGN };
struct entry_question {
    struct dnslist_test *test;
    struct resolver_query *query;
    enum found found;
};
struct dnslist_test {
    struct dnslist_lists *lists; /* a reference */
    struct dnslist_list *list;
    const struct ph_host *host;
    uint64_t every_ms;
    unsigned waiting;
    struct resolver_budget budget;
    struct entry_question questions[ENTRIES];
};

static void test_free(struct dnslist_test *t)
{
    t->list->test = NULL;
    for (int i = 0; i < ENTRIES; i++)
        resolver_cancel(&t->questions[i].query);
    dnslist_lists_unref(&t->lists);
    mem_free(t);
}

/* Why it is of no use; NULL: it is, or nobody knows. */
static const char *fault(const struct dnslist_test *t)
{
    bool names = t->list->zone.domains;

    for (int i = 0; i < ENTRIES; i++)
        if (t->questions[i].found == REFUSED)
            return "it refuses to answer this resolver; lists answer a resolver of one's own "
                   "(dns.forwarders)";
    for (int i = 0; i < ENTRIES; i++)
        if (t->questions[i].found == FOREIGN)
            return "it answers with addresses that no list answers with";
    if (t->questions[MUST_NOT_4].found == LISTED || t->questions[MUST_NOT_6].found == LISTED)
        return names ? "it lists the name INVALID, so it lists everything"
                     : "it lists 127.0.0.1, so it lists everything";
    if (t->questions[MUST_4].found == NOT_LISTED && t->questions[MUST_6].found != LISTED)
        return names ? "it doesn't list its test entry TEST, so it lists nothing"
                     : "it doesn't list its test entry 127.0.0.2, so it lists nothing";
    return NULL;
}

static bool unknown(const struct dnslist_test *t)
{
    return t->questions[MUST_4].found == UNKNOWN || t->questions[MUST_NOT_4].found == UNKNOWN;
}

static void count_off(const struct dnslist_lists *l)
{
    uint64_t n = 0;

    for (size_t i = 0; i < l->n; i++)
        n += !l->at[i].v4 && !l->at[i].v6;
    metric_set(&lists_off, 0, n);
}

static void conclude(struct dnslist_test *t)
{
    struct dnslist_list *l = t->list;
    const char *why = fault(t);
    bool was_on = l->v4 || l->v6, again = !why && unknown(t);

    l->due_ms = clock_mono_ms() + (again && t->every_ms > MINUTE ? MINUTE : t->every_ms);
    if (why) {
        l->v4 = l->v6 = false;
        if (strcmp(l->why, why) != 0)
            t->host->log(t->host, NULL, PH_LOG_WARN, "list %s is off: %s", l->zone.name, why);
        snprintf(l->why, sizeof l->why, "%s", why);
    } else if (!again) {
        l->v4 = t->questions[MUST_4].found == LISTED;
        if (t->questions[MUST_6].found != UNKNOWN)
            l->v6 = t->questions[MUST_6].found == LISTED;
        l->why[0] = '\0';
        if (!was_on)
            t->host->log(t->host, NULL, PH_LOG_INFO, "list %s is on", l->zone.name);
    }
    count_off(t->lists);
    test_free(t);
}

static enum found found_in(const struct resolver_answer *a)
{
    enum found found = a->status == RESOLVER_FOUND                                      ? LISTED
                       : a->status == RESOLVER_NO_DATA || a->status == RESOLVER_NO_NAME ? NOT_LISTED
                                                                                        : UNKNOWN;
    uint8_t ip[4];

    for (size_t i = 0; i < a->n && found == LISTED; i++) {
        enum dnslist_kind kind = dnslist_kind(a->records[i].ip, ip);
        if (kind != DNSLIST_LISTED)
            found = kind == DNSLIST_REFUSES ? REFUSED : FOREIGN;
    }
    return found;
}

static void on_entry(void *ctx, const struct resolver_answer *a)
{
    struct entry_question *q = ctx;

    q->query = NULL;
    q->found = found_in(a);
    if (--q->test->waiting == 0)
        conclude(q->test);
}

/* RFC 5782 5: the entries of IPv6 are those of IPv4, mapped. */
static bool entry_name(const struct dnslist_zone *z, int entry, char *out, size_t room)
{
    static const char *const ips[] = {"127.0.0.2", "127.0.0.1", "::ffff:7f00:2", "::ffff:7f00:1"};

    if (!z->domains)
        return dnslist_address_name(ips[entry], z->name, out, room);
    if (entry > MUST_NOT_4)
        return false;
    return snprintf(out, room, "%s.%s", entry == MUST_4 ? "test" : "invalid", z->name) <
           DNSLIST_NAME;
}

static void test_begin(struct dnslist_lists *lists, struct dnslist_list *l,
                       const struct ph_host *host, uint64_t every_ms)
{
    struct resolver *r = builtin_resolver(host);
    struct dnslist_test *t = MEM_NEW(struct dnslist_test);
    char name[DNSLIST_NAME + 80];

    t->lists = dnslist_lists_ref(lists);
    t->list = l;
    t->host = host;
    t->every_ms = every_ms;
    t->budget.deadline_ms = loop_now_ms(builtin_loop(host)) + TEST_MS;
    l->test = t;
    for (int i = 0; i < ENTRIES; i++) {
        struct entry_question *q = &t->questions[i];
        q->test = t;
        if (r && entry_name(&l->zone, i, name, sizeof name))
            q->query = resolver_ask(r, RESOLVER_A, str_from(name), &t->budget, on_entry, q);
        t->waiting += q->query != NULL;
    }
    if (!t->waiting)
        conclude(t);
}

void dnslist_test_due(struct dnslist_lists *l, const struct ph_host *host, uint64_t every_ms)
{
    uint64_t now = clock_mono_ms();

    for (size_t i = 0; i < l->n; i++)
        if (!l->at[i].test && l->at[i].due_ms <= now)
            test_begin(l, &l->at[i], host, every_ms);
}

void dnslist_test_stop(struct dnslist_lists *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].test)
            test_free(l->at[i].test);
}
