/* room: io */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Input: what a proxy sends. Byte by byte it gives the same as at once, the header is bounded, and
 * an address that comes out is one. */
#include "appliance/base/cidr.h"
#include "appliance/base/mem.h"
#include "appliance/io/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_client whole, part;
    struct cidr_set set;
    size_t used, used_part = 0, n = 0;
    struct err err;
    char *copy = mem_dup(data, size ? size : 1); /* exactly as long as it is said to be */
    enum proxy_result want = proxy_parse(str_of(copy, size), &whole, &used, &err), got = PROXY_MORE;

    CHECK(used <= PROXY_HEADER_MAX && used <= size);
    for (; n <= size && got == PROXY_MORE; n++) {
        char *piece = n ? mem_dup(data, n) : mem_alloc(1);
        got = proxy_parse(str_of(piece, n), &part, &used_part, &err);
        mem_free(piece);
    }
    CHECK(got == want);
    if (want == PROXY_OK)
        CHECK(used == used_part && n - 1 == used && memcmp(&whole, &part, sizeof whole) == 0);
    if (want == PROXY_MORE)
        CHECK(size < PROXY_HEADER_MAX);
    if (want == PROXY_OK && whole.known) {
        CHECK(cidr_set_parse(str_from(whole.ip), &set, &err) == 0 && set.n == 1);
        CHECK(cidr_set_has(&set, whole.ip) && whole.v6 == (strchr(whole.ip, ':') != NULL));
        cidr_set_free(&set);
    }
    mem_free(copy);
    return 0;
}
