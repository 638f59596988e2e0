/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* resolver_context.c - libunbound on the loop: its thread asks, its descriptor is polled here. */
#include "appliance/io/resolver_private.h"
#include "appliance/io/resolver_rdata.h"
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLASS_IN = 1, SOCKETS_MAX = 512 };

struct resolver_context {
    uv_poll_t poll; /* its close callback frees */
    struct loop *loop;
    struct ub_ctx *ub;
    struct resolver_context_hooks hooks;
    struct list link;    /* when retired */
    struct list flights; /* struct resolver_flight */
    size_t n_flights, n_awaited;
    struct loop_defer leave;
    bool retired, processing;
};

/* ---- settings of libunbound. Each must be taken: a forwarder or option refused and not noticed
 * would make it ask the root servers. */

static int option(struct resolver_context *c, const char *name, const char *value, struct err *err)
{
    int rc = ub_ctx_set_option(c->ub, name, value);

    return rc == 0 ? 0
                   : ERR(err, ERR_BUG, "libunbound doesn't take \"%s %s\": %s", name, value,
                         ub_strerror(rc));
}

static int option_number(struct resolver_context *c, const char *name, uint64_t n, struct err *err)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
    return option(c, name, text, err);
}

static const struct {
    const char *name, *value;
} fixed_options[] = {
    {"harden-glue:", "yes"},
    {"harden-dnssec-stripped:", "yes"},
    {"harden-below-nxdomain:", "yes"},
    {"qname-minimisation:", "yes"},
    {"prefetch:", "no"},
    {"rrset-roundrobin:", "no"}, /* the asker shuffles where that is wanted */
    {"trust-anchor-signaling:", "no"},
    /* A server that was down is looked at again soon: mail waits for it. */
    {"infra-keep-probing:", "yes"},
    {"infra-host-ttl:", "120"},
    {"outgoing-num-tcp:", "32"},
};

static int set_fixed(struct resolver_context *c, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(fixed_options); i++)
        if (option(c, fixed_options[i].name, fixed_options[i].value, err) != 0)
            return -1;
    return 0;
}

static int set_sizes(struct resolver_context *c, const struct resolver_conf *conf, struct err *err)
{
    uint64_t sockets = conf->queries < SOCKETS_MAX ? (uint64_t)conf->queries : SOCKETS_MAX;

    if (option_number(c, "rrset-cache-size:", conf->cache / 2, err) != 0 ||
        option_number(c, "msg-cache-size:", conf->cache / 4, err) != 0 ||
        option_number(c, "key-cache-size:", conf->cache / 8, err) != 0 ||
        option_number(c, "neg-cache-size:", conf->cache / 8, err) != 0)
        return -1;
    /* The library's own 16 would let a few dead servers hold up everybody. */
    return option_number(c, "outgoing-range:", sockets < 16 ? 16 : sockets, err);
}

/* Is there a way to anywhere by IPv6? Nothing is sent. */
static bool has_ipv6(void)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(53)};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool yes;

    if (fd < 0)
        return false;
    to.sin6_addr.s6_addr[0] = 0x20;
    to.sin6_addr.s6_addr[15] = 1;
    yes = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
    close(fd);
    return yes;
}

static int set_servers(struct resolver_context *c, const struct resolver_conf *conf,
                       struct err *err)
{
    struct resolver_forwarders f;
    bool v4 = conf->inet != 6, v6 = conf->inet != 4 && has_ipv6(), loopback = false;

    if (resolver_forwarders_parse(conf->forwarders, conf->inet, &f, err) != 0)
        return -1;
    if (f.n)
        v4 = v6 = false;
    for (size_t i = 0; i < f.n; i++) {
        int rc = ub_ctx_set_fwd(c->ub, f.at[i].text);
        if (rc != 0)
            return ERR(err, ERR_PERM, "dns.forwarders: libunbound doesn't take %s: %s",
                       f.at[i].text, ub_strerror(rc));
        v4 |= !f.at[i].v6;
        v6 |= f.at[i].v6;
        loopback |= f.at[i].loopback;
    }
    if (loopback && option(c, "do-not-query-localhost:", "no", err) != 0)
        return -1;
    if (option(c, "do-ip4:", v4 ? "yes" : "no", err) != 0)
        return -1;
    return option(c, "do-ip6:", v6 ? "yes" : "no", err);
}

static int add_anchor(void *ctx, const char *record)
{
    struct resolver_context *c = ctx;

    return ub_ctx_add_ta(c->ub, record) == 0 ? 0 : -1;
}

static int set_anchors(struct resolver_context *c, const struct resolver_conf *conf,
                       struct err *err)
{
    err_set(err, ERR_PERM, ERR_WHY_OTHER, "dns.trust_anchor: libunbound doesn't take a key of %s",
            conf->trust_anchor ? conf->trust_anchor : "");
    if (!conf->trust_anchor || !*conf->trust_anchor)
        return 0;
    return resolver_anchors_read(conf->trust_anchor, add_anchor, c, err);
}

/* The first zone removed makes the settings final; only then libunbound reads the keys. */
static int set_zones(struct resolver_context *c, const struct resolver_conf *conf, struct err *err)
{
    struct str rest = str_from(conf->local_zones), zone;
    char name[RESOLVER_QUESTION_SIZE];
    int rc = ub_ctx_zone_remove(c->ub, "none.posthouse.invalid.");

    while (rc == 0 && settings_list_next(&rest, &zone))
        rc = resolver_question(zone, name) ? ub_ctx_zone_remove(c->ub, name) : UB_SYNTAX;
    if (rc == 0)
        return 0;
    return rc == UB_INITFAIL
               ? ERR(err, ERR_PERM,
                     "libunbound can't begin with these settings of dns: is a key in %s damaged?",
                     conf->trust_anchor ? conf->trust_anchor : "(none)")
               : ERR(err, ERR_PERM, "libunbound can't begin: %s", ub_strerror(rc));
}

static void on_warm(void *arg, int code, struct ub_result *result)
{
    (void)arg, (void)code;
    ub_resolve_free(result);
}

/* The first question makes the thread. This one is answered without asking anybody: "onion" is
 * never in the DNS (RFC 7686). The thread gets no signals. */
static int start_thread(struct resolver_context *c, struct err *err)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = ub_resolve_async(c->ub, "onion.", RESOLVER_A, CLASS_IN, NULL, on_warm, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? 0 : ERR(err, ERR_TEMP, "libunbound can't begin: %s", ub_strerror(rc));
}

static int configure(struct resolver_context *c, const struct resolver_conf *conf, struct err *err)
{
    ub_ctx_debugout(c->ub, NULL); /* what it would write isn't in the form of our log */
    if (ub_ctx_async(c->ub, 1) != 0)
        return ERR(err, ERR_BUG, "libunbound has no threads");
    if (set_fixed(c, err) != 0 || set_sizes(c, conf, err) != 0 || set_servers(c, conf, err) != 0 ||
        set_anchors(c, conf, err) != 0 || set_zones(c, conf, err) != 0)
        return -1;
    return start_thread(c, err);
}

/* ---- questions */

static void leave_when_done(void *ctx)
{
    struct resolver_context *c = ctx;

    if (c->retired && c->n_awaited == 0)
        resolver_context_free(&c);
}

static void flight_end(struct resolver_flight *f)
{
    list_del(&f->link);
    f->context->n_flights--;
    mem_free(f);
}

static void on_answer(void *arg, int code, struct ub_result *result)
{
    struct resolver_flight *f = arg;
    struct resolver_context *c = f->context;
    struct resolver_query *q = f->query;

    flight_end(f);
    if (!q) {
        ub_resolve_free(result);
        return;
    }
    c->n_awaited--;
    if (code) {
        ub_resolve_free(result);
        result = NULL;
    }
    c->hooks.on_landed(q, result, code ? ub_strerror(code) : NULL);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct resolver_context *c = h->data;

    (void)status, (void)events;
    c->processing = true;
    ub_process(c->ub);
    c->processing = false;
    if (c->retired)
        leave_when_done(c);
    else
        c->hooks.on_room(c->hooks.ctx);
}

struct resolver_flight *resolver_context_ask(struct resolver_context *c, struct resolver_query *q,
                                             const char *question, enum resolver_type type,
                                             const char **why_out)
{
    struct resolver_flight *f = MEM_NEW(struct resolver_flight);

    CHECK(!c->processing && !c->retired);
    *f = (struct resolver_flight){.context = c, .query = q};
    list_add(&c->flights, &f->link);
    c->n_flights++;
    int rc = ub_resolve_async(c->ub, question, (int)type, CLASS_IN, f, on_answer, NULL);
    if (rc != 0) {
        *why_out = ub_strerror(rc);
        flight_end(f);
        return NULL;
    }
    c->n_awaited++;
    return f;
}

void resolver_flight_abandon(struct resolver_flight **fp)
{
    struct resolver_flight *f = *fp;

    if (!f)
        return;
    *fp = NULL;
    f->query = NULL;
    f->context->n_awaited--;
    if (f->context->retired)
        loop_defer(f->context->loop, &f->context->leave);
}

size_t resolver_context_flights(const struct resolver_context *c)
{
    return c->n_flights;
}

/* ---- life */

int resolver_context_new(const struct resolver_conf *conf, struct loop *l,
                         const struct resolver_context_hooks *hooks, struct resolver_context **out,
                         struct err *err)
{
    struct resolver_context *c = MEM_NEW(struct resolver_context);

    c->loop = l;
    c->hooks = *hooks;
    list_init(&c->link);
    list_init(&c->flights);
    c->leave = (struct loop_defer){.fn = leave_when_done, .ctx = c};
    c->ub = ub_ctx_create();
    if (!c->ub || configure(c, conf, err) != 0) {
        int rc =
            c->ub ? -1 : ERR(err, ERR_TEMP, "libunbound can't begin: no memory or descriptors");
        ub_ctx_delete(c->ub);
        mem_free(c);
        return rc;
    }
    CHECK(uv_poll_init(&l->uv, &c->poll, ub_fd(c->ub)) == 0);
    c->poll.data = c;
    CHECK(uv_poll_start(&c->poll, UV_READABLE, on_poll) == 0);
    *out = c;
    return 0;
}

void resolver_context_retire(struct resolver_context *c, struct list *retired)
{
    c->retired = true;
    list_add(retired, &c->link);
    loop_defer(c->loop, &c->leave);
}

static void on_closed(uv_handle_t *h)
{
    struct resolver_context *c = h->data;

    loop_closed(c->loop);
    mem_free(c);
}

void resolver_context_free(struct resolver_context **cp)
{
    struct resolver_context *c = *cp;

    if (!c)
        return;
    *cp = NULL;
    CHECK(c->n_awaited == 0 && !c->processing);
    list_del(&c->link);
    loop_defer_cancel(&c->leave);
    loop_close(c->loop, (uv_handle_t *)&c->poll, on_closed);
    ub_ctx_delete(c->ub); /* after its descriptor isn't polled any more; no more answers */
    LIST_EACH(&c->flights, it)
    flight_end(LIST_ITEM(it, struct resolver_flight, link));
}

void resolver_contexts_free(struct list *retired)
{
    LIST_EACH(retired, it)
    {
        struct resolver_context *c = LIST_ITEM(it, struct resolver_context, link);
        resolver_context_free(&c);
    }
}
