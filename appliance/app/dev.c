/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse dev: the sealed test appliance. */
#include "appliance/app/appliance.h"
#include "appliance/app/dev_accounts.h"
#include "appliance/app/modes.h"
#include "appliance/app/programs.h"
#include "appliance/app/seal.h"
#include "appliance/app/sendmail.h"
#include "appliance/app/stages.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql_url.h"
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PORT_BASE = 1000, HOSTS_MAX = 6 };

struct dev_options {
    const char *data, *password;
    const char *hosts[HOSTS_MAX + 1];
    size_t n_hosts;
    uint16_t base, metrics_port;
    bool metrics, kernel_ports, strict, json, show_config;
    struct config config;
};

const char dev_help[] =
    "posthouse dev - a sealed test mail server: nothing it receives leaves this machine\n\n"
    "  --data DIR         keep everything in DIR (default: a temporary folder, removed at the "
    "end)\n"
    "  --database URL     keep mail and accounts in this empty MySQL database:\n"
    "                     mysql://USER@/NAME?socket=/PATH\n"
    "  --port-base N      ports N+25 SMTP, N+465 submissions, N+587 submission, N+143 IMAP, N+993 "
    "IMAPS\n"
    "                     (default 1000; 0: free ports chosen by the kernel)\n"
    "  --listen ADDR      listen there instead of on loopback (0.0.0.0, ::, an address; may be "
    "repeated)\n"
    "  --strict           the SMTP port behaves as on the internet: only our own recipients, no "
    "AUTH\n"
    "  --password PW      one password for all test accounts\n"
    "  --metrics-port N   serve /metrics (Prometheus), /healthz and /readyz on port N over HTTP "
    "(0: a free one)\n"
    "  --plugin FILE      load a filter stage (a shared object; see posthouse-stage(3)); may be "
    "repeated\n"
    "  --set SECTION.NAME=VALUE  change a setting (--show-config lists them)\n"
    "  --show-config      print the settings in force and end\n"
    "  --log-level LEVEL  error, warn, info or debug (default info)\n"
    "  --json             print one line of JSON when ready, and nothing else on standard output\n"
    "\nExit codes: 0 stopped by a signal, 1 could not start, 2 usage.\n";

/* ---- options */
static int parse_base(const char *text, struct dev_options *o, struct err *err)
{
    uint64_t v;

    if (str_to_u64(str_from(text), 64000, &v))
        return ERR(err, ERR_PROTO, "--port-base: want a number from 0 to 64000, not '%s'", text);
    o->base = (uint16_t)v;
    o->kernel_ports = v == 0;
    return 0;
}

static int parse_metrics_port(const char *text, struct dev_options *o, struct err *err)
{
    uint64_t v;

    if (str_to_u64(str_from(text), 65535, &v))
        return ERR(err, ERR_PROTO, "--metrics-port: want a number from 0 to 65535, not '%s'", text);
    o->metrics = true;
    o->metrics_port = (uint16_t)v;
    return 0;
}

static int parse_level(const char *text, struct err *err)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(text, names[i]) == 0) {
            log_set_level((enum log_level)i);
            return 0;
        }
    return ERR(err, ERR_PROTO, "--log-level: want error, warn, info or debug, not '%s'", text);
}

static int parse_host(const char *text, struct dev_options *o, struct err *err)
{
    if (o->n_hosts == HOSTS_MAX)
        return ERR(err, ERR_PROTO, "--listen: at most %d addresses", HOSTS_MAX);
    o->hosts[o->n_hosts++] = text;
    return 0;
}

static int parse_database(const char *url, struct dev_options *o, struct err *err)
{
    char assignment[SQL_URL_MAX + 32];

    snprintf(assignment, sizeof assignment, "database.url=%s", url);
    return config_assign(&o->config, assignment, err);
}

static const struct option long_options[] = {{"data", required_argument, NULL, 'd'},
                                             {"database", required_argument, NULL, 'b'},
                                             {"port-base", required_argument, NULL, 'p'},
                                             {"listen", required_argument, NULL, 'l'},
                                             {"strict", no_argument, NULL, 's'},
                                             {"password", required_argument, NULL, 'w'},
                                             {"metrics-port", required_argument, NULL, 'm'},
                                             {"plugin", required_argument, NULL, 'g'},
                                             {"set", required_argument, NULL, 'o'},
                                             {"show-config", no_argument, NULL, 'c'},
                                             {"log-level", required_argument, NULL, 'v'},
                                             {"json", no_argument, NULL, 'j'},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

static int take_option(int c, struct dev_options *o, struct err *err)
{
    switch (c) {
    case 'd':
        o->data = optarg;
        return 0;
    case 'p':
        return parse_base(optarg, o, err);
    case 'b':
        return parse_database(optarg, o, err);
    case 'l':
        return parse_host(optarg, o, err);
    case 's':
        o->strict = true;
        return 0;
    case 'w':
        o->password = optarg;
        return 0;
    case 'm':
        return parse_metrics_port(optarg, o, err);
    case 'g':
        return 0; /* load_plugins() */
    case 'o':
        return config_assign(&o->config, optarg, err);
    case 'c':
        o->show_config = true;
        return 0;
    case 'v':
        return parse_level(optarg, err);
    case 'j':
        o->json = true;
        return 0;
    default:
        return ERR(err, ERR_PROTO, "see posthouse dev --help");
    }
}

/* What the values given by --set mean together. */
static int settle(struct config *c, struct err *err)
{
    struct buf errors;

    buf_init(&errors, 1 << 16);
    bool good = config_settle(c, "--set", &errors, err);
    buf_fini(&errors);
    if (good && c->database.server.database && !c->database.server.socket)
        return ERR(err, ERR_PROTO,
                   "posthouse dev can't reach other hosts: name the database's socket, "
                   "mysql://USER@/NAME?socket=/PATH");
    return good ? 0 : -1;
}

/* First of all: they bring sections that --set may name. */
static int load_plugins(int argc, char **argv, struct err *err)
{
    int c;

    optind = 0;
    opterr = 0;
    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
        if (c == 'g' && stages_load(optarg, err))
            return -1;
    opterr = 1;
    return 0;
}

/* 1: help was asked for and given. */
static int parse_options(int argc, char **argv, struct dev_options *o, struct err *err)
{
    int c;

    o->base = PORT_BASE;
    optind = 0;
    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (c == 'h') {
            fputs(dev_help, stdout);
            return 1;
        }
        if (take_option(c, o, err))
            return -1;
    }
    if (optind < argc)
        return ERR(err, ERR_PROTO, "posthouse dev does not know '%s'", argv[optind]);
    if (o->n_hosts == 0) {
        o->hosts[0] = "127.0.0.1";
        o->hosts[1] = "?::1";
    }
    return 0;
}

/* ---- the appliance */
struct dev {
    struct dev_options options;
    struct datadir data;
    struct appliance appliance;
    struct appliance_port ports[5];
    bool sealed;
    struct runner runner;
    char hostname[256];
};

static void set_port(struct dev *d, size_t i, const char *name, enum appliance_service service,
                     enum smtp_role role, bool implicit_tls, uint16_t offset)
{
    d->ports[i] = (struct appliance_port){
        .name = name,
        .service = service,
        .role = role,
        .implicit_tls = implicit_tls,
        .logins = {.scram = DIRECTORY_SCRAM_ON},
        .number = d->options.kernel_ports ? 0 : (uint16_t)(d->options.base + offset)};
}

static void set_ports(struct dev *d)
{
    enum smtp_role role = d->options.strict ? SMTP_RECEPTION : SMTP_OPEN;

    set_port(d, 0, "smtp", APPLIANCE_SMTP, role, false, 25);
    set_port(d, 1, "submissions", APPLIANCE_SMTP, SMTP_SUBMISSION, true, 465);
    set_port(d, 2, "submission", APPLIANCE_SMTP, SMTP_SUBMISSION, false, 587);
    set_port(d, 3, "imap", APPLIANCE_IMAP, SMTP_OPEN, false, 143);
    set_port(d, 4, "imaps", APPLIANCE_IMAP, SMTP_OPEN, true, 993);
}

static int make_tls(struct dev *d, struct err *err)
{
    const char *names[4 + HOSTS_MAX + 1] = {"localhost", "127.0.0.1", "::1"};
    struct buf cert, key;
    size_t n = 3;
    int rc;

    if (gethostname(d->hostname, sizeof d->hostname - 1) == 0 && d->hostname[0] &&
        strcmp(d->hostname, "localhost") != 0)
        names[n++] = d->hostname;
    for (size_t i = 0; i < d->options.n_hosts; i++)
        if (strcmp(d->options.hosts[i], "0.0.0.0") != 0 && strcmp(d->options.hosts[i], "::") != 0 &&
            strcmp(d->options.hosts[i], "127.0.0.1") != 0 &&
            strcmp(d->options.hosts[i], "::1") != 0)
            names[n++] = d->options.hosts[i];
    if (tls_ca_ensure(d->data.fd, names, err))
        return -1;
    buf_init(&cert, 8192);
    buf_init(&key, 8192);
    buf_printf(&cert, "%s/cert.pem", d->data.path);
    buf_printf(&key, "%s/key.pem", d->data.path);
    rc = tls_ctx_server(buf_z(&cert), buf_z(&key), &d->appliance.tls, err);
    buf_fini(&cert);
    buf_fini(&key);
    return rc;
}

static int open_submit(struct dev *d, struct err *err)
{
    struct buf path;
    int rc;

    buf_init(&path, PATH_MAX);
    buf_printf(&path, "%s/" SUBMIT_SOCKET, d->data.path);
    rc = appliance_listen_submit(&d->appliance, buf_z(&path), err);
    buf_fini(&path);
    return rc;
}

static int open_ports(struct dev *d, struct err *err)
{
    const struct dev_options *o = &d->options;

    if (o->metrics && appliance_listen_metrics(&d->appliance, o->hosts[0], o->metrics_port, err))
        return err_context(err, "choose another port with --metrics-port");
    if (appliance_listen(&d->appliance, o->hosts, err) == 0)
        return open_submit(d, err);
    if (err->why == ERR_WHY_BUSY || err->why == ERR_WHY_DENIED)
        return err_context(err, "choose other ports with --port-base (0: whatever is free)");
    return -1;
}

static int start(struct dev *d, struct err *err)
{
    struct appliance *a = &d->appliance;
    struct err seal_err = {ERR_NONE, ERR_WHY_OTHER, ""};

    *a = (struct appliance){.config = &d->options.config,
                            .data = &d->data,
                            .capture_account = dev_accounts[DEV_CAPTURE].address,
                            .ports = d->ports,
                            .n_ports = ARRAY_LEN(d->ports)};
    d->runner.fd = -1;
    log_prepare();
    set_ports(d);
    if (make_tls(d, err) || open_ports(d, err))
        return -1;
    d->sealed = seal_process(d->options.config.database.server.socket != NULL, &seal_err) == 0;
    if (!d->sealed)
        log_warn(&(struct log_ctx){.module = "app"}, "seal_in_code_only",
                 L_Z("why", seal_err.text));
    /* After the seal, so that programs are sealed as well. */
    if (programs_start(&d->runner, NULL, &d->options.config, NULL, err) ||
        database_await(&d->options.config.database, err) ||
        dev_seed(d->data.path, &d->options.config.directory, d->options.password, err))
        return -1;
    a->runner = &d->runner;
    log_start_thread();
    return appliance_start(a, err);
}

/* ---- saying so */
static const struct appliance_port *port_named(const struct dev *d, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(d->ports); i++)
        if (strcmp(d->ports[i].name, name) == 0)
            return &d->ports[i];
    return NULL;
}

static void print_json(const struct dev *d)
{
    static const char *const names[] = {"smtp", "submission", "submissions", "imap", "imaps"};
    json_t *o = json_object(), *list = json_array();
    char *text;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct appliance_port *p = port_named(d, names[i]);
        json_object_set_new(o, names[i],
                            json_pack("{ss si}", "host", p->host, "port", (int)p->number));
    }
    if (d->appliance.metrics_listener)
        json_object_set_new(o, "metrics",
                            json_pack("{ss si}", "host",
                                      listener_host(d->appliance.metrics_listener), "port",
                                      (int)listener_port(d->appliance.metrics_listener)));
    json_object_set_new(o, "ca", json_sprintf("%s/ca.pem", d->data.path));
    json_object_set_new(o, "sendmail_socket", json_sprintf("%s/" SUBMIT_SOCKET, d->data.path));
    json_object_set_new(o, "data", json_string(d->data.path));
    for (size_t i = 0; i < DEV_ACCOUNTS; i++)
        json_array_append_new(list, json_pack("{ss ss}", "address", dev_accounts[i].address,
                                              "password", dev_password(i, d->options.password)));
    json_object_set_new(o, "accounts", list);
    json_object_set_new(o, "seal", json_string(d->sealed ? "kernel" : "code"));
    text = json_dumps(o, JSON_COMPACT);
    puts(text);
    free(text);
    json_decref(o);
}

static void print_text(const struct dev *d)
{
    const char *host = port_named(d, "smtp")->host;
    int smtp = port_named(d, "smtp")->number, imaps = port_named(d, "imaps")->number;

    printf("posthouse dev: a sealed test mail server; nothing leaves this machine (%s).\n",
           d->sealed ? "the kernel refuses every outgoing connection"
                     : "the kernel could not seal it: there is no code here that sends");
    printf("  SMTP         %s:%d  %s\n", host, smtp,
           d->options.strict ? "for our own recipients only" : "takes mail for anybody, no login");
    printf("  submission   %s:%d STARTTLS, :%d TLS\n", host, port_named(d, "submission")->number,
           port_named(d, "submissions")->number);
    printf("  IMAP         %s:%d STARTTLS, :%d TLS\n", host, port_named(d, "imap")->number, imaps);
    if (d->appliance.metrics_listener)
        printf("  metrics      http://%s:%d/metrics, /healthz, /readyz\n", host,
               (int)listener_port(d->appliance.metrics_listener));
    printf("  sendmail     POSTHOUSE_SOCKET=%s/" SUBMIT_SOCKET " posthouse sendmail\n",
           d->data.path);
    printf("  certificate  %s/ca.pem\n  data         %s%s\n", d->data.path, d->data.path,
           d->data.temporary ? " (removed at the end)" : "");
    for (size_t i = 0; i < DEV_ACCOUNTS; i++)
        printf("  %-12s %s  password %s%s\n", i ? "" : "accounts", dev_accounts[i].address,
               dev_password(i, d->options.password),
               i == DEV_CAPTURE ? "  (mail for other domains lands here)" : "");
    printf(
        "\nSend a message and read it:\n"
        "  printf 'Subject: Hello\\n\\nA first message.\\n' | curl -sS --crlf smtp://localhost:%d "
        "--mail-from you@example.org --mail-rcpt %s -T -\n"
        "  curl -sS --cacert %s/ca.pem -u %s:%s 'imaps://localhost:%d/INBOX;MAILINDEX=1'\n\n"
        "Ctrl-C stops it.\n",
        smtp, dev_accounts[0].address, d->data.path, dev_accounts[0].address,
        dev_password(0, d->options.password), imaps);
}

static void print_config(const struct config *c)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    config_show(c, false, &out);
    fputs(buf_z(&out), stdout);
    buf_fini(&out);
}

static int run(struct dev *d, struct err *err)
{
    int rc;

    if (datadir_open(d->options.data, true, &d->data, err))
        return -1;
    rc = datadir_lock(&d->data, err);
    if (rc == 0)
        rc = database_check_folder(&d->data, &d->options.config.database, err);
    if (rc == 0)
        rc = start(d, err);
    if (rc == 0) {
        (d->options.json ? print_json : print_text)(d);
        fflush(stdout);
        appliance_run(&d->appliance);
    }
    appliance_stop(&d->appliance);
    runner_stop(&d->runner);
    tls_ctx_unref(&d->appliance.tls);
    datadir_close(&d->data);
    return rc;
}

int mode_dev(int argc, char **argv)
{
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
    struct dev *d = MEM_NEW(struct dev);
    int code = 0, rc;

    rc = load_plugins(argc, argv, &err);
    stages_declare();
    if (rc == 0)
        rc = config_defaults(&d->options.config, &err);
    if (rc == 0) /* a test's clients all come from one address */
        rc = config_assign(&d->options.config, "imap.max_conn_per_user_ip=10000", &err);
    if (rc == 0) /* and they fail on purpose; a container sees its own gateway instead of them */
        rc = config_assign(&d->options.config,
                           "guard.trusted=127.0.0.0/8, ::1, 10.0.0.0/8, 172.16.0.0/12, "
                           "192.168.0.0/16, fc00::/7, fe80::/10",
                           &err);
    if (rc == 0)
        rc = parse_options(argc, argv, &d->options, &err);
    if (rc == 0)
        rc = settle(&d->options.config, &err);
    if (rc == 0 && d->options.show_config)
        print_config(&d->options.config);
    else if (rc == 0)
        code = run(d, &err) ? 1 : 0;
    else if (rc < 0)
        code = 2;
    if (code && err.text[0])
        fprintf(stderr, "posthouse dev: %s\n", err.text);
    config_free(&d->options.config);
    mem_free(d);
    return code;
}
