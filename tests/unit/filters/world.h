/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* world.h - a filter chain with stages of the test's own, on a loop that the test turns. */
#ifndef PH_TESTS_FILTERS_WORLD_H
#define PH_TESTS_FILTERS_WORLD_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/store/store.h"
#include "filters/private.h"
#include "tests/unit/folder.h"
#include "tests/unit/sql_world.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct world {
    struct loop *loop;
    struct timer *tick;
    struct filters_registry *registry;
    struct filters_config *config;
    struct filters *filters;
    struct store_conf store_conf;
    struct store *store;
    struct resolver *resolver;
    const struct runner *runner;
    char dir[64];
    struct sql_world sql;
    unsigned answers;
    /* The stage of that name is on; dkim, arc: both. */
    bool limits, rdns, helo, spf, authres, dkim, arc, dmarc;
    bool policy, score, rewrite;
};

static inline void world_on_tick(void *ctx)
{
    (void)ctx;
}

static inline void world_turn(struct world *w)
{
    timer_start(w->tick, 1);
    loop_turn(w->loop, true);
}

static inline void world_init(struct world *w)
{
    *w = (struct world){0};
    log_set_fd(-1);
    w->loop = loop_new();
    w->tick = timer_new(w->loop, world_on_tick, w);
    w->registry = filters_registry_new();
}

static inline void world_add(struct world *w, struct ph_stage s)
{
    struct err err = {0};

    s.abi = PH_STAGE_ABI;
    s.size = sizeof s;
    s.setting_size = sizeof(struct ph_setting);
    if (!s.doc)
        s.doc = "A stage of a test.";
    if (filters_registry_add(w->registry, &s, &err))
        fail_msg("%s", err.text);
}

static inline void world_set(struct world *w, const char *assignment)
{
    struct err err = {0};

    if (!w->config)
        assert_int_equal(filters_config_new(w->registry, &w->config, &err), 0);
    if (settings_assign(filters_registry_sections(w->registry), filters_config_object(w->config),
                        str_from(assignment), &err))
        fail_msg("%s", err.text);
}

static inline int world_try_open(struct world *w, struct err *err)
{
    world_set(w, "headers.mode=off");
    world_set(w, w->authres ? "authres.mode=on" : "authres.mode=off");
    world_set(w, w->spf ? "spf.mode=on" : "spf.mode=off");
    world_set(w, w->dkim ? "dkim.mode=on" : "dkim.mode=off");
    world_set(w, w->dkim ? "dkim_sign.mode=on" : "dkim_sign.mode=off");
    world_set(w, w->arc ? "arc.mode=on" : "arc.mode=off");
    world_set(w, w->arc ? "arc_seal.mode=on" : "arc_seal.mode=off");
    world_set(w, w->dmarc ? "dmarc.mode=on" : "dmarc.mode=off");
    world_set(w, w->rdns ? "rdns.mode=on" : "rdns.mode=off");
    world_set(w, w->helo ? "helo.mode=on" : "helo.mode=off");
    world_set(w, w->policy ? "policy.mode=on" : "policy.mode=off");
    world_set(w, w->rewrite ? "rewrite.mode=on" : "rewrite.mode=off");
    world_set(w, w->score ? "score.mode=on" : "score.mode=off");
    world_set(w, w->limits ? "limits.mode=on" : "limits.mode=off");
    const struct filters_env env = {.loop = w->loop,
                                    .registry = w->registry,
                                    .config = w->config,
                                    .store = w->store,
                                    .resolver = w->resolver,
                                    .runner = w->runner};
    return filters_open(&env, &w->filters, err);
}

static inline void world_open(struct world *w)
{
    struct err err = {0};

    if (world_try_open(w, &err))
        fail_msg("%s", err.text);
}

static inline void world_store(struct world *w)
{
    struct err err = {0};

    if (!w->dir[0]) {
        snprintf(w->dir, sizeof w->dir, "/tmp/ph-filters-XXXXXX");
        assert_non_null(mkdtemp(w->dir));
        assert_int_equal(settings_defaults(store_settings, &w->store_conf, &err), 0);
        if (sql_world_open(&w->sql))
            w->store_conf.server = w->sql.conf;
    }
    if (store_open(w->dir, &w->store_conf, w->loop, &w->store, &err))
        fail_msg("%s", err.text);
}

static inline void world_fini(struct world *w)
{
    filters_close(&w->filters);
    filters_config_unref(&w->config);
    store_close(&w->store);
    settings_free(store_settings, &w->store_conf);
    for (int i = 0; i < 3; i++)
        world_turn(w);
    timer_free(&w->tick);
    loop_turn(w->loop, false);
    loop_free(&w->loop);
    filters_registry_free(&w->registry);
    sql_world_close(&w->sql);
    if (w->dir[0])
        folder_remove(w->dir);
}

static inline void world_on_answer(void *ctx)
{
    ((struct world *)ctx)->answers++;
}

static inline enum chain_run world_begin(struct world *w, struct chain *c, enum ph_point at)
{
    static const char *const rcpts[] = {"b@example.com", NULL};
    const struct ph_view v = {.client_ip = "192.0.2.1",
                              .helo = "there",
                              .mail_from = "a@example.net",
                              .rcpts = rcpts,
                              .n_rcpts = 1,
                              .rcpt = "b@example.com"};
    const struct chain_message m = {.head = STR("From: a@example.net\r\nSubject: x\r\n\r\n"),
                                    .data = STR("Hello\r\n"),
                                    .fd = -1};

    return chain_run(c, at, &v, at == PH_MESSAGE ? &m : NULL, NULL, world_on_answer, w);
}

/* Runs a point to its end. */
static inline const struct chain_answer *world_run(struct world *w, struct chain *c,
                                                   enum ph_point at)
{
    unsigned before = w->answers;

    if (world_begin(w, c, at) == CHAIN_WAIT)
        while (w->answers == before)
            world_turn(w);
    assert_true(w->answers <= before + 1);
    return chain_answer(c);
}
#endif
