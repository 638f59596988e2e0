/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* monitor.c - life, and the pages that answer at once. */
#include "appliance/app/monitor_private.h"
#include "appliance/base/metrics.h"

enum { PAGE_MAX = 8 << 20 };

// clang-format off
const struct ph_setting metrics_settings[] = {
    PH_SETTING(TEXT, metrics_conf, address, 0, "127.0.0.1", 0, 0,
        "Where /metrics (Prometheus), /healthz and /readyz are served, without TLS and without a password: a local address."),
    PH_SETTING(INT, metrics_conf, port, 0, "0", 0, 65535,
        "Its port; 9127 is a usual choice. 0: not served."),
    PH_SETTING_END};
// clang-format on

const struct log_ctx monitor_log = {.module = "monitor"};

static void on_metrics(void *ctx, struct http_request *r)
{
    struct monitor *m = ctx;
    struct buf page;

    buf_init(&page, PAGE_MAX);
    monitor_write(m, &page);
    if (buf_ok(&page))
        http_reply(r, 200, METRICS_CONTENT_TYPE, buf_str(&page));
    else
        http_reply(r, 500, "text/plain; charset=utf-8", STR("Too much to tell.\n"));
    buf_fini(&page);
    sampling_kick(m->sampling);
}

static void on_health(void *ctx, struct http_request *r)
{
    (void)ctx;
    http_reply(r, 200, "application/json", STR("{\"live\":true}\n"));
}

static const struct http_route routes[] = {{"/metrics", on_metrics},
                                           {"/healthz", on_health},
                                           {"/readyz", monitor_on_ready},
                                           {.path = NULL}};

int monitor_new(const struct monitor_conf *conf, struct monitor **out, struct err *err)
{
    struct monitor *m = MEM_NEW(struct monitor);

    m->conf = *conf;
    list_init(&m->checks);
    m->sampling = sampling_new(conf->store, err);
    if (!m->sampling || http_server_new(conf->loop, routes, m, &m->http, err)) {
        monitor_free(&m);
        return -1;
    }
    sampling_kick(m->sampling);
    *out = m;
    return 0;
}

int monitor_listen(struct monitor *m, struct listener *ln, struct err *err)
{
    return http_server_listen(m->http, ln, "metrics", err);
}

void monitor_stopping(struct monitor *m)
{
    if (m)
        m->stopping = true;
}

void monitor_free(struct monitor **mp)
{
    struct monitor *m = *mp;

    if (!m)
        return;
    *mp = NULL;
    monitor_drop_checks(m);
    http_server_free(&m->http);
    sampling_free(&m->sampling);
    mem_free(m);
}
