/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/rows_files.h"

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/directory/private.h"
#include "appliance/directory/rows_files_private.h"
#include "appliance/mail/address.h"
#include <pthread.h>

enum { LOOK_MS = 1000 };

struct rows_files_shared {
    pthread_mutex_t lock;
    char *folder;
    struct snapshot *now;     /* NULL: nothing could be read yet */
    uint64_t seen, looked_ms; /* of what was read or refused last; 0: nothing */
    struct err err;           /* why `seen` was refused */
};
struct rows_files {
    struct rows rows;
    struct rows_files_shared *shared;
    struct snapshot *now; /* counted; NULL: before the first rows_begin() */
};

static struct rows_files *files_of(struct rows *r)
{
    return CONTAINER_OF(r, struct rows_files, rows);
}

struct rows_files_shared *rows_files_shared_new(const char *folder)
{
    struct rows_files_shared *f = MEM_NEW(struct rows_files_shared);
    CHECK(pthread_mutex_init(&f->lock, NULL) == 0);
    f->folder = str_dup_z(str_from(folder));
    return f;
}

/* Under the lock. */
static void drop(struct snapshot **s)
{
    if (*s && --(*s)->refs == 0)
        snapshot_free(s);
    *s = NULL;
}

void rows_files_shared_free(struct rows_files_shared **f)
{
    if (!*f)
        return;
    drop(&(*f)->now);
    pthread_mutex_destroy(&(*f)->lock);
    mem_free((*f)->folder);
    mem_free(*f);
    *f = NULL;
}

/* Reads anew what has changed, for all. What is refused is told once. Tables that are whole aren't
 * given up for some that aren't; where there are none to lose, good lines are better than nothing.
 */
static void look(struct rows_files_shared *f)
{
    uint64_t sum;
    struct snapshot *s = NULL;
    bool strict = f->now && map_count(f->now->gaps) == 0;
    if (snapshot_sum(f->folder, &sum, &f->err) < 0)
        sum = 1; /* a folder that can't be listed now isn't an empty one */
    else if (sum != f->seen)
        s = snapshot_read(f->folder, strict, &f->err);
    if (s) {
        drop(&f->now);
        f->now = s;
    } else if (sum != f->seen) {
        log_warn(&directory_log, "files_broken", L_Z("error", f->err.text),
                 L_Z("then", f->now ? "what was read before stays in use" : "mail waits"));
    }
    f->seen = sum;
}

static int files_begin(struct rows *r, struct err *err)
{
    struct rows_files *mine = files_of(r);
    struct rows_files_shared *f = mine->shared;
    uint64_t now = clock_mono_ms();
    pthread_mutex_lock(&f->lock);
    if (!f->looked_ms || now - f->looked_ms >= LOOK_MS) {
        f->looked_ms = now ? now : 1;
        look(f);
    }
    if (mine->now != f->now) {
        drop(&mine->now);
        mine->now = f->now;
        if (mine->now)
            mine->now->refs++;
    }
    if (!mine->now)
        *err = f->err;
    pthread_mutex_unlock(&f->lock);
    return mine->now ? 0 : -1;
}

/* ---- answers */

static int files_hosted(struct rows *r, struct str domain, bool *hosted_out, struct err *err)
{
    (void)err;
    *hosted_out = map_get(files_of(r)->now->domains, domain) != NULL;
    return 0;
}

static int files_user(struct rows *r, struct str address, bool *found_out, struct err *err)
{
    (void)err;
    *found_out = map_get(files_of(r)->now->users, address) != NULL;
    return 0;
}

static int files_alias(struct rows *r, struct arena *m, struct str address, struct str *out,
                       struct err *err)
{
    const struct str *found = map_get(files_of(r)->now->aliases, address);
    (void)err;
    if (found)
        *out = arena_str(m, *found);
    return 0;
}

static int files_first_domain(struct rows *r, struct arena *m, struct str *out, bool *only_out,
                              struct err *err)
{
    const struct snapshot *s = files_of(r)->now;
    (void)err;
    *out = arena_str(m, s->first);
    *only_out = map_count(s->domains) == 1;
    return 0;
}

static int files_first_user(struct rows *r, struct arena *m, struct str domain, struct str *out,
                            struct err *err)
{
    struct str key, local, in, first = STR("");
    void *value;
    (void)err;
    for (size_t pos = 0; map_next(files_of(r)->now->users, &pos, &key, &value);) {
        address_split(key, &local, &in);
        if (str_eq(in, domain) && (!first.n || str_cmp(key, first) < 0))
            first = key;
    }
    *out = arena_str(m, first);
    return 0;
}

static int files_login(struct rows *r, struct arena *m, struct str address, struct rows_login *out,
                       struct err *err)
{
    const struct str *found = map_get(files_of(r)->now->users, address);
    (void)err;
    out->found = found != NULL;
    if (found)
        out->stored = arena_str(m, *found);
    return 0;
}

static int files_users(struct rows *r, rows_user_fn fn, void *ctx, struct err *err)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(files_of(r)->now->users, &pos, &key, &value);)
        if (fn(ctx, key, err) < 0)
            return -1;
    return 0;
}

static bool files_gaps(struct rows *r, struct str domain)
{
    return map_get(files_of(r)->now->gaps, domain) != NULL;
}

static void files_close(struct rows *r)
{
    struct rows_files *f = files_of(r);
    pthread_mutex_lock(&f->shared->lock);
    drop(&f->now);
    pthread_mutex_unlock(&f->shared->lock);
    mem_free(f);
}

static const struct rows_kind kind = {.name = "files",
                                      .begin = files_begin,
                                      .close = files_close,
                                      .hosted = files_hosted,
                                      .user = files_user,
                                      .alias = files_alias,
                                      .first_domain = files_first_domain,
                                      .first_user = files_first_user,
                                      .login = files_login,
                                      .users = files_users,
                                      .gaps = files_gaps};

struct rows *rows_files_new(struct rows_files_shared *shared)
{
    struct rows_files *f = MEM_NEW(struct rows_files);
    f->rows.kind = &kind;
    f->shared = shared;
    return &f->rows;
}
