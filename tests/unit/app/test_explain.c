/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What explain makes of verdicts: who decided, and what would have changed it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/app/admin_explain.h"
#include "appliance/base/mem.h"
#include <string.h>

/* "point stage verdict [shadow|always|held|=recipient]..." */
static json_t *stage_of(const char *words)
{
    struct str rest = str_from(words), word;
    static const char *const keys[] = {"point", "stage", "verdict"};
    json_t *o = json_object();

    json_object_set_new(o, "us", json_integer(1));
    for (size_t i = 0; rest.n; i++) {
        str_cut(rest, ' ', &word, &rest);
        if (i < ARRAY_LEN(keys)) {
            json_object_set_new(o, keys[i], json_stringn(word.p, word.n));
        } else if (word.p[0] == '=') {
            json_object_set_new(o, "recipient", json_stringn(word.p + 1, word.n - 1));
        } else {
            char *key = str_dup_z(word);
            json_object_set_new(o, key, json_true());
            mem_free(key);
        }
    }
    return o;
}

static json_t *judged(const char *const *stages)
{
    json_t *o = json_object(), *list = json_array();

    for (; *stages; stages++)
        json_array_append_new(list, stage_of(*stages));
    json_object_set_new(o, "id", json_string("1"));
    json_object_set_new(o, "at", json_integer(1700000000123));
    json_object_set_new(o, "score", json_real(0));
    json_object_set_new(o, "stages", list);
    explain_judge(o);
    return o;
}

static void put_names(const json_t *list, struct buf *out)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        buf_printf(out, "%s%s", i ? "+" : "", json_string_value(json_array_get(list, i)));
}

/* "junk dmarc; -dmarc: pass ; ~other: reject other" */
static void put_all(const json_t *o, struct buf *out)
{
    const json_t *list = json_object_get(o, "changes");

    buf_printf(out, "%s ", json_string_value(json_object_get(o, "verdict")));
    put_names(json_object_get(o, "decided_by"), out);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i), *with = json_object_get(one, "with");
        buf_add_z(out, with ? "; ~" : "; -");
        put_names(with ? with : json_object_get(one, "without"), out);
        buf_printf(out, ": %s ", json_string_value(json_object_get(one, "verdict")));
        put_names(json_object_get(one, "decided_by"), out);
    }
}

static const struct {
    const char *stages[8];
    const char *expected;
} cases[] = {
    {{"mail a pass", "message b pass"}, "pass "},
    {{"mail a junk", "message b pass"}, "junk a; -a: pass "},
    {{"mail a junk", "message b quarantine"}, "quarantine b; -b: junk a"},
    {{"mail a junk", "message b junk"}, "junk a; -a+b: pass "},
    {{"mail a junk", "message b accept"}, "accept b; -b: junk a"},
    {{"mail a accept", "message b pass"}, "accept a"},
    {{"mail a accept", "message b junk always"}, "junk b; -b: accept a"},
    {{"message a junk", "message b reject shadow"}, "junk a; -a: pass ; ~b: reject b"},
    {{"message a reject", "message b junk shadow"}, "reject a; -a: pass "},
    {{"message a pass", "message b accept shadow", "message c junk"},
     "junk c; -c: pass ; ~b: accept b"},
    {{"connect a junk", "mail b defer"}, "defer b; -b: junk a"},
    {{"helo a reject", "helo a pass", "mail b pass"}, "pass "}, /* it said another name then */
    {{"helo a reject"}, "reject a; -a: pass "},
    {{"connect a discard", "message b pass"}, "discard a; -a: pass "},
    /* Recipients */
    {{"rcpt a reject =x", "rcpt a pass =y", "message b pass"}, "pass "},
    {{"rcpt a reject =x", "rcpt a defer =y"}, "defer a; -a: pass "},
    {{"mail c junk", "rcpt a accept =x", "rcpt a accept =y"}, "accept a; -a: junk c"},
    {{"mail c junk", "rcpt a accept =x", "rcpt a pass =y"}, "junk c; -c: pass "},
    {{"mail c junk", "rcpt a accept =x", "rcpt a reject =y"}, "accept a; -a: junk c"},
    {{"mail c junk", "rcpt a accept =x", "rcpt b junk =x"}, "accept a; -a: junk c"},
    /* Held */
    {{"message a defer failed held", "message b junk"}, "held a; -b: pass "},
    {{"message a defer failed held", "message a pass"}, "pass "},
    {{"message a defer failed held", "message b reject"}, "reject b; -b: pass "},
};

static void all_cases(void **state)
{
    struct buf got;

    (void)state;
    buf_init(&got, 10000);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *o = judged(cases[i].stages);
        buf_clear(&got);
        put_all(o, &got);
        assert_string_equal(buf_z(&got), cases[i].expected);
        json_decref(o);
    }
    buf_fini(&got);
}

static const char *effect(json_t *o, size_t i)
{
    const char *z = json_string_value(
        json_object_get(json_array_get(json_object_get(o, "stages"), i), "effect"));

    return z ? z : "";
}

static void words(void **state)
{
    json_t *o = judged((const char *const[]){"mail a junk", "rcpt p accept =x", "rcpt p reject =y",
                                             "message q reject shadow", "message r pass", NULL});
    struct buf text;

    (void)state;
    assert_string_equal(effect(o, 0), "overridden by ACCEPT");
    assert_string_equal(effect(o, 1), "decided");
    assert_string_equal(effect(o, 2), "this recipient only");
    assert_string_equal(effect(o, 3), "shadow: would have decided otherwise");
    assert_string_equal(effect(o, 4), "");
    json_object_set_new(o, "head", json_string("Subject: \x1b[2J\r\nX: y\r\n"));
    buf_init(&text, 100000);
    explain_render(o, &text);
    assert_non_null(strstr(buf_z(&text), "\ndate: 2023-11-14T22:13:20Z\n"));
    assert_non_null(strstr(buf_z(&text), "\nverdict: accept (p)\n"));
    assert_non_null(strstr(buf_z(&text), "what would have changed it:\n"
                                         "  without p: junk (a)\n"
                                         "  acting instead of shadow, q: reject (q)\n"));
    assert_non_null(strstr(buf_z(&text), "head:\n  Subject: \\u001b[2J\n  X: y\n"));
    buf_fini(&text);
    json_decref(o);
}

/* Rows are read back from a database that others may have written to. */
static void odd_rows(void **state)
{
    static const char *const rows[] = {"{}", "{\"stages\":3}",
                                       "{\"stages\":[3,{},{\"point\":\"moon\",\"verdict\":\"junk\"}"
                                       ",{\"point\":\"mail\",\"stage\":5,"
                                       "\"verdict\":\"junk\"}],\"at\":\"x\"}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *o = json_loads(rows[i], 0, NULL);
        explain_judge(o);
        assert_non_null(json_object_get(o, "verdict"));
        json_decref(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_cases), cmocka_unit_test(words),
                                       cmocka_unit_test(odd_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
