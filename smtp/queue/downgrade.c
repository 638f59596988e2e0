/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* downgrade.c - walks the MIME tree and copies it, encoding the leaves that need it. */
#include "smtp/queue/downgrade.h"
#include "appliance/base/text.h"
#include "appliance/mail/mime.h"

enum { LINE_MAX_7BIT = 998, QP_LINE = 76, B64_LINE_OCTETS = 57 };

struct work {
    struct str data;
    struct buf *out;
    struct err *err;
};

/* ---- Encodings (RFC 2045 6.7, 6.8). */

struct qp {
    struct buf *out;
    size_t column;
};

/* A soft break takes a column; where the line ends by itself it isn't needed. */
static bool qp_full(const struct qp *q, size_t n, bool line_ends)
{
    return q->column + n > (size_t)(line_ends ? QP_LINE : QP_LINE - 1);
}

static void qp_put(struct qp *q, const char *token, size_t n, bool line_ends)
{
    if (qp_full(q, n, line_ends)) {
        buf_add_z(q->out, "=\r\n");
        q->column = 0;
    }
    buf_add(q->out, token, n);
    q->column += n;
}

/* No line begins with "--" that didn't: a soft break, or what "=" makes of an octet behind it,
 * could make a delimiter of what was text. */
static bool qp_plain(const struct qp *q, struct str s, bool line_ends)
{
    unsigned char c = (unsigned char)s.p[0];

    if (c == ' ' || c == '\t')
        return !line_ends;
    if (str_starts(s, STR("--")) && (q->column == 0 || qp_full(q, 1, line_ends)))
        return false;
    return c > 32 && c < 127 && c != '=';
}

/* s begins with the octet. */
static void qp_octet(struct qp *q, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";
    unsigned char c = (unsigned char)s.p[0];
    const char coded[3] = {'=', hex[c >> 4], hex[c & 15]};
    bool line_ends = s.n == 1 || str_starts(str_skip(s, 1), STR("\r\n"));

    if (qp_plain(q, s, line_ends))
        qp_put(q, s.p, 1, line_ends);
    else
        qp_put(q, coded, 3, line_ends);
}

static void put_qp(struct str in, struct buf *out)
{
    struct qp q = {.out = out};

    while (in.n) {
        if (str_starts(in, STR("\r\n"))) {
            buf_add_z(out, "\r\n");
            q.column = 0;
            in = str_skip(in, 2);
        } else {
            qp_octet(&q, in);
            in = str_skip(in, 1);
        }
    }
}

static void put_base64(struct str in, struct buf *out)
{
    while (in.n) {
        struct str line = str_take(in, B64_LINE_OCTETS);
        text_base64_encode(line, out);
        in = str_skip(in, line.n);
        if (in.n)
            buf_add_z(out, "\r\n");
    }
}

static bool lines_fit(struct str s)
{
    size_t at;

    while (str_chr(s, '\n', &at)) {
        if (at > LINE_MAX_7BIT + 1)
            return false;
        s = str_skip(s, at + 1);
    }
    return s.n <= LINE_MAX_7BIT;
}

/* ---- Heads. */

/* `encoding` NULL: as it is. */
static int put_head(struct work *w, struct str head, const char *encoding)
{
    struct header_field f;
    struct str rest = head;
    bool said = false;

    if (!text_ascii(head))
        return ERR(w->err, ERR_PERM, "a header field holds octets over 127");
    if (!encoding) {
        buf_add_str(w->out, head);
        return 0;
    }
    while (header_next(&rest, &f)) {
        if (!str_ieq(f.name, STR("Content-Transfer-Encoding"))) {
            buf_add_str(w->out, f.raw);
        } else if (!said) {
            buf_printf(w->out, "Content-Transfer-Encoding: %s\r\n", encoding);
            said = true;
        }
    }
    if (!said)
        buf_printf(w->out, "Content-Transfer-Encoding: %s\r\n", encoding);
    buf_add_z(w->out, "\r\n");
    return 0;
}

static struct str encoding_of(const struct mime_part *p)
{
    return p->encoding.p ? str_trim(p->encoding) : STR("7bit");
}

static bool is_wide(const struct mime_part *p) /* says 8bit or binary */
{
    return str_ieq(encoding_of(p), STR("8bit")) || str_ieq(encoding_of(p), STR("binary"));
}

static bool is_type(const struct mime_part *p, const char *type, const char *subtype)
{
    return str_ieq(p->type, str_from(type)) && (!subtype || str_ieq(p->subtype, str_from(subtype)));
}

static bool is_signed(const struct mime_part *p)
{
    return is_type(p, "multipart", "signed") || is_type(p, "multipart", "encrypted") ||
           is_type(p, "application", "pkcs7-mime") || is_type(p, "application", "x-pkcs7-mime");
}

/* ---- Parts. */

static struct str cut(struct str data, uint64_t at, uint64_t n)
{
    return str_take(str_skip(data, (size_t)at), (size_t)n);
}

/* Preamble, delimiters and epilogue: readers ignore the first and last (RFC 2046 5.1.1), so what
 * isn't ASCII there may go. Of a line that begins as a delimiter does, all that follows goes: put
 * into other characters, it could become one, or another one. */
static void put_between(struct work *w, struct str s)
{
    while (s.n) {
        size_t n;
        struct str line = str_take(s, str_chr(s, '\n', &n) ? n + 1 : s.n);
        struct str text = str_ends(line, STR("\r\n")) ? str_take(line, line.n - 2) : line;
        for (size_t i = 0; i < text.n; i++) {
            if ((unsigned char)text.p[i] < 128)
                buf_add_char(w->out, text.p[i]);
            else if (str_starts(text, STR("--")))
                break;
            else
                buf_add_char(w->out, '?');
        }
        buf_add_str(w->out, str_skip(line, text.n));
        s = str_skip(s, line.n);
    }
}

static int put_leaf(struct work *w, const struct mime_part *p, struct str head, struct str body)
{
    bool seven = text_ascii(body);

    if (seven && (!is_wide(p) || lines_fit(body))) {
        if (put_head(w, head, is_wide(p) ? "7bit" : NULL))
            return -1;
        buf_add_str(w->out, body);
        return 0;
    }
    /* RFC 2045 6.4: composite types have no encoding of their own; and what claims to be encoded
     * but isn't has no meaning that could be kept. */
    if (is_type(p, "multipart", NULL) || is_type(p, "message", NULL))
        return ERR(w->err, ERR_PERM, "a part of type " STR_FMT "/" STR_FMT " can't be encoded",
                   STR_ARG(str_take(p->type, 40)), STR_ARG(str_take(p->subtype, 40)));
    if (!is_wide(p) && !str_ieq(encoding_of(p), STR("7bit")))
        return ERR(w->err, ERR_PERM, "a part has octets over 127 in spite of its encoding");
    bool text = is_type(p, "text", NULL);
    if (put_head(w, head, text ? "quoted-printable" : "base64"))
        return -1;
    if (text)
        put_qp(body, w->out);
    else
        put_base64(body, w->out);
    return 0;
}

static int put_part(struct work *w, const struct mime_part *p, struct str head)
{
    uint64_t at = p->body_at, end = p->body_at + p->body_size;

    if (is_signed(p))
        return ERR(w->err, ERR_PERM, "it is signed or encrypted (" STR_FMT "/" STR_FMT ")",
                   STR_ARG(str_take(p->type, 40)), STR_ARG(str_take(p->subtype, 40)));
    if (!p->child)
        return put_leaf(w, p, head, cut(w->data, p->body_at, p->body_size));
    if (put_head(w, head, is_wide(p) ? "7bit" : NULL))
        return -1;
    /* At most MIME_MAX_DEPTH levels. */
    for (const struct mime_part *c = p->child; c; c = c->next) {
        uint64_t from = c->head_size ? c->head_at : c->body_at;
        if (from > at)
            put_between(w, cut(w->data, at, from - at));
        if (put_part(w, c, cut(w->data, c->head_at, c->head_size)))
            return -1;
        at = c->body_at + c->body_size;
    }
    if (end > at)
        put_between(w, cut(w->data, at, end - at));
    return 0;
}

int downgrade_message(struct str head, struct str data, struct buf *out, struct err *err)
{
    struct work w = {.data = data, .out = out, .err = err};
    struct mime_part *root;
    struct arena *a;
    int rc;

    if (head.n > DOWNGRADE_MAX || data.n > DOWNGRADE_MAX)
        return ERR(err, ERR_PERM, "it is too large to be converted");
    if (header_count(head, STR("DKIM-Signature")))
        return ERR(err, ERR_PERM, "it is signed (DKIM-Signature)");
    if (!header_count(head, STR("MIME-Version")))
        return ERR(err, ERR_PERM, "it has octets over 127 but isn't MIME");
    a = arena_new(0);
    rc = mime_parse(a, head, data, &root);
    if (rc)
        rc = ERR(err, ERR_PERM, "its structure can't be read");
    else
        rc = put_part(&w, root, head);
    uint64_t end = rc ? data.n : root->body_at + root->body_size;
    if (end < data.n)
        put_between(&w, str_skip(data, (size_t)end));
    arena_free(&a);
    if (rc == 0 && !buf_ok(out))
        rc = ERR(err, ERR_PERM, "it is too large to be converted");
    return rc;
}

size_t downgrade_room(size_t head, size_t data)
{
    /* Three octets for one, and a soft break after 25 of them; a line for each part's head. */
    return head * 2 + data * 3 + data / 6 + (size_t)MIME_MAX_PARTS * 64 + 1024;
}
