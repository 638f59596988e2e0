/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/client/reply.h"

#include "appliance/base/text.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

void smtp_printable(struct str in, struct buf *out)
{
    while (in.n) {
        uint32_t cp;
        unsigned n = text_utf8_next(in, &cp);
        bool good = n > 0 && cp >= ' ' && (cp < 0x7f || cp > 0x9f);
        if (good)
            buf_add(out, in.p, n);
        else
            buf_add_char(out, '?');
        in = str_skip(in, n ? n : 1);
    }
}

void smtp_text_copy(char *out, size_t cap, struct str in)
{
    size_t n = in.n < cap ? in.n : cap - 1;
    /* RFC 3629 3: octets that go on a character are 10xxxxxx. */
    while (n < in.n && n > 0 && ((unsigned char)in.p[n] & 0xc0) == 0x80)
        n--;
    if (n)
        memcpy(out, in.p, n);
    out[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if (out[i] == '\n')
            out[i] = ' ';
}

static size_t digits_at(struct str s)
{
    size_t n = 0;
    while (n < s.n && n < 3 && is_digit(s.p[n]))
        n++;
    return n;
}

size_t smtp_status_at(struct str s, unsigned class)
{
    size_t subject, detail;
    if ((class != 2 && class != 4 && class != 5) || s.n < 5 || s.p[0] != (char)('0' + class) ||
        s.p[1] != '.')
        return 0;
    subject = digits_at(str_skip(s, 2));
    if (subject == 0 || s.n < 4 + subject || s.p[2 + subject] != '.')
        return 0;
    detail = digits_at(str_skip(s, 3 + subject));
    size_t n = 3 + subject + detail;
    return detail == 0 || (n < s.n && s.p[n] != ' ') ? 0 : n;
}

void smtp_answer_init(struct smtp_answer *a)
{
    *a = (struct smtp_answer){0};
    buf_init(&a->text, SMTP_ANSWER_TEXT);
}

void smtp_answer_fini(struct smtp_answer *a)
{
    buf_fini(&a->text);
}

void smtp_answer_reset(struct smtp_answer *a)
{
    buf_clear(&a->text);
    a->code = a->lines = 0;
    a->status[0] = '\0';
    a->bad = NULL;
    a->over = false;
    a->n = a->total = 0;
}

static enum smtp_answer_got fail(struct smtp_answer *a, const char *why)
{
    a->bad = why;
    return SMTP_ANSWER_BAD;
}

static void keep_text(struct smtp_answer *a, struct str text)
{
    size_t n = smtp_status_at(text, a->code / 100);
    if (n && !a->status[0]) {
        memcpy(a->status, text.p, n);
        a->status[n] = '\0';
    }
    text = str_skip(text, n && n < text.n ? n + 1 : n);
    if (a->text.n + text.n + 1 > SMTP_ANSWER_TEXT)
        return; /* one octet of ours for each of theirs at most */
    if (a->lines > 1)
        buf_add_char(&a->text, '\n');
    smtp_printable(text, &a->text);
}

static enum smtp_answer_got end_line(struct smtp_answer *a)
{
    struct str s = str_of(a->line, a->n);
    bool last;
    if (a->n == a->total && s.n && s.p[s.n - 1] == '\r')
        s.n--;
    a->n = a->total = 0;
    if (s.n < 3 || s.p[0] < '2' || s.p[0] > '5' || !is_digit(s.p[1]) || !is_digit(s.p[2]))
        return fail(a, "a line that doesn't begin with a reply code");
    last = s.n == 3 || s.p[3] == ' ';
    if (!last && s.p[3] != '-')
        return fail(a, "a reply code with something else than a blank behind it");
    unsigned code =
        (unsigned)(s.p[0] - '0') * 100 + (unsigned)(s.p[1] - '0') * 10 + (unsigned)(s.p[2] - '0');
    /* RFC 5321 4.2.1: the code is the same on each line. */
    if (a->lines > 0 && code != a->code)
        return fail(a, "a reply whose lines have different codes");
    a->code = code;
    if (++a->lines > SMTP_ANSWER_LINES)
        return fail(a, "a reply of too many lines");
    keep_text(a, str_skip(s, 4));
    return last ? SMTP_ANSWER_WHOLE : SMTP_ANSWER_MORE;
}

enum smtp_answer_got smtp_answer_take(struct smtp_answer *a, struct str in, size_t *used_out)
{
    size_t used = 0;
    enum smtp_answer_got got = SMTP_ANSWER_MORE;
    *used_out = 0;
    if (a->bad)
        return SMTP_ANSWER_BAD;
    if (a->over)
        smtp_answer_reset(a);
    while (got == SMTP_ANSWER_MORE && used < in.n) {
        char c = in.p[used++];
        if (c == '\n') {
            got = end_line(a);
        } else if (a->total >= SMTP_ANSWER_LINE_MAX) {
            got = fail(a, "a line without an end");
        } else {
            a->total++;
            if (a->n < sizeof a->line)
                a->line[a->n++] = c;
        }
    }
    a->over = got == SMTP_ANSWER_WHOLE;
    *used_out = used;
    return got;
}
