/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/schema.h"

#include "appliance/base/mem.h"
#include "scratch.h"
#include <sys/stat.h>

static void quota(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"", 0},
        {"0", 0},
        {"10240000", 10240000},
        {" 10240000 ", 10240000},
        {"10M", 10ull << 20},
        {"10m", 10ull << 20},
        {"10MB", 10ull << 20},
        {"2 GiB", 2ull << 30},
        {"512k", 512ull << 10},
        {"1T", 1ull << 40},
        {"100B", 100},
        {"10240000S", 10240000},
        {"10240000S,1000C", 10240000},
        {"1000C,10240000S", 10240000},
        {"1000C", 0},
        {"none", 0},
        {"-5", 0},
        {"99999999999999999999999999", INT64_MAX},
        {"9223372036854775807K", INT64_MAX},
        {",,,", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (schema_quota(str_from(cases[i].text)) != cases[i].bytes)
            fail_msg("\"%s\" gave %llu", cases[i].text,
                     (unsigned long long)schema_quota(str_from(cases[i].text)));
    assert_int_equal(schema_quota(STR_NULL), 0);
}

static void hashes_are_private(void **state)
{
    struct scratch s = {0};
    struct stat st;
    struct sql *db;
    char path[128];
    mode_t before = umask(0);

    (void)state;
    scratch_init(&s);
    assert_int_equal(directory_schema_open(s.dir, NULL, SCHEMA_CHANGE, &db, &s.err), 0);
    umask(before);
    snprintf(path, sizeof path, "%s/directory.db", s.dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(path, sizeof path, "%s/directory.db-wal", s.dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    sql_close(&db);
    scratch_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(quota),
                                       cmocka_unit_test(hashes_are_private)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
