/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/mime_meta.h"

enum {                     /* fields */
       HAS_TYPE = 1u << 0, /* else text/plain */
       HAS_PARAMS = 1u << 1,
       HAS_ID = 1u << 2,
       HAS_DESCRIPTION = 1u << 3,
       HAS_ENCODING = 1u << 4,
       HAS_MD5 = 1u << 5,
       HAS_LANGUAGE = 1u << 6,
       HAS_LOCATION = 1u << 7,
       HAS_DISPOSITION = 1u << 8,
       ALL_FIELDS = (1u << 9) - 1
};
enum { /* envelope: a bit for each string, then for each list */
       ENV_STRINGS = 4,
       ENV_LISTS = 6,
       ALL_ENVELOPE = (1u << (ENV_STRINGS + ENV_LISTS)) - 1
};
enum { MAX_TYPE = 127, MAX_PARAMS = 64 };

void mime_meta_number(struct buf *out, uint64_t v)
{
    do {
        buf_add_char(out, (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0)));
        v >>= 7;
    } while (v);
}

static void string_raw(struct buf *out, struct str s)
{
    mime_meta_number(out, s.p ? s.n + 1 : 0);
    buf_add(out, s.p ? s.p : "", s.p ? s.n : 0);
}

static void string(struct mime_meta_writer w, struct str s)
{
    s = str_take(s, *w.budget);
    *w.budget -= s.n;
    string_raw(w.out, s);
}

static bool afford(size_t cost, size_t *left)
{
    if (cost > *left)
        return false;
    *left -= cost;
    return true;
}

static void params(struct mime_meta_writer w, const struct header_params *p)
{
    size_t n = 0, left = *w.budget;
    while (n < p->n && afford(8 + p->list[n].name.n + p->list[n].value.n, &left))
        n++;
    mime_meta_number(w.out, n);
    for (size_t i = 0; i < n; i++) {
        string(w, p->list[i].name);
        string(w, p->list[i].value);
    }
    *w.budget = left;
}

void mime_meta_fields(struct mime_meta_writer w, const struct mime_part *p)
{
    const struct str *strings[] = {&p->id,  &p->description, &p->encoding,
                                   &p->md5, &p->language,    &p->location};
    bool plain = str_eq(p->type, STR("text")) && str_eq(p->subtype, STR("plain"));
    unsigned flags = (plain ? 0 : HAS_TYPE) | (p->params.n > 0 ? HAS_PARAMS : 0) |
                     (p->disposition.main.p ? HAS_DISPOSITION : 0);
    for (unsigned i = 0; i < 6; i++)
        flags |= strings[i]->p ? HAS_ID << i : 0;
    mime_meta_number(w.out, flags);
    if (!plain) {
        string_raw(w.out, str_take(p->type, MAX_TYPE));
        string_raw(w.out, str_take(p->subtype, MAX_TYPE));
    }
    if (flags & HAS_PARAMS)
        params(w, &p->params);
    for (unsigned i = 0; i < 6; i++)
        if (strings[i]->p)
            string(w, *strings[i]);
    if (flags & HAS_DISPOSITION) {
        string(w, p->disposition.main);
        params(w, &p->disposition);
    }
}

static void addresses(struct mime_meta_writer w, const struct address *list, size_t count)
{
    size_t n = 0, left = *w.budget;
    while (n < count &&
           afford(8 + list[n].name.n + list[n].route.n + list[n].mailbox.n + list[n].host.n, &left))
        n++;
    mime_meta_number(w.out, n);
    for (size_t i = 0; i < n; i++) {
        string(w, list[i].name);
        string(w, list[i].route);
        string(w, list[i].mailbox);
        string(w, list[i].host);
    }
    *w.budget = left;
}

void mime_meta_envelope(struct mime_meta_writer w, const struct mime_envelope *e)
{
    const struct str *strings[ENV_STRINGS] = {&e->date, &e->subject, &e->in_reply_to,
                                              &e->message_id};
    const struct address *lists[ENV_LISTS] = {e->from, e->sender, e->reply_to,
                                              e->to,   e->cc,     e->bcc};
    const size_t counts[ENV_LISTS] = {e->n_from, e->n_sender, e->n_reply_to,
                                      e->n_to,   e->n_cc,     e->n_bcc};
    unsigned flags = 0;
    for (unsigned i = 0; i < ENV_STRINGS; i++)
        flags |= strings[i]->p ? 1u << i : 0;
    for (unsigned i = 0; i < ENV_LISTS;
         i++) /* sender and reply-to that are only the default aren't repeated */
        if (counts[i] > 0 && (i == 0 || lists[i] != e->from))
            flags |= 1u << (ENV_STRINGS + i);
    mime_meta_number(w.out, flags);
    for (unsigned i = 0; i < ENV_STRINGS; i++)
        if (strings[i]->p)
            string(w, *strings[i]);
    for (unsigned i = 0; i < ENV_LISTS; i++)
        if (flags & 1u << (ENV_STRINGS + i))
            addresses(w, lists[i], counts[i]);
}

/* Reading. After the first damage `bad` is set and everything reads as zero. */
struct reader {
    struct arena *a;
    struct str in;
    struct mime_part *root;
    bool bad;
};

static uint64_t number_get(struct reader *r, uint64_t max)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 63 && r->in.n > 0 && !r->bad; shift += 7) {
        unsigned char c = (unsigned char)r->in.p[0];
        r->in = str_skip(r->in, 1);
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80 && v <= max)
            return v;
        if (c < 0x80)
            break;
    }
    r->bad = true;
    return 0;
}

static struct str string_get(struct reader *r)
{
    uint64_t n = number_get(r, r->in.n);
    if (n == 0)
        return STR_NULL;
    if (n - 1 > r->in.n) {
        r->bad = true;
        return STR_NULL;
    }
    struct str s = str_take(r->in, n - 1);
    r->in = str_skip(r->in, n - 1);
    return s;
}

static void params_get(struct reader *r, struct header_params *out)
{
    out->n = number_get(r, MAX_PARAMS);
    out->list = ARENA_ARRAY(r->a, struct header_param, out->n);
    for (size_t i = 0; i < out->n; i++) {
        out->list[i].name = string_get(r);
        out->list[i].value = string_get(r);
        if (!out->list[i].name.p || !out->list[i].value.p)
            r->bad = true;
    }
}

static void fields_get(struct reader *r, struct mime_part *p)
{
    struct str *strings[] = {&p->id,  &p->description, &p->encoding,
                             &p->md5, &p->language,    &p->location};
    unsigned flags = (unsigned)number_get(r, ALL_FIELDS);
    p->type = flags & HAS_TYPE ? string_get(r) : STR("text");
    p->subtype = flags & HAS_TYPE ? string_get(r) : STR("plain");
    if (p->type.n == 0 || p->subtype.n == 0)
        r->bad = true;
    if (flags & HAS_PARAMS)
        params_get(r, &p->params);
    for (unsigned i = 0; i < 6; i++)
        if (flags & HAS_ID << i)
            *strings[i] = string_get(r);
    if (!p->encoding.p)
        p->encoding = STR("7BIT"); /* RFC 2045 6.1 */
    if (flags & HAS_DISPOSITION) {
        p->disposition.main = string_get(r);
        params_get(r, &p->disposition);
    }
}

static void addresses_get(struct reader *r, struct address **list_out, size_t *n_out)
{
    size_t n = number_get(r, MIME_MAX_ADDRESSES);
    if (n > r->in.n / 4) { /* an address has four strings */
        r->bad = true;
        return;
    }
    struct address *list = ARENA_ARRAY(r->a, struct address, n);
    for (size_t i = 0; i < n; i++)
        list[i] = (struct address){string_get(r), string_get(r), string_get(r), string_get(r)};
    *list_out = list;
    *n_out = n;
}

static struct mime_envelope *envelope_get(struct reader *r)
{
    struct mime_envelope *e = ARENA_NEW(r->a, struct mime_envelope);
    struct str *strings[ENV_STRINGS] = {&e->date, &e->subject, &e->in_reply_to, &e->message_id};
    struct address **lists[ENV_LISTS] = {&e->from, &e->sender, &e->reply_to,
                                         &e->to,   &e->cc,     &e->bcc};
    size_t *counts[ENV_LISTS] = {&e->n_from, &e->n_sender, &e->n_reply_to,
                                 &e->n_to,   &e->n_cc,     &e->n_bcc};
    unsigned flags = (unsigned)number_get(r, ALL_ENVELOPE);
    for (unsigned i = 0; i < ENV_STRINGS; i++)
        if (flags & 1u << i)
            *strings[i] = string_get(r);
    for (unsigned i = 0; i < ENV_LISTS; i++) {
        if (flags & 1u << (ENV_STRINGS + i)) {
            addresses_get(r, lists[i], counts[i]);
        } else if (i == 1 || i == 2) {
            *lists[i] = e->from;
            *counts[i] = e->n_from;
        }
    }
    return e;
}

/* What the reading of parts knows of each open level. */
struct open_part {
    struct mime_part *part, *last_child;
    uint64_t end, next_at; /* where its body ends; where a further child may begin */
};

static void ranges_get(struct reader *r, struct mime_part *p, struct open_part *parent)
{
    uint64_t room = parent ? parent->end - parent->next_at : UINT64_MAX >> 2;
    if (parent) {
        p->head_at = parent->next_at + number_get(r, room);
        p->head_size = number_get(r, parent->end - p->head_at);
        room = parent->end - p->head_at - p->head_size;
    }
    p->body_at = p->head_at + p->head_size;
    p->body_size = number_get(r, room);
    p->lines = number_get(r, p->body_size);
    if (parent)
        parent->next_at = p->body_at + p->body_size;
}

static void attach(struct reader *r, struct mime_part *p, struct open_part *parent,
                   struct mime_envelope *e)
{
    bool message = mime_is_message(parent->part);
    if (message ? parent->last_child != NULL || !e : !mime_is_multipart(parent->part) || e) {
        r->bad = true;
        return;
    }
    p->envelope = e;
    if (message) {
        if (parent->part != r->root)
            parent->part->envelope = e;
        parent->part->inner_head_at = p->head_at;
        parent->part->inner_head_size = p->head_size;
    }
    if (parent->last_child)
        parent->last_child->next = p;
    else
        parent->part->child = p;
    parent->last_child = p;
}

int mime_meta_decode(struct arena *a, struct str meta, struct mime_part **root_out)
{
    struct reader r = {.a = a, .in = meta};
    struct open_part open[MIME_MAX_DEPTH];
    size_t depth_before = 0;
    if (number_get(&r, UINT64_MAX >> 1) != MIME_META_VERSION || r.bad)
        return -1;
    size_t n = number_get(&r, MIME_MAX_PARTS);
    for (size_t i = 0; i < n && !r.bad; i++) {
        size_t depth = number_get(&r, MIME_MAX_DEPTH - 1);
        if (r.bad || (i == 0) != (depth == 0) || depth > depth_before + 1)
            return -1;
        struct mime_part *p = ARENA_NEW(a, struct mime_part);
        struct open_part *parent = depth > 0 ? &open[depth - 1] : NULL;
        ranges_get(&r, p, parent);
        bool enveloped = number_get(&r, 1);
        fields_get(&r, p);
        struct mime_envelope *e = enveloped ? envelope_get(&r) : NULL;
        if (parent)
            attach(&r, p, parent, e);
        else
            (r.root = p)->envelope = e;
        open[depth] = (struct open_part){p, NULL, p->body_at + p->body_size, p->body_at};
        depth_before = depth;
    }
    if (r.bad || n == 0 || r.in.n > 0 || !r.root->envelope)
        return -1;
    *root_out = r.root;
    return 0;
}
