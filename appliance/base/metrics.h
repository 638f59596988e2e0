/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* metrics.h - counters, gauges and histograms, declared beside the code that counts, and their text
 * for Prometheus (exposition format 0.0.4).
 * Floor 0 (base). Threads: metric_add() and its like are for numbers that only one thread changes
 * (the loop): a load and a store, no lock. metric_add_any() and metric_observe_any() are atomic,
 * for all others. metrics_write() from any thread. A metric is static and registers itself before
 * main. How many series it has is fixed where it is declared: labels with values known beforehand
 * make one cell for each combination; METRIC_DYNAMIC finds cells by text as they come, up to its
 * number, and counts the rest as "other". No label ever holds what a client said.
 *
 *   METRIC(messages, RESULTS, .type = METRIC_COUNTER, .name = "posthouse_smtp_messages_total",
 *          .help = "Messages by what became of them.", .labels = {{"result", result_name,
 * RESULTS}}); metric_inc(&messages, RESULT_ACCEPTED);
 *
 * What is kept elsewhere (lane_stats, store_stats) is written by whoever knows it, one
 * metrics_family() and its metrics_sample()s. */
#ifndef PH_BASE_METRICS_H
#define PH_BASE_METRICS_H
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include <stdatomic.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum { METRIC_LABELS = 2 };

struct metric_cell {
    _Atomic uint64_t n;
};
struct metric_label {
    const char *name;
    const char *(*value)(size_t i); /* of i < n; NULL: METRIC_DYNAMIC */
    size_t n;
};
struct metric {
    enum metric_type type;
    const char *name, *help;
    unsigned scale; /* decimal places: 6 for what is counted in us and shown in seconds */
    struct metric_label labels[METRIC_LABELS]; /* cell index: first * labels[1].n + second */
    const uint64_t *bounds;                    /* histogram: upper, ascending, in counted units */
    size_t n_bounds;
    /* private */
    struct metric_cell *cells; /* histogram: one a bound, +Inf, sum */
    size_t n_cells;
    char **texts; /* METRIC_DYNAMIC: METRIC_LABELS a cell */
    size_t n_used;
    struct metric *next;
};
void metric_register(struct metric *m); /* by the macros, before main */

#define METRIC_REGISTER(id)                                                                        \
    __attribute__((constructor)) static void id##_register(void)                                   \
    {                                                                                              \
        metric_register(&id);                                                                      \
    }
#define METRIC(id, count, ...)                                                                     \
    static struct metric_cell id##_cells[count];                                                   \
    static struct metric id = {.cells = id##_cells, .n_cells = (count), __VA_ARGS__};              \
    METRIC_REGISTER(id)                                                                            \
    static struct metric id /* so that a semicolon follows */
#define METRIC_DYNAMIC(id, count, ...)                                                             \
    static char *id##_texts[(count)*METRIC_LABELS];                                                \
    METRIC(id, count, .texts = id##_texts, __VA_ARGS__)
/* us: a static array of bounds in us, or in whatever `scale` says. */
#define METRIC_BUCKETS(id, limits, ...)                                                            \
    METRIC(id, ARRAY_LEN(limits) + 2, .type = METRIC_HISTOGRAM, .bounds = limits,                  \
           .n_bounds = ARRAY_LEN(limits), __VA_ARGS__)

/* ---- Counting by the one thread that does. i: the cell, 0 where there are no labels. */
static inline void metric_add(struct metric *m, size_t i, uint64_t n)
{
    CHECK(i < m->n_cells);
    _Atomic uint64_t *at = &m->cells[i].n;
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline void metric_inc(struct metric *m, size_t i)
{
    metric_add(m, i, 1);
}
static inline void metric_dec(struct metric *m, size_t i)
{
    metric_add(m, i, (uint64_t)-1);
}
static inline void metric_set(struct metric *m, size_t i, uint64_t n) /* any thread */
{
    CHECK(i < m->n_cells);
    atomic_store_explicit(&m->cells[i].n, n, memory_order_relaxed);
}
static inline uint64_t metric_get(const struct metric *m, size_t i) /* any thread */
{
    CHECK(i < m->n_cells);
    return atomic_load_explicit(&m->cells[i].n, memory_order_relaxed);
}
static inline void metric_add_any(struct metric *m, size_t i, uint64_t n) /* any thread */
{
    CHECK(i < m->n_cells);
    atomic_fetch_add_explicit(&m->cells[i].n, n, memory_order_relaxed);
}
void metric_observe(struct metric *m, uint64_t value);
void metric_observe_any(struct metric *m, uint64_t value); /* any thread */
/* The cell of these label values; b NULL with one label. When all are taken: that of "other". Takes
 * a lock: for what is rare, or keep the number. Any thread. */
size_t metric_find(struct metric *m, const char *a, const char *b);

/* ---- Text. */
void metrics_write(struct buf *out); /* all that are registered, by name */
struct metric_kv {
    const char *key, *value;
};
/* A family's # HELP and # TYPE; then its samples, of this family alone. */
void metrics_family(struct buf *out, enum metric_type type, const char *name, const char *help);
/* labels: ended by key NULL, or NULL. scale: as above. */
void metrics_sample(struct buf *out, const char *name, const struct metric_kv *labels,
                    uint64_t value, unsigned scale);
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#endif
