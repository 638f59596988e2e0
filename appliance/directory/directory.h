/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* directory.h - domains, users, aliases: who gets mail, who may log in, who may send as whom.
 * Floor 3 (directory). Threads: directory_* on the loop answer later on the loop, exactly once;
 * admin functions (directory_admin.h) block and belong on a lane or in a program without a loop.
 * Lookups run on lane `directory`, password hashing on lane `auth`; a full lane, a slow or broken
 * database answers ERR_TEMP. The data are the Flurdy tables (domains, users, aliases), so an
 * existing database can be used as it is. Addresses are keyed folded (address_fold). Nothing here
 * caches rows: what an administrator changes counts at once. */
#ifndef PH_DIRECTORY_DIRECTORY_H
#define PH_DIRECTORY_DIRECTORY_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"
#include "appliance/base/settings.h"
#include "appliance/directory/sasl.h"
#include "appliance/io/conn.h"
#include "appliance/io/lanes.h"

struct directory;
struct sql_server;
enum directory_source {
    DIRECTORY_FROM_OWN,   /* our tables */
    DIRECTORY_FROM_MYSQL, /* those of another mail system */
    DIRECTORY_FROM_FILES,
    DIRECTORY_FROM_SYSTEM
};
enum directory_preset { DIRECTORY_FLURDY, DIRECTORY_POSTFIXADMIN };
enum directory_upgrade { DIRECTORY_UPGRADE_AUTO, DIRECTORY_UPGRADE_YES, DIRECTORY_UPGRADE_NO };
/* Checks a password as the system does (PAM). Blocks: lane `auth`. 1 right, 0 wrong, -1 ERR_TEMP.
 */
struct directory_system {
    void *ctx;
    int (*check)(void *ctx, struct str user, struct str password, struct err *err);
};
struct directory_conf {
    int64_t auth_threads;      /* hashes running at once: 16 MiB each with yescrypt */
    int64_t alias_depth;       /* longest chain of aliases */
    int64_t alias_targets;     /* most destinations of one address */
    const char *tag_delimiter; /* "+"; empty = none */
    uint64_t auth_cache;       /* how long a successful login is remembered; 0 = not */
    uint64_t auth_cache_stale; /* the same while the database can't be asked */
    uint64_t refusal_time;     /* a failed login is answered whole multiples of it later */
    bool scram_verifiers;      /* made and kept */
    int64_t scram_iterations;
    int source; /* enum directory_source */
    const char *url, *changes, *password, *ca;
    int tls;    /* enum sql_tls */
    int preset; /* enum directory_preset */
    const char *query_domain, *query_user, *query_alias, *query_login, *query_domains,
        *query_domain_user, *query_users, *query_moved, *query_backup, *query_relay, *query_relays,
        *query_set_hash;
    uint64_t timeout;
    const char *folder;
    int64_t uid_min, uid_max;
    int upgrade_hashes; /* enum directory_upgrade */
    /* Not settings of this section but of others; NULL or empty: none. Read by directory_open(). */
    const struct sql_server *database;     /* of our own tables; NULL: directory.db */
    const struct directory_system *system; /* for DIRECTORY_FROM_SYSTEM */
    const char *origin;                    /* domain of addresses that come without one */
    bool as_is; /* for commands that only read: nothing is made; -1 unless all is there */
    const char *postmaster; /* address of root, postmaster and abuse where a domain has none */
};
extern const struct ph_setting directory_settings[];

/* What is wrong with the settings, as far as they tell; asks no database. */
int directory_check(const struct directory_conf *conf, struct err *err)
    __attribute__((warn_unused_result));
/* Opens or creates directory.db in folder dir. Blocking; before the loop runs, after the sandbox.
 */
int directory_open(const char *dir, const struct directory_conf *conf, struct loop *l,
                   struct directory **out, struct err *err) __attribute__((warn_unused_result));
void directory_close(struct directory **d);

/* ---- Where mail for an address goes. */
enum directory_kind {
    DIRECTORY_LOCAL, /* accounts and perhaps remote addresses: deliver. An address in a domain that
                      * we are backup for is its own remote address */
    DIRECTORY_NOT_OURS, /* the domain isn't hosted here: relaying */
    DIRECTORY_UNKNOWN,  /* the domain is ours, the address isn't: 550 5.1.1 */
    DIRECTORY_MOVED     /* it was ours and is elsewhere now: 551 5.1.6 (RFC 5321 3.4) */
};
struct directory_answer {
    bool failed; /* err: ERR_TEMP; or ERR_PERM for an alias loop or too many targets */
    struct err err;
    enum directory_kind kind;
    struct str moved; /* MOVED: the new address, as it was stored; during the callback only */
    bool backup;      /* LOCAL, and only taken in for another host: the one remote is the address */
    /* LOCAL: the final destinations, each once. accounts are folded addresses of enabled users;
     * remotes are addresses in other domains that an alias points to. Views are valid during the
     * callback only. */
    const struct str *accounts, *remotes;
    size_t n_accounts, n_remotes;
    const bool *away; /* of each account: senders are told that its owner is away */
    /* UNKNOWN: the account is there, but isn't to get mail (or, of directory_may_send_as, to send
     * any) */
    bool closed;
};
typedef void (*directory_answer_fn)(void *ctx, const struct directory_answer *a);
/* Order of look-up, as in Postfix with Flurdy's tables: alias; user; the same without +tag;
 * "@domain" catch-all. So an alias of a user's own address redirects it, and keeps a copy when it
 * lists that address itself. Domain aliases are catch-alls to
 * "@other" (the local part is kept). <postmaster> without domain, and postmaster@ and abuse@ a
 * domain that has neither row nor catch-all for them, are postmaster@ the first domain (abuse@ a
 * domain with a postmaster of its own: that one); what of these leads nowhere is the first user
 * there, by name (UNKNOWN: there is none). Disabled
 * rows count as absent. A destination of ours that doesn't exist is left out (and logged) while
 * there are others. An account may send its mail on (directory_admin.h), with or without a copy for
 * itself, or take none. -1: lane full, on_answer won't come. */
int directory_resolve(struct directory *d, struct str address, directory_answer_fn on_answer,
                      void *ctx) __attribute__((warn_unused_result));

/* What is said to who writes to an account that is away, once in as many days to each. */
struct directory_notice {
    int64_t days;
    struct str subject; /* empty: made of the message's */
    struct str text;    /* UTF-8, any line ends; .p NULL: there is none */
};
struct directory_away {
    bool failed; /* err: ERR_TEMP */
    struct err err;
    bool tell; /* this sender is to be told now, which is noted. Views: during the callback only */
    struct directory_notice notice;
};
typedef void (*directory_away_fn)(void *ctx, const struct directory_away *a);
/* Both folded. -1: lane full, on_answer won't come. */
int directory_away(struct directory *d, struct str account, struct str sender,
                   directory_away_fn on_answer, void *ctx) __attribute__((warn_unused_result));

/* ---- Logging in. */
struct directory_login {
    bool failed; /* the check could not be made: err (ERR_TEMP). Never says more than that */
    struct err err;
    bool ok;              /* right password of an enabled user */
    struct str account;   /* its folded address; valid during the callback only */
    uint64_t quota_bytes; /* users.quota; 0 = the store's default */
    /* SCRAM: neither yet: what sasl_verifier() makes the next challenge of. Else NULL. */
    const struct scram_verifier *verifier;
};
typedef void (*directory_login_fn)(void *ctx, const struct directory_login *l);
/* Answers an exchange at SASL_READY, of whichever mechanism; what it needs is copied, and wiped
 * after use. device: this account has logged in from there before, so it needn't wait behind
 * strangers. Takes as long, and says as much, for an unknown user as for a wrong password, whatever
 * its hash: what is wrong is answered a whole number of refusal_time after this call (SCRAM's first
 * step, of 20 ms). A success may be answered from the positive-only cache: HMAC under a boot key
 * over password and the stored hash, so a changed hash misses; the user's row is always read. While
 * that can't be, a password that was right lately (auth_cache_stale) still is. An app password does
 * where a password is sent: not with SCRAM, whose verifier is of the main password. -1: a lane is
 * full, on_login won't come. */
int directory_sasl(struct directory *d, const struct sasl *s, bool device,
                   directory_login_fn on_login, void *ctx) __attribute__((warn_unused_result));
/* The same of a name and a password. */
int directory_login(struct directory *d, struct str user, struct str password,
                    directory_login_fn on_login, void *ctx) __attribute__((warn_unused_result));
/* What may be offered on this connection; m: with its channel's bytes, for sasl_init(), which lie
 * there; else NULL. auto: SCRAM when every account that can log in has a verifier. */
enum { DIRECTORY_SCRAM_ITERATIONS = 10000 }; /* where the settings aren't known */
enum directory_scram { DIRECTORY_SCRAM_AUTO, DIRECTORY_SCRAM_ON, DIRECTORY_SCRAM_OFF };
struct directory_port { /* of a listener; zeroed: auto */
    int scram;          /* enum directory_scram */
    bool no_binding;    /* no -PLUS */
};
void directory_offer(const struct directory *d, const struct directory_port *port,
                     const struct conn *c, struct arena *m, struct sasl_offer *out);
/* Access tokens are asked about there; conf and http live as long as the directory. */
struct oauth_conf;
struct http_client;
void directory_set_oauth(struct directory *d, const struct oauth_conf *conf,
                         struct http_client *http);
/* Logins of this account ("@domain": of all in it) hold no more: nothing is answered from memory.
 */
void directory_forget(struct directory *d, struct str account);

/* ---- May this account send as this address (MAIL FROM, From)? Its own address, +tags of it, and
 * every address whose alias or catch-all leads to it. The answer's kind is LOCAL when it may,
 * UNKNOWN when not. */
int directory_may_send_as(struct directory *d, struct str account, struct str address,
                          directory_answer_fn on_answer, void *ctx)
    __attribute__((warn_unused_result));
#endif
