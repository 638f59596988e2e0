/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/cursor.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"

enum {
    KEYWORD_MAX = 255,       /* bytes of one keyword */
    MAILBOX_NAME_MAX = 8192, /* encoded; the store's own limit is lower */
};

/* RFC 3501 9: what an atom may not hold, apart from CTL and 8-bit bytes. '%' and '*' are let
 * through by list-char, ']' by list-char and astring-char. */
static bool is_plain(char ch)
{
    return (unsigned char)ch > ' ' && (unsigned char)ch < 0x7f && !strchr("(){%*\"\\]", ch);
}

static bool is_astring_char(char ch)
{
    return is_plain(ch) || ch == ']';
}

static bool is_list_char(char ch)
{
    return is_astring_char(ch) || ch == '%' || ch == '*';
}

bool imap_at_end(const struct imap_cursor *c)
{
    return c->rest.n == 0;
}

bool imap_peek(const struct imap_cursor *c, char ch)
{
    return c->rest.n && c->rest.p[0] == ch;
}

int imap_take(struct imap_cursor *c, char ch)
{
    if (!imap_peek(c, ch))
        return -1;
    c->rest = str_skip(c->rest, 1);
    return 0;
}

int imap_space(struct imap_cursor *c)
{
    return imap_take(c, ' ');
}

int imap_word(struct imap_cursor *c, const char *word)
{
    struct str w = str_from(word);
    if (!str_istarts(c->rest, w))
        return -1;
    /* '[' is an atom byte, but it opens a section: BODY[...] is the word BODY. */
    if (c->rest.n > w.n && is_plain(c->rest.p[w.n]) && c->rest.p[w.n] != '[')
        return -1;
    c->rest = str_skip(c->rest, w.n);
    return 0;
}

static int take_run(struct imap_cursor *c, bool (*is)(char), struct str *out)
{
    size_t n = 0;
    while (n < c->rest.n && is(c->rest.p[n]))
        n++;
    if (!n)
        return -1;
    *out = str_take(c->rest, n);
    c->rest = str_skip(c->rest, n);
    return 0;
}

int imap_atom(struct imap_cursor *c, struct str *out)
{
    return take_run(c, is_plain, out);
}

static struct str unescape(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        p[n++] = s.p[i];
    }
    return str_of(p, n);
}

/* 8-bit bytes are accepted in quoted strings: several clients send UTF-8 that way. */
static int quoted(struct imap_cursor *c, struct str *out)
{
    bool escaped = false;
    size_t i = 1;
    for (;; i++) {
        if (i >= c->rest.n)
            return -1;
        char ch = c->rest.p[i];
        if (ch == '"')
            break;
        if (ch == '\r' || ch == '\n' || ch == '\0')
            return -1;
        if (ch == '\\') {
            i++;
            if (i >= c->rest.n || (c->rest.p[i] != '"' && c->rest.p[i] != '\\'))
                return -1;
            escaped = true;
        }
    }
    struct str inner = {c->rest.p + 1, i - 1};
    *out = escaped ? unescape(c->arena, inner) : inner;
    c->rest = str_skip(c->rest, i + 1);
    return 0;
}

static int literal(struct imap_cursor *c, struct str *out)
{
    struct str head, data;
    uint64_t n;
    if (!str_cut(str_skip(c->rest, 1), '}', &head, &data))
        return -1;
    if (head.n && head.p[head.n - 1] == '+') /* RFC 7888 */
        head.n--;
    if (str_to_u64(head, c->rest.n, &n) || !str_starts(data, STR("\r\n")))
        return -1;
    data = str_skip(data, 2);
    if (data.n < n)
        return -1;
    struct str s = str_take(data, n);
    if (s.n && memchr(s.p, '\0', s.n)) /* RFC 3501 9: CHAR8 excludes NUL */
        return -1;
    *out = s;
    c->rest = str_skip(data, n);
    return 0;
}

int imap_string(struct imap_cursor *c, struct str *out)
{
    if (imap_peek(c, '"'))
        return quoted(c, out);
    if (imap_peek(c, '{'))
        return literal(c, out);
    return -1;
}

int imap_nstring(struct imap_cursor *c, struct str *out)
{
    if (imap_word(c, "NIL") == 0) {
        *out = STR_NULL;
        return 0;
    }
    return imap_string(c, out);
}

int imap_astring(struct imap_cursor *c, struct str *out)
{
    return imap_string(c, out) == 0 ? 0 : take_run(c, is_astring_char, out);
}

int imap_list_mailbox(struct imap_cursor *c, struct str *out)
{
    return imap_string(c, out) == 0 ? 0 : take_run(c, is_list_char, out);
}

int imap_number(struct imap_cursor *c, uint64_t max, uint64_t *out)
{
    size_t n = 0;
    while (n < c->rest.n && c->rest.p[n] >= '0' && c->rest.p[n] <= '9')
        n++;
    if (str_to_u64(str_take(c->rest, n), max, out))
        return -1;
    c->rest = str_skip(c->rest, n);
    return 0;
}

struct flag_list {
    uint64_t system;
    struct str *keywords;
    size_t n, cap;
};

static int system_flag(struct imap_cursor *c, uint64_t *system)
{
    static const struct {
        const char *name;
        uint64_t flag;
    } known[] = {
        {"Seen", MESSAGE_SEEN},   {"Answered", MESSAGE_ANSWERED}, {"Flagged", MESSAGE_FLAGGED},
        {"Draft", MESSAGE_DRAFT}, {"Deleted", MESSAGE_DELETED},   {"Recent", 0},
    }; /* \Recent is the server's own: clients that send it back are not refused, it just does
          nothing */
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (imap_word(c, known[i].name) == 0) {
            *system |= known[i].flag;
            return 0;
        }
    return -1;
}

static int one_flag(struct imap_cursor *c, struct flag_list *l)
{
    struct str name;
    if (imap_take(c, '\\') == 0)
        return system_flag(c, &l->system);
    if (imap_atom(c, &name) || name.n > KEYWORD_MAX)
        return -1;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        struct str *more = ARENA_ARRAY(c->arena, struct str, cap);
        if (l->n)
            memcpy(more, l->keywords, l->n * sizeof *more);
        l->keywords = more;
        l->cap = cap;
    }
    l->keywords[l->n++] = name;
    return 0;
}

static int flags_until(struct imap_cursor *c, bool parens, struct flag_list *l)
{
    if (parens && imap_take(c, ')') == 0)
        return 0;
    do {
        if (one_flag(c, l))
            return -1;
    } while (imap_space(c) == 0);
    return parens ? imap_take(c, ')') : 0;
}

int imap_flag_list(struct imap_cursor *c, bool parens_optional, uint64_t *system_out,
                   struct str **keywords_out, size_t *n_out)
{
    struct imap_cursor t = *c;
    struct flag_list l = {0};
    bool parens = imap_take(&t, '(') == 0;
    if (!parens && !parens_optional)
        return -1;
    if (flags_until(&t, parens, &l))
        return -1;
    *c = t;
    *system_out = l.system;
    *keywords_out = l.keywords;
    *n_out = l.n;
    return 0;
}

int imap_date_time(struct imap_cursor *c, struct date *out)
{
    struct imap_cursor t = *c;
    struct str s;
    if (!imap_peek(c, '"') || quoted(&t, &s) || date_imap_parse(s, out))
        return -1;
    *c = t;
    return 0;
}

int imap_date(struct imap_cursor *c, int64_t *day_out)
{
    struct imap_cursor t = *c;
    struct str s;
    if (imap_peek(c, '"') ? quoted(&t, &s) : imap_atom(&t, &s))
        return -1;
    if (date_imap_day_parse(s, day_out))
        return -1;
    *c = t;
    return 0;
}

/* "inbox" names INBOX (RFC 3501 5.1), "inbox/x" a child of it. */
static struct str canonical(struct arena *a, struct buf *name)
{
    struct str s = buf_str(name);
    char *p = arena_alloc(a, s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    if (str_istarts(s, STR("INBOX")) && (s.n == 5 || s.p[5] == '/'))
        memcpy(p, "INBOX", 5);
    return str_of(p, s.n);
}

int imap_mailbox(struct imap_cursor *c, struct str *out)
{
    struct imap_cursor t = *c;
    struct str s;
    if (imap_astring(&t, &s) || s.n > MAILBOX_NAME_MAX)
        return -1;
    struct buf name;
    buf_init(&name, MAILBOX_NAME_MAX * 2);
    int failed = text_utf7_decode(s, &name);
    if (!failed) {
        *out = canonical(c->arena, &name);
        *c = t;
    }
    buf_fini(&name);
    return failed;
}
