/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/search_body.h"

enum {
    STEP = 32 * 1024,
    HEADER_MAX = 256 * 1024, /* what is looked at of a part's header */
    NAME_MAX_BYTES = 4096,
    PENDING_MAX = 2 * STEP, /* decoded text that waits for the end of its line */
    UTF8_MAX = 16 * STEP,   /* one piece of any charset as UTF-8, and folded */
};

void search_scan_init(struct search_scan *s, struct arena *a, const struct search_program *program)
{
    *s = (struct search_scan){.program = program};
    s->hits = arena_alloc(a, program->n_needles + 1);
    for (size_t i = 0; i < program->n_needles; i++)
        if (program->needles[i]->text.n > s->longest)
            s->longest = program->needles[i]->text.n;
    buf_init(&s->space, 2 * STEP);
    buf_init(&s->decoded, PENDING_MAX + 2 * STEP);
    buf_init(&s->utf8, UTF8_MAX);
    buf_init(&s->window, UTF8_MAX * 2 + s->longest);
}

void search_scan_fini(struct search_scan *s)
{
    buf_fini(&s->space);
    buf_fini(&s->decoded);
    buf_fini(&s->utf8);
    buf_fini(&s->window);
}

/* ---- What to look through. */

static void add_segment(struct search_scan *s, struct arena *a, struct search_segment seg)
{
    if (seg.size == 0)
        return;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 8;
        struct search_segment *more = ARENA_ARRAY(a, struct search_segment, s->cap);
        if (s->n)
            memcpy(more, s->list, s->n * sizeof *more);
        s->list = more;
    }
    s->list[s->n++] = seg;
}

static void add_header(struct search_scan *s, struct arena *a, uint64_t at, uint64_t size)
{
    add_segment(s, a,
                (struct search_segment){
                    .at = at, .size = size < HEADER_MAX ? size : HEADER_MAX, .header = true});
}

static void add_part(struct search_scan *s, struct arena *a, const struct mime_part *p,
                     bool of_message)
{
    if (of_message)
        add_header(s, a, p->head_at, p->head_size);
    else
        add_segment(s, a, (struct search_segment){.size = 1, .names = p});
    bool message = str_ieq(p->type, STR("message"));
    for (const struct mime_part *c = p->child; c; c = c->next)
        add_part(s, a, c, message);
    if (p->child || (!message && !str_ieq(p->type, STR("text"))))
        return;
    struct search_segment seg = {.at = p->body_at, .size = p->body_size, .encoding = p->encoding};
    header_param_get(&p->params, STR("charset"), &seg.charset);
    add_segment(s, a, seg);
}

static void begin_segment(struct search_scan *s)
{
    s->offset = 0;
    s->qp = (struct text_qp){0};
    s->b64 = (struct text_b64){0};
    buf_clear(&s->decoded);
    buf_clear(&s->window);
}

void search_scan_begin(struct search_scan *s, struct arena *a, const struct mime_part *root)
{
    s->list = NULL;
    s->n = s->cap = s->at = 0;
    memset(s->hits, SEARCH_UNKNOWN, s->program->n_needles);
    add_part(s, a, root, false);
    begin_segment(s);
}

/* ---- Looking. */

static void look(struct search_scan *s)
{
    size_t at;
    for (size_t i = 0; i < s->program->n_needles; i++)
        if (s->hits[i] == SEARCH_UNKNOWN &&
            str_find(buf_str(&s->window), s->program->needles[i]->text, &at))
            s->hits[i] = SEARCH_YES;
    if (s->window.n >= s->longest) /* what a match could still begin in */
        buf_drop(&s->window, s->window.n - (s->longest ? s->longest - 1 : 0));
}

static bool is_utf8(struct str charset)
{
    return charset.n == 0 || str_ieq(charset, STR("utf-8")) || str_ieq(charset, STR("us-ascii"));
}

/* How much of the decoded text can be converted by itself: charsets with shifts and multi-byte
 * characters all begin anew after a line's end; UTF-16 and UTF-32 have units of a fixed size. */
static size_t convertible(struct str text, struct str charset, bool last)
{
    size_t at;
    if (last)
        return text.n;
    if (str_istarts(charset, STR("utf-16")) || str_istarts(charset, STR("utf-32")))
        return text.n & ~(size_t)3;
    if (str_rchr(text, '\n', &at))
        return at + 1;
    if (!is_utf8(charset))
        return text.n < PENDING_MAX ? 0 : text.n;
    size_t n = text.n; /* up to the last complete character */
    for (int back = 0; back < 3 && n && ((unsigned char)text.p[n - 1] & 0xc0) == 0x80; back++)
        n--;
    return n && (unsigned char)text.p[n - 1] >= 0xc0 ? n - 1 : text.n;
}

/* "utf-16" is decided by the mark at its beginning, which the later pieces lack. */
static void settle_utf16(struct search_segment *seg, struct str text)
{
    if (!str_ieq(seg->charset, STR("utf-16")))
        return;
    seg->charset = str_starts(text, STR("\xfe\xff"))   ? STR("utf-16be")
                   : str_starts(text, STR("\xff\xfe")) ? STR("utf-16le")
                                                       : STR("utf-16be"); /* RFC 2781 4.3 */
}

static void look_at_decoded(struct search_scan *s, struct search_segment *seg, bool last)
{
    settle_utf16(seg, buf_str(&s->decoded));
    size_t n = convertible(buf_str(&s->decoded), seg->charset, last);
    if (n == 0)
        return;
    buf_clear(&s->utf8);
    text_to_utf8(seg->charset, str_take(buf_str(&s->decoded), n), &s->utf8);
    text_fold(buf_str(&s->utf8), &s->window);
    buf_drop(&s->decoded, n);
    look(s);
}

static void decode(struct search_scan *s, const struct search_segment *seg, struct str raw,
                   bool last)
{
    if (str_ieq(seg->encoding, STR("quoted-printable")))
        text_qp_decode(&s->qp, raw, last, &s->decoded);
    else if (str_ieq(seg->encoding, STR("base64")))
        text_b64_decode(&s->b64, raw, last, &s->decoded);
    else
        buf_add_str(&s->decoded, raw);
}

/* RFC 2231 4: charset'language'text, its odd bytes as %XX. */
static void fold_extended(struct str value, struct buf *out)
{
    struct str charset, language, rest;
    struct buf raw, utf8;
    if (!str_cut(value, '\'', &charset, &rest) || !str_cut(rest, '\'', &language, &rest))
        return;
    buf_init(&raw, NAME_MAX_BYTES);
    buf_init(&utf8, NAME_MAX_BYTES * 4);
    while (rest.n) {
        size_t n = 1;
        if (rest.p[0] == '%' && rest.n > 2 &&
            text_hex_decode(str_take(str_skip(rest, 1), 2), &raw) == 0)
            n = 3;
        else
            buf_add_char(&raw, rest.p[0]);
        rest = str_skip(rest, n);
    }
    text_to_utf8(charset, buf_str(&raw), &utf8);
    text_fold(buf_str(&utf8), out);
    buf_fini(&raw);
    buf_fini(&utf8);
}

static void look_at_param(struct search_scan *s, const struct header_params *p, const char *name,
                          const char *extended)
{
    struct str value;
    if (header_param_get(p, str_from(name), &value))
        search_fold_value(str_take(value, NAME_MAX_BYTES), &s->window);
    else if (header_param_get(p, str_from(extended), &value))
        fold_extended(str_take(value, NAME_MAX_BYTES), &s->window);
    look(s);
    buf_clear(&s->window);
}

static void look_at_names(struct search_scan *s, const struct mime_part *p)
{
    look_at_param(s, &p->params, "name", "name*");
    look_at_param(s, &p->disposition, "filename", "filename*");
    if (p->description.p)
        search_fold_value(str_take(p->description, NAME_MAX_BYTES), &s->window);
    look(s);
    buf_clear(&s->window);
}

static void look_at_header(struct search_scan *s, struct str head)
{
    struct header_field f;
    while (header_next(&head, &f)) {
        text_fold(f.name, &s->window);
        buf_add_z(&s->window, ": ");
        search_fold_value(f.value, &s->window);
        look(s);
        buf_clear(&s->window);
    }
}

static int read_header(struct search_scan *s, const struct search_segment *seg,
                       struct body_reader *body, struct err *err)
{
    struct buf head;
    int failed = 0;
    buf_init(&head, HEADER_MAX);
    while (!failed && head.n < seg->size) {
        struct str got;
        size_t want = seg->size - head.n < STEP ? seg->size - head.n : STEP;
        failed = body_read(body, seg->at + head.n, want, &s->space, &got, err);
        if (failed || got.n == 0)
            break;
        buf_add_str(&head, got);
    }
    if (!failed)
        look_at_header(s, buf_str(&head));
    buf_fini(&head);
    s->offset = seg->size;
    return failed;
}

static int read_text(struct search_scan *s, struct search_segment *seg, struct body_reader *body,
                     struct err *err)
{
    struct str got;
    size_t want = seg->size - s->offset < STEP ? seg->size - s->offset : STEP;
    if (body_read(body, seg->at + s->offset, want, &s->space, &got, err))
        return -1;
    s->offset = got.n ? s->offset + got.n : seg->size;
    bool last = s->offset == seg->size;
    decode(s, seg, got, last);
    look_at_decoded(s, seg, last);
    return 0;
}

int search_scan_step(struct search_scan *s, struct body_reader *body, struct err *err)
{
    if (s->at < s->n) {
        struct search_segment *seg = &s->list[s->at];
        if (seg->names) {
            look_at_names(s, seg->names);
            s->offset = seg->size;
        } else if (seg->header ? read_header(s, seg, body, err) : read_text(s, seg, body, err)) {
            return -1;
        }
        if (s->offset < seg->size)
            return 1;
        s->at++;
        begin_segment(s);
    }
    if (s->at < s->n)
        return 1;
    for (size_t i = 0; i < s->program->n_needles; i++)
        if (s->hits[i] == SEARCH_UNKNOWN)
            s->hits[i] = SEARCH_NO;
    return 0;
}
