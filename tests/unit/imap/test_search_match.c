/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Searches over one message, by its row, its head and its text. */
#include "imap/search_body.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct arena *arena;
    struct imap_view view;
    struct search_program program;
    struct search_scan scan;
    struct search_message m;
    struct message_info row;
    struct body_reader body;
    struct mime_part *root;
    unsigned steps;
};
static uint32_t uids[] = {1, 2, 3};
static struct mailbox_keyword keywords[] = {{.bit = 8, .name = {"$Junk", 5}}};

static int set_up(void **state)
{
    static struct fixture f;
    f = (struct fixture){.arena = arena_new(0)};
    f.view = (struct imap_view){
        .uids = uids, .n = 3, .cap = 3, .uidnext = 4, .keywords = keywords, .n_keywords = 1};
    f.row = (struct message_info){.uid = 2, .flags = MESSAGE_SEEN, .size = 1000};
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    search_scan_fini(&f->scan);
    arena_free(&f->arena);
    return 0;
}

static void program(struct fixture *f, struct str text)
{
    const char *why;
    struct imap_cursor c = {.rest = text, .arena = f->arena};
    if (search_program_parse(&c, &f->view, &f->program, &why) != SEARCH_FINE)
        fail_msg("%s: " STR_FMT, why, STR_ARG(text));
    f->m = (struct search_message){.uid = f->row.uid, .recent_from = 2, .row = &f->row};
}

static enum search_truth by_row(struct fixture *f, const char *text)
{
    program(f, str_from(text));
    return search_match(f->program.root, &f->m);
}

static enum search_truth by_head(struct fixture *f, const char *text, const char *head)
{
    program(f, str_from(text));
    search_message_head(&f->m, f->arena, STR("Delivered-To: me@x\r\n"), str_from(head));
    return search_match(f->program.root, &f->m);
}

static void message(struct fixture *f, const char *head, struct str data)
{
    assert_int_equal(mime_parse(f->arena, str_from(head), data, &f->root), 0);
    f->body =
        (struct body_reader){.data_size = data.n, .fd = -1, .data = data, .data_loaded = true};
}

static enum search_truth by_text(struct fixture *f, struct str text)
{
    struct err err;
    int more;
    program(f, text);
    search_scan_fini(&f->scan);
    search_scan_init(&f->scan, f->arena, &f->program);
    search_scan_begin(&f->scan, f->arena, f->root);
    f->m.hits = f->scan.hits;
    f->steps = 0;
    while ((more = search_scan_step(&f->scan, &f->body, &err)) > 0)
        f->steps++;
    assert_int_equal(more, 0);
    return search_match(f->program.root, &f->m);
}

static void rows(void **state)
{
    struct fixture *f = *state;
    static const char *const yes[] = {
        "ALL",
        "SEEN",
        "UNANSWERED",
        "2",
        "UID 1:3",
        "RECENT",
        "UNKEYWORD $junk",
        "LARGER 999",
        "SMALLER 1001",
        "OR DELETED SEEN",
        "NOT DELETED",
        "(SEEN NOT (DRAFT))",
        "ON 1-Jan-1970",
        "SINCE 1-Jan-1970",
        "BEFORE 2-Jan-1970",
        "NOT OLD",
    };
    static const char *const no[] = {
        "UNSEEN",
        "ANSWERED",
        "1,3",
        "NEW",
        "OLD",
        "KEYWORD $Junk",
        "KEYWORD other",
        "LARGER 1000",
        "SMALLER 1000",
        "SEEN DELETED",
        "NOT (OR SEEN DELETED)",
        "ON 2-Jan-1970",
        "SINCE 2-Jan-1970",
        "BEFORE 1-Jan-1970",
    };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (by_row(f, yes[i]) != SEARCH_YES)
            fail_msg("not found: %s", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (by_row(f, no[i]) != SEARCH_NO)
            fail_msg("found: %s", no[i]);
    f->row.internal_ms = -1; /* the last millisecond of 1969 */
    assert_int_equal(by_row(f, "ON 31-Dec-1969"), SEARCH_YES);
    f->row.internal_ms = 86400000 - 1;
    assert_int_equal(by_row(f, "ON 1-Jan-1970"), SEARCH_YES);
}

/* What is cheap decides before what is dear is read. */
static void undecided(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(by_row(f, "UNSEEN SUBJECT x"), SEARCH_NO);
    assert_int_equal(by_row(f, "OR SEEN BODY x"), SEARCH_YES);
    assert_int_equal(by_row(f, "SEEN SUBJECT x"), SEARCH_UNKNOWN);
    assert_int_equal(by_row(f, "NOT TEXT x"), SEARCH_UNKNOWN);
    assert_int_equal(by_row(f, "BODY \"\" TEXT \"\""), SEARCH_YES);
    assert_int_equal(by_head(f, "SUBJECT x BODY y", "Subject: z\r\n\r\n"), SEARCH_NO);
    assert_int_equal(by_head(f, "TEXT z", "Subject: z\r\n\r\n"), SEARCH_YES);
    assert_int_equal(by_head(f, "TEXT y", "Subject: z\r\n\r\n"), SEARCH_UNKNOWN);
}

static void heads(void **state)
{
    struct fixture *f = *state;
    static const char head[] = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus\r\n K\xc3\xb6ln\r\n"
                               "From: =?iso-8859-1?q?J=F6rg?= <joerg@example.com>\r\n"
                               "To: a@b\r\nTo: c@d\r\nX-Empty:\r\n"
                               "Date: Sat, 21 Nov 2026 00:30:00 +0200\r\n\r\n";
    static const char *const yes[] = {
        "SUBJECT aus",
        "SUBJECT \"GR\xc3\x9c\"",
        "SUBJECT \"aus k\xc3\x96ln\"",
        "FROM \"j\xc3\xb6rg\"",
        "FROM JOERG@",
        "TO a@b TO c@D",
        "HEADER x-empty \"\"",
        "HEADER Delivered-To ME@",
        "SENTON 21-Nov-2026", /* the day as written, whatever the zone */
        "SENTBEFORE 22-Nov-2026",
        "SENTSINCE 21-Nov-2026",
        "TEXT \"subject: gr\"",
    };
    static const char *const no[] = {
        "SUBJECT joerg",      "CC a", "BCC a", "HEADER X-None \"\"", "HEADER X-Empty x",
        "SENTON 20-Nov-2026",
    };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        char text[100];
        snprintf(text, sizeof text, "CHARSET UTF-8 %s", yes[i]);
        if (by_head(f, text, head) != SEARCH_YES)
            fail_msg("not found: %s", yes[i]);
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (by_head(f, no[i], head) != SEARCH_NO)
            fail_msg("found: %s", no[i]);
    assert_int_equal(by_head(f, "SENTSINCE 1-Jan-1970", "Date: nonsense\r\n\r\n"), SEARCH_NO);
    assert_int_equal(by_head(f, "SENTSINCE 1-Jan-1970", "\r\n"), SEARCH_NO);
}

static void texts(void **state)
{
    struct fixture *f = *state;
    message(f, "Subject: notbody\r\n\r\n", STR("Hello World\r\nagain\r\n"));
    assert_int_equal(by_text(f, STR("BODY \"hello WORLD\"")), SEARCH_YES);
    assert_int_equal(by_text(f, STR("BODY notbody")), SEARCH_NO);
    assert_int_equal(by_text(f, STR("OR BODY nothing BODY again")), SEARCH_YES);
    assert_int_equal(by_text(f, STR("BODY hello BODY nothing")), SEARCH_NO);
    assert_int_equal(by_text(f, STR("NOT BODY hello")), SEARCH_NO);
    message(f, "\r\n", STR(""));
    assert_int_equal(by_text(f, STR("BODY x")), SEARCH_NO);
    assert_int_equal(by_text(f, STR("NOT BODY x")), SEARCH_YES);
}

static void encodings(void **state)
{
    struct fixture *f = *state;
    message(f,
            "Content-Type: text/plain; charset=utf-8\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
            STR("Gr=C3=9C=C3=9Fe, ein lan=\r\nges Wort\r\n"));
    assert_int_equal(by_text(f, STR("CHARSET UTF-8 BODY \"gr\xc3\xbc\"")), SEARCH_YES);
    assert_int_equal(by_text(f, STR("BODY \"ein langes\"")), SEARCH_YES);
    assert_int_equal(by_text(f, STR("BODY C3")), SEARCH_NO);
    message(f,
            "Content-Type: text/html; charset=iso-8859-1\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n",
            STR("TfZ3\r\nZQ==\r\n")); /* M\xf6we */
    assert_int_equal(by_text(f, STR("CHARSET UTF-8 BODY \"m\xc3\x96WE\"")), SEARCH_YES);
    message(f, "Content-Type: text/plain; charset=utf-16\r\n\r\n", STR("\xff\xfeh\0i\0"));
    assert_int_equal(by_text(f, STR("BODY hi")), SEARCH_YES);
    message(f, "Content-Type: text/plain; charset=koi8-r\r\n\r\n", STR("\xd0\xd2\xc9\r\n"));
    assert_int_equal(by_text(f, STR("CHARSET UTF-8 BODY \"\xd0\xbf\xd1\x80\xd0\xb8\"")),
                     SEARCH_YES);
}

static void parts(void **state)
{
    struct fixture *f = *state;
    message(f, "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
            STR("preamble\r\n--b\r\n\r\nfirst\r\n--b\r\n"
                "Content-Type: application/pdf; name=\"=?utf-8?q?r=C3=A9port?=\"\r\n\r\nbinary\r\n"
                "--b\r\nContent-Type: message/rfc822\r\n\r\n"
                "Subject: inner subject\r\n\r\ninner body\r\n--b--\r\nepilogue\r\n"));
    assert_int_equal(by_text(f, STR("BODY first BODY \"inner subject\" BODY \"inner body\"")),
                     SEARCH_YES);
    assert_int_equal(by_text(f, STR("CHARSET UTF-8 BODY \"R\xc3\xa9PORT\"")), SEARCH_YES);
    assert_int_equal(by_text(f, STR("OR BODY application/pdf BODY content-type")), SEARCH_NO);
    assert_int_equal(by_text(f, STR("OR BODY preamble OR BODY binary BODY epilogue")), SEARCH_NO);
    assert_int_equal(by_text(f, STR("BODY firstsubject")), SEARCH_NO);
    message(f,
            "Content-Type: image/png; name=plain.png\r\nContent-Description: my "
            "=?utf-8?q?d=C3=A9s?=\r\n"
            "Content-Disposition: inline; filename*=utf-8''caf%C3%A9%zz.png\r\n\r\n",
            STR("binary"));
    assert_int_equal(by_text(f, STR("CHARSET UTF-8 BODY \"CAF\xc3\x89%zz.p\"")), SEARCH_YES);
    assert_int_equal(by_text(f, STR("CHARSET UTF-8 BODY PLAIN.P BODY \"my d\xc3\xa9\"")),
                     SEARCH_YES);
}

/* Whatever the place of a word and the borders of the pieces read, it is found. */
static void borders(void **state)
{
    struct fixture *f = *state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t at = 32768 - 40; at < 32768 + 20; at += 3) {
        buf_clear(&b);
        while (b.n < at)
            buf_add_char(&b, 'x');
        buf_add_z(&b, "Gr\xc3\x9c\xc3\x9f"
                      "e");
        while (b.n < 100000)
            buf_add_char(&b, 'y');
        message(f, "Content-Type: text/plain; charset=utf-8\r\n\r\n", buf_str(&b));
        if (by_text(f, STR("CHARSET UTF-8 BODY \"xxgr\xc3\xbc\xc3\x9f"
                           "ey\"")) != SEARCH_YES)
            fail_msg("lost at %zu", at);
        assert_int_equal(by_text(f, STR("BODY z")), SEARCH_NO);
        assert_true(f->steps >= 3);
    }
    assert_true(f->scan.window.cap < 1 << 20); /* memory doesn't grow with the text */
    buf_fini(&b);
}

/* A head of nothing but fields is looked at so far, and no further: keys times fields is work. */
static void many_fields(void **state)
{
    struct fixture *f = *state;
    struct buf b;

    buf_init(&b, 1 << 20);
    for (int i = 1; i < 6000; i++)
        buf_printf(&b, "b%d: x\r\n", i);
    buf_add_z(&b, "\r\n");
    assert_int_equal(by_head(f, "HEADER b4000 x", buf_z(&b)), SEARCH_YES);
    assert_int_equal(f->m.n_fields, 5000);
    assert_int_equal(by_head(f, "HEADER b5500 x", buf_z(&b)), SEARCH_NO);
    buf_fini(&b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(rows),      TEST(undecided), TEST(heads),   TEST(texts),
        TEST(encodings), TEST(parts),     TEST(borders), TEST(many_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
