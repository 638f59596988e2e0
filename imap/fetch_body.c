/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/fetch_body.h"
#include "appliance/base/mem.h"

enum {
    READ_SIZE = 32 * 1024,
    INNER_HEAD_MAX =
        BODY_HEAD_MAX /* of a message within a message, when fields are selected from it */
};

static void add_data(struct fetch_stream *s, uint64_t at, uint64_t size)
{
    CHECK(s->n < ARRAY_LEN(s->pieces));
    if (size)
        s->pieces[s->n++] = (struct fetch_piece){NULL, at, size};
}

void fetch_stream_memory(struct fetch_stream *s, struct str text)
{
    CHECK(s->n < ARRAY_LEN(s->pieces));
    if (text.n)
        s->pieces[s->n++] = (struct fetch_piece){text.p, 0, text.n};
}

uint64_t fetch_stream_left(const struct fetch_stream *s)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < s->n; i++)
        n += s->pieces[i].size;
    return n;
}

bool fetch_stream_needs_data(const struct fetch_stream *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (!s->pieces[i].memory)
            return true;
    return false;
}

static void advance(struct fetch_piece *p, uint64_t n)
{
    if (p->memory)
        p->memory += n;
    else
        p->at += n;
    p->size -= n;
}

/* RFC 3501 6.4.5: a partial that begins beyond the end is empty, one that ends there is cut. */
static void cut_partial(struct fetch_stream *s, uint64_t from, uint64_t count)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < s->n; i++) {
        struct fetch_piece p = s->pieces[i];
        uint64_t skip = from < p.size ? from : p.size;
        from -= skip;
        advance(&p, skip);
        if (p.size > count)
            p.size = count;
        count -= p.size;
        if (p.size)
            s->pieces[kept++] = p;
    }
    s->n = kept;
}

/* ---- Selected header fields. */

static bool is_selected(const struct fetch_section *s, struct str name)
{
    bool listed = false;
    for (size_t i = 0; i < s->n_fields && !listed; i++)
        listed = str_ieq(s->fields[i], name);
    return listed == (s->text == FETCH_TEXT_FIELDS);
}

static void select_from(const struct fetch_section *s, struct str head, struct buf *out)
{
    struct header_field f;
    while (header_next(&head, &f)) {
        if (!is_selected(s, f.name))
            continue;
        buf_add_str(out, f.raw);
        if (!str_ends(f.raw, STR("\n"))) /* an inner header cut off by the end of its part */
            buf_add_z(out, "\r\n");
    }
}

static void select_fields(const struct fetch_section *s, struct arena *a, struct str prefix,
                          struct str head, struct fetch_stream *out)
{
    struct buf b;
    buf_init(&b, prefix.n + head.n + 8);
    select_from(s, prefix, &b);
    select_from(s, head, &b);
    buf_add_z(&b, "\r\n"); /* RFC 3501 6.4.5: the delimiting empty line is always there */
    fetch_stream_memory(out, arena_str(a, buf_str(&b)));
    buf_fini(&b);
}

/* A stretch of data, as long as it's there, copied to the arena. */
static int data_to_memory(const struct fetch_message *m, uint64_t at, uint64_t size,
                          struct str *out, struct err *err)
{
    char *p = arena_alloc(m->arena, size + 1);
    size_t n = 0;
    while (n < size) {
        struct str got;
        size_t want = size - n < READ_SIZE ? size - n : READ_SIZE;
        if (body_read(m->body, at + n, want, m->space, &got, err))
            return -1;
        if (got.n == 0)
            break;
        memcpy(p + n, got.p, got.n);
        n += got.n;
    }
    *out = str_of(p, n);
    return 0;
}

/* ---- Resolving. */

static void resolve_message(const struct fetch_section *s, const struct fetch_message *m,
                            struct fetch_stream *out)
{
    if (s->text == FETCH_TEXT_FIELDS || s->text == FETCH_TEXT_FIELDS_NOT) {
        select_fields(s, m->arena, m->prefix, m->head, out);
        return;
    }
    if (s->text != FETCH_TEXT_TEXT) {
        fetch_stream_memory(out, m->prefix);
        fetch_stream_memory(out, m->head);
    }
    if (s->text != FETCH_TEXT_HEADER)
        add_data(out, 0, m->body->data_size);
}

static int resolve_inner_fields(const struct fetch_section *s, const struct fetch_message *m,
                                const struct mime_part *part, struct fetch_stream *out,
                                struct err *err)
{
    struct str head;
    uint64_t size = part->inner_head_size;
    if (size > INNER_HEAD_MAX)
        size = INNER_HEAD_MAX;
    if (data_to_memory(m, part->inner_head_at, size, &head, err))
        return -1;
    select_fields(s, m->arena, STR_NULL, head, out);
    return 0;
}

static int resolve_part(const struct fetch_section *s, const struct fetch_message *m,
                        struct fetch_stream *out, struct err *err)
{
    const struct mime_part *part = mime_part_find(m->root, s->path, s->depth);
    if (!part)
        return 1;
    if (part == m->root && str_ieq(part->type, STR("multipart")))
        return 0; /* a multipart without parts: bodystructure.h shows an empty one */
    if (s->text == FETCH_TEXT_ALL) {
        add_data(out, part->body_at, part->body_size);
        return 0;
    }
    if (s->text == FETCH_TEXT_MIME) {
        if (part == m->root) /* part 1 of a message that isn't multipart */
            fetch_stream_memory(out, m->head);
        else
            add_data(out, part->head_at, part->head_size);
        return 0;
    }
    if (!part->child ||
        !str_ieq(
            part->type,
            STR("message"))) /* RFC 3501 6.4.5: HEADER and TEXT of a part are those of a message */
        return 1;
    if (s->text == FETCH_TEXT_HEADER)
        add_data(out, part->inner_head_at, part->inner_head_size);
    else if (s->text == FETCH_TEXT_TEXT)
        add_data(out, part->child->body_at, part->child->body_size);
    else
        return resolve_inner_fields(s, m, part, out, err);
    return 0;
}

int fetch_section_resolve(const struct fetch_section *s, const struct fetch_message *m,
                          struct fetch_stream *out, struct err *err)
{
    *out = (struct fetch_stream){0};
    if (s->depth) {
        int none = resolve_part(s, m, out, err);
        if (none)
            return none;
    } else {
        resolve_message(s, m, out);
    }
    if (s->partial)
        cut_partial(out, s->from, s->count);
    return 0;
}

/* ---- Streaming. */

static int send_some(struct fetch_piece *p, const struct fetch_message *m, struct buf *out,
                     struct err *err)
{
    size_t n = p->size < READ_SIZE ? p->size : READ_SIZE;
    struct str got = {p->memory, n};
    if (!p->memory && body_read(m->body, p->at, n, m->space, &got, err))
        return -1;
    if (got.n == 0)
        return ERR(err, ERR_TEMP, "a message's text is shorter than its row says");
    if (buf_add_str(out, got))
        return ERR(err, ERR_BUG, "no room for a response");
    advance(p, got.n);
    return 0;
}

int fetch_stream_run(struct fetch_stream *s, const struct fetch_message *m, struct buf *out,
                     size_t soft, struct err *err)
{
    while (s->n && out->n < soft) {
        if (send_some(&s->pieces[0], m, out, err))
            return -1;
        if (s->pieces[0].size == 0) {
            memmove(s->pieces, s->pieces + 1, sizeof *s->pieces * --s->n);
        }
    }
    return 0;
}
