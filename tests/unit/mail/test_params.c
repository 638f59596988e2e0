/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Parameters of Content-Type and Content-Disposition. */
#include "appliance/mail/header.h"
#include "mail_test.h"

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

/* "main|name=value|name=value" */
static void check(const char *value, const char *want)
{
    struct header_params p;
    struct buf b;
    struct str in = exact(str_from(value));
    buf_init(&b, 1 << 20);
    header_params_parse(arena, in, &p);
    exact_free(in); /* the result lives in the arena */
    buf_add_str(&b, p.main);
    for (size_t i = 0; i < p.n; i++)
        buf_printf(&b, "|" STR_FMT "=" STR_FMT, STR_ARG(p.list[i].name), STR_ARG(p.list[i].value));
    assert_str(buf_str(&b), want);
    buf_fini(&b);
}

static void ordinary(void **state)
{
    (void)state;
    check("text/plain", "text/plain");
    check("text/plain; charset=utf-8", "text/plain|charset=utf-8");
    check("Text / Plain ;\r\n\tCharset = \"us-ascii\" (it is); format=flowed (so)",
          "Text/Plain|Charset=us-ascii|format=flowed");
    check("(c) text(d)/(e)plain(f);a=b", "text/plain|a=b");
    check("attachment; filename=\"a \\\"quoted\\\" \\\\ name;=.pdf\"; size=3",
          "attachment|filename=a \"quoted\" \\ name;=.pdf|size=3");
    check("multipart/mixed; boundary=\"----=_Part\r\n 1\"",
          "multipart/mixed|boundary=----=_Part 1");
}

static void broken(void **state)
{
    (void)state;
    check("", "");
    check(";", "");
    check("; charset=utf-8", "|charset=utf-8");
    check("text/plain; charset=\"utf-8", "text/plain|charset=utf-8");
    check("text/plain; charset=", "text/plain|charset=");
    check("text/plain; charset", "text/plain");
    check("text/plain;; charset=utf-8;", "text/plain|charset=utf-8");
    check("text/plain charset=utf-8; a=b", "text/plain|a=b");
    check("attachment; filename=my file (1).pdf; a=b", "attachment|filename=my file (1).pdf|a=b");
    check("attachment; filename=foo(1).pdf", "attachment|filename=foo(1).pdf");
    check("attachment; filename=\"a\" junk; \"x;y=z\"; =v; a=b", "attachment|filename=a|a=b");
    check("attachment; filename==?utf-8?Q?a?=", "attachment|filename==?utf-8?Q?a?=");
    check("text/plain; a=b (unclosed; c=d", "text/plain|a=b");
    check("text/", "text/");
    check("text", "text");
}

static void rfc2231(void **state)
{
    (void)state;
    check("message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/x\"",
          "message/external-body|access-type=URL|URL=ftp://cs.utk.edu/x");
    check("application/x-stuff; title*=us-ascii'en-us'This%20is%20fun",
          "application/x-stuff|title*=us-ascii'en-us'This%20is%20fun");
    check("application/x-stuff; title*0*=us-ascii'en'This%20is; title*1*=%20fun; title*2=\" isn't "
          "it!\"",
          "application/x-stuff|title*=us-ascii'en'This%20is%20fun%20isn%27t%20it!");
    check("a/b; n*1=two; x=y; n*0=one", "a/b|n=onetwo|x=y");
    check("a/b; n*0=one; n*2=three", "a/b|n=one|n*2=three");
    check("a/b; n*2=three; n*0=one", "a/b|n=one|n*2=three");
    check("a/b; n*1=two", "a/b|n*1=two");
    check("a/b; n*0=a; n*1*=%20b", "a/b|n=a b"); /* no charset: decoded */
    check("a/b; n*=%41bc; m*=''%41", "a/b|n=Abc|m*=''%41");
    check("a/b; n=old; n*=utf-8''new", "a/b|n=old|n*=utf-8''new");
    check("a/b; n*0=a; n*0=again; n*1=b", "a/b|n=ab|n=again");
    check("a/b; n*00=a; n*x=b; *=c; n*x*=d", "a/b|n*00=a|n*x=b|*=c|n*x*=d");
    check("a/b; n*=%4; m*=%zz%", "a/b|n=%4|m=%zz%");
}

static void get(void **state)
{
    (void)state;
    struct header_params p;
    struct str v;
    header_params_parse(arena, STR("text/plain; Charset=A; charset=B"), &p);
    assert_true(header_param_get(&p, STR("CHARSET"), &v));
    assert_str(v, "A");
    assert_false(header_param_get(&p, STR("format"), &v));
}

/* 64 at most, and no time spent on what is too much. */
static void many(void **state)
{
    (void)state;
    static const char *const units[] = {"; a=b",       "; n*0=a", "; n*1*=a", ";",
                                        "; a=b (;c=d", "; \"",    "; a=\"\\", "(;"};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        struct header_params p;
        struct buf in;
        buf_init(&in, 4 << 20);
        buf_add_z(&in, "a/b");
        while (buf_add_z(&in, units[i]) == 0)
            ;
        in.full = false;
        while (buf_add_z(&in, ")") == 0) /* closes nested comments */
            ;
        header_params_parse(arena, buf_str(&in), &p);
        assert_true(p.n <= 64);
        buf_fini(&in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ordinary, set_up, tear_down),
        cmocka_unit_test_setup_teardown(broken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rfc2231, set_up, tear_down),
        cmocka_unit_test_setup_teardown(get, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
