/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_seal.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "appliance/mail/header.h"
#include "filters/dkim_canon.h"
#include <openssl/evp.h>

enum {
    FIELDS_MAX = 2000,
    SAME_MAX = 10, /* fields of one name that are signed */
    PIECE = 64 << 10,
    LINE = 72,
    VALUE_MAX = 16 << 10,
    HASHED_MAX = 4 << 20,
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

struct header {
    struct header_field *fields;
    size_t n;
    struct buf names, text; /* h=, and what is hashed */
};

static int collect(struct arena *a, struct str head, struct header *h, struct err *err)
{
    struct str rest = head;
    struct header_field f;

    while (header_next(&rest, &f))
        if (++h->n > FIELDS_MAX)
            return ERR(err, ERR_PERM, "the message has more than %d header fields", FIELDS_MAX);
    h->fields = ARENA_ARRAY(a, struct header_field, h->n);
    rest = head;
    for (size_t i = 0; header_next(&rest, &f); i++)
        h->fields[i] = f;
    return 0;
}

static void name_it(struct buf *names, const char *name)
{
    if (names->n)
        buf_add_char(names, ':');
    buf_add_z(names, name);
}

/* RFC 6376 5.4.2: of several the last one is the first. */
static void select_fields(struct header *h)
{
    for (size_t k = 0; k < ARRAY_LEN(signed_fields); k++) {
        struct str name = str_from(signed_fields[k].name);
        size_t seen = 0;
        for (size_t i = h->n; i-- > 0 && seen < SAME_MAX;) {
            if (!str_ieq(str_trim(h->fields[i].name), name))
                continue;
            seen++;
            name_it(&h->names, name.p);
            dkim_field_relaxed(name, h->fields[i].value, &h->text);
        }
        if (signed_fields[k].over && seen < SAME_MAX)
            name_it(&h->names, name.p);
    }
}

/* ---- Body */

static void hash_more(void *ctx, const char *p, size_t n)
{
    EVP_DigestUpdate(ctx, p, n);
}

static int hash_body(const struct dkim_message *m, struct buf *base64, struct err *err)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    struct dkim_body *body = MEM_NEW(struct dkim_body);
    char *piece = mem_alloc(PIECE);
    uint64_t at = m->head.n;
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    unsigned size = 0;
    int64_t n;

    CHECK(sha && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1);
    dkim_body_begin(body, true, hash_more, sha);
    while ((n = m->read(m->ctx, at, piece, PIECE)) > 0) {
        dkim_body_feed(body, str_of(piece, (size_t)n));
        at += (uint64_t)n;
    }
    dkim_body_end(body);
    mem_free(body);
    mem_free(piece);
    EVP_DigestFinal_ex(sha, hash, &size);
    EVP_MD_CTX_free(sha);
    if (n < 0)
        return ERR(err, ERR_TEMP, "the message can't be read");
    return text_base64_encode(str_of(hash, size), base64);
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

static void begin_field(const struct dkim_signer *s, struct str names, struct str body_hash,
                        int64_t now, struct buf *out)
{
    buf_printf(out,
               "v=1; a=%s-sha256; c=relaxed/relaxed;\r\n\td=" STR_FMT "; s=" STR_FMT
               "; t=%lld;\r\n\th=",
               dkim_key_type_name(dkim_key_type(s->key)), STR_ARG(s->domain), STR_ARG(s->selector),
               (long long)now);
    fold_names(names, out);
    buf_printf(out, ";\r\n\tbh=" STR_FMT ";\r\n\tb=", STR_ARG(body_hash));
}

static int seal_one(const struct dkim_signer *s, struct header *h, struct str body_hash,
                    int64_t now, struct buf *value, struct err *err)
{
    size_t before = h->text.n;
    struct buf sig;
    int rc;

    buf_init(&sig, VALUE_MAX);
    begin_field(s, buf_str(&h->names), body_hash, now, value);
    dkim_field_relaxed(STR("DKIM-Signature"), buf_str(value), &h->text);
    if (!buf_ok(&h->text) || !buf_ok(value))
        rc = ERR(err, ERR_PERM, "the message's header is too large to be signed");
    else /* RFC 6376 3.7: without its CRLF */
        rc = dkim_key_sign(s->key, str_take(buf_str(&h->text), h->text.n - 2), &sig, err);
    for (struct str rest = buf_str(&sig); rc == 0 && rest.n; rest = str_skip(rest, LINE)) {
        if (rest.n != sig.n)
            buf_add_z(value, "\r\n\t");
        buf_add_str(value, str_take(rest, LINE));
    }
    buf_truncate(&h->text, before);
    buf_fini(&sig);
    return rc;
}

static int seal_all(struct arena *a, const struct dkim_message *m, const struct dkim_signer *s,
                    int64_t now, struct header *h, struct str *values, size_t *n_out,
                    struct err *err)
{
    struct buf body_hash, value;
    int rc = collect(a, m->head, h, err);

    buf_init(&body_hash, 64);
    buf_init(&value, VALUE_MAX);
    if (rc == 0)
        rc = hash_body(m, &body_hash, err);
    if (rc == 0)
        select_fields(h);
    for (size_t i = 0; rc == 0 && s && i < DKIM_SIGNERS_MAX; s = s->next, i++) {
        buf_clear(&value);
        if (seal_one(s, h, buf_str(&body_hash), now, &value, err) == 0)
            values[(*n_out)++] = arena_str(a, buf_str(&value));
    }
    buf_fini(&body_hash);
    buf_fini(&value);
    return *n_out ? 0 : -1;
}

int dkim_seal(struct arena *a, const struct dkim_message *m, const struct dkim_signer *signers,
              int64_t now, struct str values[DKIM_SIGNERS_MAX], size_t *n_out, struct err *err)
{
    struct header h = {.n = 0};

    *n_out = 0;
    buf_init(&h.names, VALUE_MAX / 2);
    buf_init(&h.text, HASHED_MAX);
    int rc = seal_all(a, m, signers, now, &h, values, n_out, err);
    buf_fini(&h.names);
    buf_fini(&h.text);
    return rc;
}
