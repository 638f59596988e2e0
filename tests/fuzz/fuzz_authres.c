/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A field's value read; and its text as everything that a result can hold, folded: only visible
 * ASCII, folds and short lines come out, and what is unfolded is what was told. */
#include "appliance/base/mem.h"
#include "filters/authres.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_field(struct str field, struct str results)
{
    struct buf plain;
    size_t line = 0;

    buf_init(&plain, 1 << 16);
    for (size_t i = 0; i < field.n; i++, line++) {
        if (i + 2 < field.n && memcmp(field.p + i, "\r\n\t", 3) == 0) {
            CHECK(line < 998);
            line = 0;
            i += 2;
            buf_add_char(&plain, ' ');
        } else {
            CHECK(field.p[i] >= ' ' && field.p[i] <= '~');
            buf_add_char(&plain, field.p[i]);
        }
    }
    CHECK(line < 998 && str_starts(buf_str(&plain), STR("id.example; ")));
    CHECK(str_eq(str_skip(buf_str(&plain), sizeof "id.example; " - 1), results));
    buf_fini(&plain);
}

static void read_back(struct str field)
{
    struct buf id;

    buf_init(&id, 100);
    CHECK(authres_id(field, &id) == 0 && str_eq(buf_str(&id), STR("id.example")));
    buf_fini(&id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_dup(data, size ? size : 1);
    struct str in = str_of(copy, size);
    struct buf id, results, field;

    buf_init(&id, 100);
    if (authres_id(in, &id) == 0)
        CHECK(id.n && id.n <= 100);
    (void)authres_is_from(in, STR("mx.example.com"));
    buf_init(&results, AUTHRES_LIMIT);
    buf_init(&field, 2 * AUTHRES_LIMIT);
    authres_result(&results, "dkim", "fail", in);
    authres_property(&results, "header.d", in);
    authres_result(&results, "spf", "pass", STR_NULL);
    authres_property(&results, "smtp.mailfrom", str_skip(in, size / 2));
    CHECK(buf_ok(&results));
    authres_fold(STR("id.example"), buf_str(&results), &field);
    CHECK(buf_ok(&field));
    check_field(buf_str(&field), buf_str(&results));
    read_back(buf_str(&field));
    buf_fini(&field);
    buf_fini(&results);
    buf_fini(&id);
    mem_free(copy);
    return 0;
}
