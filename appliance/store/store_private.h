/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* store_private.h - what the files of this folder share. Nobody else includes it.
 * Threads: each part says who touches it; what two threads touch is atomic or under committer.lock.
 */
#ifndef PH_STORE_STORE_PRIVATE_H
#define PH_STORE_STORE_PRIVATE_H
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/map.h"
#include "appliance/sql/sql.h"
#include "appliance/store/message.h"
#include <pthread.h>
#include <stdatomic.h>

enum body_place { BODY_INLINE, BODY_FILE };

/* ---- committer*.c */
struct committer {
    struct lane *lane;
    struct job job; /* its run() is the commit thread; returns when stopping */
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* the thread: work, or stopping */
    pthread_cond_t settled; /* store_submit_wait */
    struct list queue[STORE_CLASSES];
    bool started, stopping;
    atomic_uint urgent; /* deliveries and interactive operations that wait: bulk slices end early */
    struct store_stats stats;
    struct sql *db; /* the writer; the commit thread's while it runs */
    uint64_t wal_warned_ms;
};
int committer_start(struct store *s, struct err *err) __attribute__((warn_unused_result));
void committer_stop(struct store *s);
void committer_add(struct store *s, struct store_op *op); /* any thread; no checks */
bool committer_stopping(struct store *s); /* any thread: what can wait for the next start should */

/* ---- tx.c: an operation's view of the writer. Mailbox and account rows are read once a
 * transaction, changed in memory, and written before the commit; a member that fails gets its
 * changes undone here as its savepoint does in the database. */
struct tx_mailbox_row {
    uint64_t account;
    uint32_t uidvalidity, uidnext, recent_from, stage_first;
    uint64_t modseq, qresync_floor, messages, bytes, unseen;
    bool dirty;
};
struct tx_mailbox {
    struct list link;
    uint64_t id;
    struct tx_mailbox_row row, saved;
    unsigned loaded_by, edited_by; /* member's number */
    bool changed;                  /* watchers are told */
};
struct tx_account_row {
    uint64_t used_bytes, used_messages, quota_bytes, quota_messages, uidvalidity_next;
    uint64_t stored_bytes; /* used_bytes as the table has it */
    bool dirty, gone;
};
struct tx_account {
    struct list link;
    uint64_t id;
    struct str domain; /* whose quota it counts for; a detached one: none */
    struct tx_account_row row, saved;
    unsigned loaded_by, edited_by;
};
struct store_tx {
    struct store *store;
    struct sql *db;
    struct arena *arena; /* until the end of the transaction */
    struct map *mailboxes, *accounts;
    struct list mailbox_list, account_list;
    struct list fresh,
        sinks; /* bodies inserted by this member, and by those before it in this transaction */
    struct buf told;    /* mailbox ids for the watchers besides mailbox_list */
    struct buf news;    /* rows that other nodes shall hear of (news_log.c) */
    size_t news_before; /* those of the members before this one: bytes, rows */
    unsigned n_news, n_news_before;
    unsigned member; /* number of the operation that runs; counts up */
    uint64_t slice_min_us, slice_end_us;
};
void tx_init(struct store_tx *tx, struct store *s, struct sql *db);
void tx_fini(struct store_tx *tx);
void tx_member_begin(struct store_tx *tx);
int tx_member_end(struct store_tx *tx,
                  struct err *err); /* writes the rows of new bodies, which need their refs */
void tx_member_undo(struct store_tx *tx);
int tx_flush(struct store_tx *tx, struct err *err) __attribute__((warn_unused_result));
void tx_committed(struct store_tx *tx);
void tx_forget(struct store_tx *tx); /* end of a transaction, either way */
/* ERR_WHY_NOT_FOUND: deleted. Call _edit before changing .row. */
int tx_mailbox_get(struct store_tx *tx, uint64_t id, struct tx_mailbox **out, struct err *err)
    __attribute__((warn_unused_result));
void tx_mailbox_edit(struct store_tx *tx, struct tx_mailbox *m);
int tx_account_get(struct store_tx *tx, uint64_t id, struct tx_account **out, struct err *err)
    __attribute__((warn_unused_result));
void tx_account_edit(struct store_tx *tx, struct tx_account *a);

/* ---- body_sink.c, body_file.c, body_rows.c */
struct body_file;
struct body_sink {
    struct store *store;
    uint64_t limit, received, data_size;
    void (*on_ready)(void *ctx);
    void *ctx;
    enum {
        SINK_HEAD,
        SINK_DATA,
        SINK_ENDED,
        SINK_FLUSHING_DATA, /* then ENDED again, with data_flushed */
        SINK_FLUSHING,
        SINK_FLUSHED,
        SINK_FAILED
    } state;
    struct header_split split;
    struct buf head, data, meta; /* data: while it is inline */
    struct mime_scan *scan;
    struct body_file *file; /* NULL: inline, or it gave way */
    struct list arriving;   /* in store.arriving, until its end */
    uint64_t promised;      /* how large it will be; 0: not known */
    bool waiting;           /* BODY_WAIT was answered */
    bool data_flushed, scan_is_stale;
    struct err err;
    struct loop_defer flushed;
    void (*on_flushed)(void *ctx, const struct err *failed);
    void *flush_ctx;
    /* commit thread while an operation has it */
    uint64_t id, refs; /* refs: given by the member that inserted it, written with its row */
    unsigned inserted_by;
    bool committed;
    uint8_t sha256[32];
    struct list tx_link;
};
/* Files of large data, written on lane body while the loop goes on. Answers come on the loop, never
 * from within a call. */
struct body_file *body_file_new(struct store *s, struct body_sink *sink, uint64_t id);
enum body_put body_file_put(struct body_file *f,
                            struct str bytes); /* BODY_FAIL: *body_file_error */
int body_file_finish(
    struct body_file *f); /* 0: body_sink_file_done or _failed follows; -1: *body_file_error */
size_t body_file_memory(const struct body_file *f); /* of what isn't written yet */
const struct err *body_file_error(const struct body_file *f);
void body_file_drop(struct body_file **f, bool keep); /* keep = false: removes the file */
const uint8_t *body_file_sha256(const struct body_file *f);
/* space.c. take: n more bytes go to the file of b; false: b has failed, there is too little space
 * left. */
bool store_space_take(struct body_sink *b, size_t n);
void store_space_promise(struct body_sink *b, uint64_t size);
void body_sink_give_way(struct body_sink *b);   /* fails, and its file goes at once */
void body_sink_file_ready(struct body_sink *b); /* body_file's answers, on the loop */
void body_sink_file_done(struct body_sink *b);
void body_sink_file_failed(struct body_sink *b, const struct err *err);
int body_sink_write_row(struct store_tx *tx, struct body_sink *b, struct err *err);
enum { BODY_PATH_MAX = 40 };
void body_path(uint64_t id, char out[BODY_PATH_MAX]); /* under bodies/ */
void body_folder(uint64_t id, char out[BODY_PATH_MAX]);
/* Reference counts. A body that loses its last one goes to body_dead. */
int body_size_tx(struct store_tx *tx, uint64_t id, uint64_t *out, struct err *err)
    __attribute__((warn_unused_result));
int body_ref_tx(struct store_tx *tx, uint64_t id, struct err *err)
    __attribute__((warn_unused_result));
int body_unref_tx(struct store_tx *tx, uint64_t id, struct err *err)
    __attribute__((warn_unused_result));

/* ---- message_write.c */
int message_insert_row_tx(struct store_tx *tx, uint64_t mailbox, const struct message_info *info,
                          struct err *err) __attribute__((warn_unused_result));
/* Deletes the row and the reference; counters and expunged are the caller's. */
int message_delete_row_tx(struct store_tx *tx, uint64_t mailbox, uint32_t uid, uint64_t body,
                          struct err *err) __attribute__((warn_unused_result));
/* The same of as many as `max`, from UID `first` on; *n_out: how many there were. */
int message_delete_rows_tx(struct store_tx *tx, uint64_t mailbox, uint32_t first, size_t max,
                           size_t *n_out, struct err *err) __attribute__((warn_unused_result));
/* Expunges one visible message: row, reference, expunged, counters of mailbox and account. */
int message_expunge_one_tx(struct store_tx *tx, struct tx_mailbox *m, struct tx_account *a,
                           const struct message_info *info, uint64_t modseq, struct err *err)
    __attribute__((warn_unused_result));
/* Columns: uid, modseq, flags, idate, size, body[, prefix]. */
void message_row_read(struct sql_stmt *st, struct arena *a, bool want_prefix,
                      struct message_info *m);
/* Messages among the set (n_set 0: all) with first <= uid <= last, ascending, at most max. */
struct message_pick {
    uint64_t mailbox;
    const struct uid_range *set;
    size_t n_set;
    uint32_t first, last;
    size_t max;
    bool want_prefix;
};
int message_pick_tx(struct store_tx *tx, struct arena *a, const struct message_pick *p,
                    struct message_info **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));

/* ---- delivery.c: a message whose body is in this transaction or older, to one recipient */
int delivery_to_tx(struct store_tx *tx, uint64_t body, int64_t internal_ms,
                   struct message_recipient *r, struct err *err)
    __attribute__((warn_unused_result));

/* ---- keyword.c */
struct keyword_map { /* what the keywords of one mailbox are in another; made as they are met */
    uint64_t to, known;
    struct mailbox_keyword *list; /* of the source */
    size_t n;
    uint64_t *mask; /* in the target, for each of list */
};
/* The mask of those names that exist already. */
int keyword_known_tx(struct store_tx *tx, uint64_t id, const struct str *names, size_t n,
                     uint64_t *mask_out, struct err *err) __attribute__((warn_unused_result));
int keyword_map_tx(struct store_tx *tx, uint64_t from, uint64_t to, struct keyword_map *map,
                   struct err *err) __attribute__((warn_unused_result));
int keyword_translate_tx(struct store_tx *tx, struct keyword_map *map, uint64_t flags,
                         uint64_t *out, struct err *err) __attribute__((warn_unused_result));

/* ---- account.c, mailbox_name.c */
enum {
    MAILBOX_NAME_MAX = 1000,
    MAILBOX_LEVEL_MAX = 255,
    MAILBOX_LEVELS = 16,
    MAILBOXES_PER_ACCOUNT = 10000,
    SUBSCRIPTIONS_PER_ACCOUNT = 20000 /* they may name what isn't there (RFC 3501 6.3.6) */
};
/* Validates and brings INBOX to its one form. Out in `a`. */
int mailbox_name_check(struct arena *a, struct str name, struct str *out, struct err *err)
    __attribute__((warn_unused_result));
int mailbox_insert_tx(struct store_tx *tx, uint64_t account, struct str name,
                      enum mailbox_special special, uint64_t *id_out, struct err *err)
    __attribute__((warn_unused_result));
int mailbox_lookup_tx(struct store_tx *tx, uint64_t account, struct str name, uint64_t *id_out,
                      struct err *err)
    __attribute__((warn_unused_result)); /* name checked already; *id_out 0: none */
int mailbox_superiors_tx(struct store_tx *tx, uint64_t account, struct str name, struct err *err)
    __attribute__((warn_unused_result));
int mailbox_count_tx(struct store_tx *tx, uint64_t account, uint64_t *out, struct err *err)
    __attribute__((warn_unused_result));
/* Out of sight at once; its rows are removed by the sweeper. */
int mailbox_doom_tx(struct store_tx *tx, uint64_t id, struct err *err)
    __attribute__((warn_unused_result));
/* One slice of removing a doomed mailbox. */
int mailbox_remove_rows_tx(struct store_tx *tx, uint64_t id, bool *more_out, struct err *err)
    __attribute__((warn_unused_result));

/* ---- import.c */
int import_renew_uidvalidity_tx(struct store_tx *tx, struct tx_mailbox *m, struct err *err)
    __attribute__((warn_unused_result));

/* ---- staging.c: rows of COPY and MOVE above the visible uids */
int staging_remove_tx(struct store_tx *tx, uint64_t mailbox, bool *more_out, struct err *err)
    __attribute__((warn_unused_result));
/* Is there a COPY or MOVE into it that isn't published? Asked also of a deleted mailbox. */
int staging_exists_tx(struct store_tx *tx, uint64_t mailbox, bool *out, struct err *err)
    __attribute__((warn_unused_result));
/* The messages that a published MOVE into `target` left behind in their source. */
int staging_leave_tx(struct store_tx *tx, uint64_t target, bool *more_out, struct err *err)
    __attribute__((warn_unused_result));
int staging_recover(struct store *s, struct sql *db, struct err *err)
    __attribute__((warn_unused_result));
void staging_clean_later(struct store *s, uint64_t mailbox); /* commit thread */
/* Another node that lives has a stage in it, or empties it by a MOVE. */
int stage_of_other_tx(struct store_tx *tx, uint64_t mailbox, bool *out, struct err *err)
    __attribute__((warn_unused_result));
int stage_empties_other_tx(struct store_tx *tx, uint64_t source, bool *out, struct err *err)
    __attribute__((warn_unused_result));
int stage_take_tx(struct store_tx *tx, uint64_t mailbox, uint64_t source, struct err *err)
    __attribute__((warn_unused_result));
/* -1, ERR_WHY_BUSY: this node was given up for dead meanwhile, and its stage with it. */
int stage_check_tx(struct store_tx *tx, uint64_t mailbox, struct err *err)
    __attribute__((warn_unused_result));
int stage_release_tx(struct store_tx *tx, uint64_t mailbox, struct err *err)
    __attribute__((warn_unused_result));
int staging_clean_stale_tx(struct store_tx *tx, struct err *err)
    __attribute__((warn_unused_result));

/* ---- bodies.c: the folder of the files */
int bodies_open(struct store *s, struct err *err) __attribute__((warn_unused_result));
bool bodies_hold_files(struct store *s); /* strays.c */
/* A database without tables yet, and files of large messages: it isn't theirs, and would take them
 * for strays. */
int bodies_check_new(struct store *s, struct sql *db, struct err *err)
    __attribute__((warn_unused_result));
/* Several nodes: it is the folder that this database's other nodes have. */
int bodies_check(struct store *s, struct sql *db, struct err *err)
    __attribute__((warn_unused_result));
char *store_join(const char *dir, const char *name); /* for mem_free() */

/* ---- schema.c, ids.c, watch.c, sweeper.c, reader.c */
int schema_open(struct sql *db, bool as_is, struct err *err) __attribute__((warn_unused_result));
int ids_open(struct store *s, struct sql *db, struct err *err) __attribute__((warn_unused_result));
uint64_t ids_first_at(int64_t wall_ms); /* ids of that time and later are not below */
void watches_tell(struct store *s, const uint64_t *mailboxes, size_t n);
void watches_list(struct store *s, struct buf *out); /* ids of the mailboxes that are watched */
void watches_seen(struct store *s, uint64_t mailbox, uint64_t state);
/* Several nodes: what this transaction tells about tables is told by the others, too. */
int watch_note_tx(struct store_tx *tx, struct err *err) __attribute__((warn_unused_result));
int watch_count_up_tx(struct store_tx *tx, unsigned table, unsigned by, struct err *err)
    __attribute__((warn_unused_result));
/* The same for rows that other nodes keep in memory. */
int news_note_tx(struct store_tx *tx, struct err *err) __attribute__((warn_unused_result));
struct news_hub;
struct news_hub *news_hub_new(struct store *s, int64_t at); /* at: news_log_last() */
void news_hub_free(struct news_hub **h);
struct watch_poll; /* what other nodes change; none when the store is alone */
struct watch_poll *watch_poll_new(struct store *s);
void watch_poll_free(struct watch_poll **p);
struct node; /* node.h */
struct sweeper;
struct sweeper *sweeper_new(struct store *s);
void sweeper_free(struct sweeper **w);
void sweeper_soon(struct store *s); /* any thread: there is a doomed mailbox to remove */
struct stray_scan;
struct stray_scan *stray_scan_new(struct store *s);
bool stray_scan_slice(struct stray_scan *scan, struct store_reader *r); /* lane store; true: more */
void stray_scan_free(struct stray_scan **scan);
struct store_reader {
    struct store *store;
    struct sql *db;
    struct list link;           /* in store.readers, under readers_lock */
    atomic_uint_fast64_t since; /* mono ms of the snapshot that is held; 0: none */
};

struct store {
    const struct store_conf *conf;
    const struct store_disk *disk;
    struct loop *loop;
    char *dir, *db_path;
    int bodies_fd;
    atomic_uint_fast64_t folder_flushed; /* the last one whose entry in bodies/ is; 0: none */
    atomic_uint refs;                    /* the owner, and what is on its way to the loop */
    atomic_bool read_only;
    bool closed; /* loop */
    atomic_uint_fast64_t last_id;
    int64_t opened_at; /* wall ms */
    uint64_t first_id; /* of this process: what it makes has this one or a later one */
    struct node *node; /* among several on one database; NULL: alone */
    struct committer committer;
    struct lane *body_lane, *reader_lane;
    pthread_mutex_t readers_lock;
    struct list readers;
    struct map *watches; /* mailbox -> struct watch_group */
    struct watch_poll *watch_poll;
    struct news_hub *news; /* NULL: alone */
    int64_t news_at;       /* when it was opened */
    struct map *staging;   /* commit thread: mailboxes that a running COPY stages into */
    struct map *leaving;   /* the same for a large MOVE, by its source. Commit thread */
    struct sweeper *sweeper;
    atomic_bool sweep_soon;
    struct loop_post sweep_post;
    uint64_t space_checked_ms;
    bool space_known;
    atomic_uint_fast64_t message_limit;
    struct list arriving;   /* sinks with a file or a promise, until their end */
    int64_t room, min_free; /* over min_free: of the last look, less what has come since */
    int64_t unwritten;      /* bytes of files, still in memory */
    atomic_int_fast64_t leaving_bytes; /* of files that are to be removed */
    uint64_t told_ms;
    bool told_tight;
    atomic_bool tight;         /* the disk itself is below min_free */
    atomic_int_fast64_t spare; /* while tight: bytes free within the database */
};
extern const struct log_ctx store_log;
void store_ref(struct store *s);
void store_unref(struct store *s); /* the last one frees the memory */
struct tx_mailbox *tx_mailbox_cached(struct store_tx *tx, uint64_t id);
#endif
