/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/datadir.h"
#include "appliance/base/str.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct err err;

static void temporary_goes_away(void **state)
{
    struct datadir d;
    struct stat st;
    char path[4096];

    (void)state;
    assert_int_equal(datadir_open(NULL, true, &d, &err), 0);
    assert_int_equal(stat(d.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s", d.path);
    assert_int_equal(mkdirat(d.fd, "sub", 0700), 0);
    assert_int_equal(datadir_write(&d, "file", "text\n", &err), 0);
    assert_int_equal(renameat(d.fd, "file", d.fd, "sub/file"), 0);
    assert_int_equal(symlinkat("/", d.fd, "sub/root"), 0); /* is not followed */
    datadir_close(&d);
    assert_int_equal(stat(path, &st), -1);
    assert_int_equal(stat("/bin", &st), 0);
}

static void one_process_at_a_time(void **state)
{
    struct datadir a, b;
    char pid[24];

    (void)state;
    assert_int_equal(datadir_open(NULL, true, &a, &err), 0);
    assert_int_equal(datadir_lock(&a, &err), 0);
    assert_int_equal(datadir_open(a.path, false, &b, &err), 0);
    assert_int_equal(datadir_lock(&b, &err), -1);
    assert_int_equal(err.why, ERR_WHY_BUSY);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(err.text, pid));
    assert_string_equal(b.owner, strchr(pid, ' ') + 1);
    datadir_close(&b);
    datadir_close(&a);
}

static void absent_folder_is_said(void **state)
{
    struct datadir d;

    (void)state;
    assert_int_equal(datadir_open("/nonexistent/folder", false, &d, &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    assert_int_equal(datadir_open("/nonexistent/folder", true, &d, &err), -1);
    assert_non_null(strstr(err.text, "/nonexistent/folder"));
}

static void made_private(void **state)
{
    char path[] = "/tmp/posthouse-test-XXXXXX";
    struct datadir d;
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(path));
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(datadir_open(path, true, &d, &err), 0);
    assert_int_equal(fstat(d.fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    datadir_close(&d);
    assert_int_equal(stat(path, &st), 0); /* not temporary: stays */
    assert_int_equal(rmdir(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temporary_goes_away),
        cmocka_unit_test(one_process_at_a_time),
        cmocka_unit_test(absent_folder_is_said),
        cmocka_unit_test(made_private),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
