/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/client/tls_report.h"
#include "appliance/base/text.h"
#include <jansson.h>
#include <stdio.h>
#include <time.h>

enum { DAY_S = 86400 };

/* ---- Who wants it. */

/* "name = value". */
static bool split_tag(struct str tag, struct str *name, struct str *value)
{
    bool ok = str_cut(tag, '=', name, value);

    *name = str_trim(*name);
    *value = str_trim(*value);
    return ok && name->n;
}

bool tls_rua_record(struct str txt, struct str *list_out)
{
    struct str tag, name, value, rest;

    *list_out = STR("");
    str_cut(txt, ';', &tag, &rest);
    if (!split_tag(tag, &name, &value) || !str_eq(name, STR("v")) ||
        !str_eq(value, STR("TLSRPTv1")))
        return false;
    while (rest.n) {
        str_cut(rest, ';', &tag, &rest);
        if (split_tag(tag, &name, &value) && str_eq(name, STR("rua")) && !list_out->n)
            *list_out = value;
    }
    return true;
}

bool tls_rua_next(struct str *rest, struct str *uri_out)
{
    while (rest->n) {
        str_cut(*rest, ',', uri_out, rest);
        *uri_out = str_trim(*uri_out);
        if (uri_out->n)
            return true;
    }
    return false;
}

/* ---- What it says. */

/* What hosts and policies say may be any octets; JSON is UTF-8. */
static json_t *text(struct str s)
{
    return text_utf8_valid(s) ? json_stringn(s.p ? s.p : "", s.n) : json_string("?");
}

static json_t *moment(int64_t at)
{
    time_t t = (time_t)at;
    char z[32];
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(z, sizeof z, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(z);
}

/* mx: of a policy of MTA-STS the patterns of hosts alone, without their key. */
static json_t *lines(struct str policy, bool mx)
{
    json_t *list = json_array();
    struct str line;

    while (policy.n) {
        str_cut(policy, '\n', &line, &policy);
        line = str_trim(line);
        if (mx && !str_istarts(line, STR("mx:")))
            continue;
        if (mx)
            line = str_trim(str_skip(line, 3));
        if (line.n)
            json_array_append_new(list, text(line));
    }
    return list;
}

static json_t *policy_json(const struct tls_report *r, const struct tls_result *w)
{
    json_t *o = json_pack("{ss so}", "policy-type", tls_policy_name(w->kind), "policy-domain",
                          text(r->domain));

    if (w->kind != TLS_POLICY_NONE && w->policy.n)
        json_object_set_new(o, "policy-string", lines(w->policy, false));
    if (w->kind == TLS_POLICY_STS && w->policy.n)
        json_object_set_new(o, "mx-host", lines(w->policy, true));
    return o;
}

static json_t *failure_json(const struct tls_result *w)
{
    json_t *o = json_pack("{ss sI}", "result-type", tls_result_name(w->type),
                          "failed-session-count", (json_int_t)w->count);

    if (w->mx.n)
        json_object_set_new(o, "receiving-mx-hostname", text(w->mx));
    return o;
}

static bool same_policy(const struct tls_result *x, const struct tls_result *y)
{
    return x->kind == y->kind && str_eq(x->policy, y->policy);
}

/* All that was seen under the policy of the i-th. */
static json_t *group_json(const struct tls_report *r, size_t i)
{
    json_t *failures = json_array(), *o;
    uint64_t good = 0, bad = 0;

    for (size_t k = i; k < r->n; k++) {
        const struct tls_result *w = &r->rows[k];
        if (!same_policy(w, &r->rows[i]))
            continue;
        if (w->type == TLS_RESULT_SUCCESS) {
            good += w->count;
            continue;
        }
        bad += w->count;
        json_array_append_new(failures, failure_json(w));
    }
    o = json_pack("{so s{sI sI}}", "policy", policy_json(r, &r->rows[i]), "summary",
                  "total-successful-session-count", (json_int_t)good, "total-failure-session-count",
                  (json_int_t)bad);
    if (json_array_size(failures))
        json_object_set(o, "failure-details", failures);
    json_decref(failures);
    return o;
}

static bool is_first(const struct tls_report *r, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (same_policy(&r->rows[k], &r->rows[i]))
            return false;
    return true;
}

static int add(const char *p, size_t n, void *out)
{
    return buf_add(out, p, n);
}

int tls_report_write(const struct tls_report *r, struct buf *out)
{
    json_t *policies = json_array(), *o;

    for (size_t i = 0; i < r->n; i++)
        if (is_first(r, i))
            json_array_append_new(policies, group_json(r, i));
    o = json_pack("{so s{so so} so so so}", "organization-name", text(r->org), "date-range",
                  "start-datetime", moment(r->day * DAY_S), "end-datetime",
                  moment(r->day * DAY_S + DAY_S - 1), "contact-info", text(r->contact), "report-id",
                  text(r->id), "policies", policies);
    int rc = json_dump_callback(o, add, out, JSON_COMPACT);
    json_decref(o);
    return rc;
}
