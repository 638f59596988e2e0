/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* server.h - the SMTP server: reception (port 25) and submission (465, 587). RFC 5321, 6409, 8314.
 * Floor 5 (smtp). Threads: loop only.
 * A session lives on one conn from listener's on_accept; its commands are serial. Mail for our
 * accounts goes straight into the mailboxes; 250 after DATA means: committed (store.h). */
#ifndef PH_SMTP_SERVER_H
#define PH_SMTP_SERVER_H
#include "appliance/base/snapshot.h"
#include "appliance/directory/directory.h"
#include "appliance/io/listener.h"
#include "appliance/io/tls.h"
#include "appliance/store/store.h"

struct smtp_conf {          /* section "smtp"; one immutable snapshot */
    const char *hostname;   /* in the greeting, EHLO reply, Received; "" = the system's */
    const char *banner;     /* what follows the name in the greeting */
    uint64_t message_limit; /* SIZE */
    int64_t rcpt_limit;
    int64_t mail_limit;        /* transactions of one session; 0: no limit */
    int64_t rcpt_domain_limit; /* domains of recipients in one session; 0: no limit */
    uint64_t greet_delay;      /* not on submission ports */
    int early_talker;          /* enum smtp_early_talker: input before the greeting */
    int unknown_local_code;    /* enum smtp_unknown_local */
    uint64_t line_limit;       /* longest text line in a message */
    bool long_lines;           /* accept lines over 998 octets up to line_limit (else 554 5.6.0) */
    uint64_t command_timeout, data_timeout, message_timeout;
    int64_t received_limit; /* loop detection: Received fields */
    int64_t field_limit;    /* header fields of any name */
    uint64_t head_limit;    /* octets of all of them, from strangers */
    int64_t soft_errors, hard_errors;
    uint64_t error_delay;
    int64_t junk_commands; /* commands without mail before each counts as an error */
    int64_t auth_failures;
    uint64_t auth_delay;
    bool sender_check;          /* submission: the envelope sender must belong to the account */
    bool from_check;            /* submission: and so must the addresses in From */
    const char *drop_fields;    /* list: submission: names of header fields that are removed */
    const char *global_aliases; /* list: "name->target", besides those of the store */
};
enum smtp_early_talker { SMTP_EARLY_IGNORE, SMTP_EARLY_REFUSE };
enum smtp_unknown_local { SMTP_UNKNOWN_550, SMTP_UNKNOWN_450 };
extern const struct ph_setting smtp_settings[];

enum smtp_role {
    SMTP_RECEPTION,  /* port 25: no AUTH; our recipients only */
    SMTP_SUBMISSION, /* AUTH required under TLS; any recipient; Date and Message-ID are added */
    /* dev's port 1025: takes mail for anybody without AUTH, into the capture account when not ours;
     * offers AUTH and STARTTLS too. An unknown address in one of our own domains is refused all the
     * same. Once authenticated, a session is one of submission. */
    SMTP_OPEN,
    /* An AF_UNIX socket (sendmail): whoever may connect may send, to anybody, from any address,
     * without AUTH. Submission's rules hold; an address without a domain gets `origin`. */
    SMTP_LOCAL
};
struct filters;
struct guard;
struct live;
struct relay_conf;
struct srs_conf;
struct smtp_server;
struct smtp_server_conf {
    const struct smtp_conf *smtp;
    struct snapshot *snapshot; /* that smtp lies in; NULL: it lives as long as the server */
    struct loop *loop;
    struct store *store;
    struct directory *directory;
    struct tls_ctx *tls; /* for STARTTLS; NULL: not offered, and no AUTH on plain connections */
    /* The sealed test appliance: the folded address of an account of the store that gets what would
     * leave. With `relay` a header field says which way it would have gone. NULL: mail leaves. */
    const char *capture_account;
    /* Mail for other hosts (lies in `snapshot` as well): accepted from who has logged in, from
     * relay->trusted, on SMTP_LOCAL, for our own aliases that lead there, and for bounces to
     * senders that srs made; kept in the store's queue in the transaction of the local copies. NULL
     * or not enabled: refused (550 5.7.1; to who may relay with the reason that sending out isn't
     * set up). */
    const struct relay_conf *relay;
    const struct srs_conf *srs; /* of forwarded mail; NULL: senders stay as they are. Lives as long
                                   as the server */
    const char *origin;         /* see SMTP_LOCAL; NULL or "": the host name. Copied */
    /* Rows for this site of the queue are committed: once for each site of a message. NULL: none */
    void (*on_queued)(void *ctx, struct str site);
    /* ETRN: try what waits for this domain now; how many messages, 0: it isn't known. NULL: ETRN
     * isn't offered */
    unsigned (*on_etrn)(void *ctx, struct str domain);
    void *ctx;
    struct filters *filters; /* the stages that look at mail; NULL: none */
    struct live *aliases;    /* global ones (filters/alias_rows.h); NULL: none */
    struct guard *guard;     /* who may connect and log in (filters/guard.h); NULL: everybody */
};
struct smtp_server *smtp_server_new(const struct smtp_server_conf *conf);
/* Other settings and another certificate, for the sessions that begin from now on; those that are
 * open keep what they began with (but a STARTTLS to come takes the new certificate). */
void smtp_server_set_conf(struct smtp_server *s, const struct smtp_conf *conf,
                          const struct relay_conf *relay, struct snapshot *snapshot,
                          struct tls_ctx *tls);
/* What a listener of this role calls in its on_accept (listener_conf.ctx is the struct smtp_port,
 * which lives as long as the server). */
struct smtp_port {
    struct smtp_server *server;
    enum smtp_role role;
    bool no_starttls;  /* a port that never has TLS, and so no AUTH */
    bool implicit_tls; /* words for a client that isn't let in can't be said */
    struct directory_port logins;
    const char *name; /* "smtp", "submission", "submissions": for the log */
};
void smtp_on_accept(void *smtp_port, struct conn *c);
bool smtp_admit(void *smtp_port, const char *ip, struct listener_farewell *bye); /* its admit */
/* The account's login holds no more ("@domain": all of that domain): its sessions get 421, those
 * within a message after the reply to it. */
void smtp_server_end_account(struct smtp_server *s, struct str account);
unsigned smtp_server_sessions(const struct smtp_server *s);
/* Ends all sessions: those within a message get drain_ms to finish, others 421 at once. on_stopped
 * on the loop when none is left. */
void smtp_server_stop(struct smtp_server *s, uint64_t drain_ms, void (*on_stopped)(void *ctx),
                      void *ctx);
void smtp_server_free(
    struct smtp_server **s); /* after on_stopped, or when there never was a session */
#endif
