/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* session.h - one client's connection: reading commands, running one at a time, sending what they
 * answer. Floor 5 (imap). Threads: loop only; the job's run() touches cmd, view and sync while
 * job_running, and the loop then doesn't. For the commands of a session itself (cmd_*.c); the
 * message commands need command.h only. Ownership: one reference for the connection, one for each
 * job, operation or callback under way. When the connection ends, conn is NULL and what was under
 * way is dropped by whoever answers last. */
#ifndef PH_IMAP_SESSION_H
#define PH_IMAP_SESSION_H
#include "appliance/base/log.h"
#include "appliance/io/conn.h"
#include "filters/guard.h"
#include "imap/command.h"
#include "imap/reader.h"
#include "imap/sync.h"

enum {
    IMAP_PREAUTH_LIMIT = 16 * 1024, /* of one command */
    IMAP_PREAUTH_TOTAL = 128 * 1024,
    IMAP_BADS_PREAUTH = 10, /* BAD in a row that end the connection */
    IMAP_BADS_MAX = 50
};

struct imap_server {
    struct imap_server_conf conf;
    struct list sessions;
    unsigned n_sessions;
    char *hostname;
    struct map *logins; /* limit.c */
    struct map *turns;  /* turns.c, by account */
    struct guard_watch watch;
    bool stopping;
    struct timer *drain;
    void (*on_stopped)(void *ctx);
    void *stopped_ctx;
    struct loop_defer stopped;
};

/* Where the command stands; what comes next is done by imap_session_run(). */
enum imap_phase {
    PHASE_NONE,
    PHASE_PARSE,
    PHASE_WORK,
    PHASE_WRITE,
    PHASE_FINISH,
    PHASE_SYNC,
    PHASE_END
};

typedef void (*imap_line_fn)(struct imap_command *cmd, struct str line, bool too_big);
typedef void (*imap_piece_fn)(struct imap_command *cmd, struct str piece);

struct imap_session {
    struct list link;
    struct imap_server *server;
    const struct imap_conf *conf;
    struct snapshot *snapshot; /* that conf lies in */
    struct conn *conn;         /* NULL: ended */
    unsigned refs;
    struct guard_client guard;
    bool admitted; /* by the guard */
    struct log_ctx log;
    const struct imap_port *port;
    enum imap_state state;

    struct imap_reader reader;
    struct imap_command *cmd; /* NULL: none */
    enum imap_phase phase;
    bool held;           /* by imap_hold() */
    bool input_paused;   /* by imap_pause_input() */
    bool full;           /* the client has to read before anything goes on: until CONN_DRAINED */
    bool append_pending; /* the literal was neither accepted nor refused yet */
    bool swallowing;     /* the refused literal is going by */
    bool idling;   /* within IDLE: changes are sent as they come. By imap_session_set_idling() */
    bool wrote;    /* this command changed something */
    bool watching; /* a long command runs: input is held, not paused, so that the client's end is
                      seen */
    bool eof;      /* the client has closed its side, with commands left to answer */
    bool start_tls, say_bye; /* once the tagged line is out */
    imap_line_fn on_line;
    imap_piece_fn on_piece;

    struct job job;
    bool writing;                /* an operation is under way */
    bool job_running, job_again; /* again: as soon as the client has taken the output */
    enum imap_work job_result;
    struct imap_turns *turns; /* whose turns the job takes; NULL: nobody's, or none runs */
    struct list turn_link;    /* stands in line while job_running */

    struct imap_view *view; /* NULL: nothing selected */
    struct imap_sync sync;
    bool syncing;
    struct store_watch watch;
    bool dirty; /* the mailbox has changed since the last sync began */

    char *account; /* folded address; NULL before login */
    uint64_t account_id;
    char *login_key;              /* of limit.c; NULL: not counted */
    unsigned failed_logins, bads; /* bads: in a row */
    uint64_t preauth_bytes, commands, idled_ms;
    uint64_t last_sent_ms;  /* output moved */
    const char *why;        /* it ended, for the log */
    struct timer *deadline; /* of the login */
    uint64_t arriving_ms;   /* when the command, or its message, began to arrive; 0: nothing does */
    struct timer *slow;     /* ends it (slow.c) */
    struct timer *timer;    /* delay after a failed login, retry when the lane is full */
    void (*on_timer)(struct imap_session *s);
};

/* ---- server.c */
void imap_server_left(struct imap_server *s); /* a session is gone */

/* ---- limit.c: sessions of one account from one address. False: there are too many already. */
bool imap_limit_enter(struct imap_session *s, struct str account);
void imap_limit_leave(struct imap_session *s);

/* ---- turns.c: s->job to the lane, or into the line of its account. -1: the lane is full. Over: at
 * the begin of done(). Cancel: true, no worker has begun it, and done() will not run. */
int imap_turn_ask(struct imap_session *s);
void imap_turn_over(struct imap_session *s);
bool imap_turn_cancel(struct imap_session *s);

/* ---- session.c: the life of a session */
void imap_session_start(const struct imap_port *port, struct conn *c);
struct imap_session *imap_session_ref(struct imap_session *s);
void imap_session_unref(struct imap_session **s);
void imap_session_end(struct imap_session *s, const char *why); /* at once */
void imap_session_bye(struct imap_session *s, const char *why,
                      const char *text);        /* "* BYE text", then ends */
void imap_session_left(struct imap_session *s); /* the client has */
void imap_session_stop(struct imap_session *s); /* BYE when the command that runs is through */
bool imap_session_secure(const struct imap_session *s); /* passwords may be sent */
void imap_session_login(struct imap_session *s, struct str account, uint64_t id);
/* The mailbox is selected; takes view, which imap_view_new() made. */
void imap_session_select(struct imap_session *s, struct imap_view *view);
void imap_session_deselect(struct imap_session *s);
void imap_session_set_idling(struct imap_session *s, bool idling);
void imap_session_after(struct imap_session *s, uint64_t ms, void (*fn)(struct imap_session *s));
void imap_session_on_change(struct store_watch *w);

/* ---- input.c: from bytes to commands */
void imap_session_read(struct imap_session *s);

bool imap_session_wants_input(const struct imap_session *s);

/* ---- slow.c: a command or message that trickles in is over at its time, even if nothing comes */
void imap_slow_look(struct imap_session *s);  /* after input was taken */
void imap_slow_again(struct imap_session *s); /* the message begins: with its own time */

/* ---- run.c: the steps of a command */
void imap_session_begin(struct imap_session *s, bool append);
void imap_session_run(struct imap_session *s);
void imap_session_resume(struct imap_session *s); /* the client has taken the output */
void imap_session_sync_idle(
    struct imap_session *s); /* IDLE: send what changed, unless that is under way */
void imap_session_say(struct imap_session *s, struct str line); /* at once, whole lines */
enum conn_room imap_session_flush(struct imap_session *s);      /* cmd->out */
void imap_command_free(struct imap_session *s);

/* ---- for commands that wait */
/* The step (parse, write or finish) that calls this isn't through: imap_go_on() ends it, later. */
void imap_hold(struct imap_command *cmd);
void imap_go_on(struct imap_command *cmd);
/* From a held write: submits the operation, then finish follows. */
void imap_write_now(struct imap_command *cmd, struct store_op *op);
/* The next line goes to on_line; from now on no view of the arguments is valid. Within a held step.
 */
void imap_want_line(struct imap_command *cmd, imap_line_fn on_line);
/* APPEND: the message comes in pieces, then on_tail gets what stands behind it. Arguments as above.
 */
void imap_accept_literal(struct imap_command *cmd, imap_piece_fn on_piece, imap_line_fn on_tail);
void imap_pause_input(struct imap_command *cmd, bool paused);

/* ---- view.c */
struct imap_view *imap_view_new(struct str name);
void imap_view_free(struct imap_view **v);
void imap_view_set_keywords(struct imap_view *v, const struct mailbox_keyword *k,
                            size_t n);                 /* copies */
void imap_view_add(struct imap_view *v, uint32_t uid); /* above all others */
size_t imap_view_recent(const struct imap_view *v);
void imap_put_view_flags(struct buf *b, const struct imap_view *v); /* FLAGS and PERMANENTFLAGS */

/* ---- commands.c, capability.c */
const struct imap_command_def *imap_command_find(struct str name);
void imap_put_capabilities(struct buf *b, const struct imap_session *s);
#endif
