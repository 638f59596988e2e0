/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* database.h - section "database": the server that mail and accounts are in, instead of files of
 * SQLite in the data folder. Floor 6 (app). Threads: before others exist. Blocking, but the check.
 */
#ifndef PH_APP_DATABASE_H
#define PH_APP_DATABASE_H
#include "appliance/app/datadir.h"
#include "appliance/base/arena.h"
#include "appliance/base/settings.h"
#include "appliance/sql/sql.h"

struct database_conf {
    const char *url, *password, *ca;
    int tls; /* enum sql_tls */
    uint64_t connect_timeout, timeout, wait;
    bool unsafe;
    /* not settings: what they come to */
    struct sql_server server;
    struct arena *memory;
};
extern const struct ph_setting database_settings[];

/* Fills `server`. *out: that, or NULL: no server. -1: the URL or the password is wrong; text begins
 * with the setting. */
int database_settle(struct database_conf *conf, const struct sql_server **out, struct err *err)
    __attribute__((warn_unused_result));
void database_fini(struct database_conf *conf);

/* Keeps a data folder from being opened with another database than its own: the mail would seem to
 * be gone, and files of large messages would look like strays. */
int database_check_folder(const struct datadir *d, const struct database_conf *conf,
                          struct err *err) __attribute__((warn_unused_result));
/* With a server: notes that this folder's mail is there. After the store was opened: what refuses
 * us has nothing of ours. */
int database_claim_folder(struct datadir *d, const struct database_conf *conf, struct err *err)
    __attribute__((warn_unused_result));
/* The file that `setting` names can be read and holds certificates, if that server needs it. */
int database_check_ca(const struct sql_server *server, const char *setting, struct err *err)
    __attribute__((warn_unused_result));
/* Waits, at most conf->wait, until the server answers, and says so in the log. -1: it doesn't, or
 * refuses us for good. Without a server: 0. */
int database_await(const struct database_conf *conf, struct err *err)
    __attribute__((warn_unused_result));
#endif
