/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* command.h - one IMAP command from its line to its tagged answer, and the session it runs in.
 * Floor 5 (imap). Threads: parse, finish on the loop; work on lane store; write operations on lane
 * commit. A session has one command at a time; while work or a write runs the loop doesn't touch
 * command or view, so they need no lock.
 *
 *   parse    (loop)    arguments -> cmd->data; imap_bad() / imap_no() end the command here. The
 * cursor stands behind the command's name, before the blank work     (store)   reads with its own
 * reader, in a snapshot of its own; appends responses to cmd->out; IMAP_WORK_MORE when out reached
 * IMAP_OUT_SOFT or 20 ms passed (imap_work_time_up()): what it wrote is sent, and work is called
 * again, from its own saved position, once the client has taken it. No statement survives that
 * return write    (commit) returns the operation to submit (a struct store_op embedded in
 * cmd->data), or NULL: nothing to write. Called on the loop after work, unless work failed; the
 * session sets op->done and op->ctx; cmd->failed and cmd->err are set from the operation afterwards
 * finish   (loop)    last responses; sets the tagged line by imap_ok/no/bad. NULL, or nothing set:
 * plain OK, or imap_no_err(cmd, &cmd->err) when cmd->failed
 *
 * A step that called imap_ok/no/bad ended the command: the later ones are skipped. Arguments left
 * over after parse are BAD.
 *
 * The session then sends what changed in the selected mailbox since the last time, by this command
 * or by other sessions (sync.h: FETCH FLAGS, EXPUNGE, EXISTS, RECENT; expunges only when the
 * command's flags allow), and the tagged line. So STORE, EXPUNGE, MOVE and the \Seen of FETCH write
 * no such responses themselves: they set cmd->echo or cmd->hush at most. */
#ifndef PH_IMAP_COMMAND_H
#define PH_IMAP_COMMAND_H
#include "imap/cursor.h"
#include "imap/server.h"

struct imap_session;
enum imap_state { IMAP_PREAUTH = 1, IMAP_AUTH = 2, IMAP_SELECTED = 4, IMAP_LOGOUT = 8 };
enum {
    IMAP_USES_SEQS = 1,   /* message sequence numbers mean something: no expunge may be reported
                             during it, except as UID x   (RFC 3501 7.4.1) */
    IMAP_NEEDS_WRITE = 2, /* refused in a mailbox opened by EXAMINE */
    IMAP_NO_PIPELINE = 4, /* refused when input is already buffered behind it (STARTTLS) */
    IMAP_CLOSES =
        8, /* leaves the selected mailbox before it runs (SELECT, EXAMINE, CLOSE, UNSELECT) */
    IMAP_UID_TOO = 16 /* "UID x" exists: cmd->uid */
};
enum imap_work { IMAP_WORK_DONE, IMAP_WORK_MORE };
enum { IMAP_OUT_SOFT = 64 * 1024 };

/* The selected mailbox as this session has told its client. */
struct imap_view {
    uint64_t mailbox, account;
    struct str name;
    uint32_t uidvalidity, uidnext; /* uidnext: the first uid not yet announced */
    uint64_t modseq;               /* changes up to here are announced, but for expunges: */
    uint64_t expunge_modseq;       /* expunges up to here are announced */
    uint32_t recent_from;
    bool read_only;
    uint32_t *uids; /* ascending; sequence number i+1 <-> uids[i] */
    size_t n, cap;
    struct mailbox_keyword *keywords; /* in `arena`, replaced when new ones appear */
    size_t n_keywords;
    struct arena *arena;
};
size_t imap_view_seq(const struct imap_view *v, uint32_t uid); /* 1.. ; 0: not in the view */
/* A sequence or uid set -> ascending uid ranges that cover existing messages only. Sequence numbers
 * above the view: -1 (BAD). */
int imap_view_resolve(const struct imap_view *v, struct arena *a, const struct imap_set *set,
                      bool uid, struct uid_range **out, size_t *n_out);
void imap_put_flags(struct buf *b, const struct imap_view *v, uint32_t uid,
                    uint64_t flags); /* "(\Seen \Recent $x)" */

struct imap_command;
struct imap_command_def {
    const char *name;
    unsigned legal, flags;
    void (*parse)(struct imap_command *cmd, struct imap_cursor *args);
    enum imap_work (*work)(struct imap_command *cmd, struct store_reader *r);
    struct store_op *(*write)(struct imap_command *cmd);
    void (*finish)(struct imap_command *cmd);
};
struct imap_command {
    struct imap_session *session;
    const struct imap_command_def *def;
    struct arena *arena; /* freed with the command */
    struct str tag;
    bool uid;
    void *data;             /* the command's own struct, in the arena */
    struct imap_view *view; /* the selected mailbox; NULL when none */
    struct buf out;         /* responses on their way; sent and cleared by the session */
    bool failed;            /* of work (set by it) or of the write */
    struct err err;
    uint64_t started_us; /* of this run of work */
    uint64_t begun_us;   /* its line was there */
    bool ended;          /* imap_ok/no/bad was called */
    char status[8];
    struct str code, text;
    bool cut; /* set by work: a literal it announced can't be completed. The session drops the
                 connection, no tagged line */
    /* Set by parse, work or finish, asked by sync.h (on lane store) about each flag change it is
     * about to report: true = the client knows these flags already (STORE .SILENT). NULL: report
     * all. */
    bool (*hush)(const struct imap_command *cmd, const struct message_info *m);
    /* Set by finish: sync reports the flags of these messages, changed or not (STORE without
     * .SILENT). Ascending ranges of uids, in the arena. */
    const struct uid_range *echo;
    size_t n_echo;
    /* Set by who wants a line: the connection ends instead, the guard still knows it. */
    void (*left)(struct imap_command *cmd);
    void (*fini)(struct imap_command *cmd); /* set by parse when data holds more than the arena;
                                               called once at the end */
};
void imap_ok(struct imap_command *cmd, const char *code,
             const char *text); /* code: "READ-WRITE" or NULL; copied */
void imap_no(struct imap_command *cmd, const char *code, const char *text);
void imap_bad(struct imap_command *cmd, const char *text);
/* NO with the code that cmd->err asks for: [NONEXISTENT] [ALREADYEXISTS] [OVERQUOTA] [LIMIT]
 * [INUSE] [UNAVAILABLE] [SERVERBUG] ... (RFC 5530). Its text only if it is ERR_PERM, which is about
 * the client's request; else the log has that. */
void imap_no_err(struct imap_command *cmd, const struct err *err);
bool imap_work_time_up(const struct imap_command *cmd);
const char *imap_session_account(const struct imap_session *s); /* folded address; after login */
uint64_t imap_session_account_id(const struct imap_session *s);
struct store *imap_session_store(const struct imap_session *s);
const struct imap_conf *imap_session_conf(const struct imap_session *s);

/* The tables are in commands.c; each family exports its definitions' functions in its own header:
 * fetch.h, search.h, ... */
#endif
