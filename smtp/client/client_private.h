/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client_private.h - an SMTP client from inside. Floor 5 (smtp), private to this folder. Threads:
 * loop only.
 *   client.c        life, events, time limits, the end
 *   client_greet.c  greeting, EHLO, HELO, STARTTLS; login.c: AUTH
 *   client_mail.c   a transaction: MAIL, RCPT, DATA; client_check.c: what is refused without a word
 *   client_data.c   the message itself: DATA's lines or BDAT's chunks, from memory and file
 *   client_text.c   faults, xtext, dot-stuffing (pure); client_ehlo.c, reply.c (pure)
 *   client_count.c  metrics */
#ifndef PH_SMTP_CLIENT_PRIVATE_H
#define PH_SMTP_CLIENT_PRIVATE_H
#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include "smtp/client/client.h"
#include "smtp/client/client_ehlo.h"
#include "smtp/client/reply.h"

enum { CLIENT_PIECE = 64 * 1024, CLIENT_RETRY_MS = 50 /* a full lane */ };
enum client_state {
    CLIENT_CONNECTING,
    CLIENT_HANDSHAKE,
    CLIENT_GREETING,
    CLIENT_EHLO,
    CLIENT_HELO,
    CLIENT_STARTTLS,
    CLIENT_AUTH,
    CLIENT_PROVING, /* the key of SCRAM is computed */
    CLIENT_IDLE,
    CLIENT_ENVELOPE,
    CLIENT_DATA,    /* the message is on its way */
    CLIENT_END,     /* nothing more is sent: waits for what it leads to */
    CLIENT_NOTHING, /* DATA was answered although there is no recipient: the dot alone */
    CLIENT_OVER,
    CLIENT_STATES
};
enum client_stage { /* what is waited for: its name in faults, its time limit */
                    STAGE_CONNECT,
                    STAGE_HANDSHAKE,
                    STAGE_GREETING,
                    STAGE_EHLO,
                    STAGE_STARTTLS,
                    STAGE_AUTH,
                    STAGE_IDLE,
                    STAGE_MAIL,
                    STAGE_RCPT,
                    STAGE_DATA,
                    STAGE_BLOCK,
                    STAGE_END,
                    STAGE_QUIT,
                    STAGES
};
enum client_bye {
    BYE_NOW, /* the connection ends where it stands */
    BYE_QUIT /* it is the client's turn to speak */
};
enum client_rcpt { RCPT_WAITS, RCPT_ACCEPTED, RCPT_DECIDED /* its fault is said */ };

struct smtp_stuffer { /* RFC 5321 4.5.2; zero it first */
    bool inside;      /* something came before */
    bool crlf;        /* it ends with one */
    char last;
};
struct client_read;
struct client_login;
struct client_transaction {
    struct smtp_client_mail *mail; /* NULL: none */
    size_t *order, n;              /* those of its recipients that are named to the host */
    enum client_rcpt *rcpt;        /* of all its recipients */
    bool reset;                    /* RSET goes first */
    bool bdat, utf8, mail_ok;
    size_t sent, answered, accepted; /* commands, commands, recipients */
    struct str text;                 /* what is left of it */
    uint64_t file_at;                /* read so far */
    struct client_read *read;
    struct smtp_stuffer stuffer;
    size_t chunks, chunks_answered;
    bool full;    /* output waits to be taken */
    bool whole;   /* the end is sent */
    bool refused; /* BDAT: a chunk was */
};
struct smtp_client {
    unsigned refs;
    bool closed; /* the owner is gone */
    struct loop *loop;
    struct lane *files;
    struct arena *mem; /* copies of what the configuration points to */
    const char *host, *hostname;
    char ip[46];
    enum smtp_tls_use use;
    struct tls_ctx *tls;
    struct tls_demand demand;
    const struct smtp_credentials *credentials;
    struct smtp_timeouts timeouts;
    struct log_ctx log;
    struct smtp_client_events events;
    void *ctx;
    struct conn *conn;
    struct timer *timer, *retry;
    struct loop_defer refused;
    enum client_state state;
    enum client_stage stage;
    uint64_t began_ms;
    bool greeted, counted, dirty; /* dirty: RSET before the next MAIL */
    struct smtp_answer answer;
    struct smtp_ehlo ehlo;
    struct smtp_peer peer;
    struct client_login *login;
    struct client_transaction t;
    unsigned sent;
};

/* client.c */
void client_await(struct smtp_client *c, enum client_state state, enum client_stage stage);
uint64_t client_limit(const struct smtp_client *c, enum client_stage stage);
const char *client_stage_name(enum client_stage stage);
/* A command line; shown in the log. */
void client_say(struct smtp_client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void client_say_secret(struct smtp_client *c, const char *verb, struct str secret);
void client_end(struct smtp_client *c, const struct smtp_fault *why, enum client_bye bye);
/* Ends with the reply at hand. */
void client_end_by_reply(struct smtp_client *c, enum smtp_fault_kind kind, enum client_bye bye);
void client_end_for(struct smtp_client *c, enum smtp_fault_kind kind, const char *status,
                    enum client_bye bye, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void client_unexpected(struct smtp_client *c); /* a reply that makes no sense here: the end */

/* client_greet.c */
void client_handshake(struct smtp_client *c); /* begins it */
void client_on_tls(struct smtp_client *c);
void client_on_greeting(struct smtp_client *c);
void client_on_ehlo(struct smtp_client *c);
void client_on_helo(struct smtp_client *c);
void client_on_starttls(struct smtp_client *c);
void client_ready(struct smtp_client *c);

/* login.c */
void client_login(struct smtp_client *c); /* if it must; then client_ready() */
void client_on_auth(struct smtp_client *c);
void client_login_retry(struct smtp_client *c);
void client_login_free(struct smtp_client *c);
/* RFC 4954 4: passwords aren't sent in the clear, but to ourselves. */
bool client_may_login(const char *ip, bool tls);

/* client_check.c: what can't be sent to this peer has its fault afterwards. */
void client_check(const struct smtp_client *c, struct client_transaction *t);

/* client_mail.c */
void client_on_envelope(struct smtp_client *c);
void client_on_nothing(struct smtp_client *c);
void client_decide(struct client_transaction *t, enum client_rcpt which,
                   const struct smtp_fault *fault);
void client_finish(struct smtp_client *c, bool dirty); /* on_sent */
void client_mail_lost(struct smtp_client *c, const struct smtp_fault *why);
void client_mail_free(struct client_transaction *t);
void client_on_refused(void *ctx); /* on_sent of a message refused without a word */

/* client_data.c */
void client_data(struct smtp_client *c); /* begins it */
void client_data_more(struct smtp_client *c);
void client_on_data(struct smtp_client *c);
void client_read_free(struct client_transaction *t);

/* client_text.c: pure */
void client_fault(struct smtp_fault *f, enum smtp_fault_kind kind, const char *status,
                  const char *stage, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void client_fault_of(struct smtp_fault *f, enum smtp_fault_kind kind, const struct smtp_answer *a,
                     const char *stage);
enum smtp_fault_kind client_kind_of(unsigned code); /* TEMP or PERM */
void client_xtext(struct str s, struct buf *out);   /* RFC 3461 4 */
void client_orcpt(struct str s, struct buf *out);   /* of "type;address": RFC 3461 4.2, 6533 3 */
void client_stuff(struct smtp_stuffer *s, struct str piece, void (*put)(void *, struct str),
                  void *ctx);
struct str client_line_end(const struct smtp_stuffer *s); /* what is missing to the end of a line */

/* client_count.c */
void client_count_open(void);
void client_count_end(bool ready, enum smtp_fault_kind kind);
void client_count_ready(const struct smtp_client *c);
void client_count_mail(const struct client_transaction *t);
#endif
