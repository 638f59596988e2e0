/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What a milter sends: the first octet says which bits were agreed on, the rest are packets. What
 * they want done to a message stays within its bounds, and is undone whole or not at all. */
#include "appliance/base/mem.h"
#include "filters/milter_mail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 4096 };

static void inside(struct str part, struct str all)
{
    CHECK(!part.n || (part.p >= all.p && part.p + part.n <= all.p + all.n));
}

static void change(struct milter_mail *m, const struct milter_answer *a, bool spaced)
{
    char line[64];

    if (a->what == MILTER_HEADER_ADD)
        (void)milter_mail_add(m, a->name, a->text, spaced);
    else if (a->what == MILTER_HEADER_INSERT)
        (void)milter_mail_insert(m, a->index, a->name, a->text, spaced);
    else if (a->what == MILTER_HEADER_CHANGE)
        (void)milter_mail_change(m, a->index, a->name, a->text, spaced);
    else if (a->what == MILTER_BODY_REPLACE)
        (void)milter_mail_body(m, a->text);
    else if (a->what >= MILTER_RCPT_ADD)
        (void)milter_mail_envelope(m, a->what, milter_address(a->text));
    else if (a->what == MILTER_REPLY && milter_reply_line(a->text, line, sizeof line) == 0)
        CHECK((line[0] == '4' || line[0] == '5') && strlen(line) < sizeof line &&
              !strpbrk(line, "\r\n"));
    else if (a->what == MILTER_CONTINUE)
        milter_mail_commit(m);
    else if (a->what == MILTER_TEMPFAIL)
        milter_mail_rollback(m);
}

static void take(struct milter_mail *m, struct str in, uint32_t actions, bool spaced)
{
    struct milter_packet p;
    struct milter_answer a;
    struct milter_terms t;
    struct err err = {0};
    size_t n = 0;

    while (milter_take(in, &p, &n) == MILTER_PACKET) {
        CHECK(n >= 5 && n <= in.n);
        inside(p.data, in);
        if (milter_read_terms(p, &t, &err) == 0)
            for (size_t i = 0; i < MILTER_STAGES; i++)
                inside(t.macros[i], p.data);
        if (milter_read_answer(p, actions, &a, &err) == 0) {
            inside(a.name, p.data);
            inside(a.text, p.data);
            inside(a.args, p.data);
            change(m, &a, spaced);
        }
        in = str_skip(in, n);
    }
}

/* No NUL, CR and LF only together, the last line ended. */
static void check_body(struct str s)
{
    CHECK(s.n <= BODY_MAX && (!s.n || str_ends(s, STR("\r\n"))));
    for (size_t i = 0; i < s.n; i++)
        CHECK(s.p[i] && (s.p[i] == '\r') == (i + 1 < s.n && s.p[i + 1] == '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct milter_mail m;
    unsigned received = 0;

    if (!size)
        return 0;
    milter_mail_init(&m, STR("Received: x\r\n\ty\r\nSubject: z\r\nTo: a\r\nto: b\r\n\r\n"),
                     BODY_MAX);
    take(&m, str_of(data + 1, size - 1), data[0] & 1 ? 0 : MILTER_ACTIONS, data[0] & 2);
    milter_mail_rollback(&m);
    if (!m.body.full)
        check_body(buf_str(&m.body));
    for (size_t i = 0; i < m.n; i++)
        if (m.fields[i].received)
            CHECK(m.fields[i].received == ++received);
    CHECK(received == 4 && m.added <= MILTER_ADDED_MAX);
    milter_mail_fini(&m);
    return 0;
}
