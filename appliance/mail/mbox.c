/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/mbox.h"
#include "appliance/mail/header.h"
#include <errno.h>

enum { LINE_HEAD = 512, YEAR_MIN = 1970, YEAR_MAX = 9999, DAY_S = 86400 };

/* ---- The From_ line. */

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char days[] = "SunMonTueWedThuFriSat";

static int index_of(struct str word, const char *list)
{
    for (int i = 0; word.n == 3 && list[3 * i]; i++)
        if (str_ieq(word, str_of(list + 3 * i, 3)))
            return i;
    return -1;
}

static bool take_word(struct str *rest, struct str *word)
{
    while (rest->n && (rest->p[0] == ' ' || rest->p[0] == '\t'))
        *rest = str_skip(*rest, 1);
    str_cut(*rest, ' ', word, rest);
    return word->n > 0;
}

static bool take_number(struct str word, uint64_t low, uint64_t high, int64_t *out)
{
    uint64_t v;

    if (str_to_u64(word, high, &v) != 0 || v < low)
        return false;
    *out = (int64_t)v;
    return true;
}

/* "6:29", "06:29:08" */
static bool take_time(struct str word, int64_t *seconds_out)
{
    struct str part, rest = word;
    int64_t h, m, s = 0;

    if (!str_cut(rest, ':', &part, &rest) || !take_number(part, 0, 23, &h))
        return false;
    bool more = str_cut(rest, ':', &part, &rest);
    if (!take_number(part, 0, 59, &m) || (more && !take_number(rest, 0, 60, &s)))
        return false;
    *seconds_out = h * 3600 + m * 60 + s;
    return true;
}

static bool take_zone(struct str word, int *minutes_out)
{
    int64_t v;

    if (str_ieq(word, STR("UTC")) || str_ieq(word, STR("GMT"))) {
        *minutes_out = 0;
        return true;
    }
    if (word.n != 5 || (word.p[0] != '+' && word.p[0] != '-') ||
        !take_number(str_skip(word, 1), 0, 2359, &v))
        return false;
    *minutes_out = (int)(v / 100 * 60 + v % 100) * (word.p[0] == '-' ? -1 : 1);
    return true;
}

/* Days since 1970 of a day in the Gregorian calendar. */
static int64_t days_from(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* After the weekday. The zone may be before the year or behind it, by name or number. */
static bool take_date(struct str rest, struct date *out, bool *has_zone)
{
    int64_t day, seconds, year = 0;
    struct str word;

    *has_zone = false;
    *out = (struct date){0, 0};
    if (!take_word(&rest, &word))
        return false;
    int month = index_of(word, months);
    if (month < 0 || !take_word(&rest, &word) || !take_number(word, 1, 31, &day) ||
        !take_word(&rest, &word) || !take_time(word, &seconds))
        return false;
    for (int n = 0; n < 3 && take_word(&rest, &word); n++) {
        if (year == 0 && take_number(word, YEAR_MIN, YEAR_MAX, &year))
            continue;
        if (!*has_zone && take_zone(word, &out->zone))
            *has_zone = true;
    }
    if (year == 0)
        return false;
    out->at = days_from(year, month + 1, day) * DAY_S + seconds - (int64_t)out->zone * 60;
    return true;
}

bool mbox_from_line(struct str line, struct date *date_out, bool *has_zone_out)
{
    struct str rest = str_trim(line), word;

    if (!str_starts(line, STR("From ")))
        return false;
    rest = str_skip(rest, 4);
    while (take_word(&rest, &word))
        if (index_of(word, days) >= 0 && take_date(rest, date_out, has_zone_out))
            return true;
    return false;
}

bool mbox_must_quote(struct str line)
{
    size_t i = 0;

    while (i < line.n && line.p[i] == '>')
        i++;
    return str_starts(str_skip(line, i), STR("From "));
}

/* ---- Lines of the file. */

struct line {
    uint64_t at, next; /* its first byte; the one after its line feed, or the end of the file */
    char head[LINE_HEAD];
    size_t n; /* of head, without CR LF; a longer line is cut */
    bool empty, ended;
};

void mbox_init(struct mbox *m, ssize_t (*read)(void *ctx, uint64_t at, void *p, size_t n),
               void *ctx)
{
    m->read = read;
    m->ctx = ctx;
    m->at = m->window_at = 0;
    m->window_n = 0;
    buf_init(&m->head, MBOX_HEAD_MAX);
}

void mbox_fini(struct mbox *m)
{
    buf_fini(&m->head);
}

/* What is held of the file from `at` on; empty at its end. */
static int bytes_at(struct mbox *m, uint64_t at, struct str *out, struct err *err)
{
    if (at < m->window_at || at >= m->window_at + m->window_n) {
        ssize_t n = m->read(m->ctx, at, m->window, sizeof m->window);
        if (n < 0)
            return ERR(err, ERR_TEMP, "cannot read it: %s", strerror(errno));
        m->window_at = at;
        m->window_n = (size_t)n;
    }
    *out = str_skip(str_of(m->window, m->window_n), at - m->window_at);
    return 0;
}

/* 1: a line; 0: the end of the file. */
static int line_at(struct mbox *m, uint64_t at, struct line *l, struct err *err)
{
    struct str piece;
    size_t eol;

    *l = (struct line){.at = at, .next = at};
    while (!l->ended) {
        if (bytes_at(m, l->next, &piece, err) != 0)
            return -1;
        if (piece.n == 0)
            break;
        l->ended = str_chr(piece, '\n', &eol);
        if (l->ended)
            piece.n = eol + 1;
        l->next += piece.n;
        piece = str_take(piece, sizeof l->head - l->n);
        memcpy(l->head + l->n, piece.p, piece.n);
        l->n += piece.n;
    }
    if (l->next == at)
        return 0;
    while (l->n && l->n < sizeof l->head &&
           (l->head[l->n - 1] == '\n' || l->head[l->n - 1] == '\r'))
        l->n--;
    l->empty = l->n == 0;
    return 1;
}

static bool is_from(const struct line *l)
{
    struct date date;
    bool zone;

    return mbox_from_line(str_of(l->head, l->n), &date, &zone);
}

/* ---- One message. */

static int keep_bytes(struct mbox *m, uint64_t from, uint64_t to, struct err *err)
{
    struct str piece;

    while (from < to && m->head.n < m->head.max) {
        if (bytes_at(m, from, &piece, err) != 0)
            return -1;
        piece = str_take(piece, to - from);
        piece = str_take(piece, m->head.max - m->head.n);
        if (piece.n == 0)
            break;
        buf_add_str(&m->head, piece);
        from += piece.n;
    }
    return 0;
}

/* The header block: to the empty line, or to the next From_ line when there is none. */
static int read_head(struct mbox *m, struct mbox_message *out, struct err *err)
{
    struct line l;
    int rc;

    buf_clear(&m->head);
    out->body = out->head;
    while ((rc = line_at(m, out->body, &l, err)) == 1) {
        if (is_from(&l)) /* no empty line: the next message */
            break;
        if (keep_bytes(m, l.at, l.next, err) != 0)
            return -1;
        out->body = l.next;
        if (l.empty)
            break;
    }
    out->fields = buf_str(&m->head);
    return rc < 0 ? -1 : 0;
}

/* *ends: a message may end there. */
static int ends_at(struct mbox *m, uint64_t at, bool *ends, struct err *err)
{
    struct line l;
    int rc;

    *ends = false;
    for (int n = 0; n < 2; n++) {
        rc = line_at(m, at, &l, err);
        if (rc <= 0) {
            *ends = rc == 0;
            return rc;
        }
        if (is_from(&l)) {
            *ends = true;
            return 0;
        }
        if (!l.empty)
            return 0;
        at = l.next;
    }
    return 0;
}

/* By its Content-Length, if that agrees with what is there. *found: it does. */
static int end_by_length(struct mbox *m, struct mbox_message *out, bool *found, struct err *err)
{
    struct header_field f;
    struct str byte;
    uint64_t n;

    *found = false;
    if (!header_find(out->fields, STR("Content-Length"), 0, &f) ||
        str_to_u64(str_trim(f.value), INT64_MAX / 2, &n) != 0)
        return 0;
    if (n > 0) { /* the end of the file would agree with any length beyond it */
        if (bytes_at(m, out->body + n - 1, &byte, err) != 0)
            return -1;
        if (byte.n == 0)
            return 0;
    }
    if (ends_at(m, out->body + n, found, err) != 0)
        return -1;
    if (*found)
        out->end = out->body + n;
    return 0;
}

/* Whether a line that looks like From_ stands unquoted in the body: then nothing in it was quoted.
 */
static int look_for_quotes(struct mbox *m, struct mbox_message *out, struct err *err)
{
    struct line l;
    int rc;

    for (uint64_t at = out->body; at < out->end; at = l.next) {
        rc = line_at(m, at, &l, err);
        if (rc <= 0)
            return rc;
        if (str_starts(str_of(l.head, l.n), STR("From "))) {
            out->quoted = false;
            return 0;
        }
    }
    return 0;
}

/* Before the next From_ line that follows an empty one. */
static int end_by_line(struct mbox *m, struct mbox_message *out, struct err *err)
{
    uint64_t at = out->body, last = out->body; /* last: before an empty line */
    bool after_empty = true;
    struct line l;
    int rc;

    while ((rc = line_at(m, at, &l, err)) == 1) {
        if (after_empty && is_from(&l)) {
            out->end = last;
            return 0;
        }
        last = l.empty ? l.at : l.next;
        after_empty = l.empty;
        at = l.next;
    }
    /* The empty line at the end of the file ends the last message as it does the others. */
    out->end = after_empty && at > out->body ? last : at;
    return rc;
}

int mbox_next(struct mbox *m, struct mbox_message *out, struct err *err)
{
    bool by_length;
    struct line l;
    int rc;

    *out = (struct mbox_message){.quoted = true};
    do {
        rc = line_at(m, m->at, &l, err);
        if (rc <= 0)
            return rc;
        out->start = m->at;
        m->at = l.next;
    } while (l.empty);
    if (!str_starts(str_of(l.head, l.n), STR("From ")))
        return ERR(err, ERR_PROTO, "it is no mbox: there is no From line at byte %llu",
                   (unsigned long long)out->start);
    out->has_date = mbox_from_line(str_of(l.head, l.n), &out->date, &out->has_zone);
    out->head = l.next;
    if (read_head(m, out, err) != 0 || end_by_length(m, out, &by_length, err) != 0)
        return -1;
    if (by_length ? look_for_quotes(m, out, err) != 0 : end_by_line(m, out, err) != 0)
        return -1;
    m->at = out->end;
    return 1;
}

/* ---- Status. */

static unsigned letters_of(struct str fields, struct str name, const char *known,
                           const unsigned *flags)
{
    struct header_field f;
    unsigned all = 0;

    if (!header_find(fields, name, 0, &f))
        return 0;
    for (size_t i = 0; i < f.value.n; i++)
        for (size_t k = 0; known[k]; k++)
            if (known[k] == f.value.p[i])
                all |= flags[k];
    return all;
}

static uint32_t number_of(struct str value)
{
    struct str word, rest;
    uint64_t v;

    str_cut(str_trim(value), ' ', &word, &rest);
    return str_to_u64(word, UINT32_MAX, &v) == 0 ? (uint32_t)v : 0;
}

/* Four hexadecimal digits: 1 read, 2 answered, 4 flagged, 8 expunged. */
static unsigned mozilla_flags(struct str value)
{
    static const unsigned flags[] = {MBOX_SEEN, MBOX_ANSWERED, MBOX_FLAGGED, MBOX_EXPUNGED};
    struct str digits = str_trim(value);
    unsigned all = 0, low;
    char c;

    if (digits.n == 0)
        return 0;
    c = ascii_lower(digits.p[digits.n - 1]);
    low = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
          : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                                 : 0;
    for (unsigned i = 0; i < 4; i++)
        if (low & 1u << i)
            all |= flags[i];
    return all;
}

void mbox_status_read(struct str fields, struct mbox_status *out)
{
    static const unsigned status[] = {MBOX_SEEN, MBOX_OLD},
                          x_status[] = {MBOX_ANSWERED, MBOX_FLAGGED, MBOX_DELETED, MBOX_DRAFT};
    struct header_field f;
    struct str word, rest;

    *out = (struct mbox_status){.flags = 0};
    out->flags = letters_of(fields, STR("Status"), "RO", status) |
                 letters_of(fields, STR("X-Status"), "AFDT", x_status);
    if (header_find(fields, STR("X-Mozilla-Status"), 0, &f))
        out->flags |= mozilla_flags(f.value) | MBOX_OLD;
    if (header_find(fields, STR("X-UID"), 0, &f))
        out->uid = number_of(f.value);
    if (header_find(fields, STR("X-IMAPbase"), 0, &f) ||
        header_find(fields, STR("X-IMAP"), 0, &f)) {
        out->uidvalidity = number_of(f.value);
        str_cut(str_trim(f.value), ' ', &word, &rest);
        out->uidlast = number_of(rest);
    }
    if (header_find(fields, STR("X-Keywords"), 0, &f))
        out->keywords = str_trim(f.value);
}

bool mbox_own_field(struct str name)
{
    static const char *const own[] = {"Status",        "X-Status",         "X-UID",
                                      "X-IMAP",        "X-IMAPbase",       "X-Keywords",
                                      "Lines",         "X-Mozilla-Status", "X-Mozilla-Status2",
                                      "Content-Length"};

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (str_ieq(name, str_from(own[i])))
            return true;
    return false;
}
