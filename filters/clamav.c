/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav.c - stage `clamav`: looks for viruses with libclamav. Mail that comes while signatures are
 * loaded waits for them, then it is held: what was acknowledged was scanned, or is kept until it
 * can be. Here are its settings and its life. */
#include "filters/clamav.h"
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "filters/builtin.h"
#include "filters/clamav_status.h"
#include "filters/clamav_update.h"
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
static const char *const wishes[] = {"pass", "tag", "junk", "quarantine", "reject", NULL};
static const char *const actions[] = {"tag", "junk", "quarantine", "reject", NULL}; /* from TAG */
static const char *const unavailables[] = {"defer", "hold", "pass", NULL};
static const char *const isolations[] = {"auto", "thread", "process", NULL};
static const char *const poisons[] = {"defer", "hold", "quarantine", "reject", NULL};
// clang-format off
static const struct ph_setting clamav_settings[] = {
    PH_SETTING(TEXT, clamav_conf, database, PH_RELOAD, "", 0, 0,
               "The folder of signatures, as freshclam keeps it in /var/lib/clamav. Empty: mail isn't scanned. Turning it off "
               "gives the memory back at a restart; within the sandbox another folder needs one, too. A name without '/' is a "
               "folder in the data folder, which is made."),
    PH_SETTING(TIME, clamav_conf, update, PH_RELOAD, "0", 0, 30LL * 24 * HOUR,
               "How often newer signatures are fetched into database, which must be in the data folder. 0: that is left to "
               "others, freshclam for example. ClamAV's mirrors don't like to be asked more than once an hour."),
    PH_SETTING(TEXT, clamav_conf, update_databases, PH_RELOAD | PH_LIST, "main, daily, bytecode", 0, 0,
               "ClamAV's own signatures to fetch; they are signed. May be empty."),
    PH_SETTING(TEXT, clamav_conf, update_mirrors, PH_RELOAD | PH_LIST, "https://database.clamav.net", 0, 0,
               "Where from: the first one that answers. One of your own, http or https, holds the files main.cvd and so on."),
    PH_SETTING(TEXT, clamav_conf, update_urls, PH_RELOAD | PH_LIST, "", 0, 0,
               "Other signatures to fetch, a URL for each file. They are not signed: whoever can change them on their way "
               "decides what is a virus."),
    PH_SETTING_ENUM(clamav_conf, isolation, 0, "auto", isolations,
                    "Where libclamav runs. thread: in this process. process: in one of its own, which may read the signatures and "
                    "write what it unpacks and nothing else, has no network, and is the first that the kernel ends when memory "
                    "runs out; if it dies, it is started again, and what it was at is scanned once more. auto: process if the "
                    "signatures take 300 MB or more and there are less than 4 GB of memory (the limit of a control group counts), "
                    "else thread."),
    PH_SETTING_ENUM(clamav_conf, poison, PH_RELOAD, "defer", poisons,
                    "What becomes of a message of which the scanner (isolation = process) has died twice, the second time with "
                    "nothing else to scan. hold: it is tried again when there are other signatures, at most for filters.hold_time."),
    PH_SETTING_ENUM(clamav_conf, action, PH_RELOAD, "reject", actions,
                    "What becomes of mail in which a virus was found. tag: it is delivered with the word virus in its field "
                    "X-Posthouse-Tags."),
    PH_SETTING_ENUM(clamav_conf, encrypted, PH_RELOAD, "pass", wishes,
                    "Mail with an encrypted archive or document in it, into which no scanner can look. pass: it isn't even "
                    "noticed. tag: the word is encrypted."),
    PH_SETTING_ENUM(clamav_conf, oversized, PH_RELOAD, "tag", wishes,
                    "Mail that reaches one of the limits before all of it was scanned, and nothing was found before. tag: the "
                    "word is unscanned."),
    PH_SETTING_ENUM(clamav_conf, unavailable, PH_RELOAD, "defer", unavailables,
                    "What becomes of mail while there is no scanner: the folder holds no signatures, they can't be loaded, or "
                    "don't fit into memory. defer: the sender tries again later. hold: it is acknowledged, kept, and scanned as "
                    "soon as possible (see filters.hold_time). pass: it is delivered unscanned. While signatures are being "
                    "loaded mail is always held."),
    PH_SETTING(TIME, clamav_conf, wait, PH_RELOAD, "10s", 0, HOUR,
               "How long a client waits for signatures that are being loaded; then its mail is held. Below deadline."),
    PH_SETTING(BOOL, clamav_conf, concurrent_reload, PH_RELOAD, "no", 0, 0,
               "no: when the signatures have changed, the old ones leave memory before the new ones are loaded. yes: mail goes on "
               "to be scanned meanwhile, and both are in memory; where both don't fit, as no."),
    PH_SETTING(TIME, clamav_conf, check, PH_RELOAD, "1min", 100, 24LL * HOUR,
               "How often the folder is looked at for newer signatures; a reload (SIGHUP) looks at once."),
    PH_SETTING(SIZE, clamav_conf, max_memory, PH_RELOAD, "0", 0, 1LL << 44,
               "Most memory that the signatures may take. 0: as much as is free, in memory and swap and within the limit of the "
               "control group. What doesn't fit isn't loaded, and unavailable decides. ClamAV's own take 1 to 1.3 GB. A machine of 1 "
               "GB: they don't fit; take others, up to about 500 MB in memory. 1 GB with 2 GB of swap: they fit, with "
               "concurrent_reload = no, and scans wait for the disk now and then. 2 GB: they fit, with concurrent_reload = no. 4 GB: they "
               "fit twice, as concurrent_reload = yes takes."),
    PH_SETTING(SIZE, clamav_conf, reserve, PH_RELOAD, "64M", 0, 1LL << 44,
               "Memory that must stay free when the signatures are loaded."),
    PH_SETTING(SIZE, clamav_conf, scan_size, PH_RELOAD, "200M", 1 << 10, 2LL << 30,
               "Most octets that are looked at for one message, what was unpacked from it included."),
    PH_SETTING(SIZE, clamav_conf, file_size, PH_RELOAD, "100M", 1 << 10, 2LL << 30,
               "Parts and unpacked files over this size aren't looked at; nor is a message."),
    PH_SETTING(INT, clamav_conf, recursion, PH_RELOAD, "17", 1, 100, "How deep archives and messages may be nested."),
    PH_SETTING(INT, clamav_conf, files, PH_RELOAD, "10000", 1, 1000000, "Most parts and files looked at in one message."),
    PH_SETTING(INT, clamav_conf, threads, 0, "2", 1, 32, "How many messages are scanned at once."),
    PH_SETTING(TIME, clamav_conf, scan_time, PH_RELOAD, "20s", 100, HOUR, "Longest scan of one message. Below deadline."),
    PH_SETTING_END};
// clang-format on

const char *clamav_folder(const void *conf)
{
    const char *name = ((const struct clamav_conf *)conf)->database;

    return strchr(name, '/') ? name : "";
}

/* ---- Its life. */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    return ftw->level ? remove(path) : 0;
}

static char *joined(const char *folder, const char *name)
{
    struct buf path;
    char *out;

    buf_init(&path, 4096);
    buf_printf(&path, "%s/%s", folder, name);
    out = str_dup_z(str_from(buf_z(&path)));
    buf_fini(&path);
    return out;
}

/* A folder of one's own for what is unpacked from mail; a crash may have left some there. */
static int make_temporary(struct clamav *c, char *why, size_t room)
{
    const char *data = builtin_folder(c->host);
    bool made;

    c->temporary =
        data ? joined(data, "clamav-tmp") : str_dup_z(STR("/tmp/posthouse-clamav-XXXXXX"));
    if (data)
        made = mkdir(c->temporary, 0700) == 0 || errno == EEXIST;
    else
        made = mkdtemp(c->temporary) != NULL;
    if (!made) {
        snprintf(why, room, "%.150s can't be made: %s", c->temporary, strerror(errno));
        return -1;
    }
    (void)nftw(c->temporary, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static int set_folder(struct clamav *c, char *why, size_t room)
{
    const char *name = c->conf->database, *data = builtin_folder(c->host);

    mem_free(c->folder);
    if (strchr(name, '/') || !data) {
        c->folder = str_dup_z(str_from(name));
        return 0;
    }
    c->folder = joined(data, name);
    if (mkdir(c->folder, 0700) == 0 || errno == EEXIST)
        return 0;
    snprintf(why, room, "%.150s can't be made: %s", c->folder, strerror(errno));
    return -1;
}

/* Not the folder's name: the stage's own folders would be in its way. */
static int check(const void *settings, struct ph_err *err)
{
    const struct clamav_conf *conf = settings;
    static const char *const taken[] = {".", "..", "bodies", "clamav-tmp"};

    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        if (strcmp(conf->database, taken[i]) == 0) {
            snprintf(err->text, sizeof err->text, "database can't be %s", taken[i]);
            return -1;
        }
    return 0;
}

static int set_conf(struct clamav *c, const struct clamav_conf *conf, char *why, size_t room)
{
    c->conf = conf;
    return set_folder(c, why, room) || clamav_update_schedule(c, why, room) ? -1 : 0;
}

static int check_isolation(const struct clamav *c, char *why, size_t room)
{
    if (c->isolation != CLAMAV_PROCESS || c->runner)
        return 0;
    snprintf(why, room, "this server can make no process for the scanner: set isolation to thread");
    return -1;
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    struct clamav *c = MEM_NEW(struct clamav);

    c->refs = 1;
    c->host = host;
    c->loop = builtin_loop(host);
    c->runner = builtin_runner(host);
    c->isolation = (enum clamav_isolation)((const struct clamav_conf *)conf)->isolation;
    list_init(&c->waiting);
    if (check_isolation(c, err->text, sizeof err->text) ||
        clamav_engine_init(err->text, sizeof err->text) ||
        make_temporary(c, err->text, sizeof err->text) ||
        clamav_update_prepare(c, err->text, sizeof err->text) ||
        set_conf(c, conf, err->text, sizeof err->text) ||
        clamav_keeper_start(c, err->text, sizeof err->text)) {
        clamav_update_stop(c);
        clamav_unref(&c);
        return -1;
    }
    *inst = c;
    return 0;
}

static int reload(void *inst, const void *conf, struct ph_err *err)
{
    struct clamav *c = inst;
    const struct clamav_conf *before = c->conf;
    char why[sizeof err->text];

    if (set_conf(c, conf, err->text, sizeof err->text)) {
        (void)set_conf(c, before, why, sizeof why);
        return -1;
    }
    clamav_keeper_look(c);
    return 0;
}

static void close_stage(void *inst)
{
    struct clamav *c = inst;

    atomic_store(&c->closing, true);
    clamav_update_stop(c);
    clamav_keeper_stop(c);
    (void)nftw(c->temporary, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    (void)rmdir(c->temporary);
    clamav_unref(&c);
}

static unsigned threads(const void *conf)
{
    return (unsigned)((const struct clamav_conf *)conf)->threads;
}

static bool idle(const void *conf)
{
    return !((const struct clamav_conf *)conf)->database[0];
}

bool clamav_status(const struct filters *f, struct clamav_status *out)
{
    const struct clamav *c = builtin_instance(f, &clamav_stage);

    *out = (struct clamav_status){0};
    if (!c)
        return false;
    out->ready = c->state == CLAMAV_READY;
    out->under_way = c->under_way;
    out->deaths = c->deaths;
    if (c->engine && c->engine->child) {
        out->pid = clamav_child_pid(c->engine->child);
        out->memory = machine_memory_of(out->pid);
    }
    return true;
}

const struct ph_stage clamav_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MESSAGE),
    .flags = PH_ALWAYS,
    .name = "clamav",
    .doc = "Looks for viruses with libclamav. Off until database is set.",
    .lane = "clamav",
    .settings = clamav_settings,
    .conf_size = sizeof(struct clamav_conf),
    .turn_size = sizeof(struct clamav_pause),
    .check = check,
    .open = open_stage,
    .reload = reload,
    .close = close_stage,
    .on_point = clamav_on_point,
    .cancel = clamav_cancel,
    .idle = idle,
    .threads = threads};
