/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What memory is left: the machine's, and that of control groups of both versions, from copies of
 * the kernel's files. */
#include "appliance/io/machine.h"
#include "tests/unit/files_world.h"

enum { MB = 1 << 20 };

static void machine(void)
{
    files_put("proc/meminfo", "MemTotal:        2097152 kB\nMemFree:           10240 kB\n"
                              "MemAvailable:    1048576 kB\nSwapCached:            0 kB\n"
                              "SwapTotal:        524288 kB\nSwapFree:         262144 kB\n");
}

static uint64_t left(void)
{
    struct machine_memory m;

    assert_true(machine_memory_read(files_root, &m));
    assert_int_equal(m.available, 1024ull * MB);
    assert_int_equal(m.swap, 256ull * MB);
    assert_int_equal(m.left, m.group < 1280ull * MB ? m.group : 1280ull * MB);
    return m.left / MB;
}

static uint64_t total(void)
{
    struct machine_memory m;

    assert_true(machine_memory_read(files_root, &m));
    return m.total / MB;
}

static void no_groups(void **state)
{
    struct machine_memory m;

    (void)state;
    assert_false(machine_memory_read(files_root, &m));
    assert_true(m.left == UINT64_MAX);
    files_put("proc/meminfo", "MemFree: 10 kB\n");
    assert_false(machine_memory_read(files_root, &m));
    machine();
    assert_int_equal(left(), 1280);
    assert_int_equal(total(), 2048);
    files_put("proc/self/cgroup", "");
    assert_int_equal(left(), 1280);
    files_put("proc/self/cgroup", "nonsense\n:::\n0::/not/there\n");
    assert_int_equal(left(), 1280);
}

static void version_2(void **state)
{
    (void)state;
    machine();
    files_put("proc/self/cgroup", "0::/mail.slice/posthouse.service\n");
    files_put("sys/fs/cgroup/mail.slice/posthouse.service/memory.max", "max\n");
    files_put("sys/fs/cgroup/mail.slice/posthouse.service/memory.current", "104857600\n");
    assert_int_equal(left(), 1280);
    /* 512 - (100 - 40 cache) + 256 swap */
    files_put("sys/fs/cgroup/mail.slice/posthouse.service/memory.max", "536870912\n");
    files_put("sys/fs/cgroup/mail.slice/posthouse.service/memory.stat",
              "anon 62914560\nfile 41943040\ninactive_file 41943040\nactive_file 0\n");
    assert_int_equal(left(), 708);
    assert_int_equal(total(), 512);
    files_put("sys/fs/cgroup/mail.slice/posthouse.service/memory.swap.max", "0\n");
    files_put("sys/fs/cgroup/mail.slice/posthouse.service/memory.swap.current", "0\n");
    assert_int_equal(left(), 452);
    /* The group above has less, and is over it. */
    files_put("sys/fs/cgroup/mail.slice/memory.max", "209715200\n");
    files_put("sys/fs/cgroup/mail.slice/memory.current", "157286400\n");
    files_put("sys/fs/cgroup/mail.slice/memory.swap.max", "0\n");
    files_put("sys/fs/cgroup/mail.slice/memory.swap.current", "0\n");
    assert_int_equal(left(), 50);
    files_put("sys/fs/cgroup/mail.slice/memory.current", "300000000\n");
    assert_int_equal(left(), 0);
    assert_int_equal(total(), 200);
}

/* A container sees its own group as the root of the mount. */
static void in_a_container(void **state)
{
    (void)state;
    machine();
    files_put("proc/self/cgroup", "0::/\n");
    files_put("sys/fs/cgroup/memory.max", "314572800\n");
    files_put("sys/fs/cgroup/memory.current", "104857600\n");
    files_put("sys/fs/cgroup/memory.swap.max", "0\n");
    files_put("sys/fs/cgroup/memory.swap.current", "0\n");
    assert_int_equal(left(), 200);
}

static void version_1(void **state)
{
    (void)state;
    machine();
    files_put("proc/self/cgroup",
              "12:cpu,cpuacct:/docker/abc\n7:memory:/docker/abc\n0::/docker/abc\n");
    files_put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    files_put("sys/fs/cgroup/memory/memory.usage_in_bytes", "104857600\n");
    assert_int_equal(left(), 1280);
    files_put("sys/fs/cgroup/memory/memory.limit_in_bytes", "419430400\n");
    files_put("sys/fs/cgroup/memory/memory.stat",
              "inactive_file 1\ntotal_inactive_file 20971520\n");
    assert_int_equal(left(), 400 - (100 - 20) + 256);
    files_put("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "471859200\n");
    files_put("sys/fs/cgroup/memory/memory.memsw.usage_in_bytes", "104857600\n");
    assert_int_equal(left(), 450 - (100 - 20));
    files_put("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "209715200\n");
    files_put("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "209715200\n");
    files_put("sys/fs/cgroup/memory/docker/abc/memory.memsw.limit_in_bytes", "209715200\n");
    files_put("sys/fs/cgroup/memory/docker/abc/memory.memsw.usage_in_bytes", "209715200\n");
    assert_int_equal(left(), 0);
}

static void here(void **state)
{
    struct machine_memory m;

    (void)state;
    assert_true(machine_memory_read("", &m));
    assert_true(m.available > 0 && m.left <= m.available + m.swap);
    assert_true(machine_memory_own() > 1 << 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_groups, files_set_up, files_tear_down),
        cmocka_unit_test_setup_teardown(version_2, files_set_up, files_tear_down),
        cmocka_unit_test_setup_teardown(in_a_container, files_set_up, files_tear_down),
        cmocka_unit_test_setup_teardown(version_1, files_set_up, files_tear_down),
        cmocka_unit_test(here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
