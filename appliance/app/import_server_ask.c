/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_server_ask.c - requests that aren't messages: what to import into, what is known,
 * commands. One at a time; reading is done on lane store. */
#include "appliance/app/control.h"
#include "appliance/app/import_session.h"

enum { KNOWN_PAGE = 1000 };

static struct str str_in(struct arena *a, json_t *request, const char *name)
{
    json_t *v = json_object_get(request, name);

    return json_is_string(v) ? arena_str(a, str_of(json_string_value(v), json_string_length(v)))
                             : STR("");
}

static uint64_t number_in(json_t *request, const char *name)
{
    json_int_t v = json_integer_value(json_object_get(request, name));

    return v > 0 ? (uint64_t)v : 0;
}

static void submit(struct import_session *s, struct store_op *op)
{
    op->ctx = s;
    s->busy = true;
    if (store_submit(s->env.store, op) == 0)
        return;
    s->busy = false;
    import_session_refuse(s, &op->err);
}

/* ---- Operations. */

static void on_mailbox(struct store_op *op)
{
    struct import_session *s = op->ctx;

    s->busy = false;
    if (op->failed) {
        import_session_refuse(s, &op->err);
    } else {
        s->mailbox = s->open.id;
        s->uidvalidity_now = s->open.uidvalidity_now;
        import_session_answer(s, json_pack("{sI sb}", "uidvalidity", (json_int_t)s->uidvalidity_now,
                                           "made", s->open.made));
    }
    import_session_go_on(s);
}

static void ask_mailbox(struct import_session *s, json_t *request)
{
    arena_clear(s->target_mem);
    s->mailbox = 0;
    s->source = str_take(str_in(s->target_mem, request, "source"), IMPORT_SOURCE_MAX);
    s->uidvalidity = (uint32_t)number_in(request, "uidvalidity");
    import_mailbox_init(&s->open, on_mailbox);
    s->open.account = str_in(s->target_mem, request, "account");
    s->open.mailbox = str_in(s->target_mem, request, "mailbox");
    s->open.special = (enum mailbox_special)number_in(request, "special");
    s->open.subscribe = json_is_true(json_object_get(request, "subscribe"));
    s->open.uidvalidity = s->uidvalidity;
    submit(s, &s->open.op);
}

static void on_plain(struct store_op *op)
{
    struct import_session *s = op->ctx;

    s->busy = false;
    if (op->failed)
        import_session_refuse(s, &op->err);
    else
        import_session_answer(s, json_object());
    import_session_go_on(s);
}

static void ask_end(struct import_session *s, json_t *request)
{
    import_end_init(&s->finish, on_plain);
    s->finish.mailbox = s->mailbox;
    s->finish.uidvalidity = s->uidvalidity;
    s->finish.uidnext = (uint32_t)number_in(request, "uidnext");
    s->finish.source = s->source;
    s->finish.mark = str_take(str_in(s->target_mem, request, "mark"), IMPORT_KEY_MAX);
    s->finish.mark_state = (int64_t)number_in(request, "mark_state");
    submit(s, &s->finish.op);
}

static void on_clash(struct store_op *op)
{
    struct import_session *s = op->ctx;

    s->busy = false;
    s->uidvalidity_now = s->batch.uidvalidity_now;
    if (op->failed)
        import_session_refuse(s, &op->err);
    else
        import_session_answer(s, json_pack("{sI}", "uidvalidity", (json_int_t)s->uidvalidity_now));
    import_session_go_on(s);
}

static void ask_clash(struct import_session *s, json_t *request)
{
    import_batch_init(&s->batch, on_clash);
    s->batch.mailbox = s->mailbox;
    s->batch.source = s->source;
    s->batch.uidvalidity = s->uidvalidity;
    s->batch.clash = (uint32_t)number_in(request, "uid");
    submit(s, &s->batch.op);
}

static int subscribe_run(struct store_op *op, struct store_tx *tx)
{
    struct import_session *s = op->ctx;
    uint64_t account;

    if (account_open_tx(tx, s->change.account, &account, &op->err) != 0)
        return -1;
    return mailbox_subscribe_tx(tx, account, s->change.name, true, &op->err);
}

static void ask_subscribe(struct import_session *s, json_t *request)
{
    arena_clear(s->ask_mem);
    s->change.op =
        (struct store_op){.run = subscribe_run, .done = on_plain, .cls = STORE_INTERACTIVE};
    s->change.account = str_in(s->ask_mem, request, "account");
    s->change.name = str_in(s->ask_mem, request, "name");
    submit(s, &s->change.op);
}

/* ---- Jobs. */

static void ask_over(struct import_session *s)
{
    s->busy = false;
    json_decref(s->ask.request);
    s->ask.request = NULL;
    import_session_go_on(s);
}

/* False: it must wait until the client has read some. */
static bool send_out(struct import_session *s)
{
    enum conn_room room = CONN_ROOM;

    if (s->conn && s->ask.out.n)
        room = conn_write_str(s->conn, buf_str(&s->ask.out));
    buf_clear(&s->ask.out);
    return room == CONN_ROOM;
}

static void submit_ask(struct import_session *s)
{
    s->ask.waiting = false;
    if (lane_submit(store_lane(s->env.store), &s->ask.job) == 0)
        return;
    err_set(&s->ask.err, ERR_TEMP, ERR_WHY_BUSY, "the store has too much to do");
    import_session_refuse(s, &s->ask.err);
    ask_over(s);
}

static void on_asked(struct job *j)
{
    struct import_session *s = CONTAINER_OF(j, struct import_session, ask.job);
    bool room = send_out(s);

    if (s->ask.err.kind != ERR_NONE) {
        import_session_refuse(s, &s->ask.err);
        json_decref(s->ask.answer);
    } else if (s->ask.answer)
        import_session_answer(s, s->ask.answer);
    s->ask.answer = NULL;
    if (!s->ask.more || !s->conn || s->ask.err.kind != ERR_NONE)
        ask_over(s);
    else if (room)
        submit_ask(s);
    else
        s->ask.waiting = true; /* for CONN_DRAINED */
}

void import_ask_drained(struct import_session *s)
{
    if (s->ask.waiting)
        submit_ask(s);
}

void import_ask_stop(struct import_session *s)
{
    if (!s->ask.waiting)
        return;
    s->ask.waiting = false;
    ask_over(s);
}

static void ask_run(struct job *j, void *worker)
{
    struct import_session *s = CONTAINER_OF(j, struct import_session, ask.job);

    s->ask.more = false;
    if (worker)
        s->ask.work(s, worker);
    else
        err_set(&s->ask.err, ERR_TEMP, ERR_WHY_OTHER, "the store can't be read");
}

static void begin_ask(struct import_session *s, json_t *request,
                      void (*work)(struct import_session *, struct store_reader *))
{
    arena_clear(s->ask_mem);
    err_clear(&s->ask.err);
    s->ask.request = json_incref(request);
    s->ask.work = work;
    s->ask.job = (struct job){.run = ask_run, .done = on_asked};
    s->ask.id = number_in(request, "id");
    s->ask.begun = false;
    s->ask.next = 1;
    s->ask.offset = 0;
    s->busy = true;
    submit_ask(s);
}

static void known_work(struct import_session *s, struct store_reader *r)
{
    struct import_known *list;
    size_t n;

    if (import_known(r, s->ask_mem, s->mailbox, s->source,
                     str_in(s->ask_mem, s->ask.request, "after"), KNOWN_PAGE, &list, &n,
                     &s->ask.err) != 0)
        return;
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *key = json_stringn(list[i].key.p, list[i].key.n);
        json_array_append_new(all, json_pack("[oII]", key ? key : json_string(""),
                                             (json_int_t)list[i].uid, (json_int_t)list[i].state));
    }
    s->ask.answer = json_pack("{so sb}", "known", all, "more", n == KNOWN_PAGE);
}

/* ---- Commands, as the control socket has them. */

static void command_work(struct job *j, void *worker)
{
    struct import_session *s = CONTAINER_OF(j, struct import_session, ask.job);

    (void)worker;
    s->ask.answer =
        control_answer(s->env.dir, s->env.directory, NULL, s->env.store, NULL, s->ask.request);
    s->ask.more = false;
}

static void ask_command(struct import_session *s, json_t *request)
{
    json_t *argv = json_object_get(request, "argv");

    if (control_on_loop(request)) {
        import_session_break(s, "a command that isn't for a stream");
        return;
    }
    err_clear(&s->ask.err);
    s->ask.request = json_pack("{sO}", "argv", argv ? argv : json_null());
    json_object_set(s->ask.request, "file", json_object_get(request, "file"));
    s->ask.job = (struct job){.run = command_work, .done = on_asked};
    s->busy = true;
    if (!s->env.misc) {
        command_work(&s->ask.job, NULL);
        on_asked(&s->ask.job);
    } else if (lane_submit(s->env.misc, &s->ask.job) != 0) {
        err_set(&s->ask.err, ERR_TEMP, ERR_WHY_BUSY, "too many commands at once");
        import_session_refuse(s, &s->ask.err);
        ask_over(s);
    }
}

bool import_ask(struct import_session *s, const char *what, json_t *request)
{
    static const struct {
        const char *what;
        void (*ask)(struct import_session *, json_t *);
        void (*work)(struct import_session *, struct store_reader *);
    } all[] = {{"mailbox", ask_mailbox, NULL},
               {"known", NULL, known_work},
               {"end", ask_end, NULL},
               {"clash", ask_clash, NULL},
               {"subscribe", ask_subscribe, NULL},
               {"command", ask_command, NULL},
               {"accounts", NULL, import_read_accounts},
               {"folders", NULL, import_read_folders},
               {"fetch", NULL, import_read_messages}};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (strcmp(all[i].what, what) != 0)
            continue;
        if (all[i].ask)
            all[i].ask(s, request);
        else
            begin_ask(s, request, all[i].work);
        return true;
    }
    return false;
}

void import_ask_free(struct import_session *s)
{
    json_decref(s->ask.request);
    json_decref(s->ask.answer);
    buf_fini(&s->ask.out);
    arena_free(&s->ask_mem);
}
