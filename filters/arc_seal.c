/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* arc_seal.c - the stage `arc_seal`: mail that aliases send on to other hosts leaves with an ARC
 * set of ours (RFC 8617 5.1), which tells the next host what we found when it came. Other mail is
 * signed by dkim_sign. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "filters/arc_make.h"
#include "filters/authres.h"
#include "filters/builtin.h"
#include "filters/dkim_hash.h"
#include "filters/dkim_keys.h"
#include "filters/signing.h"
#include <stdio.h>

enum { DOMAIN_ROOM = 254 };

struct arc_seal_conf {
    const char *domain;
};
// clang-format off
static const struct ph_setting arc_seal_settings[] = {
    PH_SETTING(TEXT, arc_seal_conf, domain, PH_RELOAD, "", 0, 0,
               "Whose key seals: a domain that has one (posthouse dkim create), or one above it has. Empty: the server's own name."),
    PH_SETTING_END};
// clang-format on

struct sealing {
    const struct ph_host *host;
    struct dkim_keys *keys;
    bool missing; /* that there is no key was said */
};
struct work {
    struct signing_work job;
    const struct dkim_signer *signer;
    struct arc_chain chain; /* as it came */
    const char *cv;
    unsigned instance;
    struct str results, message, seal; /* values of the new fields */
};

/* ---- Signing */

static void run(void *inst, const struct ph_view *v, void *arg) /* lane check */
{
    struct work *w = arg;
    const struct dkim_message m = dkim_message_of(v);
    const struct arc_new set = {.signer = w->signer,
                                .instance = w->instance,
                                .cv = w->cv,
                                .results = w->results,
                                .now = clock_wall_ms() / 1000};

    (void)inst;
    w->job.failed =
        arc_make(w->job.arena, &w->chain, &m, &set, &w->message, &w->seal, &w->job.err) != 0;
}

static void on_sealed(void *inst, ph_turn turn, void *arg)
{
    const struct ph_host *host = ((struct sealing *)inst)->host;
    const struct work *w = arg;
    struct ph_acts *acts = host->acts(host, turn);
    char reason[400];

    if (signing_failed(host, turn, &w->job, "not sealed"))
        return;
    host->header_insert(acts, 0, "ARC-Authentication-Results", w->results.p);
    host->header_insert(acts, 0, "ARC-Message-Signature", w->message.p);
    host->header_insert(acts, 0, "ARC-Seal", w->seal.p);
    host->fact_set(acts, "arc_seal.domain", w->signer->domain.p);
    snprintf(reason, sizeof reason, "sealed by %.200s, i=%u, cv=%s", w->signer->domain.p,
             w->instance, w->cv);
    host->done(host, turn, PH_PASS, NULL, reason);
}

/* ---- What is sealed */

/* cv= of our seal: what the stage arc found of the sets that are there. NULL: it can't be said, or
 * nobody may add to them; why_out says it. */
static const char *status(const struct arc_chain *c, const char *found, const char **why_out)
{
    if (c->result == ARC_NONE)
        return "none";
    *why_out = "not sealed: its chain wasn't verified";
    if (!found || (strcmp(found, "pass") != 0 && strcmp(found, "fail") != 0))
        return NULL;
    *why_out = "not sealed: its chain was declared broken"; /* RFC 8617 5.1, step 2 */
    if (c->ended)
        return NULL;
    *why_out = "not sealed: its chain is as long as one may be";
    if (c->highest >= ARC_SETS_MAX)
        return NULL;
    return c->result == ARC_PASS ? found : "fail"; /* it may have been altered since */
}

static const struct dkim_signer *find_signer(const struct sealing *g, const char *name)
{
    const struct dkim_signer *first;
    struct buf domain;

    buf_init(&domain, DOMAIN_ROOM);
    if (text_domain(str_from(name), &domain))
        buf_clear(&domain);
    first = dkim_ring_find(dkim_keys_ring(g->keys), buf_str(&domain));
    buf_fini(&domain);
    return signing_rsa(first);
}

/* -1: it would be longer than anybody reads. */
static int write_results(const struct ph_host *host, ph_turn turn, struct work *w)
{
    struct ph_acts *acts = host->acts(host, turn);
    const char *id = host->fact_get(acts, "authres.id");
    struct buf results, field;

    buf_init(&results, AUTHRES_ALL);
    buf_init(&field, ARC_FIELD_MAX);
    authres_gather(host, acts, &results);
    authres_fold(
        arena_printf(w->job.arena, "i=%u; %s", w->instance, id ? id : host->view(host, turn)->host),
        results.n ? buf_str(&results) : STR("none"), &field);
    bool ok = buf_ok(&results) && buf_ok(&field);
    w->results = arena_str(w->job.arena, buf_str(&field));
    buf_fini(&results);
    buf_fini(&field);
    return ok ? 0 : -1;
}

/* NULL: a job seals it, and has taken w over. Else why not. */
static const char *begin(struct sealing *g, ph_turn turn, struct work *w)
{
    const struct ph_host *host = g->host;
    const struct ph_view *v = host->view(host, turn);
    const char *why;

    w->job.arena = arena_new(0);
    arc_chain_read(&w->chain, w->job.arena, str_of(v->head, v->head_size), clock_wall_ms() / 1000);
    w->cv = status(&w->chain, host->fact_get(host->acts(host, turn), "arc.result"), &why);
    if (!w->cv)
        return why;
    w->instance = w->chain.highest + 1;
    if (write_results(host, turn, w))
        return "not sealed: its results are too long";
    if (host->job(host, turn, run, on_sealed, signing_work_free, w))
        signing_work_free(w);
    return NULL;
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct sealing *g = inst;
    const struct ph_host *host = g->host;
    const struct arc_seal_conf *c = conf;
    const struct ph_view *v = host->view(host, turn);
    const char *domain = c->domain[0] ? c->domain : v->host;
    char reason[300];

    (void)at;
    if (strcmp(v->route, "forward") != 0) {
        host->done(host, turn, PH_PASS, NULL, "not forwarded");
        return;
    }
    const struct dkim_signer *signer = find_signer(g, domain);
    if (!signer) {
        snprintf(reason, sizeof reason, "no key for %.200s", domain);
        if (!g->missing)
            host->log(host, NULL, PH_LOG_WARN, "forwarded mail isn't sealed: %s", reason);
        g->missing = true;
        host->done(host, turn, PH_PASS, NULL, reason);
        return;
    }
    g->missing = false;
    struct work *w = MEM_NEW(struct work);
    w->job.ring = dkim_ring_ref(dkim_keys_ring(g->keys));
    w->signer = signer;
    const char *why = begin(g, turn, w);
    if (!why)
        return;
    host->done(host, turn, PH_PASS, NULL, why);
    signing_work_free(w);
}

/* ---- The stage */

const struct dkim_keys *arc_seal_keys(const void *inst)
{
    return ((const struct sealing *)inst)->keys;
}

static int check(const void *conf, struct ph_err *err)
{
    const struct arc_seal_conf *c = conf;
    struct buf domain;

    buf_init(&domain, DOMAIN_ROOM);
    int rc = c->domain[0] ? text_domain(str_from(c->domain), &domain) : 0;
    buf_fini(&domain);
    if (rc)
        snprintf(err->text, sizeof err->text, "domain: %.100s is no domain", c->domain);
    return rc;
}

static void close_stage(void *inst)
{
    struct sealing *g = inst;

    dkim_keys_close(&g->keys);
    mem_free(g);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *why)
{
    struct sealing *g = MEM_NEW(struct sealing);
    struct err err = {0};

    (void)conf;
    g->host = host;
    *inst = g;
    if (dkim_keys_open(host, builtin_store(host), NULL, NULL, &g->keys, &err) == 0)
        return 0;
    snprintf(why->text, sizeof why->text, "%.200s", err.text);
    mem_free(g);
    return -1;
}

const struct ph_stage arc_seal_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_OUTBOUND),
    .flags = PH_ALWAYS,
    .name = "arc_seal",
    .after = "milter",
    .doc =
        "Seals mail that aliases send on to other hosts (ARC, RFC 8617) with the key of a domain "
        "of this server, so that they can see what was found out about it here: SPF no longer "
        "holds there. It needs the stages arc and authres. Mail whose ARC sets were found "
        "broken gets a set that says so; mail whose sets couldn't be verified gets none.",
    .lane = "check",
    .settings = arc_seal_settings,
    .conf_size = sizeof(struct arc_seal_conf),
    .check = check,
    .open = open_stage,
    .close = close_stage,
    .on_point = on_point};
