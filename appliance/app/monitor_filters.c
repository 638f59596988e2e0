/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* monitor_filters.c - figures of the filter chain's stages and of the guard. */
#include "appliance/app/monitor_private.h"
#include "appliance/base/metrics.h"
#include "filters/chain.h"
#include "filters/clamav_status.h"
#include "filters/guard.h"

enum { STAGES_MAX = 64 };

struct stages {
    struct filters_stats at[STAGES_MAX];
    size_t n;
};
struct figure {
    enum metric_type type;
    const char *name, *help;
    uint64_t (*of)(const struct filters_stats *st);
    unsigned scale;
};

static uint64_t turns(const struct filters_stats *st)
{
    return st->turns;
}
static uint64_t errors(const struct filters_stats *st)
{
    return st->errors;
}
static uint64_t late(const struct filters_stats *st)
{
    return st->late;
}
static uint64_t us_total(const struct filters_stats *st)
{
    return st->us_total;
}
static uint64_t us_max(const struct filters_stats *st)
{
    return st->us_max;
}
static uint64_t threads_lost(const struct filters_stats *st)
{
    return st->threads_lost;
}
static uint64_t off(const struct filters_stats *st)
{
    return st->off;
}

static const struct figure figures[] = {
    {METRIC_COUNTER, "posthouse_stage_turns_total", "Times a filter stage was asked.", turns, 0},
    {METRIC_COUNTER, "posthouse_stage_errors_total",
     "Turns that on_error answered: past the deadline, no room, or failed.", errors, 0},
    {METRIC_COUNTER, "posthouse_stage_late_answers_total", "Second and late answers, ignored.",
     late, 0},
    {METRIC_COUNTER, "posthouse_stage_seconds_total", "Time its turns took, in all.", us_total, 6},
    {METRIC_GAUGE, "posthouse_stage_seconds_max", "Longest turn since the start.", us_max, 6},
    {METRIC_GAUGE, "posthouse_stage_threads_lost",
     "Threads given up because its work() did not return.", threads_lost, 0},
    {METRIC_GAUGE, "posthouse_stage_off", "1 when its faults have switched the stage off.", off, 0},
};

static void put_figure(struct buf *out, const struct stages *s, const struct figure *f)
{
    metrics_family(out, f->type, f->name, f->help);
    for (size_t i = 0; i < s->n; i++)
        metrics_sample(out, f->name, (struct metric_kv[]){{"stage", s->at[i].name}, {NULL, NULL}},
                       f->of(&s->at[i]), f->scale);
}

static void put_verdicts(struct buf *out, const struct stages *s)
{
    static const char name[] = "posthouse_stage_verdicts_total";

    metrics_family(out, METRIC_COUNTER, name, "Verdicts of filter stages.");
    for (size_t i = 0; i < s->n; i++)
        for (int v = 0; v < PH_VERDICTS; v++)
            metrics_sample(out, name,
                           (struct metric_kv[]){{"stage", s->at[i].name},
                                                {"verdict", ph_verdict_name((enum ph_verdict)v)},
                                                {NULL, NULL}},
                           s->at[i].verdicts[v], 0);
}

static void put(struct buf *out, enum metric_type type, const char *name, const char *help,
                uint64_t v)
{
    metrics_family(out, type, name, help);
    metrics_sample(out, name, NULL, v, 0);
}

static void put_scanner(struct buf *out, const struct filters *f)
{
    struct clamav_status st;

    if (!clamav_status(f, &st))
        return;
    put(out, METRIC_GAUGE, "posthouse_scanner_ready", "1 when mail can be scanned for viruses.",
        st.ready);
    put(out, METRIC_GAUGE, "posthouse_scanner_scans", "Messages that are scanned now.",
        st.under_way);
    put(out, METRIC_COUNTER, "posthouse_scanner_deaths_total",
        "Processes of the virus scanner that ended by themselves; each was started again.",
        st.deaths);
    if (!st.pid)
        return;
    put(out, METRIC_GAUGE, "posthouse_scanner_pid",
        "Process of the virus scanner (clamav.isolation).", (uint64_t)st.pid);
    put(out, METRIC_GAUGE, "posthouse_scanner_memory_bytes",
        "Memory and swap of that process, without files.", st.memory);
}

void monitor_put_filters(struct buf *out, const struct filters *f)
{
    struct stages *s = MEM_NEW(struct stages);

    s->n = filters_stats(f, s->at, STAGES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(figures) && s->n; i++)
        put_figure(out, s, &figures[i]);
    if (s->n)
        put_verdicts(out, s);
    mem_free(s);
    if (f)
        put_scanner(out, f);
}

void monitor_put_guard(struct buf *out, const struct guard *g)
{
    static const char refused[] = "posthouse_guard_refused_connections_total";
    struct guard_stats st;

    guard_stats(g, &st);
    const struct {
        const char *why;
        uint64_t n;
    } whys[] = {
        {"banned", st.refused_banned}, {"crowded", st.refused_crowded}, {"full", st.refused_full}};
    metrics_family(out, METRIC_COUNTER, refused,
                   "Connections refused: client banned, too many of its network, too many in all.");
    for (size_t i = 0; i < ARRAY_LEN(whys); i++)
        metrics_sample(out, refused, (struct metric_kv[]){{"why", whys[i].why}, {NULL, NULL}},
                       whys[i].n, 0);
    put(out, METRIC_GAUGE, "posthouse_guard_connections", "Connections that the guard counts.",
        st.open);
    put(out, METRIC_GAUGE, "posthouse_guard_bans", "Bans in force.", st.bans);
    put(out, METRIC_GAUGE, "posthouse_guard_pairs",
        "Pairs of account and network that have logged in.", st.pairs);
    put(out, METRIC_COUNTER, "posthouse_guard_bans_total", "Clients banned for what they did.",
        st.banned);
    put(out, METRIC_COUNTER, "posthouse_guard_refused_logins_total",
        "Logins refused before the password was looked at.", st.logins_refused);
    put(out, METRIC_COUNTER, "posthouse_guard_failed_logins_total", "Logins that failed.",
        st.logins_failed);
}
