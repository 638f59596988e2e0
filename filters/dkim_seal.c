/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_seal.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "appliance/mail/header.h"
#include "filters/dkim_canon.h"
#include "filters/dkim_hash.h"

enum {
    SAME_MAX = 10, /* fields of one name that are signed */
    LINE = 72,
    VALUE_MAX = 16 << 10,
    DOMAIN_MAX_ = 253
};

/* RFC 6376 5.4.1. `over`: named once more than it is there, so that none can be added unseen
 * (8.15); not for what mailing lists add. */
static const struct {
    const char *name;
    bool over;
} signed_fields[] = {{"From", true},
                     {"Subject", true},
                     {"Date", true},
                     {"To", true},
                     {"Cc", true},
                     {"Message-ID", true},
                     {"Reply-To", true},
                     {"In-Reply-To", true},
                     {"References", true},
                     {"MIME-Version", true},
                     {"Content-Type", true},
                     {"Content-Transfer-Encoding", true},
                     {"Content-ID", false},
                     {"Content-Description", false},
                     {"Sender", false},
                     {"Resent-Date", false},
                     {"Resent-From", false},
                     {"Resent-To", false},
                     {"Resent-Cc", false},
                     {"Resent-Message-ID", false},
                     {"List-Id", false},
                     {"List-Help", false},
                     {"List-Unsubscribe", false},
                     {"List-Unsubscribe-Post", false},
                     {"List-Subscribe", false},
                     {"List-Post", false},
                     {"List-Owner", false},
                     {"List-Archive", false}};

struct str dkim_author_domain(struct arena *a, struct str head)
{
    struct header_field f;
    struct address *list;
    struct str domain = STR_NULL;
    struct buf b;

    if (!header_find(head, STR("From"), 0, &f))
        return STR_NULL;
    size_t n = address_list_parse(a, f.value, 8, &list);
    buf_init(&b, DOMAIN_MAX_ + 1);
    for (size_t i = 0; i < n && !domain.n; i++) {
        buf_clear(&b);
        if (list[i].host.p && list[i].mailbox.p && text_domain(list[i].host, &b) == 0)
            domain = arena_str(a, buf_str(&b));
    }
    buf_fini(&b);
    return domain;
}

/* ---- Header */

struct form { /* of a field that signs */
    const char *name;
    struct str first; /* its first tag */
    bool signatures;  /* it covers DKIM-Signature fields, too */
};
struct sealing {
    const struct form *form;
    struct buf names, text; /* h=, and what is hashed */
};

static void name_it(struct buf *names, const char *name)
{
    if (names->n)
        buf_add_char(names, ':');
    buf_add_z(names, name);
}

static void name_all(const struct dkim_head *h, const char *name, bool over, struct buf *names)
{
    size_t n = dkim_head_count(h, str_from(name));

    for (size_t i = 0; i < n && i < SAME_MAX; i++)
        name_it(names, name);
    if (over && n < SAME_MAX)
        name_it(names, name);
}

static int select_fields(struct str head, struct sealing *g, struct err *err)
{
    struct dkim_head *h;

    if (dkim_head_new(head, &h, err))
        return -1;
    for (size_t k = 0; k < ARRAY_LEN(signed_fields); k++)
        name_all(h, signed_fields[k].name, signed_fields[k].over, &g->names);
    if (g->form->signatures)
        name_all(h, "DKIM-Signature", false, &g->names);
    dkim_head_add(h, buf_str(&g->names), true, &g->text);
    dkim_head_free(&h);
    return 0;
}

/* ---- The field */

/* Words between colons, folded. */
static void fold_names(struct str names, struct buf *out)
{
    size_t column = LINE; /* begins on a line of its own */
    struct str one;
    bool more = true;

    for (bool first = true; more; first = false) {
        more = str_cut(names, ':', &one, &names);
        if (!first)
            buf_add_char(out, ':');
        if (!first && column + one.n > LINE) {
            buf_add_z(out, "\r\n\t");
            column = 8;
        } else if (first) {
            column = 10;
        }
        buf_add_str(out, one);
        column += one.n + 1;
    }
}

static void begin_field(const struct dkim_signer *s, const struct sealing *g, struct str body_hash,
                        int64_t now, struct buf *out)
{
    buf_printf(out,
               STR_FMT "; a=%s-sha256; c=relaxed/relaxed;\r\n\td=" STR_FMT "; s=" STR_FMT
                       "; t=%lld;\r\n\th=",
               STR_ARG(g->form->first), dkim_key_type_name(dkim_key_type(s->key)),
               STR_ARG(s->domain), STR_ARG(s->selector), (long long)now);
    fold_names(buf_str(&g->names), out);
    buf_printf(out, ";\r\n\tbh=" STR_FMT ";\r\n\tb=", STR_ARG(body_hash));
}

int dkim_seal_field(const struct dkim_key *key, const char *name, struct buf *text,
                    struct buf *value, struct err *err)
{
    size_t before = text->n;
    struct buf sig;
    int rc;

    buf_init(&sig, VALUE_MAX);
    dkim_field_relaxed(str_from(name), buf_str(value), text);
    if (!buf_ok(text) || !buf_ok(value))
        rc = ERR(err, ERR_PERM, "the message's header is too large to be signed");
    else /* RFC 6376 3.7: without its CRLF */
        rc = dkim_key_sign(key, str_take(buf_str(text), text->n - 2), &sig, err);
    for (struct str rest = buf_str(&sig); rc == 0 && rest.n; rest = str_skip(rest, LINE)) {
        if (rest.n != sig.n)
            buf_add_z(value, "\r\n\t");
        buf_add_str(value, str_take(rest, LINE));
    }
    buf_truncate(text, before);
    buf_fini(&sig);
    return rc;
}

static int seal_all(struct arena *a, const struct dkim_message *m, const struct dkim_signer *s,
                    int64_t now, struct sealing *g, struct str *values, size_t *n_out,
                    struct err *err)
{
    struct buf body_hash, value;
    int rc = select_fields(m->head, g, err);

    buf_init(&body_hash, 64);
    buf_init(&value, VALUE_MAX);
    if (rc == 0)
        rc = dkim_body_hash(m, true, &body_hash, err);
    for (size_t i = 0; rc == 0 && s && i < DKIM_SIGNERS_MAX; s = s->next, i++) {
        buf_clear(&value);
        begin_field(s, g, buf_str(&body_hash), now, &value);
        if (dkim_seal_field(s->key, g->form->name, &g->text, &value, err) == 0)
            values[(*n_out)++] = arena_str(a, buf_str(&value));
    }
    buf_fini(&body_hash);
    buf_fini(&value);
    return *n_out ? 0 : -1;
}

static int seal(struct arena *a, const struct dkim_message *m, const struct dkim_signer *signers,
                int64_t now, const struct form *form, struct str *values, size_t *n_out,
                struct err *err)
{
    struct sealing g = {.form = form};

    *n_out = 0;
    buf_init(&g.names, VALUE_MAX / 2);
    buf_init(&g.text, DKIM_HEAD_MAX);
    int rc = seal_all(a, m, signers, now, &g, values, n_out, err);
    buf_fini(&g.names);
    buf_fini(&g.text);
    return rc;
}

int dkim_seal(struct arena *a, const struct dkim_message *m, const struct dkim_signer *signers,
              int64_t now, struct str values[DKIM_SIGNERS_MAX], size_t *n_out, struct err *err)
{
    static const struct form form = {.name = "DKIM-Signature", .first = {"v=1", 3}};

    return seal(a, m, signers, now, &form, values, n_out, err);
}

int dkim_seal_message(struct arena *a, const struct dkim_message *m,
                      const struct dkim_signer *signer, unsigned instance, int64_t now,
                      struct str *value_out, struct err *err)
{
    const struct dkim_signer one = {
        .domain = signer->domain, .selector = signer->selector, .key = signer->key};
    const struct form form = {.name = "ARC-Message-Signature",
                              .first = arena_printf(a, "i=%u", instance),
                              .signatures = true};
    size_t n;

    return seal(a, m, &one, now, &form, value_out, &n, err);
}
