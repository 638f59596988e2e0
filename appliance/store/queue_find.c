/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue_find.c - mail that leaves, found by what it is and changed: for commands.
 * Texts are compared here and not in SQL, where case and character sets differ between engines. */
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "appliance/store/queue_private.h"

enum { CHUNK = 256 };

/* ---- Does it fit */

static bool domain_is(struct str domain, struct str wanted)
{
    if (!str_starts(wanted, STR(".")))
        return str_ieq(domain, wanted);
    return str_iends(domain, wanted) || str_ieq(domain, str_skip(wanted, 1));
}

bool queue_domain_fits(struct str address, struct str domain)
{
    struct str local, host;
    struct buf alabel;
    bool fits;

    address_split(address, &local, &host);
    if (text_ascii(host))
        return domain_is(host, domain);
    buf_init(&alabel, 512);
    fits = text_domain(host, &alabel) == 0 && domain_is(buf_str(&alabel), domain);
    buf_fini(&alabel);
    return fits;
}

bool queue_sender_fits(struct str sender, struct str filter)
{
    if (str_eq(filter, STR("<>")))
        return sender.n == 0;
    if (str_starts(filter, STR("@")))
        return queue_domain_fits(sender, str_skip(filter, 1));
    return str_ieq(sender, filter);
}

static bool fits(const struct queue_filter *f, const struct queue_to *t, struct str sender,
                 int64_t since_ms)
{
    size_t at;

    return (f->state < 0 || t->state == (enum queue_state)f->state) &&
           (f->older_ms == 0 || since_ms < f->older_ms) &&
           (f->domain.n == 0 || queue_domain_fits(t->rcpt, f->domain)) &&
           (f->sender.n == 0 || queue_sender_fits(sender, f->sender)) &&
           (f->error.n == 0 || str_ifind(t->last, f->error, &at));
}

/* ---- Find */

struct scan {
    uint64_t id; /* what was looked at last */
    uint32_t n;
    size_t look; /* rows to look at, at most */
    bool end;    /* there was no more */
};

static int prepare_scan(struct sql *db, const struct queue_filter *f, const struct scan *s,
                        struct sql_stmt **out, struct err *err)
{
    if (sql_prepare(db,
                    "SELECT " QUEUE_TO_COLUMNS ", q.sender, q.since "
                    "FROM queue_to t CROSS JOIN queue q ON q.id = t.queue "
                    "WHERE t.queue >= ? AND t.queue <= ? AND (t.queue > ? OR t.n > ?) "
                    "AND t.state <> 2 ORDER BY t.queue, t.n",
                    out, err))
        return -1;
    sql_bind_int(*out, 1, (int64_t)(f->id > s->id ? f->id : s->id));
    sql_bind_int(*out, 2, f->id ? (int64_t)f->id : INT64_MAX);
    sql_bind_int(*out, 3, (int64_t)s->id);
    sql_bind_int(*out, 4, s->n);
    return 0;
}

/* At most max that fit, and at most s->look in all. */
static int scan(struct sql *db, struct arena *a, const struct queue_filter *f, struct scan *s,
                size_t max, struct queue_to **out, size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    int rc = 1;

    *n_out = 0;
    *out = ARENA_ARRAY(a, struct queue_to, max + 1);
    if (prepare_scan(db, f, s, &st, err))
        return -1;
    for (size_t seen = 0; *n_out < max && seen < s->look; seen++) {
        struct queue_to t;
        rc = sql_step(st, err);
        if (rc != 1)
            break;
        queue_to_view(st, &t);
        s->id = t.id;
        s->n = t.n;
        if (!fits(f, &t, sql_blob(st, QUEUE_TO_N_COLUMNS), sql_int(st, QUEUE_TO_N_COLUMNS + 1)))
            continue;
        queue_to_keep(a, &t);
        (*out)[(*n_out)++] = t;
    }
    sql_reset(st);
    s->end = rc == 0;
    return rc < 0 ? -1 : 0;
}

/* Of each row; a message's is read once. */
static int read_entries(struct sql *db, struct arena *a, const struct queue_to *list, size_t n,
                        struct queue_entry *out, struct err *err)
{
    struct sql_stmt *st;
    int rc = 0;

    for (size_t i = 0; i < n; i++) {
        if (i && list[i].id == list[i - 1].id) {
            out[i] = out[i - 1];
            continue;
        }
        out[i] = (struct queue_entry){.id = list[i].id, .sender = STR("")};
        if (sql_prepare(db, "SELECT " QUEUE_ENTRY_COLUMNS "WHERE q.id = ?", &st, err))
            return -1;
        sql_bind_int(st, 1, (int64_t)list[i].id);
        rc = sql_step(st, err);
        if (rc == 1)
            queue_entry_read(st, a, &out[i]);
        sql_reset(st);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int find(struct store_reader *r, struct arena *a, const struct queue_filter *f,
                struct scan *s, size_t max, struct queue_to **out, struct queue_entry **entries_out,
                size_t *n_out, struct err *err)
{
    if (scan(r->db, a, f, s, max, out, n_out, err))
        return -1;
    if (!entries_out)
        return 0;
    *entries_out = ARENA_ARRAY(a, struct queue_entry, *n_out + 1);
    return read_entries(r->db, a, *out, *n_out, *entries_out, err);
}

int queue_find(struct store_reader *r, struct arena *a, const struct queue_filter *f,
               uint64_t after_id, uint32_t after_n, size_t max, struct queue_to **out,
               struct queue_entry **entries_out, size_t *n_out, struct err *err)
{
    struct scan s = {.id = after_id, .n = after_n, .look = SIZE_MAX};
    bool own = !sql_in_transaction(r->db); /* else the caller's snapshot */
    int rc;

    *n_out = 0;
    if (own && store_read_begin(r, err)) /* no message vanishes between recipient and entry */
        return -1;
    rc = find(r, a, f, &s, max, out, entries_out, n_out, err);
    if (own)
        store_read_end(r);
    return rc;
}

/* ---- Change */

int queue_change_state(enum queue_change_what what)
{
    switch (what) {
    case QUEUE_RETRY:
    case QUEUE_HOLD:
        return QUEUE_WAITING;
    case QUEUE_RELEASE:
        return QUEUE_ON_HOLD;
    case QUEUE_REROUTE:
    case QUEUE_DROP:
        break;
    }
    return -1;
}

static int update(struct store_tx *tx, const char *text, const struct queue_to *t, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, text, &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)t->id);
    sql_bind_int(st, 2, t->n);
    return sql_run(st, err);
}

/* By its domain, as without any route; delivery gives it the site that today's routes say. */
static struct str own_site(struct arena *a, const struct queue_to *t)
{
    struct str local, host, site = t->site;
    struct buf alabel;

    address_split(t->rcpt, &local, &host);
    buf_init(&alabel, 512);
    if (str_starts(host, STR("[")))
        site = host;
    else if (text_domain(host, &alabel) == 0)
        site = arena_str(a, buf_str(&alabel));
    buf_fini(&alabel);
    return site;
}

static int reroute(struct store_tx *tx, struct arena *a, const struct queue_to *t, struct str site,
                   struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db,
                    "UPDATE queue_to SET site = ?, forced = ?, next_try = 0 WHERE queue = ? AND "
                    "n = ?",
                    &st, err))
        return -1;
    sql_bind_text(st, 1, site.n ? site : own_site(a, t));
    sql_bind_int(st, 2, site.n != 0);
    sql_bind_int(st, 3, (int64_t)t->id);
    sql_bind_int(st, 4, t->n);
    return sql_run(st, err);
}

static int change_one(struct store_tx *tx, struct arena *a, const struct queue_change_op *q,
                      const struct queue_to *t, struct err *err)
{
    switch (q->what) {
    case QUEUE_RETRY:
        return update(tx, "UPDATE queue_to SET next_try = 0 WHERE queue = ? AND n = ?", t, err);
    case QUEUE_HOLD:
        return update(tx, "UPDATE queue_to SET state = 1 WHERE queue = ? AND n = ?", t, err);
    case QUEUE_RELEASE:
        return update(tx, "UPDATE queue_to SET state = 0, next_try = 0 WHERE queue = ? AND n = ?",
                      t, err);
    case QUEUE_REROUTE:
        return reroute(tx, a, t, q->site, err);
    case QUEUE_DROP:
        break;
    }
    return queue_delete_to_tx(tx, t->id, t->n, err);
}

static int change_chunk(struct store_tx *tx, struct arena *a, struct queue_change_op *q,
                        const struct queue_to *list, size_t n)
{
    struct err *err = &q->op.err;

    for (size_t i = 0; i < n; i++) {
        if (change_one(tx, a, q, &list[i], err))
            return -1;
        if (q->what == QUEUE_DROP && (i + 1 == n || list[i + 1].id != list[i].id) &&
            queue_finish_tx(tx, list[i].id, err))
            return -1;
    }
    q->count += n;
    return 0;
}

static int slice(struct store_tx *tx, struct arena *a, struct queue_change_op *q,
                 const struct queue_filter *f)
{
    struct scan s = {.id = q->at_id, .n = q->at_n, .look = CHUNK};
    struct queue_to *list;
    size_t n;

    do {
        arena_clear(a);
        if (scan(tx->db, a, f, &s, CHUNK, &list, &n, &q->op.err) || change_chunk(tx, a, q, list, n))
            return -1;
    } while (!s.end && !store_tx_slice_over(tx));
    q->at_id = s.id;
    q->at_n = s.n;
    return s.end ? STORE_DONE : STORE_AGAIN;
}

static int change_run(struct store_op *op, struct store_tx *tx)
{
    struct queue_change_op *q = CONTAINER_OF(op, struct queue_change_op, op);
    int state = queue_change_state(q->what), rc;
    struct queue_filter f = q->filter;

    if (op->rerun) {
        q->at_id = q->slice_id;
        q->at_n = q->slice_n;
        q->count = q->slice_count;
    }
    q->slice_id = q->at_id;
    q->slice_n = q->at_n;
    q->slice_count = q->count;
    if (state >= 0 && f.state >= 0 && f.state != state)
        return STORE_DONE;
    if (state >= 0)
        f.state = state;
    struct arena *a = arena_new(0);
    rc = slice(tx, a, q, &f);
    arena_free(&a);
    return rc;
}

void queue_change_init(struct queue_change_op *q, void (*done)(struct store_op *))
{
    *q = (struct queue_change_op){.op = {.run = change_run, .done = done, .cls = STORE_INTERACTIVE},
                                  .filter = {.state = -1}};
}
