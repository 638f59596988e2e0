/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* session.h - one SMTP connection: its state, the transaction under way, how it waits and answers.
 * Private to smtp/. Floor 5 (smtp). Threads: loop only. Ownership: the server's list holds a
 * reference while the connection is open, and each question that waits for an answer (directory,
 * store) holds another. Whoever gets an answer begins with smtp_session_back() and ends with unref.
 * Serial: while anything in `waits` is set the input is paused, so pipelined replies keep their
 * order by themselves. */
#ifndef PH_SMTP_SESSION_H
#define PH_SMTP_SESSION_H
#include "appliance/base/log.h"
#include "appliance/directory/sasl.h"
#include "appliance/store/queue.h"
#include "filters/chain.h"
#include "filters/guard.h"
#include "smtp/data_parser.h"
#include "smtp/line.h"
#include "smtp/params.h"
#include "smtp/server.h"

enum smtp_state {
    SMTP_CONNECTING, /* nothing said yet; implicit TLS is under way */
    SMTP_GREETED,    /* we greeted, no EHLO yet; also after STARTTLS */
    SMTP_READY,      /* EHLO or HELO given, no transaction */
    SMTP_MAIL,       /* the sender is known */
    SMTP_RCPT,       /* at least one recipient is accepted */
    SMTP_BDAT,       /* between two chunks */
    SMTP_SASL,       /* AUTH: the next line answers our challenge */
    SMTP_TLS,        /* STARTTLS: handshake */
    SMTP_DATA,       /* octets of the message, up to the dot */
    SMTP_CHUNK,      /* octets of a chunk, counted */
    SMTP_ENDING,     /* the message is complete: see deliver.c */
    SMTP_CLOSED
};
enum {
    SMTP_WAIT_WORK = 1u << 0,  /* directory or store */
    SMTP_WAIT_DELAY = 1u << 1, /* a reply is held back */
    SMTP_WAIT_SINK = 1u << 2,  /* the store writes slower than the client sends */
    SMTP_WAIT_OUTPUT = 1u << 3 /* the client doesn't read its replies */
};
enum {
    SMTP_COPIES_MAX = 1000, /* accounts, and captured recipients, of one message */
    SMTP_LOGIN_NAME_MAX = 256
};

struct smtp_list { /* of views into the transaction's arena */
    struct str *at;
    size_t n, cap;
};
struct smtp_recipient { /* as it was accepted at RCPT */
    struct str address;
    struct str *accounts, *remotes; /* who gets a copy: here; elsewhere */
    size_t n_accounts, n_remotes;
    bool *away;       /* of each account; NULL: none is */
    unsigned notify;  /* RFC 3461: SMTP_NOTIFY_..., */
    struct str orcpt; /* "rfc822;address" or empty */
    bool forwarded;   /* remotes are behind an address of ours */
    bool deleted;     /* by a filter */
};
struct smtp_transaction {
    struct arena *arena;
    uint64_t id; /* in Received, the reply and the log */
    uint64_t began_us,
        data_ms; /* when MAIL came; when the first octet of the message was due (0: not yet) */
    struct str sender; /* empty: <> */
    uint64_t declared; /* SIZE */
    bool utf8, requiretls;
    enum smtp_ret ret;
    struct str envid;
    struct str first_rcpt;
    size_t rcpts;             /* accepted */
    size_t put_off, one_more; /* answered by 4xx: refused for now; over rcpt_limit */
    struct smtp_recipient *list;
    size_t n_list, cap_list;
    bool junk, discard;   /* what the filters decided */
    enum queue_held hold; /* 0: it isn't */
    struct queue_put put;
    char outcome[320]; /* for `posthouse explain`; empty: given up before its end */
    /* of filter_message.c */
    const struct chain_action *action; /* the one under way */
    bool in_envelope;
    struct body_sink *replaced;
    size_t replaced_n;
    int fd; /* of large data, for the stages */
    bool fd_open;
    struct smtp_list accounts; /* who gets a copy, each once */
    bool withhold;             /* what is for other hosts goes into quarantine */
    struct smtp_list remotes;  /* recipients elsewhere; captured, the capture account gets theirs */
    /* of leave.c, outbound.c */
    bool sender_asked;     /* the directory, whether the sender's domain is ours */
    struct str srs_sender; /* of forwarded copies; .p NULL: the sender */
    struct queue_new leaves;
    size_t actions_before; /* of PH_OUTBOUND */
    struct body_sink *sink;
    uint64_t memory; /* that it holds, as counted in the server's */
    struct smtp_data parser;
    uint64_t chunk_left;
    bool chunk_last, chunk_ignored;
    struct smtp_refusal refused; /* decided before its end: the rest is consumed and then refused */
    unsigned step;               /* of deliver.c */
    struct address *from;        /* of the check of From */
    size_t n_from, from_at;
    struct message_delivery delivery;
};
struct smtp_session {
    struct list link;
    struct smtp_server *server;
    const struct smtp_conf *conf;
    const struct relay_conf *relay; /* NULL: mail doesn't leave */
    struct snapshot *snapshot;      /* that both lie in */
    const struct smtp_port *port;
    struct conn *conn; /* NULL: closed */
    unsigned refs, waits;
    bool slow; /* the next reply comes as late as one to an error */
    enum smtp_state state;
    struct log_ctx log;
    bool eof, esmtp,
        submitting; /* submitting: submission's rules hold (its ports, or authenticated) */
    char helo[256], tls[64];
    char *account; /* authenticated as; NULL: not */
    bool revoked;  /* that login holds no more */
    struct arena *command;
    const struct smtp_command *running;
    struct chain *chain; /* made at the first point that has a stage */
    enum ph_point point;
    void (*then)(struct smtp_session *s);   /* what follows the filters' answer, */
    void (*accept)(struct smtp_session *s); /* and when they let it pass */
    char ip[64];
    /* the login under way: who it is for, and as it was typed */
    char auth_name[SMTP_LOGIN_NAME_MAX], auth_asked[SMTP_LOGIN_NAME_MAX];
    bool auth_for_other; /* that failed because of its authorization identity */
    bool auth_failed,
        auth_open; /* auth_open: the guard has let it be tried, and waits for how it ends */
    struct smtp_line line;
    union { /* what check() found, for proceed() */
        struct smtp_mail_args mail;
        struct smtp_rcpt_args rcpt;
        struct smtp_bdat_args bdat;
        struct {
            struct str mechanism, initial;
        } auth;
        struct str text;
    } pending;
    struct str *dests,
        *remotes; /* of the RCPT under way: accounts that get a copy; recipients elsewhere */
    size_t n_dests, n_remotes;
    bool *away;          /* of each of dests; NULL: none is */
    bool forwarded;      /* they are behind an address of ours */
    bool reversed;       /* it is an SRS address of ours: a bounce on its way back */
    struct str lookup;   /* the address to look up: as given, or the one that was rewritten */
    struct str leads_to; /* by global aliases: "a@example.org, ..."; empty: there is none */
    struct smtp_aliased *aliased;
    struct sasl sasl;
    struct guard_client guard;
    bool admitted;          /* by the guard */
    struct timer *greeting; /* of greet_delay */
    struct timer *deadline; /* of deadline.c; NULL: nothing trickled so far */
    uint64_t auth_delay;    /* of the answer to the login that failed */
    uint64_t auth_began;    /* loop_now_ms() of that login: the delay is counted from there */
    uint64_t *rcpt_domains; /* hashes, of rcpt_domain_limit */
    size_t n_rcpt_domains;
    struct timer *delay;
    struct buf held; /* replies that wait for the delay */
    uint64_t timeout_ms, opened_ms, line_ms;
    unsigned errors, junk, auth_failures, messages, mails;
    unsigned counted_as; /* commands.c: whose reply comes next */
    struct smtp_transaction tx;
};
struct smtp_memory { /* memory.c */
    uint64_t limit, held;
    uint64_t warned_ms, refused; /* refused: since that warning */
    bool pressed;                /* nearly full */
};
struct smtp_server {
    struct smtp_server_conf conf;
    char hostname[256], origin[256]; /* origin: as well, or the host name */
    struct list sessions;
    unsigned open, alive;    /* connections; session structs, which may outlive them */
    struct alias_set *fixed; /* aliases of the settings */
    struct map *rooms;       /* quota.c: what accounts have left */
    unsigned notices;        /* notice.c: under way */
    struct smtp_memory memory;
    uint64_t full_said_ms[2]; /* hold.c: when it was said that quarantine, held mail is full */
    struct guard_watch watch;
    struct buf scratch;
    bool stopping, stopped;
    struct timer *drain;
    struct loop_defer defer;
    void (*on_stopped)(void *ctx);
    void *stop_ctx;
};

struct smtp_session *smtp_session_ref(struct smtp_session *s);
void smtp_session_unref(struct smtp_session **s);
void smtp_session_enter(struct smtp_session *s, enum smtp_state state);
void smtp_session_retime(struct smtp_session *s); /* its patience may have changed */
const char *smtp_state_name(enum smtp_state state);
void smtp_session_wait(struct smtp_session *s, unsigned wait);
void smtp_session_resume(struct smtp_session *s,
                         unsigned wait); /* goes on with held input, later */
/* For the callback of a question asked with SMTP_WAIT_WORK: false when the connection is gone. */
bool smtp_session_back(struct smtp_session *s);
/* Ends it once the replies are sent. `why` for the log. */
void smtp_session_close(struct smtp_session *s, const char *why);
void smtp_session_close_421(struct smtp_session *s, const char *status, const char *text,
                            const char *why);
void smtp_session_forget_client(struct smtp_session *s); /* RFC 3207 4.2: after STARTTLS */
bool smtp_session_in_message(const struct smtp_session *s);

/* session_reply.c. Queues one reply; a command gets exactly one. 5xx counts as an error: from
 * soft_errors on replies come later and later, at hard_errors the connection ends. */
void smtp_reply(struct smtp_session *s, unsigned code, const char *status, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void smtp_reply_after(struct smtp_session *s, uint64_t ms, unsigned code, const char *status,
                      const char *text);
/* The same for a refusal, with a line in the log: verb and about whom. */
void smtp_refuse_command(struct smtp_session *s, const char *verb, struct str about,
                         const struct smtp_refusal *why);
void smtp_count_error(struct smtp_session *s);
void smtp_count_slow_error(struct smtp_session *s); /* whose reply isn't 5xx */

/* deadline.c: command_timeout of a line, message_timeout of a message, which are over even if
 * nothing comes. arm: one of them has begun (line_ms, tx.data_ms), or goes on. */
void smtp_deadline_arm(struct smtp_session *s);
bool smtp_deadline_over(struct smtp_session *s); /* true: the session is closed */
void smtp_deadline_free(struct smtp_session *s);

/* transaction.c */
void smtp_transaction_begin(struct smtp_session *s);
void smtp_transaction_reset(struct smtp_session *s);                       /* forgets all of it */
bool smtp_list_add(struct arena *a, struct smtp_list *l, struct str item); /* once; false: full */
struct smtp_recipient *smtp_recipient_add(struct smtp_session *s, const struct smtp_recipient *r);
void smtp_envelope_rebuild(struct smtp_session *s); /* accounts, remotes: of who is left */
/* -1: there is no room for it just now, on the disk or in memory; the message may begin all the
 * same, and is refused at its end. */
int smtp_receive_room(struct smtp_session *s, struct smtp_refusal *why);
void smtp_receive_begin(struct smtp_session *s, bool dots);
void smtp_receive_put(void *session, struct str run); /* octets of the message, to the store */
void smtp_receive_end(struct smtp_session *s);        /* tx.refused: the store gave up meanwhile */

/* memory.c */
void smtp_memory_init(struct smtp_server *s);
void smtp_memory_note(struct smtp_session *s); /* tx.sink has changed, or is gone */
void smtp_memory_keep(struct smtp_session *s); /* it has grown: messages may give way, this too */
int smtp_memory_room(struct smtp_session *s,
                     struct smtp_refusal *why); /* -1: none for this client's messages just now */

/* cmd_data.c, cmd_bdat.c, cmd_auth.c: input that isn't a command */
void smtp_data_input(struct smtp_session *s, struct str in);
void smtp_chunk_input(struct smtp_session *s, struct str in);
void smtp_auth_line(struct smtp_session *s, struct str line);
/* The exchange, in which the client's word is awaited, comes to no end. */
void smtp_auth_left(struct smtp_session *s);
struct str smtp_auth_words(struct smtp_session *s); /* mechanisms, in s->command */

/* deliver.c: the message is complete; answers it */
void smtp_deliver(struct smtp_session *s);

/* filter.c: lets the filter stages of a point look; `then` follows, at once or later, unless they
 * refuse, which is answered and undone here. */
void smtp_filter(struct smtp_session *s, enum ph_point point, void (*then)(struct smtp_session *s));
void smtp_filter_command(
    struct smtp_session *s); /* the point of the command that runs, then its accept() */
void smtp_filter_transaction(struct smtp_session *s); /* one begins */
void smtp_filter_forget(struct smtp_session *s);      /* it ends: its verdicts are kept */
/* The client's name in the DNS, that leads back: stage rdns. Empty: none, or not asked for. */
struct str smtp_filter_client_name(const struct smtp_session *s);
const char *smtp_filter_route(const struct smtp_session *s); /* ph_view.route at PH_OUTBOUND */
/* What a stage has told of the transaction, or else of the session; .p NULL: nothing. */
struct str smtp_filter_fact(const struct smtp_session *s, struct str name);
/* Its sender's domain says that it isn't from there: nothing is answered to it. */
bool smtp_filter_disowned(const struct smtp_session *s);
bool smtp_filter_drops(const struct smtp_session *s); /* the last point: acknowledge and drop */
/* Fills in what stages see; strings in the session or its arenas. */
void smtp_filter_view(struct smtp_session *s, enum ph_point point, struct ph_view *v);
/* Runs a point; true: answered, see chain_answer(). Else on_answer(s) comes. No stage: s->chain is
 * NULL or there is nothing in the answer. */
bool smtp_filter_run(struct smtp_session *s, enum ph_point point, const struct chain_message *m,
                     void (*on_answer)(struct smtp_session *s));

/* relay.c: mail for other hosts */
bool smtp_is_known(const struct smtp_session *s);   /* logged in, or may send without that */
bool smtp_may_relay(const struct smtp_session *s);  /* and who is captured */
bool smtp_can_leave(const struct smtp_session *s);  /* it is sent, or captured */
bool smtp_offers_dsn(const struct smtp_session *s); /* RFC 3461 */
/* May mail for this address be queued? False: why. */
bool smtp_has_route(struct smtp_session *s, struct str address, struct err *why);
/* Where its mail would go, for people. */
struct str smtp_route_text(struct smtp_session *s, struct str address);
/* SMTP_LOCAL: the arguments of MAIL or RCPT with a domain where the address has none. */
struct str smtp_qualify(struct smtp_session *s, struct str args);

/* confirm.c: the message is committed: tells its sender of those who have their copy and asked for
 * that (NOTIFY=SUCCESS). */
void smtp_confirm(struct smtp_session *s);
void smtp_vacation(struct smtp_session *s); /* vacation.c: likewise */

/* alias.c: the recipient (s->lookup) stands for others by a global alias: then() is told, now or
 * later, where these lead, as the directory would. False: it stands for itself. */
struct directory_answer;
typedef void (*smtp_resolved_fn)(struct smtp_session *s, const struct directory_answer *a);
bool smtp_alias_resolve(struct smtp_session *s, smtp_resolved_fn then);

/* quota.c: have these accounts (s->dests) room for `size` more octets? */
enum smtp_room {
    SMTP_ROOM,
    SMTP_ROOM_ASKED /* on_room comes later */,
    SMTP_ROOM_UNKNOWN /* try later */
};
enum smtp_room_verdict {
    SMTP_ROOM_OK,
    SMTP_ROOM_FULL,
    SMTP_ROOM_NEVER /* larger than all it may hold */,
    SMTP_ROOM_FAILED
};
typedef void (*smtp_room_fn)(struct smtp_session *s, enum smtp_room_verdict verdict);
enum smtp_room smtp_quota_ask(struct smtp_session *s, uint64_t size, smtp_room_fn on_room);
void smtp_quota_forget(struct smtp_session *s); /* what is known of its recipients */
void smtp_quota_free(struct smtp_server *server);
#endif
