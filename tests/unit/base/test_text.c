/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* UTF-8, charsets, folding, mailbox names, domains. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <iconv.h>
#include <pthread.h>
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

static void utf8_validity(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "plain ascii that is longer than a word",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "12345678\xc3\xbcxyz12345678"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80", /* a surrogate */
                                      "\xed\xbf\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xfe",
                                      "\xff",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "\xc3\x28",
                                      "\xe2\x28\xa1",
                                      "12345678\xff"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(text_utf8_valid(str_from(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(text_utf8_valid(str_from(bad[i])));
    assert_true(text_utf8_valid(STR("a\0b")));
    assert_true(text_ascii(STR("123456789\0\x7f")));
    assert_false(text_ascii(STR("12345678\x80")));
    assert_false(text_ascii(STR("1234\x80"
                                "567")));
}

static void utf8_every_code_point(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        char bytes[4];
        uint32_t back = 1;
        if (cp == 0xd800)
            cp = 0xe000;
        unsigned n = text_utf8_put(cp, bytes);
        if (text_utf8_next(str_of(bytes, n), &back) != n || back != cp)
            fail_msg("U+%04X", cp);
        if (text_utf8_next(str_of(bytes, n - 1), &back) != 0)
            fail_msg("half of U+%04X", cp);
    }
}

static void check_utf8(struct str charset, struct str in, const char *want)
{
    buf_clear(&out);
    assert_int_equal(text_to_utf8(charset, in, &out), 0);
    assert_string_equal(buf_z(&out), want);
    assert_true(text_charset_known(charset));
}

/* Needs a converter that not every machine has (Debian 13: libc-gconv-modules-extra). */
static void check_module(const char *module, struct str charset, struct str in, const char *want)
{
    iconv_t cd = iconv_open("UTF-8", module);
    if (cd == (iconv_t)-1) {
        print_message("skipped: libc has no %s here\n", module);
        assert_false(text_charset_known(charset));
        return;
    }
    iconv_close(cd);
    check_utf8(charset, in, want);
}

static void charsets(void **state)
{
    (void)state;
    check_utf8(STR("utf-8"), STR("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
    check_utf8(STR("UTF-8"), STR("a\xff\xc3"), "a\xef\xbf\xbd\xef\xbf\xbd");
    check_utf8(STR(""), STR("gr\xc3\xbc"), "gr\xc3\xbc");
    check_utf8(STR(""), STR("gr\xfc \x80"), "gr\xc3\xbc \xe2\x82\xac");
    check_utf8(STR("US-ASCII"), STR("gr\xfc"), "gr\xc3\xbc");
    check_utf8(STR("iso-8859-1"), STR("\xe4\x93\x81"), "\xc3\xa4\xe2\x80\x9c\xc2\x81");
    check_module("ISO-8859-15", STR(" ISO-8859-15 "), STR("\xa4"), "\xe2\x82\xac");
    check_module("KOI8-R", STR("koi8-r"), STR("\xf0\xd2\xc9"), "\xd0\x9f\xd1\x80\xd0\xb8");
    check_module("CP932", STR("Shift_JIS"), STR("\x93\xfa\x96\x7b"), "\xe6\x97\xa5\xe6\x9c\xac");
    check_module("ISO-2022-JP-2", STR("ISO-2022-JP"), STR("\x1b$BF|K\\\x1b(B!"),
                 "\xe6\x97\xa5\xe6\x9c\xac!");
    check_module("GB18030", STR("gb2312"), STR("\xd6\xd0\xce\xc4"), "\xe4\xb8\xad\xe6\x96\x87");
    check_module("BIG5-HKSCS", STR("big5"), STR("\xa4\xa4\xa4\xe5"), "\xe4\xb8\xad\xe6\x96\x87");
    check_module("CP949", STR("euc-kr"), STR("\xc7\xd1"), "\xed\x95\x9c");
    check_module("UTF-7", STR("utf-7"), STR("+AOk-x"), "\xc3\xa9x");
    check_utf8(STR("utf-16"), STR("\xfe\xff\0a\0b"), "ab");
    check_utf8(STR("utf-16"),
               STR("\xff\xfe"
                   "a\0b\0"),
               "ab"); /* the byte order of the message before is forgotten */
    check_utf8(STR("utf-16"), STR("\0a"), "a");
    check_utf8(STR("utf-32"), STR("\xff\xfe\0\0a\0\0\0"), "a");
    check_utf8(STR("utf-32"), STR("\0\0\0a\0\x11\0\0\0\0\0b"),
               "a\xef\xbf\xbd"
               "b");
    check_utf8(STR("utf-16be"), STR("\0a\xd8\0\0b\0"),
               "a\xef\xbf\xbd"
               "b\xef\xbf\xbd");
    check_module("CP1255", STR("windows-1255"), STR("\xe0"),
                 "\xd7\x90"); /* held for a combining mark */
}

static void unknown_charsets(void **state)
{
    (void)state;
    static const char *const names[] = {"x-nonsense", "UTF-8//TRANSLIT", "latin1//IGNORE", "/",
                                        "INTERNAL",   "WCHAR_T",         "../x",           "char"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        buf_clear(&out);
        assert_false(text_charset_known(str_from(names[i])));
        assert_int_equal(text_to_utf8(str_from(names[i]), STR("a\xe4\xc3\xbc"), &out), 0);
        assert_string_equal(buf_z(&out), "a\xef\xbf\xbd\xc3\xbc");
    }
}

static void long_texts_are_whole(void **state)
{
    (void)state;
    static const char *const names[] = {"iso-8859-1", "utf-16"};
    static char text[10000];
    memset(text, 0xe4, sizeof text);
    for (size_t i = 0; i < 2; i++) {
        size_t want = i ? sizeof text / 2 * 3 : 2 * sizeof text;
        buf_clear(&out);
        assert_int_equal(text_to_utf8(str_from(names[i]), str_of(text, sizeof text), &out), 0);
        assert_int_equal(out.n, want);
        assert_true(text_utf8_valid(buf_str(&out)));
        struct buf small;
        buf_init(&small, want - 1);
        assert_int_equal(text_to_utf8(str_from(names[i]), str_of(text, sizeof text), &small), -1);
        assert_true(small.n < want);
        buf_fini(&small);
    }
}

static void *convert_many(void *failed)
{
    static const char *const names[] = {"koi8-r", "big5", "utf-16"};
    struct buf b;
    buf_init(&b, 100);
    for (int i = 0; i < 300; i++) {
        buf_clear(&b);
        if (text_to_utf8(str_from(names[i % 3]), STR("ab"), &b) || b.n < 2)
            *(bool *)failed = true;
    }
    buf_fini(&b);
    return NULL;
}

static void threads_have_their_own_converters(void **state)
{
    (void)state;
    pthread_t threads[3];
    bool failed[3] = {false};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, convert_many, &failed[i]), 0);
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_false(failed[i]);
    }
}

static void check_fold(const char *in, const char *want)
{
    buf_clear(&out);
    assert_int_equal(text_fold(str_from(in), &out), 0);
    assert_string_equal(buf_z(&out), want);
}

static void folding(void **state)
{
    (void)state;
    check_fold("", "");
    check_fold("Hello, WORLD [@`{]", "hello, world [@`{]");
    check_fold("\xc3\x84\xc3\x96Z", "\xc3\xa4\xc3\xb6z");
    check_fold("\xce\xa3\xcf\x83\xcf\x82", "\xcf\x83\xcf\x83\xcf\x83"); /* three sigmas */
    check_fold("\xd0\x9f\xd0\xa0", "\xd0\xbf\xd1\x80");
    check_fold("\xe2\x84\xaa", "k"); /* KELVIN SIGN */
    check_fold("\xf0\x90\x90\x80", "\xf0\x90\x90\xa8");
    check_fold("\xe6\x97\xa5", "\xe6\x97\xa5");
    check_fold("A\xff", "a\xef\xbf\xbd");
    static char text[3000];
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\xc3\x84", 2);
    buf_clear(&out);
    assert_int_equal(text_fold(str_of(text, sizeof text), &out), 0);
    assert_int_equal(out.n, sizeof text);
    assert_memory_equal(out.p + 2998, "\xc3\xa4", 2);
}

static void utf7_names(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"INBOX", "INBOX"},
        {"", ""},
        {"a & b", "a &- b"},
        {"&&", "&-&-"},
        {"\xc3\xa9", "&AOk-"},
        {"\xc3\xa9&", "&AOk-&-"},
        {"Entw\xc3\xbcrfe", "Entw&APw-rfe"},
        {"~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", /* RFC 3501 */
         "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},
        {"\xf0\x9f\x98\x80", "&2D3eAA-"},
        {"a\x01", "a&AAE-"},
        {"\x7f", "&AH8-"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        buf_clear(&out);
        assert_int_equal(text_utf7_encode(str_from(pairs[i][0]), &out), 0);
        assert_string_equal(buf_z(&out), pairs[i][1]);
        buf_clear(&out);
        assert_int_equal(text_utf7_decode(str_from(pairs[i][1]), &out), 0);
        assert_string_equal(buf_z(&out), pairs[i][0]);
    }
}

static void utf7_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "&",          /* no end */
        "&AOk",       /* no end */
        "&AOk&-",     /* no end of the first */
        "&A-",        /* not one unit */
        "&AO-",       /* not one unit */
        "&AOkA-",     /* more than padding */
        "&AOl-",      /* padding not zero */
        "&AGE-",      /* "a" stands for itself */
        "&ACY-",      /* "&" is "&-" */
        "&AOkAYQ-",   /* "a" again */
        "&AOk-&AOk-", /* one shift would do */
        "&AAA-",      /* NUL */
        "&2D0-",      /* half a pair */
        "&3gA-",      /* the other half */
        "&2D0A6Q-",   /* half a pair, then a letter */
        "&AO/-",      /* "/" is "," here */
        "&AO=-",      /* no such letter */
        "&AOk=-",     /* no "=" */
        "\xc3\xa9",   /* not ASCII */
        "a\tb",       "a\x7f",
    };
    buf_add_z(&out, "kept");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (text_utf7_decode(str_from(bad[i]), &out) != -1)
            fail_msg("accepted %s", bad[i]);
    assert_int_equal(text_utf7_decode(STR("a\0b"), &out), -1);
    assert_int_equal(text_utf7_encode(STR("a\xff"), &out), -1);
    assert_int_equal(text_utf7_encode(STR("\xc3\xa9\0"), &out), -1);
    assert_string_equal(buf_z(&out), "kept");
}

static void check_domain(const char *in, const char *want)
{
    buf_clear(&out);
    int r = text_domain(str_from(in), &out);
    if (r != (want ? 0 : -1))
        fail_msg("%s: %d", in, r);
    assert_string_equal(buf_z(&out), want ? want : "");
}

static void domains(void **state)
{
    (void)state;
    check_domain("Example.COM", "example.com");
    check_domain("a", "a");
    check_domain("3com.com", "3com.com");
    check_domain("m\xc3\xbcnchen.example", "xn--mnchen-3ya.example");
    check_domain("M\xc3\x9cNCHEN.example", "xn--mnchen-3ya.example");
    check_domain("XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example");
    check_domain("mu\xcc\x88nchen.example", "xn--mnchen-3ya.example"); /* decomposed */
    check_domain("fa\xc3\x9f.example", "xn--fa-hia.example");
    check_domain("a\xe3\x80\x82\xc3\xbc", "a.xn--tda"); /* ideographic full stop */
    static const char *const bad[] = {
        "",        ".",         "a.",         ".a",   "a..b",         "a_b.c",       "-a.b",
        "a-.b",    "a b.c",     "a.b ",       "a/b",  "[1.2.3.4]",    "a@b",         "a\tb",
        "\xff.de", "\xc3\xbc.", "\xc3\xbc_x", "\xc3", "\xc3\xbc..de", "\xc3\xbc .de"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        check_domain(bad[i], NULL);
    buf_clear(&out);
    assert_int_equal(text_domain(STR("a\0.b"), &out), -1);
    assert_int_equal(text_domain(STR("\xc3\xbc\0.b"), &out), -1);
}

static void domain_lengths(void **state)
{
    (void)state;
    char name[300], wide[2000];
    memset(name, 'a', sizeof name);
    buf_clear(&out);
    assert_int_equal(text_domain(str_of(name, 63), &out), 0);
    assert_int_equal(text_domain(str_of(name, 64), &out), -1);
    for (size_t i = 50; i < sizeof name; i += 51)
        name[i] = '.';
    assert_int_equal(text_domain(str_of(name, 253), &out), 0);
    assert_int_equal(text_domain(str_of(name, 254), &out), -1);
    for (size_t i = 0; i < sizeof wide; i += 2)
        memcpy(wide + i, "\xc3\xbc", 2);
    assert_int_equal(text_domain(str_of(wide, sizeof wide), &out), -1);
    assert_int_equal(text_domain(str_of(wide, 800), &out), -1);
}

static void printable(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"plain \\ \"text\"", "plain \\ \"text\""},
        {"Gr\xc3\xbc\xc3\x9f"
         "e \xe2\x82\xac \xf0\x9f\x98\x80",
         "Gr\xc3\xbc\xc3\x9f"
         "e \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"a\tb", "a b"},
        {"a\r\n\tb\n c\r\n", "a b c\\u000d\\u000a"},
        {"\r\n", "\\u000d\\u000a"},
        {"a\r\tb", "a\\u000d b"},
        {"\x1b]0;x\x07\x7f", "\\u001b]0;x\\u0007\\u007f"},
        {"\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "\\u0080\\u009b\\u009f\xc2\xa0"},
        {"\xe2\x80\x8d\xe2\x80\x8e\xe2\x80\x8f", "\xe2\x80\x8d\\u200e\\u200f"},
        {"\xe2\x80\xa9\xe2\x80\xaa\xe2\x80\xae\xe2\x80\xaf", "\\u2029\\u202a\\u202e\xe2\x80\xaf"},
        {"\xe2\x81\xa5\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa",
         "\xe2\x81\xa5\\u2066\\u2069\xe2\x81\xaa"},
        {"\xd8\x9c", "\\u061c"},
        {"\xff\xc3", "\\xff\\xc3"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        buf_init(&b, 200);
        assert_int_equal(text_printable(str_from(rows[i].in), &b), 0);
        assert_string_equal(buf_z(&b), rows[i].out);
        assert_int_equal(text_is_printable(str_from(rows[i].in)),
                         strcmp(rows[i].in, rows[i].out) == 0);
        assert_true(text_is_printable(buf_str(&b)));
        buf_fini(&b);
    }
    struct buf b;
    buf_init(&b, 3);
    assert_int_equal(text_printable(STR("\x1b"), &b), -1);
    buf_fini(&b);
    buf_init(&b, 20);
    assert_int_equal(text_printable(STR("a\0b"), &b), 0);
    assert_string_equal(buf_z(&b), "a\\u0000b");
    buf_fini(&b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(utf8_validity),
        T(utf8_every_code_point),
        T(charsets),
        T(unknown_charsets),
        T(long_texts_are_whole),
        T(threads_have_their_own_converters),
        T(folding),
        T(utf7_names),
        T(utf7_is_strict),
        T(domains),
        T(domain_lengths),
        T(printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
