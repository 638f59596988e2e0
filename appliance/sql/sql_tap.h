/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_tap.h - watches what SQLite does to its files: each write, each flush, with the bytes.
 * Floor 2 (sql). Threads: the functions of a tap are called on the thread that uses the connection,
 * several at once. A tap costs nothing where it isn't named (sql_conf.vfs). For `posthouse
 * selftest`, which replays what was written and cuts it off. */
#ifndef PH_SQL_SQL_TAP_H
#define PH_SQL_SQL_TAP_H
#include "appliance/base/err.h"
#include <stddef.h>
#include <stdint.h>

struct sql_tap {
    const char *name; /* for sql_conf.vfs; nobody else's */
    void *ctx;
    /* After the call on the file has succeeded. `path` is the file's, absolute. */
    void (*on_write)(void *ctx, const char *path, uint64_t at, const void *p, size_t n);
    void (*on_truncate)(void *ctx, const char *path, uint64_t size);
    /* Around a flush: what was written before flush_begins is durable at on_flush, which gets what
     * flush_begins returned. */
    uint64_t (*flush_begins)(void *ctx);
    void (*on_flush)(void *ctx, const char *path, uint64_t began);
};
struct sql_tap_vfs;
/* `tap` must live until sql_tap_remove, and every connection that names it be closed by then. */
int sql_tap_install(const struct sql_tap *tap, struct sql_tap_vfs **out, struct err *err)
    __attribute__((warn_unused_result));
void sql_tap_remove(struct sql_tap_vfs **v);
#endif
