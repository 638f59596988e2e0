/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/programs.h"
#include "appliance/base/clock.h"
#include "filters/clamav_scanner.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_MS = 1000 };

struct programs {
    const struct service_user *user;
    const struct config *config; /* of the start */
    const char *config_path;
    struct config *newest; /* of the file, as it was looked at last; NULL: it wasn't yet */
    uint64_t looked;
    struct timespec changed;
    off_t size;
};

static int prepare(void *ctx, struct err *err)
{
    const struct programs *p = ctx;

    if (p->user && privileges_keep_switching(p->user, err))
        return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return ERR(err, ERR_PERM, "no_new_privs: %s", strerror(errno));
    return 0;
}

static bool is_scanner(const struct runner_program *p)
{
    return !p->path && !p->switch_user && p->argv[0] && p->argv[1] &&
           strcmp(p->argv[1], CLAMAV_SCANNER_WORD) == 0;
}

/* ---- Programs of stage exec. */

static bool is_named(const struct config *c, const struct runner_program *p)
{
    for (size_t i = 0; i < c->n_programs; i++)
        if (exec_program_is(&c->programs[i], p, geteuid()))
            return true;
    return false;
}

/* What the file includes may have changed without it; but a server that asks for nonsense doesn't
 * keep this process busy. */
static bool is_time_to_look(struct programs *s)
{
    const uint64_t now = clock_mono_ms();
    struct stat st;

    if (!s->config_path || stat(s->config_path, &st) != 0)
        return false;
    bool same = st.st_size == s->size && st.st_mtim.tv_sec == s->changed.tv_sec &&
                st.st_mtim.tv_nsec == s->changed.tv_nsec;
    if (same && now - s->looked < LOOK_MS)
        return false;
    s->looked = now;
    s->size = st.st_size;
    s->changed = st.st_mtim;
    return true;
}

/* The configuration as it is in the file; the one before, if that can't be read. */
static void look_again(struct programs *s)
{
    struct config *fresh;
    struct err err = {0};
    struct buf errors;

    buf_init(&errors, 65536);
    if (config_load(s->config_path, &fresh, &errors, &err) == 0) {
        if (s->newest)
            config_unref(&s->newest);
        s->newest = fresh;
    }
    buf_fini(&errors);
}

static bool allowed(void *ctx, const struct runner_program *p)
{
    struct programs *s = ctx;

    if (is_scanner(p) || is_named(s->newest ? s->newest : s->config, p))
        return true;
    if (is_time_to_look(s))
        look_again(s);
    return s->newest && is_named(s->newest, p);
}

static int check_users(const struct programs *s, struct err *err)
{
    if (s->user && s->user->change)
        return 0;
    for (size_t i = 0; i < s->config->n_programs; i++) {
        const struct exec_program *p = &s->config->programs[i];
        if (p->user[0] && p->uid != geteuid())
            return ERR(err, ERR_PERM,
                       "program \"%s\": only a server that root has started can run it as %.60s",
                       p->name, p->user);
    }
    return 0;
}

int programs_start(struct runner *r, const struct service_user *user, const struct config *config,
                   const char *config_path, struct err *err)
{
    struct programs p = {.user = user, .config = config, .config_path = config_path};
    const struct runner_conf conf = {.prepare = prepare, .allowed = allowed, .ctx = &p};

    if (check_users(&p, err))
        return -1;
    return runner_start(r, &conf, err); /* the new process has a stack of its own */
}
