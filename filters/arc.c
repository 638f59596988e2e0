/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* arc.c - the stage `arc`: verifies the ARC sets of what comes in (RFC 8617). Their keys are asked
 * for on the loop, all at once; the signatures are verified on lane `check`. It judges nothing:
 * whose seals count is for others to say. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/arc_facts.h"
#include "filters/builtin.h"
#include "filters/dkim_fetch.h"
#include "filters/dkim_hash.h"

/* One for each seal of the longest chain; signatures nearly always have the same key. */
enum { QUERIES = 60, DNS_MS = 10000 };

struct arc_work { /* of one message; goes with its job, or its turn */
    const struct ph_host *host;
    struct arena *arena;
    struct arc_chain chain;
    struct dkim_fetch keys;
};

static void work_free(void *arg)
{
    struct arc_work *w = arg;

    arena_free(&w->arena);
    mem_free(w);
}

static struct arc_work **place(const struct ph_host *host, ph_turn turn)
{
    return host->memory(host, turn);
}

/* ---- The answer */

static void set(const struct ph_host *host, struct ph_acts *acts, const char *fact, struct buf *b)
{
    host->fact_set(acts, fact, buf_z(b));
    buf_clear(b);
}

static void write_facts(const struct ph_host *host, ph_turn turn, const struct arc_chain *c)
{
    struct ph_acts *acts = host->acts(host, turn);
    struct buf b;

    buf_init(&b, ARC_FACT_MAX);
    host->fact_set(acts, "arc.result", arc_result_name(c->result));
    if (c->result == ARC_PASS) {
        buf_add_str(&b, c->sets[c->n - 1].seal.sig.domain);
        set(host, acts, "arc.sealer", &b);
        arc_facts_sealers(c, &b);
        set(host, acts, "arc.chain", &b);
        arc_facts_sets(c, &b);
        set(host, acts, "arc.sets", &b);
    }
    /* RFC 8617 10.1 knows none, pass and fail; of what has no sets nobody needs to be told. */
    if (c->result == ARC_PASS || c->result == ARC_FAIL) {
        arc_facts_authres(c, host->view(host, turn)->client_ip, &b);
        set(host, acts, "arc.authres", &b);
    }
    buf_fini(&b);
}

static void answer(const struct ph_host *host, ph_turn turn, const struct arc_chain *c)
{
    struct buf reason;

    buf_init(&reason, 1000);
    write_facts(host, turn, c);
    arc_facts_words(c, &reason);
    host->done(host, turn, PH_PASS, NULL, buf_z(&reason));
    buf_fini(&reason);
}

/* ---- Verifying */

static void run(void *inst, const struct ph_view *v, void *arg) /* lane check */
{
    struct arc_work *w = arg;
    const struct dkim_message m = dkim_message_of(v);

    (void)inst;
    arc_chain_run(&w->chain, &m);
}

static void on_verified(void *inst, ph_turn turn, void *arg)
{
    (void)inst;
    answer(((struct arc_work *)arg)->host, turn, &((struct arc_work *)arg)->chain);
}

/* All keys are there, or are known to be missing. */
static void go_on(void *ctx, ph_turn turn)
{
    struct arc_work *w = ctx;

    *place(w->host, turn) = NULL; /* the job's now */
    if (w->host->job(w->host, turn, run, on_verified, work_free, w))
        work_free(w);
}

/* A broken chain needs no keys. */
static void verify(struct arc_work *w, ph_turn turn)
{
    const struct ph_host *host = w->host;

    if (w->chain.result != ARC_PASS) {
        answer(host, turn, &w->chain);
        work_free(w);
        return;
    }
    w->keys = (struct dkim_fetch){.host = host, .arena = w->arena, .done = go_on, .ctx = w};
    w->keys.list = ARENA_ARRAY(w->arena, struct dkim_one *, 2 * w->chain.n);
    w->keys.n = arc_chain_open(&w->chain, w->keys.list);
    *place(host, turn) = w;
    if (!dkim_fetch_begin(&w->keys, turn))
        go_on(w, turn);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    const struct ph_host *host = inst;
    const struct ph_view *v = host->view(host, turn);

    (void)conf;
    (void)at;
    if (v->auth_user[0]) { /* our own users' mail */
        host->done(host, turn, PH_PASS, NULL, "submitted");
        return;
    }
    struct arc_work *w = MEM_NEW(struct arc_work);
    w->host = host;
    w->arena = arena_new(0);
    arc_chain_read(&w->chain, w->arena, str_of(v->head, v->head_size), clock_wall_ms() / 1000);
    verify(w, turn);
}

static void cancel(void *inst, ph_turn turn)
{
    struct arc_work **w = place(inst, turn);

    if (*w)
        work_free(*w);
    *w = NULL;
}

/* ---- The stage */

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)conf;
    (void)err;
    *inst = (void *)(uintptr_t)host;
    return 0;
}

const struct ph_stage arc_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MESSAGE),
    .name = "arc",
    .doc = "Verifies ARC (RFC 8617): what forwarders and mailing lists say they found when the "
           "message came to them. It refuses nothing: whom to believe is set in "
           "dmarc.forwarders. Facts: arc.result (none, pass, fail, temperror), arc.sealer (domain "
           "of the newest seal), arc.chain (of all, from the first), arc.sets (what each claims).",
    .lane = "check",
    .turn_size = sizeof(struct arc_work *),
    .open = open_stage,
    .on_point = on_point,
    .cancel = cancel,
    .dns_queries = QUERIES,
    .dns_ms = DNS_MS};
