/* room: imap */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_imap_reader.c - a stream of commands read whole and in pieces: the same commands, the same
 * message bytes, within the limits. The first byte picks the size of the pieces and whether
 * messages are wanted. */
#include "appliance/base/mem.h"
#include "imap/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT = 256, SWALLOW = 4096 };

static bool act(struct imap_reader *r, enum imap_read got, bool refuse, struct buf *seen)
{
    CHECK(r->cmd.n <= LIMIT);
    if (got != IMAP_READ_PIECE && got != IMAP_READ_MORE)
        buf_add_char(seen, (char)('0' + got));
    if (got == IMAP_READ_PIECE) {
        buf_add_str(seen, r->piece);
    } else if (got == IMAP_READ_COMMAND || got == IMAP_READ_TOO_BIG) {
        buf_add_str(seen, buf_str(&r->cmd));
        imap_reader_next(r);
        CHECK(imap_reader_idle(r));
    } else if (got == IMAP_READ_APPEND) {
        buf_add_str(seen, buf_str(&r->cmd));
        if (!refuse)
            imap_reader_accept(r);
        else if (!imap_reader_refuse(r))
            imap_reader_next(r);
    }
    return got != IMAP_READ_FATAL;
}

static void run(struct str in, size_t piece, bool refuse, struct buf *seen)
{
    struct imap_reader r;
    bool going = true;
    imap_reader_init(&r, LIMIT, SWALLOW);
    for (size_t at = 0; at < in.n && going; at += piece) {
        struct str part = str_take(str_skip(in, at), piece);
        while (part.n && going) {
            size_t used;
            enum imap_read got = imap_reader_feed(&r, part, &used);
            CHECK(used <= part.n && (used || got != IMAP_READ_MORE));
            part = str_skip(part, used);
            going = act(&r, got, refuse, seen);
        }
    }
    imap_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct str in = str_of(data + 1, size - 1);
    struct buf whole, pieces;
    buf_init(&whole, SIZE_MAX);
    buf_init(&pieces, SIZE_MAX);
    run(in, in.n, data[0] & 1, &whole);
    run(in, 1 + data[0] / 2 % 17, data[0] & 1, &pieces);
    CHECK(str_eq(buf_str(&whole), buf_str(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
    return 0;
}
