/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* arc_verify.c - the cryptography of an ARC chain. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "filters/arc_chain.h"
#include "filters/dkim_canon.h"
#include "filters/dkim_hash.h"
#include "filters/dkim_key.h"

struct verify {
    const struct dkim_message *m;
    struct dkim_head *head;
    struct buf text;      /* what is signed; before it, for seals, the sets up to the last one */
    struct buf bodies[2]; /* hashes: simple, relaxed; empty: not known yet */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct str without_end(struct str raw)
{
    while (raw.n && (raw.p[raw.n - 1] == '\r' || raw.p[raw.n - 1] == '\n'))
        raw.n--;
    return raw;
}

/* A field without what b= holds, nor its final CRLF (RFC 6376 3.5, 3.7). */
static void add_unsigned(const struct arc_field *f, const struct dkim_signature *s, bool relaxed,
                         const char *name, struct buf *out)
{
    struct str in = relaxed ? f->value : without_end(f->raw);
    size_t from = (size_t)(s->written.p - in.p), to = from + s->written.n;
    struct buf b;

    while (from && is_blank(in.p[from - 1]))
        from--;
    while (to < in.n && is_blank(in.p[to]))
        to++;
    buf_init(&b, DKIM_FIELD_MAX);
    buf_add_str(&b, str_take(in, from));
    buf_add_str(&b, str_skip(in, to));
    if (relaxed) {
        dkim_field_relaxed(str_from(name), buf_str(&b), out);
        buf_truncate(out, out->n - 2);
    } else {
        buf_add_str(out, buf_str(&b));
    }
    buf_fini(&b);
}

/* Settles it by its signature over v->text. */
static void check_signature(const struct verify *v, struct dkim_one *one)
{
    struct dkim_key *key = NULL;
    struct err err = {0};
    struct buf raw, sig;

    buf_init(&raw, DKIM_RECORD_MAX);
    buf_init(&sig, DKIM_FIELD_MAX);
    if (!buf_ok(&v->text))
        dkim_one_settle(one, DKIM_PERMERROR, "the header is too large");
    else if (text_base64_decode(one->record.key, &raw) ||
             text_base64_decode(one->sig.value, &sig) ||
             dkim_key_read_public(one->sig.type, buf_str(&raw), &key, &err))
        dkim_one_settle(one, DKIM_PERMERROR, "its key can't be read");
    else if (one->sig.type == DKIM_KEY_RSA && dkim_key_bits(key) < ARC_BITS_MIN)
        dkim_one_settle(one, DKIM_POLICY, "its key has only %u bits", dkim_key_bits(key));
    else if (one->sig.type == DKIM_KEY_RSA && dkim_key_bits(key) > DKIM_RSA_MOST)
        dkim_one_settle(one, DKIM_POLICY, "its key has %u bits", dkim_key_bits(key));
    else if (dkim_key_verify(key, buf_str(&v->text), buf_str(&sig)))
        dkim_one_settle(one, DKIM_PASS, "%s", "");
    else
        dkim_one_settle(one, DKIM_FAIL, "it isn't signed with that key, or was altered");
    dkim_key_free(&key);
    buf_fini(&raw);
    buf_fini(&sig);
}

/* ---- A message's signature (AMS) */

static void check_message(struct verify *v, const struct arc_set *s, struct dkim_one *one)
{
    const struct dkim_signature *sig = &one->sig;
    struct buf *body = &v->bodies[sig->relaxed_body];
    struct err err = {0};

    if (one->result != DKIM_NONE)
        return;
    if (sig->has_length) { /* what follows could be anything */
        dkim_one_settle(one, DKIM_POLICY, "it covers a part of the body only (l=)");
        return;
    }
    if (!body->n && dkim_body_hash(v->m, sig->relaxed_body, body, &err)) {
        dkim_one_settle(one, DKIM_TEMPERROR, "%s", err.text);
        return;
    }
    if (!str_eq(buf_str(body), sig->body_hash)) {
        dkim_one_settle(one, DKIM_FAIL, "the body was altered");
        return;
    }
    buf_clear(&v->text);
    dkim_head_add(v->head, sig->names, sig->relaxed_head, &v->text);
    add_unsigned(&s->message_field, sig, sig->relaxed_head, "ARC-Message-Signature", &v->text);
    check_signature(v, one);
}

/* ---- Seals */

static void check_seals(struct arc_chain *c, struct verify *v)
{
    buf_clear(&v->text);
    for (size_t i = 0; i < c->n; i++) {
        struct arc_set *s = &c->sets[i];
        dkim_field_relaxed(STR("ARC-Authentication-Results"), s->results_field.value, &v->text);
        dkim_field_relaxed(STR("ARC-Message-Signature"), s->message_field.value, &v->text);
        size_t before = v->text.n;
        add_unsigned(&s->seal_field, &s->seal.sig, true, "ARC-Seal", &v->text);
        if (s->seal.result == DKIM_NONE)
            check_signature(v, &s->seal);
        if (s->seal.result != DKIM_PASS)
            return;
        buf_truncate(&v->text, before);
        dkim_field_relaxed(STR("ARC-Seal"), s->seal_field.value, &v->text);
    }
}

/* ---- The chain */

static void settle(struct arc_chain *c, const struct dkim_one *one, const char *what, size_t i)
{
    struct dkim_one words;

    if (one->result == DKIM_PASS || c->result != ARC_PASS)
        return;
    dkim_one_settle(&words, one->result, "the %s of i=%zu: %.90s", what, i + 1, one->why);
    memcpy(c->why, words.why, sizeof c->why);
    c->result = one->result == DKIM_TEMPERROR ? ARC_TEMPERROR : ARC_FAIL;
}

static void run(struct arc_chain *c, struct verify *v)
{
    struct arc_set *newest = &c->sets[c->n - 1];

    check_message(v, newest, &newest->message);
    settle(c, &newest->message, "signature", c->n - 1);
    if (c->result != ARC_PASS)
        return;
    check_seals(c, v);
    for (size_t i = 0; i < c->n; i++)
        settle(c, &c->sets[i].seal, "seal", i);
    c->oldest = (unsigned)c->n;
    while (c->result == ARC_PASS && c->oldest > 1) {
        struct arc_set *s = &c->sets[c->oldest - 2];
        check_message(v, s, &s->message);
        if (s->message.result != DKIM_PASS)
            break;
        c->oldest--;
    }
}

void arc_chain_run(struct arc_chain *c, const struct dkim_message *m)
{
    struct verify v = {.m = m};
    struct err err = {0};

    if (c->result != ARC_PASS || c->n == 0)
        return;
    if (dkim_head_new(m->head, &v.head, &err)) {
        dkim_one_settle(&c->sets[c->n - 1].message, DKIM_PERMERROR, "%.100s", err.text);
        settle(c, &c->sets[c->n - 1].message, "signature", c->n - 1);
        return;
    }
    buf_init(&v.text, DKIM_HEAD_MAX);
    for (int i = 0; i < 2; i++)
        buf_init(&v.bodies[i], 64);
    run(c, &v);
    for (int i = 0; i < 2; i++)
        buf_fini(&v.bodies[i]);
    buf_fini(&v.text);
    dkim_head_free(&v.head);
}
