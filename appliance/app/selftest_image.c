/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* selftest_image.c - the model of a disk: for each file what is certain to be on it, and the events
 * since its last flush, which may have come there or not. The entry of a new file or folder is
 * certain when the folder it is in was flushed. */
#include "appliance/app/selftest_image.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512 };
#define FILE_MAX ((size_t)1 << 30)

struct state {
    struct buf content; /* certain */
    bool there;         /* its entry is certain */
    bool found;         /* in the image that is being written */
    struct buf pending; /* indices of events (size_t); of a folder: of CREATE of what is in it */
};
struct image {
    const struct record *record;
    const struct record_event *events;
    const struct record_file *files;
    struct state *states;
    size_t n_events, n_files, at;
    enum image_lie lie;
    struct buf scratch;
};

struct image *image_new(const struct record *r, enum image_lie lie)
{
    struct image *i = MEM_NEW(struct image);

    i->record = r;
    i->lie = lie;
    i->events = record_events(r, &i->n_events);
    i->files = record_files(r, &i->n_files);
    i->states = mem_alloc(i->n_files * sizeof *i->states);
    buf_init(&i->scratch, FILE_MAX);
    for (size_t f = 0; f < i->n_files; f++) {
        struct state *s = &i->states[f];
        buf_init(&s->content, FILE_MAX);
        buf_init(&s->pending, FILE_MAX);
        buf_add_str(&s->content, buf_str(&i->files[f].content));
        s->there = i->files[f].there;
    }
    return i;
}

void image_free(struct image **ip)
{
    struct image *i = *ip;

    if (!i)
        return;
    *ip = NULL;
    for (size_t f = 0; f < i->n_files; f++) {
        buf_fini(&i->states[f].content);
        buf_fini(&i->states[f].pending);
    }
    mem_free(i->states);
    buf_fini(&i->scratch);
    mem_free(i);
}

/* ---- Bytes. */

static void extend(struct buf *b, size_t n)
{
    char *space;

    if (n <= b->n)
        return;
    n -= b->n;
    CHECK(buf_reserve(b, n, &space) == 0);
    memset(space, 0, n);
    buf_commit(b, n);
}

static void apply(const struct image *i, struct buf *content, const struct record_event *e)
{
    if (e->kind == RECORD_TRUNCATE) {
        if (e->at < content->n)
            buf_truncate(content, e->at);
        extend(content, e->at);
        return;
    }
    extend(content, e->at + e->n);
    memcpy(content->p + e->at, record_bytes(i->record, e), e->n);
}

/* Of the sectors it touches, some: a write that the power's end tore. */
static void apply_torn(const struct image *i, struct buf *content, const struct record_event *e,
                       uint64_t *random)
{
    const char *bytes = record_bytes(i->record, e);
    uint64_t at = e->at, end = e->at + e->n;

    while (at < end) {
        uint64_t next = (at / SECTOR + 1) * SECTOR;
        if (next > end)
            next = end;
        if (selftest_random(random) & 1) {
            extend(content, next);
            memcpy(content->p + at, bytes + (at - e->at), next - at);
        }
        at = next;
    }
}

/* ---- Going on. */

static bool lies(const struct image *i, unsigned file)
{
    const struct record_file *f = &i->files[file];

    switch (i->lie) {
    case IMAGE_LIES_DATABASE:
        return !f->is_folder && f->folder == 0;
    case IMAGE_LIES_FILES:
        return !f->is_folder && f->folder != 0;
    case IMAGE_LIES_FOLDERS:
        return f->is_folder;
    default:
        return false;
    }
}

static void flush(struct image *i, const struct record_event *e)
{
    struct state *s = &i->states[e->file];
    const size_t *list = (const size_t *)(const void *)s->pending.p;
    size_t n = s->pending.n / sizeof *list, done = 0;

    if (lies(i, e->file))
        return;
    while (done < n && list[done] < e->at) {
        const struct record_event *p = &i->events[list[done++]];
        if (p->kind == RECORD_CREATE)
            i->states[p->file].there = true;
        else
            apply(i, &s->content, p);
    }
    buf_drop(&s->pending, done * sizeof *list);
}

void image_advance(struct image *i)
{
    const struct record_event *e = &i->events[i->at];
    unsigned owner = e->kind == RECORD_CREATE ? i->files[e->file].folder : e->file;

    if (e->kind == RECORD_FLUSH)
        flush(i, e);
    else if (e->kind != RECORD_ACCEPTED)
        buf_add(&i->states[owner].pending, &i->at, sizeof i->at);
    i->at++;
}

/* ---- Writing an image. */

/* Which of the pending events count, in which order: into `order`. */
static size_t choose(const struct state *s, enum image_kind kind, uint64_t *random, size_t *order)
{
    const size_t *list = (const size_t *)(const void *)s->pending.p;
    size_t n = s->pending.n / sizeof *list, chosen = 0;

    if (kind == IMAGE_DROPPED)
        return 0;
    for (size_t k = 0; k < n; k++) {
        if (kind == IMAGE_MIXED && (selftest_random(random) & 3) == 0)
            continue;
        order[chosen++] = list[k];
    }
    for (size_t k = chosen; kind == IMAGE_MIXED && k > 1; k--) {
        size_t other = selftest_random(random) % k, swap = order[k - 1];
        order[k - 1] = order[other];
        order[other] = swap;
    }
    return chosen;
}

static int write_file(const char *path, const struct buf *content, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = 0;
    struct str rest = buf_str(content);

    while (fd >= 0 && rest.n) {
        ssize_t n = write(fd, rest.p, rest.n);
        if (n < 0)
            break;
        rest = str_skip(rest, (size_t)n);
    }
    if (fd < 0 || rest.n)
        rc = ERR(err, ERR_TEMP, "cannot write %.150s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

static void mix(struct image *i, const struct state *s, const size_t *order, size_t n,
                enum image_kind kind, uint64_t *random)
{
    buf_clear(&i->scratch);
    buf_add_str(&i->scratch, buf_str(&s->content));
    for (size_t k = 0; k < n; k++) {
        const struct record_event *e = &i->events[order[k]];
        if (kind == IMAGE_MIXED && e->kind == RECORD_WRITE && (selftest_random(random) & 3) == 0)
            apply_torn(i, &i->scratch, e, random);
        else
            apply(i, &i->scratch, e);
    }
}

static int write_one(struct image *i, size_t f, enum image_kind kind, uint64_t *random,
                     const char *path, struct err *err)
{
    struct state *s = &i->states[f];
    size_t *order = mem_alloc(s->pending.n + 1), n = choose(s, kind, random, order);
    int rc = 0;

    if (i->files[f].is_folder) {
        for (size_t k = 0; k < n; k++)
            i->states[i->events[order[k]].file].found = true;
        if (mkdir(path, 0700) != 0)
            rc = ERR(err, ERR_TEMP, "cannot make %.150s: %s", path, strerror(errno));
    } else {
        mix(i, s, order, n, kind, random);
        rc = write_file(path, &i->scratch, err);
    }
    mem_free(order);
    return rc;
}

int image_write(struct image *i, enum image_kind kind, uint64_t *random, const char *path,
                struct err *err)
{
    int rc = 0;

    for (size_t f = 0; f < i->n_files; f++)
        i->states[f].found = i->states[f].there;
    /* A folder comes before what is in it, and decides which of that is found. */
    for (size_t f = 0; f < i->n_files && rc == 0; f++) {
        if (f && (!i->states[f].found || !i->states[i->files[f].folder].found)) {
            i->states[f].found = false;
            continue;
        }
        char *name = f ? selftest_path(path, i->files[f].path) : str_dup_z(str_from(path));
        rc = write_one(i, f, kind, random, name, err);
        mem_free(name);
    }
    return rc;
}
