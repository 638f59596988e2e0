/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* keep.c - the verdicts of each transaction as one row of JSON, for `posthouse explain`. Written
 * behind: no reply waits for them, and in a crash the last moment's are lost. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/sql/sql.h"
#include "appliance/store/store.h"
#include "filters/private.h"

enum {
    WRITE_AFTER_MS = 50,
    PENDING_MAX = 8000,
    DETAIL_MAX = 384 << 10,
    STAGES_MAX = 256 << 10,
    ACTION_MAX = 2048,
    ACTIONS_TOLD = 20
};
#define LEFT_OUT ",\"left_out\":"

struct row {
    struct row *next;
    uint64_t id;
    bool again, more; /* there may be a row; its stages are to be kept */
    struct str detail;
    char bytes[];
};
struct write {
    struct store_op op;
    struct keep *keep; /* NULL: closed */
    struct row *rows;
    uint64_t prune_before;
};
struct keep {
    struct filters *filters;
    struct timer *timer;
    struct row *rows, **last;
    size_t n;
    uint64_t dropped;
    struct write *write; /* under way */
};

/* ---- JSON. */

static void put_string(struct buf *out, struct str s)
{
    bool utf8 = text_utf8_valid(s);

    buf_add_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            buf_add_char(out, '\\');
        if (c < ' ' || c == 0x7f)
            buf_printf(out, "\\u%04x", c);
        else
            buf_add_char(out, c < 0x80 || utf8 ? s.p[i] : '?');
    }
    buf_add_char(out, '"');
}

static void put_member(struct buf *out, const char *name, struct str value)
{
    if (!value.n)
        return;
    buf_printf(out, ",\"%s\":", name);
    put_string(out, value);
}

/* In words; what a stage does very often isn't told in full. */
static void put_actions(struct buf *out, const struct chain_record *r)
{
    const struct chain_action *a = r->acts;
    struct buf text;

    if (!r->actions)
        return;
    buf_init(&text, ACTION_MAX);
    buf_add_z(out, ",\"did\":[");
    for (unsigned i = 0; i < r->actions && i < ACTIONS_TOLD && a; i++, a = a->next) {
        buf_clear(&text);
        chain_action_text(a, &text);
        buf_add_z(out, i ? "," : "");
        put_string(out, buf_str(&text));
    }
    if (r->actions > ACTIONS_TOLD)
        buf_printf(out, ",\"and %u more\"", r->actions - ACTIONS_TOLD);
    buf_add_char(out, ']');
    buf_fini(&text);
}

static void put_record(struct buf *out, const struct chain_record *r)
{
    buf_printf(out, "{\"stage\":\"%s\",\"point\":\"%s\",\"verdict\":\"%s\",\"us\":%llu", r->stage,
               ph_point_name(r->point), ph_verdict_name(r->verdict), (unsigned long long)r->us);
    if (r->shadow)
        buf_add_z(out, ",\"shadow\":true");
    if (r->failed)
        buf_add_z(out, ",\"failed\":true");
    if (r->always)
        buf_add_z(out, ",\"always\":true");
    if (r->held)
        buf_add_z(out, ",\"held\":true");
    if (r->overridden)
        buf_add_z(out, ",\"overridden\":true");
    if (r->score != 0)
        buf_printf(out, ",\"score\":%.6g", r->score);
    put_actions(out, r);
    put_member(out, "recipient", r->rcpt);
    put_member(out, "reply", r->reply);
    put_member(out, "reason", r->reason);
    if (r->facts)
        buf_add_z(out, ",\"facts\":{");
    for (const struct chain_fact *f = r->facts; f; f = f->next) {
        put_string(out, f->name);
        buf_add_char(out, ':');
        put_string(out, f->value);
        buf_add_char(out, f->next ? ',' : '}');
    }
    buf_add_char(out, '}');
}

/* Of what a client may repeat the first ones are kept: half of the room is for the rest. How many
 * are left out. */
static size_t put_records(struct buf *out, const struct chain_record *r)
{
    size_t left_out = 0;

    for (; r; r = r->next) {
        size_t before = out->n;
        if (before)
            buf_add_char(out, ',');
        put_record(out, r);
        if (!buf_ok(out) || (chain_repeats(r->point) && out->n > STAGES_MAX / 2)) {
            buf_truncate(out, before);
            out->full = false;
            left_out++;
        }
    }
    return left_out;
}

static void put_stages(const struct chain *c, struct buf *out)
{
    struct buf stages;
    size_t left_out = c->of_session.left_out + (c->message ? c->of_message.left_out : 0);

    buf_init(&stages, STAGES_MAX);
    left_out += put_records(&stages, c->of_session.records);
    if (c->message)
        left_out += put_records(&stages, c->of_message.records);
    if (left_out)
        buf_printf(out, LEFT_OUT "%zu", left_out);
    buf_add_z(out, ",\"stages\":[");
    buf_add_str(out, buf_str(&stages));
    buf_add_z(out, "]}");
    buf_fini(&stages);
}

/* Its first whole lines. */
static struct str beginning(struct str head, size_t max)
{
    size_t at;

    if (head.n <= max)
        return head;
    head = str_take(head, max);
    return str_take(head, str_rchr(head, '\n', &at) ? at + 1 : 0);
}

void chain_keep(struct chain *c, const struct chain_subject *about)
{
    struct buf out;
    uint64_t id = c->message ? c->message : c->session;

    if (!filters_settings(c->filters)->keep || !c->filters->env.store ||
        (!c->of_session.records && !(c->message && c->of_message.records)))
        return;
    buf_init(&out, DETAIL_MAX);
    buf_printf(&out, "{\"session\":\"%llu\",\"at\":%lld,\"score\":%.6g,\"rcpts\":%zu,\"size\":%llu",
               (unsigned long long)c->session, (long long)clock_wall_ms(), chain_score(c),
               about->rcpts, (unsigned long long)about->size);
    put_member(&out, "client", about->client);
    put_member(&out, "sender", about->sender);
    put_member(&out, "recipient", about->rcpt);
    put_member(&out, "outcome", about->outcome);
    put_member(&out, "head",
               beginning(about->head, (size_t)filters_settings(c->filters)->keep_head));
    put_stages(c, &out);
    if (buf_ok(&out))
        /* A session's is written anew with each command that is refused. */
        keep_put(c->filters->keep, id, !c->message || about->more, about->more, buf_str(&out));
    buf_fini(&out);
}

/* ---- Writing behind. */

/* `new` with the stages of the row that is there put before its own. Both end as chain_keep() makes
 * them. */
static int merge(struct sql *db, const struct row *r, struct buf *out, struct err *err)
{
    struct str mark = STR(",\"stages\":["), old;
    struct sql_stmt *st;
    size_t at_old, at_new;
    int rc;

    if (sql_prepare(db, "SELECT detail FROM verdict WHERE id = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)r->id);
    rc = sql_step(st, err);
    old = rc == 1 ? sql_blob(st, 0) : STR_NULL;
    if (rc == 1 && str_find(old, mark, &at_old) && str_find(r->detail, mark, &at_new)) {
        struct str was = str_take(old, at_old);
        struct str before = str_skip(old, at_old + mark.n),
                   own = str_skip(r->detail, at_new + mark.n);
        before = str_take(before, before.n - 2);
        buf_add_str(out, str_take(r->detail, at_new));
        if (str_find(was, STR(LEFT_OUT), &at_old)) /* the last member before `mark` */
            buf_add_str(out, str_skip(was, at_old));
        buf_add_str(out, mark);
        buf_add_str(out, before);
        buf_add_z(out, before.n && own.n > 2 ? "," : "");
        buf_add_str(out, own);
    }
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int delete_row(struct sql *db, uint64_t id, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "DELETE FROM verdict WHERE id = ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    return sql_run(st, err);
}

static int write_row(struct sql *db, uint64_t id, struct str detail, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "INSERT INTO verdict(id, detail) VALUES (?, ?)", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)id);
    sql_bind_blob(st, 2, detail);
    return sql_run(st, err);
}

static int insert(struct sql *db, const struct row *r, struct err *err)
{
    struct buf merged;
    int rc = 0;

    buf_init(&merged, 4 * DETAIL_MAX);
    if (r->more)
        rc = merge(db, r, &merged, err);
    if (rc == 0 && r->again)
        rc = delete_row(db, r->id, err);
    if (rc == 0)
        rc = write_row(db, r->id, merged.n && buf_ok(&merged) ? buf_str(&merged) : r->detail, err);
    buf_fini(&merged);
    return rc;
}

/* Some of those older than that, so that no commit waits for it. */
static int prune(struct sql *db, uint64_t before, struct err *err)
{
    struct sql_stmt *st;
    uint64_t until = before;
    int rc;

    if (sql_prepare(db, "SELECT id FROM verdict WHERE id < ? ORDER BY id LIMIT 1 OFFSET 500", &st,
                    err))
        return -1;
    sql_bind_int(st, 1, (int64_t)before);
    rc = sql_step(st, err);
    if (rc == 1)
        until = (uint64_t)sql_int(st, 0);
    sql_reset(st);
    if (rc < 0 || sql_prepare(db, "DELETE FROM verdict WHERE id < ?", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)until);
    return sql_run(st, err);
}

static int run_write(struct store_op *op, struct store_tx *tx)
{
    struct write *w = CONTAINER_OF(op, struct write, op);
    struct sql *db = store_tx_sql(tx);

    for (const struct row *r = w->rows; r; r = r->next)
        if (insert(db, r, &op->err))
            return -1;
    return prune(db, w->prune_before, &op->err) ? -1 : STORE_DONE;
}

static void rows_free(struct row *r)
{
    while (r) {
        struct row *next = r->next;
        mem_free(r);
        r = next;
    }
}

static void on_written(struct store_op *op)
{
    struct write *w = CONTAINER_OF(op, struct write, op);
    struct keep *k = w->keep;

    if (op->failed)
        log_warn(&(struct log_ctx){.module = "filters"}, "verdicts_not_kept",
                 L_Z("why", op->err.text));
    rows_free(w->rows);
    mem_free(w);
    if (!k)
        return;
    k->write = NULL;
    if (k->n)
        timer_start(k->timer, WRITE_AFTER_MS);
}

static struct write *take(struct keep *k)
{
    struct write *w = MEM_NEW(struct write);
    uint64_t keep_ms = filters_settings(k->filters)->keep;

    w->keep = k;
    w->rows = k->rows;
    w->prune_before = store_id_at(clock_wall_ms() - (int64_t)keep_ms);
    k->rows = NULL;
    k->last = &k->rows;
    k->n = 0;
    return w;
}

static void on_timer(void *ctx)
{
    struct keep *k = ctx;
    struct write *w;

    if (k->dropped)
        log_warn(&(struct log_ctx){.module = "filters"}, "verdicts_not_kept",
                 L_UINT("messages", k->dropped), L_Z("why", "more of them than the store takes"));
    k->dropped = 0;
    if (k->write || !k->n)
        return;
    w = take(k);
    w->op = (struct store_op){.run = run_write, .done = on_written, .cls = STORE_INTERACTIVE};
    k->write = w;
    if (store_submit(k->filters->env.store, &w->op) == 0)
        return;
    w->op.failed = true;
    on_written(&w->op);
}

void keep_put(struct keep *k, uint64_t id, bool again, bool more, struct str detail)
{
    struct row *r;

    if (k->n >= PENDING_MAX) {
        k->dropped++;
        return;
    }
    r = mem_alloc(sizeof *r + detail.n);
    memcpy(r->bytes, detail.p, detail.n);
    r->id = id;
    r->more = more;
    r->again = again;
    r->detail = str_of(r->bytes, detail.n);
    *k->last = r;
    k->last = &r->next;
    if (k->n++ == 0 && !k->write)
        timer_start(k->timer, WRITE_AFTER_MS);
}

struct keep *keep_new(struct filters *f)
{
    struct keep *k = MEM_NEW(struct keep);

    k->filters = f;
    k->last = &k->rows;
    k->timer = timer_new(f->env.loop, on_timer, k);
    return k;
}

void keep_free(struct keep **kp)
{
    struct keep *k = *kp;

    if (!k)
        return;
    *kp = NULL;
    timer_free(&k->timer);
    if (k->n) {
        struct write *w = take(k);
        w->op = (struct store_op){.run = run_write, .cls = STORE_INTERACTIVE};
        if (store_submit_wait(k->filters->env.store, &w->op))
            log_warn(&(struct log_ctx){.module = "filters"}, "verdicts_not_kept",
                     L_Z("why", w->op.err.text));
        rows_free(w->rows);
        mem_free(w);
    }
    if (k->write)
        k->write->keep = NULL;
    mem_free(k);
}
