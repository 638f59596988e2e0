/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* server.h - the IMAP server: IMAP4rev1 (RFC 3501) with the extensions of imap/capability.c.
 * Floor 5 (imap). Threads: loop; work on lane store, writes on lane commit (DESIGN.md 3).
 * A session lives on one conn from listener's on_accept; one command at a time. */
#ifndef PH_IMAP_SERVER_H
#define PH_IMAP_SERVER_H
#include "appliance/base/snapshot.h"
#include "appliance/directory/directory.h"
#include "appliance/io/listener.h"
#include "appliance/io/tls.h"
#include "appliance/store/store.h"

struct imap_conf {            /* section "imap"; one immutable snapshot */
    const char *hostname;     /* in the greeting; "" = the system's */
    uint64_t command_limit;   /* largest command without APPEND's literal */
    uint64_t append_limit;    /* largest message */
    uint64_t idle_timeout;    /* RFC 3501 5.4: at least 30 minutes */
    uint64_t idle_notify;     /* IDLE: how often "* OK Still here" is said */
    uint64_t login_timeout;   /* before authentication */
    uint64_t command_timeout; /* of what has begun to arrive */
    uint64_t append_timeout;  /* of APPEND's message */
    int64_t login_attempts;   /* failed ones before the connection ends */
    uint64_t login_delay;     /* after the first failed one; doubles with each */
    int64_t max_conn_per_user_ip;
};
extern const struct ph_setting imap_settings[];

struct guard;
struct imap_server;
struct imap_server_conf {
    const struct imap_conf *imap;
    struct snapshot *snapshot; /* that imap lies in; NULL: it lives as long as the server */
    struct loop *loop;
    struct store *store;
    struct directory *directory;
    struct tls_ctx *tls; /* for STARTTLS; NULL: not offered */
    struct guard *guard; /* who may connect and log in (filters/guard.h); NULL: everybody */
};
struct imap_server *imap_server_new(const struct imap_server_conf *conf);
/* Other settings and another certificate, for the sessions that begin from now on (see
 * smtp_server_set_conf). */
void imap_server_set_conf(struct imap_server *s, const struct imap_conf *conf,
                          struct snapshot *snapshot, struct tls_ctx *tls);
struct imap_port {
    struct imap_server *server;
    bool no_starttls;  /* a port that never has TLS, and so no login */
    bool implicit_tls; /* words for a client that isn't let in can't be said */
    struct directory_port logins;
    const char *name; /* "imap", "imaps" */
};
void imap_on_accept(void *imap_port, struct conn *c);
bool imap_admit(void *imap_port, const char *ip, struct listener_farewell *bye);
/* The account's login holds no more ("@domain": all of that domain): its sessions end now, with BYE
 * where that can be said. */
void imap_server_end_account(struct imap_server *s, struct str account);
unsigned imap_server_sessions(const struct imap_server *s);
/* BYE to all; on_stopped on the loop when none is left. */
void imap_server_stop(struct imap_server *s, uint64_t drain_ms, void (*on_stopped)(void *ctx),
                      void *ctx);
void imap_server_free(struct imap_server **s);
#endif
