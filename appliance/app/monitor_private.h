/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* monitor_private.h - what the files of monitor share. Floor 6 (app). Threads: loop, but for
 * struct sampling while its job runs. */
#ifndef PH_APP_MONITOR_PRIVATE_H
#define PH_APP_MONITOR_PRIVATE_H
#include "appliance/app/monitor.h"
#include "appliance/base/list.h"
#include "appliance/base/log.h"
#include "appliance/io/http_server.h"
#include "appliance/store/queue.h"
#include <dirent.h>

struct monitor {
    struct monitor_conf conf;
    struct http_server *http;
    struct list checks; /* ready.c: under way */
    bool stopping;
    struct sampling *sampling;
};
extern const struct log_ctx monitor_log;

/* monitor_ready.c */
void monitor_on_ready(void *ctx, struct http_request *r);
void monitor_drop_checks(struct monitor *m);

/* monitor_sample.c: what is too slow for the loop */
struct sample {
    uint64_t open_fds;
    struct store_sizes sizes;
    struct queue_totals queue;
    struct queue_kept held, quarantine;
    int64_t sized_ms; /* wall clock; 0: not yet */
};
struct sampling *sampling_new(struct store *store, struct err *err);
const struct sample *sampling_last(const struct sampling *s);
void sampling_kick(struct sampling *s); /* looks again, if that is long ago */
void sampling_free(struct sampling **s);
struct process { /* of the kernel, cheap */
    uint64_t rss_bytes, vm_bytes, threads, cpu_us, max_fds;
    int64_t started_ms; /* wall clock */
};
void sampling_process(const struct sampling *s, struct process *out);

/* monitor_filters.c */
void monitor_put_filters(struct buf *out, const struct filters *f);
void monitor_put_guard(struct buf *out, const struct guard *g);

/* monitor_export.c */
void monitor_write(struct monitor *m, struct buf *out);
#endif
