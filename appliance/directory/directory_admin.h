/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* directory_admin.h - changing and listing the directory, for commands.
 * Floor 3 (directory). Threads: blocking, any thread but the loop; opens its own connection.
 * Changes are durable on return. Errors: ERR_PERM with ERR_WHY_EXISTS, ERR_WHY_NOT_FOUND, or a
 * sentence about the address. */
#ifndef PH_DIRECTORY_DIRECTORY_ADMIN_H
#define PH_DIRECTORY_DIRECTORY_ADMIN_H
#include "appliance/directory/directory.h"

struct directory_admin;
int directory_admin_open(const char *dir, struct directory_admin **out, struct err *err)
    __attribute__((warn_unused_result));
/* Where the settings say. ERR_WHY_READ_ONLY: accounts are managed elsewhere. */
int directory_admin_open_as(const char *dir, const struct directory_conf *conf,
                            struct directory_admin **out, struct err *err)
    __attribute__((warn_unused_result));
void directory_admin_close(struct directory_admin **a);

/* The accounts that mail for an address ends in, by the settings and whatever source they name.
 * Memory from m. -1: as resolve_address(). */
int directory_where(const char *dir, const struct directory_conf *conf, struct arena *m,
                    struct str address, struct str **accounts_out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));

struct directory_domain {
    struct str domain;
    bool enabled;
    uint64_t users, aliases;
};
struct directory_user {
    struct str address, name;
    bool enabled;
    uint64_t quota_bytes;     /* 0 = the store's default */
    struct str scheme;        /* of the stored hash: "yescrypt", "none" ... never the hash */
    struct str home, maildir; /* where its mail was in the system the rows came from */
};
struct directory_alias {
    struct str address;      /* or "@domain" */
    struct str destinations; /* comma separated */
    bool enabled;
};
int directory_domain_add(struct directory_admin *a, struct str domain, struct err *err)
    __attribute__((warn_unused_result));
/* Refuses (ERR_PERM) while users or aliases are in it, unless force, which removes them too. */
int directory_domain_remove(struct directory_admin *a, struct str domain, bool force,
                            struct err *err) __attribute__((warn_unused_result));
int directory_domain_list(struct directory_admin *a, struct arena *m, struct directory_domain **out,
                          size_t *n_out, struct err *err) __attribute__((warn_unused_result));

/* The domain must exist. password.p NULL: cannot log in. */
int directory_user_add(struct directory_admin *a, struct str address, struct str name,
                       struct str password, uint64_t quota_bytes, struct err *err)
    __attribute__((warn_unused_result));
int directory_user_remove(struct directory_admin *a, struct str address, struct err *err)
    __attribute__((warn_unused_result));
int directory_user_get(struct directory_admin *a, struct arena *m, struct str address,
                       struct directory_user *out, struct err *err)
    __attribute__((warn_unused_result));
/* domain.p NULL: all. */
int directory_user_list(struct directory_admin *a, struct arena *m, struct str domain,
                        struct directory_user **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
int directory_user_set_password(struct directory_admin *a, struct str address, struct str password,
                                struct err *err) __attribute__((warn_unused_result));
/* Takes a hash as it is (import), any scheme password.h reads. */
int directory_user_set_hash(struct directory_admin *a, struct str address, struct str hash,
                            struct err *err) __attribute__((warn_unused_result));
/* *out: the user's stored hash is this one or, hash.p NULL, such a one as a change of the password
 * to this one would make today. */
int directory_user_has(struct directory_admin *a, struct str address, struct str password,
                       struct str hash, bool *out, struct err *err)
    __attribute__((warn_unused_result));
int directory_user_set_enabled(struct directory_admin *a, struct str address, bool enabled,
                               struct err *err) __attribute__((warn_unused_result));
int directory_user_set_name(struct directory_admin *a, struct str address, struct str name,
                            struct err *err) __attribute__((warn_unused_result));
int directory_user_set_quota(struct directory_admin *a, struct str address, uint64_t bytes,
                             struct err *err) __attribute__((warn_unused_result));

/* ---- What an account may do, and what becomes of its mail; ours, whoever's the user's row is. */
struct directory_options {
    bool sends;         /* may hand in mail */
    bool receives;      /* gets mail; else 550 5.2.1 */
    bool keeps;         /* with `forward`: a copy stays */
    struct str forward; /* comma separated addresses; empty: nowhere else */
    bool away; /* senders get its notice, between these times (s since 1970; until 0: on) */
    int64_t away_from, away_until;
};
int directory_options_get(struct directory_admin *a, struct arena *m, struct str address,
                          struct directory_options *out, struct err *err)
    __attribute__((warn_unused_result));
/* All of them. The user must exist. Refused as in directory_alias_add(): a forward that leads to
 * none of our addresses, or back here alone. */
int directory_options_set(struct directory_admin *a, struct str address,
                          const struct directory_options *o, struct err *err)
    __attribute__((warn_unused_result));
struct directory_forward {
    struct str account;      /* folded */
    struct str destinations; /* comma separated */
};
/* Of all accounts that forward. */
int directory_forward_list(struct directory_admin *a, struct arena *m,
                           struct directory_forward **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
/* text.p NULL: none is set. Setting one makes that all senders are told anew. */
int directory_notice_get(struct directory_admin *a, struct arena *m, struct str address,
                         struct directory_notice *out, struct err *err)
    __attribute__((warn_unused_result));
int directory_notice_set(struct directory_admin *a, struct str address,
                         const struct directory_notice *n, struct err *err)
    __attribute__((warn_unused_result));

/* destinations: one or more addresses, or "@domain" for a domain alias. Refused: a loop, a
 * destination in one of our domains that doesn't exist. An existing alias is replaced only with
 * `replace`. */
int directory_alias_add(struct directory_admin *a, struct str address,
                        const struct str *destinations, size_t n, bool replace, struct err *err)
    __attribute__((warn_unused_result));
int directory_alias_remove(struct directory_admin *a, struct str address, struct err *err)
    __attribute__((warn_unused_result));
int directory_alias_get(struct directory_admin *a, struct arena *m, struct str address,
                        struct directory_alias *out, struct err *err)
    __attribute__((warn_unused_result));
int directory_alias_list(struct directory_admin *a, struct arena *m, struct str domain,
                         struct directory_alias **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
#endif
