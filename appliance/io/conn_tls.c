/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/metrics.h"
#include "appliance/io/conn_private.h"
#include "appliance/io/tls_private.h"
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

enum {
    RECORD = 16 * 1024, /* the largest TLS record's content */
    BATCH = 4 * RECORD, /* encrypted before the socket is tried */
    CIPHER_KEEP = 8 * RECORD
};

enum { HANDSHAKE_FAILED, HANDSHAKE_TLS12, HANDSHAKE_TLS13, HANDSHAKES };

static const char *handshake_name(size_t i)
{
    static const char *const names[HANDSHAKES] = {"failed", "TLSv1.2", "TLSv1.3"};
    return names[i];
}

enum { SIDE_IN, SIDE_OUT, SIDES };

static const char *side_name(size_t i)
{
    return i == SIDE_OUT ? "out" : "in";
}

METRIC(handshakes, HANDSHAKES *SIDES, .type = METRIC_COUNTER,
       .name = "posthouse_tls_handshakes_total",
       .help = "TLS handshakes by what they led to, as server (in) and client (out).",
       .labels = {{"result", handshake_name, HANDSHAKES}, {"side", side_name, SIDES}});

static void count(const struct conn *c, size_t result)
{
    metric_inc(&handshakes, result * SIDES + (c->tls_peer ? SIDE_OUT : SIDE_IN));
}

struct loop_tls {
    BIO_METHOD *method;
    struct buf cipher; /* what OpenSSL wrote in this call, of whichever connection */
    char plain_mem[LOOP_READ_HEAD + LOOP_READ_SIZE];
};

/* ---- the BIO: no memory of its own ---- */

static int on_bio_read(BIO *b, char *out, int cap)
{
    struct conn *c = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    struct str have = queue_n(&c->raw) > 0 ? queue_str(&c->raw) : c->net;
    if (cap <= 0)
        return 0;
    if (have.n == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    size_t n = have.n < (size_t)cap ? have.n : (size_t)cap;
    memcpy(out, have.p, n);
    if (queue_n(&c->raw) > 0)
        queue_take(&c->raw, n);
    else
        c->net = str_skip(c->net, n);
    return (int)n;
}

static int on_bio_write(BIO *b, const char *p, int n)
{
    struct conn *c = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n <= 0 || buf_add(&c->loop->tls->cipher, p, (size_t)n) != 0)
        return -1;
    return n;
}

static long on_bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static void loop_tls_free(struct loop_tls *t)
{
    BIO_meth_free(t->method);
    buf_fini(&t->cipher);
    mem_free(t);
}

static struct loop_tls *loop_tls(struct loop *l)
{
    if (l->tls)
        return l->tls;
    struct loop_tls *t = MEM_NEW(struct loop_tls);
    t->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "conn");
    CHECK(t->method);
    BIO_meth_set_read(t->method, on_bio_read);
    BIO_meth_set_write(t->method, on_bio_write);
    BIO_meth_set_ctrl(t->method, on_bio_ctrl);
    buf_init(&t->cipher, CONN_QUEUE_MAX);
    l->tls = t;
    l->tls_free = loop_tls_free;
    return t;
}

/* Sends what OpenSSL has written. */
static void ship(struct conn *c)
{
    struct buf *cipher = &c->loop->tls->cipher;
    if (cipher->n > 0 && conn_live(c))
        conn_send(c, &c->wire, cipher->p, cipher->n);
    buf_clear(cipher);
    if (cipher->cap > CIPHER_KEEP)
        buf_fini(cipher);
}

/* ---- life ---- */

void conn_tls_attach(struct conn *c, struct tls_ctx *tls)
{
    struct loop_tls *t = loop_tls(c->loop);
    CHECK(c->tls == CONN_TLS_NONE);
    c->ssl = SSL_new(tls->ctx);
    BIO *bio = BIO_new(t->method);
    CHECK(c->ssl && bio); /* memory */
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    c->tls = CONN_TLS_HANDSHAKE;
    c->deadline_ms = loop_now_ms(c->loop) + CONN_HANDSHAKE_MS;
    conn_rearm(c);
}

void conn_tls_begin(struct conn *c, struct tls_ctx *tls)
{
    CHECK(!tls->client);
    tls_ctx_freshen(tls, loop_now_ms(c->loop));
    conn_tls_attach(c, tls);
    SSL_set_accept_state(c->ssl);
}

void conn_tls_free(struct conn *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    tls_peer_free(&c->tls_peer);
}

int conn_tls_clear(struct conn *c)
{
    /* RFC 3207 4.2, RFC 3501 6.2.1: what the peer sent in the clear behind its STARTTLS, or behind
     * its go-ahead reply, is not seen after it. What still lies in the kernel goes to the
     * handshake, which fails. */
    c->view.n = 0;
    c->in.off = c->in.b.n; /* freed later: the handler may still look at its line */
    c->retell = false;
    /* What was written so far goes in the clear. */
    struct str clear = queue_str(&c->out);
    if (clear.n > 0) {
        if (queue_add(&c->wire, clear.p, clear.n) != 0) {
            conn_break(c, ERR_TEMP, "too much output is waiting");
            return -1;
        }
        queue_free(&c->out);
        conn_flush_later(c);
    }
    return 0;
}

void conn_start_tls(struct conn *c, struct tls_ctx *tls)
{
    if (!conn_live(c) || c->lingering || conn_tls_clear(c) != 0)
        return;
    conn_tls_begin(c, tls);
    conn_settle_later(c);
}

/* ---- input ---- */

static void tls_failed(struct conn *c, const char *doing)
{
    unsigned long code = ERR_peek_error();
    const char *why = code ? ERR_reason_error_string(code) : NULL;
    struct err err;
    ship(c); /* the alert */
    if (c->tls == CONN_TLS_HANDSHAKE && c->tls_peer && tls_peer_refused(c->tls_peer, &err)) {
        conn_break_why(c, err.kind, err.why, "%s", err.text);
        ERR_clear_error();
        return;
    }
    conn_break(c, ERR_PROTO, "TLS %s: %s", doing, why ? why : "failed");
    ERR_clear_error();
}

/* True when done. */
static bool handshake(struct conn *c)
{
    queue_free(&c->in);
    ERR_clear_error();
    int rc = SSL_do_handshake(c->ssl);
    if (rc != 1) {
        if (SSL_get_error(c->ssl, rc) != SSL_ERROR_WANT_READ) {
            count(c, HANDSHAKE_FAILED);
            tls_failed(c, "handshake");
        }
        return false;
    }
    if (c->tls_peer && !tls_peer_satisfied(c->tls_peer)) {
        count(c, HANDSHAKE_FAILED);
        conn_break_why(c, ERR_TEMP, ERR_WHY_UNTRUSTED, "the peer showed no certificate");
        return false;
    }
    count(c, SSL_version(c->ssl) == TLS1_3_VERSION ? HANDSHAKE_TLS13 : HANDSHAKE_TLS12);
    c->tls = CONN_TLS_UP;
    c->tls_more = true;
    c->deadline_ms = 0;
    c->heard_ms = loop_now_ms(c->loop);
    conn_rearm(c);
    ship(c);
    if (queue_n(&c->out) > 0)
        conn_flush_later(c);
    if (!conn_live(c))
        return false;
    bool first = !c->opened;
    c->opened = true;
    conn_tell(c, first ? CONN_OPEN : CONN_TLS);
    return conn_live(c);
}

/* Decrypts at most cap bytes. Sets tls_more when it stopped because they were full. */
static size_t decrypt(struct conn *c, char *out, size_t cap)
{
    size_t n = 0;
    c->tls_more = true;
    ERR_clear_error();
    while (n < cap) {
        int rc = SSL_read(c->ssl, out + n, (int)(cap - n));
        if (rc > 0) {
            n += (size_t)rc;
            continue;
        }
        c->tls_more = false;
        int why = SSL_get_error(c->ssl, rc);
        if (why == SSL_ERROR_ZERO_RETURN) /* close_notify; what follows it is nothing */
            c->eof = true;
        else if (why != SSL_ERROR_WANT_READ)
            tls_failed(c, "input");
        break;
    }
    return n;
}

static void pump(struct conn *c)
{
    if (c->tls == CONN_TLS_HANDSHAKE && !handshake(c))
        return;
    char *plain = c->loop->tls->plain_mem + LOOP_READ_HEAD;
    while (conn_live(c) && !c->lingering && !c->eof) {
        if (c->net.n == 0 && queue_n(&c->raw) == 0 && !c->tls_more)
            return;
        size_t held = queue_n(&c->in);
        if (c->paused || held >= c->max_input || queue_n(&c->wire) > CONN_WIRE_MAX)
            return;
        size_t room = c->max_input - held;
        size_t n = decrypt(c, plain, room < LOOP_READ_SIZE ? room : LOOP_READ_SIZE);
        ship(c); /* answers of the protocol itself: key updates */
        if (n > 0)
            c->heard_ms = loop_now_ms(c->loop);
        if (n > 0 && (conn_live(c) || c->err))
            conn_show(c, plain, n);
    }
}

void conn_tls_pump(struct conn *c, struct str net)
{
    c->net = net;
    pump(c);
    if (conn_live(c))
        ship(c);
    else
        buf_clear(&c->loop->tls->cipher);
    /* What could not be decrypted now (paused, or too much held) is kept. */
    if (conn_live(c) && !c->lingering && !c->eof && c->net.n > 0)
        CHECK(queue_add(&c->raw, c->net.p, c->net.n) == 0);
    c->net = STR_NULL;
    if (c->eof || c->lingering)
        queue_free(&c->raw);
}

/* ---- output ---- */

void conn_tls_encrypt(struct conn *c)
{
    while (conn_live(c) && queue_n(&c->out) > 0 && !c->blocked) {
        for (size_t done = 0; done < BATCH && queue_n(&c->out) > 0;) {
            struct str s = str_take(queue_str(&c->out), RECORD);
            ERR_clear_error();
            int rc = SSL_write(c->ssl, s.p, (int)s.n);
            if (rc <= 0) { /* the BIO takes everything, so this is no waiting */
                tls_failed(c, "output");
                return;
            }
            queue_take(&c->out, (size_t)rc);
            done += (size_t)rc;
        }
        ship(c);
    }
}

void conn_tls_bye(struct conn *c)
{
    ERR_clear_error();
    SSL_shutdown(c->ssl);
    ship(c);
}

/* ---- what it is ---- */

bool conn_has_tls(const struct conn *c)
{
    return c->tls == CONN_TLS_UP;
}

void conn_tls_text(const struct conn *c, char *out, size_t cap)
{
    if (c->tls == CONN_TLS_UP)
        snprintf(out, cap, "%s %s", SSL_get_version(c->ssl), SSL_get_cipher_name(c->ssl));
    else if (cap > 0)
        out[0] = '\0';
}

int conn_tls_bits(const struct conn *c)
{
    return c->tls == CONN_TLS_UP ? SSL_get_cipher_bits(c->ssl, NULL) : 0;
}
