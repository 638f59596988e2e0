/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse selftest crash: shows on the user's own disk, without root, that what was acknowledged
 * is kept. Options, the new folder, the report. */
#include "appliance/app/selftest.h"
#include "appliance/app/admin.h"
#include "appliance/app/folder.h"
#include "appliance/app/modes.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SECONDS_DEFAULT = 30, SECONDS_MIN = 2, SECONDS_MAX = 3600, TURNS_AT_END = 20 };
#define ROOM_WANTED (UINT64_C(400) << 20)

const char selftest_help[] =
    "posthouse selftest crash [DIR] [--seconds N] [--json]\n\n"
    "Proves on the disk that holds DIR (default: the data folder) that no acknowledged message is\n"
    "lost: kills a store under load, and opens it on what the disk may hold after a power cut at\n"
    "any moment. Works in a new folder in DIR and removes it at the end; needs no root, touches "
    "no\n"
    "mail, takes about N seconds (default 30; more on a slow disk) and up to 400 MB.\n\n"
    "Exit codes: 0 nothing is lost, 1 something is, or the test could not be made, 2 usage.\n";

/* ---- Shared by the parts. */

static volatile sig_atomic_t stopped;

static void on_signal(int signum)
{
    (void)signum;
    stopped = 1;
}

bool selftest_stopped(void)
{
    return stopped;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void selftest_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

char *selftest_path(const char *folder, const char *name)
{
    struct buf b;
    char *z;

    buf_init(&b, PATH_MAX * 2);
    buf_printf(&b, "%s/%s", folder, name);
    z = str_dup_z(buf_str(&b));
    buf_fini(&b);
    return z;
}

static void free_loop(struct loop **l)
{
    for (int i = 0; i < TURNS_AT_END; i++)
        loop_turn(*l, false);
    loop_free(l);
}

int selftest_open(const char *folder, const struct store_conf *conf, struct loop **l,
                  struct store **out, struct err *err)
{
    *l = loop_new();
    if (store_open(folder, conf, *l, out, err) == 0)
        return 0;
    free_loop(l);
    return -1;
}

void selftest_close(struct loop **l, struct store **s)
{
    store_close(s);
    free_loop(l);
}

/* ---- Options. */

struct options {
    const char *folder; /* NULL: the data folder */
    uint64_t seconds;
    bool json, help;
};

static int parse(int argc, char **argv, struct options *o, struct err *err)
{
    static const struct option longs[] = {{"seconds", required_argument, NULL, 's'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int c;

    *o = (struct options){.seconds = SECONDS_DEFAULT};
    optind = 0;
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (c == 's' && str_to_u64(str_from(optarg), SECONDS_MAX, &o->seconds) == 0 &&
            o->seconds >= SECONDS_MIN)
            continue;
        if (c == 's')
            return ERR(err, ERR_PROTO, "--seconds: want a number from %d to %d, not '%s'",
                       SECONDS_MIN, SECONDS_MAX, optarg);
        o->json = o->json || c == 'j';
        o->help = o->help || c == 'h';
        if (c == '?')
            return ERR(err, ERR_PROTO, "see posthouse selftest --help");
    }
    if (o->help)
        return 0;
    if (optind >= argc || strcmp(argv[optind], "crash") != 0 || argc - optind > 2)
        return ERR(err, ERR_PROTO, "say posthouse selftest crash [DIR]");
    if (argc - optind == 2)
        o->folder = argv[optind + 1];
    return 0;
}

static int make_folder(const char *in, struct selftest *t, struct err *err)
{
    char real[PATH_MAX];
    struct statvfs st;

    if (!realpath(in, real) || statvfs(real, &st) != 0)
        return ERR(err, ERR_PERM,
                   "cannot look at %.100s: %s (say another: posthouse selftest crash DIR)", in,
                   strerror(errno));
    if ((uint64_t)st.f_bavail * st.f_frsize < ROOM_WANTED)
        return ERR(err, ERR_TEMP, "%.150s has less than %d MB free", in, (int)(ROOM_WANTED >> 20));
    t->folder = selftest_path(real, "posthouse-selftest-XXXXXX");
    if (mkdtemp(t->folder))
        return 0;
    mem_free(t->folder);
    t->folder = NULL;
    return ERR(err, ERR_PERM,
               "cannot make a folder in %.100s: %s (say another: posthouse selftest crash DIR)", in,
               strerror(errno));
}

/* ---- The report. */

struct report {
    bool json;
    uint64_t began_ms;
    struct selftest_flush flush;
    struct selftest_kill kill;
    struct selftest_images images;
    unsigned failures;
};

static void say(const struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct report *r, const char *fmt, ...)
{
    va_list ap;

    if (r->json)
        return;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    fflush(stdout);
}

static uint64_t per_second(const struct report *r)
{
    return r->kill.accepted * 1000 / (r->kill.ms ? r->kill.ms : 1);
}

static void report_flush(const struct report *r)
{
    say(r, "disk        a flush of 4 KB takes %.3f ms (median), %.3f ms (99 of 100)\n",
        (double)r->flush.median_us / 1e3, (double)r->flush.p99_us / 1e3);
    if (r->flush.suspicious)
        say(r, "  WARNING: no disk keeps data for good that fast. It, or the machine beneath it,\n"
               "  may confirm a flush and not make one; then a power cut loses mail whatever a\n"
               "  mail server does.\n");
}

/* Adds to the failures. */
static void report_audit(struct report *r, const struct selftest_audit *a)
{
    if (selftest_audit_problems(a) == 0) {
        say(r, "  nothing acknowledged is lost, nothing is there twice, every message is whole\n");
        return;
    }
    r->failures++;
    say(r,
        "  FAILED: %" PRIu64 " lost, %" PRIu64 " twice, %" PRIu64 " damaged, %" PRIu64
        " for some recipients only, %" PRIu64 " other\n  %s\n",
        a->lost, a->doubled, a->damaged, a->halved, a->unsound, a->problem);
}

static void report_control(struct report *r, const char *name, bool noticed)
{
    if (!noticed)
        r->failures++;
    say(r, "  control '%s': %s\n", name,
        noticed ? "the loss is noticed" : "FAILED: mail must be missing, and the test sees none");
}

static void report_kill(struct report *r)
{
    say(r,
        "kill -9     %" PRIu64 " times under load, %" PRIu64 " messages acknowledged, %" PRIu64
        " a second\n",
        r->kill.rounds, r->kill.accepted, per_second(r));
    if (r->kill.accepted == 0) {
        r->failures++;
        say(r, "  FAILED: no message was acknowledged\n");
    }
    report_audit(r, &r->kill.audit);
    report_control(r, "acknowledged too early", r->kill.control_noticed);
}

static void report_images(struct report *r)
{
    say(r,
        "power cut   %" PRIu64 " states of the disk, cut at %" PRIu64 " of %" PRIu64
        " flushes and between them: what was\n            not flushed lost, in part, reordered, "
        "torn\n",
        r->images.images, r->images.flushes_cut, r->images.flushes);
    if (r->images.images == 0) {
        r->failures++;
        say(r, "  FAILED: there was no time to look at any\n");
    }
    report_audit(r, &r->images.audit);
    for (size_t i = 0; i < SELFTEST_CONTROLS; i++)
        report_control(r, r->images.controls[i].name, r->images.controls[i].noticed);
}

/* ---- The same as JSON. */

static json_t *audit_json(const struct selftest_audit *a)
{
    return json_pack("{sI sI sI sI sI ss}", "lost", (json_int_t)a->lost, "doubled",
                     (json_int_t)a->doubled, "damaged", (json_int_t)a->damaged, "halved",
                     (json_int_t)a->halved, "other", (json_int_t)a->unsound, "problem", a->problem);
}

static json_t *controls_json(const struct report *r)
{
    json_t *list = json_array();

    json_array_append_new(list, json_pack("{ss sb}", "name", "acknowledged too early", "noticed",
                                          r->kill.control_noticed));
    for (size_t i = 0; i < SELFTEST_CONTROLS; i++)
        json_array_append_new(list, json_pack("{ss sb}", "name", r->images.controls[i].name,
                                              "noticed", r->images.controls[i].noticed));
    return list;
}

static void print_json(const struct report *r, const struct err *failed)
{
    json_t *o = json_pack("{sb sf}", "ok", !failed && r->failures == 0, "seconds",
                          (double)(clock_mono_ms() - r->began_ms) / 1e3);

    if (failed) {
        json_object_set_new(o, "error", json_string(failed->text));
    } else {
        json_object_set_new(o, "flush",
                            json_pack("{sI sI sI sb}", "samples", (json_int_t)r->flush.samples,
                                      "median_us", (json_int_t)r->flush.median_us, "p99_us",
                                      (json_int_t)r->flush.p99_us, "suspicious",
                                      r->flush.suspicious));
        json_object_set_new(o, "kill",
                            json_pack("{sI sI sI so}", "rounds", (json_int_t)r->kill.rounds,
                                      "acknowledged", (json_int_t)r->kill.accepted, "per_second",
                                      (json_int_t)per_second(r), "found",
                                      audit_json(&r->kill.audit)));
        json_object_set_new(o, "power_cut",
                            json_pack("{sI sI sI sI sI so}", "images", (json_int_t)r->images.images,
                                      "flushes", (json_int_t)r->images.flushes, "flushes_cut",
                                      (json_int_t)r->images.flushes_cut, "checkpoints",
                                      (json_int_t)r->images.checkpoints, "acknowledged",
                                      (json_int_t)r->images.accepted, "found",
                                      audit_json(&r->images.audit)));
        json_object_set_new(o, "controls", controls_json(r));
    }
    char *text = json_dumps(o, JSON_COMPACT);
    puts(text);
    free(text);
    json_decref(o);
}

/* ---- All together. */

static int run_all(struct selftest *t, struct report *r, struct err *err)
{
    if (selftest_flush(t, &r->flush, err) != 0)
        return -1;
    report_flush(r);
    if (selftest_kill(t, &r->kill, err) != 0)
        return -1;
    if (selftest_stopped())
        return ERR(err, ERR_TEMP, "stopped by a signal");
    report_kill(r);
    if (selftest_images(t, &r->images, err) != 0)
        return -1;
    if (selftest_stopped())
        return ERR(err, ERR_TEMP, "stopped by a signal");
    report_images(r);
    return 0;
}

static int in_data_folder(struct selftest *t, struct err *err)
{
    const char *data = getenv("POSTHOUSE_DATA");
    struct config *c = NULL;
    int rc = -1;

    data = folder_find(data && data[0] ? data : NULL, NULL, &c, err);
    if (data)
        rc = make_folder(data, t, err);
    config_unref(&c);
    return rc;
}

static int run(const struct options *o, struct report *r, struct err *err)
{
    struct selftest t = {.seconds = o->seconds};
    int rc;

    if (settings_defaults(store_settings, &t.conf, err) != 0)
        return -1;
    t.conf.readers = 1;
    t.conf.min_free = 1; /* a full disk shows by itself */
    rc = o->folder ? make_folder(o->folder, &t, err) : in_data_folder(&t, err);
    if (rc == 0) {
        say(r, "posthouse selftest crash, in %s\n\n", t.folder);
        rc = run_all(&t, r, err);
        selftest_remove(t.folder);
        mem_free(t.folder);
    }
    settings_free(store_settings, &t.conf);
    return rc;
}

int mode_selftest(int argc, char **argv)
{
    struct sigaction act = {.sa_handler = on_signal};
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
    struct report r = {.began_ms = clock_mono_ms()};
    struct options o;
    int rc;

    if (parse(argc, argv, &o, &err) != 0) {
        fprintf(stderr, "posthouse selftest: %s\n", err.text);
        return ADMIN_USAGE;
    }
    if (o.help) {
        fputs(selftest_help, stdout);
        return ADMIN_OK;
    }
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
    log_set_level(LOG_LEVEL_ERROR);
    r.json = o.json;
    rc = run(&o, &r, &err);
    if (o.json)
        print_json(&r, rc == 0 ? NULL : &err);
    else if (rc == 0)
        say(&r, "\n%s, in %.0f s\n", r.failures ? "FAILED" : "passed",
            (double)(clock_mono_ms() - r.began_ms) / 1e3);
    if (rc != 0)
        fprintf(stderr, "posthouse selftest: %s\n", err.text);
    return rc == 0 && r.failures == 0 ? ADMIN_OK : ADMIN_REFUSED;
}
