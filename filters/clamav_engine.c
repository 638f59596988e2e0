/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/clamav_engine.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/io/machine.h"
#include <stdio.h>

#ifdef PH_CLAMAV
#include <clamav.h>
#include <malloc.h>
#include <pthread.h>

enum { LOOK_EVERY = 16384 }; /* signatures */
/* In front of every message: libclamav takes what begins so for mail, whatever field comes first in
 * it, and looks into its parts. */
static const struct str prefix = {"Received: by posthouse\r\n", 24};

struct clamav_engine {
    struct cl_engine *cl;
    struct clamav_limits limits;
};

/* libclamav goes on, and finds nothing, when it can't write what it unpacks, or has trimmed it to a
 * limit. What it says meanwhile, on the thread of the scan or load, tells. */
static _Thread_local struct said {
    char error[160]; /* the last one; goes to its standard error otherwise */
    bool unwritten;
} said;

static bool about_writing(struct str line)
{
    static const char *const words[] = {"tempor",    "tmp",      "tempfile",  "writ",
                                        "directory", "t create", "to create", "memory"};
    size_t at;

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_ifind(line, str_from(words[i]), &at))
            return true;
    return false;
}

static void on_message(enum cl_msg severity, const char *full, const char *text, void *ctx)
{
    struct str line = str_trim(str_from(text));

    (void)full;
    (void)ctx;
    if (severity >= CL_MSG_ERROR) {
        snprintf(said.error, sizeof said.error, "%.*s", (int)(line.n > 150 ? 150 : line.n), line.p);
        said.unwritten = said.unwritten || about_writing(line);
    }
    log_debug(&(struct log_ctx){.module = "filters"}, "libclamav", L_STR("text", line));
}

static cl_error_t init_code;

static void init(void)
{
    init_code = cl_init(CL_INIT_DEFAULT);
    cl_set_clcb_msg(on_message);
}

bool clamav_engine_built(void)
{
    return true;
}

int clamav_engine_init(char *why, size_t room)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, init);
    if (init_code != CL_SUCCESS)
        snprintf(why, room, "libclamav: %s", cl_strerror(init_code));
    return init_code == CL_SUCCESS ? 0 : -1;
}

/* ---- Loading */

struct loading {
    struct clamav_load *load;
    uint64_t before, peak;
    unsigned seen;
    bool given_up;
};

static void measure(struct loading *l)
{
    uint64_t now = machine_memory_own();

    if (now > l->peak)
        l->peak = now;
}

/* There is no way to stop cl_load(): signatures are passed over. */
static int on_signature(const char *type, const char *name, unsigned custom, void *ctx)
{
    struct loading *l = ctx;

    (void)type;
    (void)name;
    (void)custom;
    if (l->seen++ % LOOK_EVERY == 0 && !l->given_up) {
        measure(l);
        l->given_up = !l->load->go_on(l->load->ctx);
    }
    return l->given_up;
}

static cl_error_t on_progress(size_t total, size_t completed, void *ctx)
{
    (void)total;
    (void)completed;
    measure(ctx);
    return CL_SUCCESS;
}

/* What the heads of archives say of their members. */
struct reading {
    const struct ph_view *view;
    uint64_t file_size;
    bool failed; /* what can't be read must not pass for clean, whatever libclamav makes of it */
    bool trimmed;
};

static cl_error_t on_member(const char *type, unsigned long packed, const char *name,
                            unsigned long size, int encrypted, unsigned at, void *ctx)
{
    struct reading *r = ctx;

    (void)type;
    (void)packed;
    (void)name;
    (void)encrypted;
    (void)at;
    if (r && size > r->file_size)
        r->trimmed = true;
    return CL_CLEAN;
}

static cl_error_t set_limits(struct cl_engine *cl, const struct clamav_load *l)
{
    const struct clamav_limits *m = &l->limits;
    const struct {
        enum cl_engine_field field;
        long long value;
    } numbers[] = {{CL_ENGINE_MAX_SCANSIZE, (long long)m->scan_size},
                   {CL_ENGINE_MAX_FILESIZE, (long long)m->file_size},
                   {CL_ENGINE_MAX_SCANTIME, (long long)m->scan_time},
                   {CL_ENGINE_MAX_RECURSION, m->recursion},
                   {CL_ENGINE_MAX_FILES, m->files}};
    cl_error_t rc = cl_engine_set_str(cl, CL_ENGINE_TMPDIR, l->temporary);

    for (size_t i = 0; i < ARRAY_LEN(numbers) && rc == CL_SUCCESS; i++)
        rc = cl_engine_set_num(cl, numbers[i].field, numbers[i].value);
    return rc;
}

static cl_error_t fill(struct cl_engine *cl, struct loading *l)
{
    cl_error_t rc = set_limits(cl, l->load);

    cl_engine_set_clcb_meta(cl, on_member);
    cl_engine_set_clcb_sigload(cl, on_signature, l);
    cl_engine_set_clcb_engine_compile_progress(cl, on_progress, l);
    if (rc == CL_SUCCESS)
        rc = cl_load(l->load->folder, cl, &l->load->signatures, CL_DB_STDOPT);
    measure(l);
    if (rc == CL_SUCCESS && !l->given_up)
        rc = cl_engine_compile(cl);
    measure(l);
    cl_engine_set_clcb_sigload(cl, NULL, NULL);
    cl_engine_set_clcb_engine_compile_progress(cl, NULL, NULL);
    return rc;
}

int clamav_engine_load(struct clamav_load *load)
{
    struct loading l = {.load = load, .before = machine_memory_own()};
    struct clamav_engine *e = MEM_NEW(struct clamav_engine);

    said = (struct said){0};
    load->why[0] = '\0';
    load->engine = NULL;
    load->signatures = 0;
    e->cl = cl_engine_new();
    e->limits = load->limits;
    cl_error_t rc = e->cl ? fill(e->cl, &l) : CL_EMEM;
    if (rc == CL_SUCCESS && !l.given_up) {
        load->engine = e;
        load->growth = l.peak > l.before ? l.peak - l.before : 0;
        return 0;
    }
    if (!l.given_up)
        snprintf(load->why, sizeof load->why, "%s%s%s", cl_strerror(rc), said.error[0] ? ": " : "",
                 said.error);
    clamav_engine_free(&e);
    return -1;
}

void clamav_engine_free(struct clamav_engine **ep)
{
    struct clamav_engine *e = *ep;

    *ep = NULL;
    if (!e)
        return;
    if (e->cl)
        (void)cl_engine_free(e->cl);
    mem_free(e);
    malloc_trim(0); /* the next one is about to be loaded into the same memory */
}

/* ---- Scanning */

static off_t on_read(void *handle, void *to, size_t n, off_t at)
{
    struct reading *r = handle;
    struct str part = str_take(str_skip(prefix, (size_t)at), n);

    if (part.n)
        memcpy(to, part.p, part.n);
    if (part.n == n)
        return (off_t)n;
    int64_t more =
        r->view->read(r->view, (uint64_t)at + part.n - prefix.n, (char *)to + part.n, n - part.n);
    r->failed = r->failed || more < 0;
    return more < 0 ? -1 : (off_t)part.n + (off_t)more;
}

static void copy_name(const char *from, char *to, size_t room)
{
    size_t n = 0;

    for (; from && from[n] && n + 1 < room; n++)
        to[n] = from[n] > ' ' && from[n] < 127 ? from[n] : '_';
    to[n] = '\0';
}

static enum clamav_result found(const char *name, char *to, size_t room)
{
    struct str s = str_from(name);

    copy_name(name, to, room);
    if (!s.n || str_starts(s, STR("Heuristics.Limits.Exceeded")))
        return CLAMAV_OVERSIZED;
    return str_starts(s, STR("Heuristics.Encrypted.")) ? CLAMAV_ENCRYPTED : CLAMAV_INFECTED;
}

enum clamav_result clamav_engine_scan(const struct clamav_engine *e, const struct ph_view *v,
                                      char *name, size_t room)
{
    struct cl_scan_options options = {.general = CL_SCAN_GENERAL_HEURISTICS,
                                      .parse = ~0u,
                                      .heuristic = CL_SCAN_HEURISTIC_EXCEEDS_MAX};
    struct reading r = {.view = v, .file_size = e->limits.file_size};
    const char *virus = NULL;
    unsigned long scanned = 0;

    if (e->limits.encrypted)
        options.heuristic |= CL_SCAN_HEURISTIC_ENCRYPTED_ARCHIVE | CL_SCAN_HEURISTIC_ENCRYPTED_DOC;
    name[0] = '\0';
    said = (struct said){0};
    cl_fmap_t *map = cl_fmap_open_handle(&r, 0, prefix.n + v->message_size, on_read, 1);
    if (!map) {
        snprintf(name, room, "the message can't be mapped");
        return CLAMAV_FAILED;
    }
    cl_error_t rc = cl_scanmap_callback(map, NULL, &virus, &scanned, e->cl, &options, &r);
    cl_fmap_close(map);
    if (rc != CL_VIRUS && (r.failed || said.unwritten)) {
        snprintf(name, room, "%s", r.failed ? "the message can't be read" : said.error);
        return CLAMAV_FAILED;
    }
    switch (rc) {
    case CL_CLEAN:
    case CL_VERIFIED:
        return r.trimmed ? CLAMAV_OVERSIZED : CLAMAV_CLEAN;
    case CL_VIRUS:
        return found(virus, name, room);
    case CL_ETIMEOUT:
    case CL_EMAXREC:
    case CL_EMAXSIZE:
    case CL_EMAXFILES:
        return CLAMAV_OVERSIZED;
    default:
        snprintf(name, room, "%s", cl_strerror(rc));
        return CLAMAV_FAILED;
    }
}

#else
static const char none[] = "this posthouse is built without libclamav";

bool clamav_engine_built(void)
{
    return false;
}

int clamav_engine_init(char *why, size_t room)
{
    snprintf(why, room, "%s", none);
    return -1;
}

int clamav_engine_load(struct clamav_load *l)
{
    l->engine = NULL;
    snprintf(l->why, sizeof l->why, "%s", none);
    return -1;
}

void clamav_engine_free(struct clamav_engine **e)
{
    *e = NULL;
}

enum clamav_result clamav_engine_scan(const struct clamav_engine *e, const struct ph_view *v,
                                      char *name, size_t room)
{
    (void)e;
    (void)v;
    snprintf(name, room, "%s", none);
    return CLAMAV_FAILED;
}
#endif
