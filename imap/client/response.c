/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* response.c - where a response ends, and of which kind it is. */
#include "imap/client/response.h"
#include "appliance/base/mem.h"

void imap_response_init(struct imap_response_reader *r)
{
    *r = (struct imap_response_reader){.state = READ_LINE};
    buf_init(&r->text, IMAP_RESPONSE_MAX);
}

void imap_response_fini(struct imap_response_reader *r)
{
    buf_fini(&r->text);
}

/* ---- Of which kind. */

static enum imap_status status_of(struct str word)
{
    static const struct {
        const char *word;
        enum imap_status status;
    } words[] = {{"OK", IMAP_STATUS_OK},
                 {"NO", IMAP_STATUS_NO},
                 {"BAD", IMAP_STATUS_BAD},
                 {"BYE", IMAP_STATUS_BYE},
                 {"PREAUTH", IMAP_STATUS_PREAUTH}};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_ieq(word, str_from(words[i].word)))
            return words[i].status;
    return IMAP_STATUS_NONE;
}

static struct str skip_blanks(struct str s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t'))
        s = str_skip(s, 1);
    return s;
}

static struct str take_word(struct str *s)
{
    struct str word;

    *s = skip_blanks(*s);
    str_cut(*s, ' ', &word, s);
    return word;
}

/* "[CODE arguments] text" */
static void split_status(struct imap_response *r, struct str s)
{
    size_t end;

    s = skip_blanks(s);
    if (s.n && *s.p == '[' && str_chr(s, ']', &end)) {
        struct str inner = str_skip(str_take(s, end), 1);
        r->code = take_word(&inner);
        r->arguments = inner;
        s = skip_blanks(str_skip(s, end + 1));
    }
    r->text = s;
}

/* False: no response at all. */
static bool classify(struct imap_response *r, struct str s)
{
    struct str word, rest = s;
    uint64_t number;

    *r = (struct imap_response){.kind = IMAP_RESPONSE_DATA};
    if (s.p[0] == '+') {
        r->kind = IMAP_RESPONSE_CONTINUE;
        r->text = skip_blanks(str_skip(s, 1));
        return true;
    }
    word = take_word(&rest);
    if (!str_eq(word, STR("*"))) {
        r->kind = IMAP_RESPONSE_TAGGED;
        r->tag = word;
        r->status = status_of(take_word(&rest));
        split_status(r, rest);
        return r->status == IMAP_STATUS_OK || r->status == IMAP_STATUS_NO ||
               r->status == IMAP_STATUS_BAD;
    }
    word = take_word(&rest);
    r->status = status_of(word);
    if (r->status != IMAP_STATUS_NONE) {
        r->kind = IMAP_RESPONSE_STATUS;
        split_status(r, rest);
        return true;
    }
    if (str_to_u64(word, UINT32_MAX, &number) == 0) {
        r->number = number;
        word = take_word(&rest);
    }
    r->name = word;
    r->rest = rest;
    return true;
}

/* ---- Literals. */

/* The line ends in "{n}", "{n+}" or "~{n}": *head_out is what is before. */
static bool announces(struct str line, struct str *head_out, uint64_t *n_out)
{
    struct str digits;
    size_t open;

    if (!str_ends(line, STR("}")) || !str_rchr(line, '{', &open))
        return false;
    digits = str_skip(str_take(line, line.n - 1), open + 1);
    if (str_ends(digits, STR("+")))
        digits.n--;
    if (str_to_u64(digits, INT64_MAX, n_out) != 0)
        return false;
    *head_out = str_take(line, open);
    if (str_ends(*head_out, STR("~")))
        head_out->n--;
    return true;
}

/* "BODY[] ", "BODY[]<0> ", "RFC822 " */
static bool is_message(const struct imap_response *r, struct str head)
{
    size_t open;

    if (!str_ieq(r->name, STR("FETCH")))
        return false;
    head = str_trim(head);
    if (str_ends(head, STR(">")) && str_rchr(head, '<', &open))
        head = str_take(head, open);
    return str_iends(head, STR(" BODY[]")) || str_iends(head, STR("(BODY[]")) ||
           str_iends(head, STR(" RFC822")) || str_iends(head, STR("(RFC822"));
}

static enum imap_response_got bad(struct imap_response_reader *r, const char *why)
{
    r->state = READ_BAD;
    r->bad = why;
    return IMAP_GOT_BAD;
}

static enum imap_response_got literal(struct imap_response_reader *r, struct str head, uint64_t n)
{
    r->left = n;
    if (is_message(&r->response, head)) {
        buf_truncate(&r->text, head.n);
        (void)classify(&r->response, buf_str(&r->text));
        r->size = n;
        r->state = READ_MESSAGE;
        return IMAP_GOT_TEXT;
    }
    if (n > IMAP_RESPONSE_LITERAL)
        return bad(r, "a literal that is too long where no message was asked for");
    /* As its own announcement says, in one form. */
    buf_truncate(&r->text, head.n);
    buf_printf(&r->text, "{%llu}\r\n", (unsigned long long)n);
    r->state = n ? READ_LITERAL : READ_LINE;
    r->part = r->text.n;
    return IMAP_GOT_NOTHING;
}

/* A line is whole. */
static enum imap_response_got line_end(struct imap_response_reader *r)
{
    struct str all, head;
    uint64_t n;

    buf_truncate(&r->text, r->text.n - 1);
    if (r->text.n > r->part && r->text.p[r->text.n - 1] == '\r')
        buf_truncate(&r->text, r->text.n - 1);
    all = buf_str(&r->text);
    if (all.n == 0)
        return IMAP_GOT_NOTHING;
    if (!classify(&r->response, all))
        return bad(r, "something that is no response");
    if (r->response.kind == IMAP_RESPONSE_DATA && announces(str_skip(all, r->part), &head, &n))
        return literal(r, str_take(all, r->part + head.n), n);
    r->told = true;
    return IMAP_GOT_WHOLE;
}

/* ---- Reading. */

static enum imap_response_got take_line(struct imap_response_reader *r, struct str in,
                                        size_t *used_out)
{
    size_t at;
    bool whole = str_chr(in, '\n', &at);

    if (r->told) {
        buf_clear(&r->text);
        r->part = 0;
        r->told = false;
    }
    *used_out = whole ? at + 1 : in.n;
    if (buf_add(&r->text, in.p, *used_out) != 0)
        return bad(r, "a response that is too long");
    return whole ? line_end(r) : IMAP_GOT_NOTHING;
}

static enum imap_response_got take_literal(struct imap_response_reader *r, struct str in,
                                           size_t *used_out)
{
    struct str piece = str_take(in, r->left < in.n ? (size_t)r->left : in.n);

    *used_out = piece.n;
    r->left -= piece.n;
    if (buf_add_str(&r->text, piece) != 0)
        return bad(r, "a response that is too long");
    if (r->left == 0) {
        r->state = READ_LINE;
        r->part = r->text.n;
    }
    return IMAP_GOT_NOTHING;
}

static enum imap_response_got take_message(struct imap_response_reader *r, struct str in,
                                           size_t *used_out)
{
    *used_out = 0;
    if (r->left == 0) { /* in its place, the rest of the response */
        buf_add_z(&r->text, "\"\"");
        r->state = READ_LINE;
        r->part = r->text.n;
        return IMAP_GOT_END;
    }
    r->piece = str_take(in, r->left < in.n ? (size_t)r->left : in.n);
    *used_out = r->piece.n;
    r->left -= r->piece.n;
    return r->piece.n ? IMAP_GOT_PIECE : IMAP_GOT_NOTHING;
}

enum imap_response_got imap_response_take(struct imap_response_reader *r, struct str in,
                                          size_t *used_out)
{
    enum imap_response_got got = IMAP_GOT_NOTHING;
    size_t used;

    *used_out = 0;
    do {
        struct str rest = str_skip(in, *used_out);
        used = 0;
        if (r->state == READ_BAD)
            return IMAP_GOT_BAD;
        if (r->state == READ_MESSAGE)
            got = take_message(r, rest, &used);
        else if (rest.n)
            got =
                r->state == READ_LITERAL ? take_literal(r, rest, &used) : take_line(r, rest, &used);
        *used_out += used;
    } while (got == IMAP_GOT_NOTHING && used);
    return got;
}
