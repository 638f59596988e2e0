/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/rows_system.h"

#include "appliance/base/mem.h"
#include "appliance/mail/address.h"
#include <errno.h>
#include <pthread.h>
#include <pwd.h>

enum { ENTRY_MAX = 65536 };

struct rows_system {
    struct rows rows;
    struct str domain;
    char *name; /* of the domain */
    uint64_t uid_min, uid_max;
    struct arena *m;
};

static struct rows_system *system_of(struct rows *r)
{
    return CONTAINER_OF(r, struct rows_system, rows);
}

static bool in_range(const struct rows_system *s, const struct passwd *p)
{
    return p->pw_uid >= s->uid_min && p->pw_uid <= s->uid_max;
}

static int system_hosted(struct rows *r, struct str domain, bool *hosted_out, struct err *err)
{
    (void)err;
    *hosted_out = str_eq(domain, system_of(r)->domain);
    return 0;
}

static int system_user(struct rows *r, struct str address, bool *found_out, struct err *err)
{
    struct rows_system *s = system_of(r);
    struct passwd entry, *found = NULL;
    struct str local, domain;
    address_split(address, &local, &domain);
    if (!str_eq(domain, s->domain) || memchr(local.p, 0, local.n))
        return 0;
    char *name = str_dup_z(local), *room = mem_alloc(ENTRY_MAX);
    int rc = getpwnam_r(name, &entry, room, ENTRY_MAX, &found);
    *found_out = rc == 0 && found && in_range(s, found);
    mem_free(room);
    mem_free(name);
    /* Some services say so of a name that they can't have. */
    if (rc == 0 || rc == ENOENT || rc == ESRCH || rc == EBADF || rc == EPERM)
        return 0;
    return ERR(err, ERR_TEMP, "the system's users can't be read: %s", strerror(rc));
}

static int system_alias(struct rows *r, struct arena *m, struct str address, struct str *out,
                        struct err *err)
{
    (void)r;
    (void)m;
    (void)address;
    (void)out;
    (void)err;
    return 0;
}

static int system_first_domain(struct rows *r, struct arena *m, struct str *out, bool *only_out,
                               struct err *err)
{
    (void)err;
    *out = arena_str(m, system_of(r)->domain);
    *only_out = true;
    return 0;
}

/* getpwent(3) keeps one place for the whole process. */
static int system_users(struct rows *r, rows_user_fn fn, void *ctx, struct err *err)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    struct rows_system *s = system_of(r);
    struct passwd entry, *found;
    struct str address;
    char *room = mem_alloc(ENTRY_MAX);
    int rc = 0;
    pthread_mutex_lock(&one);
    setpwent();
    while (rc == 0 && getpwent_r(&entry, room, ENTRY_MAX, &found) == 0 && found) {
        arena_clear(s->m);
        struct str whole = arena_printf(s->m, "%s@" STR_FMT, found->pw_name, STR_ARG(s->domain));
        if (in_range(s, found) && resolve_fold(s->m, whole, &address))
            rc = fn(ctx, address, err);
    }
    endpwent();
    pthread_mutex_unlock(&one);
    mem_free(room);
    return rc;
}

struct first {
    struct arena *m;
    struct str address;
};

static int keep_first(void *ctx, struct str address, struct err *err)
{
    struct first *f = ctx;
    (void)err;
    if (!f->address.n || str_cmp(address, f->address) < 0)
        f->address = arena_str(f->m, address);
    return 0;
}

static int system_first_user(struct rows *r, struct arena *m, struct str domain, struct str *out,
                             struct err *err)
{
    struct first f = {.m = m, .address = STR("")};
    if (!str_eq(domain, system_of(r)->domain))
        return 0;
    if (system_users(r, keep_first, &f, err) < 0)
        return -1;
    *out = f.address;
    return 0;
}

static int system_login(struct rows *r, struct arena *m, struct str address, struct rows_login *out,
                        struct err *err)
{
    (void)m;
    out->system = true;
    return system_user(r, address, &out->found, err);
}

static void system_close(struct rows *r)
{
    struct rows_system *s = system_of(r);
    arena_free(&s->m);
    mem_free(s->name);
    mem_free(s);
}

static const struct rows_kind kind = {.name = "system",
                                      .close = system_close,
                                      .hosted = system_hosted,
                                      .user = system_user,
                                      .alias = system_alias,
                                      .first_domain = system_first_domain,
                                      .first_user = system_first_user,
                                      .login = system_login,
                                      .users = system_users};

int rows_system_new(const char *domain, uint64_t uid_min, uint64_t uid_max, struct rows **out,
                    struct err *err)
{
    struct rows_system *s = MEM_NEW(struct rows_system);
    struct arena *m = arena_new(0);
    struct str at, folded;
    *out = NULL;
    at = arena_printf(m, "x@%s", domain);
    if (!resolve_fold(m, at, &folded)) {
        arena_free(&m);
        mem_free(s);
        return ERR(err, ERR_PERM, "main.origin is not a domain");
    }
    s->rows.kind = &kind;
    s->name = str_dup_z(str_skip(folded, 2));
    s->domain = str_from(s->name);
    s->uid_min = uid_min;
    s->uid_max = uid_max;
    s->m = m;
    *out = &s->rows;
    return 0;
}
