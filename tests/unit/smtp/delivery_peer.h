/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_peer.h - a mail host on 127.0.0.1 for the tests of delivery. It takes everything, unless
 * a rule says something else: "greeting", "EHLO", "MAIL", "RCPT user@domain", "DATA", "END". The
 * reply of a rule "" is silence, "!" the end of the connection; after 421 it ends too. Floor:
 * tests. */
#ifndef PH_TESTS_SMTP_DELIVERY_PEER_H
#define PH_TESTS_SMTP_DELIVERY_PEER_H
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "appliance/io/listener.h"
#include <stdio.h>
#include <string.h>

enum { PEER_RULES = 32, PEER_GOT = 400, PEER_RCPTS = 8 };

struct peer_rule {
    const char *when, *reply;
    unsigned left; /* so many times more */
};
struct peer_mail {
    char from[200], mail[300]; /* mail: the whole command */
    char rcpts[PEER_RCPTS][300];
    size_t n_rcpts;
    unsigned conn;
    char *text;
};
struct peer {
    struct loop *loop;
    struct listener *listener;
    uint16_t port;
    const char *offers;  /* lines of EHLO */
    struct tls_ctx *tls; /* for STARTTLS; NULL: it hangs up then */
    struct peer_rule rules[PEER_RULES];
    size_t n_rules;
    bool hold; /* no answer to a message until peer_release() */
    struct list sessions;
    unsigned all; /* connections so far */
    size_t held;
    struct peer_mail got[PEER_GOT]; /* what it said 250 to, or would when it is released */
    size_t n_got;
};
struct peer_session {
    struct list link;
    struct peer *peer;
    struct conn *conn;
    unsigned number;
    bool begun, data, waits;
    struct peer_mail mail;
    struct buf text;
};

static inline void peer_rule(struct peer *p, const char *when, const char *reply, unsigned times)
{
    CHECK(p->n_rules < PEER_RULES);
    p->rules[p->n_rules++] = (struct peer_rule){.when = when, .reply = reply, .left = times};
}
static inline void peer_forget(struct peer *p)
{
    p->n_rules = 0;
}

static inline void peer_end(struct peer_session *s)
{
    if (s->waits)
        s->peer->held--;
    list_del(&s->link);
    if (s->conn)
        conn_close_flushed(&s->conn, 1000);
    buf_fini(&s->text);
    mem_free(s);
}

/* False: the session is over. */
static inline bool peer_say(struct peer_session *s, const char *when, const char *otherwise)
{
    const char *reply = otherwise;
    struct peer *p = s->peer;

    for (size_t i = 0; i < p->n_rules; i++)
        if (p->rules[i].left && strcmp(p->rules[i].when, when) == 0) {
            p->rules[i].left--;
            reply = p->rules[i].reply;
            break;
        }
    if (strcmp(reply, "!") == 0) {
        peer_end(s);
        return false;
    }
    if (reply[0]) {
        conn_write_str(s->conn, str_from(reply));
        conn_write(s->conn, "\r\n", 2);
    }
    if (strncmp(reply, "421", 3) == 0) {
        peer_end(s);
        return false;
    }
    return true;
}

static inline bool peer_takes(const struct peer *p, const char *when)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (p->rules[i].left && strcmp(p->rules[i].when, when) == 0)
            return p->rules[i].reply[0] == '2';
    return true;
}

static inline void peer_keep(struct peer_session *s)
{
    struct peer *p = s->peer;

    CHECK(p->n_got < PEER_GOT);
    s->mail.text = str_dup_z(buf_str(&s->text));
    s->mail.conn = s->number;
    p->got[p->n_got++] = s->mail;
}

static inline bool peer_ends(struct peer_session *s)
{
    s->data = false;
    if (peer_takes(s->peer, "END"))
        peer_keep(s);
    if (!s->peer->hold)
        return peer_say(s, "END", "250 2.0.0 taken");
    s->waits = true;
    s->peer->held++;
    return true;
}

/* Answers what waits for it. */
static inline void peer_answer(struct peer *p)
{
    LIST_EACH(&p->sessions, it)
    {
        struct peer_session *s = LIST_ITEM(it, struct peer_session, link);
        if (!s->waits)
            continue;
        s->waits = false;
        p->held--;
        peer_say(s, "END", "250 2.0.0 taken");
    }
}

/* And all that follows. */
static inline void peer_release(struct peer *p)
{
    p->hold = false;
    peer_answer(p);
}

static inline void peer_path(const char *line, char *out, size_t cap)
{
    const char *open = strchr(line, '<'), *end = open ? strchr(open, '>') : NULL;
    snprintf(out, cap, "%.*s", end ? (int)(end - open - 1) : 0, end ? open + 1 : "");
}

static inline bool peer_rcpt(struct peer_session *s, const char *line)
{
    char rcpt[300], when[310];

    if (!s->begun)
        return peer_say(s, "other", "503 5.5.1 MAIL first");
    peer_path(line, rcpt, sizeof rcpt);
    snprintf(when, sizeof when, "RCPT %.300s", rcpt);
    if (peer_takes(s->peer, when)) {
        CHECK(s->mail.n_rcpts < PEER_RCPTS);
        snprintf(s->mail.rcpts[s->mail.n_rcpts++], 300, "%s", rcpt);
    }
    return peer_say(s, when, "250 2.1.5 fine");
}

static inline bool peer_ehlo(struct peer_session *s)
{
    struct str rest = str_from(s->peer->offers), line;
    char text[4096] = "250-peer.example";

    while (rest.n) {
        str_cut(rest, '\n', &line, &rest);
        snprintf(text + strlen(text), sizeof text - strlen(text), "\r\n250%c%.*s",
                 rest.n ? '-' : ' ', (int)line.n, line.p);
    }
    if (!s->peer->offers[0])
        text[3] = ' ';
    return peer_say(s, "EHLO", text);
}

static inline bool peer_tls(struct peer_session *s)
{
    if (!peer_say(s, "STARTTLS", "220 2.0.0 go on"))
        return false;
    if (s->peer->tls) {
        conn_start_tls(s->conn, s->peer->tls);
        return true;
    }
    peer_end(s);
    return false;
}

static inline bool peer_line(struct peer_session *s, const char *line)
{
    if (s->data && strcmp(line, ".") == 0)
        return peer_ends(s);
    if (s->data) {
        buf_add_z(&s->text, line + (line[0] == '.'));
        buf_add_z(&s->text, "\r\n");
        return true;
    }
    if (strncmp(line, "EHLO", 4) == 0)
        return peer_ehlo(s);
    if (strncmp(line, "MAIL", 4) == 0) {
        s->mail = (struct peer_mail){.n_rcpts = 0};
        buf_clear(&s->text);
        snprintf(s->mail.mail, sizeof s->mail.mail, "%.*s", (int)sizeof s->mail.mail - 1, line);
        peer_path(line, s->mail.from, sizeof s->mail.from);
        s->begun = peer_takes(s->peer, "MAIL");
        return peer_say(s, "MAIL", "250 2.1.0 fine");
    }
    if (strncmp(line, "RCPT", 4) == 0)
        return peer_rcpt(s, line);
    if (strcmp(line, "DATA") == 0) {
        s->data = s->mail.n_rcpts && peer_takes(s->peer, "DATA");
        return peer_say(s, "DATA", s->data ? "354 go on" : "554 5.5.1 no recipients");
    }
    if (strcmp(line, "STARTTLS") == 0)
        return peer_tls(s);
    if (strcmp(line, "QUIT") == 0) {
        conn_write_str(s->conn, STR("221 2.0.0 bye\r\n"));
        peer_end(s);
        return false;
    }
    return peer_say(s, "other", "250 2.0.0 fine");
}

static inline void peer_on_event(void *ctx, struct conn *c, enum conn_event ev)
{
    struct peer_session *s = ctx;
    char line[20000];
    size_t at;

    if (ev == CONN_EOF || ev == CONN_CLOSED) {
        peer_end(s);
        return;
    }
    if (ev == CONN_OPEN && !peer_say(s, "greeting", "220 peer.example ESMTP"))
        return;
    while (str_chr(conn_input(c), '\n', &at)) {
        CHECK(at > 0 && at < sizeof line);
        memcpy(line, conn_input(c).p, at - 1);
        line[at - 1] = '\0';
        conn_consume(c, at + 1);
        if (!peer_line(s, line))
            return;
    }
}

static inline void peer_on_accept(void *ctx, struct conn *c)
{
    struct peer *p = ctx;
    struct peer_session *s = MEM_NEW(struct peer_session);

    s->peer = p;
    s->conn = c;
    s->number = ++p->all;
    buf_init(&s->text, 1 << 24);
    list_add(&p->sessions, &s->link);
    conn_set_max_input(c, 1 << 20);
    conn_set_handler(c, peer_on_event, s);
}

static inline void peer_start(struct peer *p, struct loop *loop)
{
    const struct listener_conf conf = {.on_accept = peer_on_accept, .ctx = p};
    struct err err;

    p->loop = loop;
    p->offers = "PIPELINING\n8BITMIME\nENHANCEDSTATUSCODES";
    list_init(&p->sessions);
    CHECK(listener_open("127.0.0.1", 0, &p->listener, &err) == 0);
    CHECK(listener_start(p->listener, loop, &conf, &err) == 0);
    p->port = listener_port(p->listener);
}

static inline void peer_stop(struct peer *p)
{
    listener_stop(&p->listener);
    while (!list_empty(&p->sessions))
        peer_end(LIST_ITEM(p->sessions.next, struct peer_session, link));
    for (size_t i = 0; i < p->n_got; i++)
        mem_free(p->got[i].text);
}

/* How often this recipient got it. */
static inline size_t peer_count(const struct peer *p, const char *rcpt)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n_got; i++)
        for (size_t k = 0; k < p->got[i].n_rcpts; k++)
            n += strcmp(p->got[i].rcpts[k], rcpt) == 0;
    return n;
}
#endif
