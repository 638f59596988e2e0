/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What memory is left: the machine's, and that of control groups of both versions, from copies of
 * the kernel's files; and how large a folder of signatures will be. */
#include "filters/clamav_database.h"
#include "filters/clamav_memory.h"
#include "tests/unit/filters/world.h"
#include <sys/stat.h>

enum { MB = 1 << 20 };
static char root[64];

static void put(const char *path, const char *text)
{
    char full[256];
    FILE *f;

    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        (void)mkdir(full, 0700);
        *p = '/';
    }
    assert_non_null(f = fopen(full, "w"));
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/ph-clamav-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(root, world_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static void machine(void)
{
    put("proc/meminfo", "MemTotal:        2097152 kB\nMemFree:           10240 kB\n"
                        "MemAvailable:    1048576 kB\nSwapCached:            0 kB\n"
                        "SwapTotal:        524288 kB\nSwapFree:         262144 kB\n");
}

static uint64_t left(void)
{
    struct clamav_memory m;

    assert_true(clamav_memory_read(root, &m));
    assert_int_equal(m.available, 1024ull * MB);
    assert_int_equal(m.swap, 256ull * MB);
    assert_int_equal(m.left, m.group < 1280ull * MB ? m.group : 1280ull * MB);
    return m.left / MB;
}

static uint64_t total(void)
{
    struct clamav_memory m;

    assert_true(clamav_memory_read(root, &m));
    return m.total / MB;
}

static void no_groups(void **state)
{
    struct clamav_memory m;

    (void)state;
    assert_false(clamav_memory_read(root, &m));
    assert_true(m.left == UINT64_MAX);
    put("proc/meminfo", "MemFree: 10 kB\n");
    assert_false(clamav_memory_read(root, &m));
    machine();
    assert_int_equal(left(), 1280);
    assert_int_equal(total(), 2048);
    put("proc/self/cgroup", "");
    assert_int_equal(left(), 1280);
    put("proc/self/cgroup", "nonsense\n:::\n0::/not/there\n");
    assert_int_equal(left(), 1280);
}

static void version_2(void **state)
{
    (void)state;
    machine();
    put("proc/self/cgroup", "0::/mail.slice/posthouse.service\n");
    put("sys/fs/cgroup/mail.slice/posthouse.service/memory.max", "max\n");
    put("sys/fs/cgroup/mail.slice/posthouse.service/memory.current", "104857600\n");
    assert_int_equal(left(), 1280);
    /* 512 - (100 - 40 cache) + 256 swap */
    put("sys/fs/cgroup/mail.slice/posthouse.service/memory.max", "536870912\n");
    put("sys/fs/cgroup/mail.slice/posthouse.service/memory.stat",
        "anon 62914560\nfile 41943040\ninactive_file 41943040\nactive_file 0\n");
    assert_int_equal(left(), 708);
    assert_int_equal(total(), 512);
    put("sys/fs/cgroup/mail.slice/posthouse.service/memory.swap.max", "0\n");
    put("sys/fs/cgroup/mail.slice/posthouse.service/memory.swap.current", "0\n");
    assert_int_equal(left(), 452);
    /* The group above has less, and is over it. */
    put("sys/fs/cgroup/mail.slice/memory.max", "209715200\n");
    put("sys/fs/cgroup/mail.slice/memory.current", "157286400\n");
    put("sys/fs/cgroup/mail.slice/memory.swap.max", "0\n");
    put("sys/fs/cgroup/mail.slice/memory.swap.current", "0\n");
    assert_int_equal(left(), 50);
    put("sys/fs/cgroup/mail.slice/memory.current", "300000000\n");
    assert_int_equal(left(), 0);
    assert_int_equal(total(), 200);
}

/* A container sees its own group as the root of the mount. */
static void in_a_container(void **state)
{
    (void)state;
    machine();
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/memory.max", "314572800\n");
    put("sys/fs/cgroup/memory.current", "104857600\n");
    put("sys/fs/cgroup/memory.swap.max", "0\n");
    put("sys/fs/cgroup/memory.swap.current", "0\n");
    assert_int_equal(left(), 200);
}

static void version_1(void **state)
{
    (void)state;
    machine();
    put("proc/self/cgroup", "12:cpu,cpuacct:/docker/abc\n7:memory:/docker/abc\n0::/docker/abc\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "104857600\n");
    assert_int_equal(left(), 1280);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "419430400\n");
    put("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 20971520\n");
    assert_int_equal(left(), 400 - (100 - 20) + 256);
    put("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "471859200\n");
    put("sys/fs/cgroup/memory/memory.memsw.usage_in_bytes", "104857600\n");
    assert_int_equal(left(), 450 - (100 - 20));
    put("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "209715200\n");
    put("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "209715200\n");
    put("sys/fs/cgroup/memory/docker/abc/memory.memsw.limit_in_bytes", "209715200\n");
    put("sys/fs/cgroup/memory/docker/abc/memory.memsw.usage_in_bytes", "209715200\n");
    assert_int_equal(left(), 0);
}

static void here(void **state)
{
    struct clamav_memory m;

    (void)state;
    assert_true(clamav_memory_read("", &m));
    assert_true(m.available > 0 && m.left <= m.available + m.swap);
    assert_true(clamav_memory_own() > 1 << 16);
}

static void databases(void **state)
{
    struct clamav_database a, b;
    char folder[96];

    (void)state;
    snprintf(folder, sizeof folder, "%s/db", root);
    assert_int_equal(clamav_database_look(folder, &a), -1);
    put("db/readme.txt", "not one");
    put("db/.hdb", "nor this");
    put("db/more.hdb/x", "nor a folder");
    assert_int_equal(clamav_database_look(folder, &a), 0);
    assert_int_equal(a.files, 0);
    put("db/a.hdb", "0123456789");
    assert_int_equal(clamav_database_look(folder, &a), 0);
    assert_int_equal(a.files, 1);
    assert_int_equal(a.bytes, 10);
    assert_int_equal(a.estimate, 27);
    assert_int_equal(clamav_database_look(folder, &b), 0);
    assert_true(a.fingerprint == b.fingerprint);
    put("db/main.cvd",
        "ClamAV-VDB:16 Sep 2021 08-32 -0400:62:6647427:90:d41d8cd9:sig:x:1631795562   ");
    assert_int_equal(clamav_database_look(folder, &b), 0);
    assert_true(a.fingerprint != b.fingerprint);
    assert_int_equal(b.files, 2);
    assert_int_equal(b.estimate, 27 + 6647427ull * 150);
    /* What isn't one says nothing. */
    put("db/main.cvd", "ClamAV-VDB:x:y:-5:");
    put("db/daily.cld", "");
    assert_int_equal(clamav_database_look(folder, &b), 0);
    assert_int_equal(b.estimate, 27);
    assert_int_equal(b.files, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_groups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_2, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_a_container, set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_1, set_up, tear_down),
        cmocka_unit_test(here),
        cmocka_unit_test_setup_teardown(databases, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
