/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/privileges.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PASSWD_MAX = 16384, CAPS_MOST = 64 };

int service_user_find(const char *name, struct service_user *out, struct err *err)
{
    char *room = mem_alloc(PASSWD_MAX);
    struct passwd pw, *found = NULL;

    *out = (struct service_user){.uid = geteuid(), .gid = getegid(), .change = geteuid() == 0};
    if (name[0])
        getpwnam_r(name, &pw, room, PASSWD_MAX, &found);
    if (found) {
        snprintf(out->name, sizeof out->name, "%s", name);
        out->uid = pw.pw_uid;
        out->gid = pw.pw_gid;
    }
    mem_free(room);
    if (!name[0])
        return out->change ? ERR(err, ERR_PERM,
                                 "posthouse was started by root and doesn't know whom to become: "
                                 "set main { "
                                 "user = posthouse }")
                           : 0;
    if (!found)
        return ERR(err, ERR_PERM,
                   "there is no user %.60s (main.user); make it: useradd --system %.60s", name,
                   name);
    if (out->uid == 0)
        return ERR(err, ERR_PERM, "main.user is root; name a user that owns nothing but the mail");
    if (!out->change && out->uid != geteuid())
        return ERR(err, ERR_PERM,
                   "only root can become the user %.60s (main.user); start posthouse as root or as "
                   "that user",
                   name);
    return 0;
}

/* Only the bits of `keep` stay, in all sets. Raw calls: libcap is a library for two of them. */
static int set_capabilities(uint64_t keep)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    memset(data, 0, sizeof data);
    for (unsigned i = 0; i < 2; i++)
        data[i].effective = data[i].permitted = (uint32_t)(keep >> (32 * i));
    return (int)syscall(SYS_capset, &head, data);
}

/* Without CAP_SETPCAP it can't be done; then a program run later might have it, and no_new_privs
 * (sandbox.c) sees to that. */
static void drop_bounding_set(void)
{
    for (unsigned cap = 0; cap < CAPS_MOST; cap++)
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static int become(const struct service_user *u, struct err *err)
{
    if (initgroups(u->name, u->gid) != 0 || setresgid(u->gid, u->gid, u->gid) != 0 ||
        setresuid(u->uid, u->uid, u->uid) != 0)
        return ERR(err, ERR_PERM, "cannot become the user %s: %s", u->name, strerror(errno));
    return 0;
}

int privileges_drop(const struct service_user *u, struct err *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    drop_bounding_set();
    if (u->change && become(u, err))
        return -1;
    if (set_capabilities(0) != 0)
        return ERR(err, ERR_PERM, "cannot give up capabilities: %s", strerror(errno));
    memset(data, 0xff, sizeof data);
    if (syscall(SYS_capget, &head, data) != 0 || data[0].permitted || data[1].permitted ||
        geteuid() == 0 || (u->change && setresuid(0, 0, 0) == 0))
        return ERR(err, ERR_BUG, "privileges are still there after they were given up");
    /* A change of user makes a process undumpable: no core files, and /proc/self belongs to root.
     */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return 0;
}

/* Those of `wanted` that we have. */
static uint64_t capabilities_among(uint64_t wanted)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    memset(data, 0, sizeof data);
    if (syscall(SYS_capget, &head, data) != 0)
        return 0;
    return wanted & (data[0].permitted | (uint64_t)data[1].permitted << 32);
}

/* A supervisor may have taken some away: without CAP_KILL programs of other users end only by
 * themselves. */
int privileges_keep_switching(const struct service_user *u, struct err *err)
{
    const uint64_t keep = capabilities_among(UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID |
                                             UINT64_C(1) << CAP_KILL);

    drop_bounding_set();
    if (u->change && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
        return ERR(err, ERR_PERM, "cannot keep capabilities: %s", strerror(errno));
    if (u->change && become(u, err))
        return -1;
    if (set_capabilities(u->change ? keep : 0) != 0)
        return ERR(err, ERR_PERM, "cannot limit the process that runs programs: %s",
                   strerror(errno));
    return 0;
}

int privileges_keep_reading(struct err *err)
{
    drop_bounding_set();
    if (setgroups(0, NULL) != 0 || set_capabilities(UINT64_C(1) << CAP_DAC_READ_SEARCH) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return ERR(err, ERR_PERM, "cannot limit the helper: %s", strerror(errno));
    return 0;
}
