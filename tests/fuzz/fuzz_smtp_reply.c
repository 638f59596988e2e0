/* room: smtp */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_smtp_reply.c - any bytes as replies of a server: the same replies whatever the pieces; what
 * comes out is printable and bounded; read as that to EHLO. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "smtp/client/client.h"
#include "smtp/client/client_ehlo.h"
#include "smtp/client/client_private.h"
#include "smtp/client/reply.h"

static void check_answer(const struct smtp_answer *a)
{
    struct str text = buf_str(&a->text);
    struct smtp_ehlo ehlo;
    struct smtp_fault fault;
    char line[700];
    CHECK(a->code >= 200 && a->code <= 599);
    CHECK(a->lines > 0 && a->lines <= SMTP_ANSWER_LINES);
    CHECK(text.n <= SMTP_ANSWER_TEXT && text_utf8_valid(text));
    for (size_t i = 0; i < text.n; i++)
        CHECK(text.p[i] == '\n' || ((unsigned char)text.p[i] >= ' ' && text.p[i] != 0x7f));
    CHECK(!a->status[0] || (unsigned)(a->status[0] - '0') == a->code / 100);
    smtp_ehlo_parse(text, &ehlo);
    CHECK(strlen(ehlo.auth) < sizeof ehlo.auth);
    client_fault_of(&fault, SMTP_FAULT_PERM, a, "RCPT");
    CHECK(fault.status[0] && text_utf8_valid(str_from(fault.text)));
    CHECK(!strchr(fault.text, '\n'));
    smtp_fault_text(&fault, "host", line, sizeof line);
}

static void take_all(struct str in, size_t piece, struct buf *said)
{
    struct smtp_answer a;
    enum smtp_answer_got got = SMTP_ANSWER_MORE;
    smtp_answer_init(&a);
    while (in.n && got != SMTP_ANSWER_BAD) {
        struct str part = str_take(in, piece);
        while (part.n && got != SMTP_ANSWER_BAD) {
            size_t used;
            got = smtp_answer_take(&a, part, &used);
            CHECK(used <= part.n && (used > 0 || got == SMTP_ANSWER_BAD));
            part = str_skip(part, used);
            in = str_skip(in, used);
            if (got != SMTP_ANSWER_WHOLE)
                continue;
            check_answer(&a);
            buf_printf(said, "%u[%s]%u", a.code, a.status, a.lines);
            buf_add_str(said, buf_str(&a.text));
        }
    }
    if (got == SMTP_ANSWER_BAD)
        buf_add_z(said, a.bad);
    smtp_answer_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 2, 3, 7};
    struct str in = str_of(data, size);
    struct buf whole, part;
    buf_init(&whole, 16 * size + 256);
    take_all(in, size + 1, &whole);
    CHECK(buf_ok(&whole));
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        buf_init(&part, 16 * size + 256);
        take_all(in, pieces[i], &part);
        CHECK(str_eq(buf_str(&whole), buf_str(&part)));
        buf_fini(&part);
    }
    buf_fini(&whole);
    return 0;
}
