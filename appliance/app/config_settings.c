/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Sections that belong to no room: main, tls, log, listener. */
#include "appliance/app/config.h"

static const char *const inet_names[] = {
    [INET_ANY] = "any", [INET_IPV4] = "ipv4", [INET_IPV6] = "ipv6", NULL};
static const char *const level_names[] = {"error", "warn", "info", "debug", NULL};
static const char *const format_names[] = {
    [LOG_AS_LOGFMT] = "logfmt", [LOG_AS_JSON] = "json", NULL};
static const char *const service_names[] = {
    [SERVICE_SMTP] = "smtp", [SERVICE_SUBMISSION] = "submission", [SERVICE_IMAP] = "imap", NULL};
static const char *const tls_names[] = {
    [PORT_STARTTLS] = "starttls", [PORT_IMPLICIT] = "implicit", [PORT_NO_TLS] = "none", NULL};

static const char *const binding_names[] = {
    [PORT_BINDING_AUTO] = "auto", [PORT_BINDING_YES] = "yes", [PORT_BINDING_NO] = "no", NULL};
static const char *const scram_names[] = {[DIRECTORY_SCRAM_AUTO] = "auto",
                                          [DIRECTORY_SCRAM_ON] = "on",
                                          [DIRECTORY_SCRAM_OFF] = "off",
                                          NULL};

// clang-format off
const struct ph_setting main_settings[] = {
    PH_SETTING(TEXT, main_conf, hostname, 0, "", 0, 0,
        "Full name of this host: in greetings, in Received, in Message-ID. DNS leads from it to this host and back. "
        "Empty: the system's name, which must then be a full one."),
    PH_SETTING(TEXT, main_conf, data, 0, "/var/lib/posthouse", 0, 0,
        "The data folder: mail, accounts, state. Commands use it too when they aren't given --data."),
    PH_SETTING(TEXT, main_conf, user, 0, "", 0, 0,
        "The user to become once the ports are open. It must be set when posthouse is started by root."),
    PH_SETTING(TEXT, main_conf, origin, 0, "", 0, 0,
        "The domain of a login name that is given without one, and of postmaster alone. Empty: the only domain there is; "
        "for postmaster the first."),
    PH_SETTING(TEXT, main_conf, postmaster, 0, "", 0, 0,
        "Who gets mail for root, postmaster and abuse where a domain has no such address of its own. "
        "Empty: postmaster at the first domain. When that address doesn't exist postmaster's mail goes to the first user there, "
        "by name: it must be taken (RFC 5321 4.5.1)."),
    PH_SETTING_ENUM(main_conf, inet, 0, "any", inet_names,
        "Which Internet protocols to use."),
    PH_SETTING(TIME, main_conf, drain, PH_RELOAD, "10s", 0, 3600 * 1000,
        "How long sessions may go on that are within a message when posthouse is told to stop."),
    PH_SETTING(TEXT, main_conf, socket, 0, "/run/posthouse/submit.sock", 0, 0,
        "Socket on which programs of this host hand in mail without a password, by `sendmail`. Its folder is made by a "
        "start as root. Empty: none."),
    PH_SETTING(BOOL, main_conf, sandbox, 0, "yes", 0, 0,
        "Give up what a mail server never needs, by Landlock and seccomp, as far as the kernel has them."),
    PH_SETTING(TEXT, main_conf, readable, PH_LIST, "", 0, 0,
        "Folders that may be read within the sandbox beside the data folder, the folders of the configuration and "
        "the certificate, and the system's own."),
    PH_SETTING_END};

const struct ph_setting tls_settings[] = {
    PH_SETTING(TEXT, tls_conf, certificate, PH_RELOAD, "", 0, 0,
        "File with the certificate for hostname and its chain, as PEM."),
    PH_SETTING(TEXT, tls_conf, key, PH_RELOAD, "", 0, 0,
        "File with its key, as PEM. Nobody but its owner and group may read it; it may belong to root."),
    PH_SETTING(BOOL, tls_conf, any_name, PH_RELOAD, "no", 0, 0,
        "Start with a certificate that isn't for main.hostname."),
    PH_SETTING_END};

const struct ph_setting log_settings[] = {
    PH_SETTING_ENUM(log_conf, level, PH_RELOAD, "info", level_names,
        "The least important lines that are written."),
    PH_SETTING_ENUM(log_conf, format, PH_RELOAD, "logfmt", format_names,
        "How a line looks."),
    PH_SETTING(TEXT, log_conf, debug, PH_RELOAD | PH_LIST, "", 0, 0,
        "Modules that write debug lines whatever the level: app, control, database, directory, dns, filters, guard, helper, http, imap, "
        "import, io, monitor, pam, runner, smtp, store."),
    PH_SETTING_END};

const struct ph_setting port_settings[] = {
    PH_SETTING(BOOL, port_conf, enabled, 0, "yes", 0, 0,
        "Open it."),
    PH_SETTING_ENUM(port_conf, service, 0, "smtp", service_names,
        "smtp: mail from other hosts, for our own addresses. submission: mail from our users, who log in. imap: reading mail."),
    PH_SETTING(TEXT, port_conf, address, PH_LIST, "", 0, 0,
        "IP addresses to listen on. Empty: all of this host, of the protocols in main.inet."),
    PH_SETTING(INT, port_conf, port, 0, "0", 0, 65535,
        "Port number. 0: one that the kernel chooses."),
    PH_SETTING_ENUM(port_conf, tls, 0, "starttls", tls_names,
        "implicit: TLS from the first byte. starttls: the client asks for it. none: never, and so no logins."),
    PH_SETTING_ENUM(port_conf, scram, 0, "auto", scram_names,
        "Offer logins by SCRAM-SHA-256, which never send the password. auto: when every account that can log in "
        "has what it needs (directory.scram_verifiers); posthouse doctor counts the missing. on: whoever has none can't log in with it."),
    PH_SETTING_ENUM(port_conf, channel_binding, 0, "auto", binding_names,
        "With SCRAM offer SCRAM-SHA-256-PLUS under TLS, which finds out who stands between the client and us. Some clients choose it and "
        "then can't do it: mutt with gsasl, as in Debian 12 and 13, unless its smtp_authenticators says SCRAM-SHA-256. auto: where scram "
        "is on, not where it turns on by itself."),
    PH_SETTING(TEXT, port_conf, proxy_from, PH_LIST | PH_RELOAD, "", 0, 0,
        "Addresses and networks of proxies that begin each connection with the client's address in the PROXY protocol, "
        "version 1 or 2. They must send it; from others it is not understood."),
    PH_SETTING(INT, port_conf, max_connections, 0, "20000", 1, 1000000,
        "Connections open at once on each address; more wait."),
    PH_SETTING_END};
// clang-format on
