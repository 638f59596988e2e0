/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/mime.h"
#include "smtp/queue/downgrade.h"
#include "tests/unit/mail/messages.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static int convert(const char *head, struct str data, struct buf *out, struct err *err)
{
    *err = (struct err){0};
    buf_init(out, downgrade_room(strlen(head), data.n));
    return downgrade_message(str_from(head), data, out, err);
}

static void want(const char *head, const char *data, const char *expected)
{
    struct buf out;
    struct err err;
    if (convert(head, str_from(data), &out, &err))
        fail_msg("%s", err.text);
    assert_string_equal(buf_z(&out), expected);
    buf_fini(&out);
}

static void refused(const char *head, const char *data, const char *why)
{
    struct buf out;
    struct err err;
    size_t at;
    assert_int_equal(convert(head, str_from(data), &out, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    if (!str_find(str_from(err.text), str_from(why), &at))
        fail_msg("\"%s\" isn't \"%s\"", err.text, why);
    buf_fini(&out);
}

#define MIME "MIME-Version: 1.0\r\n"

static void test_text(void **state)
{
    (void)state;
    want(MIME "Content-Type: text/plain; charset=utf-8\r\n"
              "Content-Transfer-Encoding: 8bit\r\nSubject: x\r\n\r\n",
         "Gr\xc3\xbc\xc3\x9f"
         "e = x \r\nlast\t",
         MIME "Content-Type: text/plain; charset=utf-8\r\n"
              "Content-Transfer-Encoding: quoted-printable\r\nSubject: x\r\n\r\n"
              "Gr=C3=BC=C3=9Fe =3D x=20\r\nlast=09");
    /* Said nothing of its 8 bits. */
    want(MIME "Content-Type: text/plain; charset=utf-8\r\n\r\n", "\xc3\xa4\r\n",
         MIME "Content-Type: text/plain; charset=utf-8\r\n"
              "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4\r\n");
    /* Only said so. */
    want(MIME "Content-Transfer-Encoding: 8BIT\r\n\r\n", "plain\r\n",
         MIME "Content-Transfer-Encoding: 7bit\r\n\r\nplain\r\n");
    /* Nothing to do. */
    want(MIME "\r\n", "a = b\r\n", MIME "\r\na = b\r\n");
}

static void test_long_lines(void **state)
{
    struct buf data, out, back;
    struct text_qp qp = {0};
    struct err err;
    struct str rest;
    size_t at;
    (void)state;
    buf_init(&data, 100000);
    for (int i = 0; i < 3000; i++)
        buf_add_z(&data, i % 7 ? "a" : i % 3 ? "\xc3\xa4" : " ");
    buf_add_z(&data, "\r\n");
    assert_int_equal(
        convert(MIME "Content-Transfer-Encoding: 8bit\r\n\r\n", buf_str(&data), &out, &err), 0);
    assert_true(str_find(buf_str(&out), STR("\r\n\r\n"), &at));
    struct str body = rest = str_skip(buf_str(&out), at + 4);
    while (str_chr(rest, '\n', &at)) {
        assert_true(at <= 77); /* RFC 2045 6.7: 76 and CR */
        rest = str_skip(rest, at + 1);
    }
    buf_init(&back, 100000);
    assert_int_equal(text_qp_decode(&qp, body, true, &back), 0);
    assert_true(str_eq(buf_str(&back), buf_str(&data)));
    buf_fini(&data);
    buf_fini(&out);
    buf_fini(&back);
}

static void test_binary(void **state)
{
    char octets[300];
    struct buf out, back;
    struct text_b64 b64 = {0};
    struct err err;
    size_t at;
    (void)state;
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (char)(i * 7);
    assert_int_equal(convert(MIME "Content-Type: image/png\r\n"
                                  "Content-Transfer-Encoding: binary\r\n\r\n",
                             str_of(octets, sizeof octets), &out, &err),
                     0);
    assert_true(text_ascii(buf_str(&out)));
    assert_true(str_find(buf_str(&out), STR("Content-Transfer-Encoding: base64\r\n\r\n"), &at));
    buf_init(&back, 1000);
    assert_int_equal(text_b64_decode(&b64, str_skip(buf_str(&out), at + 37), true, &back), 0);
    assert_int_equal(back.n, sizeof octets);
    assert_memory_equal(back.p, octets, sizeof octets);
    buf_fini(&out);
    buf_fini(&back);
}

static const char nested_head[] = MIME "Content-Type: multipart/mixed; boundary=out\r\n"
                                       "Content-Transfer-Encoding: 8bit\r\n\r\n";

static void test_nested(void **state)
{
    (void)state;
    want(nested_head,
         "pre\xe4mble\r\n"
         "--out\r\nContent-Type: multipart/alternative; boundary=in\r\n"
         "Content-Transfer-Encoding: 8bit\r\n\r\n"
         "--in\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: text/plain\r\n\r\n"
         "\xc3\xa4\r\n\r\n"
         "--in\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n"
         "PGI+\r\n"
         "--in--\r\n\r\n"
         "--out\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
         "From: a@b\r\nContent-Type: text/plain; charset=utf-8\r\n"
         "Content-Transfer-Encoding: 8bit\r\n\r\n\xc3\xb6\r\n"
         "--out\r\n\r\nascii\r\n"
         "--out--\r\nepi\xfcogue\r\n",
         MIME "Content-Type: multipart/mixed; boundary=out\r\n"
              "Content-Transfer-Encoding: 7bit\r\n\r\n"
              "pre?mble\r\n"
              "--out\r\nContent-Type: multipart/alternative; boundary=in\r\n"
              "Content-Transfer-Encoding: 7bit\r\n\r\n"
              "--in\r\nContent-Transfer-Encoding: quoted-printable\r\n"
              "Content-Type: text/plain\r\n\r\n"
              "=C3=A4\r\n\r\n"
              "--in\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n"
              "PGI+\r\n"
              "--in--\r\n\r\n"
              "--out\r\nContent-Type: message/rfc822\r\n"
              "Content-Transfer-Encoding: 7bit\r\n\r\n"
              "From: a@b\r\nContent-Type: text/plain; charset=utf-8\r\n"
              "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=B6\r\n"
              "--out\r\n\r\nascii\r\n"
              "--out--\r\nepi?ogue\r\n");
}

/* What isn't a delimiter doesn't become one: not by a soft break, not by the escape of an octet,
 * not by what stands for an octet between the parts. */
static void test_no_delimiter_made(void **state)
{
    static const char head[] = MIME "Content-Type: multipart/mixed; boundary=\"=C3\"\r\n\r\n";
    static const char marks[] = MIME "Content-Type: multipart/mixed; boundary=\"?\"\r\n\r\n";
    char text[200];
    (void)state;
    want(head, "--=C3\r\n\r\n--\xc3\xa4\r\n-- \r\n\xe4--\r\n--=C3--\r\n",
         MIME "Content-Type: multipart/mixed; boundary=\"=C3\"\r\n\r\n"
              "--=C3\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
              "=2D-=C3=A4\r\n=2D-=20\r\n=E4--\r\n--=C3--\r\n");
    for (size_t dashes = 70; dashes <= 80; dashes++) {
        struct buf out;
        struct err err;
        size_t at;
        snprintf(text, sizeof text, "--=C3\r\n\r\n%.*s--=C3\xc3\r\n--=C3--\r\n", (int)dashes,
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                 "aaaaaaa");
        assert_int_equal(convert(head, str_from(text), &out, &err), 0);
        assert_false(str_find(buf_str(&out), STR("=\r\n--"), &at));
        buf_fini(&out);
    }
    want(marks, "--\xc3\r\n--?\r\n\r\nx\r\n--?--\r\n--\xc3\r\n--\xc3 and so on",
         MIME "Content-Type: multipart/mixed; boundary=\"?\"\r\n\r\n"
              "--\r\n--?\r\n\r\nx\r\n--?--\r\n--\r\n--");
}

static void test_refused(void **state)
{
    (void)state;
    refused("Subject: x\r\n\r\n", "\xc3\xa4\r\n", "isn't MIME");
    refused(MIME "Subject: \xc3\xa4\r\n\r\n", "x\r\n", "header field");
    refused("DKIM-Signature: v=1\r\n" MIME "\r\n", "\xc3\xa4\r\n", "signed");
    refused(MIME "Content-Type: multipart/signed; boundary=b\r\n\r\n",
            "--b\r\n\r\n\xc3\xa4\r\n--b--\r\n", "signed");
    refused(MIME "Content-Type: application/pkcs7-mime\r\n\r\n", "\xc3\xa4\r\n", "signed");
    refused(nested_head,
            "--out\r\nContent-Type: Multipart/Signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xa4\r\n"
            "--b--\r\n--out--\r\n",
            "signed");
    refused(nested_head,
            "--out\r\nContent-Disposition: attachment; filename=\xc3\xa4\r\n\r\nx\r\n--out--\r\n",
            "header field");
    refused(MIME "Content-Transfer-Encoding: base64\r\n\r\n", "\xc3\xa4\r\n", "in spite of");
    refused(MIME "Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
            "Subject: \xc3\xa4\r\n\r\n", "");
    refused(MIME "Content-Type: multipart/mixed\r\n\r\n", "\xc3\xa4\r\n", "can't be encoded");
}

/* Whatever the structure: what comes out is 7 bit, or nothing does. */
static void test_odd_structures(void **state)
{
    size_t converted = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct buf data, head, out;
        struct err err;
        buf_init(&data, 1 << 20);
        buf_init(&head, 1 << 20);
        for (const char *p = samples[i].data; *p; p++)
            buf_add_char(&data, *p == 'e' ? '\xe9' : *p);
        buf_add_z(&head, MIME);
        buf_add_z(&head, samples[i].head);
        if (convert(buf_z(&head), buf_str(&data), &out, &err) == 0) {
            assert_true(text_ascii(buf_str(&out)));
            converted++;
        } else {
            assert_int_equal(err.kind, ERR_PERM);
        }
        buf_fini(&data);
        buf_fini(&head);
        buf_fini(&out);
    }
    assert_true(converted > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_no_delimiter_made),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_odd_structures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
