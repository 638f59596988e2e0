/* room: smtp */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Input: a TXT record, a line end, a policy file. What is understood is bounded, and the same when
 * it is written and read again. */
#include "appliance/base/mem.h"
#include "smtp/client/sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_policy(struct arena *a, const struct sts_policy *p)
{
    struct sts_policy again;
    struct buf text;
    struct err err;

    CHECK(p->n_mx <= ARRAY_LEN(p->mx) && p->max_age <= 31557600);
    CHECK(p->mode == STS_NONE || p->n_mx > 0);
    buf_init(&text, 65536);
    sts_write(p, &text);
    CHECK(sts_parse(a, buf_str(&text), &again, &err) == 0);
    CHECK(again.mode == p->mode && again.max_age == p->max_age && again.n_mx == p->n_mx);
    for (size_t i = 0; i < p->n_mx; i++) {
        bool wild = str_starts(p->mx[i], STR("*."));
        CHECK(str_eq(p->mx[i], again.mx[i]));
        CHECK(wild || sts_covers(p, p->mx[i]));
        struct str one = arena_printf(a, "x" STR_FMT, STR_ARG(str_skip(p->mx[i], 1)));
        CHECK(!wild || sts_covers(p, one));
    }
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_dup(data, size ? size : 1); /* exactly as long as it is said to be */
    struct arena *a = arena_new(0);
    struct str txt[2], id, text;
    struct sts_policy p;
    struct err err;

    str_cut(str_of(copy, size), '\n', &txt[0], &text);
    txt[1] = STR("v=spf1 -all");
    if (sts_record_id(txt, 2, &id))
        CHECK(id.n > 0 && id.n <= 32 && id.p >= copy && id.p + id.n <= copy + size);
    if (sts_parse(a, text, &p, &err) == 0)
        check_policy(a, &p);
    arena_free(&a);
    mem_free(copy);
    return 0;
}
