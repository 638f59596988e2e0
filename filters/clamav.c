/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav.c - stage `clamav`: looks for viruses with libclamav. Mail that comes while signatures are
 * loaded waits for them, then it is held: what was acknowledged was scanned, or is kept until it
 * can be. */
#include "filters/clamav.h"
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "filters/builtin.h"
#include "filters/clamav_update.h"
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, NAME_ROOM = 120 };
enum wish { WISH_PASS, WISH_TAG, WISH_JUNK, WISH_QUARANTINE, WISH_REJECT };
enum unavailable { UNAVAILABLE_DEFER, UNAVAILABLE_HOLD, UNAVAILABLE_PASS };
static const char *const wishes[] = {"pass", "tag", "junk", "quarantine", "reject", NULL};
static const char *const actions[] = {"tag", "junk", "quarantine", "reject", NULL}; /* from TAG */
static const char *const unavailables[] = {"defer", "hold", "pass", NULL};
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
               "control group."),
    PH_SETTING(SIZE, clamav_conf, reserve, PH_RELOAD, "64M", 0, 1LL << 44,
               "Memory that must stay free when the signatures are loaded."),
    PH_SETTING(SIZE, clamav_conf, scan_size, PH_RELOAD, "200M", 1 << 10, 2LL << 30,
               "Most octets that are looked at for one message, what was unpacked from it included."),
    PH_SETTING(SIZE, clamav_conf, file_size, PH_RELOAD, "100M", 1 << 10, 2LL << 30,
               "Parts and unpacked files over this size aren't looked at; nor is a message."),
    PH_SETTING(INT, clamav_conf, recursion, PH_RELOAD, "17", 1, 100, "How deep archives and messages may be nested."),
    PH_SETTING(INT, clamav_conf, files, PH_RELOAD, "10000", 1, 1000000, "Most parts and files looked at in one message."),
    PH_SETTING(TIME, clamav_conf, scan_time, PH_RELOAD, "20s", 100, HOUR, "Longest scan of one message. Below deadline."),
    PH_SETTING_END};
// clang-format on

struct scan {
    struct clamav_held *engine;
    const struct clamav_conf *conf; /* of the session */
    enum clamav_result result;
    char name[NAME_ROOM];
};
struct pause { /* the memory of a turn */
    struct list link;
    ph_turn turn;
    const struct clamav_conf *conf;
};

const char *clamav_folder(const void *conf)
{
    const char *name = ((const struct clamav_conf *)conf)->database;

    return strchr(name, '/') ? name : "";
}

/* ---- What was found. */

static void note(struct clamav *c, ph_turn turn, const char *result, const char *name)
{
    struct ph_acts *acts = c->host->acts(c->host, turn);

    if (!acts)
        return;
    (void)c->host->fact_set(acts, "clamav.result", result);
    if (name && name[0])
        (void)c->host->fact_set(acts, "clamav.name", name);
}

static void act(struct clamav *c, ph_turn turn, enum wish wish, const char *tag, const char *reply,
                const char *reason)
{
    static const enum ph_verdict verdicts[] = {[WISH_PASS] = PH_PASS,
                                               [WISH_TAG] = PH_PASS,
                                               [WISH_JUNK] = PH_JUNK,
                                               [WISH_QUARANTINE] = PH_QUARANTINE,
                                               [WISH_REJECT] = PH_REJECT};
    struct ph_acts *acts = c->host->acts(c->host, turn);

    if (acts && wish == WISH_TAG)
        (void)c->host->tag(acts, tag);
    c->host->done(c->host, turn, verdicts[wish], reply, reason);
}

static void answer(struct clamav *c, ph_turn turn, const struct scan *s)
{
    char reply[240], reason[240];

    switch (s->result) {
    case CLAMAV_CLEAN:
        note(c, turn, "clean", NULL);
        c->host->done(c->host, turn, PH_PASS, NULL, NULL);
        break;
    case CLAMAV_INFECTED:
        note(c, turn, "infected", s->name);
        snprintf(reply, sizeof reply, "554 5.7.1 A virus was found in the message: %s", s->name);
        snprintf(reason, sizeof reason, "found %s", s->name);
        act(c, turn, (enum wish)(s->conf->action + WISH_TAG), "virus", reply, reason);
        break;
    case CLAMAV_ENCRYPTED:
        note(c, turn, "encrypted", s->name);
        act(c, turn, s->conf->encrypted, "encrypted",
            "554 5.7.1 Encrypted archives and documents are not accepted here",
            "a part is encrypted");
        break;
    case CLAMAV_OVERSIZED:
        note(c, turn, "oversized", s->name);
        snprintf(reason, sizeof reason, "too much to scan%s%s", s->name[0] ? ": " : "", s->name);
        act(c, turn, s->conf->oversized, "unscanned",
            "554 5.7.1 The message holds more than can be scanned for viruses", reason);
        break;
    case CLAMAV_FAILED:
        snprintf(reason, sizeof reason, "the scan failed: %s", s->name);
        c->host->failed(c->host, turn, PH_PASS, NULL, reason);
        break;
    }
}

/* ---- A scan. */

static void run_scan(void *inst, const struct ph_view *v, void *arg)
{
    struct scan *s = arg;

    (void)inst;
    s->result = clamav_engine_scan(s->engine->engine, v, s->name, sizeof s->name);
}

static void on_scanned(void *inst, ph_turn turn, void *arg)
{
    answer(inst, turn, arg);
}

static void scan_free(void *arg)
{
    struct scan *s = arg;

    clamav_held_unref(&s->engine);
    mem_free(s);
}

static void scan(struct clamav *c, ph_turn turn, const struct clamav_conf *conf)
{
    struct scan *s = MEM_NEW(struct scan);

    s->engine = clamav_held_ref(c->engine);
    s->conf = conf;
    if (c->host->job(c->host, turn, run_scan, on_scanned, scan_free, s))
        scan_free(s);
}

/* ---- No engine. */

static void unavailable(struct clamav *c, ph_turn turn, const struct clamav_conf *conf)
{
    char reason[256];

    snprintf(reason, sizeof reason, "not scanned: %.200s", c->why);
    switch (conf->unavailable) {
    case UNAVAILABLE_HOLD:
        builtin_hold(c->host, turn, reason);
        break;
    case UNAVAILABLE_PASS:
        note(c, turn, "unscanned", NULL);
        c->host->done(c->host, turn, PH_PASS, NULL, reason);
        break;
    default:
        c->host->done(c->host, turn, PH_DEFER,
                      "451 4.3.2 The virus scanner is not available, please try again later",
                      reason);
    }
}

static void on_waited(void *inst, ph_turn turn, void *arg)
{
    struct clamav *c = inst;
    struct pause *p = arg;

    list_del(&p->link);
    builtin_hold(c->host, turn, "the signatures are being loaded");
}

static void wait_for_engine(struct clamav *c, ph_turn turn, const struct clamav_conf *conf)
{
    struct pause *p = c->host->memory(c->host, turn);

    p->turn = turn;
    p->conf = conf;
    list_add(&c->waiting, &p->link);
    (void)c->host->after(c->host, turn, conf->wait, on_waited, p);
}

static void begin(struct clamav *c, ph_turn turn, const struct clamav_conf *conf)
{
    if (c->state == CLAMAV_READY)
        scan(c, turn, conf);
    else if (c->state == CLAMAV_LOADING)
        wait_for_engine(c, turn, conf);
    else
        unavailable(c, turn, conf);
}

static void resume(void *inst, ph_turn none, void *arg)
{
    struct clamav *c = inst;

    (void)none;
    (void)arg;
    while (!list_empty(&c->waiting) && c->state != CLAMAV_LOADING) {
        struct pause *p = LIST_ITEM(c->waiting.next, struct pause, link);
        list_del(&p->link);
        begin(c, p->turn, p->conf);
    }
}

static void wake_held(void *inst, ph_turn none, void *arg)
{
    const struct clamav *c = inst;

    (void)none;
    (void)arg;
    if (c->state == CLAMAV_READY)
        builtin_wake_held(c->host);
}

/* What was held last may still be on its way into the store at the first look. */
void clamav_state_changed(struct clamav *c)
{
    static const uint64_t looks[] = {0, 2 * SECOND};

    (void)c->host->after(c->host, (ph_turn){0}, 0, resume, NULL);
    for (size_t i = 0; i < ARRAY_LEN(looks) && c->state == CLAMAV_READY; i++)
        (void)c->host->after(c->host, (ph_turn){0}, looks[i], wake_held, NULL);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    (void)at;
    begin(inst, turn, conf);
}

static void cancel(void *inst, ph_turn turn)
{
    struct clamav *c = inst;
    struct pause *p = c->host->memory(c->host, turn);

    if (p && p->turn.id)
        list_del(&p->link);
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
static int check_name(const struct clamav_conf *conf, char *why, size_t room)
{
    static const char *const taken[] = {".", "..", "bodies", "clamav-tmp"};

    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        if (strcmp(conf->database, taken[i]) == 0) {
            snprintf(why, room, "database can't be %s", taken[i]);
            return -1;
        }
    return 0;
}

static int set_conf(struct clamav *c, const struct clamav_conf *conf, char *why, size_t room)
{
    if (check_name(conf, why, room))
        return -1;
    c->conf = conf;
    return set_folder(c, why, room) || clamav_update_schedule(c, why, room) ? -1 : 0;
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    struct clamav *c = MEM_NEW(struct clamav);

    c->refs = 1;
    c->host = host;
    c->loop = builtin_loop(host);
    list_init(&c->waiting);
    if (clamav_engine_init(err->text, sizeof err->text) ||
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

static bool idle(const void *conf)
{
    return !((const struct clamav_conf *)conf)->database[0];
}

const struct ph_stage clamav_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MESSAGE),
    .flags = PH_ALWAYS,
    .name = "clamav",
    .doc = "Looks for viruses with libclamav, in this process. Off until database is set.",
    .lane = "clamav",
    .settings = clamav_settings,
    .conf_size = sizeof(struct clamav_conf),
    .turn_size = sizeof(struct pause),
    .open = open_stage,
    .reload = reload,
    .close = close_stage,
    .on_point = on_point,
    .cancel = cancel,
    .idle = idle};
