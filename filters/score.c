/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* score.c - the stage `score`: what the points of all other stages come to. */
#include "filters/builtin.h"
#include <stdio.h>

enum { POINTS_MAX = 1000000 };

struct score_conf {
    int64_t junk, quarantine, reject; /* 0: never */
};
// clang-format off
static const struct ph_setting score_settings[] = {
    PH_SETTING(INT, score_conf, junk, PH_RELOAD, "6", 0, POINTS_MAX,
               "From so many points on a message goes into the Junk folder of its recipients. 0: never."),
    PH_SETTING(INT, score_conf, quarantine, PH_RELOAD, "0", 0, POINTS_MAX,
               "From so many points on it is kept for the administrator (posthouse quarantine). 0: never."),
    PH_SETTING(INT, score_conf, reject, PH_RELOAD, "15", 0, POINTS_MAX,
               "From so many points on it is refused. 0: never."),
    PH_SETTING_END};
// clang-format on

static bool reached(double points, int64_t limit)
{
    return limit > 0 && points >= (double)limit;
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    const struct ph_host *host = inst;
    const struct score_conf *c = conf;
    enum ph_verdict v = PH_PASS;
    char of[160], why[200], reply[256];
    double points = builtin_score(host, turn, of, sizeof of);

    (void)at;
    if (reached(points, c->reject))
        v = PH_REJECT;
    else if (reached(points, c->quarantine))
        v = PH_QUARANTINE;
    else if (reached(points, c->junk))
        v = PH_JUNK;
    snprintf(why, sizeof why, "%.6g points: %s", points, of);
    snprintf(reply, sizeof reply,
             "550 5.7.1 It looks like junk: %.6g points (%s), %lld are too many", points, of,
             (long long)c->reject);
    host->done(host, turn, v, v == PH_REJECT ? reply : NULL, points != 0 ? why : NULL);
}

static bool idle(const void *conf)
{
    const struct score_conf *c = conf;

    return c->junk == 0 && c->quarantine == 0 && c->reject == 0;
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)conf;
    (void)err;
    *inst = (void *)(uintptr_t)host;
    return 0;
}

const struct ph_stage score_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MESSAGE),
    .flags = PH_UNLESS_ACCEPTED | PH_ABOUT_SENDER,
    .name = "score",
    .doc = "Adds up the points that other stages gave a message (dnslist, rdns, helo, plug-ins), "
           "and acts when they are many. What a "
           "stage accepted (policy) isn't judged by its points, and mail of who may submit gets "
           "none of them.",
    .after = "*",
    .settings = score_settings,
    .conf_size = sizeof(struct score_conf),
    .idle = idle,
    .open = open_stage,
    .on_point = on_point};
