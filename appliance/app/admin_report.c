/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* report: what is counted for reports to other domains; and sending them. */
#include "appliance/app/admin.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "filters/dmarc_results.h"
#include "smtp/client/tls_results.h"
#include <stdio.h>
#include <time.h>

enum { DAY_S = 86400, LIST_MAX = 1000, SHOW_MAX = 1000, SHOW_ROOM = 8 << 20, DAYS = 9 };

struct looking {
    struct admin_call *c;
    struct arena *mem;
    struct store_reader *reader;
    int64_t today;
};

static json_t *day_text(int64_t day)
{
    time_t t = (time_t)(day * DAY_S);
    char z[32];
    struct tm tm;

    return gmtime_r(&t, &tm) && strftime(z, sizeof z, "%Y-%m-%d", &tm) ? json_string(z)
                                                                       : json_null();
}

static int begin(struct admin_call *c, struct looking *l)
{
    *l = (struct looking){.c = c, .today = clock_wall_ms() / 1000 / DAY_S};
    if (store_reader_open(c->store, &l->reader, &c->err))
        return -1;
    l->mem = arena_new(0);
    c->result = json_array();
    return 0;
}

static int end(struct looking *l, int rc)
{
    store_reader_close(&l->reader);
    arena_free(&l->mem);
    if (rc) {
        json_decref(l->c->result);
        l->c->result = NULL;
    }
    return rc;
}

/* ---- list */

static int list_one(struct looking *l, const char *of, const struct daily_table *t)
{
    const struct daily first = {.day = -1, .domain = STR("")};
    struct daily *list;
    size_t n;

    if (daily_due(l->reader, l->mem, t, l->today + 1, &first, LIST_MAX, &list, &n, &l->c->err))
        return -1;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(l->c->result,
                              json_pack("{ss so so sI sI sb}", "of", of, "day",
                                        day_text(list[i].day), "domain", admin_str(list[i].domain),
                                        "rows", (json_int_t)list[i].rows, "count",
                                        (json_int_t)list[i].count, "over", list[i].day < l->today));
    return 0;
}

static int cmd_list(struct admin_call *c)
{
    struct looking l;

    if (begin(c, &l))
        return -1;
    int rc = list_one(&l, "dmarc", &dmarc_results_daily);
    return end(&l, rc ? rc : list_one(&l, "tls", &tls_results_daily));
}

/* ---- show */

static int show_dmarc(struct looking *l, int64_t day, struct str domain)
{
    struct dmarc_row *rows;
    size_t n;

    if (dmarc_results_of(l->reader, l->mem, day, domain, SHOW_MAX, SHOW_ROOM, &rows, &n,
                         &l->c->err))
        return -1;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            l->c->result,
            json_pack("{ss so so so sI ss ss ss ss so}", "of", "dmarc", "day", day_text(day),
                      "author", admin_str(rows[i].author), "client", admin_str(rows[i].ip), "count",
                      (json_int_t)rows[i].count, "spf", rows[i].spf ? "pass" : "fail", "dkim",
                      rows[i].dkim ? "pass" : "fail", "disposition",
                      dmarc_policy_name(rows[i].disposition), "override",
                      dmarc_override_name(rows[i].override), "policy", admin_str(rows[i].record)));
    return 0;
}

static int show_tls(struct looking *l, int64_t day, struct str domain)
{
    struct tls_result *rows;
    size_t n;

    if (tls_results_of(l->reader, l->mem, day, domain, SHOW_MAX, &rows, &n, &l->c->err))
        return -1;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(l->c->result, json_pack("{ss so so sI ss ss}", "of", "tls", "day",
                                                      day_text(day), "host", admin_str(rows[i].mx),
                                                      "count", (json_int_t)rows[i].count, "policy",
                                                      tls_policy_name(rows[i].kind), "result",
                                                      tls_result_name(rows[i].type)));
    return 0;
}

static int show_all(struct looking *l, struct str domain)
{
    for (int64_t day = l->today - DAYS; day <= l->today; day++)
        if (show_dmarc(l, day, domain) || show_tls(l, day, domain))
            return -1;
    return 0;
}

static int cmd_show(struct admin_call *c)
{
    struct looking l;
    struct buf name;
    int rc;

    buf_init(&name, 256);
    if (text_domain(str_from(c->args[0]), &name))
        rc = ERR(&c->err, ERR_PROTO, "'%.100s' is not a domain", c->args[0]);
    else if ((rc = begin(c, &l)) == 0)
        rc = end(&l, show_all(&l, buf_str(&name)));
    buf_fini(&name);
    return rc;
}

/* ---- send */

static int cmd_send(struct admin_call *c)
{
    c->reports = true;
    return 0;
}

const struct admin_command admin_report_commands[] = {
    {"report", "list", "", 0, 0, NULL, false, cmd_list,
     "List what is counted for reports about DMARC and TLS, by day and domain. Days that are over "
     "are reported in the night to domains that ask for it (section reports); the rest is "
     "forgotten. At most 1000 of each kind."},
    {"report", "show", "DOMAIN", 1, 1, NULL, false, cmd_show,
     "Show what is counted for this domain."},
    {"report", "send", "", 0, 0, NULL, false, cmd_send,
     "Send the reports about days that are over now. The log says what becomes of them."},
    {.group = NULL}};
