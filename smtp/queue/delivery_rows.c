/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_rows.c - the worker's part of a load: rows, grouped by message and sender, and their
 * texts. */
#include "appliance/base/mem.h"
#include "appliance/mail/address.h"
#include "smtp/queue/delivery_load.h"
#include <stdio.h>
#include <stdlib.h>

enum { FILE_COUNTS_AS = 64 << 10 };

int load_by_key(const void *a, const void *b)
{
    const struct load_key *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->n < y->n ? -1 : x->n > y->n;
}

static bool is_known(const struct load *l, const struct queue_to *to)
{
    struct load_key k = {.id = to->id, .n = to->n};

    return l->n_known && bsearch(&k, l->known, l->n_known, sizeof k, load_by_key);
}

/* Text as it goes out: fields put in front, head, small data. */
static int read_text(struct load *l, struct store_reader *r, struct mail *m, struct err *err)
{
    struct arena *scratch = arena_new(0);
    struct body_reader body;
    int rc = body_open(r, scratch, m->entry.body, BODY_WANT_HEAD | BODY_WANT_DATA, &body, err);

    if (rc == 0) {
        struct str data = STR_NULL;
        int fd = body_take_file(&body);
        if (fd < 0)
            rc = body_read(&body, 0, (size_t)body.data_size, NULL, &data, err);
        struct str head = m->out.prefix;
        char *p = arena_alloc(m->arena, head.n + body.head.n + data.n + 1);
        if (head.n)
            memcpy(p, head.p, head.n);
        memcpy(p + head.n, body.head.p, body.head.n);
        if (data.n)
            memcpy(p + head.n + body.head.n, data.p, data.n);
        m->head = str_of(p, head.n + body.head.n);
        m->text = str_of(p, m->head.n + data.n);
        m->fd = fd;
        m->fd_size = fd >= 0 ? body.data_size : 0;
        l->octets += m->text.n + (fd >= 0 ? FILE_COUNTS_AS : 0);
        body_close(&body);
    }
    arena_free(&scratch);
    return rc;
}

static struct queue_to copy_row(struct arena *a, const struct queue_to *to)
{
    struct queue_to c = *to;

    c.rcpt = arena_str(a, to->rcpt);
    c.site = arena_str(a, to->site);
    c.sender = to->sender.p ? arena_str(a, to->sender) : STR_NULL;
    c.orcpt = arena_str(a, to->orcpt);
    c.last = arena_str(a, to->last);
    return c;
}

static void add_row(struct load *l, struct mail *m, const struct queue_to *to)
{
    struct mail_row *row = &m->rows[m->n];

    row->to = copy_row(m->arena, to);
    m->rcpts[m->n] = (struct smtp_client_rcpt){
        .address = row->to.rcpt, .orcpt = row->to.orcpt, .notify = to->notify};
    m->last_try |= to->expires_ms <= l->now_ms;
    m->n++;
}

static struct mail *new_mail(struct load *l, size_t rows)
{
    struct arena *a = arena_new(4096);
    struct mail *m = ARENA_NEW(a, struct mail);

    m->arena = a;
    m->d = l->d;
    m->fd = -1;
    m->rows = ARENA_ARRAY(a, struct mail_row, rows);
    m->rcpts = ARENA_ARRAY(a, struct smtp_client_rcpt, rows);
    m->results = ARENA_ARRAY(a, struct queue_result, rows);
    m->reports = ARENA_ARRAY(a, struct report_rcpt, rows);
    list_init(&m->link);
    list_init(&m->of_site);
    return m;
}

enum where { HERE, ELSEWHERE, NOWHERE };

/* Where the settings of today send it. */
static enum where route_row(struct load *l, struct str sender, struct queue_to *to, struct err *err)
{
    struct str local, domain;
    struct route route;

    if (to->forced)
        return HERE;
    address_split(to->rcpt, &local, &domain);
    if (route_choose(l->relay, l->arena, sender, domain, &route, err))
        return NOWHERE;
    if (str_eq(route.site, l->name))
        return HERE;
    to->site = arena_str(l->arena, route.site);
    return ELSEWHERE;
}

static void unsendable(struct mail *m, enum smtp_fault_kind kind, const char *status,
                       const char *text)
{
    m->fault = (struct smtp_fault){.kind = kind, .stage = "queue"};
    snprintf(m->fault.status, sizeof m->fault.status, "%s", status);
    snprintf(m->fault.text, sizeof m->fault.text, "%s", text);
}

static struct mail *lost_mail(struct load *l, const struct mail *m, size_t rows, const char *why)
{
    struct mail *lost = new_mail(l, rows);

    lost->entry = m->entry;
    lost->entry.sender = arena_str(lost->arena, m->entry.sender);
    lost->out = m->out;
    lost->out.prefix = arena_str(lost->arena, m->out.prefix);
    lost->out.envid = arena_str(lost->arena, m->out.envid);
    unsendable(lost, SMTP_FAULT_PERM, "5.1.2", why);
    return lost;
}

static void add_mail(struct load *l, struct mail **mp)
{
    struct mail *m = *mp;

    *mp = NULL;
    if (m->n)
        list_add(&l->mails, &m->link);
    else
        mail_free(&m);
}

/* The rows of one message for one sender, which may go to several places today. -1: the database
 * failed. */
static int load_group(struct load *l, struct store_reader *r, struct queue_to *rows, size_t n)
{
    struct mail *m = new_mail(l, n), *lost = NULL; /* lost: those that can be sent nowhere */
    struct err err = {0};
    int rc = queue_out_get(r, m->arena, rows[0].id, &m->entry, &m->out, &err);

    if (rc) {
        bool gone = err.why == ERR_WHY_NOT_FOUND;
        mail_free(&m);
        l->err = err;
        return gone ? 0 : -1;
    }
    struct str sender = rows[0].sender.p ? rows[0].sender : m->entry.sender;
    for (size_t i = 0; i < n; i++) {
        switch (route_row(l, sender, &rows[i], &err)) {
        case HERE:
            add_row(l, m, &rows[i]);
            break;
        case ELSEWHERE:
            l->strays[l->n_strays++] = rows[i];
            break;
        case NOWHERE:
            if (!lost)
                lost = lost_mail(l, m, n, err.text);
            add_row(l, lost, &rows[i]);
            break;
        }
    }
    if (m->n && read_text(l, r, m, &err))
        unsendable(m, SMTP_FAULT_TEMP, "4.3.0", err.text);
    if (lost && read_text(l, r, lost, &err))
        lost->text = lost->head = STR("");
    add_mail(l, &m);
    if (lost)
        add_mail(l, &lost);
    return 0;
}

static bool same_group(const struct queue_to *a, const struct queue_to *b)
{
    return a->id == b->id && !a->sender.p == !b->sender.p && str_eq(a->sender, b->sender);
}

static size_t cut_due(struct load *l, struct queue_to *rows, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (rows[i].next_ms > l->now_ms) {
            l->next_ms = rows[i].next_ms;
            l->more = false;
            break;
        }
        if (is_known(l, &rows[i]))
            continue;
        if (kept == DELIVERY_BATCH) {
            l->more = true;
            break;
        }
        rows[kept++] = rows[i];
    }
    return kept;
}

static int load_rows(struct load *l, struct store_reader *r)
{
    size_t n, max = l->n_known + DELIVERY_BATCH + 1, i = 0;
    struct queue_to *rows;

    if (queue_due(r, l->arena, l->name, INT64_MAX, max, &rows, &n, &l->err))
        return -1;
    l->more = n == max;
    n = cut_due(l, rows, n);
    l->strays = ARENA_ARRAY(l->arena, struct queue_to, n + 1);
    while (i < n) {
        size_t end = i + 1;
        if (l->octets >= DELIVERY_BATCH_OCTETS) {
            l->more = true;
            break;
        }
        while (end < n && end - i < l->transaction && same_group(&rows[i], &rows[end]))
            end++;
        if (load_group(l, r, rows + i, end - i))
            return -1;
        i = end;
    }
    return 0;
}

void load_run(struct job *j, void *worker)
{
    struct load *l = CONTAINER_OF(j, struct load, job);

    if (!worker) {
        l->failed = ERR(&l->err, ERR_TEMP, "the store can't be read") != 0;
        return;
    }
    l->failed = store_read_begin(worker, &l->err) != 0;
    if (l->failed)
        return;
    l->failed = load_rows(l, worker) != 0;
    store_read_end(worker);
}
