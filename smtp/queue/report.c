/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/queue/report.h"
#include "appliance/base/text.h"
#include "appliance/mail/date.h"
#include "appliance/mail/header.h"
#include <inttypes.h>
#include <stdio.h>

enum {
    FOLD_AT = 76,   /* RFC 5322 2.1.1: lines should be no longer than 78 */
    LINE_MAX = 990, /* and must be no longer than 998 */
    TEXT_MAX = 2000 /* of what a host said */
};

static const struct words {
    const char *action, *subject, *heading;
} words_of[] = {
    [REPORT_FAILED] = {"failed", "Your message was not delivered",
                       "Your message could not be delivered to the following recipients.\r\n"
                       "It will not be tried again."},
    [REPORT_DELAYED] = {"delayed", "Your message is delayed",
                        "Your message could not yet be delivered to the following recipients.\r\n"
                        "You need not send it again: it is tried further."},
    [REPORT_DELIVERED] = {"delivered", "Your message was delivered",
                          "Your message was delivered to the following recipients."},
    [REPORT_RELAYED] = {"relayed", "Your message was passed on",
                        "Your message was passed on to hosts which don't confirm deliveries,\r\n"
                        "for the following recipients."},
    [REPORT_EXPANDED] = {
        "expanded", "Your message was delivered to a list",
        "Your message was taken for the following addresses, and sent on to all\r\n"
        "who are behind them."}};
enum { KINDS = REPORT_EXPANDED + 1 };

bool report_wanted(unsigned notify, enum report_kind kind)
{
    if (kind == REPORT_FAILED)
        return !notify || (notify & QUEUE_NOTIFY_FAILURE);
    if (kind == REPORT_DELAYED)
        return !notify || (notify & QUEUE_NOTIFY_DELAY);
    return notify & QUEUE_NOTIFY_SUCCESS;
}

/* ---- Text that others wrote */

/* An address or such where only ASCII may stand: RFC 6533 3, utf-8-addr-xtext. */
static void add_address(const struct report *r, struct buf *out, struct str s)
{
    uint32_t cp;
    bool wide = r->utf8 && text_utf8_valid(s);
    while (s.n) {
        unsigned n = text_utf8_next(s, &cp);
        if (!n || cp < 0x20 || cp == 0x7f)
            buf_add_char(out, '?');
        else if (n == 1 || wide)
            buf_add(out, s.p, n);
        else
            buf_printf(out, "\\x{%" PRIX32 "}", cp);
        s = str_skip(s, n ? n : 1);
    }
}

static void add_path(const struct report *r, struct buf *out, struct str s)
{
    buf_add_char(out, '<');
    add_address(r, out, s);
    buf_add_char(out, '>');
}

/* One line: controls become blanks, and several of them one. */
static void add_text(const struct report *r, struct buf *out, struct str s)
{
    s = str_trim(str_take(s, TEXT_MAX));
    bool wide = r->utf8 && text_utf8_valid(s), blank = false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= 0x20 || c == 0x7f) {
            blank = true;
            continue;
        }
        if (blank)
            buf_add_char(out, ' ');
        blank = false;
        buf_add_char(out, c < 0x80 || wide ? s.p[i] : '?');
    }
}

/* How much of `s` fits on the line that is at this column: up to a blank, which begins the next
 * one; only where a line would be longer than any may be, within a word. */
static size_t line_of(struct str s, size_t column)
{
    size_t room = column < FOLD_AT ? FOLD_AT - column : 1, most = LINE_MAX - column, at = 0;
    if (s.n <= room)
        return s.n;
    for (size_t i = 1; i < s.n && i <= most && (i <= room || !at); i++)
        if (s.p[i] == ' ')
            at = i;
    if (at || s.n <= most)
        return at ? at : s.n;
    while (most > 1 && ((unsigned char)s.p[most] & 0xc0) == 0x80) /* not within a character */
        most--;
    return most;
}

/* The rest of a line that is at this column, and its end. Of a header field: what unfolds to the
 * same (RFC 5322 2.2.3). */
static void add_folded(struct buf *out, struct str text, const char *indent, size_t column)
{
    while (text.n) {
        size_t n = line_of(text, column);
        buf_add_str(out, str_take(text, n));
        text = str_skip(text, n);
        if (!text.n)
            break;
        buf_add_z(out, "\r\n");
        buf_add_z(out, indent);
        if (text.p[0] == ' ')
            text = str_skip(text, 1);
        column = strlen(indent);
    }
    buf_add_z(out, "\r\n");
}

typedef void (*add_fn)(const struct report *r, struct buf *out, struct str s);

static void add_field(const struct report *r, struct buf *out, const char *name, const char *type,
                      struct str value, add_fn add)
{
    struct buf line;
    if (!value.n)
        return;
    buf_init(&line, 64 << 10);
    buf_add_z(&line, type);
    add(r, &line, value);
    buf_printf(out, "%s: ", name);
    add_folded(out, buf_str(&line), " ", strlen(name) + 2);
    buf_fini(&line);
}

static void add_date(struct buf *out, const char *name, int64_t ms)
{
    if (ms <= 0)
        return;
    buf_printf(out, "%s: ", name);
    date_format((struct date){.at = ms / 1000}, out);
    buf_add_z(out, "\r\n");
}

/* ---- The parts */

static bool has_kind(const struct report *r, unsigned kind)
{
    for (size_t i = 0; i < r->n_rcpts; i++)
        if (r->rcpts[i].kind == kind)
            return true;
    return false;
}

/* The worst news. */
static enum report_kind first_kind(const struct report *r)
{
    unsigned kind = 0;
    while (kind < KINDS - 1 && !has_kind(r, kind))
        kind++;
    return (enum report_kind)kind;
}

static bool is_8bit(struct str s)
{
    return !text_ascii(s);
}

static void add_line(const struct report *r, struct buf *out, const char *label, struct str text)
{
    struct buf line;
    if (!text.n)
        return;
    buf_init(&line, 64 << 10);
    buf_printf(&line, "%s", label);
    add_text(r, &line, text);
    buf_add_z(out, "        ");
    add_folded(out, buf_str(&line), "        ", 8);
    buf_fini(&line);
}

static void add_rcpt_text(const struct report *r, const struct report_rcpt *to, struct buf *out)
{
    struct buf line;
    buf_init(&line, 64 << 10);
    add_path(r, &line, to->address);
    buf_add_z(out, "\r\n    ");
    add_folded(out, buf_str(&line), "    ", 4);
    buf_fini(&line);
    add_line(r, out, "", to->text);
    if (to->diagnostic.n && !str_find(to->text, to->diagnostic, &(size_t){0}))
        add_line(r, out, "The host said: ", to->diagnostic);
    if (to->kind == REPORT_DELAYED && to->until_ms > 0) {
        buf_add_z(out, "        It is tried until ");
        date_format((struct date){.at = to->until_ms / 1000}, out);
        buf_add_z(out, "\r\n");
    }
}

static void add_human(const struct report *r, struct buf *out)
{
    buf_printf(out,
               "Content-Type: text/plain; charset=%s\r\n"
               "Content-Transfer-Encoding: %s\r\n"
               "Content-Description: Notification\r\n\r\n",
               r->utf8 ? "utf-8" : "us-ascii", r->utf8 ? "8bit" : "7bit");
    buf_add_z(out, "This is the mail system of ");
    add_address(r, out, r->hostname);
    buf_add_z(out, ".\r\n");
    for (unsigned kind = 0; kind < KINDS; kind++) {
        if (!has_kind(r, kind))
            continue;
        buf_printf(out, "\r\n%s\r\n", words_of[kind].heading);
        for (size_t i = 0; i < r->n_rcpts; i++)
            if (r->rcpts[i].kind == kind)
                add_rcpt_text(r, &r->rcpts[i], out);
    }
    buf_printf(out, "\r\nIt came here as %" PRIu64 "; %s is below.\r\n", r->about,
               r->full ? "the message" : "its header");
}

/* RFC 6533 3: "utf-8" where it isn't ASCII. */
static void add_recipient(const struct report *r, struct buf *out, const char *name,
                          struct str address)
{
    add_field(r, out, name, is_8bit(address) ? "utf-8; " : "rfc822; ", address, add_address);
}

/* orcpt has its type in it: "rfc822;address". */
static void add_original(const struct report *r, struct buf *out, struct str orcpt)
{
    struct str type, address;
    struct buf prefix;
    if (!str_cut(orcpt, ';', &type, &address) || !type.n || !address.n)
        return;
    buf_init(&prefix, 256);
    add_text(r, &prefix, str_take(is_8bit(address) ? STR("utf-8") : type, 64));
    buf_add_z(&prefix, "; ");
    add_field(r, out, "Original-Recipient", buf_z(&prefix), address, add_address);
    buf_fini(&prefix);
}

static void add_rcpt_status(const struct report *r, const struct report_rcpt *to, struct buf *out)
{
    buf_add_z(out, "\r\n");
    add_original(r, out, to->orcpt);
    add_recipient(r, out, "Final-Recipient", to->address);
    buf_printf(out, "Action: %s\r\nStatus: %s\r\n", words_of[to->kind].action,
               to->status[0]                ? to->status
               : to->kind == REPORT_FAILED  ? "5.0.0"
               : to->kind == REPORT_DELAYED ? "4.0.0"
                                            : "2.0.0");
    add_field(r, out, "Remote-MTA", "dns; ", to->host, add_address);
    add_field(r, out, "Diagnostic-Code", "smtp; ", to->diagnostic, add_text);
    add_date(out, "Last-Attempt-Date", to->last_ms);
    if (to->kind == REPORT_DELAYED)
        add_date(out, "Will-Retry-Until", to->until_ms);
}

static void add_status(const struct report *r, struct buf *out)
{
    buf_printf(out,
               "Content-Type: message/%sdelivery-status\r\n%s"
               "Content-Description: Delivery report\r\n\r\n",
               r->utf8 ? "global-" : "", r->utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
    add_field(r, out, "Original-Envelope-Id", "", r->envid, add_text);
    add_field(r, out, "Reporting-MTA", "dns; ", r->hostname, add_address);
    add_date(out, "Arrival-Date", r->arrived_ms);
    buf_printf(out, "X-Posthouse-Id: %" PRIu64 "\r\n", r->about);
    for (size_t i = 0; i < r->n_rcpts; i++)
        add_rcpt_status(r, &r->rcpts[i], out);
}

/* ---- The message it is about */

static size_t longest_line(struct str s)
{
    size_t longest = 0, begin = 0;
    for (size_t i = 0; i <= s.n; i++)
        if (i == s.n || s.p[i] == '\n') {
            longest = i - begin > longest ? i - begin : longest;
            begin = i + 1;
        }
    return longest;
}

/* Whole lines that end with CRLF and hold none of what a header can't. */
static void add_head(struct buf *out, struct str head)
{
    struct str line;
    while (str_cut(head, '\n', &line, &head) || line.n) {
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (!line.n) /* the empty line that ends it */
            return;
        for (; line.n > LINE_MAX; line = str_skip(line, LINE_MAX)) {
            buf_add_str(out, str_take(line, LINE_MAX));
            buf_add_z(out, "\r\n\t");
        }
        buf_add_str(out, line);
        buf_add_z(out, "\r\n");
    }
}

/* A message with lines that no "7bit" or "8bit" allows (RFC 2045 2.7) isn't sent back whole. */
static bool returns_all(const struct report *r)
{
    return r->full && longest_line(r->text) <= LINE_MAX + 8;
}

static bool original_8bit(const struct report *r)
{
    return is_8bit(r->head) || (returns_all(r) && is_8bit(r->text));
}

static void add_original_part(const struct report *r, struct buf *out)
{
    bool all = returns_all(r), wide = original_8bit(r);
    bool global = r->utf8 && is_8bit(r->head); /* RFC 6533 4, 5 */
    const char *type = global ? all ? "message/global" : "message/global-headers"
                       : all  ? "message/rfc822"
                              : "text/rfc822-headers";
    buf_printf(out,
               "Content-Type: %s\r\n%s"
               "Content-Description: %s\r\n\r\n",
               type, wide ? "Content-Transfer-Encoding: 8bit\r\n" : "",
               all ? "Your message" : "Header of your message");
    add_head(out, r->head);
    buf_add_z(out, "\r\n");
    if (all)
        buf_add_str(out, r->text);
    if (out->n < 2 || memcmp(out->p + out->n - 2, "\r\n", 2) != 0)
        buf_add_z(out, "\r\n");
}

/* RFC 2046 5.1.1: a line of its own that no part holds. Only the original has lines that begin
 * with what others wrote. */
static void choose_boundary(const struct report *r, char out[64])
{
    for (unsigned n = 0;; n++) {
        int len = snprintf(out, 64, "=_%" PRIu64 "_%u_report", r->id, n);
        struct str boundary = str_of(out, (size_t)len);
        if (!str_find(r->head, boundary, &(size_t){0}) &&
            !str_find(r->text, boundary, &(size_t){0}))
            return;
    }
}

/* So that mail readers put it beside the message. */
static void add_reference(const struct report *r, struct buf *out)
{
    struct header_field f;
    if (!header_find(r->head, STR("Message-ID"), 0, &f))
        return;
    struct str id = str_trim(f.value);
    if (id.n < 3 || id.n > 250 || id.p[0] != '<' || id.p[id.n - 1] != '>')
        return;
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= ' ' || id.p[i] > '~')
            return;
    buf_printf(out, "References: " STR_FMT "\r\n", STR_ARG(id));
}

static void add_top(const struct report *r, const char *boundary, struct buf *out)
{
    buf_add_z(out, "From: Mail delivery <MAILER-DAEMON@");
    add_address(r, out, r->origin);
    buf_add_z(out, ">\r\n");
    add_field(r, out, "To", "", r->to, add_path);
    buf_printf(out, "Subject: %s\r\n", words_of[first_kind(r)].subject);
    add_date(out, "Date", r->now_ms);
    buf_printf(out, "Message-ID: <%" PRIu64 ".report@", r->id);
    add_address(r, out, r->hostname);
    buf_add_z(out, ">\r\n");
    add_reference(r, out);
    buf_printf(out,
               "Auto-Submitted: auto-replied\r\n" /* RFC 3834 5 */
               "MIME-Version: 1.0\r\n"
               "Content-Type: multipart/report; report-type=%sdelivery-status;\r\n"
               "\tboundary=\"%s\"\r\n%s\r\n"
               "This is a report about the delivery of a message, in MIME format.\r\n",
               r->utf8 ? "global-" : "", boundary,
               r->utf8 || original_8bit(r) ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

void report_write(const struct report *r, struct buf *out)
{
    char boundary[64];
    choose_boundary(r, boundary);
    add_top(r, boundary, out);
    buf_printf(out, "\r\n--%s\r\n", boundary);
    add_human(r, out);
    buf_printf(out, "\r\n--%s\r\n", boundary);
    add_status(r, out);
    buf_printf(out, "\r\n--%s\r\n", boundary);
    add_original_part(r, out);
    buf_printf(out, "\r\n--%s--\r\n", boundary);
}
