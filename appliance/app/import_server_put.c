/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_server_put.c - messages that arrive: into sinks, then many to a commit. While one batch is
 * committed the next gathers. */
#include "appliance/app/import_session.h"

enum {
    QUEUE_MAX = 512,
    QUEUE_BYTES = 16 << 20,
    FILES_MAX = 4, /* large texts that wait for their flush: lane body is shared with deliveries */
    KEYWORDS_MAX = 64
};
static const uint64_t text_max = UINT64_C(2)
                                 << 30; /* what exists already isn't refused for its size */

bool import_put_full(const struct import_session *s)
{
    return s->n_queue >= QUEUE_MAX || s->queue_bytes >= QUEUE_BYTES || s->files >= FILES_MAX;
}

static void entry_free(struct import_entry *e)
{
    list_del(&e->link);
    body_sink_free(&e->item.sink);
    arena_free(&e->mem);
    mem_free(e);
}

static void sink_ready(void *ctx)
{
    struct import_session *s = ctx;

    s->sink_full = false;
    import_session_go_on(s);
}

static struct str text_of(struct arena *a, json_t *request, const char *name)
{
    json_t *v = json_object_get(request, name);

    return json_is_string(v) ? arena_str(a, str_of(json_string_value(v), json_string_length(v)))
                             : STR("");
}

static void read_keywords(struct import_entry *e, json_t *list)
{
    size_t n = json_array_size(list);
    struct str *words;

    if (n > KEYWORDS_MAX)
        n = KEYWORDS_MAX;
    words = ARENA_ARRAY(e->mem, struct str, n + 1);
    e->item.keywords = words;
    for (size_t i = 0; i < n; i++) {
        const char *word = json_string_value(json_array_get(list, i));
        if (word && word[0])
            words[e->item.n_keywords++] = arena_str(e->mem, str_from(word));
    }
}

static void enqueue(struct import_session *s, struct import_entry *e)
{
    list_add(&s->queue, &e->link);
    s->n_queue++;
    s->queue_bytes += e->bytes;
}

void import_put(struct import_session *s, enum import_what what, json_t *request)
{
    struct import_entry *e = MEM_NEW(struct import_entry);

    list_init(&e->link);
    e->session = s;
    e->mem = arena_new(512);
    e->item = (struct import_item){
        .what = what,
        .key = text_of(e->mem, request, "key"),
        .uid = (uint32_t)json_integer_value(json_object_get(request, "uid")),
        .state = json_integer_value(json_object_get(request, "state")),
        .flags = (uint64_t)json_integer_value(json_object_get(request, "flags")),
        .internal_ms = json_integer_value(json_object_get(request, "at")),
        .recent = json_is_true(json_object_get(request, "recent"))};
    read_keywords(e, json_object_get(request, "keywords"));
    if (!s->mailbox || e->item.key.n == 0 || e->item.key.n > IMPORT_KEY_MAX)
        err_set(&e->err, ERR_PERM, ERR_WHY_OTHER, "no mailbox, or no key");
    e->ready = what != IMPORT_ADD;
    if (e->ready) {
        enqueue(s, e);
        return;
    }
    if (store_low_on_space(s->env.store))
        err_set(&e->err, ERR_TEMP, ERR_WHY_NO_SPACE, "there is too little space left for mail");
    if (e->err.kind == ERR_NONE)
        e->item.sink = body_sink_new(s->env.store, text_max, sink_ready, s);
    s->current = e;
    s->chunk_left = 0;
}

void import_put_text(struct import_session *s, struct str bytes)
{
    struct import_entry *e = s->current;

    e->bytes += bytes.n;
    if (e->item.sink && body_sink_put(e->item.sink, bytes) == BODY_WAIT)
        s->sink_full = true;
}

static void on_flushed(void *ctx, const struct err *failed)
{
    struct import_entry *e = ctx;

    e->ready = true;
    e->session->files -= e->file;
    if (failed)
        e->err = *failed;
    import_session_go_on(e->session);
}

void import_put_end(struct import_session *s, bool drop)
{
    struct import_entry *e = s->current;
    struct str data;

    s->current = NULL;
    s->sink_full = false;
    e->dropped = drop;
    if (drop || !e->item.sink) {
        body_sink_free(&e->item.sink);
        e->ready = true;
    } else {
        body_sink_end(e->item.sink);
        e->file = !body_sink_data(e->item.sink, &data);
        if (e->file)
            e->bytes = 0; /* not held in memory */
        s->files += e->file;
        body_sink_flush(e->item.sink, on_flushed, e);
    }
    enqueue(s, e);
}

/* ---- Commit. */

static void answer(struct import_session *s, struct import_entry *e, const struct err *failed)
{
    json_t *v;

    if (e->dropped) {
        import_session_answer(s, json_pack("{sb}", "dropped", 1));
        return;
    }
    if (failed || e->err.kind != ERR_NONE) {
        import_session_refuse(s, e->err.kind != ERR_NONE ? &e->err : failed);
        return;
    }
    v = json_pack("{sI}", "uid", (json_int_t)e->item.uid_now);
    if (e->item.result == IMPORT_KNOWN)
        json_object_set_new(v, "known", json_true());
    if (e->item.result == IMPORT_GONE)
        json_object_set_new(v, "gone", json_true());
    if (e->item.lost)
        json_object_set_new(v, "lost", json_integer(e->item.lost));
    if (s->batch.uidvalidity_now != s->uidvalidity_now) {
        s->uidvalidity_now = s->batch.uidvalidity_now;
        json_object_set_new(v, "uidvalidity", json_integer(s->uidvalidity_now));
    }
    import_session_answer(s, v);
}

static void answer_all(struct import_session *s, const struct err *failed)
{
    while (!list_empty(&s->batch_list)) {
        struct import_entry *e = LIST_ITEM(s->batch_list.next, struct import_entry, link);
        answer(s, e, failed);
        entry_free(e);
    }
}

static void on_batch(struct store_op *op)
{
    struct import_session *s = op->ctx;

    s->busy = false;
    answer_all(s, op->failed ? &op->err : NULL);
    import_session_go_on(s);
}

/* Moves what is ready to batch_list; s->items gets those that can be stored. */
static size_t gather(struct import_session *s)
{
    size_t n = 0;

    if (!s->items)
        s->items = mem_alloc(QUEUE_MAX * sizeof(struct import_item *));
    while (!list_empty(&s->queue) && n < QUEUE_MAX) {
        struct import_entry *e = LIST_ITEM(s->queue.next, struct import_entry, link);
        if (!e->ready)
            break;
        list_del(&e->link);
        list_add(&s->batch_list, &e->link);
        s->n_queue--;
        s->queue_bytes -= e->bytes;
        if (e->err.kind == ERR_NONE && !e->dropped)
            s->items[n++] = &e->item;
    }
    return n;
}

void import_put_commit(struct import_session *s)
{
    size_t n;

    if (s->busy || !s->conn || list_empty(&s->queue))
        return;
    n = gather(s);
    if (n == 0) {
        answer_all(s, NULL);
        return;
    }
    import_batch_init(&s->batch, on_batch);
    s->batch.op.ctx = s;
    s->batch.mailbox = s->mailbox;
    s->batch.source = s->source;
    s->batch.uidvalidity = s->uidvalidity;
    s->batch.items = s->items;
    s->batch.n_items = n;
    s->busy = true;
    if (store_submit(s->env.store, &s->batch.op) == 0)
        return;
    s->busy = false;
    answer_all(s, &s->batch.op.err);
}

void import_put_free(struct import_session *s)
{
    if (s->current)
        entry_free(s->current);
    s->current = NULL;
    while (!list_empty(&s->queue))
        entry_free(LIST_ITEM(s->queue.next, struct import_entry, link));
    while (!list_empty(&s->batch_list))
        entry_free(LIST_ITEM(s->batch_list.next, struct import_entry, link));
    mem_free(s->items);
}
