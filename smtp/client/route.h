/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* route.h - where a message for another host goes, decided from the settings alone: by MX, or to a
 * host that a route or relay_host names, with which TLS and login. Pure. Floor 5 (smtp). Threads:
 * any.
 * A *site* is the name of what can be delivered together, and is kept in the queue: the recipient's
 * domain in lower case as A-labels ("example.org"), an address literal ("[192.0.2.1]"), or for a
 * named host "relay:HOST:PORT" (IPv6: "relay:[2001:db8::1]:25"). "/ROUTE" stands behind it where
 * that isn't enough to find the way again: several routes name the host with other logins or TLS,
 * or a route for some senders only asks for other TLS by MX; "/~" is reports about TLS itself. Rows
 * whose site isn't what the settings of today say are given the new one. */
#ifndef PH_SMTP_ROUTE_H
#define PH_SMTP_ROUTE_H
#include "appliance/base/arena.h"
#include "appliance/base/cidr.h"
#include "appliance/base/settings.h"
#include "smtp/client/client.h"

enum route_tls {
    ROUTE_TLS_AUTO, /* DANE, else MTA-STS, else where it is offered */
    ROUTE_TLS_NONE,
    ROUTE_TLS_ENCRYPT, /* always, with whomever */
    ROUTE_TLS_VERIFY, /* always, with a certificate for the host's name (of the MX, or as routed) */
    ROUTE_TLS_DANE,   /* always, by TLSA records */
    ROUTE_TLS_IMPLICIT, /* as VERIFY, from the first octet: port 465 */
    ROUTE_TLS_ANY /* where it is offered, with whomever, whatever policies say; no setting's value
                   */
};
struct route_conf {      /* section "route", one for each title; the first that fits counts */
    const char *domains; /* list: "example.org", ".example.org" (with all below), "*" */
    const char *senders; /* list: "a@example.com", "@example.com"; empty: any */
    const char *host;    /* empty: by MX. A name is looked up by address, not by MX */
    int64_t port;
    int tls; /* enum route_tls */
    const char *user, *password, *mechanisms;
    /* not settings */
    char *name; /* [A-Za-z0-9._-] */
};
struct relay_conf { /* section "relay": mail to other hosts */
    bool enabled;
    const char *host; /* relay_host: all mail that no route takes; empty: by MX */
    int64_t port;
    int tls;
    const char *user, *password, *mechanisms;
    const char *trusted_networks; /* list: who may relay without a login */
    const char *bind_ipv4, *bind_ipv6, *ca_file;
    bool dane, mta_sts, srs;
    bool forward_junk; /* what the filters call junk */
    bool local_hosts; /* DNS and address literals may lead to this host and into private networks */
    const char *srs_domain;                           /* empty: main.hostname */
    int64_t mx_port;                                  /* 25 */
    int64_t connections;                              /* at once, in all */
    int64_t site_connections, site_connections_first; /* at once to one site: most; to begin with */
    int64_t messages;                                 /* over one connection */
    int64_t recipients;                               /* in one transaction */
    uint64_t idle;                                    /* how long an idle connection is kept */
    uint64_t connect_timeout, helo_timeout;
    uint64_t min_backoff, max_backoff, lifetime, bounce_lifetime, delay_warning;
    /* not settings */
    int inet;                  /* 0, 4, 6: main.inet */
    struct route_conf *routes; /* of the sections "route" */
    size_t n_routes;
    struct cidr_set trusted;
};
extern const struct ph_setting relay_settings[], route_settings[];
/* What one table can't tell, once all is set; fills trusted and inet. -1: err names the setting. */
int relay_settle(struct relay_conf *c, int inet, struct err *err)
    __attribute__((warn_unused_result));
int route_check(const struct route_conf *c, struct err *err) __attribute__((warn_unused_result));
void relay_fini(struct relay_conf *c); /* what isn't a setting: routes, trusted */
void route_fini(struct route_conf *c); /* its settings and name */

struct route {
    struct str site;
    bool mx;          /* by MX of `host`; else its addresses */
    const char *host; /* domain (A-labels), or host name or literal without brackets */
    uint16_t port;
    enum route_tls tls; /* AUTO with a login: VERIFY unless there is DANE, but on loopback */
    const struct smtp_credentials *credentials; /* NULL: none; in the arena */
    const char *name; /* which setting said so: "mx", "relay", "route NAME" */
};
/* sender: empty for the null sender. domain: of the recipient, as written. Memory from a. -1
 * ERR_PERM: not a name a host can have, or an address literal that leads to ourselves or into a
 * private network (those only where a route names the host). */
int route_choose(const struct relay_conf *conf, struct arena *a, struct str sender,
                 struct str domain, struct route *out, struct err *err)
    __attribute__((warn_unused_result));
/* What a site of the queue means today. ERR_WHY_NOT_FOUND: no route of that name any more (its rows
 * are to be routed anew). "queue reroute" makes sites: "relay:HOST:PORT" of hosts that no route
 * names go there with relay.tls and no login. */
int route_of_site(const struct relay_conf *conf, struct arena *a, struct str site,
                  struct route *out, struct err *err) __attribute__((warn_unused_result));
/* The site of the same domain by MX that leads there with ROUTE_TLS_ANY. */
struct str route_any_tls_site(struct arena *a, const struct route *r);
/* For people, and for the header of the sealed appliance: "mx example.org", "host mail.example:587
 * (relay)". */
void route_text(const struct route *r, struct buf *out);
#endif
