/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/mail/mime_meta.h"

enum {
    MAX_BOUNDARY = 250, /* RFC 2046 5.1.1 allows 70; the rest of a longer one isn't compared */
    MAX_HOLD = MAX_BOUNDARY + 4,
    MAX_HEAD = 64 * 1024
};

/* How much of the line at hand was seen. */
enum line_state {
    LINE_START, /* nothing, or the `held` bytes of what may be a boundary line */
    LINE_REST,  /* it is no boundary line */
    LINE_CLOSE, /* it is a boundary line; what follows the boundary isn't looked at */
    LINE_OPEN   /* the same, and a part begins after it */
};

struct node {
    uint64_t head_at, head_size, body_at, body_size;
    uint64_t lines; /* while it is open: those before its body */
    size_t fields_at, fields_n, envelope_at, envelope_n; /* in kept */
    unsigned depth;
    bool digest, message;
};

struct level {
    size_t node;
    char *boundary; /* of a multipart whose end was not seen; else NULL */
    size_t n;
};

struct mime_scan {
    struct arena *arena; /* for one head at a time */
    struct buf kept;     /* encoded fields and envelopes */
    size_t budget;
    struct node *nodes;
    size_t count, cap;
    struct level levels[MIME_MAX_DEPTH];
    unsigned depth;   /* levels open */
    unsigned watched; /* boundaries among them */
    size_t longest;   /* no watched boundary is longer */
    bool in_head;     /* the innermost part's head is being read */
    struct buf head;

    uint64_t at; /* of the piece at hand */
    const char *piece;
    char last; /* byte before the piece */
    uint64_t line_at, lines;
    unsigned eol; /* size of the line end before line_at */
    enum line_state line;
    size_t held;
    char hold[MAX_HOLD];
};

static struct node *top(struct mime_scan *s)
{
    return &s->nodes[s->levels[s->depth - 1].node];
}

static void part_push(struct mime_scan *s, uint64_t at)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4;
        s->nodes = mem_realloc(s->nodes, s->cap * sizeof *s->nodes);
    }
    s->nodes[s->count] = (struct node){.head_at = at, .depth = s->depth};
    s->levels[s->depth++] = (struct level){.node = s->count++};
    s->in_head = true;
    buf_clear(&s->head);
}

static void boundary_forget(struct mime_scan *s, struct level *l)
{
    if (l->boundary)
        s->watched--;
    mem_free(l->boundary);
    l->boundary = NULL;
}

static void boundary_watch(struct mime_scan *s, struct level *l, const struct mime_part *p)
{
    struct str b;
    if (s->depth == MIME_MAX_DEPTH || !header_param_get(&p->params, STR("boundary"), &b))
        return;
    while (b.n > 0 &&
           (b.p[b.n - 1] == ' ' || b.p[b.n - 1] == '\t')) /* RFC 2046: can't be its end */
        b.n--;
    b = str_take(b, MAX_BOUNDARY);
    if (b.n == 0)
        return;
    l->boundary = mem_dup(b.p, b.n);
    l->n = b.n;
    s->watched++;
    if (b.n > s->longest)
        s->longest = b.n;
}

/* RFC 2046 5.2.1: no encoding is allowed but identity; a message that has one can't be looked into.
 */
static bool is_open_message(const struct mime_part *p)
{
    return mime_is_message(p) &&
           (!p->encoding.p || str_ieq(p->encoding, STR("7bit")) ||
            str_ieq(p->encoding, STR("8bit")) || str_ieq(p->encoding, STR("binary")));
}

/* The head of the innermost part is complete: keeps what it says. True: a message begins inside it.
 */
static bool head_done(struct mime_scan *s, struct str head)
{
    struct level *l = &s->levels[s->depth - 1], *up = s->depth > 1 ? l - 1 : NULL;
    struct node *n = top(s);
    struct mime_part p = {.id = STR_NULL};
    struct mime_meta_writer w = {&s->kept, &s->budget};
    mime_head_parse(s->arena, head, up && s->nodes[up->node].digest, &p);
    n->fields_at = s->kept.n;
    mime_meta_fields(w, &p);
    n->fields_n = s->kept.n - n->fields_at;
    if (up && s->nodes[up->node].message) {
        n->envelope_at = s->kept.n;
        mime_meta_envelope(w, mime_envelope_parse(s->arena, head));
        n->envelope_n = s->kept.n - n->envelope_at;
    }
    s->in_head = false;
    if (mime_is_multipart(&p)) {
        n->digest = str_ieq(p.subtype, STR("digest"));
        boundary_watch(s, l, &p);
    }
    n->message = is_open_message(&p) && s->depth < MIME_MAX_DEPTH && s->count < MIME_MAX_PARTS;
    arena_clear(s->arena);
    return n->message;
}

static void head_end(struct mime_scan *s, uint64_t body_at)
{
    struct node *n = top(s);
    n->head_size = body_at - n->head_at;
    n->body_at = body_at;
    n->lines = s->lines;
    if (head_done(s, buf_str(&s->head)))
        part_push(s, body_at);
}

/* Closes the levels above `keep`; their bodies end at `end`, before which there are `lines` line
 * ends. */
static void parts_end(struct mime_scan *s, unsigned keep, uint64_t end, uint64_t lines)
{
    for (; s->depth > keep; s->depth--) {
        struct node *n = top(s);
        if (s->in_head) { /* a head without the empty line at its end */
            n->head_size = end - n->head_at;
            n->body_at = end;
            n->lines = lines;
            head_done(s, buf_str(&s->head));
        }
        n->body_size = end - n->body_at;
        n->lines = lines - n->lines;
        boundary_forget(s, &s->levels[s->depth - 1]);
    }
}

/* A line begins with a boundary of level i. The line end before it belongs to the boundary (RFC
 * 2046 5.1.1), unless it is that of the innermost part's head. */
static void on_boundary(struct mime_scan *s, unsigned i, bool closing)
{
    struct node *n = top(s);
    unsigned eol = s->line_at == (s->in_head ? n->head_at : n->body_at) ? 0 : s->eol;
    parts_end(s, i + 1, s->line_at - eol, s->lines - (eol > 0));
    if (closing)
        boundary_forget(s, &s->levels[i]);
    s->line = closing || s->count == MIME_MAX_PARTS ? LINE_CLOSE : LINE_OPEN;
}

/* RFC 2046 5.1.1: a line that begins with "--" and the boundary is a delimiter, whatever follows.
 * Of two that fit (one begins with the other) the longer is meant; of equal ones the inner. */
static bool boundary_check(struct mime_scan *s, struct str line)
{
    struct level *best = NULL;
    if (line.n < 2 || line.p[0] != '-' || line.p[1] != '-')
        return false;
    struct str rest = str_skip(line, 2);
    for (unsigned i = s->depth; i-- > 0;) {
        struct level *l = &s->levels[i];
        if (l->boundary && (!best || l->n > best->n) && rest.n >= l->n &&
            !memcmp(rest.p, l->boundary, l->n))
            best = l;
    }
    if (!best)
        return false;
    on_boundary(s, (unsigned)(best - s->levels), str_starts(str_skip(rest, best->n), STR("--")));
    return true;
}

static void head_add(struct mime_scan *s, const char *p, size_t n)
{
    size_t room = MAX_HEAD - s->head.n;
    if (s->in_head)
        buf_add(&s->head, p, n < room ? n : room);
}

/* Sees whether the line that begins at p is a boundary line. Returns where to go on. */
static const char *line_start(struct mime_scan *s, const char *p, const char *e)
{
    if (s->held == 0 && p[0] != '-') {
        s->line = LINE_REST;
        return p;
    }
    size_t need = s->longest + 4 - s->held, have = (size_t)(e - p) < need ? (size_t)(e - p) : need;
    const char *lf = memchr(p, '\n', have);
    if (lf)
        have = (size_t)(lf - p);
    if (s->held == 0 && (lf || have == need)) {
        s->line = LINE_REST;
        boundary_check(s, str_of(p, have));
        return p;
    }
    memcpy(s->hold + s->held, p, have);
    s->held += have;
    if (!lf && have < need)
        return e;
    struct str line = str_of(s->hold, s->held);
    s->held = 0;
    s->line = LINE_REST;
    if (!boundary_check(s, line))
        head_add(s, line.p, line.n);
    return p + have;
}

/* After the line end at lf. */
static void line_end(struct mime_scan *s, const char *lf)
{
    enum line_state was = s->line;
    uint64_t from = s->line_at, to = s->at + (uint64_t)(lf - s->piece);
    char before = lf > s->piece ? lf[-1] : s->last;
    s->eol = before == '\r' && to > from ? 2 : 1;
    s->lines++;
    s->line_at = to + 1;
    s->line = LINE_START;
    if (was == LINE_OPEN)
        part_push(s, s->line_at);
    else if (s->in_head && to + 1 - from == s->eol)
        head_end(s, s->line_at);
}

/* The lines of a body up to one that may be a boundary: the inner loop. */
static const char *body_lines(struct mime_scan *s, const char *p, const char *e)
{
    const char *lf;
    uint64_t lines = 0;
    while ((lf = memchr(p, '\n', (size_t)(e - p)))) {
        p = lf + 1;
        if (p == e || *p == '-')
            break;
        lines++;
    }
    s->lines += lines;
    if (!lf)
        return e;
    line_end(s, lf);
    return p;
}

static void lines_count(struct mime_scan *s, const char *p, const char *e)
{
    while ((p = memchr(p, '\n', (size_t)(e - p)))) {
        s->lines++;
        p++;
    }
}

void mime_scan_feed(struct mime_scan *s, struct str data)
{
    const char *p = data.p, *e = data.p + data.n;
    if (data.n == 0)
        return;
    s->piece = data.p;
    while (p < e) {
        if (s->watched == 0 && !s->in_head) { /* nothing can begin or end any more */
            lines_count(s, p, e);
            break;
        }
        if (s->line == LINE_START && s->watched > 0) {
            p = line_start(s, p, e);
            continue;
        }
        if (s->line <= LINE_REST && !s->in_head) {
            p = body_lines(s, p, e);
            continue;
        }
        const char *lf = memchr(p, '\n', (size_t)(e - p));
        const char *to = lf ? lf + 1 : e;
        if (s->line <= LINE_REST) {
            head_add(s, p, (size_t)(to - p));
            s->line = LINE_REST;
        }
        if (lf)
            line_end(s, lf);
        p = to;
    }
    s->at += data.n;
    s->last = e[-1];
}

struct mime_scan *mime_scan_new(struct str head)
{
    struct mime_scan *s = MEM_NEW(struct mime_scan);
    s->arena = arena_new(0);
    s->budget = MIME_PARTS_BUDGET;
    buf_init(&s->kept, MIME_META_MAX);
    buf_init(&s->head, MAX_HEAD);
    part_push(s, 0);
    if (head_done(s, head))
        part_push(s, 0);
    return s;
}

size_t mime_scan_memory(const struct mime_scan *s)
{
    return sizeof *s + s->kept.cap + s->head.cap + s->cap * sizeof *s->nodes;
}

void mime_scan_free(struct mime_scan **sp)
{
    struct mime_scan *s = *sp;
    if (!s)
        return;
    while (s->depth > 0)
        boundary_forget(s, &s->levels[--s->depth]);
    arena_free(&s->arena);
    buf_fini(&s->kept);
    buf_fini(&s->head);
    mem_free(s->nodes);
    mem_free(s);
    *sp = NULL;
}

static void node_write(struct mime_scan *s, const struct node *n, uint64_t from,
                       struct str envelope, struct buf *out)
{
    mime_meta_number(out, n->depth);
    if (n->depth > 0) {
        mime_meta_number(out, n->head_at - from);
        mime_meta_number(out, n->head_size);
    }
    mime_meta_number(out, n->body_size);
    mime_meta_number(out, n->lines);
    mime_meta_number(out, envelope.n > 0);
    buf_add(out, s->kept.p + n->fields_at, n->fields_n);
    buf_add_str(out, envelope);
}

int mime_scan_end(struct mime_scan **sp, struct str head, struct buf *meta_out)
{
    struct mime_scan *s = *sp;
    uint64_t next_at[MIME_MAX_DEPTH + 1] = {0}; /* where a child of the level may begin */
    size_t budget = MIME_ROOT_BUDGET, envelope_at = s->kept.n;
    if (s->held > 0 && !boundary_check(s, str_of(s->hold, s->held)))
        head_add(s, s->hold, s->held);
    parts_end(s, 0, s->at, s->lines);
    envelope_at = s->kept.n;
    mime_meta_envelope((struct mime_meta_writer){&s->kept, &budget},
                       mime_envelope_parse(s->arena, head));
    s->nodes[0].envelope_at = envelope_at;
    s->nodes[0].envelope_n = s->kept.n - envelope_at;
    mime_meta_number(meta_out, MIME_META_VERSION);
    mime_meta_number(meta_out, s->count);
    for (size_t i = 0; i < s->count; i++) {
        const struct node *n = &s->nodes[i];
        node_write(s, n, next_at[n->depth], str_of(s->kept.p + n->envelope_at, n->envelope_n),
                   meta_out);
        next_at[n->depth + 1] = n->body_at;
        next_at[n->depth] = n->body_at + n->body_size;
    }
    mime_scan_free(sp);
    return buf_ok(meta_out) ? 0 : -1;
}
