/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* How large a folder of signatures will be. */
#include "filters/clamav_database.h"
#include "tests/unit/files_world.h"

static void databases(void **state)
{
    struct clamav_database a, b;
    char folder[96];

    (void)state;
    snprintf(folder, sizeof folder, "%s/db", files_root);
    assert_int_equal(clamav_database_look(folder, &a), -1);
    files_put("db/readme.txt", "not one");
    files_put("db/.hdb", "nor this");
    files_put("db/more.hdb/x", "nor a folder");
    assert_int_equal(clamav_database_look(folder, &a), 0);
    assert_int_equal(a.files, 0);
    files_put("db/a.hdb", "0123456789");
    assert_int_equal(clamav_database_look(folder, &a), 0);
    assert_int_equal(a.files, 1);
    assert_int_equal(a.bytes, 10);
    assert_int_equal(a.estimate, 27);
    assert_int_equal(clamav_database_look(folder, &b), 0);
    assert_true(a.fingerprint == b.fingerprint);
    files_put("db/main.cvd",
              "ClamAV-VDB:16 Sep 2021 08-32 -0400:62:6647427:90:d41d8cd9:sig:x:1631795562   ");
    assert_int_equal(clamav_database_look(folder, &b), 0);
    assert_true(a.fingerprint != b.fingerprint);
    assert_int_equal(b.files, 2);
    assert_int_equal(b.estimate, 27 + 6647427ull * 150);
    /* What isn't one says nothing. */
    files_put("db/main.cvd", "ClamAV-VDB:x:y:-5:");
    files_put("db/daily.cld", "");
    assert_int_equal(clamav_database_look(folder, &b), 0);
    assert_int_equal(b.estimate, 27);
    assert_int_equal(b.files, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(databases, files_set_up, files_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
