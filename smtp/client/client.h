/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client.h - one SMTP connection to another host: greeting, EHLO (HELO where that isn't known),
 * STARTTLS, AUTH, then message after message. RFC 5321, 2920, 3207, 4954, 1870, 6152, 3030, 6531,
 * 3461, 8689. Floor 5 (smtp). Threads: loop only.
 * Ownership: the caller owns the client until smtp_client_close(). Callbacks come later from the
 * loop, never from within a call; after on_closed no other comes, and the caller still closes.
 * Time limits are RFC 5321 4.5.3.2's unless the configuration says otherwise. What the peer says is
 * bounded (reply.h) and made printable before it is logged or stored. */
#ifndef PH_SMTP_CLIENT_H
#define PH_SMTP_CLIENT_H
#include "appliance/base/log.h"
#include "appliance/io/conn.h"
#include "appliance/io/lanes.h"
#include "appliance/io/tls.h"

enum smtp_fault_kind {
    SMTP_FAULT_NONE,
    SMTP_FAULT_HOST, /* this host, now: connection, greeting, 421, time, protocol: try another one
                      */
    SMTP_FAULT_TLS,  /* it can't give the TLS that is demanded: try another one, then later */
    SMTP_FAULT_AUTH, /* our login was refused: later (somebody must mend it) */
    SMTP_FAULT_TEMP, /* 4xx: later */
    SMTP_FAULT_PERM  /* 5xx, or it can't be sent there at all: give up */
};
struct smtp_fault {
    enum smtp_fault_kind kind;
    unsigned code;   /* of the reply; 0: none */
    char status[12]; /* RFC 3463: the reply's, else the one that fits: "5.1.1", "4.4.2" */
    char stage[12];  /* "connect", "greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA",
                        "end" */
    char text[400];  /* for people, printable: the reply's text without code and status, or what
                        happened */
    bool remote;     /* text is the host's own words (RFC 3464 Diagnostic-Code: smtp) */
};
/* Name and words of a peer in one line: "host said: 550 5.1.1 no such user (RCPT)". */
void smtp_fault_text(const struct smtp_fault *f, const char *host, char *out, size_t cap);
/* Code, status and text: "550 5.1.1 no such user"; "4.4.2 closed the connection". */
void smtp_fault_reply(const struct smtp_fault *f, char *out, size_t cap);

enum smtp_tls_use {
    SMTP_TLS_OFF,
    SMTP_TLS_MAY,     /* where it is offered; a handshake that fails: SMTP_FAULT_TLS, and the caller
                         may try the host once more with OFF */
    SMTP_TLS_MUST,    /* with what `demand` says */
    SMTP_TLS_IMPLICIT /* from the first octet, with what `demand` says (port 465) */
};
struct smtp_credentials { /* views; live as long as the client */
    const char *user, *password;
    const char *mechanisms; /* list, the first that both know; empty: SCRAM-SHA-256 PLAIN LOGIN */
};
struct smtp_timeouts { /* ms; 0: RFC 5321 4.5.3.2 */
    uint64_t connect, greeting, helo, mail, rcpt, data, block, end, quit;
};
struct smtp_client_conf {
    struct loop *loop;
    struct lane *files; /* on which large data is read from its file */
    struct conn_target target;
    const char *host;     /* its name, for the log; copied */
    const char *hostname; /* ours, for EHLO; copied */
    enum smtp_tls_use use;
    struct tls_ctx *tls;                        /* NULL only with OFF; a reference is taken */
    struct tls_demand demand;                   /* copied */
    const struct smtp_credentials *credentials; /* NULL: no AUTH. Only under TLS, unless the peer is
                                                   on loopback */
    struct smtp_timeouts timeouts;
    struct log_ctx log;
};
struct smtp_client;
struct smtp_client_events {
    void (*on_ready)(void *ctx);                                /* the greeting is done: send */
    void (*on_closed)(void *ctx, const struct smtp_fault *why); /* kind NONE: closed while idle */
};
int smtp_client_open(const struct smtp_client_conf *conf, const struct smtp_client_events *events,
                     void *ctx, struct smtp_client **out, struct err *err)
    __attribute__((warn_unused_result));
/* QUIT when idle, else the end at once. NULL is fine. No callback comes any more. */
void smtp_client_close(struct smtp_client **c);

enum { /* what the peer offers (after on_ready) */
       SMTP_CAN_PIPELINING = 1u << 0,
       SMTP_CAN_SIZE = 1u << 1,
       SMTP_CAN_8BITMIME = 1u << 2,
       SMTP_CAN_SMTPUTF8 = 1u << 3,
       SMTP_CAN_CHUNKING = 1u << 4,
       SMTP_CAN_DSN = 1u << 5,
       SMTP_CAN_REQUIRETLS = 1u << 6,
       SMTP_CAN_STARTTLS = 1u << 7,
       SMTP_CAN_AUTH = 1u << 8,
       SMTP_CAN_ENHANCED = 1u << 9
};
struct smtp_peer {
    unsigned can;
    uint64_t size;               /* SIZE; 0: no limit said */
    unsigned rcpt_max, mail_max; /* LIMITS (RFC 9422); 0: not said */
    char tls[64];                /* "TLSv1.3 TLS_AES_256_GCM_SHA384"; "" */
    enum tls_trust trust;
};
const struct smtp_peer *smtp_client_peer(const struct smtp_client *c);

struct smtp_client_rcpt {
    struct str address, orcpt; /* orcpt: "rfc822;address", sent as xtext; empty: none */
    unsigned notify;           /* QUEUE_NOTIFY_* */
    struct smtp_fault fault;   /* out: kind NONE: the host has it */
};
/* Everything must live until on_sent. One at a time. */
struct smtp_client_mail {
    struct str sender, envid; /* envid: decoded */
    int ret;                  /* enum queue_ret */
    bool utf8, requiretls, eight_bit;
    bool probe; /* nothing is sent: what the host says to each RCPT is all. It has no text */
    struct smtp_client_rcpt *rcpts;
    size_t n_rcpts;
    struct str text; /* what there is in memory: head and small data, with CRLF line ends */
    int fd;          /* -1, or the file that goes on where text ends; stays the caller's */
    uint64_t fd_size;
    void (*on_sent)(void *ctx, struct smtp_client_mail *m); /* each recipient has its fault. The
                           client is ready again unless on_closed follows */
    /* out */
    char reply[200];  /* to the end of the message, printable */
    bool relayed_dsn; /* the host offers DSN: success is its to report (RFC 3461 5.2.2) */
};
/* What can't be sent to this peer is refused for all recipients without a word on the wire: too
 * large (5.3.4), SMTPUTF8 (5.6.7), REQUIRETLS (5.7.30); 8-bit octets without 8BITMIME or CHUNKING
 * (5.6.3: the caller may convert it and send again). */
void smtp_client_send(struct smtp_client *c, struct smtp_client_mail *m);
/* All of the message is sent and can't be called back; its reply is missing. */
bool smtp_client_at_end(const struct smtp_client *c);
unsigned smtp_client_sent(const struct smtp_client *c); /* messages over this connection */
#endif
