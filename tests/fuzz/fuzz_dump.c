/* room: directory */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Input: a dump. Whatever comes, a row has as many values as columns, within the bounds, and all
 * bytes can be read. */
#include "appliance/base/mem.h"
#include "appliance/directory/dump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t sum;

static void touch(struct str s)
{
    CHECK(s.n <= DUMP_VALUE_MAX);
    for (size_t i = 0; i < s.n; i++)
        sum += (unsigned char)s.p[i];
}

static bool wants(void *ctx, struct str table, const struct str *columns, size_t n)
{
    (void)ctx;
    touch(table);
    CHECK(n > 0 && n <= DUMP_COLUMNS_MAX);
    for (size_t i = 0; i < n; i++)
        touch(columns[i]);
    return table.n % 2 == 1;
}

static int row(void *ctx, struct str table, const struct str *columns, const struct str *values,
               size_t n, struct err *err)
{
    (void)ctx;
    (void)err;
    CHECK(table.n % 2 == 1);
    for (size_t i = 0; i < n; i++) {
        touch(columns[i]);
        touch(values[i]);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dump_reader r = {.wants = wants, .row = row};
    struct err err = {.kind = ERR_NONE};
    if (dump_read(str_of(data, size), &r, &err) < 0)
        CHECK(err.kind == ERR_PROTO);
    return 0;
}
