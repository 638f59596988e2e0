/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_steps.c - what a milter is told, in which order. It follows from what it knows and which
 * point it is: so one whose connection is new (it was restarted, it failed before, the mail was
 * held) is told of everything from the beginning. */
#include "appliance/base/mem.h"
#include "filters/milter_private.h"
#include <inttypes.h>
#include <stdio.h>

enum { PACKETS_MAX = 4 * MILTER_DATA_MAX };

struct milter_step {
    enum milter_command code;
    const char *name;        /* for people */
    int stage;               /* of its macros; -1: none */
    uint32_t left_out, mute; /* bits of the terms: not told; not answered */
    void (*put)(struct milter_peer *p, const struct ph_view *v, struct buf *out);
};

/* ---- The packets. */

static void put_connect(struct milter_peer *p, const struct ph_view *v, struct buf *out)
{
    char name[300];

    p->told = MILTER_TOLD_CONNECT;
    if (v->client_name[0])
        snprintf(name, sizeof name, "%s", v->client_name);
    else if (v->client_ip[0])
        snprintf(name, sizeof name, "[%s]", v->client_ip);
    else
        snprintf(name, sizeof name, "localhost");
    milter_put_connect(out, str_from(name), str_from(v->client_ip), 0);
}

static void put_helo(struct milter_peer *p, const struct ph_view *v, struct buf *out)
{
    const struct str helo = str_from(v->helo);

    p->told = MILTER_TOLD_HELO;
    p->helo_due = false;
    milter_put_texts(out, MILTER_HELO, &helo, 1);
}

static void put_mail(struct milter_peer *p, const struct ph_view *v, struct buf *out)
{
    char path[1100], size[32];
    struct str texts[3];
    size_t n = 0;

    p->mail = v->message;
    p->late = p->session->at != PH_MAIL;
    p->rcpts = 0;
    snprintf(path, sizeof path, "<%s>", v->mail_from);
    texts[n++] = str_from(path);
    if (v->message_size) {
        snprintf(size, sizeof size, "SIZE=%" PRIu64, v->message_size);
        texts[n++] = str_from(size);
    }
    if (v->utf8)
        texts[n++] = STR("SMTPUTF8");
    milter_put_texts(out, MILTER_MAIL, texts, n);
}

static bool behind(const struct milter_peer *p, const struct ph_view *v)
{
    return p->late && p->rcpts < v->n_rcpts;
}

static void put_rcpt(struct milter_peer *p, const struct ph_view *v, struct buf *out)
{
    char path[1100];

    if (behind(p, v))
        p->rcpts++;
    else
        p->rcpt_due = false;
    snprintf(path, sizeof path, "<%s>", v->rcpt);
    milter_put_texts(out, MILTER_RCPT, &(struct str){path, strlen(path)}, 1);
}

static void put_data(struct milter_peer *p, const struct ph_view *v, struct buf *out)
{
    (void)v;
    p->part = MILTER_PART_HEADERS;
    p->field = 0;
    milter_put(out, MILTER_DATA, STR_NULL);
}

static void put_header(struct milter_peer *p, const struct ph_view *v, struct buf *out)
{
    const struct milter_field *f = &p->session->mail.fields[p->field++];
    struct str texts[2] = {f->name, f->value};

    (void)v;
    if (!(milter_client_terms(p->client)->steps & MILTER_LEADING_SPACE) && texts[1].n &&
        (texts[1].p[0] == ' ' || texts[1].p[0] == '\t'))
        texts[1] = str_skip(texts[1], 1);
    milter_put_texts(out, MILTER_HEADER, texts, 2);
}

static void put_headers_end(struct milter_peer *p, const struct ph_view *v, struct buf *out)
{
    (void)v;
    p->part = MILTER_PART_BODY;
    p->offset = 0;
    milter_put(out, MILTER_HEADERS_END, STR_NULL);
}

static void put_body_end(struct milter_peer *p, const struct ph_view *v, struct buf *out)
{
    (void)v;
    p->part = MILTER_PART_DONE;
    milter_put(out, MILTER_BODY_END, STR_NULL);
}

static const struct milter_step steps[] = {
    {MILTER_CONNECT, "CONNECT", MILTER_AT_CONNECT, MILTER_NO_CONNECT, MILTER_NR_CONNECT,
     put_connect},
    {MILTER_HELO, "HELO", MILTER_AT_HELO, MILTER_NO_HELO, MILTER_NR_HELO, put_helo},
    {MILTER_MAIL, "MAIL", MILTER_AT_MAIL, MILTER_NO_MAIL, MILTER_NR_MAIL, put_mail},
    {MILTER_RCPT, "RCPT", MILTER_AT_RCPT, MILTER_NO_RCPT, MILTER_NR_RCPT, put_rcpt},
    {MILTER_DATA, "DATA", MILTER_AT_DATA, MILTER_NO_DATA, MILTER_NR_DATA, put_data},
    {MILTER_HEADER, "the header", -1, MILTER_NO_HEADERS, MILTER_NR_HEADER, put_header},
    {MILTER_HEADERS_END, "the end of the header", MILTER_AT_HEADERS_END, MILTER_NO_HEADERS_END,
     MILTER_NR_HEADERS_END, put_headers_end},
    {MILTER_BODY, "the body", -1, MILTER_NO_BODY, MILTER_NR_BODY, NULL},
    {MILTER_BODY_END, "the end of the message", MILTER_AT_BODY_END, 0, 0, put_body_end},
};
static const struct milter_step abort_step = {MILTER_ABORT, "ABORT", -1, 0, 0, NULL};

static const struct milter_step *step_of(enum milter_command code)
{
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (steps[i].code == code)
            return &steps[i];
    return NULL;
}

/* ---- Which comes next. */

static const struct milter_step *next_part(struct milter_peer *p)
{
    const struct milter_mail *m = &p->session->mail;

    switch (p->part) {
    case MILTER_PART_DATA:
        return step_of(MILTER_DATA);
    case MILTER_PART_HEADERS:
        while (p->field < m->n && m->fields[p->field].deleted)
            p->field++;
        if (p->field < m->n)
            return step_of(MILTER_HEADER);
        p->part = MILTER_PART_HEADERS_END;
        return step_of(MILTER_HEADERS_END);
    case MILTER_PART_HEADERS_END:
        return step_of(MILTER_HEADERS_END);
    case MILTER_PART_BODY:
        return step_of(MILTER_BODY);
    case MILTER_PART_BODY_END:
        return step_of(MILTER_BODY_END);
    case MILTER_PART_DONE:
        break;
    }
    return NULL;
}

static const struct milter_step *next_step(struct milter_peer *p, const struct ph_view *v)
{
    enum ph_point at = p->session->at;

    if (p->told < MILTER_TOLD_CONNECT)
        return step_of(MILTER_CONNECT);
    if ((p->told < MILTER_TOLD_HELO || p->helo_due) && v->helo[0])
        return step_of(MILTER_HELO);
    if (at == PH_CONNECT || at == PH_HELO)
        return NULL;
    if (p->mail && p->mail != v->message)
        return &abort_step;
    if (!p->mail)
        return step_of(MILTER_MAIL);
    if (behind(p, v) || p->rcpt_due)
        return step_of(MILTER_RCPT);
    return at == PH_MESSAGE ? next_part(p) : NULL;
}

/* ---- The step. */

static enum milter_go tell(struct milter_peer *p, const struct milter_step *s, struct str packets)
{
    uint32_t agreed = milter_client_terms(p->client)->steps;

    milter_client_send(p->client, packets);
    if (agreed & s->mute)
        return milter_client_full(p->client) ? MILTER_GO_WAIT : MILTER_GO_ON;
    p->asked = s->code;
    milter_client_await(p->client, s->name, s->code == MILTER_BODY_END);
    return MILTER_GO_WAIT;
}

/* The next piece as those before it have left it. */
static int64_t read_body(const struct milter_peer *p, char *to)
{
    const struct milter_session *s = p->session;
    const struct milter_mail *m = &s->mail;
    /* read() goes by the view that the chain gave, not by a copy. */
    const struct ph_view *v = s->milter->host->view(s->milter->host, s->turn);

    if (!m->body_new)
        return v->read(v, v->head_size + p->offset, to, MILTER_DATA_MAX);
    struct str piece = str_take(str_skip(buf_str(&m->body), (size_t)p->offset), MILTER_DATA_MAX);
    if (piece.n)
        memcpy(to, piece.p, piece.n);
    return (int64_t)piece.n;
}

static enum milter_go step_body(struct milter_peer *p, const struct milter_step *s)
{
    enum milter_go go = MILTER_GO_ON;
    struct buf out;
    char *piece = mem_alloc(MILTER_DATA_MAX);
    int64_t n = read_body(p, piece);

    if (n < 0) {
        go = MILTER_GO_BROKEN;
    } else if (n == 0) {
        p->part = MILTER_PART_BODY_END;
    } else {
        p->offset += (uint64_t)n;
        buf_init(&out, PACKETS_MAX);
        milter_put(&out, MILTER_BODY, str_of(piece, (size_t)n));
        go = tell(p, s, buf_str(&out));
        buf_fini(&out);
    }
    mem_free(piece);
    return go;
}

static enum milter_go step_abort(struct milter_peer *p)
{
    struct buf out;

    p->mail = 0;
    buf_init(&out, 16);
    milter_put(&out, MILTER_ABORT, STR_NULL); /* never answered */
    milter_client_send(p->client, buf_str(&out));
    buf_fini(&out);
    return MILTER_GO_ON;
}

/* DATA came with version 4 of the protocol. */
static bool left_out(const struct milter_step *s, const struct milter_terms *t)
{
    return (t->steps & s->left_out) || (s->code == MILTER_DATA && t->version < 4);
}

enum milter_go milter_step(struct milter_peer *p, const struct ph_view *v)
{
    const struct milter_terms *terms = milter_client_terms(p->client);
    const struct milter_step *s = next_step(p, v);
    enum milter_go go = MILTER_GO_ON;
    struct ph_view view = *v;
    struct buf out;

    if (!s)
        return MILTER_GO_DONE;
    if (s == &abort_step)
        return step_abort(p);
    if (s->code == MILTER_BODY) {
        if (!left_out(s, terms))
            return step_body(p, s);
        p->part = MILTER_PART_BODY_END;
        return MILTER_GO_ON;
    }
    if (s->code == MILTER_RCPT && behind(p, v))
        view.rcpt = v->rcpts[p->rcpts];
    buf_init(&out, PACKETS_MAX);
    if (s->stage >= 0)
        milter_macros(terms, &view, (enum milter_stage)s->stage, s->code, &out);
    s->put(p, &view, &out);
    if (!left_out(s, terms))
        go = tell(p, s, buf_str(&out));
    buf_fini(&out);
    return go;
}
