/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/gzip.h"
#include "appliance/base/mem.h"
#include <zlib.h>

enum { CHUNK = 64 << 10, GZIP_WINDOW = 15 + 16, MEMORY = 8 };

/* zlib takes no const, and its counts are 32 bits. */
static int pack_all(z_stream *z, struct str in, struct buf *out)
{
    int rc;

    do {
        char *space;
        if (!z->avail_in && in.n) {
            size_t n = in.n < CHUNK ? in.n : CHUNK;
            z->next_in = (unsigned char *)(uintptr_t)in.p;
            z->avail_in = (unsigned)n;
            in = str_skip(in, n);
        }
        size_t room = out->max - out->n < CHUNK ? out->max - out->n : CHUNK;
        if (room == 0 || buf_reserve(out, room, &space))
            return -1;
        z->next_out = (unsigned char *)space;
        z->avail_out = (unsigned)room;
        rc = deflate(z, in.n ? Z_NO_FLUSH : Z_FINISH);
        CHECK(rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR);
        buf_commit(out, room - z->avail_out);
    } while (rc != Z_STREAM_END);
    return 0;
}

int gzip_pack(struct str in, struct buf *out)
{
    size_t before = out->n;
    z_stream z = {0};

    CHECK(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, MEMORY,
                       Z_DEFAULT_STRATEGY) == Z_OK);
    int rc = pack_all(&z, in, out);
    deflateEnd(&z);
    if (rc)
        buf_truncate(out, before);
    return rc;
}
