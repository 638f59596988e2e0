/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_sign.c - the stage `dkim_sign`: signs what our users send to other hosts with the keys of
 * its author's domain. The fields go in front of the copies that leave, over a header that is
 * already complete (Received, Date, Message-ID). Keys change while it runs (dkim_rows.h). */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/builtin.h"
#include "filters/dkim_hash.h"
#include "filters/dkim_keys.h"
#include "filters/dkim_rotate.h"
#include "filters/private.h"
#include "filters/signing.h"
#include <stdio.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

struct dkim_sign_conf {
    uint64_t rotate_wait, retire_time, dns_check;
};
// clang-format off
static const struct ph_setting dkim_sign_settings[] = {
    PH_SETTING(TIME, dkim_sign_conf, rotate_wait, PH_RELOAD, "1d", 0, 365LL * DAY,
               "How long a new key waits, after its record was seen in the DNS, before it takes over from the old one."),
    PH_SETTING(TIME, dkim_sign_conf, retire_time, PH_RELOAD, "7d", 0, 365LL * DAY,
               "How long the record of a key that signs no more must stay in the DNS, for mail that is still under way."),
    PH_SETTING(TIME, dkim_sign_conf, dns_check, PH_RELOAD, "5min", SECOND, DAY,
               "How often the DNS is asked for records of new keys."),
    PH_SETTING_END};
// clang-format on

struct signing {
    const struct ph_host *host;
    const struct filters_env *env;
    struct dkim_keys *keys;
    struct dkim_rotation *rotation;
};
struct work {
    struct signing_work job;
    const struct dkim_signer *signers;
    struct str values[DKIM_SIGNERS_MAX];
    size_t n;
};

/* ---- Signing */

static void run(void *inst, const struct ph_view *v, void *arg) /* lane check */
{
    struct work *w = arg;
    const struct dkim_message m = dkim_message_of(v);

    (void)inst;
    w->job.failed = dkim_seal(w->job.arena, &m, w->signers, clock_wall_ms() / 1000, w->values,
                              &w->n, &w->job.err) != 0;
}

static void on_signed(void *inst, ph_turn turn, void *arg)
{
    const struct ph_host *host = ((struct signing *)inst)->host;
    const struct work *w = arg;
    struct ph_acts *acts = host->acts(host, turn);
    char reason[300];

    if (signing_failed(host, turn, &w->job, "not signed"))
        return;
    for (size_t i = w->n; i-- > 0;)
        host->header_insert(acts, 0, "DKIM-Signature", w->values[i].p);
    snprintf(reason, sizeof reason, "signed by %.200s, %zu keys", w->signers->domain.p, w->n);
    host->fact_set(acts, "dkim_sign.domain", w->signers->domain.p);
    host->done(host, turn, PH_PASS, NULL, reason);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct signing *g = inst;
    const struct ph_host *host = g->host;
    const struct ph_view *v = host->view(host, turn);
    char reason[300] = "no From field with a domain";

    (void)conf;
    (void)at;
    if (strcmp(v->route, "forward") == 0) {
        host->done(host, turn, PH_PASS, NULL, "not ours to sign");
        return;
    }
    struct arena *arena = arena_new(0);
    struct str domain = dkim_author_domain(arena, str_of(v->head, v->head_size));
    const struct dkim_signer *signers = dkim_ring_find(dkim_keys_ring(g->keys), domain);
    if (!signers) {
        if (domain.n)
            snprintf(reason, sizeof reason, "no key for %s", domain.p);
        host->done(host, turn, PH_PASS, NULL, reason);
        arena_free(&arena);
        return;
    }
    struct work *w = MEM_NEW(struct work);
    w->job.ring = dkim_ring_ref(dkim_keys_ring(g->keys));
    w->signers = signers;
    w->job.arena = arena;
    if (host->job(host, turn, run, on_signed, signing_work_free, w))
        signing_work_free(w);
}

/* ---- The stage */

const struct dkim_keys *dkim_sign_keys(const void *inst)
{
    return ((const struct signing *)inst)->keys;
}

static struct dkim_rotate_conf rotate_conf(const struct dkim_sign_conf *c)
{
    return (struct dkim_rotate_conf){
        .wait = c->rotate_wait, .retire = c->retire_time, .check = c->dns_check};
}

static void on_rows(void *ctx, const struct dkim_row *rows, size_t n)
{
    const struct signing *g = ctx;

    if (g->rotation)
        dkim_rotation_rows(g->rotation, rows, n);
}

static void close_stage(void *inst)
{
    struct signing *g = inst;

    dkim_keys_close(&g->keys);
    dkim_rotation_free(&g->rotation);
    mem_free(g);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *why)
{
    const struct stage *s =
        (const void *)((const char *)host - offsetof(struct stage, host)); /* its owner */
    const struct dkim_rotate_conf rotate = rotate_conf(conf);
    struct signing *g = MEM_NEW(struct signing);
    struct err err = {0};

    g->host = host;
    g->env = &s->filters->env;
    *inst = g;
    if (g->env->store)
        g->rotation = dkim_rotation_new(g->env->loop, g->env->store, g->env->resolver, &rotate);
    if (dkim_keys_open(host, g->env->store, on_rows, g, &g->keys, &err) == 0)
        return 0;
    snprintf(why->text, sizeof why->text, "%.200s", err.text);
    close_stage(g);
    return -1;
}

static int reload_stage(void *inst, const void *conf, struct ph_err *err)
{
    const struct dkim_rotate_conf rotate = rotate_conf(conf);
    struct signing *g = inst;

    (void)err;
    if (g->rotation)
        dkim_rotation_conf(g->rotation, &rotate);
    return 0;
}

const struct ph_stage dkim_sign_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_OUTBOUND),
    .flags = PH_ALWAYS,
    .name = "dkim_sign",
    .after = "milter",
    .doc = "Signs mail that users of this host, or it itself, send to others (DKIM), where the "
           "domain in From, or "
           "one above it, has keys: "
           "posthouse dkim create makes them. Takes new keys into use, and old ones out of it, by "
           "itself.",
    .lane = "check",
    .settings = dkim_sign_settings,
    .conf_size = sizeof(struct dkim_sign_conf),
    .open = open_stage,
    .reload = reload_stage,
    .close = close_stage,
    .on_point = on_point};
