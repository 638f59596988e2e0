/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* config.h - the configuration of the whole program: sections filled from tables that stand beside
 * the code that uses them. Floor 6 (app). Threads: any, once filled (immutable); references on the
 * loop (base/snapshot.h).
 *
 * A room's section is a member of struct config and a row of config_sections[]. Sections that are
 * known only at run time (filter stages, plug-ins) are added before the first configuration is made
 * with config_add_section(); their structs hang on each configuration and are found with
 * config_extra(). */
#ifndef PH_APP_CONFIG_H
#define PH_APP_CONFIG_H
#include "appliance/app/database.h"
#include "appliance/app/monitor.h"
#include "appliance/base/cidr.h"
#include "appliance/base/conf.h"
#include "appliance/base/snapshot.h"
#include "appliance/directory/directory.h"
#include "appliance/directory/oauth.h"
#include "appliance/io/listener.h"
#include "appliance/io/resolver.h"
#include "appliance/store/store.h"
#include "filters/exec_program.h"
#include "filters/guard.h"
#include "imap/server.h"
#include "smtp/aggregate/aggregate.h"
#include "smtp/client/route.h"
#include "smtp/server.h"

#define CONFIG_DEFAULT "/etc/posthouse/posthouse.conf"

enum config_inet { INET_ANY, INET_IPV4, INET_IPV6 };
struct main_conf { /* section "main" */
    const char *hostname, *data, *user, *origin, *postmaster, *readable, *socket;
    int inet; /* enum config_inet */
    uint64_t drain;
    bool sandbox;
};
struct tls_conf { /* section "tls" */
    const char *certificate, *key;
    bool any_name;
};
enum config_log_format { LOG_AS_LOGFMT, LOG_AS_JSON };
struct log_conf { /* section "log" */
    int level, format;
    const char *debug;
};

enum config_service { SERVICE_SMTP, SERVICE_SUBMISSION, SERVICE_IMAP };
enum config_port_tls { PORT_STARTTLS, PORT_IMPLICIT, PORT_NO_TLS };
enum port_binding { PORT_BINDING_AUTO, PORT_BINDING_YES, PORT_BINDING_NO };
struct port_conf { /* section "listener", one for each title */
    bool enabled;
    int service, tls, scram;
    int channel_binding;              /* enum port_binding */
    const char *address, *proxy_from; /* lists; address empty: all, as main.inet says */
    int64_t port, max_connections;
    /* not settings */
    char *name;
    struct cidr_set proxies;
};
extern const struct ph_setting main_settings[], tls_settings[], log_settings[], port_settings[];

enum { CONFIG_PORTS_MAX = 64, CONFIG_ROUTES_MAX = 1000, CONFIG_EXTRA_MAX = 64 };

struct config {
    struct snapshot snapshot; /* of config_new() */
    struct smtp_conf smtp;
    struct imap_conf imap;
    struct database_conf database;
    struct store_conf store;
    struct directory_conf directory;
    struct guard_conf guard;
    struct oauth_conf oauth;
    /* Of `serve` only. */
    struct main_conf main;
    struct tls_conf tls;
    struct log_conf log;
    struct metrics_conf metrics;
    struct port_conf *ports;
    size_t n_ports;
    struct resolver_conf dns;
    struct relay_conf relay; /* its routes: sections "route" */
    struct reports_conf reports;
    struct exec_program *programs; /* sections "program" */
    size_t n_programs;
    void *extra[CONFIG_EXTRA_MAX];
};
extern const struct settings_section config_sections[];     /* of the rooms; ended by name NULL */
extern const struct settings_section config_own_sections[]; /* main, tls, log */
/* Sections with a title: an array of structs, one for each title, in the order of the file. */
struct config_titled {
    struct settings_section section; /* of one struct: offset 0 */
    size_t size, name;               /* of one struct; its member `char *name`: the title */
    size_t list, count;              /* members of struct config: the array, how many */
    size_t max;
    bool own; /* of `serve` only */
    void (*init)(void *one), (*fini)(void *one);
    int (*check)(void *one, struct err *err);
};
enum { CONFIG_LISTENER, CONFIG_ROUTE, CONFIG_PROGRAM, CONFIG_TITLED };
extern const struct config_titled config_titled[CONFIG_TITLED];
size_t config_titled_count(const struct config_titled *t, const struct config *c);
void *config_titled_at(const struct config_titled *t, const struct config *c, size_t i);
/* The one of this title, made with its defaults if there is none. NULL: err, too many. */
void *config_titled_get(const struct config_titled *t, struct config *c, const char *title,
                        struct err *err);
const char *config_titled_name(const struct config_titled *t, const void *one);
void config_titled_free(struct config *c);

/* All of these live as long as the program. Before any struct config is filled. */
void config_add_section(const char *name, const char *doc, const struct ph_setting *table,
                        size_t conf_size);
const struct settings_section *config_extra_section(size_t i, void **conf_out,
                                                    const struct config *c); /* NULL: no more */
/* The struct of an added section; NULL: there is none of this name. */
const void *config_extra(const struct config *c, const char *name);

/* The i-th section with a struct: own, the rooms', added; NULL: no more. */
const struct settings_section *config_section_at(struct config *c, size_t i, void **conf_out);
int config_defaults(struct config *c, struct err *err) __attribute__((warn_unused_result));
int config_assign(struct config *c, const char *assignment, struct err *err)
    __attribute__((warn_unused_result)); /* "smtp.rcpt_limit=50": sections of rooms, added ones, and
                                            "program.NAME.command=..." */
/* Once all is set: the rules over several settings, and what rooms take over from one another. A
 * line in errors for each that is broken, path before it. False: some are; err the first. */
bool config_settle(struct config *c, const char *path, struct buf *errors, struct err *err);
void config_free(struct config *c); /* of config_defaults */

/* Reads a file into a new configuration with one reference. -1: errors holds a line for each thing
 * that is wrong, err the first. Blocking, one at a time in the process. */
int config_load(const char *path, struct config **out, struct buf *errors, struct err *err)
    __attribute__((warn_unused_result));
void config_unref(struct config **c);

/* As a file: what is in force, secrets as "***". all: with what only `serve` has. */
void config_show(const struct config *c, bool all, struct buf *out);
/* What there is to set; section NULL: everything. -1: no such section. */
int config_help(const char *section, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));
#endif
