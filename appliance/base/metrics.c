/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/metrics.h"
#include "appliance/base/text.h"
#include <inttypes.h>
#include <pthread.h>

static struct metric *registry; /* by name; complete before main, then unchanged */
/* Of METRIC_DYNAMIC's texts. Cells are only ever added. */
static pthread_mutex_t texts_lock = PTHREAD_MUTEX_INITIALIZER;

void metric_register(struct metric *m)
{
    struct metric **at = &registry;

    while (*at && strcmp((*at)->name, m->name) < 0)
        at = &(*at)->next;
    CHECK(!*at || strcmp((*at)->name, m->name) != 0); /* two of one name */
    m->next = *at;
    *at = m;
}

/* ---- counting */

static size_t bucket_of(const struct metric *m, uint64_t value)
{
    size_t i = 0;

    while (i < m->n_bounds && value > m->bounds[i])
        i++;
    return i;
}

void metric_observe(struct metric *m, uint64_t value)
{
    metric_inc(m, bucket_of(m, value));
    metric_add(m, m->n_bounds + 1, value);
}

void metric_observe_any(struct metric *m, uint64_t value)
{
    metric_add_any(m, bucket_of(m, value), 1);
    metric_add_any(m, m->n_bounds + 1, value);
}

static bool has_texts(const struct metric *m, size_t i, const char *const *texts)
{
    for (size_t k = 0; k < METRIC_LABELS && m->labels[k].name; k++)
        if (strcmp(m->texts[i * METRIC_LABELS + k], texts[k]) != 0)
            return false;
    return true;
}

static void set_texts(struct metric *m, size_t i, const char *const *texts)
{
    for (size_t k = 0; k < METRIC_LABELS && m->labels[k].name; k++)
        m->texts[i * METRIC_LABELS + k] = str_dup_z(str_from(texts[k]));
}

size_t metric_find(struct metric *m, const char *a, const char *b)
{
    static const char *const others[METRIC_LABELS] = {"other", "other"};
    const char *texts[METRIC_LABELS] = {a ? a : "", b ? b : ""};
    size_t i;

    CHECK(m->texts && m->n_cells > 1);
    pthread_mutex_lock(&texts_lock);
    for (i = 0; i < m->n_used && !has_texts(m, i, texts); i++)
        ;
    if (i == m->n_cells) {
        i = m->n_cells - 1; /* "other", all the time since they ran out */
    } else if (i == m->n_used) {
        set_texts(m, i, i == m->n_cells - 1 ? others : texts);
        m->n_used++;
    }
    pthread_mutex_unlock(&texts_lock);
    return i;
}

/* ---- text */

static void put_escaped(struct buf *out, const char *z, bool quotes)
{
    bool utf8 = text_utf8_valid(str_from(z));

    for (; *z; z++) {
        if (*z == '\\')
            buf_add_z(out, "\\\\");
        else if (*z == '\n')
            buf_add_z(out, "\\n");
        else if (*z == '"' && quotes)
            buf_add_z(out, "\\\"");
        else
            buf_add_char(out, (unsigned char)*z < 0x80 || utf8 ? *z : '?');
    }
}

static void put_number(struct buf *out, uint64_t v, unsigned scale)
{
    uint64_t unit = 1, part;

    for (unsigned i = 0; i < scale; i++)
        unit *= 10;
    buf_add_u64(out, v / unit);
    part = v % unit;
    if (!part)
        return;
    for (; part % 10 == 0; scale--)
        part /= 10;
    buf_printf(out, ".%0*" PRIu64, (int)scale, part);
}

void metrics_family(struct buf *out, enum metric_type type, const char *name, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};

    buf_printf(out, "# HELP %s ", name);
    put_escaped(out, help, false);
    buf_printf(out, "\n# TYPE %s %s\n", name, types[type]);
}

void metrics_sample(struct buf *out, const char *name, const struct metric_kv *labels,
                    uint64_t value, unsigned scale)
{
    buf_add_z(out, name);
    for (const struct metric_kv *l = labels; l && l->key; l++) {
        buf_printf(out, "%s%s=\"", l == labels ? "{" : ",", l->key);
        put_escaped(out, l->value, true);
        buf_add_char(out, '"');
    }
    if (labels && labels->key)
        buf_add_char(out, '}');
    buf_add_char(out, ' ');
    put_number(out, value, scale);
    buf_add_char(out, '\n');
}

static void put_cell(struct buf *out, const struct metric *m, const struct metric_kv *labels,
                     size_t i)
{
    uint64_t v = metric_get(m, i);

    if (m->type == METRIC_GAUGE && v > INT64_MAX)
        v = 0; /* two threads' add and subtract, seen half */
    metrics_sample(out, m->name, labels, v, m->scale);
}

static const char *label_text(const struct metric *m, size_t i, size_t k)
{
    if (m->texts)
        return m->texts[i * METRIC_LABELS + k];
    return m->labels[k].value(k == 0 && m->labels[1].name ? i / m->labels[1].n
                              : k == 0                    ? i
                                                          : i % m->labels[1].n);
}

static void write_cells(struct buf *out, const struct metric *m)
{
    struct metric_kv labels[METRIC_LABELS + 1];
    size_t n = m->n_cells;

    if (m->texts) {
        pthread_mutex_lock(&texts_lock);
        n = m->n_used;
        pthread_mutex_unlock(&texts_lock);
    }
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        for (; k < METRIC_LABELS && m->labels[k].name; k++)
            labels[k] = (struct metric_kv){m->labels[k].name, label_text(m, i, k)};
        labels[k].key = NULL;
        put_cell(out, m, labels, i);
    }
}

/* The count is the sum of the buckets as read, so that it agrees with the last of them. */
static void write_histogram(struct buf *out, const struct metric *m)
{
    uint64_t count = 0;

    for (size_t i = 0; i <= m->n_bounds; i++) {
        count += metric_get(m, i);
        buf_printf(out, "%s_bucket{le=\"", m->name);
        if (i < m->n_bounds)
            put_number(out, m->bounds[i], m->scale);
        else
            buf_add_z(out, "+Inf");
        buf_printf(out, "\"} %" PRIu64 "\n", count);
    }
    buf_printf(out, "%s_sum ", m->name);
    put_number(out, metric_get(m, m->n_bounds + 1), m->scale);
    buf_printf(out, "\n%s_count %" PRIu64 "\n", m->name, count);
}

void metrics_write(struct buf *out)
{
    for (const struct metric *m = registry; m; m = m->next) {
        metrics_family(out, m->type, m->name, m->help);
        if (m->type == METRIC_HISTOGRAM)
            write_histogram(out, m);
        else
            write_cells(out, m);
    }
}
