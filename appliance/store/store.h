/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* store.h - the message store: opening it, who reads, who writes, who is told.
 * Floor 3 (store). Threads: as said at each function.
 * Reading: jobs on lane `store`; each worker owns a struct store_reader (a read connection). No
 * statement or read transaction survives the return of a job: work resumes by key (last uid,
 * offset). Writing: operations (struct store_op) run on lane `commit`, the only writer: group
 * commit, one savepoint each. An operation is answered after the commit that made it durable; until
 * then nothing may be acknowledged. Ids are 64-bit, time-ordered, never reused, below 2^63: 42 bit
 * ms since 2020, 6 bit node, 16 bit counter. */
#ifndef PH_STORE_STORE_H
#define PH_STORE_STORE_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"
#include "appliance/base/settings.h"
#include "appliance/io/lanes.h"
#include <sys/types.h>

struct store;
struct sql;
struct sql_server;
struct store_reader; /* a read connection, owned by one worker of lane store */
struct store_tx;     /* the writer's connection inside one operation */

/* How bytes of large texts reach the disk; `path` is below bodies/, "" is bodies/ itself. Calls as
 * the kernel's, with errno. Lane body, two at once. */
struct store_disk {
    const char *vfs; /* of the database: sql_conf.vfs */
    void *ctx;
    int (*make_folder)(void *ctx, int bodies_fd, const char *path);
    int (*create)(void *ctx, int bodies_fd, const char *path);
    ssize_t (*write)(void *ctx, int fd, const char *path, const void *p, size_t n);
    int (*flush)(void *ctx, int fd, const char *path, bool data_only);
    int (*space)(void *ctx, uint64_t *free_out); /* NULL: the kernel's. Any thread */
};
extern const struct store_disk store_disk_kernel;

struct store_conf {
    uint64_t message_limit; /* not a setting: the largest message that anything here takes in */
    uint64_t min_free;      /* 0: store_min_free() of that */
    uint64_t inline_limit;  /* data up to this is a row, larger data a file */
    int64_t readers;        /* workers of lane store */
    const char *bodies;     /* folder of the files; "" or NULL: bodies/ in the store's */
    uint64_t dead_grace;    /* how long an unreferenced body is kept */
    int sync;               /* enum sql_sync; off is for tests that must fail */
    uint64_t quota_bytes;   /* of an account without an own value; 0 = unlimited */
    int64_t quota_messages;
    /* Not a setting. The database is there; NULL: store.db in the store's folder */
    const struct sql_server *server;
    bool as_is;  /* not a setting: for commands that only read: nothing is made or brought up to
                    date;  -1 unless all is there */
    bool shared; /* not a setting: other processes may have the same database open, as this one;
                    with a server they always may */
    /* Not a setting. NULL: the kernel's; `posthouse selftest` records what is written and flushed
     */
    const struct store_disk *disk;
};
extern const struct ph_setting store_settings[];

/* Opens or creates the store in folder `dir` (store.db, unless in `conf->server`; bodies/); takes
 * no lock (app holds the folder's). Recovers: staged rows of an unfinished bulk operation are
 * removed. Blocking; before the loop runs. The lanes commit, body and store start here, so call it
 * after the sandbox is up. `conf` must live as long as the store. */
int store_open(const char *dir, const struct store_conf *conf, struct loop *l, struct store **out,
               struct err *err) __attribute__((warn_unused_result));
/* Commits what waits, answers it, stops the lanes. The loop must be able to turn afterwards to
 * deliver the answers. */
void store_close(struct store **s);
const struct store_conf *store_conf(const struct store *s);
const char *store_folder(const struct store *s); /* the one it was opened in */

/* ---- Reading. Loop: submit a job whose run() gets a struct store_reader * as its worker (NULL:
 * database not readable). */
struct lane *store_lane(struct store *s);
/* Groups the reads of one piece of work into one consistent snapshot; end it before the job
 * returns. */
int store_read_begin(struct store_reader *r, struct err *err) __attribute__((warn_unused_result));
void store_read_end(struct store_reader *r);
/* For commands without a loop (posthouse mailbox list): a reader of one's own on the calling
 * thread. */
int store_reader_open(struct store *s, struct store_reader **out, struct err *err)
    __attribute__((warn_unused_result));
void store_reader_close(struct store_reader **r);
struct sql *
store_reader_sql(struct store_reader *r); /* for tables of other rooms in this database */

/* ---- Writing. */
enum store_class { STORE_DELIVERY, STORE_INTERACTIVE, STORE_BULK, STORE_CLASSES };
enum store_result {
    STORE_DONE,
    STORE_AGAIN /* this slice is done, run me again in a later batch, as STORE_BULK; not answered
                   yet */
};
struct store_op {
    /* Commit thread, inside a savepoint: STORE_DONE / STORE_AGAIN, or -1 with op->err (this member
     * alone is undone). If the whole batch's transaction failed before it committed, it runs once
     * more with `rerun` set: what it did to the database in the call before is undone, so it must
     * not have consumed its input. An op of several slices looks at store_tx_slice_over() and keeps
     * a copy of where a slice began, to go back to on `rerun`. */
    int (*run)(struct store_op *op, struct store_tx *tx);
    /* Loop, exactly once, after the commit: op->failed and op->err tell. Not called for sync
     * submissions. */
    void (*done)(struct store_op *op);
    enum store_class cls;
    bool upserts; /* replaces rows by key: another node that inserts the same one in this very
                     moment (ERR_WHY_EXISTS) is a reason to run again, not to fail */
    bool failed, rerun;
    struct err err;
    void *ctx; /* the submitter's own, for done() */
    /* private */
    struct list link;
    bool again, waited_for, settled;
    void (*on_settled)(struct store *s,
                       struct store_op *op); /* commit thread, before it is answered */
};
struct sql *store_tx_sql(struct store_tx *tx); /* the writer's connection; rows of mailbox and
                                                  account are cached: not for them */
struct store *store_tx_store(struct store_tx *tx);
bool store_tx_slice_over(struct store_tx *tx); /* time to return STORE_AGAIN */
void store_tx_changed(struct store_tx *tx,
                      uint64_t mailbox); /* tell its watchers after the commit */

/* Loop. 0: accepted, done() will come. -1: the committer's queue is full or the store is read-only:
 * op->err says, done() won't come. */
int store_submit(struct store *s, struct store_op *op) __attribute__((warn_unused_result));
/* Any other thread (admin commands on lane misc, or a program without a loop): waits for the
 * commit. */
int store_submit_wait(struct store *s, struct store_op *op) __attribute__((warn_unused_result));
/* Loop, which stands still for so long: until what store_submit() accepted is committed or has
 * failed. done() still comes. */
void store_wait(struct store *s, const struct store_op *op);

/* Whole-store check, for commands: counters, references, uids, rows against files. Each problem is
 * one line. */
int store_check(struct store_reader *r, void (*on_problem)(void *ctx, const char *text), void *ctx,
                struct err *err) __attribute__((warn_unused_result));
/* Removes what is due now instead of at the next round (commands, tests): dead bodies, forgotten
 * expunges, stray files. Loop; on_swept(ctx) later on the loop. */
void store_sweep(struct store *s, void (*on_swept)(void *ctx), void *ctx);

/* Free space is below min_free, whatever is arriving: refuse new mail (452, NO); expunging still
 * works. Loop; looked at again after 20 ms. */
bool store_low_on_space(struct store *s);
/* The same for a message of that size (0: not known): is there room for it besides what messages
 * that are arriving were announced to hold? */
bool store_has_room(struct store *s, uint64_t size);
bool store_read_only(const struct store *s); /* a flush failed (EIO): no writes until restart */

uint64_t store_new_id(struct store *s); /* any thread */
/* Ids given at that time and later are not below this one. Any thread. */
uint64_t store_id_at(int64_t wall_ms);

/* ---- Several processes ("nodes") on one database. What one has taken for itself carries its owner
 * number in the database, and is free for others once that node has gone. Any thread. */
bool store_shared(const struct store *s);
/* Who this node is: changes when it was away so long that others gave it up. 0: nobody for the
 * moment, what it had taken may be taken by others; or the store isn't shared. */
uint64_t store_owner(const struct store *s);

/* ---- Being told. Loop: on_change is called on the loop after each commit that changed the mailbox
 * (new, flags, expunged, deleted), after the answers to the operations of that commit. */
enum {                        /* instead of a mailbox */
       STORE_WATCH_QUEUE = 0, /* held mail was released, and leaves; of this node */
       STORE_WATCH_TABLES =
           1, /* and up, below STORE_WATCH_ROWS: tables of other rooms; of all nodes */
       STORE_WATCH_ROWS = 14,  /* rows that other nodes keep in memory (news.h) */
       STORE_WATCH_NODES = 15, /* another process ended, or this one is another node now */
       STORE_WATCH_MAILBOXES = 16
};
struct store_watch {
    struct list link; /* private */
    void (*on_change)(struct store_watch *w);
    uint64_t mailbox;
};
void store_watch_add(struct store *s, uint64_t mailbox, struct store_watch *w);
void store_watch_del(struct store *s, struct store_watch *w);

struct store_stats { /* any thread */
    uint64_t batches, ops, failed, commit_us_total, commit_us_max, batch_ops_max,
        waiting[STORE_CLASSES];
    int64_t wal_bytes;
};
void store_stats(struct store *s, struct store_stats *out);
/* Free space of the bodies' disk, and what store_low_on_space() compares it with. -1: unknown. */
int store_space(struct store *s, uint64_t *free_out, uint64_t *min_free_out);
uint64_t store_min_free(const struct store_conf *conf, uint64_t message_limit);
void store_set_message_limit(struct store *s, uint64_t largest); /* after a reload */

/* How much there is. Counted a slice at a time by a job of any reader, until done; zero it first.
 */
struct store_sizing {
    struct store_sizes {
        uint64_t accounts, mailboxes, messages, message_bytes, bodies, body_bytes;
    } sizes;
    bool done;
    /* private */
    unsigned table;
    int64_t last;
};
int store_size_slice(struct store_reader *r, struct store_sizing *z, struct err *err)
    __attribute__((warn_unused_result));
#endif
