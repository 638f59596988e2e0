/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* monitor_export.c - the text of /metrics: what is registered (base/metrics.h), and from here what
 * is kept elsewhere. A table of columns says what is told of each listener and lane; each has a row
 * of numbers. */
#include "appliance/app/monitor_private.h"
#include "appliance/base/metrics.h"
#include <stdio.h>

enum { ROWS = 128, COLUMNS = 8 };

struct column {
    enum metric_type type;
    const char *name, *help;
    unsigned scale;
};
struct row {
    char text[80];
    struct metric_kv labels[3];
    uint64_t v[COLUMNS];
};
struct table {
    struct row rows[ROWS];
    size_t n;
};

static void put_table(struct buf *out, const struct column *columns, size_t n_columns,
                      const struct table *t)
{
    for (size_t c = 0; c < n_columns && t->n; c++) {
        metrics_family(out, columns[c].type, columns[c].name, columns[c].help);
        for (size_t i = 0; i < t->n; i++)
            metrics_sample(out, columns[c].name, t->rows[i].labels, t->rows[i].v[c],
                           columns[c].scale);
    }
}

/* ---- listeners */
static const struct column listener_columns[] = {
    {METRIC_COUNTER, "posthouse_listener_accepted_total", "Connections accepted.", 0},
    {METRIC_COUNTER, "posthouse_listener_failed_total",
     "Times accepting had to rest: no descriptors or memory left.", 0},
    {METRIC_GAUGE, "posthouse_listener_open_connections", "Connections open now.", 0},
    {METRIC_GAUGE, "posthouse_listener_max_connections",
     "Connections that may be open; more wait in the kernel.", 0},
    {METRIC_COUNTER, "posthouse_listener_received_bytes_total", "Octets received, as on the wire.",
     0},
    {METRIC_COUNTER, "posthouse_listener_sent_bytes_total", "Octets sent, as on the wire.", 0},
    {METRIC_COUNTER, "posthouse_listener_refused_total",
     "Connections turned away at once: too many, or banned.", 0},
};

static void add_listener(void *ctx, const struct listener_stats *st)
{
    struct table *t = ctx;
    struct row *r = &t->rows[t->n];
    bool v6 = strchr(st->host, ':') != NULL;

    if (t->n == ROWS)
        return;
    if (st->host[0])
        snprintf(r->text, sizeof r->text, v6 ? "[%s]:%u" : "%s:%u", st->host, (unsigned)st->port);
    r->v[0] = st->accepted;
    r->v[1] = st->failed;
    r->v[2] = st->open;
    r->v[3] = st->max;
    r->v[4] = st->received;
    r->v[5] = st->sent;
    r->v[6] = st->refused;
    r->labels[0] = (struct metric_kv){"listener", st->name};
    r->labels[1] = (struct metric_kv){"address", r->text};
    t->n++;
}

/* ---- lanes */
enum { LANE_WAIT_MAX = 6 };
static const struct column lane_columns[] = {
    {METRIC_GAUGE, "posthouse_lane_waiting_jobs", "Jobs that wait for a thread.", 0},
    {METRIC_GAUGE, "posthouse_lane_running_jobs", "Jobs that run.", 0},
    {METRIC_GAUGE, "posthouse_lane_threads", "Threads of the lane.", 0},
    {METRIC_COUNTER, "posthouse_lane_jobs_total", "Jobs begun.", 0},
    {METRIC_COUNTER, "posthouse_lane_refused_jobs_total",
     "Jobs refused because too many waited already.", 0},
    {METRIC_COUNTER, "posthouse_lane_wait_seconds_total", "Time that jobs have waited, in all.", 6},
    {METRIC_GAUGE, "posthouse_lane_wait_seconds_max", "Longest wait of a job since the start.", 6},
    {METRIC_GAUGE, "posthouse_lane_max_waiting_jobs", "Jobs that may wait.", 0},
};

static struct row *lane_row(struct table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->rows[i].text, name) == 0)
            return &t->rows[i];
    if (t->n == ROWS)
        return NULL;
    struct row *r = &t->rows[t->n++];
    snprintf(r->text, sizeof r->text, "%s", name);
    r->labels[0] = (struct metric_kv){"lane", r->text};
    return r;
}

/* Several of one name (of filter stages that were replaced) are one. */
static void add_lane(void *ctx, const struct lane_conf *conf, const struct lane_stats *st)
{
    struct row *r = lane_row(ctx, conf->name);
    const uint64_t v[COLUMNS] = {st->waiting, st->running, conf->threads,
                                 st->jobs,    st->refused, st->wait_us_total,
                                 0,           conf->depth};

    for (size_t i = 0; r && i < COLUMNS; i++)
        r->v[i] += v[i];
    if (r && st->wait_us_max > r->v[LANE_WAIT_MAX])
        r->v[LANE_WAIT_MAX] = st->wait_us_max;
}

/* ---- single numbers */
static void put(struct buf *out, enum metric_type type, const char *name, const char *help,
                uint64_t v, unsigned scale)
{
    metrics_family(out, type, name, help);
    metrics_sample(out, name, NULL, v, scale);
}
#define COUNT(name, help, v) put(out, METRIC_COUNTER, name, help, v, 0)
#define GAUGE(name, help, v) put(out, METRIC_GAUGE, name, help, v, 0)

static void put_committer(struct buf *out, struct store *s)
{
    static const char *const classes[STORE_CLASSES] = {"delivery", "interactive", "bulk"};
    static const char waiting[] = "posthouse_store_waiting_operations";
    struct store_stats st;

    store_stats(s, &st);
    COUNT("posthouse_store_batches_total", "Commits of the store.", st.batches);
    COUNT("posthouse_store_operations_total", "Operations made durable.", st.ops);
    COUNT("posthouse_store_failed_operations_total", "Operations that failed.", st.failed);
    put(out, METRIC_GAUGE, "posthouse_store_commit_seconds_max", "Longest commit since the start.",
        st.commit_us_max, 6);
    metrics_family(out, METRIC_GAUGE, waiting, "Operations that wait for the next commit.");
    for (size_t i = 0; i < STORE_CLASSES; i++)
        metrics_sample(out, waiting, (struct metric_kv[]){{"class", classes[i]}, {NULL, NULL}},
                       st.waiting[i], 0);
    GAUGE("posthouse_store_wal_bytes", "Size of the database's write-ahead log.",
          st.wal_bytes > 0 ? (uint64_t)st.wal_bytes : 0);
}

static void put_disk(struct buf *out, struct store *s)
{
    uint64_t free_bytes, min_free;

    GAUGE("posthouse_store_read_only",
          "1 when a flush to disk has failed: nothing is written until a restart.",
          store_read_only(s));
    if (store_space(s, &free_bytes, &min_free))
        return;
    GAUGE("posthouse_store_disk_free_bytes", "Free space of the store's disk.", free_bytes);
    GAUGE("posthouse_store_min_free_bytes", "Below so much free space no mail is taken.", min_free);
}

static void put_sizes(struct buf *out, const struct sample *last)
{
    const struct store_sizes *z = &last->sizes;

    if (!last->sized_ms)
        return;
    GAUGE("posthouse_store_accounts", "Accounts that have mail or had it.", z->accounts);
    GAUGE("posthouse_store_mailboxes", "Mailboxes of all accounts.", z->mailboxes);
    GAUGE("posthouse_store_messages", "Messages in all mailboxes.", z->messages);
    GAUGE("posthouse_store_message_bytes", "Their octets, each copy counted.", z->message_bytes);
    GAUGE("posthouse_store_bodies", "Bodies kept; copies share one.", z->bodies);
    GAUGE("posthouse_store_body_bytes", "Octets of the bodies.", z->body_bytes);
    GAUGE("posthouse_queue_messages", "Messages that wait to leave for other hosts.",
          last->queue.messages);
    GAUGE("posthouse_queue_recipients", "Their recipients that haven't their copy yet.",
          last->queue.recipients);
    GAUGE("posthouse_queue_on_hold_recipients", "Those that an administrator holds.",
          last->queue.on_hold);
    GAUGE("posthouse_queue_bytes", "Octets of the messages that wait.", last->queue.bytes);
    GAUGE("posthouse_held_messages", "Messages held for a stage.", last->held.messages);
    GAUGE("posthouse_held_bytes", "Their octets.", last->held.bytes);
    GAUGE("posthouse_quarantine_messages", "Messages in quarantine.", last->quarantine.messages);
    GAUGE("posthouse_quarantine_bytes", "Their octets.", last->quarantine.bytes);
    put(out, METRIC_GAUGE, "posthouse_queue_oldest_seconds", "Age of the oldest of them.",
        last->queue.oldest_ms && last->sized_ms > last->queue.oldest_ms
            ? (uint64_t)(last->sized_ms - last->queue.oldest_ms)
            : 0,
        3);
    put(out, METRIC_GAUGE, "posthouse_store_sized_timestamp_seconds",
        "When the sizes were counted, in seconds since 1970.", (uint64_t)last->sized_ms, 3);
}

static void put_process(struct buf *out, const struct sampling *s)
{
    struct process p;

    sampling_process(s, &p);
    put(out, METRIC_COUNTER, "process_cpu_seconds_total", "CPU time, user and system.", p.cpu_us,
        6);
    GAUGE("process_resident_memory_bytes", "Resident memory.", p.rss_bytes);
    GAUGE("process_virtual_memory_bytes", "Virtual memory.", p.vm_bytes);
    GAUGE("process_threads", "Threads.", p.threads);
    GAUGE("process_open_fds", "Open file descriptors.", sampling_last(s)->open_fds);
    GAUGE("process_max_fds", "Most file descriptors that may be open.", p.max_fds);
    put(out, METRIC_GAUGE, "process_start_time_seconds", "Start, in seconds since 1970.",
        (uint64_t)p.started_ms, 3);
}

void monitor_write(struct monitor *m, struct buf *out)
{
    static const char build[] = "posthouse_build_info";
    struct table *t = MEM_NEW(struct table);

    metrics_family(out, METRIC_GAUGE, build, "The program that runs; always 1.");
    metrics_sample(out, build, (struct metric_kv[]){{"version", PH_VERSION}, {NULL, NULL}}, 1, 0);
    metrics_write(out);
    listeners_each(m->conf.loop, add_listener, t);
    put_table(out, listener_columns, ARRAY_LEN(listener_columns), t);
    *t = (struct table){.n = 0};
    lanes_each(m->conf.loop, add_lane, t);
    put_table(out, lane_columns, ARRAY_LEN(lane_columns), t);
    put_committer(out, m->conf.store);
    put_disk(out, m->conf.store);
    put_sizes(out, sampling_last(m->sampling));
    put_process(out, m->sampling);
    if (m->conf.filters)
        monitor_put_filters(out, m->conf.filters);
    if (m->conf.guard)
        monitor_put_guard(out, m->conf.guard);
    mem_free(t);
}
