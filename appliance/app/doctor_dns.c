/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* doctor_dns.c - what DNS says of this host and of the domains that we receive for. */
#include "appliance/app/doctor.h"
#include "appliance/base/mem.h"
#include "filters/spf_record.h"
#include <unistd.h>

enum { DOMAINS_MAX = 50, ADDRESSES_MAX = 16, RECORDS_MAX = 32 };

struct found { /* an answer, copied */
    struct arena *mem;
    bool answered, temporary;
    const char *why;
    struct {
        struct str name, data;
        char ip[46];
    } records[RECORDS_MAX];
    size_t n;
};

static void on_answer(void *ctx, const struct resolver_answer *a)
{
    struct found *f = ctx;

    f->answered = true;
    f->temporary = a->status == RESOLVER_FAILED || a->status == RESOLVER_BOGUS;
    f->why = arena_str(f->mem, str_from(a->why ? a->why : "")).p;
    if (a->status != RESOLVER_FOUND)
        return;
    for (size_t i = 0; i < a->n && f->n < RECORDS_MAX; i++) {
        f->records[f->n].name = arena_str(f->mem, a->records[i].name);
        f->records[f->n].data = arena_str(f->mem, a->records[i].data);
        memcpy(f->records[f->n++].ip, a->records[i].ip, sizeof f->records[0].ip);
    }
}

/* false: no answer, which was said. */
static bool ask(struct doctor *d, enum resolver_type type, const char *name, struct found *f)
{
    *f = (struct found){.mem = d->mem};
    if (resolver_ask(d->resolver, type, str_from(name), NULL, on_answer, f))
        while (!f->answered)
            loop_turn(d->loop, true);
    if (f->answered && !f->temporary)
        return true;
    doctor_say(d, DOCTOR_WARN, "see dns.forwarders, and ask again", "DNS doesn't answer for %s%s%s",
               name, f->why && f->why[0] ? ": " : "", f->why ? f->why : "");
    return false;
}

static bool begin(struct doctor *d)
{
    struct err err;

    d->loop = loop_new();
    if (resolver_open(&d->config->dns, d->loop, &d->resolver, &err) == 0)
        return true;
    doctor_say(d, DOCTOR_BAD, "see section dns", "%s", err.text);
    loop_free(&d->loop);
    return false;
}

static void end(struct doctor *d)
{
    resolver_close(&d->resolver);
    loop_turn(d->loop, false);
    loop_free(&d->loop);
}

static const char *host_of(const struct doctor *d)
{
    char name[256];

    if (d->config->main.hostname[0])
        return d->config->main.hostname;
    if (d->config->smtp.hostname[0])
        return d->config->smtp.hostname;
    if (gethostname(name, sizeof name - 1))
        return "localhost";
    name[sizeof name - 1] = '\0';
    return arena_str(d->mem, str_from(name)).p;
}

/* Addresses of a name; false: DNS doesn't answer. */
static bool addresses(struct doctor *d, const char *name, char out[ADDRESSES_MAX][46], size_t *n)
{
    static const enum resolver_type types[] = {RESOLVER_A, RESOLVER_AAAA};
    struct found f;

    *n = 0;
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        if (!ask(d, types[t], name, &f))
            return false;
        for (size_t i = 0; i < f.n && *n < ADDRESSES_MAX; i++)
            memcpy(out[(*n)++], f.records[i].ip, sizeof f.records[i].ip);
    }
    return true;
}

static void look_back(struct doctor *d, const char *host, const char *ip)
{
    char name[128];
    struct found f;

    if (!resolver_reverse_name(ip, name, sizeof name) || !ask(d, RESOLVER_PTR, name, &f))
        return;
    for (size_t i = 0; i < f.n; i++)
        if (str_ieq(f.records[i].name, str_from(host))) {
            doctor_say(d, DOCTOR_OK, "", "%s leads to %s and back", host, ip);
            return;
        }
    doctor_say(d, d->config->relay.enabled ? DOCTOR_BAD : DOCTOR_WARN,
               "have its PTR record set by who gave you the address: others refuse mail without",
               "%s doesn't lead back to %s but to " STR_FMT, ip, host,
               STR_ARG(f.n ? f.records[0].name : STR("nothing")));
}

void doctor_names(struct doctor *d)
{
    char ips[ADDRESSES_MAX][46];
    const char *host = host_of(d);
    size_t n;

    if (!begin(d))
        return;
    bool answered = addresses(d, host, ips, &n);
    if (answered && n == 0)
        doctor_say(d, DOCTOR_BAD, "publish its addresses, or set main.hostname",
                   "DNS knows no address of %s", host);
    for (size_t i = 0; answered && i < n; i++)
        look_back(d, host, ips[i]);
    end(d);
}

/* ---- domains */

static bool leads_here(struct doctor *d, const char *mx, const char *host)
{
    char ours[ADDRESSES_MAX][46], theirs[ADDRESSES_MAX][46];
    size_t n, m;

    if (str_ieq(str_from(mx), str_from(host)))
        return true;
    if (!addresses(d, host, ours, &n) || !addresses(d, mx, theirs, &m))
        return false;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m; k++)
            if (strcmp(ours[i], theirs[k]) == 0)
                return true;
    return false;
}

static void look_at_mx(struct doctor *d, const char *domain, const char *host)
{
    struct found f;

    if (!ask(d, RESOLVER_MX, domain, &f))
        return;
    for (size_t i = 0; i < f.n; i++)
        if (leads_here(d, f.records[i].name.p, host)) {
            doctor_say(d, DOCTOR_OK, "", "%s: MX leads here", domain);
            return;
        }
    doctor_say(d, DOCTOR_BAD, arena_printf(d->mem, "publish \"%s. MX 10 %s.\"", domain, host).p,
               "%s: MX leads to " STR_FMT ", not here", domain,
               STR_ARG(f.n ? f.records[0].name : STR("nothing")));
}

static void look_at_spf(struct doctor *d, const char *domain)
{
    struct spf_record record;
    struct str terms = STR(""), wrong;
    struct found f;
    size_t n = 0;

    if (!ask(d, RESOLVER_TXT, domain, &f))
        return;
    for (size_t i = 0; i < f.n; i++) {
        struct str one;
        if (!spf_record_is(f.records[i].data, &one))
            continue;
        terms = one;
        n++;
    }
    if (n == 0)
        doctor_say(d, DOCTOR_WARN,
                   arena_printf(d->mem, "publish \"%s. TXT \\\"v=spf1 mx -all\\\"\"", domain).p,
                   "%s: no SPF record", domain);
    else if (n > 1)
        doctor_say(d, DOCTOR_BAD, "remove all but one", "%s: %zu SPF records, which counts as none",
                   domain, n);
    else if (spf_record_check(terms, &record, &wrong) < 0)
        doctor_say(d, DOCTOR_BAD, "correct it", "%s: SPF record with an error: " STR_FMT, domain,
                   STR_ARG(wrong));
    else
        doctor_say(d, DOCTOR_OK, "", "%s: SPF record", domain);
}

static void look_at_dmarc(struct doctor *d, const char *domain)
{
    const char *name = arena_printf(d->mem, "_dmarc.%s", domain).p;
    struct found f;
    size_t n = 0;

    if (!ask(d, RESOLVER_TXT, name, &f))
        return;
    for (size_t i = 0; i < f.n; i++)
        n += str_istarts(f.records[i].data, STR("v=DMARC1"));
    if (n == 1)
        doctor_say(d, DOCTOR_OK, "", "%s: DMARC record", domain);
    else
        doctor_say(
            d, DOCTOR_WARN,
            arena_printf(d->mem, "publish one: \"%s. TXT \\\"v=DMARC1; p=none\\\"\"", name).p,
            "%s: %zu DMARC records", domain, n);
}

/* Blanks don't count: long records are folded in many ways. */
static bool same_record(struct str a, struct str b)
{
    size_t i = 0, k = 0;

    for (;;) {
        while (i < a.n && (a.p[i] == ' ' || a.p[i] == '\t'))
            i++;
        while (k < b.n && (b.p[k] == ' ' || b.p[k] == '\t'))
            k++;
        if (i == a.n || k == b.n)
            return i == a.n && k == b.n;
        if (a.p[i++] != b.p[k++])
            return false;
    }
}

static void look_at_key(struct doctor *d, const char *name, const char *value, bool active)
{
    struct found f;

    if (!ask(d, RESOLVER_TXT, name, &f))
        return;
    for (size_t i = 0; i < f.n; i++)
        if (same_record(f.records[i].data, str_from(value))) {
            doctor_say(d, DOCTOR_OK, "", "%s: the record of our key", name);
            return;
        }
    doctor_say(d, active ? DOCTOR_BAD : DOCTOR_WARN, "publish what posthouse dkim show prints",
               "%s: %s", name,
               f.n ? "the record isn't of our key" : "there is no record of our key");
}

static void look_at_dkim(struct doctor *d, const char *domain)
{
    const char *const words[] = {"dkim", "show", domain, NULL};
    bool none = false;
    json_t *shown = doctor_ask(d, words, &none);
    const json_t *keys = json_object_get(shown, "keys"),
                 *records = json_object_get(shown, "records"), *r;
    size_t i;

    if (none || (shown && json_array_size(records) == 0))
        doctor_say(d, DOCTOR_WARN, arena_printf(d->mem, "posthouse dkim create %s", domain).p,
                   "%s: mail isn't signed, there are no DKIM keys", domain);
    json_array_foreach(records, i, r)
    {
        const char *name = json_string_value(json_object_get(r, "name"));
        bool active = false;
        for (size_t k = 0; k < json_array_size(keys); k++) {
            const json_t *key = json_array_get(keys, k);
            struct str selector = str_from(json_string_value(json_object_get(key, "selector")));
            if (str_starts(str_from(name), selector) && name[selector.n] == '.')
                active = strcmp(json_string_value(json_object_get(key, "state")), "active") == 0;
        }
        look_at_key(d, name, json_string_value(json_object_get(r, "value")), active);
    }
    json_decref(shown);
}

void doctor_domains(struct doctor *d)
{
    static const char *const words[] = {"domain", "list", NULL};
    json_t *list = doctor_ask(d, words, NULL);
    const char *host = host_of(d);
    const json_t *one;
    size_t i, n = 0;

    if (!list || !begin(d)) {
        json_decref(list);
        return;
    }
    json_array_foreach(list, i, one)
    {
        const char *domain = json_string_value(json_object_get(one, "domain"));
        if (!json_is_true(json_object_get(one, "enabled")) || n++ >= DOMAINS_MAX)
            continue;
        look_at_mx(d, domain, host);
        look_at_spf(d, domain);
        look_at_dmarc(d, domain);
        look_at_dkim(d, domain);
    }
    if (n > DOMAINS_MAX)
        doctor_say(d, DOCTOR_WARN, "", "%zu more domains weren't looked at",
                   n - (size_t)DOMAINS_MAX);
    end(d);
    json_decref(list);
}
