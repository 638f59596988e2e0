/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_private.h - what the files of the stage `milter` share. Floor 4 (filters). Threads: loop.
 */
#ifndef PH_FILTERS_MILTER_PRIVATE_H
#define PH_FILTERS_MILTER_PRIVATE_H
#include "filters/milter_client.h"
#include "filters/milter_mail.h"

struct milter_conf {
    const char *endpoints; /* list */
    uint64_t connect_timeout, command_timeout, content_timeout, body_limit;
};
struct milter { /* the instance */
    const struct ph_host *host;
    struct loop *loop;
};

/* How far a milter has been told of the session. */
enum milter_told { MILTER_TOLD_NOTHING, MILTER_TOLD_CONNECT, MILTER_TOLD_HELO };
/* How far of a message. */
enum milter_part {
    MILTER_PART_DATA,
    MILTER_PART_HEADERS,
    MILTER_PART_HEADERS_END,
    MILTER_PART_BODY,
    MILTER_PART_BODY_END,
    MILTER_PART_DONE
};
struct milter_peer { /* one milter, for one session */
    struct milter_session *session;
    struct milter_endpoint endpoint;
    struct milter_client *client;
    /* What it knows; forgotten with its connection. */
    enum milter_told told;
    uint64_t mail; /* the transaction; 0: none */
    /* What it has said; kept. */
    bool settled;          /* it accepts all of the session */
    uint64_t settled_mail; /* it accepts this transaction */
    bool failed;
    uint64_t failed_mail; /* isn't asked again before another one */
    /* Of the point under way. */
    bool opening, helo_due, rcpt_due;
    bool reused;  /* the connection is of an earlier point, and nothing has come on it since */
    bool late;    /* MAIL is told only now, and so are the recipients so far */
    size_t rcpts; /* of these, told */
    enum milter_part part;
    size_t field;              /* next header field */
    uint64_t offset;           /* next octet of the body */
    enum milter_command asked; /* what the next answer is about */
};
struct milter_session {
    struct milter *milter;
    const struct milter_conf *conf;
    struct milter_peer *peers;
    size_t n;
    uint64_t discarded; /* a transaction: at one of its recipients a milter wanted it dropped */
    /* The turn under way. */
    ph_turn turn;
    enum ph_point at;
    struct ph_view view; /* with the client's name; not to be read the message by */
    size_t current;
    bool has_mail;
    struct milter_mail mail;
    enum ph_verdict worst;
    char reply[300], reason[400], failure[400];
};

/* ---- milter_session.c */
struct milter_session *milter_session_new(struct milter *m, const struct milter_conf *conf);
void milter_session_free(struct milter_session **s);
void milter_session_point(struct milter_session *s, ph_turn turn, enum ph_point at);
void milter_session_cancel(struct milter_session *s);
/* Goes on with whoever is at work, as an answer, an address or room has come. */
void milter_session_run(struct milter_session *s);
/* The turn ends without asking the others: DISCARD, DEFER, REJECT. */
void milter_session_decide(struct milter_peer *p, enum ph_verdict v, const char *reply,
                           const char *what);
void milter_peer_fail(struct milter_peer *p, const char *why);
const struct ph_view *milter_view(const struct milter_session *s);

/* ---- milter_steps.c: what is told in which order. */
enum milter_go {
    MILTER_GO_ON,
    MILTER_GO_WAIT,  /* for an answer, or room */
    MILTER_GO_DONE,  /* it knows all there is at this point */
    MILTER_GO_BROKEN /* the message can't be read */
};
enum milter_go milter_step(struct milter_peer *p, const struct ph_view *v);

/* ---- milter_answers.c: what it says to that. */
void milter_on_answer(void *peer, const struct milter_answer *a);

/* ---- milter_macros.c: the packet of macros that comes before a command, if there are any. */
void milter_macros(const struct milter_terms *terms, const struct ph_view *v,
                   enum milter_stage stage, enum milter_command of, struct buf *out);
#endif
