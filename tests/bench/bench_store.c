/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* bench_store.c - acknowledged deliveries per second and their latency, straight into the store: no
 * SMTP, no sockets. Built by hand: ninja bench_store. Usage: bench_store FOLDER [SECONDS [BYTES]];
 * FOLDER on a journaled file system (DESIGN.md 9). Rows: 1, 8, 64 submitters; 64 while 100 000
 * messages are copied; 64 while two 50 MB messages arrive again and again. */
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "appliance/store/message.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SUBMITTERS = 64, ACCOUNTS = 50, SAMPLES = 1 << 20, COPIED = 100000, LARGE = 50 << 20 };

static struct {
    struct loop *loop;
    struct store *store;
    struct store_conf conf;
    struct str message;
    uint64_t until_us, acknowledged, busy;
    uint32_t *samples;
    size_t n_samples;
    bool keep_going; /* beyond until_us, while something else is under way */
} bench;

struct submitter {
    struct body_sink *sink;
    struct message_delivery d;
    struct message_recipient r;
    char account[40];
    uint64_t began_us;
};

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "bench_store: %s: %s\n", what, err->text);
    exit(1);
}

/* ---- Small messages. */

static void submitter_next(struct submitter *s);

static void on_delivered(struct store_op *op)
{
    struct submitter *s = CONTAINER_OF(op, struct submitter, d.op);

    if (op->failed)
        die("delivery", &op->err);
    if (bench.n_samples < SAMPLES)
        bench.samples[bench.n_samples++] = (uint32_t)(clock_mono_us() - s->began_us);
    bench.acknowledged++;
    body_sink_free(&s->sink);
    bench.busy--;
    if (bench.keep_going || clock_mono_us() < bench.until_us)
        submitter_next(s);
}

static void on_flushed(void *ctx, const struct err *failed)
{
    struct submitter *s = ctx;

    if (failed)
        die("body", failed);
    message_delivery_init(&s->d, on_delivered);
    s->d.sink = s->sink;
    s->d.rcpts = &s->r;
    s->d.n_rcpts = 1;
    s->d.internal_ms = clock_wall_ms();
    if (store_submit(bench.store, &s->d.op) != 0)
        die("submit", &s->d.op.err);
}

static void submitter_next(struct submitter *s)
{
    static unsigned turn;

    snprintf(s->account, sizeof s->account, "user%u@example.com", turn++ % ACCOUNTS);
    s->r = (struct message_recipient){.account = str_from(s->account),
                                      .mailbox = STR("INBOX"),
                                      .prefix = STR("Return-Path: <somebody@example.org>\r\n"
                                                    "Delivered-To: user@example.com\r\n")};
    s->began_us = clock_mono_us();
    s->sink = body_sink_new(bench.store, bench.conf.message_limit, NULL, NULL);
    body_sink_put(s->sink, bench.message);
    body_sink_end(s->sink);
    body_sink_flush(s->sink, on_flushed, s);
    bench.busy++;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void row(const char *name, unsigned submitters, double seconds, void (*start_other)(void))
{
    static struct submitter all[SUBMITTERS];
    struct store_stats before, after;
    double cpu = cpu_seconds();
    uint64_t began = clock_mono_us();

    bench.acknowledged = bench.n_samples = 0;
    bench.until_us = began + (uint64_t)(seconds * 1e6);
    store_stats(bench.store, &before);
    if (start_other)
        start_other();
    for (unsigned i = 0; i < submitters; i++)
        submitter_next(&all[i]);
    while (bench.busy)
        loop_turn(bench.loop, true);
    double took = (double)(clock_mono_us() - began) / 1e6;
    cpu = cpu_seconds() - cpu;
    store_stats(bench.store, &after);
    uint64_t batches = after.batches - before.batches, n = bench.acknowledged;
    qsort(bench.samples, bench.n_samples, sizeof *bench.samples, compare);
    printf("%-26s %8.0f/s  p50 %6.2f ms  p99 %6.2f ms  max %6.2f ms  %5.1f ops/commit  commit "
           "%5.0f us  cpu %5.1f us/msg\n",
           name, (double)n / took, bench.samples[bench.n_samples / 2] / 1e3,
           bench.samples[bench.n_samples * 99 / 100] / 1e3,
           bench.samples[bench.n_samples - 1] / 1e3,
           (double)(after.ops - before.ops) / (double)batches,
           (double)(after.commit_us_total - before.commit_us_total) / (double)batches,
           cpu * 1e6 / (double)n);
    fflush(stdout);
}

/* ---- A copy of 100 000 messages. */

static struct fill {
    struct store_op op;
    uint64_t from, to;
    unsigned left;
    struct body_sink *sink;
    bool done;
} fill;

static void on_fill_done(struct store_op *op)
{
    if (op->failed)
        die("fill", &op->err);
    fill.done = true;
}

static int fill_run(struct store_op *op, struct store_tx *tx)
{
    struct message_new m = {.prefix = STR("Return-Path: <somebody@example.org>\r\n")};
    uint64_t account;
    uint32_t uid;

    if (account_open_tx(tx, STR("copier@example.com"), &account, &op->err) != 0 ||
        mailbox_find_tx(tx, account, STR("INBOX"), &fill.from, &op->err) != 0 ||
        mailbox_find_tx(tx, account, STR("Archive"), &fill.to, &op->err) != 0 ||
        body_insert_tx(tx, fill.sink, &m.body, &op->err) != 0)
        return -1;
    m.mailbox = fill.from;
    for (; fill.left; fill.left--) {
        if (message_insert_tx(tx, &m, &uid, &op->err) != 0)
            return -1;
    }
    return STORE_DONE;
}

static void on_fill_flushed(void *ctx, const struct err *failed)
{
    (void)ctx;
    if (failed)
        die("body", failed);
    fill.op = (struct store_op){.run = fill_run, .done = on_fill_done, .cls = STORE_BULK};
    if (store_submit(bench.store, &fill.op) != 0)
        die("submit", &fill.op.err);
}

static void fill_mailbox(void)
{
    fill.left = COPIED;
    fill.sink = body_sink_new(bench.store, bench.conf.message_limit, NULL, NULL);
    body_sink_put(fill.sink, bench.message);
    body_sink_end(fill.sink);
    body_sink_flush(fill.sink, on_fill_flushed, NULL);
    while (!fill.done) {
        loop_turn(bench.loop, false);
        usleep(1000);
    }
    body_sink_free(&fill.sink);
}

static struct message_copy copy;
static uint64_t copy_began_us, copy_took_us;
static const struct uid_range everything = {1, UINT32_MAX};

static void on_copied(struct store_op *op)
{
    if (op->failed)
        die("copy", &op->err);
    copy_took_us = clock_mono_us() - copy_began_us;
    bench.keep_going = false;
    bench.busy--;
}

static void start_copy(void)
{
    message_copy_init(&copy, on_copied);
    copy.from = fill.from;
    copy.to = fill.to;
    copy.set = &everything;
    copy.n_set = 1;
    copy_began_us = clock_mono_us();
    bench.until_us = 0;
    bench.keep_going = true;
    if (store_submit(bench.store, &copy.op) != 0)
        die("submit", &copy.op.err);
    bench.busy++;
}

/* ---- Reading a mailbox of 100 000 messages. */

static void timed(const char *what, uint64_t began_us)
{
    printf("  %-26s %8.2f ms\n", what, (double)(clock_mono_us() - began_us) / 1e3);
}

static void read_mailbox(void)
{
    struct message_query q = {.first = 1, .last = UINT32_MAX, .max = SIZE_MAX};
    struct arena *a = arena_new(0);
    struct store_reader *r;
    struct message_info *list;
    struct body_reader body;
    struct str data;
    struct err err = {0};
    uint32_t *uids, uid;
    uint64_t began;
    size_t n;

    if (store_reader_open(bench.store, &r, &err) != 0)
        die("reader", &err);
    for (int i = 0; i < 2; i++) { /* the second time it is warm */
        began = clock_mono_us();
        if (message_uids(r, fill.from, UINT32_MAX, &uids, &n, &err) != 0)
            die("uids", &err);
        timed("list of uids", began);
        mem_free(uids);
    }
    began = clock_mono_us();
    if (message_range(r, a, fill.from, &q, &list, &n, &err) != 0)
        die("range", &err);
    timed("uids, flags, sizes", began);
    uint64_t id = list[0].body;
    q.since = list[n - 1].modseq - 1;
    began = clock_mono_us();
    if (message_range(r, a, fill.from, &q, &list, &n, &err) != 0)
        die("range", &err);
    timed("changed since", began);
    began = clock_mono_us();
    if (message_first_unseen(r, fill.from, &uid, &err) != 0)
        die("unseen", &err);
    timed("first unseen", began);
    began = clock_mono_us();
    for (int i = 0; i < 1000; i++) {
        if (body_open(r, a, id, BODY_WANT_HEAD | BODY_WANT_META, &body, &err) != 0 ||
            body_read(&body, 0, 10000, NULL, &data, &err) != 0)
            die("body", &err);
        body_close(&body);
    }
    timed("1000 bodies", began);
    store_reader_close(&r);
    arena_free(&a);
}

/* ---- Large messages. */

static struct large {
    struct body_sink *sink;
    uint64_t put, written;
    struct loop_defer again;
} larges[2];
static char chunk[64 << 10];

static void large_begin(struct large *l);

static void on_large_flushed(void *ctx, const struct err *failed)
{
    struct large *l = ctx;

    if (failed)
        die("large body", failed);
    body_sink_free(&l->sink);
    l->written++;
    bench.busy--;
    if (clock_mono_us() < bench.until_us)
        large_begin(l);
}

static void large_feed(void *ctx)
{
    struct large *l = ctx;

    if (l->put >= LARGE) {
        body_sink_end(l->sink);
        body_sink_flush(l->sink, on_large_flushed, l);
        return;
    }
    l->put += sizeof chunk;
    enum body_put put = body_sink_put(l->sink, str_of(chunk, sizeof chunk));
    if (put == BODY_FAIL)
        die("large body", body_sink_error(l->sink));
    if (put == BODY_MORE)
        loop_defer(bench.loop, &l->again);
}

static void large_begin(struct large *l)
{
    l->again.fn = large_feed;
    l->again.ctx = l;
    l->put = 0;
    l->sink = body_sink_new(bench.store, UINT64_MAX, large_feed, l);
    body_sink_put(l->sink, STR("Subject: large\r\n\r\n"));
    bench.busy++;
    loop_defer(bench.loop, &l->again);
}

static void start_large(void)
{
    for (size_t i = 0; i < sizeof chunk; i++)
        chunk[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : 'x';
    large_begin(&larges[0]);
    large_begin(&larges[1]);
}

/* ---- */

static void make_message(size_t bytes)
{
    struct buf b;

    buf_init(&b, 1 << 24);
    buf_add_z(&b,
              "Received: from relay.example.org (relay.example.org [192.0.2.7])\r\n\tby "
              "mail.example.com;\r\n"
              "\tTue, 01 Jul 2025 12:00:00 +0000\r\nFrom: Somebody <somebody@example.org>\r\n"
              "To: User <user@example.com>\r\nSubject: a message of ordinary size\r\n"
              "Date: Tue, 01 Jul 2025 12:00:00 +0000\r\nMessage-ID: <1234567890@example.org>\r\n"
              "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
    while (b.n < bytes)
        buf_add_z(
            &b, "The quick brown fox jumps over the lazy dog, and again, until it is enough.\r\n");
    bench.message = buf_str(&b);
}

static long rss_kb(void)
{
    long pages = 0, total;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f && fscanf(f, "%ld %ld", &total, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * 4;
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? atof(argv[2]) : 5;
    struct err err = {0};

    if (argc < 2) {
        fprintf(stderr, "usage: bench_store FOLDER [SECONDS [BYTES]]\n");
        return 2;
    }
    make_message(argc > 3 ? (size_t)atol(argv[3]) : 10000);
    bench.samples = mem_alloc(SAMPLES * sizeof *bench.samples);
    if (settings_defaults(store_settings, &bench.conf, &err) != 0)
        die("settings", &err);
    bench.conf.message_limit = 50 << 20;
    bench.loop = loop_new();
    long before = rss_kb();
    if (store_open(argv[1], &bench.conf, bench.loop, &bench.store, &err) != 0)
        die("open", &err);
    printf("messages of %zu bytes; opening the store took %ld KB\n", bench.message.n,
           rss_kb() - before);
    row("1 submitter", 1, seconds, NULL);
    row("8 submitters", 8, seconds, NULL);
    row("64 submitters", 64, seconds, NULL);
    row("64, two 50 MB arriving", 64, seconds, start_large);
    printf("  large messages written: %" PRIu64 "\n", larges[0].written + larges[1].written);
    fill_mailbox();
    read_mailbox();
    row("64, COPY of 100000", 64, seconds, start_copy);
    printf("  the copy took %.2f s; resident %ld KB\n", (double)copy_took_us / 1e6, rss_kb());
    store_close(&bench.store);
    for (int i = 0; i < 10; i++)
        loop_turn(bench.loop, false);
    loop_free(&bench.loop);
    return 0;
}
