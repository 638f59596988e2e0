/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse serve: the appliance that faces the internet. The order of the start is DESIGN.md 3:
 * what needs privileges first, threads last. */
#include "appliance/app/serve.h"
#include "appliance/app/docs.h"
#include "appliance/app/modes.h"
#include "appliance/app/sandbox.h"
#include "appliance/app/sdnotify.h"
#include "appliance/app/stages.h"
#include "appliance/base/log.h"
#include "filters/builtin.h"
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct log_ctx log_serve = {.module = "app"};

/* ---- the log */

/* systemd names the journal's stream by device and inode; standard error may have been redirected
 * since. */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct str dev, ino;
    uint64_t d, i;
    struct stat st;

    return stream && str_cut(str_from(stream), ':', &dev, &ino) &&
           str_to_u64(dev, UINT64_MAX, &d) == 0 && str_to_u64(ino, UINT64_MAX, &i) == 0 &&
           fstat(2, &st) == 0 && st.st_dev == d && st.st_ino == i;
}

void serve_set_log(const struct config *c)
{
    log_set_level((enum log_level)c->log.level);
    log_set_json(c->log.format == LOG_AS_JSON);
    log_set_debug(str_from(c->log.debug));
}

/* ---- start */

/* Only root may make it in /var/lib. */
static int make_data_folder(const struct serve *s, struct err *err)
{
    const char *path = s->boot->main.data;

    if (!s->user.change || mkdir(path, 0700) != 0)
        return 0; /* datadir_open() will say what is wrong */
    if (chown(path, s->user.uid, s->user.gid) != 0)
        return ERR(err, ERR_PERM, "cannot give the data folder %s to %s: %s", path, s->user.name,
                   strerror(errno));
    return 0;
}

/* Mail from programs of this host is a convenience: without its socket mail is received all the
 * same. */
static void open_submit(struct serve *s)
{
    const char *path = s->boot->main.socket;
    struct err err = {0};
    char *folder;

    if (!path[0])
        return;
    folder = str_dup_z(str_from(path));
    dirname(folder);
    if (s->user.change && mkdir(folder, 0755) == 0 &&
        (chmod(folder, 0755) != 0 || chown(folder, s->user.uid, s->user.gid) != 0))
        log_warn(&log_serve, "sendmail_folder", L_Z("folder", folder), L_Z("why", strerror(errno)));
    mem_free(folder);
    if (appliance_listen_submit(&s->appliance, path, &err))
        log_warn(&log_serve, "no_sendmail_socket", L_Z("socket", path), L_Z("why", err.text));
}

static int open_ports(struct serve *s, struct err *err)
{
    struct config *c = s->boot;

    if (service_user_find(c->main.user, &s->user, err) || serve_check(c, err) ||
        serve_check_data(c, &s->user, err) || keys_load(c, NULL, &s->appliance.tls, err) ||
        serve_make_ports(s, err))
        return -1;
    if (appliance_listen(&s->appliance, NULL, err) == 0) {
        open_submit(s);
        return 0;
    }
    if (err->why == ERR_WHY_DENIED)
        return err_context(err, "start posthouse as root, or with the capability "
                                "CAP_NET_BIND_SERVICE");
    return err_context(err, "listener");
}

static int drop(struct serve *s, struct err *err)
{
    s->helper.fd = -1;
    if (make_data_folder(s, err))
        return -1;
    if (s->user.change && helper_start(&s->helper, s->config_path, err))
        return -1;
    if (programs_start(&s->runner, &s->user, s->boot, s->config_path, err))
        return -1;
    s->appliance.runner = &s->runner;
    if (s->boot->directory.source == DIRECTORY_FROM_SYSTEM) {
        if (pam_helper_start(&s->pam, err))
            return -1;
        s->boot->directory.system = &s->pam.system;
    }
    if (privileges_drop(&s->user, err))
        return -1;
    if (access(s->config_path, R_OK) != 0)
        log_warn(&log_serve, "config_unreadable", L_Z("file", s->config_path),
                 L_Z("means", "a reload will fail: let the group of main.user read it"));
    return 0;
}

static int take_data_folder(struct serve *s, struct err *err)
{
    if (datadir_open(s->boot->main.data, true, &s->data, err) || datadir_lock(&s->data, err))
        return -1;
    if (database_check_folder(&s->data, &s->boot->database, err))
        return -1;
    s->appliance.data = &s->data;
    /* Where SQLite puts what doesn't fit into memory: the sandbox knows no /tmp. */
    setenv("SQLITE_TMPDIR", s->data.path, 1);
    return appliance_listen_control(&s->appliance, err);
}

/* The folder of a file, and the one its links lead to. */
static void add_folders(const char *file, char **out, size_t *n)
{
    char *real = file[0] ? realpath(file, NULL) : NULL;
    const char *paths[] = {file[0] ? file : NULL, real};

    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (paths[i]) {
            char *copy = str_dup_z(str_from(paths[i]));
            out[(*n)++] = str_dup_z(str_from(dirname(copy)));
            mem_free(copy);
        }
    free(real);
}

/* A folder itself, and the one its links lead to. */
static void add_folder(const char *folder, char **out, size_t *n)
{
    char *real = folder[0] ? realpath(folder, NULL) : NULL;

    if (folder[0])
        out[(*n)++] = str_dup_z(str_from(folder));
    if (real)
        out[(*n)++] = str_dup_z(str_from(real));
    free(real);
}

static void enter_sandbox(struct serve *s)
{
    enum { MOST = 64 };
    char *readable[MOST + 1] = {NULL};
    struct str rest = str_from(s->boot->main.readable), word;
    size_t n = 0;

    if (!s->boot->main.sandbox) {
        log_warn(&log_serve, "sandbox_off");
        return;
    }
    add_folders(s->config_path, readable, &n);
    add_folders(s->boot->tls.certificate, readable, &n);
    add_folders(s->boot->tls.key, readable, &n);
    add_folders(s->boot->relay.ca_file, readable, &n);
    add_folders(s->boot->oauth.ca_file, readable, &n);
    add_folders(s->boot->dns.trust_anchor, readable, &n);
    add_folders(s->boot->database.ca, readable, &n);
    add_folders(s->boot->directory.ca, readable, &n);
    add_folder(s->boot->directory.folder, readable, &n);
    add_folder(clamav_folder(filters_section_own(config_extra(s->boot, "clamav"))), readable, &n);
    while (n < MOST && settings_list_next(&rest, &word))
        readable[n++] = str_dup_z(word);
    sandbox_enter(&(struct sandbox){.data = s->data.path,
                                    .bodies = s->boot->store.bodies,
                                    .readable = (const char *const *)readable});
    while (n)
        mem_free(readable[--n]);
}

static void on_stopping(void *ctx)
{
    (void)ctx;
    sdnotify_stopping();
}

static int start(struct serve *s, struct err *err)
{
    s->appliance.config = s->boot;
    s->appliance.snapshot = &s->boot->snapshot;
    s->appliance.drain_ms = s->boot->main.drain;
    s->appliance.on_reload = serve_reload;
    s->appliance.on_stopping = on_stopping;
    s->appliance.ctx = s;
    if (open_ports(s, err) || drop(s, err) || take_data_folder(s, err))
        return -1;
    enter_sandbox(s);
    if (database_await(&s->boot->database, err))
        return -1;
    log_start_thread();
    return appliance_start(&s->appliance, err);
}

/* ---- saying so */
static void print_json(const struct serve *s)
{
    static const char *const services[] = {[APPLIANCE_SMTP] = "smtp", [APPLIANCE_IMAP] = "imap"};
    json_t *list = json_array(), *o;
    char *text;

    for (size_t i = 0; i < s->appliance.n_ports; i++) {
        const struct appliance_port *p = &s->appliance.ports[i];
        const char *service = p->role == SMTP_SUBMISSION ? "submission" : services[p->service];
        json_array_append_new(list, json_pack("{ss ss ss si}", "name", p->name, "service", service,
                                              "host", p->host, "port", (int)p->number));
    }
    o = json_pack("{so ss si}", "listeners", list, "data", s->data.path, "pid", (int)getpid());
    text = json_dumps(o, JSON_COMPACT);
    puts(text);
    fflush(stdout);
    free(text);
    json_decref(o);
}

static void say_ready(const struct serve *s)
{
    for (size_t i = 0; i < s->appliance.n_ports; i++)
        for (const char *const *h = s->appliance.ports[i].hosts; *h; h++)
            log_info(&log_serve, "listening", L_Z("name", s->appliance.ports[i].name),
                     L_Z("host", *h), L_UINT("port", s->appliance.ports[i].number));
    log_info(&log_serve, "ready", L_Z("version", PH_VERSION),
             L_Z("hostname", s->boot->smtp.hostname), L_Z("data", s->data.path),
             L_INT("uid", geteuid()));
    if (s->json)
        print_json(s);
    sdnotify_ready();
    sdnotify_start_watchdog(s->appliance.loop);
}

static void prepare_process(void)
{
    struct rlimit files;

    umask(077);
    signal(SIGHUP, SIG_IGN); /* until there is a loop that reloads */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    log_set_journal(is_journal());
    log_prepare();
    sdnotify_open();
}

static int run(struct serve *s, struct err *err)
{
    int rc;

    prepare_process();
    serve_set_log(s->boot);
    s->data = (struct datadir){.fd = -1, .lock_fd = -1};
    s->helper.fd = s->runner.fd = s->pam.fd = -1;
    snapshot_ref(&s->boot->snapshot);
    s->current = s->boot;
    rc = start(s, err);
    if (rc == 0) {
        say_ready(s);
        appliance_run(&s->appliance);
        log_info(&log_serve, "stopped");
    }
    sdnotify_close();
    appliance_stop(&s->appliance);
    helper_stop(&s->helper);
    runner_stop(&s->runner);
    pam_helper_stop(&s->pam);
    serve_free_ports(s);
    tls_ctx_unref(&s->appliance.tls);
    datadir_close(&s->data);
    config_unref(&s->current);
    return rc;
}

/* ---- options */
enum action { ACT_RUN, ACT_CHECK, ACT_SHOW, ACT_HELP, ACT_HELP_SETTINGS };

const char serve_help[] =
    "posthouse serve - the mail server for the internet\n\n"
    "  --config FILE      the configuration (default " CONFIG_DEFAULT ")\n"
    "  --check-config     say what is wrong in it, and end\n"
    "  --show-config      print the settings in force, and end\n"
    "  --help-settings [SECTION]  explain all settings, or those of a section\n"
    "  --plugin FILE      load a filter stage (a shared object; see posthouse-stage(3)); may be "
    "repeated\n"
    "  --json             print one line of JSON when ready\n"
    "\nSIGTERM and SIGINT end it when messages under way are finished, SIGHUP reads the "
    "configuration\n"
    "and the certificate again. The log goes to standard error.\n"
    "Exit codes: 0 stopped by a signal or nothing wrong, 1 could not start, 2 usage.\n";

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'f'}, {"check-config", no_argument, NULL, 'k'},
    {"show-config", no_argument, NULL, 'c'},  {"help-settings", optional_argument, NULL, 's'},
    {"plugin", required_argument, NULL, 'g'}, {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};

struct options {
    enum action action;
    const char *config, *section;
    bool json;
};

static int parse_options(int argc, char **argv, struct options *o, struct err *err)
{
    int c;

    *o = (struct options){.config = CONFIG_DEFAULT};
    optind = 0;
    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (c == 'f')
            o->config = optarg;
        else if (c == 'j')
            o->json = true;
        else if (c == 'g' && stages_load(optarg, err))
            return -1;
        else if (c == 'g')
            continue;
        else if (c == 'k' || c == 'c' || c == 'h')
            o->action = c == 'k' ? ACT_CHECK : c == 'c' ? ACT_SHOW : ACT_HELP;
        else if (c == 's') {
            o->action = ACT_HELP_SETTINGS;
            o->section = optarg;
        } else
            return ERR(err, ERR_PROTO, "see posthouse serve --help");
    }
    if (o->action == ACT_HELP_SETTINGS && !o->section && optind < argc)
        o->section = argv[optind++];
    if (optind < argc)
        return ERR(err, ERR_PROTO, "posthouse serve does not know '%s'", argv[optind]);
    return 0;
}

static int print(struct buf *out)
{
    bool ok = buf_ok(out) && fwrite(buf_z(out), 1, out->n, stdout) == out->n;

    buf_fini(out);
    return ok ? 0 : 1;
}

static int help_settings(const char *section)
{
    struct err err;
    struct buf out;

    buf_init(&out, 1 << 20);
    if (docs_print(section, &out) == 0 || config_help(section, &out, &err) == 0)
        return print(&out);
    fprintf(stderr, "posthouse serve: %s\n", err.text);
    buf_fini(&out);
    return 2;
}

/* As far as it can be known without becoming anybody. */
static int check(struct config *c, const char *path)
{
    struct service_user u;
    struct tls_ctx *tls = NULL;
    struct err err;
    int rc = serve_check(c, &err);

    if (rc == 0 && geteuid() == 0)
        rc = service_user_find(c->main.user, &u, &err) || serve_check_data(c, &u, &err);
    if (rc == 0)
        rc = keys_load(c, NULL, &tls, &err);
    tls_ctx_unref(&tls);
    if (rc)
        fprintf(stderr, "posthouse serve: %s\n", err.text);
    else
        printf("%s is in order.\n", path);
    return rc ? 1 : 0;
}

static int show(const struct config *c)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    config_show(c, true, &out);
    return print(&out);
}

static int act(const struct options *o, struct config *c, const char *path)
{
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
    struct serve *s;
    int rc;

    if (o->action == ACT_CHECK)
        return check(c, path);
    if (o->action == ACT_SHOW)
        return show(c);
    s = MEM_NEW(struct serve);
    s->config_path = path;
    s->json = o->json;
    s->boot = c;
    rc = run(s, &err);
    mem_free(s);
    if (rc)
        fprintf(stderr, "posthouse serve: %s\n", err.text);
    return rc ? 1 : 0;
}

int mode_serve(int argc, char **argv)
{
    struct config *c = NULL;
    struct options o;
    struct buf errors;
    struct err err;
    int code = 1;

    if (parse_options(argc, argv, &o, &err)) {
        fprintf(stderr, "posthouse serve: %s\n", err.text);
        return 2;
    }
    if (stages_load_named(o.config, &err)) {
        fprintf(stderr, "posthouse serve: %s\n", err.text);
        return 1;
    }
    stages_declare();
    if (o.action == ACT_HELP)
        return fputs(serve_help, stdout) < 0;
    if (o.action == ACT_HELP_SETTINGS)
        return help_settings(o.section);
    char *path = realpath(o.config, NULL); /* what the helper and a reload will read */
    buf_init(&errors, 1 << 16);
    if (config_load(path ? path : o.config, &c, &errors, &err))
        fputs(buf_z(&errors), stderr);
    else
        code = act(&o, c, path);
    buf_fini(&errors);
    config_unref(&c);
    free(path);
    return code;
}
