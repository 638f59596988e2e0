/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* selftest_images.c - the power cut, without root: a load is recorded, then the record is cut off
 * at every flush and between them, and the store opened on what a disk may hold then. The controls
 * are the same with a disk that takes some flushes for none, and a store that doesn't flush: there
 * acknowledged mail must be missing, or the test sees nothing. */
#include "appliance/app/selftest_image.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include "appliance/sql/sql.h"
#include <inttypes.h>
#include <stdio.h>

enum {
    MESSAGES = 320, /* enough for the WAL to be brought into the database */
    MESSAGES_CONTROL = 40,
    WINDOW = 8,
    IMAGES_PER_CUT = 3,
    IMAGES_MAX = 5000,
    IMAGES_MIN = 48,    /* however long they take, or a slow machine would see nothing */
    WRITES_PER_CUT = 8, /* of the writes between two flushes one in so many is a moment of a cut */
    CONTROL_SECONDS = 10
};

/* ---- Recording. */

static void on_accepted(void *ctx, uint64_t number)
{
    record_accepted(ctx, number);
}

static int record_load(struct record *r, const char *folder, const struct store_conf *conf,
                       uint64_t messages, struct err *err)
{
    struct selftest_load load = {.next = 1,
                                 .end = messages + 1,
                                 .window = WINDOW,
                                 .bursts = true,
                                 .on_accepted = on_accepted,
                                 .ctx = r};
    struct loop *l;
    struct store *s;
    int rc;

    if (selftest_open(folder, conf, &l, &s, err) != 0)
        return -1;
    load.loop = l;
    load.store = s;
    rc = record_begin(r, err);
    if (rc == 0)
        rc = selftest_load(&load, err);
    record_end(r);
    selftest_close(&l, &s);
    return rc;
}

static int record_make(struct selftest *t, enum sql_sync sync, uint64_t messages,
                       struct record **out, struct err *err)
{
    char *folder = selftest_path(t->folder, "recorded");
    struct store_conf conf = t->conf;
    int rc = record_new(folder, out, err);

    if (rc == 0) {
        conf.sync = sync;
        conf.disk = record_disk(*out);
        rc = record_load(*out, folder, &conf, messages, err);
    }
    selftest_remove(folder);
    mem_free(folder);
    if (rc != 0)
        record_free(out);
    return rc;
}

/* ---- Cutting. */

struct cutting {
    struct selftest *t;
    const struct record *record;
    const struct record_event *events;
    size_t n_events;
    struct image *image;
    char *path;
    struct selftest_images *out;
    bool until_first; /* a control: one problem is enough */
    uint64_t messages, random, deadline_us, left, spent_us;
    uint8_t *accepted;
};

/* A cut is made just before an event: with a flush, all that it covers is still uncertain. */
static bool is_cut(const struct cutting *c, size_t at)
{
    uint64_t random = at;

    if (c->events[at].kind == RECORD_FLUSH)
        return true;
    return (c->events[at].kind == RECORD_WRITE || c->events[at].kind == RECORD_CREATE) &&
           selftest_random(&random) % WRITES_PER_CUT == 0;
}

static bool is_over(const struct cutting *c)
{
    return selftest_stopped() || c->out->images >= IMAGES_MAX ||
           (c->out->images >= IMAGES_MIN && clock_mono_us() >= c->deadline_us) ||
           (c->until_first && selftest_audit_problems(&c->out->audit));
}

/* With too little time for all, those that are left out are spread over the whole record. */
static bool has_time(struct cutting *c)
{
    uint64_t now = clock_mono_us(), each = c->out->images ? c->spent_us / c->out->images : 0;
    uint64_t want = each * c->left, have = now < c->deadline_us ? c->deadline_us - now : 0;

    if (c->out->images < IMAGES_MIN && have < each * (IMAGES_MIN - c->out->images))
        have = each * (IMAGES_MIN - c->out->images);
    return want <= have || selftest_random(&c->random) % want < have;
}

static int try_image(struct cutting *c, enum image_kind kind, struct err *err)
{
    static const char *const kinds[] = {[IMAGE_DROPPED] = "lost",
                                        [IMAGE_MIXED] = "in part, reordered, torn",
                                        [IMAGE_ALL] = "written"};
    struct selftest_audit audit = {.accepted = c->accepted, .end = c->messages + 1};
    struct store_conf conf = c->t->conf;
    uint64_t began = clock_mono_us();
    char when[160];
    int rc;

    conf.sync = SQL_SYNC_OFF; /* what the power's next failure does is not asked */
    rc = image_write(c->image, kind, &c->random, c->path, err);
    if (rc == 0) {
        selftest_audit(c->path, &conf, &audit);
        snprintf(when, sizeof when, "cut after %zu of %zu events, what was not flushed is %s",
                 (size_t)(c->n_events - c->left), c->n_events, kinds[kind]);
        selftest_audit_add(&c->out->audit, &audit, when);
        c->out->images++;
    }
    selftest_remove(c->path);
    c->spent_us += clock_mono_us() - began;
    return rc;
}

static int cut(struct cutting *c, size_t at, struct err *err)
{
    static const enum image_kind kinds[IMAGES_PER_CUT] = {IMAGE_DROPPED, IMAGE_MIXED, IMAGE_MIXED};
    bool any = false;

    for (size_t k = 0; k < IMAGES_PER_CUT; k++) {
        if (is_over(c))
            return 0;
        c->left--;
        if (!has_time(c))
            continue;
        if (try_image(c, at % 16 == 0 && k == 2 ? IMAGE_ALL : kinds[k], err) != 0)
            return -1;
        any = true;
    }
    if (c->events[at].kind == RECORD_FLUSH)
        c->out->flushes_cut += any;
    return 0;
}

static bool is_database(const struct record *r, unsigned file)
{
    size_t n;

    return strcmp(record_files(r, &n)[file].path, "store.db") == 0;
}

static int cut_all(struct cutting *c, struct err *err)
{
    for (size_t at = 0; at < c->n_events; at++)
        c->left += is_cut(c, at) ? IMAGES_PER_CUT : 0;
    for (size_t at = 0; at < c->n_events && !is_over(c); at++) {
        const struct record_event *e = &c->events[at];
        if (is_cut(c, at) && cut(c, at, err) != 0)
            return -1;
        c->out->flushes += e->kind == RECORD_FLUSH;
        c->out->checkpoints += e->kind == RECORD_FLUSH && is_database(c->record, e->file);
        if (e->kind == RECORD_ACCEPTED) {
            c->accepted[e->at] = 1;
            c->out->accepted++;
        }
        image_advance(c->image);
    }
    if (!is_over(c) && (try_image(c, IMAGE_DROPPED, err) != 0)) /* the end: all is acknowledged */
        return -1;
    return 0;
}

static int run(struct selftest *t, const struct record *r, enum image_lie lie, uint64_t messages,
               uint64_t ms, bool until_first, struct selftest_images *out, struct err *err)
{
    struct cutting c = {.t = t,
                        .record = r,
                        .out = out,
                        .until_first = until_first,
                        .messages = messages,
                        .random = rand_u64(),
                        .deadline_us = clock_mono_us() + ms * 1000};
    int rc;

    c.events = record_events(r, &c.n_events);
    c.image = image_new(r, lie);
    c.path = selftest_path(t->folder, "image");
    c.accepted = mem_alloc(messages + 1);
    rc = cut_all(&c, err);
    mem_free(c.accepted);
    mem_free(c.path);
    image_free(&c.image);
    return rc;
}

/* ---- Controls. */

static int control(struct selftest *t, const struct record *r, enum image_lie lie,
                   uint64_t messages, struct selftest_control *out, struct err *err)
{
    struct selftest_images found = {0};
    int rc;

    log_set_fd(-1); /* a broken store says so: as it should */
    rc = run(t, r, lie, messages, CONTROL_SECONDS * 1000, true, &found, err);
    log_set_fd(2);
    out->noticed = selftest_audit_problems(&found.audit) > 0;
    return rc;
}

static int controls(struct selftest *t, const struct record *r, struct selftest_images *out,
                    struct err *err)
{
    static const char *const names[SELFTEST_CONTROLS] = {
        "database not flushed", "files not flushed", "folders not flushed", "store.sync=off"};
    static const enum image_lie lies[SELFTEST_CONTROLS - 1] = {
        IMAGE_LIES_DATABASE, IMAGE_LIES_FILES, IMAGE_LIES_FOLDERS};
    struct record *unflushed;
    int rc;

    for (size_t i = 0; i < SELFTEST_CONTROLS; i++)
        out->controls[i].name = names[i];
    for (size_t i = 0; i < ARRAY_LEN(lies) && !selftest_stopped(); i++) {
        if (control(t, r, lies[i], MESSAGES, &out->controls[i], err) != 0)
            return -1;
    }
    if (record_make(t, SQL_SYNC_OFF, MESSAGES_CONTROL, &unflushed, err) != 0)
        return -1;
    rc = control(t, unflushed, IMAGE_HONEST, MESSAGES_CONTROL,
                 &out->controls[SELFTEST_CONTROLS - 1], err);
    record_free(&unflushed);
    return rc;
}

int selftest_images(struct selftest *t, struct selftest_images *out, struct err *err)
{
    struct record *r;
    int rc;

    *out = (struct selftest_images){0};
    if (record_make(t, SQL_SYNC_FULL, MESSAGES, &r, err) != 0)
        return -1;
    rc = run(t, r, IMAGE_HONEST, MESSAGES, t->seconds * 500, false, out, err);
    if (rc == 0)
        rc = controls(t, r, out, err);
    record_free(&r);
    return rc;
}
