/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav.h - the stage `clamav` inside: clamav.c (turns) and clamav_keeper.c (which engine there
 * is) share it. Floor 4 (filters). Threads: loop, except the runs of tasks and scans. An engine is
 * counted by those who use it, on the loop; the last one gives it to the lane of the keeper, as
 * freeing takes its time. */
#ifndef PH_FILTERS_CLAMAV_H
#define PH_FILTERS_CLAMAV_H
#include "appliance/base/list.h"
#include "appliance/io/lanes.h"
#include "filters/clamav_database.h"
#include "filters/clamav_engine.h"
#include "filters/clamav_memory.h"
#include <stdatomic.h>

struct clamav_conf {
    const char *database, *update_databases, *update_mirrors, *update_urls;
    uint64_t check, wait, update, scan_size, file_size, scan_time, max_memory, reserve;
    int64_t recursion, files;
    int action, encrypted, oversized, unavailable;
    bool concurrent_reload;
};
enum clamav_state {
    CLAMAV_LOADING, /* mail waits */
    CLAMAV_READY,
    CLAMAV_WITHOUT /* and none is coming, for now: `unavailable` says what happens to mail */
};
struct clamav;
struct clamav_updater;
struct clamav_held { /* an engine in use */
    struct clamav_engine *engine;
    struct clamav *of;
    unsigned refs;
    uint64_t growth;
    struct job job; /* to free it */
};
struct clamav {
    const struct ph_host *host;
    const struct clamav_conf *conf; /* as in force now */
    struct loop *loop;
    char *temporary, *folder;       /* for what is unpacked; of signatures */
    struct clamav_updater *updater; /* NULL: none was wanted so far */
    unsigned refs;                  /* itself: the stage, and what is on its way */
    atomic_bool closing;
    struct list waiting; /* of clamav.c: turns without an engine */
    /* the keeper's */
    struct lane *lane;
    struct timer *timer, *unload_timer;
    enum clamav_state state;
    char why[360];               /* WITHOUT */
    struct clamav_held *engine;  /* READY; NULL else */
    bool busy, again;            /* a task is under way; another look is wanted */
    bool short_of_memory;        /* why there is none, or no newer one */
    bool reloading;              /* the old one must be gone first */
    struct clamav_database next; /* what is to be loaded */
    uint64_t next_mark;
    uint64_t loaded, failed,
        seen; /* marks: of the engine, of what could not be loaded, last seen */
};

/* ---- clamav_keeper.c */
int clamav_keeper_start(struct clamav *c, char *why, size_t room);
void clamav_keeper_look(struct clamav *c); /* now: has anything changed? */
void clamav_keeper_stop(struct clamav *c); /* blocking; no scan runs any more */
struct clamav_held *clamav_held_ref(struct clamav_held *e);
void clamav_held_unref(struct clamav_held **e);
struct clamav *clamav_ref(struct clamav *c);
void clamav_unref(struct clamav **c);
/* ---- clamav.c: `state` has changed. */
void clamav_state_changed(struct clamav *c);
#endif
