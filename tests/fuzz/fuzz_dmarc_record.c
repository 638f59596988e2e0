/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A record: what is read from it keeps to its bounds, and is read again the same. */
#include "appliance/base/mem.h"
#include "filters/dmarc_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_uris(struct str list, struct str in)
{
    struct str uri;
    size_t n = 0;

    CHECK(list.n == 0 || (list.p >= in.p && list.p + list.n <= in.p + in.n));
    while (dmarc_uri_next(&list, &uri)) {
        CHECK(uri.n > 2 && !memchr(uri.p, ',', uri.n) && !memchr(uri.p, ' ', uri.n));
        CHECK(++n <= in.n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_dup(data, size ? size : 1);
    struct str in = str_of(copy, size);
    struct dmarc_record r;

    if (dmarc_record_parse(in, &r)) {
        CHECK(memmem(in.p, in.n, "DMARC1", 6));
        for (int i = 0; i < 4; i++)
            CHECK(dmarc_policy_name(dmarc_record_policy(&r, i & 1, i & 2))[0]);
        CHECK(r.usable || dmarc_record_policy(&r, false, true) == DMARC_NONE);
        check_uris(r.rua, in);
        check_uris(r.ruf, in);
        CHECK(!memchr(r.fo.p ? r.fo.p : "", ';', r.fo.n));
    }
    check_uris(in, in);
    mem_free(copy);
    return 0;
}
