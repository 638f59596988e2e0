/* room: smtp */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_smtp_command.c - any bytes as command lines: the same lines whatever the pieces; arguments
 * parsed as those of MAIL, RCPT, BDAT and EHLO; what is accepted can be written into a header and
 * read again. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "smtp/line.h"
#include "smtp/params.h"

static void check_harmless(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        CHECK((unsigned char)s.p[i] >= ' ' && s.p[i] != 127);
}

static void parse_line(struct arena *a, struct str line)
{
    struct str verb, args, name;
    struct smtp_mail_args mail;
    struct smtp_rcpt_args rcpt, again;
    struct smtp_bdat_args bdat;
    struct smtp_refusal why = {0};
    str_cut(line, ' ', &verb, &args);
    if (smtp_mail_parse(a, args, &mail, &why) == 0) {
        check_harmless(mail.sender);
        check_harmless(mail.envid);
        CHECK(mail.envid.n <= 100);
        CHECK(mail.path.null == (mail.sender.n == 0));
        CHECK(mail.utf8 || text_ascii(mail.sender));
    } else {
        CHECK(why.code >= 500 && why.status && why.text[0]);
    }
    if (smtp_rcpt_parse(a, args, &rcpt, &why) == 0) {
        check_harmless(rcpt.rcpt);
        CHECK(rcpt.rcpt.n > 0);
        check_harmless(rcpt.orcpt);
        CHECK((rcpt.orcpt.n > 0) == (rcpt.orcpt_type.n > 0));
        CHECK(!(rcpt.notify & SMTP_NOTIFY_NEVER) || rcpt.notify == SMTP_NOTIFY_NEVER);
        if (rcpt.path.domain.n) {
            struct str text = arena_printf(a, "TO:<" STR_FMT ">", STR_ARG(rcpt.rcpt));
            CHECK(smtp_rcpt_parse(a, text, &again, &why) == 0);
            CHECK(str_eq(again.rcpt, rcpt.rcpt));
        }
    }
    if (smtp_bdat_parse(args, &bdat) == 0)
        CHECK(bdat.size <= INT64_MAX);
    if (smtp_helo_parse(a, args, &name) == 0) {
        check_harmless(name);
        CHECK(name.n > 0 && name.n < 256);
    }
}

static void take_all(struct str in, size_t piece, struct buf *said, struct arena *a)
{
    struct smtp_line l = {0};
    size_t from = 0, to = 0;
    while (to < in.n) {
        struct str line;
        enum smtp_line_end end;
        to = to + piece < in.n ? to + piece : in.n;
        do {
            size_t used;
            end = smtp_line_take(&l, str_of(in.p + from, to - from), 0, &line, &used);
            CHECK(used <= to - from);
            from += used;
            buf_add_char(said, (char)('0' + end));
            if (end == SMTP_LINE_MORE)
                buf_truncate(said, said->n - 1);
            buf_add_str(said, line);
            if (end == SMTP_LINE_OK && a)
                parse_line(a, line);
        } while (end != SMTP_LINE_MORE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 2, 3, 7};
    struct str in = str_of(data, size);
    struct arena *a = arena_new(0);
    struct buf whole, part;
    buf_init(&whole, 2 * size + 16);
    take_all(in, size + 1, &whole, a);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        buf_init(&part, 2 * size + 16);
        take_all(in, pieces[i], &part, NULL);
        CHECK(str_eq(buf_str(&whole), buf_str(&part)));
        buf_fini(&part);
    }
    buf_fini(&whole);
    arena_free(&a);
    return 0;
}
