/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What is read of a dump: rows as "table: column=value ..." lines, NULL as "-". */
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "appliance/directory/dump.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct buf out;
static struct err err;

static bool wants(void *ctx, struct str table, const struct str *columns, size_t n)
{
    (void)ctx;
    (void)columns;
    (void)n;
    return !str_eq(table, STR("other"));
}

static int on_row(void *ctx, struct str table, const struct str *columns, const struct str *values,
                  size_t n, struct err *e)
{
    (void)ctx;
    (void)e;
    buf_printf(&out, STR_FMT ":", STR_ARG(table));
    for (size_t i = 0; i < n; i++) {
        buf_printf(&out, " " STR_FMT "=", STR_ARG(columns[i]));
        if (values[i].p)
            buf_add_str(&out, values[i]);
        else
            buf_add_char(&out, '-');
    }
    buf_add_char(&out, '\n');
    return 0;
}

static const char *rows(const char *text)
{
    static const struct dump_reader reader = {.wants = wants, .row = on_row};
    buf_clear(&out);
    int rc = dump_read(str_from(text), &reader, &err);
    if (rc < 0) {
        assert_int_equal(err.kind, ERR_PROTO);
        return err.text;
    }
    return buf_z(&out);
}

static void columns_of_create(void **state)
{
    (void)state;
    assert_string_equal(
        rows("CREATE TABLE IF NOT EXISTS `db`.`t` (`id` int(11) NOT NULL DEFAULT '0,)',\n"
             "`odd``name` enum('a','b') COMMENT 'it''s; a', `v` decimal(10,2),\n"
             "PRIMARY KEY (`id`,`v`), UNIQUE KEY `k` (`id`)) ENGINE=InnoDB COMMENT='x;y';\n"
             "INSERT INTO `t` VALUES (1,'a',2.50),(2,NULL,-3.1);"),
        "t: id=1 odd`name=a v=2\nt: id=2 odd`name=- v=-3\n");
}

static void columns_of_insert(void **state)
{
    (void)state;
    assert_string_equal(rows("REPLACE INTO t (b, `a`) VALUES ('x', 'y');insert into t(c) value(1)"),
                        "t: b=x a=y\nt: c=1\n");
    assert_string_equal(rows("INSERT INTO t VALUES (1);"), ""); /* nobody knows what of */
}

static void literals(void **state)
{
    (void)state;
    assert_string_equal(rows("INSERT INTO t (a,b,c,d,e,f,g,h) VALUES "
                             "('o\\'n''e\\\\','\\n\\%\\_\\q',\"d\"\"q\",0x4142,X'43',b'101',"
                             "_utf8mb4 'u',_binary 0x44);"),
                        "t: a=o'n'e\\ b=\n\\%\\_q c=d\"q d=AB e=C f=5 g=u h=D\n");
    assert_string_equal(rows("INSERT INTO t (a,b,c) VALUES (TRUE,false,'');"), "t: a=1 b=0 c=\n");
    buf_clear(&out);
    assert_string_equal(rows("INSERT INTO t (a) VALUES ('x\\0y');") + 5, "x"); /* a NUL within */
    assert_int_equal(out.n, strlen("t: a=x.y\n"));
}

static void around(void **state)
{
    (void)state;
    assert_string_equal(rows("-- INSERT INTO t (a) VALUES (1);\n# INSERT INTO t (a) VALUES (2);\n"
                             "/* INSERT INTO t (a) VALUES (3); */"
                             "/*!40101 INSERT INTO t (a) VALUES (4) */;"
                             "SET x = 'INSERT INTO t (a) VALUES (5);';"
                             "INSERT INTO other (a) VALUES ('(', ')', 6);"
                             "INSERT INTO t (a) SELECT 7;"
                             "INSERT IGNORE INTO t (a) VALUES (8) ON DUPLICATE KEY UPDATE a = 9;"),
                        "t: a=4\nt: a=8\n");
    assert_string_equal(rows("DELIMITER ;;\nCREATE TRIGGER x BEGIN INSERT INTO t (a) VALUES (1); "
                             "END;;\nDELIMITER ;\nINSERT INTO t (a) VALUES (2);\n"),
                        "t: a=2\n");
    assert_string_equal(rows(""), "");
}

static void broken(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"\n\nINSERT INTO t (a) VALUES ('x", "line 3 of the dump: a quote doesn't end"},
        {"INSERT INTO t (a) VALUES (1,2);",
         "line 1 of the dump: a row has more or fewer values than there are columns"},
        {"INSERT INTO t (a) VALUES (now());", "line 1 of the dump: a value is expected"},
        {"INSERT INTO t (a) VALUES (1", "line 1 of the dump: \")\" is expected behind the values"
                                        " of a row"},
        {"INSERT INTO t (a) VALUES 1;",
         "line 1 of the dump: \"(\" is expected before the values of a row"},
        {"/* x", "line 1 of the dump: a comment doesn't end"},
        {"CREATE TABLE t (a int", "line 1 of the dump: CREATE TABLE doesn't end"},
        {"INSERT INTO t (a) VALUES (0xzz);", "line 1 of the dump: this is not hexadecimal"},
        {"INSERT INTO t (a) VALUES (b'2');", "line 1 of the dump: these are not bits"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(rows(cases[i].text), cases[i].error);
}

static void bounds(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, 1 << 24);
    buf_add_z(&text, "CREATE TABLE t (c");
    for (int i = 0; i < DUMP_COLUMNS_MAX; i++)
        buf_add_z(&text, " int, c");
    buf_add_z(&text, " int);");
    assert_string_equal(rows(buf_z(&text)), "line 1 of the dump: a table has too many columns");
    buf_clear(&text);
    buf_add_z(&text, "INSERT INTO t (a) VALUES ('");
    for (int i = 0; i <= DUMP_VALUE_MAX; i++)
        buf_add_char(&text, 'x');
    buf_add_z(&text, "');");
    assert_string_equal(rows(buf_z(&text)),
                        "line 1 of the dump: a value is longer than a mail system's");
    buf_fini(&text);
}

static int setup(void **state)
{
    (void)state;
    buf_init(&out, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_fini(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_of_create),
        cmocka_unit_test(columns_of_insert),
        cmocka_unit_test(literals),
        cmocka_unit_test(around),
        cmocka_unit_test(broken),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
