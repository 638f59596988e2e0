/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* explain: what the filter stages decided about a message, and why. queue: mail they keep back. */
#include "appliance/app/admin.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include "appliance/store/queue.h"
#include <time.h>

enum { TRIES = 10, PAUSE_MS = 50 };

static int read_detail(struct admin_call *c, uint64_t id, json_t **out)
{
    struct store_reader *r;
    struct sql_stmt *st;
    int rc;

    if (store_reader_open(c->store, &r, &c->err))
        return -1;
    rc = sql_prepare(store_reader_sql(r), "SELECT detail FROM verdict WHERE id = ?", &st, &c->err);
    if (rc == 0) {
        sql_bind_int(st, 1, (int64_t)id);
        rc = sql_step(st, &c->err);
        if (rc == 1) {
            struct str detail = sql_blob(st, 0);
            *out = json_loadb(detail.p, detail.n, 0, NULL);
        }
        sql_reset(st);
    }
    store_reader_close(&r);
    return rc < 0 ? -1 : 0;
}

/* A message that was answered just now: its verdicts are written behind. */
static void wait_a_moment(void)
{
    nanosleep(&(struct timespec){0, PAUSE_MS * 1000000L}, NULL);
}

static int explain(struct admin_call *c)
{
    uint64_t id;
    json_t *detail = NULL;

    if (str_to_u64(str_from(c->args[0]), INT64_MAX, &id))
        return ERR(
            &c->err, ERR_PROTO,
            "'%s' is no id: it is in the 250 reply, in Received, and the mid= or sid= of the "
            "log",
            c->args[0]);
    for (int i = 0; i < TRIES && !detail; i++) {
        if (i)
            wait_a_moment();
        if (read_detail(c, id, &detail))
            return -1;
    }
    if (!detail)
        return ERR_WHY(&c->err, ERR_PERM, ERR_WHY_NOT_FOUND,
                       "no verdicts are kept about %s: no stage looked at it, or they are older "
                       "than filters.keep",
                       c->args[0]);
    json_object_set_new(detail, "id", json_string(c->args[0]));
    c->result = detail;
    return 0;
}

const struct admin_command admin_explain_commands[] = {
    {"explain", "show", "ID", 1, 1, NULL, false, explain,
     "Show what the filter stages decided about a message or a session, and why (posthouse explain "
     "ID)."},
    {.group = NULL}};

/* ---- queue: mail that is held or in quarantine */

static const char *held_name(enum queue_held held)
{
    return held == QUEUE_HELD ? "held" : "quarantine";
}

static json_t *time_text(int64_t ms)
{
    time_t at = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];

    gmtime_r(&at, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

static json_t *entry_json(const struct queue_entry *e)
{
    return json_pack("{so ss so so sI sI so so so}", "id",
                     json_sprintf("%llu", (unsigned long long)e->id), "state", held_name(e->held),
                     "since", time_text(e->since_ms), "until", time_text(e->until_ms), "size",
                     (json_int_t)e->size, "recipients", (json_int_t)e->n_rcpts, "sender",
                     admin_str(e->sender), "stage", admin_str(e->stage), "reason",
                     admin_str(e->reason));
}

static int queue_cmd_list(struct admin_call *c)
{
    struct arena *mem = arena_new(0);
    struct queue_entry *list;
    struct store_reader *r;
    uint64_t after = 0;
    size_t n = 0;
    int rc;

    rc = store_reader_open(c->store, &r, &c->err);
    c->result = rc ? NULL : json_array();
    while (rc == 0) {
        arena_clear(mem);
        rc = queue_list(r, mem, 0, 0, after, 100, &list, &n, &c->err);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            json_array_append_new(c->result, entry_json(&list[i]));
            after = list[i].id;
        }
        if (n < 100)
            break;
    }
    if (c->result)
        store_reader_close(&r);
    arena_free(&mem);
    return rc;
}

static int parse_id(struct admin_call *c, uint64_t *out)
{
    if (str_to_u64(str_from(c->args[0]), INT64_MAX, out))
        return ERR(&c->err, ERR_PROTO, "'%s' is not an id (posthouse queue list)", c->args[0]);
    return 0;
}

static int show_entry(struct admin_call *c, struct store_reader *r, struct arena *mem, uint64_t id)
{
    struct message_recipient *rcpts;
    struct body_reader body;
    struct queue_entry e;
    json_t *list;
    size_t n;

    if (queue_get(r, mem, id, &e, &c->err) || queue_rcpts(r, mem, id, &rcpts, &n, &c->err) ||
        body_open(r, mem, e.body, BODY_WANT_HEAD, &body, &c->err))
        return -1;
    c->result = entry_json(&e);
    list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, admin_str(rcpts[i].account));
    json_object_set_new(c->result, "recipients", list);
    json_object_set_new(c->result, "head", admin_str(body.head));
    body_close(&body);
    return 0;
}

static int queue_cmd_show(struct admin_call *c)
{
    struct arena *mem;
    struct store_reader *r;
    uint64_t id;
    int rc;

    if (parse_id(c, &id) || store_reader_open(c->store, &r, &c->err))
        return -1;
    mem = arena_new(0);
    rc = show_entry(c, r, mem, id);
    arena_free(&mem);
    store_reader_close(&r);
    return rc;
}

struct queue_change {
    struct store_op op;
    uint64_t id;
    const char *mailbox;
};

static int run_release(struct store_op *op, struct store_tx *tx)
{
    struct queue_change *q = CONTAINER_OF(op, struct queue_change, op);

    return queue_release_tx(tx, q->id, q->mailbox, &op->err) ? -1 : STORE_DONE;
}

static int run_remove(struct store_op *op, struct store_tx *tx)
{
    struct queue_change *q = CONTAINER_OF(op, struct queue_change, op);

    return queue_remove_tx(tx, q->id, &op->err) ? -1 : STORE_DONE;
}

static int change(struct admin_call *c, int (*run)(struct store_op *, struct store_tx *))
{
    struct queue_change q = {.op = {.run = run, .cls = STORE_INTERACTIVE},
                             .mailbox = admin_option(c, "junk") ? "Junk" : NULL};

    if (parse_id(c, &q.id))
        return -1;
    if (store_submit_wait(c->store, &q.op) == 0 && !q.op.failed)
        return 0;
    c->err = q.op.err;
    return -1;
}

static int queue_cmd_release(struct admin_call *c)
{
    return change(c, run_release);
}

static int queue_cmd_remove(struct admin_call *c)
{
    return change(c, run_remove);
}

static const char *const release_options[] = {"junk", NULL};
const struct admin_command admin_queue_commands[] = {
    {"queue", "list", "", 0, 0, NULL, false, queue_cmd_list,
     "List mail in quarantine, and mail held until a filter stage can judge it."},
    {"queue", "show", "ID", 1, 1, NULL, false, queue_cmd_show,
     "Show one message of it: recipients, reason, header block."},
    {"queue", "release", "ID", 1, 1, release_options, false, queue_cmd_release,
     "Deliver it to its recipients, into INBOX or (--junk) their Junk folder."},
    {"queue", "remove", "ID", 1, 1, NULL, false, queue_cmd_remove, "Delete it undelivered."},
    {.group = NULL}};
