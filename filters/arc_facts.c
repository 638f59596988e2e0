/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/arc_facts.h"
#include "filters/authres.h"

/* ---- What others claim */

static void take(struct str *to, struct str result, bool better)
{
    if (!to->n || better)
        *to = result;
}

void arc_claims_read(struct str value, struct arc_claims *out)
{
    struct authres_one one;

    *out = (struct arc_claims){.spf = STR_NULL};
    while (authres_next(&value, &one)) {
        if (str_ieq(one.method, STR("spf"))) {
            take(&out->spf, one.result, false);
        } else if (str_ieq(one.method, STR("dkim"))) {
            take(&out->dkim, one.result, str_ieq(one.result, STR("pass")));
        } else if (str_ieq(one.method, STR("dmarc")) && !out->dmarc.n) {
            out->dmarc = one.result;
            out->from = authres_get(&one, "header.from");
        }
    }
}

/* ---- Entries */

static void add_entry(const struct arc_chain *c, size_t i, struct buf *out)
{
    const struct arc_set *s = &c->sets[i];
    struct arc_claims claims;

    arc_claims_read(s->results_field.value, &claims);
    buf_printf(out, "%s%zu", out->n ? "; " : "", i + 1);
    dkim_word_write(out, s->seal.sig.domain);
    dkim_word_write(out, s->message.result == DKIM_PASS ? STR("holds") : STR("altered"));
    dkim_word_write(out, claims.spf);
    dkim_word_write(out, claims.dkim);
    dkim_word_write(out, claims.dmarc);
    dkim_word_write(out, claims.from);
}

void arc_facts_sets(const struct arc_chain *c, struct buf *out)
{
    for (size_t i = c->n; i-- > 0;) {
        size_t before = out->n;
        add_entry(c, i, out);
        if (!buf_ok(out)) {
            buf_truncate(out, before);
            out->full = false;
            return;
        }
    }
}

static struct str next_word(struct str *rest)
{
    struct str word;

    str_cut(*rest, ' ', &word, rest);
    return str_eq(word, STR("-")) ? STR_NULL : word;
}

bool arc_facts_next(struct str *rest, struct arc_told *out)
{
    struct str one;

    if (!rest->n)
        return false;
    str_cut(*rest, ';', &one, rest);
    one = str_trim(one);
    out->instance = next_word(&one);
    out->domain = next_word(&one);
    out->holds = str_eq(next_word(&one), STR("holds"));
    out->claims.spf = next_word(&one);
    out->claims.dkim = next_word(&one);
    out->claims.dmarc = next_word(&one);
    out->claims.from = next_word(&one);
    return true;
}

void arc_facts_sealers(const struct arc_chain *c, struct buf *out)
{
    for (size_t i = 0; i < c->n; i++) {
        buf_add_z(out, i ? " " : "");
        buf_add_str(out, c->sets[i].seal.sig.domain);
    }
}

/* ---- Words */

/* RFC 8617 5.2, 10.2: 0 where the message is as it was when the first set was made. */
static unsigned oldest_pass(const struct arc_chain *c)
{
    return c->oldest == 1 ? 0 : c->oldest;
}

void arc_facts_authres(const struct arc_chain *c, const char *client_ip, struct buf *out)
{
    struct buf comment;

    buf_init(&comment, AUTHRES_VALUE_LIMIT);
    if (c->result == ARC_PASS)
        buf_printf(&comment, "i=%zu", c->n);
    else
        buf_add_z(&comment, c->why);
    authres_result(out, "arc", arc_result_name(c->result), buf_str(&comment));
    if (c->result == ARC_PASS) {
        buf_clear(&comment);
        buf_printf(&comment, "%u", oldest_pass(c));
        authres_property(out, "header.oldest-pass", buf_str(&comment));
    }
    if (client_ip[0])
        authres_property(out, "smtp.remote-ip", str_from(client_ip));
    buf_fini(&comment);
}

void arc_facts_words(const struct arc_chain *c, struct buf *out)
{
    if (c->result == ARC_NONE) {
        buf_add_z(out, "no ARC sets");
        return;
    }
    buf_add_z(out, arc_result_name(c->result));
    if (c->n)
        buf_printf(out, ", %zu sets, sealed by " STR_FMT, c->n,
                   STR_ARG(c->sets[c->n - 1].seal.sig.domain));
    if (c->result == ARC_PASS && c->oldest > 1)
        buf_printf(out, ", altered before i=%u", c->oldest);
    if (c->why[0])
        buf_printf(out, " (%s)", c->why);
}
