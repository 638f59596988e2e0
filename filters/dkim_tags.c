/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/dkim_tags.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <stdarg.h>
#include <stdio.h>

enum {
    CLOCK_DRIFT = 300,
    NAME_LIMIT = 253,
    LABEL_LIMIT = 63,
    MARK = 8,
    HASH = 32,
    WHY = 120,
    INSTANCES = 50
};

const char *dkim_result_name(enum dkim_result r)
{
    static const char *const names[] = {
        [DKIM_PASS] = "pass",     [DKIM_TEMPERROR] = "temperror", [DKIM_FAIL] = "fail",
        [DKIM_POLICY] = "policy", [DKIM_NEUTRAL] = "neutral",     [DKIM_PERMERROR] = "permerror",
        [DKIM_NONE] = "none"};

    return names[r];
}

const char *dkim_key_type_name(enum dkim_key_type t)
{
    return t == DKIM_KEY_RSA ? "rsa" : "ed25519";
}

/* ---- Tag lists */

static bool is_tag_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(i && ((c >= '0' && c <= '9') || c == '_')))
            return false;
    }
    return s.n > 0;
}

static bool is_tag_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
            return false;
    }
    return true;
}

static const struct dkim_tag *find(const struct dkim_tag *tags, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(tags[i].name, name))
            return &tags[i];
    return NULL;
}

struct str dkim_tags_get(const struct dkim_tag *tags, size_t n, const char *name)
{
    const struct dkim_tag *t = find(tags, n, str_from(name));

    return t ? t->value : STR_NULL;
}

int dkim_tags_parse(struct str text, struct dkim_tag tags[DKIM_TAGS_MAX], size_t *n_out,
                    struct err *err)
{
    struct str rest = text, spec;
    bool more = true;

    *n_out = 0;
    while (more) {
        struct dkim_tag t;
        more = str_cut(rest, ';', &spec, &rest);
        if (!more && !str_trim(spec).n) /* the list may end in a semicolon */
            break;
        bool ok = str_cut(spec, '=', &t.name, &t.value);
        t.name = str_trim(t.name);
        t.value = str_trim(t.value);
        if (!t.value.p)
            t.value = STR("");
        if (!ok || !is_tag_name(t.name) || !is_tag_value(t.value))
            return ERR(err, ERR_PROTO, "it is not a list of tags");
        if (find(tags, *n_out, t.name))
            return ERR(err, ERR_PROTO, "a tag is there twice");
        if (*n_out == DKIM_TAGS_MAX)
            return ERR(err, ERR_PROTO, "more than %d tags", DKIM_TAGS_MAX);
        tags[(*n_out)++] = t;
    }
    return 0;
}

/* Without blanks and folds. */
static struct str squeeze(struct arena *a, struct str s)
{
    char *to = arena_alloc(a, s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != '\r' && s.p[i] != '\n')
            to[n++] = s.p[i];
    return str_of(to, n);
}

/* Is `word` one of the words between colons? */
static bool lists(struct arena *a, struct str list, const char *word)
{
    struct str rest = squeeze(a, list), one;
    bool more = true, found = false;

    while (more && !found) {
        more = str_cut(rest, ':', &one, &rest);
        found = str_ieq(one, str_from(word));
    }
    return found;
}

/* ---- Names */

int dkim_selector_parse(struct arena *a, struct str in, struct str *out)
{
    char *to = arena_alloc(a, in.n + 1);
    size_t label = 0;

    if (!in.n || in.n > NAME_LIMIT)
        return -1;
    for (size_t i = 0; i < in.n; i++) {
        char c = to[i] = ascii_lower(in.p[i]);
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!letter && c != '.')
            return -1;
        if (letter ? ++label > LABEL_LIMIT : label == 0)
            return -1;
        if (!letter)
            label = 0;
    }
    *out = str_of(to, in.n);
    return label ? 0 : -1;
}

/* RFC 8616 4: U-labels may stand in a header field, and are asked for as A-labels. */
static int parse_name(struct arena *a, struct str in, struct str *out)
{
    struct buf b;

    if (text_ascii(in))
        return dkim_selector_parse(a, in, out);
    buf_init(&b, NAME_LIMIT + 1);
    int rc = text_domain(in, &b);
    *out = rc ? STR_NULL : arena_str(a, buf_str(&b));
    buf_fini(&b);
    return rc;
}

/* ---- A signature */

struct parse {
    struct arena *a;
    struct dkim_tag tags[DKIM_TAGS_MAX];
    size_t n;
    int64_t now;
    struct dkim_signature *out;
    char *why;
};

static enum dkim_result no(struct parse *p, enum dkim_result r, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static enum dkim_result no(struct parse *p, enum dkim_result r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(p->why, WHY, fmt, ap);
    va_end(ap);
    return r;
}

static struct str get(const struct parse *p, const char *name)
{
    return dkim_tags_get(p->tags, p->n, name);
}

static enum dkim_result take_names(struct parse *p)
{
    struct dkim_signature *s = p->out;

    if (!get(p, "d").n || parse_name(p->a, get(p, "d"), &s->domain)) {
        s->domain = STR_NULL;
        return no(p, DKIM_PERMERROR, "d= is no domain");
    }
    if (!get(p, "s").n || parse_name(p->a, get(p, "s"), &s->selector)) {
        s->selector = STR_NULL;
        return no(p, DKIM_PERMERROR, "s= is no selector");
    }
    return DKIM_NONE;
}

static enum dkim_result take_version(struct parse *p)
{
    if (!get(p, "v").p)
        return no(p, DKIM_PERMERROR, "v= is missing");
    if (!str_eq(get(p, "v"), STR("1")))
        return no(p, DKIM_NEUTRAL, "its version isn't 1");
    return DKIM_NONE;
}

static enum dkim_result take_algorithm(struct parse *p)
{
    struct dkim_signature *s = p->out;

    s->algorithm = get(p, "a");
    if (!s->algorithm.n)
        return no(p, DKIM_PERMERROR, "a= is missing");
    if (str_ieq(s->algorithm, STR("rsa-sha256")))
        s->type = DKIM_KEY_RSA;
    else if (str_ieq(s->algorithm, STR("ed25519-sha256")))
        s->type = DKIM_KEY_ED25519;
    else if (str_ieq(s->algorithm, STR("rsa-sha1"))) /* RFC 8301 3.1 */
        return no(p, DKIM_PERMERROR, "rsa-sha1 is no longer accepted");
    else
        return no(p, DKIM_NEUTRAL, "its algorithm isn't known");
    return DKIM_NONE;
}

static enum dkim_result take_canon(struct parse *p)
{
    struct str head, body, c = get(p, "c");

    if (!c.p)
        return DKIM_NONE;
    if (!str_cut(squeeze(p->a, c), '/', &head, &body))
        body = STR("simple");
    p->out->relaxed_head = str_ieq(head, STR("relaxed"));
    p->out->relaxed_body = str_ieq(body, STR("relaxed"));
    if ((!str_ieq(head, STR("simple")) && !str_ieq(head, STR("relaxed"))) ||
        (!p->out->relaxed_body && !str_ieq(body, STR("simple"))))
        return no(p, DKIM_NEUTRAL, "its canonicalization isn't known");
    return DKIM_NONE;
}

static bool base64_ok(struct parse *p, const char *name, size_t least, size_t most)
{
    struct buf b;

    buf_init(&b, DKIM_FIELD_MAX);
    bool ok =
        text_base64_decode(squeeze(p->a, get(p, name)), &b) == 0 && b.n >= least && b.n <= most;
    buf_fini(&b);
    return ok;
}

static enum dkim_result take_value(struct parse *p)
{
    if (!base64_ok(p, "b", 1, DKIM_FIELD_MAX))
        return no(p, DKIM_PERMERROR, "b= is no signature");
    p->out->written = get(p, "b");
    p->out->value = squeeze(p->a, p->out->written);
    return DKIM_NONE;
}

static enum dkim_result take_hashes(struct parse *p)
{
    if (!base64_ok(p, "bh", HASH, HASH))
        return no(p, DKIM_PERMERROR, "bh= is no hash");
    p->out->body_hash = squeeze(p->a, get(p, "bh"));
    p->out->names = squeeze(p->a, get(p, "h"));
    if (!get(p, "h").n || !lists(p->a, get(p, "h"), "from")) /* RFC 6376 5.4 */
        return no(p, DKIM_PERMERROR, "From isn't signed");
    return DKIM_NONE;
}

static enum dkim_result take_identity(struct parse *p)
{
    struct dkim_signature *s = p->out;
    struct str domain;
    size_t at;

    s->identity = squeeze(p->a, get(p, "i"));
    if (!s->identity.n)
        return DKIM_NONE;
    if (!str_rchr(s->identity, '@', &at) ||
        parse_name(p->a, str_skip(s->identity, at + 1), &domain))
        return no(p, DKIM_PERMERROR, "i= is no identity");
    if (str_eq(domain, s->domain))
        return DKIM_NONE;
    s->subdomain = true;
    if (!str_ends(domain, arena_printf(p->a, "." STR_FMT, STR_ARG(s->domain))))
        return no(p, DKIM_PERMERROR, "i= isn't within d=");
    return DKIM_NONE;
}

static int take_number(struct parse *p, const char *name, uint64_t *out)
{
    struct str v = get(p, name);

    return v.p ? str_to_u64(v, INT64_MAX, out) : 0;
}

static enum dkim_result take_numbers(struct parse *p)
{
    struct dkim_signature *s = p->out;
    uint64_t t = 0, x = 0;

    s->has_length = get(p, "l").p != NULL;
    if (take_number(p, "l", &s->length))
        return no(p, DKIM_PERMERROR, "l= is no number");
    if (take_number(p, "t", &t) || take_number(p, "x", &x))
        return no(p, DKIM_PERMERROR, "t= or x= is no number");
    s->signed_at = (int64_t)t;
    s->expires = (int64_t)x;
    if (get(p, "x").p && x <= t)
        return no(p, DKIM_PERMERROR, "x= isn't after t=");
    if (get(p, "x").p && s->expires < p->now - CLOCK_DRIFT)
        return no(p, DKIM_POLICY, "expired");
    if (s->signed_at > p->now + CLOCK_DRIFT)
        return no(p, DKIM_POLICY, "signed in the future");
    return DKIM_NONE;
}

static enum dkim_result take_query(struct parse *p)
{
    if (get(p, "q").p && !lists(p->a, get(p, "q"), "dns/txt"))
        return no(p, DKIM_NEUTRAL, "its way to the key isn't known");
    return DKIM_NONE;
}

/* ---- Of ARC */

static enum dkim_result take_instance(struct parse *p)
{
    uint64_t i;

    if (!get(p, "i").p || str_to_u64(get(p, "i"), INSTANCES, &i) || i == 0)
        return no(p, DKIM_PERMERROR, "i= is no number from 1 to %d", INSTANCES);
    p->out->instance = (unsigned)i;
    return DKIM_NONE;
}

static enum dkim_result take_covered(struct parse *p) /* RFC 8617 4.1.2 */
{
    if (lists(p->a, get(p, "h"), "arc-seal"))
        return no(p, DKIM_PERMERROR, "it signs an ARC-Seal");
    return DKIM_NONE;
}

static enum dkim_result take_cv(struct parse *p)
{
    p->out->cv = get(p, "cv");
    if (get(p, "h").p) /* RFC 8617 4.1.3 */
        return no(p, DKIM_PERMERROR, "h= isn't allowed in an ARC-Seal");
    if (!p->out->cv.n)
        return no(p, DKIM_PERMERROR, "cv= is missing");
    return DKIM_NONE;
}

#define STEPS 10
static enum dkim_result (*const steps[][STEPS])(struct parse *) = {
    [DKIM_KIND_SIGNATURE] = {take_version, take_names, take_algorithm, take_canon, take_hashes,
                             take_value, take_identity, take_numbers, take_query},
    [DKIM_KIND_ARC_MESSAGE] = {take_instance, take_names, take_algorithm, take_canon, take_hashes,
                               take_covered, take_value, take_numbers, take_query},
    [DKIM_KIND_ARC_SEAL] = {take_instance, take_cv, take_names, take_algorithm, take_value,
                            take_numbers}};

enum dkim_result dkim_kind_parse(struct arena *a, enum dkim_kind kind, struct str value,
                                 int64_t now, struct dkim_signature *out, char why_out[WHY])
{
    struct parse p = {.a = a, .now = now, .out = out, .why = why_out};
    enum dkim_result r = DKIM_NONE;
    struct err err = {0};

    *out = (struct dkim_signature){0};
    why_out[0] = '\0';
    if (value.n > DKIM_FIELD_MAX)
        return no(&p, DKIM_PERMERROR, "it is longer than %d octets", DKIM_FIELD_MAX);
    out->utf8 = !text_ascii(value);
    if (dkim_tags_parse(value, p.tags, &p.n, &err))
        return no(&p, DKIM_PERMERROR, "%s", err.text);
    out->mark = str_take(squeeze(a, get(&p, "b")), MARK);
    for (size_t i = 0; i < STEPS && steps[kind][i] && r == DKIM_NONE; i++)
        r = steps[kind][i](&p);
    return r;
}

enum dkim_result dkim_signature_parse(struct arena *a, struct str value, int64_t now,
                                      struct dkim_signature *out, char why_out[WHY])
{
    return dkim_kind_parse(a, DKIM_KIND_SIGNATURE, value, now, out, why_out);
}

/* ---- A key record */

static int take_key(struct arena *a, const struct dkim_tag *tags, size_t n, struct dkim_record *out,
                    struct err *err)
{
    struct str k = dkim_tags_get(tags, n, "k"), p = dkim_tags_get(tags, n, "p");
    struct buf b;

    if (k.p && !str_ieq(k, STR("rsa")) && !str_ieq(k, STR("ed25519")))
        return ERR(err, ERR_PROTO, "its key is of an unknown type");
    out->type = k.p && str_ieq(k, STR("ed25519")) ? DKIM_KEY_ED25519 : DKIM_KEY_RSA;
    if (!p.p)
        return ERR(err, ERR_PROTO, "it holds no key");
    out->key = squeeze(a, p);
    buf_init(&b, DKIM_RECORD_MAX);
    int rc = text_base64_decode(out->key, &b);
    buf_fini(&b);
    return rc ? ERR(err, ERR_PROTO, "its key isn't in base64") : 0;
}

int dkim_record_parse(struct arena *a, struct str text, struct dkim_record *out, struct err *err)
{
    struct dkim_tag tags[DKIM_TAGS_MAX];
    struct str v, h, s, t;
    size_t n;

    *out = (struct dkim_record){0};
    if (text.n > DKIM_RECORD_MAX)
        return ERR(err, ERR_PROTO, "it is longer than %d octets", DKIM_RECORD_MAX);
    if (dkim_tags_parse(text, tags, &n, err))
        return -1;
    v = dkim_tags_get(tags, n, "v");
    if (v.p && (!str_eq(tags[0].name, STR("v")) || !str_eq(v, STR("DKIM1"))))
        return ERR(err, ERR_PROTO, "it is no record of version DKIM1");
    h = dkim_tags_get(tags, n, "h");
    s = dkim_tags_get(tags, n, "s");
    t = dkim_tags_get(tags, n, "t");
    out->sha256 = !h.p || lists(a, h, "sha256");
    out->email = !s.p || lists(a, s, "email") || lists(a, s, "*");
    out->testing = t.p && lists(a, t, "y");
    out->strict = t.p && lists(a, t, "s");
    return take_key(a, tags, n, out, err);
}
