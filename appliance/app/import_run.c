/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_run.c - what is new, what changed, what is gone: decided by what the store knows. Answers
 * come later than requests, in their order: `pending` is what they are about. */
#include "appliance/app/import_run.h"
#include "appliance/app/import_count.h"
#include "appliance/app/import_key.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include <stdlib.h>

enum { WINDOW = 2048, TEXT_PIECE = 64 << 10 };

struct known {
    uint32_t uid;
    int64_t state;
    bool seen;
};
struct pending {
    enum { ADDED, FLAGGED, REMOVED, DROPPED, CLASH, OTHER } what;
    char *name;
    uint64_t bytes;
};
struct import_run {
    struct import_wire *wire;
    struct import_count count;
    bool remove, new_account;
    bool over; /* -1 was returned: why */
    struct err why;
    /* the mailbox */
    struct arena *mem;
    struct import_target target;
    uint32_t uidvalidity_now;
    struct map *known;
    int64_t last_mark, mark;
    uint64_t failed_before;
    /* asked and not answered: a ring */
    struct pending pending[WINDOW];
    size_t first, n_pending;
    /* the text that is sent */
    struct buf text;
    char last;
    uint64_t text_bytes;
    struct str key;
    char *name;
};

static int end_run(struct import_run *r, const struct err *err)
{
    if (!r->over)
        r->why = *err;
    r->over = true;
    return -1;
}

/* ---- Answers. */

static void note_uidvalidity(struct import_run *r, json_t *answer)
{
    json_t *v = json_object_get(answer, "uidvalidity");

    if (!v || (uint32_t)json_integer_value(v) == r->uidvalidity_now)
        return;
    r->uidvalidity_now = (uint32_t)json_integer_value(v);
    import_count_renumbered(&r->count, r->target.account, r->target.mailbox);
}

static int settle(struct import_run *r, const struct pending *p, json_t *answer)
{
    struct err err = {0};

    if (import_wire_error(answer, &err) != 0) {
        if (err.kind == ERR_TEMP)
            return end_run(r, &err);
        import_count_failed(&r->count, p->name ? p->name : "", err.text);
        return 0;
    }
    note_uidvalidity(r, answer);
    r->count.keywords_lost += (uint64_t)json_integer_value(json_object_get(answer, "lost"));
    if (p->what == ADDED && json_object_get(answer, "known"))
        r->count.unchanged++;
    else if (p->what == ADDED) {
        r->count.imported++;
        r->count.bytes += p->bytes;
    } else if (p->what == FLAGGED)
        *(json_object_get(answer, "gone") ? &r->count.unchanged : &r->count.updated) += 1;
    else if (p->what == REMOVED)
        r->count.removed++;
    return 0;
}

/* Until at most `left` answers are awaited. */
static int catch_up(struct import_run *r, size_t left)
{
    struct err err = {0};
    json_t *answer;

    if (r->over)
        return -1;
    if (r->n_pending > left && import_wire_flush(r->wire, &err) != 0)
        return end_run(r, &err);
    while (r->n_pending > 0) {
        int rc = import_wire_answer(r->wire, r->n_pending > left, &answer, &err);
        if (rc < 0)
            return end_run(r, &err);
        if (rc == 0)
            return 0;
        struct pending p = r->pending[r->first];
        r->first = (r->first + 1) % WINDOW;
        r->n_pending--;
        rc = settle(r, &p, answer);
        json_decref(answer);
        mem_free(p.name);
        if (rc != 0)
            return -1;
        import_count_show(&r->count, false);
    }
    return 0;
}

static void expect(struct import_run *r, struct pending p)
{
    r->pending[(r->first + r->n_pending++) % WINDOW] = p;
}

static int send_request(struct import_run *r, json_t *request)
{
    struct err err = {0};

    if (r->over || catch_up(r, r->n_pending == WINDOW ? WINDOW / 2 : WINDOW) != 0) {
        json_decref(request);
        return -1;
    }
    return import_wire_send(r->wire, request, &err) == 0 ? 0 : end_run(r, &err);
}

/* ---- A mailbox. */

/* No message's key begins so: there, "%" comes before two digits. */
static struct str mark_key(struct import_run *r)
{
    return arena_printf(r->mem, "%%mark-%u", (unsigned)r->target.uidvalidity);
}

static int load_known(struct import_run *r)
{
    struct str mark = mark_key(r);
    struct err err = {0};
    json_t *answer, *row;
    const char *after = "";
    bool more = true;
    size_t i;

    while (more) {
        if (import_wire_ask(r->wire, json_pack("{ss ss}", "do", "known", "after", after), &answer,
                            &err) != 0)
            return end_run(r, &err);
        json_array_foreach(json_object_get(answer, "known"), i, row)
        {
            struct known *k = ARENA_NEW(r->mem, struct known);
            struct str key = arena_str(r->mem, str_from(json_string_value(json_array_get(row, 0))));
            k->uid = (uint32_t)json_integer_value(json_array_get(row, 1));
            k->state = json_integer_value(json_array_get(row, 2));
            if (str_eq(key, mark))
                r->last_mark = k->state;
            if (!str_starts(key, STR("%mark-")))
                map_set(r->known, key, k);
            after = key.p;
        }
        more = json_is_true(json_object_get(answer, "more"));
        json_decref(answer);
    }
    return 0;
}

int import_run_begin(struct import_run *r, const struct import_target *t)
{
    struct err err = {0};
    json_t *answer, *request;

    if (catch_up(r, 0) != 0)
        return -1;
    map_free(&r->known);
    r->known = map_new();
    arena_clear(r->mem);
    r->last_mark = r->mark = 0;
    r->failed_before = r->count.failed;
    r->target = *t;
    r->target.account = arena_str(r->mem, t->account);
    r->target.mailbox = arena_str(r->mem, t->mailbox);
    r->target.source = import_key_plain(r->mem, t->source, IMPORT_SOURCE_MAX);
    request = json_pack("{ss ss ss ss si sb sI}", "do", "mailbox", "account", r->target.account.p,
                        "mailbox", r->target.mailbox.p, "source", r->target.source.p, "special",
                        (int)t->special, "subscribe", t->subscribe, "uidvalidity",
                        (json_int_t)t->uidvalidity);
    if (!request) {
        import_count_failed(&r->count, r->target.mailbox.p, "its name is not UTF-8");
        return 1;
    }
    if (import_wire_ask(r->wire, request, &answer, &err) != 0) {
        if (err.kind != ERR_PERM)
            return end_run(r, &err);
        import_count_failed(&r->count, r->target.mailbox.p, err.text);
        return 1;
    }
    r->uidvalidity_now = (uint32_t)json_integer_value(json_object_get(answer, "uidvalidity"));
    json_decref(answer);
    import_count_mailbox(&r->count, r->target.account, r->target.mailbox, t->messages);
    return load_known(r);
}

static json_t *item(const char *what, struct str key, uint32_t uid)
{
    return json_pack("{ss ss sI}", "do", what, "key", key.p, "uid", (json_int_t)uid);
}

static json_t *message_item(const char *what, const struct import_message *m, struct str key,
                            uint32_t uid)
{
    json_t *v = item(what, key, uid), *words;

    json_object_set_new(v, "state", json_integer(import_state_of(m)));
    json_object_set_new(v, "flags", json_integer((json_int_t)m->flags));
    if (m->n_keywords) {
        words = json_array();
        for (size_t i = 0; i < m->n_keywords; i++) {
            json_t *word = json_stringn(m->keywords[i].p, m->keywords[i].n);
            if (word)
                json_array_append_new(words, word);
        }
        json_object_set_new(v, "keywords", words);
    }
    return v;
}

int import_run_known(struct import_run *r, const struct import_message *m)
{
    struct arena *a = arena_new(512);
    struct str key = import_key_of(a, m->key);
    struct known *k = map_get(r->known, key);
    int rc = k != NULL;

    import_count_seen(&r->count);
    if (k && m->uid && m->uid != k->uid && r->uidvalidity_now == r->target.uidvalidity) {
        rc = send_request(r, json_pack("{ss sI}", "do", "clash", "uid", (json_int_t)m->uid)) == 0
                 ? 1
                 : -1;
        if (rc == 1)
            expect(r, (struct pending){.what = CLASH});
    }
    if (rc == 1 && k->state == import_state_of(m))
        r->count.unchanged++;
    else if (rc == 1) {
        rc = send_request(r, message_item("flags", m, key, k->uid)) == 0 ? 1 : -1;
        if (rc == 1)
            expect(r, (struct pending){.what = FLAGGED, .name = str_dup_z(str_from(m->name))});
    }
    if (k)
        k->seen = true;
    arena_free(&a);
    if (rc == 1)
        import_count_show(&r->count, false);
    return rc;
}

/* ---- Text. */

int import_run_offer(struct import_run *r, const struct import_message *m)
{
    struct arena *a = arena_new(512);
    json_t *v = message_item("add", m, import_key_of(a, m->key), m->uid);
    int rc;

    json_object_set_new(v, "at", json_integer(m->internal_ms));
    json_object_set_new(v, "recent", json_boolean(m->recent));
    rc = send_request(r, v);
    arena_free(&a);
    if (rc != 0)
        return -1;
    r->last = '\0';
    r->text_bytes = 0;
    mem_free(r->name);
    r->name = str_dup_z(str_from(m->name));
    buf_clear(&r->text);
    return 0;
}

static int push_text(struct import_run *r)
{
    struct err err = {0};
    int rc = import_wire_text(r->wire, buf_str(&r->text), &err);

    r->text_bytes += r->text.n;
    buf_clear(&r->text);
    return rc == 0 ? 0 : end_run(r, &err);
}

int import_run_text(struct import_run *r, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];
        if (r->text.n + 2 > TEXT_PIECE && push_text(r) != 0)
            return -1;
        if (c == '\n' && r->last != '\r')
            buf_add_char(&r->text, '\r');
        r->last = c;
        if (c == '\0') { /* RFC 3501 9: no literal may hold it */
            c = (char)0x80;
            r->count.nuls++;
        }
        buf_add_char(&r->text, c);
    }
    return r->over ? -1 : 0;
}

static int end_text(struct import_run *r, bool drop)
{
    struct err err = {0};

    if (r->over || push_text(r) != 0)
        return -1;
    if (import_wire_text_end(r->wire, drop, &err) != 0)
        return end_run(r, &err);
    expect(r, (struct pending){
                  .what = drop ? DROPPED : ADDED, .name = r->name, .bytes = r->text_bytes});
    r->name = NULL;
    return 0;
}

int import_run_text_end(struct import_run *r, const char *failed)
{
    if (failed && !r->over)
        import_count_failed(&r->count, r->name, failed);
    return end_text(r, failed != NULL);
}

int import_run_text_cancel(struct import_run *r)
{
    return end_text(r, true);
}

/* ---- The end of a mailbox, and others. */

static int remove_gone(struct import_run *r)
{
    struct str key;
    void *value;
    size_t pos = 0;

    while (map_next(r->known, &pos, &key, &value)) {
        const struct known *k = value;
        if (k->seen)
            continue;
        struct str z = arena_str(r->mem, key);
        if (send_request(r, item("remove", z, k->uid)) != 0)
            return -1;
        expect(r, (struct pending){.what = REMOVED});
    }
    return 0;
}

int import_run_end(struct import_run *r, bool complete)
{
    json_t *v;

    if (r->over || (r->remove && complete && remove_gone(r) != 0) || catch_up(r, 0) != 0)
        return -1;
    v = json_pack("{ss sI}", "do", "end", "uidnext", (json_int_t)r->target.uidnext);
    if (r->mark && r->mark != r->last_mark && complete && r->count.failed == r->failed_before) {
        json_object_set_new(v, "mark", json_string(mark_key(r).p));
        json_object_set_new(v, "mark_state", json_integer(r->mark));
    }
    if (send_request(r, v) != 0)
        return -1;
    expect(r, (struct pending){.what = OTHER});
    return catch_up(r, 0);
}

void import_run_mark(struct import_run *r, int64_t mark)
{
    r->mark = mark;
}

int64_t import_run_last_mark(const struct import_run *r)
{
    return r->last_mark;
}

void import_run_unchanged(struct import_run *r, uint64_t messages)
{
    r->count.unchanged += messages;
}

void import_run_failed(struct import_run *r, const char *what, const char *why)
{
    import_count_failed(&r->count, what, why);
}

void import_run_vanished(struct import_run *r)
{
    r->count.vanished++;
}

void import_run_without(struct import_run *r)
{
    r->count.without++;
}

bool import_run_removes(const struct import_run *r)
{
    return r->remove;
}

void import_run_still_there(struct import_run *r, struct str raw)
{
    struct arena *a = arena_new(512);
    struct known *k = map_get(r->known, import_key_of(a, raw));

    if (k)
        k->seen = true;
    arena_free(&a);
}

int import_run_subscribe(struct import_run *r, struct str account, struct str name)
{
    json_t *v = json_pack("{ss ss# ss#}", "do", "subscribe", "account", account.p, (int)account.n,
                          "name", name.p ? name.p : "", (int)name.n);

    if (!v)
        return 0; /* no name of ours */
    if (send_request(r, v) != 0)
        return -1;
    expect(r, (struct pending){.what = OTHER, .name = str_dup_z(name)});
    return 0;
}

bool import_run_new_accounts(const struct import_run *r)
{
    return r->new_account;
}

struct import_wire *import_run_wire(struct import_run *r)
{
    return r->wire;
}

/* ---- Beginning and end. */

int import_run_open(const struct import_call *call, struct import_run **out, struct err *err)
{
    struct import_run *r = MEM_NEW(struct import_run);

    if (import_wire_open(call->data, call->config, false, &r->wire, err) != 0) {
        mem_free(r);
        return -1;
    }
    import_count_init(&r->count, "import", call->json, call->progress);
    r->remove = import_option(call, "delete") != NULL;
    r->new_account = import_option(call, "new-account") != NULL;
    r->mem = arena_new(0);
    r->known = map_new();
    buf_init(&r->text, TEXT_PIECE);
    *out = r;
    return 0;
}

int import_run_close(struct import_run **run)
{
    struct import_run *r = *run;
    int code;

    (void)!catch_up(r, 0); /* r->over tells */
    import_wire_close(&r->wire);
    code = import_count_end(&r->count, r->over ? &r->why : NULL);
    while (r->n_pending--) {
        mem_free(r->pending[r->first].name);
        r->first = (r->first + 1) % WINDOW;
    }
    mem_free(r->name);
    map_free(&r->known);
    arena_free(&r->mem);
    buf_fini(&r->text);
    mem_free(r);
    *run = NULL;
    return code;
}

int import_run_give_up(struct import_run *r, const struct err *err)
{
    return end_run(r, err);
}
