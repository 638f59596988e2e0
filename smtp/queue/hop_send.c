/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* hop_send.c - one mail over an open connection, and what its host said to it. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/resign.h"
#include "smtp/queue/delivery_private.h"
#include "smtp/queue/downgrade.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { SIGNATURES_MAX = 128 << 10 };

static void on_sent(void *ctx, struct smtp_client_mail *m);

static void set_where(struct hop *h)
{
    struct mail *m = h->mail;
    const struct smtp_peer *peer = smtp_client_peer(h->client);

    snprintf(m->at.host, sizeof m->at.host, "%s", h->host);
    snprintf(m->at.ip, sizeof m->at.ip, "%s", h->ip);
    snprintf(m->at.tls, sizeof m->at.tls, "%s", peer->tls);
    m->at.trust = peer->trust;
}

void hop_send(struct hop *h)
{
    struct mail *m = h->mail;

    h->state = HOP_SENDING;
    set_where(h);
    m->began_us = clock_mono_us();
    m->m = (struct smtp_client_mail){.sender = mail_sender(m),
                                     .envid = m->out.envid,
                                     .ret = m->out.ret,
                                     .utf8 = (m->out.flags & QUEUE_UTF8) != 0,
                                     .requiretls = mail_requires_tls(m),
                                     .eight_bit = (m->out.flags & QUEUE_8BIT) && !m->converted,
                                     .rcpts = m->rcpts,
                                     .n_rcpts = m->n,
                                     .text = m->converted ? buf_str(&m->seven) : m->text,
                                     .fd = m->converted ? -1 : m->fd,
                                     .fd_size = m->converted ? 0 : m->fd_size,
                                     .on_sent = on_sent};
    smtp_client_send(h->client, &m->m);
}

/* ---- Made 7 bit. */

struct convert {
    struct job job;
    struct hop *hop; /* NULL: it ended meanwhile */
    struct mail *mail;
    struct buf file;
    struct resign *resign;
    int rc;
    struct err err;
};

static void convert_free(struct convert *c)
{
    resign_free(&c->resign);
    mem_free(c);
}

static int read_data(struct convert *c, struct str *out)
{
    const struct mail *m = c->mail;
    char *space;

    *out = str_skip(m->text, m->head.n);
    if (m->fd < 0)
        return 0;
    if (m->fd_size > DOWNGRADE_MAX || buf_reserve(&c->file, (size_t)m->fd_size, &space))
        return ERR(&c->err, ERR_PERM, "it is too large to be converted");
    for (size_t got = 0; got < m->fd_size;) {
        ssize_t n = pread(m->fd, space + got, (size_t)m->fd_size - got, (off_t)got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR(&c->err, ERR_TEMP, "its text can't be read");
        got += (size_t)n;
    }
    buf_commit(&c->file, (size_t)m->fd_size);
    *out = buf_str(&c->file);
    return 0;
}

/* What was signed here is signed again as it leaves (RFC 6376 5.3). */
static int make_seven(struct convert *c, struct str data)
{
    struct mail *m = c->mail;
    struct buf head, text;

    buf_init(&head, m->head.n);
    resign_take_off(c->resign, m->head, m->out.prefix.n, &head);
    buf_init(&text, downgrade_room(head.n, data.n));
    int rc = downgrade_message(buf_str(&head), data, &text, &c->err);
    buf_init(&m->seven, SIGNATURES_MAX + text.n);
    if (rc == 0)
        rc = resign_make(c->resign, buf_str(&text), &m->seven, &c->err);
    buf_add_str(&m->seven, buf_str(&text));
    if (rc == 0 && !buf_ok(&m->seven))
        rc = ERR(&c->err, ERR_PERM, "it is too large to be converted");
    buf_fini(&head);
    buf_fini(&text);
    return rc;
}

static void convert_run(struct job *j, void *worker)
{
    struct convert *c = CONTAINER_OF(j, struct convert, job);
    struct str data;

    (void)worker;
    buf_init(&c->file, DOWNGRADE_MAX);
    c->rc = read_data(c, &data);
    if (c->rc == 0)
        c->rc = make_seven(c, data);
    buf_fini(&c->file);
}

static void not_converted(struct hop *h, const struct err *err)
{
    struct mail *m = h->mail;
    struct smtp_fault f = {.kind = err->kind == ERR_PERM ? SMTP_FAULT_PERM : SMTP_FAULT_TEMP,
                           .stage = "DATA"};

    snprintf(f.status, sizeof f.status, "%s", err->kind == ERR_PERM ? "5.6.3" : "4.3.0");
    snprintf(f.text, sizeof f.text,
             "The host takes 7 bit only, and the message can't be made so: %s", err->text);
    mail_fail(m, &f, 0);
    hop_done(h, h->client == NULL);
}

static void convert_done(struct job *j)
{
    struct convert *c = CONTAINER_OF(j, struct convert, job);
    struct mail *m = c->mail;
    struct hop *h = c->hop;
    struct err err = c->err;
    int rc = c->rc;

    convert_free(c);
    m->busy = false;
    m->converted = rc == 0;
    if (!h) {
        mail_free(&m);
        return;
    }
    h->convert = NULL;
    if (rc)
        not_converted(h, &err);
    else if (h->client)
        hop_send(h);
    else
        hop_once_more(h);
}

void hop_convert_drop(struct hop *h)
{
    h->convert->hop = NULL;
    h->convert = NULL;
    h->mail = NULL;
}

static void convert_start(struct hop *h)
{
    struct convert *c = MEM_NEW(struct convert);
    struct err err;

    c->job = (struct job){.run = convert_run, .done = convert_done};
    c->hop = h;
    c->mail = h->mail;
    c->resign = resign_new(h->d->filters);
    if (lane_submit(h->d->files, &c->job)) {
        convert_free(c);
        (void)ERR(&err, ERR_TEMP, "too much is being converted");
        not_converted(h, &err);
        return;
    }
    h->state = HOP_CONVERTING;
    h->convert = c;
    h->mail->busy = true;
}

/* ---- What the host said. */

struct verdict {
    size_t ok, gone, wide; /* taken; connection lost; refused unsent for octets over 127 */
    bool crowded;          /* a 4xx that isn't about a recipient, or 421 */
};

static struct verdict look(const struct mail *m)
{
    struct verdict v = {0};

    for (size_t i = 0; i < m->n; i++) {
        const struct smtp_fault *f = &m->rcpts[i].fault;
        v.ok += f->kind == SMTP_FAULT_NONE;
        v.gone += f->kind == SMTP_FAULT_HOST;
        v.wide += f->kind == SMTP_FAULT_PERM && !f->code && strcmp(f->status, "5.6.3") == 0;
        v.crowded |= f->kind == SMTP_FAULT_HOST ||
                     (f->kind == SMTP_FAULT_TEMP && strcmp(f->stage, "RCPT") != 0);
    }
    return v;
}

/* Nobody has taken it, and nobody may have: elsewhere, or once more where only the connection was
 * too old. After the final dot it is too late for that: the host may well have it. */
static bool try_again(struct hop *h, const struct verdict *v)
{
    struct mail *m = h->mail;
    struct smtp_fault f = m->rcpts[0].fault;

    if (v->gone != m->n || strcmp(f.stage, "end") == 0)
        return false;
    if (h->sent && !m->retried) {
        m->retried = true;
        h->sent = 0;
        if (f.code)
            site_halve(h->site);
        hop_once_more(h);
        return true;
    }
    if (!m->retried) {
        m->retried = true;
        if (hop_give_back(h))
            return true;
    }
    hop_blame(h, &f);
    hop_again(h, &f);
    return true;
}

static void learn(struct hop *h, const struct verdict *v)
{
    if (v->crowded)
        site_halve(h->site);
    else if (v->ok)
        site_grow(h->site);
    if (v->ok) {
        rests_forget(h->d->rests, h->where);
        delivery_count_tls(h->d, h->mail);
    }
}

static void on_sent(void *ctx, struct smtp_client_mail *sent)
{
    struct hop *h = ctx;
    struct mail *m = h->mail;
    struct verdict v = look(m);

    (void)sent;
    if (v.wide == m->n && !m->converted) {
        convert_start(h);
        return;
    }
    if (try_again(h, &v))
        return;
    learn(h, &v);
    h->sent++;
    mail_settle(m);
    hop_done(h, v.gone > 0);
}
