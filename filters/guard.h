/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* guard.h - who may connect and try to log in: connections at once, failed logins and other abuse,
 * growing delays, bans. SMTP and IMAP ask the same one.
 * Floor 4 (filters). Threads: loop only.
 *
 * Failures are counted for each client (an IPv4 address, an IPv6 /64) in token buckets; when one is
 * empty the client is banned, each time for longer. A network (/24, /64) from which somebody has
 * logged in before never loses its users by that: a ban of one of its clients still lets logins be
 * tried there, and decides at the login: an account that was logged in from this network before is
 * checked (slower with each failure, and so many times an hour), any other one is refused. So
 * nobody is locked out by a neighbour's mistakes, nor by his own. What the administrator bans is
 * banned altogether. Trusted networks are left alone. Bans and pairs of account and network are
 * kept in the store's database, written behind; all else is forgotten at a restart. Memory is
 * bounded: client counts by the connections, the rest by the constants of guard_private.h. Every
 * function takes a guard that is NULL, or a client that never connected: nothing is refused. */
#ifndef PH_FILTERS_GUARD_H
#define PH_FILTERS_GUARD_H
#include "appliance/base/cidr.h"
#include "appliance/base/settings.h"
#include "appliance/base/snapshot.h"
#include "appliance/io/loop.h"

struct guard_conf { /* section "guard" */
    const char *trusted;
    int64_t connections;         /* in all */
    int64_t address_connections; /* of one client, before a login */
    int64_t network_connections;
    uint64_t window;    /* the time within which failures count */
    int64_t ban_logins; /* failed ones within the window; 0: no ban */
    int64_t ban_recipients, ban_errors;
    uint64_t ban_time, ban_time_max;
    int64_t pair_logins; /* failed ones an hour of a known pair */
    uint64_t login_delay, login_delay_max;
};
extern const struct ph_setting guard_settings[];

struct store;
struct guard;
struct guard_env {
    struct loop *loop;
    struct store *store; /* NULL (tests): nothing outlives the process */
    const struct guard_conf *conf;
    struct snapshot *snapshot; /* that conf lies in; NULL: it lives as long as the guard */
};
/* Reads its tables. Blocking. ERR_PROTO: `trusted` can't be understood. */
int guard_open(const struct guard_env *env, struct guard **out, struct err *err)
    __attribute__((warn_unused_result));
void guard_close(struct guard **g); /* before the store; writes what isn't written */
/* New settings, for all from now on. -1: as above, the old ones stay. */
int guard_set_conf(struct guard *g, const struct guard_conf *conf, struct snapshot *snapshot,
                   struct err *err) __attribute__((warn_unused_result));

/* ---- A connection. */
struct guard_client {    /* in a session; zeroed before guard_connect */
    struct guard *guard; /* NULL: not counted */
    uint8_t ip[16];
    bool trusted;
    bool waiting; /* counted as one that hasn't logged in */
};
enum guard_verdict { GUARD_OK, GUARD_BANNED, GUARD_CROWDED, GUARD_FULL };
struct guard_text { /* a sentence for the client */
    char z[160];
};
/* A client has connected. logins: it may log in here. Not GUARD_OK: say why and close, c stays
 * zeroed. GUARD_OK: guard_leave() comes once, at the end. */
enum guard_verdict guard_connect(struct guard *g, struct guard_client *c, const char *ip,
                                 bool logins, struct guard_text *why);
/* The same question, nothing is counted. */
enum guard_verdict guard_check(struct guard *g, const char *ip, bool logins,
                               struct guard_text *why);
void guard_leave(struct guard_client *c);
bool guard_trusts(const struct guard_client *c);
bool guard_pressed(const struct guard *g); /* over three quarters of all connections are taken */

/* Before a password is looked at: false, the answer is `why` and nothing is checked. Each true is
 * followed by ok, failed or undecided. */
bool guard_login_ask(struct guard_client *c, struct str account, struct guard_text *why);
void guard_login_ok(struct guard_client *c, struct str asked, struct str account);
uint64_t guard_login_failed(struct guard_client *c, struct str asked); /* answer after so many ms */
void guard_login_undecided(struct guard_client *c, struct str asked);
/* Has this account logged in from the client's network before? */
bool guard_login_known(const struct guard_client *c, struct str account);

enum guard_fault {
    GUARD_UNKNOWN_RECIPIENT, /* an address that doesn't exist here */
    GUARD_ERROR              /* against the protocol, before a login */
};
void guard_fault(struct guard_client *c, enum guard_fault what);

/* ---- Bans. */
struct guard_ban {
    struct cidr net;
    int64_t since, until; /* wall clock, s; until 0: for ever */
    unsigned times;       /* so often in a row */
    bool manual;
    const char *reason;
};
/* for_ms 0: for ever. ERR_PERM: it would be all the world, or there are too many. */
int guard_ban_add(struct guard *g, const struct cidr *net, uint64_t for_ms, struct str reason,
                  struct err *err) __attribute__((warn_unused_result));
/* Is this network trusted? Bans don't hold for what is. */
enum guard_trust { GUARD_TRUSTS_NONE, GUARD_TRUSTS_SOME, GUARD_TRUSTS_ALL };
enum guard_trust guard_trusts_net(const struct guard *g, const struct cidr *net);
bool guard_ban_remove(struct guard *g, const struct cidr *net); /* false: there is none */
void guard_ban_each(const struct guard *g, void (*fn)(void *ctx, const struct guard_ban *b),
                    void *ctx);
/* Does a ban hold for this client now? */
bool guard_is_banned(const struct guard_client *c);

/* on_ban(): later on the loop, after bans were added; end who guard_is_banned(). */
struct guard_watch {
    struct list link; /* private */
    void (*on_ban)(struct guard_watch *w);
};
void guard_watch_add(struct guard *g, struct guard_watch *w);
void guard_watch_del(struct guard_watch *w);

struct guard_stats {
    uint64_t open, bans, pairs; /* now */
    uint64_t refused_banned, refused_crowded, refused_full, logins_refused, logins_failed, banned;
};
void guard_stats(const struct guard *g, struct guard_stats *out);
#endif
