/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_url.h - the URL of a database server.
 * Floor 2 (sql). Threads: any (pure). mysql://user[:password]@host[:port]/database[?socket=/path];
 * mariadb:// is the same. Each part may be percent-encoded; a host is a name, an address or an
 * [IPv6 address], and empty with a socket. */
#ifndef PH_SQL_SQL_URL_H
#define PH_SQL_SQL_URL_H
#include "appliance/base/arena.h"
#include "appliance/sql/sql.h"

enum { SQL_URL_MAX = 2048 };
bool sql_url_is(struct str text); /* looks like one: has its scheme */
/* Fills what the URL says, the rest is zero; strings lie in `m`. -1: ERR_PROTO, text without the
 * password. */
int sql_server_parse(struct str url, struct arena *m, struct sql_server *out, struct err *err)
    __attribute__((warn_unused_result));
/* What settings say beside the URL; texts may be NULL or empty: there is none. */
struct sql_server_words {
    const char *password, *ca;
    int tls; /* enum sql_tls */
    bool unsafe;
    uint64_t connect_ms, io_ms;
};
extern const char *const sql_tls_names[]; /* of a setting of enum sql_tls; ended by NULL */
/* Adds that to what was parsed: the password if the URL has none. The texts aren't copied. */
void sql_server_set(struct sql_server *server, const struct sql_server_words *words);
/* It is on this machine: a socket, localhost, a loopback address. */
bool sql_server_is_local(const struct sql_server *server);
/* It is reached by TLS, and its certificate verified. */
bool sql_server_wants_tls(const struct sql_server *server);
/* For logs: user@host:port/database, no password. In `m`. */
struct str sql_server_name(const struct sql_server *server, struct arena *m);
#endif
