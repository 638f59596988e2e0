/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_rows.h - the keys that domains sign with: table `dkim_key` of the store's database.
 * Floor 4 (filters). Threads: reading on a thread with a connection; changes are an operation of
 * the store. After each of them the watchers of DKIM_ROWS_WATCH are told (store_watch_add), so that
 * a change by anybody takes effect at once. Private keys are in no log and in no error's text. */
#ifndef PH_FILTERS_DKIM_ROWS_H
#define PH_FILTERS_DKIM_ROWS_H
#include "appliance/store/store.h"
#include "filters/dkim_tags.h"

/* No mailbox has this id: ids begin with the time. */
enum { DKIM_ROWS_WATCH = 1 };

/* The life of a key. Its record must be in the DNS from WAITING to RETIRING. */
enum dkim_state {
    DKIM_PUBLISH,  /* its record is to be published; nobody has seen it yet */
    DKIM_WAITING,  /* it was seen; at `due` it takes over */
    DKIM_ACTIVE,   /* signs */
    DKIM_RETIRING, /* mail signed with it may still be under way until `due` */
    DKIM_RETIRED   /* its record may go; the private key is gone */
};
const char *dkim_state_name(enum dkim_state s);

struct dkim_row {
    struct str domain, selector; /* lower-case A-labels */
    enum dkim_key_type type;
    enum dkim_state state;
    int64_t created, since, due; /* s; since: of the state; due: of the next, 0: not set */
    struct str record;           /* as it is published */
    struct str pem;              /* private; empty where it wasn't asked for, or is gone */
};
/* Of a domain (empty: all), by domain, age and selector. pem: the private keys of those that are
 * ACTIVE too; whoever asks wipes them (dkim_rows_wipe). */
int dkim_rows_read(struct sql *db, struct arena *a, struct str domain, bool pem,
                   struct dkim_row **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
void dkim_rows_wipe(struct dkim_row *rows, size_t n);

/* Several changes, all or none. */
struct dkim_change {
    enum dkim_change_what {
        DKIM_ADD,    /* the row; ERR_WHY_EXISTS */
        DKIM_MOVE,   /* from row.state to `to`, since now, due row.due; ERR_WHY_NOT_FOUND */
        DKIM_SWITCH, /* row.state to ACTIVE; ACTIVE ones of its domain and type become RETIRING */
        DKIM_DELETE  /* in any state; ERR_WHY_NOT_FOUND */
    } what;
    struct dkim_row row; /* domain, selector, type, state as it must be now */
    enum dkim_state to;
};
struct dkim_change_op {
    struct store_op op;             /* run and cls are set; the caller submits it */
    const struct dkim_change *list; /* live until it is answered */
    size_t n;
    int64_t now; /* s */
};
void dkim_change_init(struct dkim_change_op *c, const struct dkim_change *list, size_t n);
#endif
