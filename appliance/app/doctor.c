/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/doctor.h"
#include "appliance/app/admin.h"
#include "appliance/app/command_ask.h"
#include "appliance/app/folder.h"
#include "appliance/app/modes.h"
#include "appliance/app/say.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAYS_MAX = 1000 };

static const char *const marks[] = {
    [DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_BAD] = "bad"};

/* In this order. The first one is made as who has called us: only root may read the key. */
static const struct doctor_check {
    const char *name;
    void (*run)(struct doctor *d);
    bool config, dns; /* needs them */
} checks[] = {
    {"tls", doctor_tls, true, false},           {"accounts", doctor_accounts, false, false},
    {"relay", doctor_relay, true, false},       {"listeners", doctor_listeners, true, false},
    {"database", doctor_database, true, false}, {"disk", doctor_disk, false, false},
    {"flush", doctor_flush, false, false},      {"clock", doctor_clock, false, false},
    {"memory", doctor_memory, true, false},     {"names", doctor_names, true, true},
    {"domains", doctor_domains, true, true},    {"kept", doctor_kept, true, false},
};

void doctor_say(struct doctor *d, enum doctor_mark mark, const char *what_to_do, const char *says,
                ...)
{
    char text[SAYS_MAX];
    va_list ap;

    va_start(ap, says);
    vsnprintf(text, sizeof text, says, ap);
    va_end(ap);
    if (mark > d->worst)
        d->worst = mark;
    json_array_append_new(d->findings,
                          json_pack("{ss ss so ss}", "check", d->check, "mark", marks[mark], "says",
                                    admin_str(str_from(text)), "do", what_to_do));
}

json_t *doctor_ask(struct doctor *d, const char *const *words, bool *refused_out)
{
    json_t *argv = json_array(), *request, *reply = NULL, *result = NULL;
    const char *error;
    struct err err;

    for (size_t i = 0; words[i]; i++)
        json_array_append_new(argv, json_string(words[i]));
    request = json_pack("{so}", "argv", argv);
    if (command_read_folder(d->data, d->config, request, &reply, &err)) {
        doctor_say(d, DOCTOR_BAD,
                   "see what it says; start posthouse serve once if there is no data "
                   "folder yet",
                   "%s", err.text);
    } else if ((error = json_string_value(json_object_get(reply, "error"))) && refused_out) {
        *refused_out = true;
    } else if (error) {
        doctor_say(d, DOCTOR_WARN, "see what it says", "%s %s: %s", words[0], words[1], error);
    } else {
        result = json_incref(json_object_get(reply, "result"));
    }
    json_decref(reply);
    json_decref(request);
    return result;
}

static void run_all(struct doctor *d)
{
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        d->check = checks[i].name;
        d->mem = arena_new(0);
        if ((d->config || !checks[i].config) && (d->dns || !checks[i].dns))
            checks[i].run(d);
        arena_free(&d->mem);
    }
    d->check = "configuration";
    if (!d->config)
        doctor_say(d, DOCTOR_WARN, "say --config FILE",
                   "no configuration was read: only the data folder was looked at");
}

/* ---- saying it */

static void print_text(const struct doctor *d)
{
    const json_t *f;
    size_t i;
    struct buf cell;

    buf_init(&cell, 16384);
    json_array_foreach(d->findings, i, f)
    {
        const char *todo = json_string_value(json_object_get(f, "do"));
        struct str says = admin_cell(json_object_get(f, "says"), &cell);
        printf("%-4s  %-9s  " STR_FMT, json_string_value(json_object_get(f, "mark")),
               json_string_value(json_object_get(f, "check")), STR_ARG(says));
        fputs(todo[0] ? " -> " : "", stdout);
        say_word(stdout, todo);
        putchar('\n');
    }
    buf_fini(&cell);
}

static int print(const struct doctor *d, bool json)
{
    if (json) {
        (void)say_json(d->findings);
    } else {
        print_text(d);
    }
    return d->worst == DOCTOR_BAD ? ADMIN_REFUSED : ADMIN_OK;
}

/* ---- options */

const char doctor_help[] =
    "posthouse doctor - is this appliance as it should be?\n\n"
    "  --config FILE      the configuration (default " CONFIG_DEFAULT ")\n"
    "  --data DIR         the data folder, instead of the configuration's\n"
    "  --no-dns           ask nothing of DNS\n"
    "  --json             the findings as JSON\n"
    "\nIt looks at accounts, certificate, DNS, disk, clock and settings, beside a running server "
    "or "
    "without one,\nand changes nothing. Each line is ok, warn or bad, what was found, and what to "
    "do.\n"
    "Exit codes: 0 nothing is bad, 1 something is, 2 usage.\n";

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'f'}, {"data", required_argument, NULL, 'd'},
    {"no-dns", no_argument, NULL, 'n'},       {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};

struct options {
    const char *config, *data;
    bool json, no_dns, help;
};

static int parse(int argc, char **argv, struct options *o)
{
    int c;

    *o = (struct options){.data = getenv("POSTHOUSE_DATA")};
    if (o->data && !o->data[0])
        o->data = NULL;
    optind = 0;
    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (c == 'f')
            o->config = optarg;
        else if (c == 'd')
            o->data = optarg;
        else if (c == 'j')
            o->json = true;
        else if (c == 'n')
            o->no_dns = true;
        else if (c == 'h')
            o->help = true;
        else
            return -1;
    }
    return optind < argc ? -1 : 0;
}

int mode_doctor(int argc, char **argv)
{
    struct config *config = NULL;
    struct options o;
    struct err err;

    if (parse(argc, argv, &o)) {
        fputs(doctor_help, stderr);
        return ADMIN_USAGE;
    }
    if (o.help) {
        fputs(doctor_help, stdout);
        return ADMIN_OK;
    }
    log_set_level(LOG_LEVEL_ERROR);
    /* A folder that was named is looked at with the configuration that was named, or none. */
    const char *data = folder_find(o.config ? NULL : o.data, o.config, &config, &err);
    if (!data) {
        fprintf(stderr, "posthouse doctor: %s\n", err.text);
        return ADMIN_REFUSED;
    }
    struct doctor d = {.data = o.data ? o.data : data,
                       .config = config,
                       .dns = !o.no_dns,
                       .findings = json_array()};
    run_all(&d);
    int code = print(&d, o.json);
    json_decref(d.findings);
    config_unref(&config);
    return code;
}
