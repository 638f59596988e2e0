/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav.h - the stage `clamav` inside: clamav.c (settings, its life), clamav_turns.c (messages)
 * and clamav_keeper.c (which engine there is) share it. Floor 4 (filters). Threads: loop, except
 * the runs of tasks and scans. An engine, in this process or in one of its own, is counted by those
 * who use it, on the loop; the last one gives it to the lane of the keeper, as freeing takes its
 * time. */
#ifndef PH_FILTERS_CLAMAV_H
#define PH_FILTERS_CLAMAV_H
#include "appliance/base/list.h"
#include "appliance/io/lanes.h"
#include "appliance/io/machine.h"
#include "filters/clamav_child.h"
#include "filters/clamav_database.h"
#include "filters/clamav_engine.h"
#include <stdatomic.h>

struct clamav_conf {
    const char *database, *update_databases, *update_mirrors, *update_urls;
    uint64_t check, wait, update, scan_size, file_size, scan_time, max_memory, reserve;
    int64_t recursion, files, threads;
    int action, encrypted, oversized, unavailable, isolation, poison;
    bool concurrent_reload;
};
enum clamav_wish {
    CLAMAV_WISH_PASS,
    CLAMAV_WISH_TAG,
    CLAMAV_WISH_JUNK,
    CLAMAV_WISH_QUARANTINE,
    CLAMAV_WISH_REJECT
};
enum clamav_unavailable {
    CLAMAV_UNAVAILABLE_DEFER,
    CLAMAV_UNAVAILABLE_HOLD,
    CLAMAV_UNAVAILABLE_PASS
};
enum clamav_poison {
    CLAMAV_POISON_DEFER,
    CLAMAV_POISON_HOLD,
    CLAMAV_POISON_QUARANTINE,
    CLAMAV_POISON_REJECT
};
enum clamav_isolation { CLAMAV_AUTO, CLAMAV_THREAD, CLAMAV_PROCESS };
enum clamav_state {
    CLAMAV_LOADING, /* mail waits */
    CLAMAV_READY,
    CLAMAV_WITHOUT /* and none is coming, for now: `unavailable` says what happens to mail */
};
struct clamav;
struct clamav_updater;
struct clamav_held { /* an engine in use: one of these two */
    struct clamav_engine *engine;
    struct clamav_child *child;
    struct clamav *of;
    unsigned refs;
    uint64_t growth;
    struct job job; /* to free it */
};
struct clamav_pause { /* the memory of a turn */
    struct list link;
    ph_turn turn;
    const struct clamav_conf *conf;
    uint64_t message;
    bool waiting, timed;
};
enum { CLAMAV_SUSPECTS = 64 };
struct clamav_suspect { /* a message that was scanned when the scanner died */
    uint64_t message;
    unsigned deaths; /* 0: none */
};
struct clamav {
    const struct ph_host *host;
    const struct clamav_conf *conf; /* as in force now */
    struct loop *loop;
    char *temporary, *folder;       /* for what is unpacked; of signatures */
    struct clamav_updater *updater; /* NULL: none was wanted so far */
    unsigned refs;                  /* itself: the stage, and what is on its way */
    atomic_bool closing;
    const struct runner *runner;     /* NULL: no process can be made */
    enum clamav_isolation isolation; /* as at the start */
    /* of clamav_turns.c */
    struct list waiting; /* turns without an engine */
    struct clamav_suspect suspects[CLAMAV_SUSPECTS];
    unsigned next_suspect, under_way; /* under_way: scans */
    bool alone, resuming;             /* the scan under way must be the only one */
    /* the keeper's */
    struct lane *lane;
    struct timer *timer, *unload_timer, *watch_timer;
    enum clamav_state state;
    char why[360];               /* WITHOUT */
    struct clamav_held *engine;  /* READY; NULL else */
    bool busy, again;            /* a task is under way; another look is wanted */
    bool short_of_memory;        /* why there is none, or no newer one */
    bool reloading;              /* the old one must be gone first */
    struct clamav_database next; /* what is to be loaded */
    uint64_t next_mark;
    uint64_t loaded, failed,
        seen;                    /* marks: of the engine, of what could not be loaded, last seen */
    uint64_t total;              /* memory of the machine, at the last look */
    uint64_t began_ms, delay_ms; /* of the process: its start; what to wait for after its death */
    uint64_t deaths;             /* of processes, since the start */
};

/* ---- clamav_need.c */
uint64_t clamav_need(const struct clamav *c, const struct clamav_database *d); /* octets */
/* An engine of it has made this process, or its own, grow so much. */
void clamav_need_learn(const struct clamav *c, const struct clamav_database *d, uint64_t growth);
bool clamav_need_process(const struct clamav *c, uint64_t need); /* in one of its own? */
/* ---- clamav_keeper.c */
int clamav_keeper_start(struct clamav *c, char *why, size_t room);
void clamav_keeper_look(struct clamav *c); /* now: has anything changed? */
void clamav_keeper_stop(struct clamav *c); /* blocking; no scan runs any more */
void clamav_keeper_lost(struct clamav *c, struct clamav_held *e, const char *why); /* it has died */
struct clamav_held *clamav_held_ref(struct clamav_held *e);
void clamav_held_unref(struct clamav_held **e);
struct clamav *clamav_ref(struct clamav *c);
void clamav_unref(struct clamav **c);
/* ---- clamav_turns.c */
void clamav_state_changed(struct clamav *c); /* `state` has */
void clamav_acquit_all(struct clamav *c);    /* other signatures: other results */
void clamav_on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at);
void clamav_cancel(void *inst, ph_turn turn);
#endif
