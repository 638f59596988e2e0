/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_imap.h - mail of other IMAP servers: what the files of `posthouse import imap` share
 * (import_imap.c: options; import_imap_url.c, import_imap_accounts.c: where from, for whom;
 * import_imap_jobs.c: several at once; import_imap_account.c: one; import_imap_folders.c: which of
 * its folders, and where to). Floor 6 (app). Threads: one; blocking. */
#ifndef PH_APP_IMPORT_IMAP_H
#define PH_APP_IMPORT_IMAP_H
#include "appliance/app/import_count.h"
#include "appliance/app/import_run.h"
#include "imap/client/client.h"

enum { IMPORT_IMAP_ADDRESSES = 8, IMPORT_IMAP_JOBS = 32 };
struct import_imap_login {
    const char *user, *password, *account; /* account: as it was written */
};
struct import_imap {
    const struct import_call *call;
    struct arena *mem;
    /* the server */
    bool implicit;
    const char *host, *user; /* user: of the URL, or NULL */
    uint16_t port;
    char ips[IMPORT_IMAP_ADDRESSES][46];
    const char *ip_list[IMPORT_IMAP_ADDRESSES];
    size_t n_ips;
    bool insecure, local;
    const char *ca;
    /* what */
    struct import_imap_login *logins;
    size_t n_logins;
    const char *folders; /* patterns, or NULL */
    bool keep_names;
    int64_t since; /* seconds since 1970; 0: all */
    unsigned jobs;
};

/* imap://USER@HOST:PORT */
int import_imap_url(struct import_imap *j, const char *url, struct err *err)
    __attribute__((warn_unused_result));
/* The addresses of the host. */
int import_imap_resolve(struct import_imap *j, struct err *err) __attribute__((warn_unused_result));
/* Who is meant by --account or --all, and their passwords. */
int import_imap_logins(struct import_imap *j, struct err *err) __attribute__((warn_unused_result));

/* One account into a run. -1: it, or the run, could not be brought to its end; err says why. */
int import_imap_account(struct import_imap *j, const struct import_imap_login *l,
                        struct import_run *run, struct err *err)
    __attribute__((warn_unused_result));

/* A folder there, and its mailbox here. */
struct import_imap_folder {
    struct str raw, name, place; /* name: UTF-8, '/', without the prefix of the namespace */
    enum mailbox_special special;
    bool taken; /* it is to be imported */
};
/* All folders of `in` that have a name, in the same order; those without are failures of the run.
 */
void import_imap_map(const struct imap_folders *in, const char *patterns, bool keep_names,
                     struct arena *a, struct import_imap_folder **out, size_t *n_out,
                     void (*on_unnamed)(void *ctx, struct str raw), void *ctx);

/* Each login in a process of its own, at most j->jobs at once; the exit code. */
int import_imap_parallel(struct import_imap *j);
#endif
