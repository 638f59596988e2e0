/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* appliance.h - the running server: loop, rooms and listeners, started and stopped in order
 * (DESIGN.md 3). Floor 6 (app). Threads: main thread, which becomes the loop. Order: listeners are
 * opened first (appliance_listen), then the caller seals or drops privileges, then appliance_start
 * makes the loop, the lanes and everything that has threads. */
#ifndef PH_APP_APPLIANCE_H
#define PH_APP_APPLIANCE_H
#include "appliance/app/config.h"
#include "appliance/app/datadir.h"
#include "appliance/app/monitor.h"
#include "appliance/io/listener.h"
#include "appliance/io/tls.h"

struct callout;
struct control;
struct outgoing;
struct http_client;
struct resolver;
struct revoked;
struct runner;
struct filters;

enum appliance_service { APPLIANCE_SMTP, APPLIANCE_IMAP };
struct appliance_port {
    const char *name; /* "smtp", "submission", "submissions", "imap", "imaps" */
    enum appliance_service service;
    enum smtp_role role;
    bool implicit_tls, no_starttls;
    struct directory_port logins;
    unsigned max_conns;       /* of each address; 0: 20000 */
    const char *const *hosts; /* NULL: those of appliance_listen() */
    const struct cidr_set
        *proxies;    /* who sends PROXY headers; lives until appliance_reload(); NULL: nobody */
    uint16_t number; /* as bound, after appliance_listen */
    const char *host;
    /* private */
    struct listener *listeners[8];
    size_t n_listeners;
    struct smtp_port smtp;
    struct imap_port imap;
};
struct appliance {
    const struct config *config; /* lives as long as the appliance */
    struct snapshot *snapshot;   /* that config lies in, or NULL */
    struct datadir *data;
    struct tls_ctx *tls;
    const char *capture_account; /* see smtp/server.h */
    const struct runner *runner; /* of programs; NULL: none can be run */
    struct appliance_port *ports;
    size_t n_ports;
    uint64_t drain_ms;            /* 0: 10 s */
    void (*on_reload)(void *ctx); /* SIGHUP, on the loop; NULL: the signal keeps its meaning */
    void (*on_stopping)(void *ctx);
    void *ctx;
    /* private */
    struct loop *loop;
    struct store *store;
    struct directory *directory;
    struct filters *filters;
    struct guard *guard;
    struct live *aliases;
    struct resolver *resolver; /* NULL: sealed */
    struct outgoing *outgoing; /* NULL: nothing leaves */
    struct http_client *http;  /* of access tokens; NULL: there are none */
    struct callout *callout;   /* NULL: as well */
    struct smtp_server *smtp;
    struct imap_server *imap;
    struct lane *misc;
    struct listener *control_listener;
    struct control *control;
    struct revoked *revoked;
    struct listener *submit_listener; /* NULL: none */
    struct smtp_port submit_port;
    struct listener *metrics_listener; /* NULL: none */
    struct monitor *monitor;
    struct loop_signal *signals[3];
    unsigned stopping;
};

/* Opens every port on every host (NULL-terminated). With port 0 the first host's choice is used for
 * the others. A host marked by a leading '?' is optional ("?::1"). The error names the port and how
 * to change it. With a data folder its control socket is opened too, else by
 * appliance_listen_control(). */
int appliance_listen(struct appliance *a, const char *const *hosts, struct err *err)
    __attribute__((warn_unused_result));
int appliance_listen_control(struct appliance *a, struct err *err)
    __attribute__((warn_unused_result));
/* The socket on which `sendmail` hands in mail, in a folder that exists; everybody may use it. */
int appliance_listen_submit(struct appliance *a, const char *path, struct err *err)
    __attribute__((warn_unused_result));
/* appliance_listen() does so itself where the configuration names a port of `metrics`. Port 0: the
 * kernel chooses. */
int appliance_listen_metrics(struct appliance *a, const char *host, uint16_t port, struct err *err)
    __attribute__((warn_unused_result));
int appliance_start(struct appliance *a, struct err *err) __attribute__((warn_unused_result));
/* On the loop: sessions that begin from now on have these settings and this certificate. The ports'
 * `proxies` are read again. Filter stages come before, as they may refuse: stages_reload(). */
void appliance_reload(struct appliance *a, const struct config *c, struct snapshot *snapshot,
                      struct tls_ctx *tls);
/* Until SIGTERM or SIGINT; then new connections are refused, those within a message get 10 s. */
void appliance_run(struct appliance *a);
void appliance_stop(struct appliance *a); /* after run, or after a failed start */
#endif
