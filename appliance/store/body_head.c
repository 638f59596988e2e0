/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* body_head.c - a message that ended and isn't flushed yet: its head taken apart or replaced, its
 * data shown. */
#include "appliance/store/store_private.h"
#include <fcntl.h>

/* In one pass: a hostile head may hold thousands of them. */
void body_sink_head_remove(struct body_sink *b, struct str name)
{
    struct str rest = buf_str(&b->head);
    struct header_field f;
    size_t kept = 0, from = 0; /* bytes in place; where the next piece to keep begins */

    while (header_next(&rest, &f)) {
        size_t at = (size_t)(f.raw.p - b->head.p);
        if (!str_ieq(f.name, name))
            continue;
        memmove(b->head.p + kept, b->head.p + from, at - from);
        kept += at - from;
        from = at + f.raw.n;
    }
    memmove(b->head.p + kept, b->head.p + from, b->head.n - from);
    buf_truncate(&b->head, kept + b->head.n - from);
}

/* Does this field, which says how the data is built, differ? */
static bool differs(struct str a, struct str b, struct str name)
{
    struct header_field x, y;
    bool in_a = header_find(a, name, 0, &x), in_b = header_find(b, name, 0, &y);

    return in_a != in_b || (in_a && !str_eq(x.value, y.value));
}

void body_sink_head_replace(struct body_sink *b, struct str head)
{
    struct buf new;

    CHECK(b->state == SINK_ENDED && head.n >= 2);
    if (head.n > b->head.max)
        return;
    b->scan_is_stale = b->scan_is_stale || differs(buf_str(&b->head), head, STR("Content-Type")) ||
                       differs(buf_str(&b->head), head, STR("Content-Transfer-Encoding")) ||
                       differs(buf_str(&b->head), head, STR("MIME-Version"));
    buf_init(&new, b->head.max);
    buf_add_str(&new, head);
    buf_fini(&b->head);
    b->head = new;
}

size_t body_sink_memory(const struct body_sink *b)
{
    return b->head.cap + b->data.cap + b->meta.cap + (b->scan ? mime_scan_memory(b->scan) : 0) +
           (b->file ? body_file_memory(b->file) : 0);
}

bool body_sink_data(const struct body_sink *b, struct str *out)
{
    *out = buf_str(&b->data);
    return !b->file && b->state != SINK_FAILED;
}

uint64_t body_sink_data_size(const struct body_sink *b)
{
    return b->data_size;
}

int body_sink_open_data(const struct body_sink *b)
{
    char path[BODY_PATH_MAX];

    body_path(b->id, path);
    return openat(b->store->bodies_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}
