/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* selftest.h - what the parts of `posthouse selftest crash` share: messages that follow from their
 * number, a load that delivers them to a store, an audit that reads them back, and a record of what
 * was written and flushed meanwhile.
 * Floor 6 (app). Threads: main, which turns the loop; a recorder is called on the store's threads.
 * Blocking. */
#ifndef PH_APP_SELFTEST_H
#define PH_APP_SELFTEST_H
#include "appliance/base/buf.h"
#include "appliance/store/store.h"

enum { SELFTEST_PROBLEM = 320 };

bool selftest_stopped(void); /* SIGINT or SIGTERM came: end soon, and clean up */
void selftest_remove(const char *path);
uint64_t selftest_random(uint64_t *state);
char *selftest_path(const char *folder, const char *name); /* mem_free */
/* Opens a store with a loop of its own, or ends with everything back as it was. */
int selftest_open(const char *folder, const struct store_conf *conf, struct loop **l,
                  struct store **out, struct err *err) __attribute__((warn_unused_result));
void selftest_close(struct loop **l, struct store **s);

/* ---- selftest_load.c */

/* Text and recipients follow from the number, so that nothing must be remembered to compare. Some
 * are large enough for a file of their own, some have two recipients. */
enum { SELFTEST_ACCOUNTS = 4, SELFTEST_RECIPIENTS = 2 };
void selftest_message(uint64_t number, struct buf *out);
size_t selftest_recipients(uint64_t number, unsigned out[SELFTEST_RECIPIENTS]);
void selftest_address(unsigned account, char out[64]);

struct selftest_load {
    struct loop *loop;
    struct store *store;
    uint64_t next, end; /* numbers to deliver: next <= n < end */
    unsigned window;    /* so many at once */
    bool bursts;        /* a few at once, then nothing until all are answered */
    bool early;         /* control: acknowledges each message when the one before it is begun */
    void (*on_accepted)(void *ctx, uint64_t number); /* when a client would get its 250 */
    void *ctx;
};
/* Returns when all are answered, or at the first delivery that failed. */
int selftest_load(struct selftest_load *load, struct err *err) __attribute__((warn_unused_result));

/* ---- selftest_audit.c */

struct selftest_audit {
    const uint8_t *accepted; /* by number, below `end`: was acknowledged */
    uint64_t end;            /* what has this number or a higher one was never sent */
    /* found */
    uint64_t present, lost, doubled, damaged, halved, unsound;
    char problem[SELFTEST_PROBLEM]; /* the first, in words */
};
/* Opens the store as a start after a crash does and looks at everything in it. False: problems were
 * found; a store that can't be opened is one. */
bool selftest_audit(const char *folder, const struct store_conf *conf, struct selftest_audit *a);
/* Adds what one audit found; `when` is put before the first problem. */
void selftest_audit_add(struct selftest_audit *sum, const struct selftest_audit *one,
                        const char *when);
uint64_t selftest_audit_problems(const struct selftest_audit *a);

/* ---- selftest_record.c */

enum record_kind { RECORD_WRITE, RECORD_TRUNCATE, RECORD_CREATE, RECORD_FLUSH, RECORD_ACCEPTED };
struct record_event {
    enum record_kind kind;
    unsigned file;   /* index in files */
    uint64_t at;     /* WRITE: offset; TRUNCATE: size; FLUSH: events before it that it covers;
                        ACCEPTED: number */
    size_t n, bytes; /* WRITE: length, and where in record.bytes */
};
struct record_file {
    char *path;            /* below the store's folder */
    unsigned folder;       /* index of the one that holds it; its own: the store's folder */
    bool is_folder, there; /* there: when recording began, flushed, with this content */
    struct buf content;
    uint64_t size; /* now */
};
struct record;
const struct store_disk *record_disk(struct record *r); /* for store_conf.disk */
/* `folder`: where the store is, or will be. */
int record_new(const char *folder, struct record **out, struct err *err)
    __attribute__((warn_unused_result));
void record_free(struct record **r);
/* Takes what is on the disk now as flushed and begins; nobody may write meanwhile. */
int record_begin(struct record *r, struct err *err) __attribute__((warn_unused_result));
void record_accepted(struct record *r, uint64_t number);
void record_end(struct record *r); /* what comes later isn't recorded */
const struct record_event *record_events(const struct record *r, size_t *n_out);
const struct record_file *record_files(const struct record *r, size_t *n_out);
const char *record_bytes(const struct record *r, const struct record_event *e);

/* ---- The three tests. -1: could not be run (no room, not allowed); else what was found. */

struct selftest {
    char *folder; /* ours, empties itself with selftest_remove */
    struct store_conf conf;
    uint64_t seconds;
};
struct selftest_kill {
    uint64_t rounds, accepted, ms;
    struct selftest_audit audit; /* sums of all rounds */
    bool control_noticed;
};
int selftest_kill(struct selftest *t, struct selftest_kill *out, struct err *err)
    __attribute__((warn_unused_result));

enum { SELFTEST_CONTROLS = 4 };
struct selftest_images {
    uint64_t images, accepted, flushes, flushes_cut,
        checkpoints; /* checkpoints: flushes of the database file itself */
    struct selftest_audit audit;
    struct selftest_control {
        const char *name;
        bool noticed;
    } controls[SELFTEST_CONTROLS];
};
int selftest_images(struct selftest *t, struct selftest_images *out, struct err *err)
    __attribute__((warn_unused_result));

struct selftest_flush {
    uint64_t samples, median_us, p99_us;
    bool suspicious;
};
int selftest_flush(struct selftest *t, struct selftest_flush *out, struct err *err)
    __attribute__((warn_unused_result));
#endif
