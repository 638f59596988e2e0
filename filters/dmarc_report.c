/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dmarc_report.h"
#include "appliance/base/text.h"

enum {
    DAY_S = 86400,
    FOOT_ROOM = 64,
    POLICIES_MAX = 64 /* rows among which the most frequent policy is looked for */
};

static void element(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, "<%s>", name);
    text_xml(value, out);
    buf_printf(out, "</%s>", name);
}

static void element_z(struct buf *out, const char *name, const char *value)
{
    element(out, name, str_from(value));
}

/* ---- What holds for all rows. */

struct str dmarc_report_record(const struct dmarc_row *rows, size_t n)
{
    struct str best = STR("");
    uint64_t most = 0;

    for (size_t i = 0; i < n && i < POLICIES_MAX; i++) {
        uint64_t count = 0;
        if (str_eq(rows[i].record, best) || (i && str_eq(rows[i].record, rows[i - 1].record)))
            continue;
        for (size_t k = 0; k < n; k++)
            count += str_eq(rows[k].record, rows[i].record) ? rows[k].count : 0;
        if (count > most) {
            most = count;
            best = rows[i].record;
        }
    }
    return best;
}

static void metadata(const struct dmarc_report *r, struct buf *out)
{
    buf_add_z(out, "<report_metadata>");
    element(out, "org_name", r->org);
    element(out, "email", r->email);
    if (r->contact.n)
        element(out, "extra_contact_info", r->contact);
    element(out, "report_id", r->id);
    buf_printf(out, "<date_range><begin>%lld</begin><end>%lld</end></date_range>",
               (long long)(r->day * DAY_S), (long long)(r->day * DAY_S + DAY_S - 1));
    element_z(out, "generator", "posthouse " PH_VERSION);
    buf_add_z(out, "</report_metadata>\n");
}

/* Tags that aren't given have their default values. */
static void policy(const struct dmarc_report *r, const struct dmarc_record *p, struct buf *out)
{
    buf_add_z(out, "<policy_published>");
    element(out, "domain", r->domain);
    element_z(out, "adkim", p->strict_dkim ? "s" : "r");
    element_z(out, "aspf", p->strict_spf ? "s" : "r");
    element_z(out, "p", dmarc_policy_name(p->p));
    element_z(out, "sp", dmarc_policy_name(dmarc_record_policy(p, true, true)));
    element_z(out, "np", dmarc_policy_name(dmarc_record_policy(p, true, false)));
    element(out, "fo", p->fo.n ? p->fo : STR("0"));
    element_z(out, "testing", p->test ? "y" : "n");
    element_z(out, "discovery_method", "treewalk");
    buf_add_z(out, "</policy_published>\n");
}

/* ---- A row. */

static const char *disposition(const struct dmarc_row *w, const struct dmarc_record *p)
{
    bool enforces = p->p != DMARC_NONE || dmarc_record_policy(p, true, true) != DMARC_NONE;

    if (w->spf || w->dkim)
        return enforces ? "pass" : "none";
    return dmarc_policy_name(w->disposition);
}

static void evaluated(const struct dmarc_row *w, const struct dmarc_record *p, struct buf *out)
{
    buf_add_z(out, "<policy_evaluated>");
    element_z(out, "disposition", disposition(w, p));
    element_z(out, "dkim", w->dkim ? "pass" : "fail");
    element_z(out, "spf", w->spf ? "pass" : "fail");
    if (w->override != DMARC_OVERRIDE_NONE) {
        buf_add_z(out, "<reason>");
        element_z(out, "type", dmarc_override_name(w->override));
        buf_add_z(out, "</reason>");
    }
    buf_add_z(out, "</policy_evaluated>");
}

/* The next line of this kind: "spf RESULT DOMAIN", "dkim RESULT DOMAIN SELECTOR". */
static bool auth_next(struct str *rest, struct str kind, struct str *result, struct str *domain,
                      struct str *selector)
{
    struct str line, word;

    while (rest->n) {
        str_cut(*rest, '\n', &line, rest);
        str_cut(line, ' ', &word, &line);
        if (!str_eq(word, kind))
            continue;
        str_cut(line, ' ', result, &line);
        str_cut(line, ' ', domain, selector);
        return true;
    }
    return false;
}

static void auth_results(const struct dmarc_row *w, struct buf *out)
{
    struct str rest = w->auth, result, domain, selector;

    buf_add_z(out, "<auth_results>");
    while (auth_next(&rest, STR("dkim"), &result, &domain, &selector)) {
        buf_add_z(out, "<dkim>");
        element(out, "domain", domain);
        element(out, "selector", selector);
        element(out, "result", result);
        buf_add_z(out, "</dkim>");
    }
    rest = w->auth;
    if (auth_next(&rest, STR("spf"), &result, &domain, &selector)) {
        buf_add_z(out, "<spf>");
        element(out, "domain", domain);
        element_z(out, "scope", "mfrom");
        element(out, "result", result);
        buf_add_z(out, "</spf>");
    }
    buf_add_z(out, "</auth_results>");
}

static void identifiers(const struct dmarc_row *w, struct buf *out)
{
    struct str rest = w->auth, result, domain, selector;

    buf_add_z(out, "<identifiers>");
    element(out, "header_from", w->author);
    if (auth_next(&rest, STR("spf"), &result, &domain, &selector))
        element(out, "envelope_from", domain);
    buf_add_z(out, "</identifiers>");
}

static void record(const struct dmarc_row *w, const struct dmarc_record *p, struct buf *out)
{
    buf_add_z(out, "<record><row>");
    element(out, "source_ip", w->ip);
    buf_printf(out, "<count>%llu</count>", (unsigned long long)w->count);
    evaluated(w, p, out);
    buf_add_z(out, "</row>");
    identifiers(w, out);
    auth_results(w, out);
    buf_add_z(out, "</record>\n");
}

int dmarc_report_write(const struct dmarc_report *r, struct buf *out, size_t *told_out)
{
    const size_t max = out->max;
    struct dmarc_record p;

    if (!dmarc_record_parse(dmarc_report_record(r->rows, r->n), &p))
        p = (struct dmarc_record){0};
    *told_out = 0;
    out->max = max > FOOT_ROOM ? max - FOOT_ROOM : 0;
    buf_add_z(out,
              "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
              "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n<version>1.0</version>\n");
    metadata(r, out);
    policy(r, &p, out);
    while (*told_out < r->n && buf_ok(out)) {
        size_t before = out->n;
        record(&r->rows[*told_out], &p, out);
        if (buf_ok(out)) {
            ++*told_out;
            continue;
        }
        buf_truncate(out, before);
        out->full = false;
        break;
    }
    out->max = max;
    buf_add_z(out, "</feedback>\n");
    return *told_out && buf_ok(out) ? 0 : -1;
}
