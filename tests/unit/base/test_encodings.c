/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* base64, hex, quoted-printable, XML. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct buf out;

static int set_up(void **state)
{
    (void)state;
    buf_init(&out, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&out);
    return 0;
}

#define assert_out(lit)                                                                            \
    do {                                                                                           \
        assert_int_equal(out.n, sizeof(lit) - 1);                                                  \
        assert_memory_equal(buf_z(&out), lit, sizeof(lit) - 1);                                    \
    } while (0)

static void base64_vectors(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {/* RFC 4648 10 */
                                           {"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        buf_clear(&out);
        assert_int_equal(text_base64_encode(str_from(pairs[i][0]), &out), 0);
        assert_string_equal(buf_z(&out), pairs[i][1]);
        buf_clear(&out);
        assert_int_equal(text_base64_decode(str_from(pairs[i][1]), &out), 0);
        assert_string_equal(buf_z(&out), pairs[i][0]);
    }
}

static void base64_round_trip(void **state)
{
    (void)state;
    unsigned char bytes[256];
    struct buf back;
    buf_init(&back, 1000);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 167 + 3);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        buf_clear(&out);
        buf_clear(&back);
        assert_int_equal(text_base64_encode(str_of(bytes, n), &out), 0);
        assert_int_equal(text_base64_decode(buf_str(&out), &back), 0);
        assert_int_equal(back.n, n);
        assert_memory_equal(buf_z(&back), bytes, n);
    }
    buf_fini(&back);
}

static void base64_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Z",    "Zg",   "Zg=",  "Zm8",        "Zg= =",    "Zg==\n",   " Zg==",    "Zm9v\r\nYg==",
        "====", "Z===", "=Zg=", "Z=g=",       "Zg==Zg==", "Zm8=Zm9v", "Zm9_",     "Zm9-",
        "Zh==", "Zm9=", "Zg=a", "Zm\xc3\xa4", "!m9v",     "Zm9vZm!v", "Zm9v====", "Zm9vZ===",
    };
    buf_add_z(&out, "kept");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(text_base64_decode(str_from(bad[i]), &out), -1);
    assert_int_equal(text_base64_decode(STR("Zm9\0"), &out), -1);
    assert_out("kept");
}

static void outputs_are_bounded(void **state)
{
    (void)state;
    struct buf small;
    struct text_b64 b64 = {0};
    struct text_qp qp = {{0}, 0};
    buf_init(&small, 3);
    assert_int_equal(text_base64_decode(STR("Zm9v"), &small), 0);
    assert_int_equal(text_base64_decode(STR("Zg=="), &small), -1);
    buf_clear(&small);
    assert_int_equal(text_base64_encode(STR("f"), &small), -1);
    buf_clear(&small);
    assert_int_equal(text_hex_encode("ab", 2, &small), -1);
    buf_clear(&small);
    assert_int_equal(text_hex_decode(STR("61626364"), &small), -1);
    buf_clear(&small);
    assert_int_equal(text_b64_decode(&b64, STR("Zm9vZm9v"), true, &small), -1);
    buf_clear(&small);
    assert_int_equal(text_qp_decode(&qp, STR("=41=42=43=44"), true, &small), -1);
    buf_fini(&small);
}

static void hex(void **state)
{
    (void)state;
    assert_int_equal(text_hex_encode("\x00\xff\x1a", 3, &out), 0);
    assert_out("00ff1a");
    buf_clear(&out);
    assert_int_equal(text_hex_decode(STR("00fF1A"), &out), 0);
    assert_out("\x00\xff\x1a");
    buf_clear(&out);
    static const char *const bad[] = {"0", "0g", "g0", "0x", " 0", "000", "\xc3\xa4", "@0", "`0"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(text_hex_decode(str_from(bad[i]), &out), -1);
    assert_out("");
}

/* The whole at once, and in pieces of each size, must give the same. */
static void check_b64(struct str in, struct str want)
{
    for (size_t piece = 1; piece <= in.n + 1; piece++) {
        struct text_b64 st = {0};
        buf_clear(&out);
        for (size_t at = 0; at < in.n; at += piece)
            assert_int_equal(text_b64_decode(&st, str_take(str_skip(in, at), piece), false, &out),
                             0);
        assert_int_equal(text_b64_decode(&st, STR_NULL, true, &out), 0);
        assert_int_equal(out.n, want.n);
        assert_memory_equal(buf_z(&out), want.n ? want.p : "", want.n);
    }
    struct text_b64 st = {0};
    buf_clear(&out);
    assert_int_equal(text_b64_decode(&st, in, true, &out), 0);
    assert_true(str_eq(buf_str(&out), want));
}

static void b64_bodies(void **state)
{
    (void)state;
    check_b64(STR(""), STR(""));
    check_b64(STR("Zm9v\r\nYmFy\r\n"), STR("foobar"));
    check_b64(STR("Z m\t9!vY*g"), STR("foob")); /* other characters ignored, padding missing */
    check_b64(STR("Zm8"), STR("fo"));
    check_b64(STR("Z"), STR("")); /* six bits are no byte */
    check_b64(STR("Zg==\r\nepilogue"), STR("f"));
    check_b64(STR("Zm8=Zm9v"), STR("fo"));
    check_b64(STR("=Zm9v"), STR("foo"));
    check_b64(STR("Zm9v\xff\x00YmFy"), STR("foobar"));
}

static void b64_long_body(void **state)
{
    (void)state;
    enum { N = 5000 };
    char *raw = mem_alloc(N);
    struct buf coded;
    struct text_b64 st = {0};
    buf_init(&coded, 1 << 20);
    for (size_t i = 0; i < N; i++)
        raw[i] = (char)(i * 31 + i / 256);
    struct buf lines;
    buf_init(&lines, 1 << 20);
    text_base64_encode(str_of(raw, N), &coded);
    for (size_t at = 0; at < coded.n; at += 76) {
        buf_add_str(&lines, str_take(str_skip(buf_str(&coded), at), 76));
        buf_add_z(&lines, "\r\n");
    }
    assert_int_equal(text_b64_decode(&st, buf_str(&lines), true, &out), 0);
    assert_int_equal(out.n, N);
    assert_memory_equal(out.p, raw, N);
    buf_fini(&lines);
    buf_fini(&coded);
    mem_free(raw);
}

static void check_qp(struct str in, struct str want)
{
    for (size_t piece = 1; piece <= in.n + 1; piece++) {
        struct text_qp st = {{0}, 0};
        buf_clear(&out);
        for (size_t at = 0; at < in.n; at += piece)
            assert_int_equal(text_qp_decode(&st, str_take(str_skip(in, at), piece), false, &out),
                             0);
        assert_int_equal(text_qp_decode(&st, STR_NULL, true, &out), 0);
        assert_int_equal(out.n, want.n);
        assert_memory_equal(buf_z(&out), want.n ? want.p : "", want.n);
    }
}

static void qp_bodies(void **state)
{
    (void)state;
    check_qp(STR(""), STR(""));
    check_qp(STR("caf=C3=A9 au lait"), STR("caf\xc3\xa9 au lait"));
    check_qp(STR("=c3=a9"), STR("\xc3\xa9"));
    check_qp(STR("soft=\r\nbreak"), STR("softbreak"));
    check_qp(STR("soft =\nbreak"), STR("soft break"));
    check_qp(STR("padded= \t\r\nbreak"), STR("paddedbreak")); /* transport padding */
    check_qp(STR("line  \t\r\nnext \nlast "), STR("line\r\nnext\nlast"));
    check_qp(STR("a b  c\r\n\r\n d"), STR("a b  c\r\n\r\n d"));
    check_qp(STR("a=20\r\nb=09"), STR("a \r\nb\t")); /* encoded blanks stay */
    check_qp(STR("=3D=\r\n=3D"), STR("=="));
    check_qp(STR("=00=0D=0A"), STR("\0\r\n"));
}

static void qp_leniency(void **state)
{
    (void)state;
    check_qp(STR("1=2"), STR("1=2"));
    check_qp(STR("a=XYb"), STR("a=XYb"));
    check_qp(STR("a=4"), STR("a=4"));
    check_qp(STR("a=4\r\nb"), STR("a=4\r\nb"));
    check_qp(STR("a=4=41"), STR("a=4A"));
    check_qp(STR("a==41"), STR("a=A"));
    check_qp(STR("a= b"), STR("a= b"));
    check_qp(STR("a=\rb"), STR("a=\rb"));
    check_qp(STR("a \rb"), STR("a \rb"));
    check_qp(STR("a\r\r\nb"), STR("a\r\r\nb"));
    check_qp(STR("end="), STR("end"));
    check_qp(STR("end=\r"), STR("end"));
    check_qp(STR("end= "), STR("end"));
    check_qp(STR("end\r"), STR("end\r"));
    check_qp(STR("\xff\x00 raw \x80"), STR("\xff\x00 raw \x80"));
}

static void qp_many_blanks(void **state)
{
    (void)state;
    char text[400];
    memset(text, ' ', sizeof text);
    text[399] = 'x';
    check_qp(str_of(text, 400), str_of(text, 400));
}

static void check_xml(struct str in, const char *want)
{
    buf_clear(&out);
    assert_int_equal(text_xml(in, &out), 0);
    assert_string_equal(buf_z(&out), want);
}

static void xml(void **state)
{
    struct buf small;

    (void)state;
    check_xml(STR(""), "");
    check_xml(STR("plain.example"), "plain.example");
    check_xml(STR("</a><b c=\"d\" e='f'>&amp;]]>"),
              "&lt;/a&gt;&lt;b c=&quot;d&quot; e=&apos;f&apos;&gt;&amp;amp;]]&gt;");
    check_xml(STR("\xc3\xbc \xf0\x9f\x93\xae\t\n"), "\xc3\xbc \xf0\x9f\x93\xae\t\n");
    check_xml(STR("a\0b\rc\x1b[0m\x1f"), "a?b?c?[0m?");
    check_xml(STR("\xff\xc3"), "??");
    check_xml(STR("\xef\xbf\xbe\xef\xbf\xbf\xef\xbf\xbd"), "??\xef\xbf\xbd"); /* U+FFFE, U+FFFF */
    check_xml(STR("\xed\xa0\x80"), "???");                                    /* a surrogate */
    buf_init(&small, 8);
    assert_int_equal(text_xml(STR("1234&"), &small), -1);
    buf_fini(&small);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(base64_vectors),
        T(base64_round_trip),
        T(base64_is_strict),
        T(outputs_are_bounded),
        T(hex),
        T(b64_bodies),
        T(b64_long_body),
        T(qp_bodies),
        T(qp_leniency),
        T(qp_many_blanks),
        T(xml),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
