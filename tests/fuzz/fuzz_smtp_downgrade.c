/* room: smtp */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A message made 7 bit holds no octet over 127, had room in what was promised, and isn't changed by
 * being made so again. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/header.h"
#include "smtp/queue/downgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* false: it can't be. */
static bool convert(struct str message, struct buf *out)
{
    struct header_split split = {0};
    struct err err = {0};
    uint64_t end;

    if (header_split_feed(&split, message, &end) != HEADER_SPLIT_DONE)
        return false;
    struct str head = str_take(message, (size_t)end), body = str_skip(message, (size_t)end);
    buf_init(out, downgrade_room(head.n, body.n));
    if (downgrade_message(head, body, out, &err)) {
        CHECK(err.kind == ERR_PERM && err.text[0]);
        CHECK(buf_ok(out));
        buf_fini(out);
        return false;
    }
    CHECK(text_ascii(buf_str(out)));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf once, twice;

    if (!convert(str_of(data, size), &once))
        return 0;
    CHECK(convert(buf_str(&once), &twice));
    CHECK(str_eq(buf_str(&once), buf_str(&twice)));
    buf_fini(&once);
    buf_fini(&twice);
    return 0;
}
