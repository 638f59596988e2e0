/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/client/client_private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* A piece of the file, read on a lane while the one before it is being sent. It may outlive its
 * transaction, hence its own descriptor. */
struct client_read {
    struct job job;
    struct smtp_client *c;
    int fd, error;
    uint64_t at;
    size_t want, got; /* got: here, not sent yet */
    bool busy, orphan;
    char piece[CLIENT_PIECE];
};

static void read_free(struct client_read *r)
{
    close(r->fd);
    mem_free(r);
}

void client_read_free(struct client_transaction *t)
{
    struct client_read *r = t->read;
    t->read = NULL;
    if (r && r->busy)
        r->orphan = true;
    else if (r)
        read_free(r);
}

static void run_read(struct job *j, void *worker)
{
    struct client_read *r = CONTAINER_OF(j, struct client_read, job);
    (void)worker;
    r->got = 0;
    r->error = 0;
    while (r->got < r->want && !r->error) {
        ssize_t n = pread(r->fd, r->piece + r->got, r->want - r->got, (off_t)(r->at + r->got));
        if (n > 0)
            r->got += (size_t)n;
        else if (n == 0)
            r->error = ENODATA;
        else if (errno != EINTR)
            r->error = errno;
    }
}

/* What is missing can't be made up for, and there is no way to call off DATA but to hang up. */
static void cannot_read(struct smtp_client *c, int error)
{
    client_end_for(c, SMTP_FAULT_TEMP, "4.3.0", BYE_NOW, "cannot read our copy of the message: %s",
                   error == ENODATA ? "it ends early" : strerror(error));
}

static void on_read(struct job *j)
{
    struct client_read *r = CONTAINER_OF(j, struct client_read, job);
    r->busy = false;
    if (r->orphan)
        read_free(r);
    else if (r->error)
        cannot_read(r->c, r->error);
    else {
        r->c->t.file_at += r->got;
        client_data_more(r->c);
    }
}

static void read_more(struct smtp_client *c)
{
    struct client_transaction *t = &c->t;
    struct client_read *r = t->read;
    uint64_t left = t->mail->fd_size - t->file_at;
    if (!r || r->busy || r->got > 0 || left == 0)
        return;
    r->at = t->file_at;
    r->want = left < CLIENT_PIECE ? (size_t)left : CLIENT_PIECE;
    r->job.run = run_read;
    r->job.done = on_read;
    r->busy = lane_submit(c->files, &r->job) == 0;
    if (!r->busy)
        timer_start(c->retry, CLIENT_RETRY_MS);
}

static void put(void *ctx, struct str s)
{
    struct smtp_client *c = ctx;
    if (conn_write_str(c->conn, s) == CONN_FULL)
        c->t.full = true;
}

static void note_end(struct smtp_stuffer *s, struct str piece)
{
    char before = piece.n > 1 ? piece.p[piece.n - 2] : s->last;
    if (piece.n == 0)
        return;
    s->inside = true;
    s->last = piece.p[piece.n - 1];
    s->crlf = before == '\r' && s->last == '\n';
}

static void put_chunk(struct smtp_client *c, struct str piece, bool last)
{
    struct client_transaction *t = &c->t;
    struct str end = STR("");
    char line[64];
    note_end(&t->stuffer, piece);
    if (last)
        end = client_line_end(&t->stuffer);
    snprintf(line, sizeof line, "BDAT %zu%s\r\n", piece.n + end.n, last ? " LAST" : "");
    log_debug(&c->log, "says", L_Z("host", c->host), L_STR("line", str_trim(str_from(line))));
    put(c, str_from(line));
    put(c, piece);
    put(c, end);
    t->chunks++;
}

static void put_lines(struct smtp_client *c, struct str piece, bool last)
{
    client_stuff(&c->t.stuffer, piece, put, c);
    if (!last)
        return;
    put(c, client_line_end(&c->t.stuffer));
    put(c, STR(".\r\n"));
}

static bool all_taken(const struct client_transaction *t)
{
    return t->text.n == 0 && (!t->read || (!t->read->busy && t->read->got == 0)) &&
           t->file_at == t->mail->fd_size * (t->read != NULL);
}

/* false: it is being read. An empty one at the end of all. */
static bool next_piece(struct smtp_client *c, struct str *out)
{
    struct client_transaction *t = &c->t;
    *out = str_take(t->text, CLIENT_PIECE);
    t->text = str_skip(t->text, out->n);
    if (out->n || all_taken(t))
        return true;
    if (t->read->busy || t->read->got == 0) {
        read_more(c);
        return false;
    }
    *out = str_of(t->read->piece, t->read->got);
    t->read->got = 0;
    return true;
}

void client_data_more(struct smtp_client *c)
{
    struct client_transaction *t = &c->t;
    struct str piece;
    bool in_step = t->bdat && !(c->peer.can & SMTP_CAN_PIPELINING);
    if (c->state != CLIENT_DATA)
        return;
    client_await(c, CLIENT_DATA, STAGE_BLOCK);
    while (!t->full && !(in_step && t->chunks > t->chunks_answered) && next_piece(c, &piece)) {
        t->whole = all_taken(t);
        if (t->bdat)
            put_chunk(c, piece, t->whole);
        else
            put_lines(c, piece, t->whole);
        if (t->whole) {
            client_await(c, CLIENT_END, STAGE_END);
            return;
        }
        read_more(c); /* the piece was copied: the next may take its place */
    }
}

void client_data(struct smtp_client *c)
{
    struct client_transaction *t = &c->t;
    client_await(c, CLIENT_DATA, STAGE_BLOCK);
    if (t->mail->fd >= 0 && t->mail->fd_size > 0) {
        int fd = fcntl(t->mail->fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            cannot_read(c, errno);
            return;
        }
        t->read = MEM_NEW(struct client_read);
        t->read->c = c;
        t->read->fd = fd;
    }
    client_data_more(c);
}

/* ---- replies ---- */

static void delivered(struct smtp_client *c)
{
    static const struct smtp_fault none;
    struct smtp_client_mail *m = c->t.mail;
    struct buf text;
    buf_init(&text, SMTP_ANSWER_TEXT + 64);
    buf_printf(&text, "%u ", c->answer.code);
    if (c->answer.status[0])
        buf_printf(&text, "%s ", c->answer.status);
    buf_add_str(&text, buf_str(&c->answer.text));
    smtp_text_copy(m->reply, sizeof m->reply, buf_str(&text));
    buf_fini(&text);
    m->relayed_dsn = (c->peer.can & SMTP_CAN_DSN) != 0;
    client_decide(&c->t, RCPT_ACCEPTED, &none);
    c->sent++;
    client_finish(c, false);
}

static void refuse_accepted(struct smtp_client *c)
{
    struct smtp_fault fault;
    client_fault_of(&fault, client_kind_of(c->answer.code), &c->answer, "end");
    client_decide(&c->t, RCPT_ACCEPTED, &fault);
}

static void on_chunk(struct smtp_client *c)
{
    struct client_transaction *t = &c->t;
    bool good = c->answer.code / 100 == 2;
    if (t->chunks_answered >= t->chunks || c->answer.code / 100 == 3) {
        client_unexpected(c);
        return;
    }
    t->chunks_answered++;
    /* RFC 3030 2: a chunk refused is the end of the transaction; what follows is refused too. */
    if (!good && !t->refused) {
        t->refused = true;
        refuse_accepted(c);
    }
    if (t->chunks_answered < t->chunks)
        client_await(c, t->refused ? CLIENT_END : c->state, t->refused ? STAGE_END : c->stage);
    else if (t->refused)
        client_finish(c, true);
    else if (t->whole)
        delivered(c);
    else
        client_data_more(c);
}

void client_on_data(struct smtp_client *c)
{
    unsigned class = c->answer.code / 100;
    if (c->t.bdat) {
        on_chunk(c);
    } else if (class == 3 || (class == 2 && !c->t.whole)) {
        client_unexpected(c);
    } else if (class == 2) {
        delivered(c);
    } else {
        refuse_accepted(c);
        /* Before we have said all of it: only hanging up ends the message without sending it. */
        if (c->t.whole)
            client_finish(c, false);
        else
            client_end(c, &(struct smtp_fault){.kind = SMTP_FAULT_NONE}, BYE_NOW);
    }
}
