/* room: smtp */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_vacation.c - a message of others that is to be answered by a program (sender, head, the
 * notice's subject and text; separated by NUL): whatever it is, the answer's lines can be sent, and
 * it is one that no program answers in turn. */
#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/header.h"
#include "smtp/vacation_text.h"

enum { OUT_MAX = 1 << 20, LINE_MAX = 4000 };

/* As the server lets a head in. */
static struct str as_head(struct arena *a, struct str in)
{
    struct buf out;
    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '\n')
            buf_add_z(&out, "\r\n");
        else if (in.p[i] != '\r')
            buf_add_char(&out, in.p[i]);
    }
    buf_add_z(&out, "\r\n\r\n");
    struct str kept = arena_str(a, buf_str(&out));
    buf_fini(&out);
    return kept;
}

static void check_answer(struct str text)
{
    const struct str us = STR("someone@example.org");
    struct str line, rest = text;
    struct header_field f;
    size_t end;
    CHECK(text_ascii(text) && str_find(text, STR("\r\n\r\n"), &end));
    while (str_cut(rest, '\n', &line, &rest) && rest.n)
        CHECK(line.n && line.p[line.n - 1] == '\r' && !memchr(line.p, '\r', line.n - 1) &&
              line.n <= LINE_MAX);
    struct str head = str_take(text, end + 4);
    static const char *const once[] = {"From",    "To",           "Date",           "Message-ID",
                                       "Subject", "MIME-Version", "Auto-Submitted", "Content-Type"};
    for (size_t i = 0; i < ARRAY_LEN(once); i++)
        CHECK(header_count(head, str_from(once[i])) == 1);
    CHECK(header_find(head, STR("Subject"), 0, &f));
    CHECK(vacation_forbidden(head, STR("away@example.com"), &us, 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_of(data, size), field[4];
    const struct str own[] = {STR("away@example.com"), STR("office@example.com")};
    struct buf out;
    if (size > 50000)
        return 0;
    struct arena *a = arena_new(0);
    for (size_t i = 0; i < 3; i++)
        str_cut(rest, '\0', &field[i], &rest);
    field[3] = rest;
    struct str head = as_head(a, field[1]);
    const struct directory_notice notice = {
        .days = 7,
        .subject = text_utf8_valid(field[2]) && !memchr(field[2].p, '\n', field[2].n) &&
                           !memchr(field[2].p, '\r', field[2].n)
                       ? field[2]
                       : STR(""),
        .text = text_utf8_valid(field[3]) ? field[3] : STR("Away")};
    const struct vacation v = {.id = 5,
                               .from = own[0],
                               .to = STR("someone@example.org"),
                               .hostname = STR("mail.example.com"),
                               .head = head,
                               .notice = &notice};
    (void)vacation_forbidden(head, field[0], own, ARRAY_LEN(own));
    buf_init(&out, OUT_MAX);
    if (vacation_write(&v, &out) == 0)
        check_answer(buf_str(&out));
    buf_fini(&out);
    arena_free(&a);
    return 0;
}
