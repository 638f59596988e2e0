/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* one.c - one report: whom it goes to, its file, its mail; or its rows are forgotten. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/mail/address.h"
#include "smtp/aggregate/aggregate_private.h"
#include "smtp/notice.h"

enum { DAY_MS = 86400000 };

/* ---- The end. */

static void dispose(struct one *o)
{
    resolver_cancel(&o->query);
    dmarc_rua_free(&o->rua);
    buf_fini(&o->file);
    arena_free(&o->arena);
    mem_free(o);
}

static void end(struct one *o)
{
    struct aggregate *a = o->a;

    if (a) {
        list_del(&o->link);
        a->n_reports--;
    }
    dispose(o);
    if (a)
        aggregate_ended(a);
}

/* What is under way ends it at its answer. */
void one_orphan(struct one *o)
{
    list_del(&o->link);
    o->a = NULL;
    resolver_cancel(&o->query);
    if (!o->busy)
        dispose(o);
}

/* ---- Rows that nobody wants to hear of. */

static int forget_run(struct store_op *op, struct store_tx *tx)
{
    struct one *o = CONTAINER_OF(op, struct one, forget);

    return daily_forget_tx(tx, o->kind->table, &o->day, &op->err) ? -1 : STORE_DONE;
}

static void forget_done(struct store_op *op)
{
    struct one *o = CONTAINER_OF(op, struct one, forget);

    o->busy = false;
    end(o);
}

static void forget(struct one *o)
{
    o->forget = (struct store_op){.run = forget_run, .done = forget_done, .cls = STORE_BULK};
    o->busy = true;
    if (store_submit(o->a->store, &o->forget)) {
        o->busy = false;
        end(o);
    }
}

/* It is tried again in the next round, unless it is too old. */
static void fail(struct one *o, enum err_kind kind, const char *why)
{
    bool old = clock_wall_ms() / DAY_MS - o->day.day > REPORTS_DAYS;

    if (kind == ERR_PERM || old) {
        log_info(&o->a->log, "report_not_made", L_Z("of", o->kind->name),
                 L_STR("domain", o->day.domain), L_INT("day", o->day.day), L_Z("reason", why));
        forget(o);
        return;
    }
    log_info(&o->a->log, "report_later", L_Z("of", o->kind->name), L_STR("domain", o->day.domain),
             L_INT("day", o->day.day), L_Z("reason", why));
    end(o);
}

/* ---- Its mail. */

static int also(void *ctx, struct store_tx *tx, struct err *err)
{
    struct one *o = ctx;

    return daily_forget_tx(tx, o->kind->table, &o->day, err);
}

static void on_sent(void *ctx, const struct err *failed)
{
    struct one *o = ctx;

    o->busy = false;
    if (!o->a) {
        dispose(o);
    } else if (failed) {
        fail(o, failed->kind, failed->text);
    } else {
        o->a->n_sent++;
        log_info(&o->a->log, "report", L_Z("of", o->kind->name), L_STR("domain", o->day.domain),
                 L_INT("day", o->day.day), L_STR("to", o->to[0]), L_ID("notice", o->id),
                 L_UINT("rows", o->told), L_UINT("left_out", o->day.rows - o->told));
        end(o);
    }
}

static void send(struct one *o)
{
    static const struct notice_then then = {also, on_sent};
    const struct aggregate_mail mail = {.kind = o->which,
                                        .id = o->id,
                                        .domain = o->day.domain,
                                        .submitter = o->submitter,
                                        .from = o->from,
                                        .to = o->to,
                                        .n_to = o->n_to,
                                        .now_ms = clock_wall_ms(),
                                        .day = o->day.day,
                                        .file = buf_str(&o->file)};
    struct buf text;

    if (o->a->stopping) { /* the server takes no more */
        end(o);
        return;
    }
    buf_init(&text, NOTICE_MAX);
    aggregate_mail_write(&mail, &text);
    if (!buf_ok(&text)) {
        buf_fini(&text);
        fail(o, ERR_PERM, "it is too large");
        return;
    }
    o->busy = true;
    notice_post(o->a->server, &(struct notice){.what = "report",
                                               .id = o->id,
                                               .to = o->to[0],
                                               .more = o->to + 1,
                                               .n_more = o->n_to - 1,
                                               .account = STR(""),
                                               .text = buf_str(&text),
                                               .any_tls = o->which == AGGREGATE_TLS,
                                               .only_signed = o->which == AGGREGATE_TLS,
                                               .then = &then,
                                               .ctx = o});
    buf_fini(&text);
}

/* ---- Its file. */

/* Rows and their sums are of one moment: what is counted from then on isn't removed. */
static int prepare(struct one *o, struct store_reader *r, struct err *err)
{
    if (store_read_begin(r, err))
        return -1;
    int rc = daily_of(r, o->kind->table, o->day.day, o->day.domain, &o->day, err);
    if (rc == 0 && o->day.rows)
        rc = o->kind->prepare(o, r, &o->file, err);
    store_read_end(r);
    return rc;
}

static void prepare_run(struct job *j, void *worker)
{
    struct one *o = CONTAINER_OF(j, struct one, job);

    o->failed = true;
    if (!worker)
        err_set(&o->err, ERR_TEMP, ERR_WHY_OTHER, "the database can't be read");
    else
        o->failed = prepare(o, worker, &o->err) != 0;
}

static void prepare_done(struct job *j)
{
    struct one *o = CONTAINER_OF(j, struct one, job);

    o->busy = false;
    if (!o->a)
        dispose(o);
    else if (o->failed)
        fail(o, o->err.kind, o->err.text);
    else if (!o->day.rows) /* another node was quicker */
        end(o);
    else
        one_next(o);
}

static void prepare_begin(struct one *o)
{
    o->job = (struct job){.run = prepare_run, .done = prepare_done};
    o->busy = true;
    if (lane_submit(store_lane(o->a->store), &o->job) == 0)
        return;
    o->busy = false;
    end(o);
}

/* ---- The order of things. */

void one_addressed(struct one *o, bool unknown)
{
    if (o->n_to) {
        o->addressed = true;
        one_next(o);
    } else if (unknown) {
        fail(o, ERR_TEMP, "the DNS doesn't say who gets it");
    } else {
        forget(o);
    }
}

void one_next(struct one *o)
{
    if (!o->addressed && (o->kind->ask_first || o->file.n))
        o->kind->address(o);
    else if (!o->file.n)
        prepare_begin(o);
    else
        send(o);
}

static void name_us(struct one *o, const struct aggregate *a)
{
    const struct reports_conf *c = a->conf;
    struct str local, domain;

    o->from = c->from[0] ? arena_str(o->arena, str_from(c->from))
                         : arena_printf(o->arena, "postmaster@%s", a->origin);
    address_split(o->from, &local, &domain);
    o->org = arena_str(o->arena, c->org[0] ? str_from(c->org) : domain);
    o->contact = arena_str(o->arena, str_from(c->contact));
    o->submitter = arena_str(o->arena, str_from(a->hostname));
}

void one_begin(struct aggregate *a, enum aggregate_kind which, const struct daily *d)
{
    static const struct one_kind *const kinds[] = {
        [AGGREGATE_DMARC] = &one_dmarc, [AGGREGATE_TLS] = &one_tls};
    struct one *o = MEM_NEW(struct one);

    o->a = a;
    o->kind = kinds[which];
    o->which = which;
    o->arena = arena_new(0);
    o->day = *d;
    o->day.domain = arena_str(o->arena, d->domain);
    o->id = store_new_id(a->store);
    buf_init(&o->file, AGGREGATE_FILE_MAX);
    name_us(o, a);
    list_add(&a->reports, &o->link);
    a->n_reports++;
    one_next(o);
}
