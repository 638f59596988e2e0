/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/programs.h"
#include "filters/clamav_scanner.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

struct programs {
    const struct service_user *user;
    const char *config_path;
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

static bool allowed(void *ctx, const struct runner_program *p)
{
    (void)ctx;
    return is_scanner(p);
}

int programs_start(struct runner *r, const struct service_user *user, const char *config_path,
                   struct err *err)
{
    struct programs p = {.user = user, .config_path = config_path};
    const struct runner_conf conf = {.prepare = prepare, .allowed = allowed, .ctx = &p};

    return runner_start(r, &conf, err); /* the new process has a stack of its own */
}
