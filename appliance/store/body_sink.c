/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* body_sink.c - takes a message as it arrives: splits head from data, scans the MIME structure,
 * keeps small data in memory and hands large data to its file. */
#include "appliance/store/store_private.h"

enum { META_MAX = 1 << 20, HEAD_EDIT_ROOM = 256 << 10, PIECE = 64 << 10 };

struct body_sink *body_sink_new(struct store *s, uint64_t limit, void (*on_ready)(void *ctx),
                                void *ctx)
{
    struct body_sink *b = MEM_NEW(struct body_sink);

    b->store = s;
    store_ref(s);
    b->limit = limit;
    b->on_ready = on_ready;
    b->ctx = ctx;
    buf_init(&b->head, BODY_HEAD_MAX + HEAD_EDIT_ROOM);
    buf_init(&b->data, s->conf->inline_limit);
    buf_init(&b->meta, META_MAX);
    list_init(&b->tx_link);
    list_init(&b->arriving);
    return b;
}

void body_sink_announce(struct body_sink *b, uint64_t size)
{
    store_space_promise(b, size < b->limit ? size : b->limit);
}

static enum body_put fail_as(struct body_sink *b, const struct err *err)
{
    if (b->state != SINK_FAILED)
        b->err = *err;
    b->state = SINK_FAILED;
    list_del(&b->arriving);
    return BODY_FAIL;
}

static enum body_put fail(struct body_sink *b, const char *text)
{
    struct err err = {0};

    err_set(&err, ERR_PERM, ERR_WHY_LIMIT, "%s", text);
    return fail_as(b, &err);
}

/* ---- Data. */

static enum body_put file_put(struct body_sink *b, struct str bytes)
{
    if (!store_space_take(b, bytes.n))
        return BODY_FAIL;
    enum body_put put = body_file_put(b->file, bytes);

    return put == BODY_FAIL ? fail_as(b, body_file_error(b->file)) : put;
}

static enum body_put data_put(struct body_sink *b, struct str bytes)
{
    if (bytes.n == 0)
        return BODY_MORE;
    b->data_size += bytes.n;
    mime_scan_feed(b->scan, bytes);
    if (!b->file) {
        if (bytes.n <= b->data.max - b->data.n) {
            buf_add_str(&b->data, bytes);
            return BODY_MORE;
        }
        b->id = store_new_id(b->store);
        b->file = body_file_new(b->store, b, b->id);
        if (file_put(b, buf_str(&b->data)) == BODY_FAIL)
            return BODY_FAIL;
        buf_fini(&b->data);
    }
    return file_put(b, bytes);
}

/* ---- Head. */

/* The head is complete: what follows it in b->head is data already. */
static enum body_put begin_data(struct body_sink *b, uint64_t end, bool close)
{
    struct str data = str_skip(buf_str(&b->head), end);
    struct buf early;
    enum body_put put;

    buf_init(&early, data.n);
    buf_add_str(&early, data);
    buf_truncate(&b->head, end);
    if (close && end > 0 && b->head.p[end - 1] != '\n')
        buf_add_z(&b->head, "\r\n"); /* the stream ended within a field */
    if (close)
        buf_add_z(&b->head, "\r\n");
    b->state = SINK_DATA;
    b->scan = mime_scan_new(buf_str(&b->head));
    put = data_put(b, buf_str(&early));
    buf_fini(&early);
    return put;
}

static enum body_put head_put(struct body_sink *b, struct str *bytes)
{
    struct str piece = str_take(*bytes, BODY_HEAD_MAX - b->head.n + 1);
    uint64_t end = 0;
    enum header_split_end what = header_split_feed(&b->split, piece, &end);

    *bytes = str_skip(*bytes, piece.n);
    buf_add_str(&b->head, piece);
    if (what != HEADER_SPLIT_MORE)
        return begin_data(b, end, what == HEADER_SPLIT_BROKEN);
    if (b->head.n > BODY_HEAD_MAX)
        return fail(b, "the message's header block is larger than 1 MB");
    return BODY_MORE;
}

enum body_put body_sink_put(struct body_sink *b, struct str bytes)
{
    enum body_put put = BODY_MORE;

    if (b->state == SINK_FAILED)
        return BODY_FAIL;
    CHECK(b->state == SINK_HEAD || b->state == SINK_DATA);
    b->received += bytes.n;
    if (b->received > b->limit)
        return fail(b, "the message is larger than allowed");
    while (b->state == SINK_HEAD && bytes.n && put == BODY_MORE)
        put = head_put(b, &bytes);
    if (b->state == SINK_DATA && bytes.n && put != BODY_FAIL)
        put = data_put(b, bytes);
    b->waiting = put == BODY_WAIT;
    return put;
}

enum body_put body_sink_put_pieces(struct body_sink *b, struct str *rest)
{
    enum body_put put = BODY_MORE;

    while (rest->n && put == BODY_MORE) {
        put = body_sink_put(b, str_take(*rest, PIECE));
        *rest = str_skip(*rest, PIECE);
    }
    return put;
}

void body_sink_end(struct body_sink *b)
{
    if (b->state == SINK_HEAD)
        (void)begin_data(b, b->head.n, true);
    if (b->state == SINK_DATA)
        b->state = SINK_ENDED;
    list_del(&b->arriving);
}

const struct err *body_sink_error(const struct body_sink *b)
{
    return &b->err;
}

uint64_t body_sink_size(const struct body_sink *b)
{
    return b->received;
}

struct str body_sink_head(const struct body_sink *b)
{
    return buf_str(&b->head);
}

void body_sink_head_prepend(struct body_sink *b, struct str fields)
{
    struct buf head;

    buf_init(&head, b->head.max);
    buf_add_str(&head, fields);
    buf_add_str(&head, buf_str(&b->head));
    if (!buf_ok(&head)) { /* our own fields beyond 256 KB: nothing that can be refused any more */
        buf_fini(&head);
        return;
    }
    buf_fini(&b->head);
    b->head = head;
}

void body_sink_head_append(struct body_sink *b, struct str fields)
{
    CHECK(b->head.n >= 2);
    if (b->head.n + fields.n > b->head.max)
        return;
    size_t closing = b->head.p[b->head.n - 2] == '\r' ? 2 : 1; /* a bare LF may close it */
    char end[2];
    memcpy(end, b->head.p + b->head.n - closing, closing);
    buf_truncate(&b->head, b->head.n - closing);
    buf_add_str(&b->head, fields);
    buf_add(&b->head, end, closing);
}

/* ---- Flush. */

static void on_flushed_later(void *ctx)
{
    struct body_sink *b = ctx;

    if (b->state == SINK_FLUSHING)
        b->state = SINK_FLUSHED;
    if (b->state == SINK_FLUSHING_DATA) {
        b->state = SINK_ENDED;
        b->data_flushed = true;
    }
    if (b->on_flushed)
        b->on_flushed(b->flush_ctx, b->state == SINK_FAILED ? &b->err : NULL);
}

static void encode_meta(struct body_sink *b)
{
    /* Without meta the structure is scanned anew when it is asked for. */
    if (mime_scan_end(&b->scan, buf_str(&b->head), &b->meta) != 0 || b->scan_is_stale)
        buf_clear(&b->meta);
}

static void flush(struct body_sink *b, bool with_head,
                  void (*on_flushed)(void *ctx, const struct err *failed), void *ctx)
{
    CHECK(b->state == SINK_ENDED || b->state == SINK_FAILED);
    b->on_flushed = on_flushed;
    b->flush_ctx = ctx;
    b->flushed.fn = on_flushed_later;
    b->flushed.ctx = b;
    if (b->state == SINK_ENDED) {
        bool file = b->file && !b->data_flushed;
        if (with_head)
            encode_meta(b);
        b->state = with_head ? SINK_FLUSHING : SINK_FLUSHING_DATA;
        if (file && body_file_finish(b->file) == 0)
            return;
        if (file)
            fail_as(b, body_file_error(b->file));
    }
    loop_defer(b->store->loop, &b->flushed);
}

void body_sink_flush(struct body_sink *b, void (*on_flushed)(void *ctx, const struct err *failed),
                     void *ctx)
{
    flush(b, true, on_flushed, ctx);
}

void body_sink_flush_data(struct body_sink *b,
                          void (*on_flushed)(void *ctx, const struct err *failed), void *ctx)
{
    flush(b, false, on_flushed, ctx);
}

void body_sink_file_ready(struct body_sink *b)
{
    b->waiting = false;
    if (b->on_ready)
        b->on_ready(b->ctx);
}

void body_sink_file_done(struct body_sink *b)
{
    memcpy(b->sha256, body_file_sha256(b->file), sizeof b->sha256);
    on_flushed_later(b);
}

/* Whoever waits is woken: for on_flushed, or to learn from the next put that it failed. */
void body_sink_file_failed(struct body_sink *b, const struct err *err)
{
    bool flushing = b->state == SINK_FLUSHING || b->state == SINK_FLUSHING_DATA;

    fail_as(b, err);
    if (flushing)
        on_flushed_later(b);
    else if (b->waiting)
        body_sink_file_ready(b);
}

static void on_gave_way(void *ctx)
{
    body_sink_file_ready(ctx);
}

void body_sink_give_way(struct body_sink *b)
{
    struct err err = {0};

    err_set(&err, ERR_TEMP, ERR_WHY_NO_SPACE, "there is too little space left for mail");
    fail_as(b, &err);
    body_file_drop(&b->file, false);
    if (!b->waiting)
        return;
    b->flushed = (struct loop_defer){.fn = on_gave_way, .ctx = b};
    loop_defer(b->store->loop, &b->flushed);
}

void body_sink_free(struct body_sink **bp)
{
    struct body_sink *b = *bp;

    if (!b)
        return;
    *bp = NULL;
    CHECK(list_empty(&b->tx_link));
    list_del(&b->arriving);
    loop_defer_cancel(&b->flushed);
    /* A commit whose flush failed counts as not done, but what it wrote may come to light at the
     * next start, and then wants its file. */
    body_file_drop(&b->file, b->committed || store_read_only(b->store));
    mime_scan_free(&b->scan);
    buf_fini(&b->head);
    buf_fini(&b->data);
    buf_fini(&b->meta);
    store_unref(b->store);
    mem_free(b);
}
