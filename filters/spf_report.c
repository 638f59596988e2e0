/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/spf_report.h"
#include <stdio.h>

enum { VALUE_LIMIT = 400, COLUMN_LIMIT = 76 };

struct clean {
    char z[VALUE_LIMIT + 1];
};

static struct clean clean(struct str s, const char *without)
{
    struct clean out = {""};

    s = str_take(s, VALUE_LIMIT);
    for (size_t i = 0; i < s.n; i++)
        out.z[i] = s.p[i] < ' ' || s.p[i] > '~' || strchr(without, s.p[i]) ? '?' : s.p[i];
    return out;
}

/* ---- Received-SPF. */

static bool is_dot_atom(const char *z)
{
    static const char atom[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "!#$%&'*+-/=?^_`{|}~.";
    size_t n = strlen(z);

    return n && strspn(z, atom) == n && z[0] != '.' && z[n - 1] != '.' && !strstr(z, "..");
}

static void put_value(struct buf *out, const char *z)
{
    if (is_dot_atom(z)) {
        buf_add_z(out, z);
        return;
    }
    buf_add_char(out, '"');
    for (; *z; z++) {
        if (*z == '"' || *z == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, *z);
    }
    buf_add_char(out, '"');
}

static void put_pair(struct buf *out, const char *key, struct str value)
{
    struct buf pair;

    buf_init(&pair, SPF_FIELD_LIMIT);
    buf_printf(&pair, "%s=", key);
    put_value(&pair, clean(value, "").z);
    buf_add_char(&pair, ';');
    size_t line = out->n;
    while (line && out->p[line - 1] != '\n')
        line--;
    buf_add_z(out, out->n - line + pair.n > COLUMN_LIMIT ? "\r\n\t" : " ");
    buf_add_str(out, buf_str(&pair));
    buf_fini(&pair);
}

static void put_comment(struct buf *out, const struct ph_view *view, const struct spf_verdict *v)
{
    const struct clean domain = clean(v->domain, "()\\");
    static const char *const forms[SPF_RESULTS] = {
        [SPF_NONE] = "domain of %s doesn't say who may send for it",
        [SPF_NEUTRAL] = "domain of %s neither permits nor denies this client",
        [SPF_PASS] = "domain of %s designates this client as permitted sender",
        [SPF_FAIL] = "domain of %s does not designate this client as permitted sender",
        [SPF_SOFTFAIL] = "domain of %s does not designate this client, but isn't sure",
        [SPF_TEMPERROR] = "no answer from the DNS about domain of %s",
        [SPF_PERMERROR] = "the record of domain of %s can't be understood"};
    const char *form = forms[v->result], *at = strstr(form, "%s");

    buf_printf(out, "%s\r\n\t(%s: ", spf_result_name(v->result),
               clean(str_from(view->host), "()\\").z);
    buf_add(out, form, (size_t)(at - form));
    buf_add_z(out, domain.z);
    buf_add_z(out, at + 2);
    buf_add_z(out, ")\r\n\t");
}

void spf_report_field(const struct ph_view *view, const struct spf_verdict *v, bool helo,
                      struct buf *out)
{
    put_comment(out, view, v);
    buf_printf(out, "client-ip=");
    put_value(out, view->client_ip);
    buf_add_char(out, ';');
    if (!helo)
        put_pair(out, "envelope-from", str_from(view->mail_from));
    put_pair(out, "helo", str_from(view->helo));
    put_pair(out, "identity", helo ? STR("helo") : STR("mailfrom"));
    if (v->mechanism.n)
        put_pair(out, "mechanism", v->mechanism);
    if (v->problem.n)
        put_pair(out, "problem", v->problem);
    put_pair(out, "receiver", str_from(view->host));
}

/* ---- Words. */

static void put_reply(const struct ph_view *view, const struct spf_verdict *v, struct buf *out)
{
    const struct clean domain = clean(str_take(v->domain, 80), ""),
                       problem = clean(str_take(v->problem, 100), ""),
                       explanation = clean(v->explanation, "");

    if (v->result == SPF_FAIL || v->result == SPF_SOFTFAIL)
        buf_printf(out, "550 5.7.23 SPF: %s may not send for %s%s%s", view->client_ip, domain.z,
                   explanation.z[0] ? ", which says: " : "", explanation.z);
    else if (v->result == SPF_PERMERROR)
        buf_printf(out, "550 5.7.24 SPF: the record of %s can't be used (%s)", domain.z, problem.z);
    else if (v->result == SPF_TEMPERROR)
        buf_printf(out, "451 4.7.24 SPF: the record of %s can't be had now (%s)", domain.z,
                   problem.z);
}

/* What doesn't fit is left out. */
static void take(struct buf *text, char *out, size_t cap)
{
    size_t n = text->n < cap - 1 ? text->n : cap - 1;

    if (n)
        memcpy(out, text->p, n);
    out[n] = '\0';
    buf_clear(text);
}

void spf_report_words(const struct ph_view *view, const struct spf_verdict *v, bool helo,
                      struct spf_words *out)
{
    const struct clean domain = clean(v->domain, ""),
                       what = clean(v->problem.n ? v->problem : v->mechanism, "");
    struct buf text;

    buf_init(&text, 4096);
    put_reply(view, v, &text);
    take(&text, out->reply, sizeof out->reply);
    buf_printf(&text, "%s for %s%s", spf_result_name(v->result), helo ? "HELO " : "", domain.z);
    if (what.z[0])
        buf_printf(&text, " (%s)", what.z);
    take(&text, out->reason, sizeof out->reason);
    buf_fini(&text);
}
