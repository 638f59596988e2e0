/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/export_names.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include <inttypes.h>

enum { NAME_BYTES = 200, TRIES = 10000 }; /* file systems have 255 */

struct export_names {
    struct map *taken;
};

struct export_names *export_names_new(void)
{
    struct export_names *n = MEM_NEW(struct export_names);

    n->taken = map_new();
    return n;
}

void export_names_free(struct export_names **np)
{
    struct export_names *n = *np;

    *np = NULL;
    if (!n)
        return;
    map_free(&n->taken);
    mem_free(n);
}

void export_name_shorten(struct buf *path, size_t at)
{
    struct str name = str_skip(buf_str(path), at);
    uint64_t hash = str_hash_fixed(name);
    size_t n = NAME_BYTES - 17;

    if (name.n <= NAME_BYTES)
        return;
    while (n && ((unsigned char)name.p[n] & 0xc0) == 0x80) /* not within a character */
        n--;
    buf_truncate(path, at + n);
    buf_printf(path, "~%016" PRIx64, hash);
}

int export_name_take(struct export_names *n, struct buf *path, size_t at, const char *ending)
{
    export_name_shorten(path, at);
    size_t end = path->n;
    for (unsigned i = 0; i < TRIES; i++) {
        buf_truncate(path, end);
        if (i)
            buf_printf(path, i == 1 ? "_" : "_%u", i);
        buf_add_z(path, ending);
        if (!buf_ok(path))
            return -1;
        if (!map_get(n->taken, buf_str(path))) {
            map_set(n->taken, buf_str(path), n);
            return 0;
        }
    }
    return -1;
}
