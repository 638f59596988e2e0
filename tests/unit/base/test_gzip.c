/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/gzip.h"
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include <zlib.h>

enum { LARGE = 3 << 20 };

static struct str unpack(struct str file, char *out, size_t cap)
{
    z_stream z = {0};

    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK); /* gzip only */
    z.next_in = (unsigned char *)(uintptr_t)file.p;
    z.avail_in = (unsigned)file.n;
    z.next_out = (unsigned char *)out;
    z.avail_out = (unsigned)cap;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    inflateEnd(&z);
    return str_of(out, cap - z.avail_out);
}

static void comes_back(struct str in)
{
    char *out = mem_alloc(in.n + 1);
    struct buf file;

    buf_init(&file, in.n + in.n / 100 + 1000);
    buf_add_z(&file, "before");
    assert_int_equal(gzip_pack(in, &file), 0);
    assert_true(str_starts(buf_str(&file), STR("before\x1f\x8b")));
    assert_true(str_eq(unpack(str_skip(buf_str(&file), 6), out, in.n + 1), in));
    buf_fini(&file);
    mem_free(out);
}

static void round_trip(void **state)
{
    char *large = mem_alloc(LARGE);

    (void)state;
    comes_back(STR(""));
    comes_back(STR("one"));
    comes_back(str_of(large, LARGE));
    rand_bytes(large, LARGE);
    comes_back(str_of(large, LARGE));
    comes_back(str_of(large, 64 << 10));
    mem_free(large);
}

static void bounded(void **state)
{
    char *noise = mem_alloc(LARGE);
    struct buf file;

    (void)state;
    rand_bytes(noise, LARGE);
    buf_init(&file, 100000);
    buf_add_z(&file, "kept");
    assert_int_equal(gzip_pack(str_of(noise, LARGE), &file), -1);
    assert_true(str_eq(buf_str(&file), STR("kept")));
    assert_int_equal(gzip_pack(str_of(noise, 90000), &file), 0); /* it isn't marked full */
    buf_fini(&file);
    buf_init(&file, 10);
    assert_int_equal(gzip_pack(STR(""), &file), -1);
    assert_int_equal(file.n, 0);
    buf_fini(&file);
    mem_free(noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(bounded)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
