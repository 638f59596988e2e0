/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/vacation_text.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "appliance/mail/header.h"
#include "smtp/trace.h"

enum {
    LIST_MAX = 1000, /* addresses in the fields that name recipients */
    FOLDED_MAX = 1000,
    SUBJECT_MAX = 300,     /* of the message, in ours */
    REFERENCES_MAX = 2000, /* RFC 5322 3.6.4: of those that were there */
    WORD_BYTES = 45,       /* in one encoded word: RFC 2047 2, at most 75 characters */
    LINE_BYTES = 57,       /* in one line of base64 */
    LINE_MAX = 78,
    HEADER_LINE = 2000 /* of a subject that is read at all */
};

/* ---- May it be answered? */

static bool is_robot(struct str sender)
{
    static const char *const names[] = {"mailer-daemon", "postmaster", "listserv",   "majordomo",
                                        "noreply",       "no-reply",   "donotreply", "do-not-reply",
                                        "bounce",        "bounces",    "root"};
    struct str local, domain;
    address_split(sender, &local, &domain);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_ieq(local, str_from(names[i])))
            return true;
    return str_istarts(local, STR("owner-")) || str_iends(local, STR("-request")) ||
           str_iends(local, STR("-owner")) || str_istarts(local, STR("bounce")) ||
           str_iends(local, STR("-bounces"));
}

static struct str first_word(struct str value)
{
    size_t n = 0;
    value = str_trim(value);
    while (n < value.n && value.p[n] != ';' && value.p[n] != ' ' && value.p[n] != '\t' &&
           value.p[n] != '\r')
        n++;
    return str_take(value, n);
}

static bool by_program(const struct header_field *f)
{
    struct str word = first_word(f->value);
    if (str_ieq(f->name, STR("Auto-Submitted")))
        return !str_ieq(word, STR("no"));
    if (str_ieq(f->name, STR("Precedence")))
        return str_ieq(word, STR("bulk")) || str_ieq(word, STR("list")) ||
               str_ieq(word, STR("junk"));
    if (str_ieq(f->name, STR("X-Auto-Response-Suppress")))
        return !str_ieq(word, STR("none"));
    return str_istarts(f->name, STR("List-")) || str_ieq(f->name, STR("X-Mailing-List")) ||
           str_ieq(f->name, STR("X-Loop"));
}

static bool names_one(struct arena *a, struct str value, const struct str *own, size_t n)
{
    struct address *list;
    size_t count = address_list_parse(a, value, LIST_MAX, &list);
    for (size_t i = 0; i < count; i++) {
        struct str written = list[i].mailbox.p && list[i].host.p
                                 ? arena_printf(a, STR_FMT "@" STR_FMT, STR_ARG(list[i].mailbox),
                                                STR_ARG(list[i].host))
                                 : STR("");
        struct buf folded;
        struct err err = {0};
        buf_init(&folded, FOLDED_MAX);
        bool found = false;
        bool ok = written.n && address_fold(written, &folded, &err) == 0;
        for (size_t k = 0; ok && k < n; k++)
            found = found || str_eq(buf_str(&folded), own[k]) || str_ieq(written, own[k]);
        buf_fini(&folded);
        if (found)
            return true;
    }
    return false;
}

static bool is_for(struct str name)
{
    return str_ieq(name, STR("To")) || str_ieq(name, STR("Cc")) ||
           str_ieq(name, STR("Resent-To")) || str_ieq(name, STR("Resent-Cc"));
}

const char *vacation_forbidden(struct str head, struct str sender, const struct str *own, size_t n)
{
    struct header_field f;
    bool named = false;
    if (!sender.n)
        return "it has no sender";
    if (is_robot(sender))
        return "its sender is a program";
    for (size_t i = 0; i < n; i++)
        if (str_ieq(sender, own[i]))
            return "its sender is the account";
    struct arena *a = arena_new(0);
    bool program = false;
    while (!program && header_next(&head, &f)) {
        program = by_program(&f);
        if (!named && is_for(f.name))
            named = names_one(a, f.value, own, n);
    }
    arena_free(&a);
    return program  ? "a program or a list sent it"
           : !named ? "the account isn't named as a recipient"
                    : NULL;
}

/* ---- The answer */

/* RFC 2047, words of UTF-8 in base64, one a line. */
static void add_words(struct buf *out, struct str utf8)
{
    bool first = true;
    while (utf8.n) {
        uint32_t cp;
        size_t n = 0;
        while (n < utf8.n) {
            unsigned step = text_utf8_next(str_skip(utf8, n), &cp);
            step = step ? step : 1;
            if (n + step > WORD_BYTES)
                break;
            n += step;
        }
        buf_add_z(out, first ? "=?utf-8?B?" : "\r\n =?utf-8?B?");
        text_base64_encode(str_take(utf8, n), out);
        buf_add_z(out, "?=");
        utf8 = str_skip(utf8, n);
        first = false;
    }
}

static void add_text(struct buf *out, const char *name, struct str utf8)
{
    buf_printf(out, "%s: ", name);
    if (text_ascii(utf8) && utf8.n + strlen(name) + 2 <= LINE_MAX)
        buf_add_str(out, utf8);
    else
        add_words(out, utf8);
    buf_add_z(out, "\r\n");
}

static void add_subject(struct buf *out, const struct vacation *v)
{
    struct header_field f;
    struct buf old;
    if (v->notice->subject.n) {
        add_text(out, "Subject", v->notice->subject);
        return;
    }
    buf_init(&old, (2 * HEADER_LINE));
    buf_add_z(&old, "Auto: ");
    if (header_find(v->head, STR("Subject"), 0, &f) && f.value.n <= HEADER_LINE)
        (void)header_decode(str_trim(f.value), &old);
    struct str text = str_take(buf_str(&old), SUBJECT_MAX);
    while (text.n && !text_utf8_valid(text)) /* cut within a character */
        text.n--;
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 32)
            ((char *)(uintptr_t)text.p)[i] = ' '; /* of our own buffer */
    add_text(out, "Subject", str_trim(text));
    buf_fini(&old);
}

/* RFC 5322 3.6.4; folded as they were. */
static void add_thread(struct buf *out, struct str head)
{
    struct header_field id, refs;
    if (!header_find(head, STR("Message-ID"), 0, &id) || str_trim(id.value).n > LINE_MAX * 4 ||
        !text_ascii(id.value))
        return;
    struct str mine = str_trim(id.value);
    buf_printf(out, "In-Reply-To: " STR_FMT "\r\nReferences: ", STR_ARG(mine));
    if (header_find(head, STR("References"), 0, &refs) && refs.value.n <= REFERENCES_MAX &&
        text_ascii(refs.value) && str_trim(refs.value).n)
        buf_printf(out, STR_FMT "\r\n ", STR_ARG(str_trim(refs.value)));
    buf_printf(out, STR_FMT "\r\n", STR_ARG(mine));
}

static bool is_plain(struct str text)
{
    size_t line = 0;
    for (size_t i = 0; i < text.n; i++) {
        line = text.p[i] == '\n' ? 0 : line + 1;
        if (line > LINE_MAX || (unsigned char)text.p[i] >= 0x80)
            return false;
    }
    return true;
}

/* Whatever ends its lines. */
static void add_crlf(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        bool cr = text.p[i] == '\r';
        if (cr && i + 1 < text.n && text.p[i + 1] == '\n')
            continue;
        if (cr || text.p[i] == '\n')
            buf_add_z(out, "\r\n");
        else
            buf_add_char(out, text.p[i]);
    }
    buf_add_z(out, "\r\n");
}

static void add_body(struct buf *out, struct str text)
{
    struct buf lines;
    buf_add_z(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
    if (is_plain(text)) {
        buf_add_z(out, "Content-Transfer-Encoding: 7bit\r\n\r\n");
        add_crlf(out, text);
        return;
    }
    buf_add_z(out, "Content-Transfer-Encoding: base64\r\n\r\n");
    buf_init(&lines, text.n * 2 + 2);
    add_crlf(&lines, text);
    for (struct str rest = buf_str(&lines); rest.n; rest = str_skip(rest, LINE_BYTES)) {
        text_base64_encode(str_take(rest, LINE_BYTES), out);
        buf_add_z(out, "\r\n");
    }
    buf_fini(&lines);
}

int vacation_write(const struct vacation *v, struct buf *out)
{
    smtp_trace_missing(out, STR(""), v->from, v->id, v->hostname, v->now);
    buf_printf(out, "To: <" STR_FMT ">\r\n", STR_ARG(v->to));
    add_subject(out, v);
    add_thread(out, v->head);
    buf_add_z(out, "Auto-Submitted: auto-replied (vacation)\r\n");
    add_body(out, v->notice->text);
    return buf_ok(out) ? 0 : -1;
}
