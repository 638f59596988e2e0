/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* resolve.h - from an address to the accounts and remote addresses it stands for. Pure: rows come
 * through a source. Floor 3 (directory, private). Threads: any. At each address, the first of these
 * that exists counts (Postfix's virtual maps, plus "an account implies its address"): its alias;
 * its user; alias and user without +tag; the catch-all "@domain"; for abuse (RFC 2142) postmaster@
 * the same domain; for both (RFC 5321 4.5.1) postmaster@ the first domain. A postmaster or abuse
 * that leads nowhere is the first user of the first domain: somebody must read it. A disabled row
 * doesn't exist. An alias that lists its own name keeps a copy in the account of that name. Tags
 * aren't carried over to destinations. An account that forwards leads on like an alias of its own
 * name. */
#ifndef PH_DIRECTORY_RESOLVE_H
#define PH_DIRECTORY_RESOLVE_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"
#include "appliance/directory/directory_admin.h"

struct resolve_source { /* 0, or -1: err. Addresses and domains are asked folded */
    void *ctx;
    int (*hosted)(void *ctx, struct str domain, bool *hosted_out, struct err *err);
    /* The comma separated destinations, memory from m; .p == NULL: no such row */
    int (*alias)(void *ctx, struct arena *m, struct str address, struct str *out, struct err *err);
    int (*user)(void *ctx, struct str address, bool *found_out, struct err *err);
    int (*first_domain)(void *ctx, struct arena *m, struct str *out,
                        struct err *err); /* empty: none */
    /* The first enabled user of the domain, by name; empty: none. */
    int (*first_user)(void *ctx, struct arena *m, struct str domain, struct str *out,
                      struct err *err);
    /* May be NULL. The new address of one that has moved (.p == NULL: it hasn't), asked of the
     * address itself only; and is an address in a domain of others to be taken in for them? */
    int (*moved)(void *ctx, struct arena *m, struct str address, struct str *out, struct err *err);
    int (*relayed)(void *ctx, struct str address, bool *relayed_out, struct err *err);
    /* May be NULL. Not all of this domain could be read: what isn't found there isn't unknown. */
    bool (*gaps)(void *ctx, struct str domain);
    /* What the account may, and where its mail goes; NULL: all do what is usual. */
    int (*options)(void *options_ctx, struct arena *m, struct str account,
                   struct directory_options *out, struct err *err);
    void *options_ctx;
    int64_t now_s; /* for options.away */
};
struct resolve_limits {
    size_t depth, targets;  /* see directory_conf */
    char tag;               /* 0 = none */
    const char *origin;     /* NULL: <postmaster> is in the first domain */
    const char *postmaster; /* NULL: postmaster in the first domain */
};
struct resolve_result {
    enum directory_kind kind;
    struct str *accounts, *remotes; /* each once, in the order found */
    size_t n_accounts, n_remotes;
    bool backup;         /* the address is in a domain of others: its own remote */
    struct str moved;    /* kind MOVED: to where */
    bool *away;          /* of each account */
    bool closed;         /* there was an account that takes no mail */
    struct str dangling; /* a destination in our domains that leads nowhere; left out while there
                            are others */
    bool loop; /* an alias led back to one it came from; an error only if nothing else was found */
};
/* address: as the client wrote it. Memory from m. -1: the source's err, ERR_TEMP (WHY_DAMAGED) for
 * what isn't found where there are gaps, or ERR_PERM for an alias loop (WHY_OTHER) and for too many
 * or too deep (WHY_LIMIT). */
int resolve_address(const struct resolve_source *src, const struct resolve_limits *limits,
                    struct arena *m, struct str address, struct resolve_result *out,
                    struct err *err) __attribute__((warn_unused_result));
/* Folds into the arena. false: not an address that the directory could hold. */
bool resolve_fold(struct arena *m, struct str in, struct str *out);
/* "user+tag@d" -> "user@d" of a folded address; false: no tag in it. */
bool resolve_untag(struct arena *m, struct str address, char tag, struct str *out);
#endif
