/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* monitor.h - what others may see of the running server, over HTTP on a local port:
 *   /metrics   all figures, for Prometheus
 *   /healthz   200 as long as the loop turns
 *   /readyz    200 when mail can be taken and read: store writable, disk above min_free, directory
 *              answers; else 503. JSON, with a sentence for each reason
 * Floor 6 (app). Threads: loop; the sizes of the store and the open descriptors are looked at by
 * jobs on lane store, a moment after a scrape that finds them old. Nothing in it names an account,
 * an address or a client, but whoever can connect can read it: it belongs on a local address. */
#ifndef PH_APP_MONITOR_H
#define PH_APP_MONITOR_H
#include "appliance/base/settings.h"
#include "appliance/directory/directory.h"
#include "appliance/io/listener.h"
#include "appliance/store/store.h"

struct filters;
struct guard;
struct metrics_conf { /* section "metrics" */
    const char *address;
    int64_t port; /* 0: none */
};
extern const struct ph_setting metrics_settings[];

struct monitor_conf {
    struct loop *loop;
    struct store *store;
    struct directory *directory;
    const struct filters *filters; /* or NULL */
    const struct guard *guard;     /* or NULL */
};
struct monitor;
/* Once /proc is in reach: before a sandbox is closed, or with /proc open in it. */
int monitor_new(const struct monitor_conf *conf, struct monitor **out, struct err *err)
    __attribute__((warn_unused_result));
/* Serves on a listener that was opened, which stays the caller's. */
int monitor_listen(struct monitor *m, struct listener *ln, struct err *err)
    __attribute__((warn_unused_result));
void monitor_stopping(struct monitor *m); /* from now on /readyz says no; m may be NULL */
void monitor_free(struct monitor **m);    /* before what conf names is closed */
#endif
