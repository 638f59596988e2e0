/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/header.h"
#include "smtp/queue/report.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct buf out;
static struct arena *arena;
static struct report r;
static struct report_rcpt to[4];

static int set_up(void **state)
{
    (void)state;
    buf_init(&out, 1 << 20);
    arena = arena_new(0);
    memset(to, 0, sizeof to);
    to[0] = (struct report_rcpt){.kind = REPORT_FAILED,
                                 .address = STR("friend@elsewhere.example"),
                                 .orcpt = STR("rfc822;old@elsewhere.example"),
                                 .status = "5.1.1",
                                 .text = STR("mx.elsewhere.example doesn't know this address"),
                                 .diagnostic = STR("550 5.1.1 No such user"),
                                 .host = STR("mx.elsewhere.example"),
                                 .last_ms = INT64_C(1795176060000)};
    r = (struct report){.id = 77,
                        .about = 42,
                        .hostname = STR("mail.example.com"),
                        .origin = STR("example.com"),
                        .to = STR("xandros@example.com"),
                        .now_ms = INT64_C(1795176061000),
                        .arrived_ms = INT64_C(1795176000000),
                        .rcpts = to,
                        .n_rcpts = 1,
                        .head = STR("Subject: hello\r\nMessage-ID: <1@example.com>\r\n\r\n"),
                        .text = STR("the text\r\n")};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&out);
    arena_free(&arena);
    return 0;
}

/* ---- Taken apart again: what any report must be */

struct parsed {
    struct str head, human, status, original; /* with their own headers */
};

static struct str field(struct str head, const char *name)
{
    struct header_field f;
    struct buf text;
    if (!header_find(head, str_from(name), 0, &f))
        return STR_NULL;
    buf_init(&text, 1 << 16);
    header_unfold(f.value, &text);
    struct str kept = arena_str(arena, buf_str(&text));
    buf_fini(&text);
    return kept;
}

static struct str content(struct str part)
{
    size_t at = 0;
    assert_true(str_find(part, STR("\r\n\r\n"), &at));
    return str_skip(part, at + 4);
}

static void check_lines(bool eight_bit)
{
    struct str rest = buf_str(&out), line;
    assert_true(str_ends(rest, STR("--\r\n")));
    while (str_cut(rest, '\n', &line, &rest)) {
        assert_true(line.n && line.p[line.n - 1] == '\r');
        assert_true(line.n <= 999);
        assert_null(memchr(line.p, '\r', line.n - 1));
    }
    for (size_t i = 0; i < out.n; i++) {
        unsigned char c = (unsigned char)out.p[i];
        assert_true(c >= 0x20 || c == '\r' || c == '\n' || c == '\t');
        assert_true(c < 0x7f || (eight_bit && c != 0x7f));
    }
}

static struct parsed write_report(bool eight_bit)
{
    struct parsed p;
    struct header_params params;
    struct str boundary, all;
    size_t at;
    buf_clear(&out);
    report_write(&r, &out);
    assert_true(buf_ok(&out));
    check_lines(eight_bit);
    all = buf_str(&out);
    p.head = str_take(all, (size_t)(content(all).p - all.p));
    header_params_parse(arena, field(p.head, "Content-Type"), &params);
    assert_true(str_eq(params.main, STR("multipart/report")));
    assert_true(header_param_get(&params, STR("boundary"), &boundary));
    struct str mark = arena_printf(arena, "\r\n--%.*s", STR_ARG(boundary));
    struct str *parts[] = {NULL, &p.human, &p.status, &p.original};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        assert_true(str_find(all, mark, &at));
        if (parts[i])
            *parts[i] = str_take(all, at);
        all = str_skip(all, at + mark.n);
        assert_true(str_starts(all, i < 3 ? STR("\r\n") : STR("--\r\n")));
        all = str_skip(all, i < 3 ? 2 : 4);
    }
    assert_int_equal(all.n, 0); /* the boundary stands nowhere else */
    return p;
}

#define assert_text(s, z) check_text((s), (z), __LINE__)
static void check_text(struct str s, const char *z, int line)
{
    if (!str_eq(s, str_from(z)))
        fail_msg("line %d: '%.*s' isn't '%s'", line, STR_ARG(s), z);
}
#define assert_has(s, z) assert_true(str_find((s), STR(z), &(size_t){0}))
#define assert_lacks(s, z) assert_false(str_find((s), STR(z), &(size_t){0}))

/* ---- */

static void bounce(void **state)
{
    (void)state;
    struct parsed p = write_report(false);
    assert_text(field(p.head, "From"), "Mail delivery <MAILER-DAEMON@example.com>");
    assert_text(field(p.head, "To"), "<xandros@example.com>");
    assert_text(field(p.head, "Subject"), "Your message was not delivered");
    assert_text(field(p.head, "Date"), "Fri, 20 Nov 2026 12:01:01 +0000");
    assert_text(field(p.head, "Message-ID"), "<77.report@mail.example.com>");
    assert_text(field(p.head, "References"), "<1@example.com>");
    assert_text(field(p.head, "Auto-Submitted"), "auto-replied");
    assert_text(field(p.head, "MIME-Version"), "1.0");
    assert_text(field(p.head, "Content-Transfer-Encoding"), "");
    assert_has(field(p.head, "Content-Type"), "report-type=delivery-status;");

    assert_text(field(p.human, "Content-Type"), "text/plain; charset=us-ascii");
    assert_has(p.human, "\r\n    <friend@elsewhere.example>\r\n"
                        "        mx.elsewhere.example doesn't know this address\r\n"
                        "        The host said: 550 5.1.1 No such user\r\n");

    assert_text(field(p.status, "Content-Type"), "message/delivery-status");
    assert_text(content(p.status), "Reporting-MTA: dns; mail.example.com\r\n"
                                   "Arrival-Date: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
                                   "X-Posthouse-Id: 42\r\n"
                                   "\r\n"
                                   "Original-Recipient: rfc822; old@elsewhere.example\r\n"
                                   "Final-Recipient: rfc822; friend@elsewhere.example\r\n"
                                   "Action: failed\r\n"
                                   "Status: 5.1.1\r\n"
                                   "Remote-MTA: dns; mx.elsewhere.example\r\n"
                                   "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"
                                   "Last-Attempt-Date: Fri, 20 Nov 2026 12:01:00 +0000\r\n");

    assert_text(field(p.original, "Content-Type"), "text/rfc822-headers");
    assert_text(content(p.original), "Subject: hello\r\nMessage-ID: <1@example.com>\r\n\r\n");
}

static void returned_whole(void **state)
{
    (void)state;
    r.full = true;
    struct parsed p = write_report(false);
    assert_text(field(p.original, "Content-Type"), "message/rfc822");
    assert_text(content(p.original),
                "Subject: hello\r\nMessage-ID: <1@example.com>\r\n\r\nthe text\r\n");
    r.text = STR("no line end");
    p = write_report(false);
    assert_has(p.original, "\r\n\r\nno line end\r\n");
    r.text = STR_NULL;
    p = write_report(false);
    assert_text(content(p.original), "Subject: hello\r\nMessage-ID: <1@example.com>\r\n\r\n");
    r.full = false;
    r.head = STR_NULL;
    p = write_report(false);
    assert_int_equal(field(p.head, "References").n, 0);
}

static void eight_bit_original(void **state)
{
    (void)state;
    r.text = STR("caf\xe9\r\n");
    struct parsed p = write_report(false); /* only the header is returned, and that is ASCII */
    r.full = true;
    p = write_report(true);
    assert_text(field(p.head, "Content-Transfer-Encoding"), "8bit"); /* RFC 2045 6.4 */
    assert_text(field(p.original, "Content-Transfer-Encoding"), "8bit");
    assert_text(field(p.human, "Content-Transfer-Encoding"), "7bit");
    assert_text(field(p.original, "Content-Type"), "message/rfc822");
    r.full = false;
    r.head = STR("Subject: caf\xc3\xa9\r\n\r\n");
    p = write_report(true);
    assert_text(field(p.original, "Content-Transfer-Encoding"), "8bit");
    assert_text(field(p.original, "Content-Type"), "text/rfc822-headers");
}

static void long_lines_of_the_original(void **state)
{
    (void)state;
    char line[3000];
    memset(line, 'x', sizeof line);
    memcpy(line, "Subject: ", 9);
    r.head = arena_printf(arena, "%.*s\r\nTo: <a@b.example>\r\n\r\n", 2500, line);
    struct parsed p = write_report(false);
    assert_int_equal(field(content(p.original), "Subject").n, 2500 - 9 + 2); /* folded twice */
    assert_text(field(content(p.original), "To"), "<a@b.example>");
    r.full = true;
    r.text = arena_printf(arena, "short\r\n%.*s\r\n", 1200, line);
    p = write_report(false);
    assert_text(field(p.original, "Content-Type"), "text/rfc822-headers");
    r.text = arena_printf(arena, "short\r\n%.*s\r\n", 997, line);
    p = write_report(false);
    assert_text(field(p.original, "Content-Type"), "message/rfc822");
}

/* What a host says is theirs to choose. */
static void hostile_diagnostic(void **state)
{
    (void)state;
    to[0].diagnostic = STR("550 \r\n\r\nFinal-Recipient: rfc822; x@y\x1b[2J\x7f\t\0z \xff\xc3\xa9");
    to[0].text = STR("first\r\n--=_77_0_report\r\nsecond");
    to[0].host = STR("mx\r\nX: y");
    struct parsed p = write_report(false);
    assert_int_equal(header_count(content(p.status), STR("X")), 0);
    assert_text(field(content(p.status), "Remote-MTA"), ""); /* of the message: it isn't there */
    struct str second = content(content(p.status));
    assert_text(field(second, "Diagnostic-Code"),
                "smtp; 550 Final-Recipient: rfc822; x@y [2J z ???");
    assert_text(field(second, "Remote-MTA"), "dns; mx??X: y");
    assert_int_equal(header_count(second, STR("Final-Recipient")), 1);
    assert_has(p.human, "        first --=_77_0_report second\r\n");

    char words[1800] = "";
    for (size_t i = 0; i < 300; i++)
        snprintf(words + i * 5, 6, "w%03zu ", i);
    to[0].diagnostic = str_from(words);
    p = write_report(false);
    struct str diagnostic = field(content(content(p.status)), "Diagnostic-Code");
    assert_true(str_eq(str_skip(diagnostic, 6), str_trim(str_from(words))));
    assert_lacks(p.status, "w000 w001 w002 w003 w004 w005 w006 w007 w008 w009 w010 w011 w012 w013");

    char word[5000];
    memset(word, 'y', sizeof word);
    to[0].diagnostic = str_of(word, sizeof word); /* cut, and folded within the word */
    to[0].text = str_of(word, sizeof word);
    p = write_report(false);
    diagnostic = field(content(content(p.status)), "Diagnostic-Code");
    assert_in_range(diagnostic.n, 1990, 2020);
}

static void boundary_in_the_message(void **state)
{
    (void)state;
    r.full = true;
    r.text = STR("--=_77_0_report\r\n\r\n--=_77_1_report--\r\n");
    struct parsed p = write_report(false);
    assert_has(p.head, "boundary=\"=_77_2_report\"");
    r.head = STR("X: =_77_2_report\r\n\r\n");
    p = write_report(false);
    assert_has(p.head, "boundary=\"=_77_3_report\"");
}

static void several_recipients(void **state)
{
    (void)state;
    to[1] = (struct report_rcpt){.kind = REPORT_DELAYED,
                                 .address = STR("slow@elsewhere.example"),
                                 .text = STR("no answer"),
                                 .until_ms = INT64_C(1795608000000)};
    to[2] = (struct report_rcpt){.kind = REPORT_DELIVERED, .address = STR("vivita@example.com")};
    to[3] = (struct report_rcpt){
        .kind = REPORT_RELAYED, .address = STR("\"a b\"@x.example"), .status = "2.6.0"};
    r.n_rcpts = 4;
    struct parsed p = write_report(false);
    assert_text(field(p.head, "Subject"), "Your message was not delivered");
    assert_has(p.human, "It is tried until Wed, 25 Nov 2026 12:00:00 +0000\r\n");
    struct str block = content(content(p.status));
    static const struct {
        const char *final, *action, *status;
    } want[] = {{"rfc822; friend@elsewhere.example", "failed", "5.1.1"},
                {"rfc822; slow@elsewhere.example", "delayed", "4.0.0"},
                {"rfc822; vivita@example.com", "delivered", "2.0.0"},
                {"rfc822; \"a b\"@x.example", "relayed", "2.6.0"}};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_text(field(block, "Final-Recipient"), want[i].final);
        assert_text(field(block, "Action"), want[i].action);
        assert_text(field(block, "Status"), want[i].status);
        assert_int_equal(field(block, "Will-Retry-Until").n > 0, i == 1);
        assert_int_equal(field(block, "Original-Recipient").n > 0, i == 0);
        if (i < 3)
            block = content(block);
    }
    r.rcpts = to + 1;
    r.n_rcpts = 1;
    p = write_report(false);
    assert_text(field(p.head, "Subject"), "Your message is delayed");
    to[1].kind = REPORT_EXPANDED;
    p = write_report(false);
    assert_text(field(content(content(p.status)), "Action"), "expanded");
}

/* RFC 3461 4.2: decoded of its xtext, which is how the queue keeps it. */
static void original_recipients(void **state)
{
    (void)state;
    static const struct {
        const char *orcpt, *want;
    } rows[] = {{"rfc822;a+b=c@d.example", "rfc822; a+b=c@d.example"},
                {"x400;/G=a b/S=c/", "x400; /G=a b/S=c/"},
                {"utf-8;\\x{E9}@d.example", "utf-8; \\x{E9}@d.example"},
                {"rfc822;", ""},
                {"nothing", ""},
                {"", ""}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        to[0].orcpt = str_from(rows[i].orcpt);
        struct parsed p = write_report(false);
        assert_text(field(content(content(p.status)), "Original-Recipient"), rows[i].want);
    }
    r.envid = STR("QQ 314159+x");
    struct parsed p = write_report(false);
    assert_text(field(content(p.status), "Original-Envelope-Id"), "QQ 314159+x");
}

static void international(void **state)
{
    (void)state;
    to[0].address = STR("\xc3\xa9t\xc3\xa9@\xe4\xbe\x8b.example");
    to[0].diagnostic = STR("550 caf\xc3\xa9");
    r.to = STR("\xc3\xbc@example.com");
    struct parsed p = write_report(false); /* RFC 6533 3: in ASCII */
    assert_text(field(content(content(p.status)), "Final-Recipient"),
                "utf-8; \\x{E9}t\\x{E9}@\\x{4F8B}.example");
    assert_text(field(p.head, "To"), "<\\x{FC}@example.com>");
    r.utf8 = true;
    r.head = STR("Subject: \xc3\xa9\r\n\r\n");
    p = write_report(true);
    assert_text(field(p.head, "To"), "<\xc3\xbc@example.com>");
    assert_text(field(p.human, "Content-Type"), "text/plain; charset=utf-8");
    assert_text(field(p.status, "Content-Type"), "message/global-delivery-status");
    assert_text(field(p.status, "Content-Transfer-Encoding"), "8bit");
    assert_text(field(p.original, "Content-Type"), "message/global-headers");
    assert_has(field(p.head, "Content-Type"), "report-type=global-delivery-status");
    struct str block = content(content(p.status));
    assert_text(field(block, "Final-Recipient"), "utf-8; \xc3\xa9t\xc3\xa9@\xe4\xbe\x8b.example");
    assert_text(field(block, "Diagnostic-Code"), "smtp; 550 caf\xc3\xa9");
    r.full = true;
    p = write_report(true);
    assert_text(field(p.original, "Content-Type"), "message/global");
    to[0].address = STR("\xff@x.example"); /* not UTF-8: nowhere */
    p = write_report(true);
    assert_text(field(content(content(p.status)), "Final-Recipient"), "utf-8; ?@x.example");
}

static void wanted(void **state)
{
    (void)state;
    static const struct {
        unsigned notify;
        bool failed, delayed, success;
    } rows[] = {
        {0, true, true, false},
        {QUEUE_NOTIFY_NEVER, false, false, false},
        {QUEUE_NOTIFY_SUCCESS, false, false, true},
        {QUEUE_NOTIFY_FAILURE, true, false, false},
        {QUEUE_NOTIFY_DELAY, false, true, false},
        {QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_FAILURE | QUEUE_NOTIFY_DELAY, true, true, true}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(report_wanted(rows[i].notify, REPORT_FAILED), rows[i].failed);
        assert_int_equal(report_wanted(rows[i].notify, REPORT_DELAYED), rows[i].delayed);
        assert_int_equal(report_wanted(rows[i].notify, REPORT_DELIVERED), rows[i].success);
        assert_int_equal(report_wanted(rows[i].notify, REPORT_RELAYED), rows[i].success);
        assert_int_equal(report_wanted(rows[i].notify, REPORT_EXPANDED), rows[i].success);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(bounce),
        TEST(returned_whole),
        TEST(eight_bit_original),
        TEST(long_lines_of_the_original),
        TEST(hostile_diagnostic),
        TEST(boundary_in_the_message),
        TEST(several_recipients),
        TEST(original_recipients),
        TEST(international),
        TEST(wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
