/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Sections "relay" and "route": what can be set, and what is refused when it is read. */
#include "appliance/base/text.h"
#include "smtp/client/route.h"
#include "smtp/client/route_address.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
#define DAYS(n) ((int64_t)(n)*24 * HOUR)

static const char *const tls_names[] = {[ROUTE_TLS_AUTO] = "auto",
                                        [ROUTE_TLS_NONE] = "none",
                                        [ROUTE_TLS_ENCRYPT] = "encrypt",
                                        [ROUTE_TLS_VERIFY] = "verify",
                                        [ROUTE_TLS_DANE] = "dane",
                                        [ROUTE_TLS_IMPLICIT] = "implicit",
                                        NULL};
#define TLS_DOC                                                                                    \
    "auto: DANE where the domain has it, else MTA-STS, else TLS where it is offered; with a "      \
    "login "                                                                                       \
    "as verify. none: never. encrypt: always, with whomever. verify: always, with a certificate "  \
    "for the host's name. dane: always, by TLSA records. implicit: as verify, from the first "     \
    "octet (port 465)."
#define MECHANISMS_DOC                                                                             \
    "SASL mechanisms, the best first: SCRAM-SHA-256, PLAIN, LOGIN. Empty: these, in this order."

// clang-format off
const struct ph_setting relay_settings[] = {
    PH_SETTING(BOOL, relay_conf, enabled, PH_RELOAD, "yes", 0, 0,
        "Send mail to other hosts. no: it is refused when it is submitted."),
    PH_SETTING(TEXT, relay_conf, host, PH_RELOAD, "", 0, 0,
        "A host that takes all mail for others that no route takes; a name is looked up by address, not by MX. "
        "Empty: each domain's own mail hosts. "
        "For Amazon SES in Ireland: host = email-smtp.eu-west-1.amazonaws.com, port = 587, tls = verify, "
        "user = (the SMTP user name), password = \"file:/etc/posthouse/ses\"."),
    PH_SETTING(INT, relay_conf, port, PH_RELOAD, "587", 1, 65535,
        "Port of host."),
    PH_SETTING_ENUM(relay_conf, tls, PH_RELOAD, "auto", tls_names,
        "TLS to host. " TLS_DOC),
    PH_SETTING(TEXT, relay_conf, user, PH_RELOAD, "", 0, 0,
        "The name to log in with at host. Empty: no login."),
    PH_SETTING(SECRET, relay_conf, password, PH_RELOAD, "", 0, 0,
        "Its password. It is told only under TLS, or to a host on loopback."),
    PH_SETTING(TEXT, relay_conf, mechanisms, PH_LIST | PH_RELOAD, "", 0, 0, MECHANISMS_DOC),
    PH_SETTING(TEXT, relay_conf, trusted_networks, PH_LIST | PH_RELOAD, "", 0, 0,
        "Addresses and networks that may send to other hosts without a login, on every port of service smtp or submission."),
    PH_SETTING(TEXT, relay_conf, bind_ipv4, PH_RELOAD, "", 0, 0,
        "Our own IPv4 address that mail goes out from. Empty: as the system chooses."),
    PH_SETTING(TEXT, relay_conf, bind_ipv6, PH_RELOAD, "", 0, 0,
        "Our own IPv6 address that mail goes out from. Empty: as the system chooses."),
    PH_SETTING(TEXT, relay_conf, ca_file, PH_RELOAD, "", 0, 0,
        "File with the certificates of the authorities that are trusted, as PEM. Empty: the system's."),
    PH_SETTING(BOOL, relay_conf, dane, PH_RELOAD, "yes", 0, 0,
        "Heed TLSA records of mail hosts (DANE, RFC 7672). It needs a dns.trust_anchor."),
    PH_SETTING(BOOL, relay_conf, mta_sts, PH_RELOAD, "yes", 0, 0,
        "Heed MTA-STS policies of domains (RFC 8461)."),
    PH_SETTING(BOOL, relay_conf, srs, PH_RELOAD, "yes", 0, 0,
        "Give mail that an alias forwards to another host a sender in srs_domain (SRS), so that SPF holds there."),
    PH_SETTING(BOOL, relay_conf, forward_junk, PH_RELOAD, "no", 0, 0,
        "Aliases also send on to other hosts what the filters call junk, which these then take this host for the source of. no: where all "
        "recipients of a message lead to other hosts only, it is refused (550 5.7.1); else the copies for other hosts go into quarantine, "
        "and the others into Junk; mail that was held for a stage and then is junk goes into quarantine as a whole. Mail of users isn't meant, nor mail that was allowed (posthouse policy)."),
    PH_SETTING(TEXT, relay_conf, srs_domain, PH_RELOAD, "", 0, 0,
        "The domain of such senders; their bounces come back to it. Empty: main.hostname."),
    PH_SETTING(BOOL, relay_conf, local_hosts, PH_RELOAD, "no", 0, 0,
        "Send also where DNS or an address literal of a recipient leads to loopback or link-local addresses, and to address "
        "literals in private networks: for tests. Hosts that relay.host or a route names may be anywhere."),
    PH_SETTING(INT, relay_conf, mx_port, PH_RELOAD, "25", 1, 65535,
        "Port of mail hosts that are found by MX."),
    PH_SETTING(INT, relay_conf, connections, PH_RELOAD, "100", 1, 10000,
        "Connections to other hosts at once, in all."),
    PH_SETTING(INT, relay_conf, site_connections, PH_RELOAD, "20", 1, 1000,
        "Connections at once to the hosts of one domain, or to one named host, at most."),
    PH_SETTING(INT, relay_conf, site_connections_first, PH_RELOAD, "4", 1, 1000,
        "How many it begins with; they grow while all goes well, and halve when a host refuses for now."),
    PH_SETTING(INT, relay_conf, messages, PH_RELOAD, "100", 1, 100000,
        "Messages over one connection."),
    PH_SETTING(INT, relay_conf, recipients, PH_RELOAD, "100", 1, 1000,
        "Recipients of one message in one transaction."),
    PH_SETTING(TIME, relay_conf, idle, PH_RELOAD, "5s", 0, 5 * MINUTE,
        "How long a connection without work is kept for the next message."),
    PH_SETTING(TIME, relay_conf, connect_timeout, PH_RELOAD, "30s", SECOND, 10 * MINUTE,
        "How long a host may take to accept a connection."),
    PH_SETTING(TIME, relay_conf, helo_timeout, PH_RELOAD, "60s", SECOND, 30 * MINUTE,
        "How long a host may take to greet, and to answer EHLO."),
    PH_SETTING(TIME, relay_conf, min_backoff, PH_RELOAD, "300s", SECOND, DAYS(1),
        "Wait after the first attempt that failed for now; it doubles with each one."),
    PH_SETTING(TIME, relay_conf, max_backoff, PH_RELOAD, "4000s", SECOND, DAYS(7),
        "The longest wait between two attempts."),
    PH_SETTING(TIME, relay_conf, lifetime, PH_RELOAD, "5d", 0, DAYS(100),
        "How long a message is tried before it is returned to its sender. 0: one attempt."),
    PH_SETTING(TIME, relay_conf, bounce_lifetime, PH_RELOAD, "5d", 0, DAYS(100),
        "The same for bounces, which then are dropped."),
    PH_SETTING(TIME, relay_conf, delay_warning, PH_RELOAD, "4h", 0, DAYS(100),
        "After which time the sender is told that a message is still on its way, once. 0: never."),
    PH_SETTING_END};

const struct ph_setting route_settings[] = {
    PH_SETTING(TEXT, route_conf, domains, PH_LIST | PH_RELOAD, "*", 0, 0,
        "For recipients in these domains: example.org, .example.org (with all domains below), [192.0.2.1], or * for all."),
    PH_SETTING(TEXT, route_conf, senders, PH_LIST | PH_RELOAD, "", 0, 0,
        "Only for messages of these senders: user@example.com, @example.com (all of the domain). Empty: any, bounces too."),
    PH_SETTING(TEXT, route_conf, host, PH_RELOAD, "", 0, 0,
        "The host that takes them, by name or IP address; a name is looked up by address, not by MX. "
        "Empty: each domain's own mail hosts."),
    PH_SETTING(INT, route_conf, port, PH_RELOAD, "25", 1, 65535,
        "Port of host."),
    PH_SETTING_ENUM(route_conf, tls, PH_RELOAD, "auto", tls_names, TLS_DOC),
    PH_SETTING(TEXT, route_conf, user, PH_RELOAD, "", 0, 0,
        "The name to log in with at host. Empty: no login."),
    PH_SETTING(SECRET, route_conf, password, PH_RELOAD, "", 0, 0,
        "Its password. It is told only under TLS, or to a host on loopback."),
    PH_SETTING(TEXT, route_conf, mechanisms, PH_LIST | PH_RELOAD, "", 0, 0, MECHANISMS_DOC),
    PH_SETTING_END};
// clang-format on

static bool is_domain(struct str name)
{
    struct buf out;
    struct str last;
    size_t at;

    buf_init(&out, 256);
    bool yes = text_domain(name, &out) == 0;
    last = str_rchr(buf_str(&out), '.', &at) ? str_skip(buf_str(&out), at + 1) : buf_str(&out);
    /* RFC 3696 2: no top-level domain is a number, so this is a misspelt address. */
    yes = yes && strspn(buf_z(&out) + (last.p - out.p), "0123456789") != last.n;
    buf_fini(&out);
    return yes;
}

#define SHOWN(s) STR_ARG(str_take((s), 80))

static int check_host(const char *host, struct err *err)
{
    char ip[ROUTE_IP_MAX];

    if (!host[0] || route_ip(str_from(host), ip) || is_domain(str_from(host)))
        return 0;
    return ERR(err, ERR_PROTO, "host: '%.80s' is neither the name of a host nor an IP address%s",
               host, host[0] == '[' ? " (it stands here without brackets)" : "");
}

static int check_mechanisms(const char *list, struct err *err)
{
    static const char *const known[] = {"SCRAM-SHA-256", "PLAIN", "LOGIN", NULL};
    struct str rest = str_from(list), word;

    while (settings_list_next(&rest, &word)) {
        size_t i = 0;
        while (known[i] && !str_ieq(word, str_from(known[i])))
            i++;
        if (!known[i])
            return ERR(err, ERR_PROTO,
                       "mechanisms: '" STR_FMT "' isn't known; there are SCRAM-SHA-256, PLAIN, "
                       "LOGIN",
                       SHOWN(word));
    }
    return 0;
}

/* Where a message goes, and with which login. */
static int check_way(const char *host, int tls, const char *user, const char *password,
                     const char *mechanisms, struct err *err)
{
    char ip[ROUTE_IP_MAX];

    if (check_host(host, err) || check_mechanisms(mechanisms, err))
        return -1;
    if (user[0] && !host[0])
        return ERR(err, ERR_PROTO, "user: there is no host to log in at");
    if (user[0] && !password[0])
        return ERR(err, ERR_PROTO, "user: there is no password for '%.80s'", user);
    if (password[0] && !user[0])
        return ERR(err, ERR_PROTO, "password: there is no user it belongs to");
    bool literal = route_ip(str_from(host), ip) != 0;
    if (user[0] && tls == ROUTE_TLS_NONE && !(literal && route_is_loopback(ip)))
        return ERR(err, ERR_PROTO, "tls: none would send the password in the clear");
    if (tls == ROUTE_TLS_DANE && literal)
        return ERR(err, ERR_PROTO, "tls: dane needs a host with a name, not an address");
    if (tls == ROUTE_TLS_IMPLICIT && !host[0])
        return ERR(err, ERR_PROTO, "tls: implicit needs a host; mail hosts found by MX haven't it");
    return 0;
}

static int check_address(const char *value, int version, const char *name, struct err *err)
{
    char ip[ROUTE_IP_MAX];

    if (value[0] && route_ip(str_from(value), ip) != version)
        return ERR(err, ERR_PROTO, "%s: '%.60s' is not an IPv%d address", name, value, version);
    return 0;
}

int relay_settle(struct relay_conf *c, int inet, struct err *err)
{
    if (check_way(c->host, c->host[0] ? c->tls : ROUTE_TLS_AUTO, c->user, c->password,
                  c->mechanisms, err) ||
        check_address(c->bind_ipv4, 4, "bind_ipv4", err) ||
        check_address(c->bind_ipv6, 6, "bind_ipv6", err))
        return -1;
    if (c->srs_domain[0] && !is_domain(str_from(c->srs_domain)))
        return ERR(err, ERR_PROTO, "srs_domain: '%.60s' is not a domain name", c->srs_domain);
    if (c->min_backoff > c->max_backoff)
        return ERR(err, ERR_PROTO, "min_backoff is longer than max_backoff");
    if (c->site_connections_first > c->site_connections)
        return ERR(err, ERR_PROTO, "site_connections_first is more than site_connections");
    cidr_set_free(&c->trusted);
    if (cidr_set_parse(str_from(c->trusted_networks), &c->trusted, err))
        return err_context(err, "trusted_networks");
    c->inet = inet;
    return 0;
}

static bool is_domain_pattern(struct str word)
{
    char ip[ROUTE_IP_MAX];

    return str_eq(word, STR("*")) || route_literal(word, ip) ||
           is_domain(str_skip(word, str_starts(word, STR("."))));
}

static bool is_sender_pattern(struct str word)
{
    size_t at;

    return str_rchr(word, '@', &at) && is_domain(str_skip(word, at + 1));
}

static int check_patterns(const char *list, bool (*good)(struct str), const char *what,
                          struct err *err)
{
    struct str rest = str_from(list), word;

    while (settings_list_next(&rest, &word))
        if (!good(word))
            return ERR(err, ERR_PROTO, "%s: '" STR_FMT "' is not of a form that is known", what,
                       SHOWN(word));
    return 0;
}

int route_check(const struct route_conf *c, struct err *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = strlen(c->name);

    if (n == 0 || n > 32 || strspn(c->name, letters) != n)
        return ERR(err, ERR_PROTO,
                   "the name of a route has up to 32 letters, digits and . _ -: it is kept with "
                   "the messages");
    struct str rest = str_from(c->domains), word;
    if (!settings_list_next(&rest, &word))
        return ERR(err, ERR_PROTO, "domains: there is none");
    if (check_patterns(c->domains, is_domain_pattern, "domains", err) ||
        check_patterns(c->senders, is_sender_pattern, "senders", err))
        return -1;
    return check_way(c->host, c->tls, c->user, c->password, c->mechanisms, err);
}

void route_fini(struct route_conf *c)
{
    settings_free(route_settings, c);
    mem_free(c->name);
    c->name = NULL;
}

void relay_fini(struct relay_conf *c)
{
    for (size_t i = 0; i < c->n_routes; i++)
        route_fini(&c->routes[i]);
    mem_free(c->routes);
    c->routes = NULL;
    c->n_routes = 0;
    cidr_set_free(&c->trusted);
}
