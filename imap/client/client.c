/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client.c - connection, TLS and commands. */
#include "imap/client/client.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "imap/client/client_private.h"
#include <stdio.h>

enum { SILENCE_MS = 120000, CONNECT_MS = 30000, INPUT_MAX = 512 << 10 };

/* ---- Words. */

void imap_client_words(struct str text, char *out, size_t cap)
{
    size_t n = 0;

    text = str_trim(text);
    while (text.n && n + 5 < cap) {
        uint32_t cp;
        unsigned len = text_utf8_next(text, &cp);
        if (len && cp >= ' ' && cp != 0x7f && (cp < 0x80 || cp >= 0xa0)) {
            memcpy(out + n, text.p, len);
            n += len;
        } else
            out[n++] = '?';
        text = str_skip(text, len ? len : 1);
    }
    out[n] = '\0';
}

/* RFC 5530, RFC 9051, and what the large ones say. */
static bool is_throttle(struct str code)
{
    static const char *const codes[] = {"UNAVAILABLE", "LIMIT",     "INUSE", "SERVERBUG",
                                        "OVERQUOTA",   "THROTTLED", "BUSY"};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (str_ieq(code, str_from(codes[i])))
            return true;
    return false;
}

int imap_client_verdict(const struct imap_response *r, struct err *err)
{
    char words[180];

    if (r->status == IMAP_STATUS_OK)
        return 0;
    imap_client_words(r->text, words, sizeof words);
    return ERR_WHY(err, is_throttle(r->code) ? ERR_TEMP : ERR_PERM,
                   is_throttle(r->code) ? ERR_WHY_BUSY : ERR_WHY_OTHER, "the server says: %s",
                   words[0] ? words : "NO");
}

/* ---- Waiting. */

static void on_event(void *ctx, struct conn *conn, enum conn_event ev)
{
    struct imap_client *c = ctx;

    (void)conn;
    c->open = c->open || ev == CONN_OPEN;
    c->secured = c->secured || ev == CONN_TLS;
    c->eof = c->eof || ev == CONN_EOF;
    c->closed = c->closed || ev == CONN_CLOSED;
    c->silent = c->silent || ev == CONN_TIMEOUT;
}

static uint64_t patience(const struct imap_client *c)
{
    return c->conf->silence_ms ? c->conf->silence_ms : SILENCE_MS;
}

static void drop(struct imap_client *c)
{
    if (c->conn)
        conn_close(&c->conn);
}

static int lost(struct imap_client *c, struct err *err)
{
    const struct err *why = c->closed ? conn_error(c->conn) : NULL;

    if (c->bye[0])
        err_set(err, ERR_TEMP, ERR_WHY_BUSY, "the server ended the connection: %s", c->bye);
    else if (c->silent)
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "the server says nothing any more");
    else if (why && why->why == ERR_WHY_UNTRUSTED)
        err_set(err, ERR_PERM, ERR_WHY_UNTRUSTED, "%s", why->text);
    else
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "%s",
                why && why->text[0] ? why->text : "the connection was lost");
    drop(c);
    return -1;
}

/* One turn; -1: nothing will come any more. We may have been busy elsewhere for long, so that only
 * silence while waiting counts. */
static int turn(struct imap_client *c, struct err *err)
{
    size_t held = conn_input(c->conn).n;

    if (c->closed) /* all that had come is read */
        return lost(c, err);
    conn_consume(c->conn, c->taken); /* of a connection that broke, nothing is */
    c->taken -= held - conn_input(c->conn).n;
    loop_turn(c->conf->loop, true);
    if (c->silent && clock_mono_ms() - c->asked_ms < patience(c))
        c->silent = false;
    if ((c->closed || c->eof || c->silent) && conn_input(c->conn).n == c->taken)
        return lost(c, err);
    return 0;
}

int imap_client_wait(struct imap_client *c, const bool *flag, struct err *err)
{
    c->asked_ms = clock_mono_ms();
    while (!*flag)
        if (turn(c, err) != 0)
            return -1;
    return 0;
}

/* ---- Reading. */

static void note(struct imap_client *c, const struct imap_response *r)
{
    bool data = r->kind == IMAP_RESPONSE_DATA && str_ieq(r->name, STR("CAPABILITY"));

    if (data || str_ieq(r->code, STR("CAPABILITY"))) {
        c->can = imap_response_capabilities(data ? r->rest : r->arguments);
        c->told_can = true;
    }
    if (r->status == IMAP_STATUS_BYE) {
        imap_client_words(r->text, c->bye, sizeof c->bye);
        if (!c->bye[0])
            snprintf(c->bye, sizeof c->bye, "BYE");
    }
}

static int stopped(struct imap_client *c, struct err *err)
{
    drop(c);
    return ERR_WHY(err, ERR_TEMP, ERR_WHY_CANCELLED, "stopped");
}

static int nonsense(struct imap_client *c, const char *what, struct err *err)
{
    drop(c);
    return ERR(err, ERR_TEMP, "the server says %s", what);
}

/* 1: a response that isn't data. */
static int take(struct imap_client *c, const struct imap_client_events *ev, void *ctx,
                struct err *err)
{
    struct imap_response_reader *r = &c->reader;
    int rc = 0;
    size_t used;
    enum imap_response_got got =
        imap_response_take(r, str_skip(conn_input(c->conn), c->taken), &used);

    c->taken += used;
    switch (got) {
    case IMAP_GOT_NOTHING:
        if (turn(c, err) != 0)
            return -1;
        break;
    case IMAP_GOT_TEXT:
        rc = ev && ev->on_text ? ev->on_text(ctx, &r->response, r->size) : 0;
        break;
    case IMAP_GOT_PIECE:
        rc = ev && ev->on_piece ? ev->on_piece(ctx, r->piece) : 0;
        break;
    case IMAP_GOT_END:
        break;
    case IMAP_GOT_WHOLE:
        note(c, &r->response);
        if (r->response.kind == IMAP_RESPONSE_TAGGED || r->response.kind == IMAP_RESPONSE_CONTINUE)
            return 1;
        rc = ev && ev->on_response ? ev->on_response(ctx, &r->response) : 0;
        break;
    case IMAP_GOT_BAD:
        return nonsense(c, r->bad, err);
    }
    c->asked_ms = clock_mono_ms();
    return rc == 0 ? 0 : stopped(c, err);
}

int imap_client_next(struct imap_client *c, const struct imap_client_events *ev, void *ctx,
                     const struct imap_response **out, struct err *err)
{
    int rc;

    if (!c->conn)
        return ERR(err, ERR_TEMP, "the connection was lost");
    c->asked_ms = clock_mono_ms();
    while ((rc = take(c, ev, ctx, err)) == 0)
        ;
    *out = &c->reader.response;
    return rc == 1 ? 0 : -1;
}

/* ---- Speaking. */

int imap_client_say(struct imap_client *c, struct str command, const struct imap_client_events *ev,
                    void *ctx, struct err *err)
{
    const struct imap_response *r;
    struct str digits;
    size_t at, open;
    uint64_t n;

    if (!c->conn)
        return ERR(err, ERR_TEMP, "the connection was lost");
    conn_set_timeout(c->conn, patience(c));
    snprintf(c->local, sizeof c->local, "P%u", ++c->tag % 100000);
    conn_write_str(c->conn, str_from(c->local));
    conn_write_str(c->conn, STR(" "));
    while (str_find(command, STR("\r\n"), &at)) { /* only literals hold one */
        conn_write_str(c->conn, str_take(command, at + 2));
        digits = str_take(command, at - 1);
        CHECK(at > 2 && command.p[at - 1] == '}' && str_rchr(digits, '{', &open));
        CHECK(str_to_u64(str_skip(digits, open + 1), command.n, &n) == 0);
        if (imap_client_next(c, ev, ctx, &r, err) != 0)
            return -1;
        if (r->kind != IMAP_RESPONSE_CONTINUE)
            return imap_client_verdict(r, err) == 0 ? nonsense(c, "OK too early", err) : -1;
        command = str_skip(command, at + 2);
        conn_write_str(c->conn, str_take(command, (size_t)n));
        command = str_skip(command, (size_t)n);
    }
    conn_write_str(c->conn, command);
    conn_write_str(c->conn, STR("\r\n"));
    return 0;
}

int imap_client_ask(struct imap_client *c, struct str command, const struct imap_client_events *ev,
                    void *ctx, struct err *err)
{
    const struct imap_response *r;

    if (imap_client_say(c, command, ev, ctx, err) != 0 ||
        imap_client_next(c, ev, ctx, &r, err) != 0)
        return -1;
    if (r->kind != IMAP_RESPONSE_TAGGED || !str_eq(r->tag, str_from(c->local)))
        return nonsense(c, "something that wasn't asked", err);
    return imap_client_verdict(r, err);
}

/* ---- Beginning and end. */

struct greeting {
    bool come, in;
    struct err err;
};

static int on_greeting(void *ctx, const struct imap_response *r)
{
    struct greeting *g = ctx;

    g->come = true;
    g->in = r->status == IMAP_STATUS_PREAUTH;
    if (r->kind != IMAP_RESPONSE_STATUS)
        err_set(&g->err, ERR_TEMP, ERR_WHY_OTHER, "that is no IMAP server");
    return 0;
}

int imap_client_wait_greeting(struct imap_client *c, bool *in_out, struct err *err)
{
    static const struct imap_client_events events = {.on_response = on_greeting};
    struct greeting g = {.come = false};

    c->asked_ms = clock_mono_ms();
    while (!g.come) {
        int rc = take(c, &events, &g, err);
        if (rc != 0)
            return rc < 0 ? -1 : nonsense(c, "something that is no greeting", err);
    }
    if (g.err.kind != ERR_NONE) {
        *err = g.err;
        return -1;
    }
    *in_out = g.in;
    return c->bye[0] ? lost(c, err) : 0;
}

static int secure(struct imap_client *c, struct err *err)
{
    const char *const names[] = {c->conf->host, NULL};
    const struct tls_demand demand = {
        .trust = c->conf->unverified ? TLS_TRUST_NONE : TLS_TRUST_PKIX, .names = names};

    c->taken = 0; /* unread input is discarded there */
    conn_start_tls_client(c->conn, c->conf->tls, &demand);
    return imap_client_wait(c, &c->secured, err);
}

/* What was said in the clear counts no longer (RFC 3501 6.2.1). */
static int start_tls(struct imap_client *c, struct err *err)
{
    if (imap_client_ask(c, STR("STARTTLS"), NULL, NULL, err) != 0)
        return -1;
    imap_response_fini(&c->reader);
    imap_response_init(&c->reader);
    c->can = 0;
    c->told_can = false;
    return secure(c, err);
}

static int connect_to(struct imap_client *c, const char *ip, struct err *err)
{
    const struct conn_target target = {.ip = ip, .port = c->conf->port, .timeout_ms = CONNECT_MS};

    c->open = c->eof = c->closed = c->silent = c->secured = false;
    c->taken = 0;
    if (conn_connect(c->conf->loop, &target, &c->conn, err) != 0)
        return -1;
    conn_set_handler(c->conn, on_event, c);
    conn_set_max_input(c->conn, INPUT_MAX);
    return imap_client_wait(c, &c->open, err);
}

static int begin(struct imap_client *c, struct err *err)
{
    bool in = false;

    conn_set_timeout(c->conn, patience(c));
    if ((c->conf->use == IMAP_TLS_IMPLICIT && secure(c, err) != 0) ||
        imap_client_wait_greeting(c, &in, err) != 0 ||
        (!c->told_can && imap_client_ask(c, STR("CAPABILITY"), NULL, NULL, err) != 0))
        return -1;
    if (c->conf->use == IMAP_TLS_START && (in || !(c->can & IMAP_CAN_STARTTLS)))
        return ERR_WHY(err, ERR_PERM, ERR_WHY_DENIED,
                       "the server offers no STARTTLS: the password would go in clear");
    if (c->conf->use != IMAP_TLS_IMPLICIT && !in && (c->can & IMAP_CAN_STARTTLS) &&
        (start_tls(c, err) != 0 || imap_client_ask(c, STR("CAPABILITY"), NULL, NULL, err) != 0))
        return -1;
    c->told_can = false;
    if (!in && imap_client_login(c, err) != 0)
        return -1;
    return c->told_can ? 0 : imap_client_ask(c, STR("CAPABILITY"), NULL, NULL, err);
}

int imap_client_open(const struct imap_client_conf *conf, struct imap_client **out, struct err *err)
{
    struct imap_client *c = MEM_NEW(struct imap_client);
    int rc = -1;

    c->conf = conf;
    imap_response_init(&c->reader);
    for (size_t i = 0; i < conf->n_ips && rc != 0; i++) {
        err_clear(err);
        rc = connect_to(c, conf->ips[i], err);
    }
    if (rc == 0)
        rc = begin(c, err);
    *out = c;
    if (rc != 0)
        imap_client_close(out);
    return rc;
}

void imap_client_close(struct imap_client **client)
{
    struct imap_client *c = *client;

    if (!c)
        return;
    if (c->conn && c->open && !c->closed && !c->eof) {
        conn_write_str(c->conn, STR("Z LOGOUT\r\n"));
        loop_turn(c->conf->loop, false);
    }
    drop(c);
    loop_turn(c->conf->loop, false);
    imap_response_fini(&c->reader);
    mem_free(c);
    *client = NULL;
}

bool imap_client_alive(const struct imap_client *c)
{
    return c && c->conn && !c->closed && !c->eof && !c->bye[0];
}

unsigned imap_client_can(const struct imap_client *c)
{
    return c->can;
}
