/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The reader of the configuration file. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include "appliance/base/conf.h"
#include "appliance/base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct box_conf {
    int64_t size;
    const char *label, *peers;
};
static const struct ph_setting box_settings[] = {
    PH_SETTING(INT, box_conf, size, 0, "5", 1, 10, "Size."),
    PH_SETTING(TEXT, box_conf, label, 0, "", 0, 0, "Label."),
    PH_SETTING(TEXT, box_conf, peers, PH_LIST, "", 0, 0, "Peers."), PH_SETTING_END};
static const struct conf_section sections[] = {
    {"box", box_settings, false}, {"shelf", box_settings, true}, {NULL, NULL, false}};

static char folder[] = "/tmp/posthouse-conf-XXXXXX";

static const char *write_file(const char *name, const char *text)
{
    static char path[64];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

struct seen {
    struct buf text;
    struct box_conf box;
};

/* Notes the item as "line section[title].name=value", and sets it. */
static int on_item(void *ctx, const struct conf_item *i, struct err *err)
{
    struct seen *s = ctx;

    buf_printf(&s->text, "%u %s", i->line, i->section);
    if (i->title)
        buf_printf(&s->text, "[%s]", i->title);
    if (!i->name) {
        buf_add_z(&s->text, " end;");
        return 0;
    }
    buf_printf(&s->text, ".%s=" STR_FMT ";", i->name, STR_ARG(i->value));
    return settings_set(box_settings, &s->box, str_from(i->name), i->value, err);
}

/* What was seen, then "|", then the errors without the folder's name. */
static const char *read_path(const char *path)
{
    static struct buf out;
    struct seen s = {0};
    struct buf errors;
    struct err err;

    buf_fini(&out);
    buf_init(&out, 1 << 20);
    buf_init(&s.text, 1 << 20);
    buf_init(&errors, 1 << 20);
    int rc = conf_read(path, sections, on_item, &s, &errors, &err);
    assert_int_equal(rc, errors.n ? -1 : 0);
    if (rc) {
        struct str first, rest;
        str_cut(buf_str(&errors), '\n', &first, &rest);
        assert_true(str_starts(first, str_take(str_from(err.text), first.n)));
    }
    buf_printf(&out, "%s|", buf_z(&s.text));
    for (const char *p = buf_z(&errors); *p; p++) {
        if (strncmp(p, folder, sizeof folder - 1) == 0)
            p += sizeof folder;
        buf_add_char(&out, *p);
    }
    buf_fini(&s.text);
    buf_fini(&errors);
    settings_free(box_settings, &s.box);
    return buf_z(&out);
}

static const char *read_text(const char *text)
{
    return read_path(write_file("a.conf", text));
}

static void test_values(void **state)
{
    (void)state;
    assert_string_equal(read_text("box {\n  size = 7\n  label = \"two words\"\n}\n"),
                        "2 box.size=7;3 box.label=two words;4 box end;|");
    assert_string_equal(read_text("# x {\n// y \"\n/* z\n */ box { # }\nsize=7 }"),
                        "5 box.size=7;5 box end;|");
    assert_string_equal(read_text("box { label = /etc/x.pem }"),
                        "1 box.label=/etc/x.pem;1 box end;|");
    assert_string_equal(read_text("box { label = '${HOME}' }"), "1 box.label=${HOME};1 box end;|");
    assert_string_equal(read_text("box { label = \"\" }"), "1 box.label=;1 box end;|");
    assert_string_equal(read_text(""), "|");
    assert_string_equal(read_text("\xef\xbb\xbf"
                                  "box { size = 7 }"),
                        "1 box.size=7;1 box end;|");
}

static void test_comments_in_strings(void **state)
{
    (void)state;
    assert_string_equal(read_text("box { label = \"a # b \\\" // c\" }"),
                        "1 box.label=a # b \" // c;1 box end;|");
    assert_string_equal(read_text("box { label = 'it is /* not */ one' }"),
                        "1 box.label=it is /* not */ one;1 box end;|");
    assert_string_equal(read_text("box { label = http://x/ }"),
                        "1 box.label=http://x/;1 box end;|");
}

static void test_variables(void **state)
{
    (void)state;
    setenv("CONF_TEST", "from outside", 1);
    assert_string_equal(read_text("box { label = \"${CONF_TEST}\" }"),
                        "1 box.label=from outside;1 box end;|");
    assert_string_equal(read_text("box { label = \"\\${CONF_TEST}\" }"),
                        "1 box.label=${CONF_TEST};1 box end;|");
}

static void test_titles(void **state)
{
    (void)state;
    assert_string_equal(
        read_text("shelf \"a\" { size = 1 }\nshelf b { }\nshelf a { size = 2 }"),
        "1 shelf[a].size=1;1 shelf[a] end;2 shelf[b] end;3 shelf[a].size=2;3 shelf[b] end;|");
    assert_string_equal(read_text("box { size = 1 }\nbox { size = 2 }"),
                        "1 box.size=1;1 box end;2 box.size=2;2 box end;|");
}

static void test_lists(void **state)
{
    (void)state;
    assert_string_equal(read_text("box { peers = { 10.0.0.0/8, \"::1\" } }"),
                        "1 box.peers=10.0.0.0/8, ::1;1 box end;|");
    assert_string_equal(read_text("box { peers = 10.0.0.0/8 }"),
                        "1 box.peers=10.0.0.0/8;1 box end;|");
    assert_string_equal(read_text("box { peers = \"\" }"), "1 box.peers=;1 box end;|");
    assert_string_equal(read_text("box { peers = {} }"), "1 box.peers=;1 box end;|");
    assert_string_equal(read_text("box { peers={ /* none */ }\n size = 3 }"),
                        "1 box.peers=;2 box.size=3;2 box end;|");
    assert_string_equal(read_text("box { label = \"= {}\" peers = { \"{}\" } }"),
                        "1 box.label== {};1 box.peers={};1 box end;|");
    assert_string_equal(read_text("box {}"), "1 box end;|");
}

static void test_include(void **state)
{
    (void)state;
    write_file("b.conf", "\n\nbox { size = 3 }\n");
    assert_string_equal(read_text("include(\"b.conf\")\nbox { size = 4 }\n"),
                        "3 box.size=3;3 box end;2 box.size=4;2 box end;|");
    write_file("b.conf", "\nbox { size = 30 }\n");
    assert_string_equal(read_text("include('b.conf')\nbox { size = 40 }\n"),
                        "2 box.size=30;2 box end;2 box.size=40;2 box end;"
                        "|b.conf:2: size: '30' is outside 1 to 10\n"
                        "a.conf:2: size: '40' is outside 1 to 10\n");
    assert_string_equal(read_text("box { size = 1 }\n\ninclude('b.conf') box { size = 2 }\n"),
                        "1 box.size=1;1 box end;2 box.size=30;2 box end;"
                        "|a.conf:3: include must be the last on its line\n"
                        "b.conf:2: size: '30' is outside 1 to 10\n");
    assert_non_null(strstr(read_text("include(\"nothing.conf\")\n"), "nothing.conf"));
    assert_non_null(strstr(read_text("include(\"a.conf\")\n"), "a.conf:1:")); /* itself */
}

static void test_errors(void **state)
{
    (void)state;
    assert_string_equal(read_text("\nbocks { }"), "|a.conf:2: unknown section 'bocks'\n");
    assert_string_equal(read_text("\nbix { }"),
                        "|a.conf:2: unknown section 'bix'; did you mean 'box'?\n");
    assert_string_equal(
        read_text("box {\n size = 1\n lable = x\n}"),
        "2 box.size=1;|a.conf:3: box: unknown setting 'lable'; did you mean 'label'?\n");
    assert_string_equal(
        read_text("box {\n size = 11\n\n size = x\n}"),
        "2 box.size=11;4 box.size=x;5 box end;|a.conf:2: size: '11' is outside 1 to 10\n"
        "a.conf:4: size: 'x' is not a number; want a whole number without a unit\n");
}

static void test_syntax(void **state)
{
    static const char *const wrong[] = {"box {",
                                        "box",
                                        "box }",
                                        "}",
                                        "box { size }",
                                        "box { size = }",
                                        "box { size = { 1 } }",
                                        "box { label = \"x }",
                                        "shelf { }",
                                        "= 3",
                                        "include()",
                                        "\"",
                                        "/*"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const char *got = read_text(wrong[i]);
        if (!strstr(got, "|a.conf:1: ") && !strstr(got, "|a.conf:2: "))
            fail_msg("%s gave %s", wrong[i], got);
    }
    assert_string_equal(read_text("box {\n size ="),
                        "|a.conf:2: the file ends where a value is missing\n");
    assert_string_equal(read_text("box {\n peers = { ::1,"),
                        "|a.conf:2: the file ends where a value is missing\n");
}

static void test_files(void **state)
{
    (void)state;
    assert_non_null(strstr(read_path("/nonexistent/x.conf"),
                           "cannot read the configuration /nonexistent/x.conf: No such file"));
    assert_non_null(strstr(read_path(folder), "is not a file"));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char path[64];

    (void)state;
    for (const char *name = "ab"; *name; name++) {
        snprintf(path, sizeof path, "%s/%c.conf", folder, *name);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_comments_in_strings),
        cmocka_unit_test(test_titles),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_include),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
