/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/sandbox.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct log_ctx log_sandbox = {.module = "app"};

/* ---- Landlock. The header of the build machine may be older than the kernel. */
#define FS_REFER (1ULL << 13)     /* ABI 2 */
#define FS_TRUNCATE (1ULL << 14)  /* ABI 3 */
#define FS_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#define NET_BIND_TCP (1ULL << 0)  /* ABI 4 */

struct ruleset_attr {
    uint64_t handled_access_fs, handled_access_net;
};

enum { FS_ABI_1 = (1 << 13) - 1 };
#define FS_READ                                                                                    \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE)
#define FS_OF_FILES                                                                                \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE |   \
     FS_TRUNCATE | FS_IOCTL_DEV)
/* No devices, and nothing to run. */
#define FS_DATA                                                                                    \
    (((uint64_t)FS_ABI_1 | FS_REFER | FS_TRUNCATE) &                                               \
     ~(uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                       \
                 LANDLOCK_ACCESS_FS_MAKE_BLOCK))

static const char *const system_files[] = {"/etc",
                                           "/usr",
                                           "/lib",
                                           "/lib64",
                                           "/proc",
                                           "/sys",
                                           "/dev/urandom",
                                           "/dev/random",
                                           "/run/systemd",
                                           "/run/resolvconf",
                                           "/run/NetworkManager",
                                           "/run/nscd",
                                           "/var/lib/misc",
                                           NULL};
static const char *const bare_files[] = {"/usr",
                                         "/lib",
                                         "/lib64",
                                         "/etc/ld.so.cache",
                                         "/etc/localtime",
                                         "/etc/ssl/openssl.cnf",
                                         "/etc/clamav/certs",
                                         "/proc/self",
                                         "/dev/urandom",
                                         "/dev/random",
                                         NULL};

static int allow(int ruleset, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access};
    struct stat st;
    int rc = 0;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return 0; /* what isn't there can't be read */
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= FS_OF_FILES;
    rc = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
    return rc;
}

static int allow_all(int ruleset, const char *const *paths, uint64_t access)
{
    int rc = 0;

    for (; *paths; paths++)
        rc |= allow(ruleset, *paths, access);
    return rc;
}

static uint64_t handled(int abi)
{
    return FS_ABI_1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) |
           (abi >= 5 ? FS_IOCTL_DEV : 0);
}

struct net_port_attr {
    uint64_t allowed_access, port;
};
enum { RULE_NET_PORT = 2 };

/* A connection to another host may choose its own address, never its port. */
static int allow_any_port(int ruleset, int abi)
{
    struct net_port_attr rule = {.allowed_access = NET_BIND_TCP, .port = 0};

    return abi >= 4 ? (int)syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) : 0;
}

static int restrict_files(const struct sandbox *s)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return -1;
    struct ruleset_attr attr = {.handled_access_fs = handled(abi),
                                .handled_access_net = abi >= 4 ? NET_BIND_TCP : 0};
    size_t size = abi >= 4 ? sizeof attr : sizeof attr.handled_access_fs;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0)
        return -1;
    int rc = allow(ruleset, s->data, attr.handled_access_fs & FS_DATA);
    if (s->bodies && s->bodies[0])
        rc |= allow(ruleset, s->bodies, attr.handled_access_fs & FS_DATA);
    rc |= allow(ruleset, "/dev/null", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE);
    rc |= allow_all(ruleset, s->bare ? bare_files : system_files, FS_READ);
    rc |= allow_all(ruleset, s->readable, FS_READ);
    if (!s->bare)
        rc |= allow_any_port(ruleset, abi);
    rc |= (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
    return rc ? -1 : 0;
}

/* ---- seccomp */
static const int denied[] = {
    /* running and looking into programs */
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise), SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp),
    SCMP_SYS(perf_event_open), SCMP_SYS(bpf), SCMP_SYS(userfaultfd),
    /* a second way to do everything, past this filter */
    SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
    /* file systems and namespaces */
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(open_tree),
    SCMP_SYS(move_mount), SCMP_SYS(fsopen), SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick),
    SCMP_SYS(mount_setattr), SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(swapon),
    SCMP_SYS(swapoff), SCMP_SYS(quotactl), SCMP_SYS(open_by_handle_at), SCMP_SYS(name_to_handle_at),
    SCMP_SYS(mknod), SCMP_SYS(mknodat),
    /* the machine */
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load), SCMP_SYS(reboot), SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(acct),
    SCMP_SYS(syslog), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(adjtimex),
    SCMP_SYS(clock_adjtime), SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(vhangup),
    SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(keyctl)};

static int add_rules(scmp_filter_ctx ctx)
{
    const uint32_t deny = SCMP_ACT_ERRNO(EPERM);
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(denied); i++)
        rc |= seccomp_rule_add(ctx, deny, denied[i], 0);
    /* AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (getifaddrs) stay. */
    rc |= seccomp_rule_add(ctx, deny, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GT, AF_NETLINK));
    for (unsigned family = 3; family < AF_NETLINK; family++)
        if (family != AF_INET6)
            rc |= seccomp_rule_add(ctx, deny, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, family));
    rc |= seccomp_rule_add(ctx, deny, SCMP_SYS(clone), 1,
                           SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    /* clone3's flags lie in memory; with ENOSYS libc takes clone. */
    rc |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return rc;
}

/* What it was given it may use: descriptors of files and of connected sockets. */
static const int denied_bare[] = {SCMP_SYS(socket),
                                  SCMP_SYS(connect),
                                  SCMP_SYS(bind),
                                  SCMP_SYS(listen),
                                  SCMP_SYS(accept),
                                  SCMP_SYS(accept4),
                                  SCMP_SYS(kill),
                                  SCMP_SYS(tkill),
                                  SCMP_SYS(rt_sigqueueinfo),
                                  SCMP_SYS(rt_tgsigqueueinfo),
                                  SCMP_SYS(pidfd_open),
                                  SCMP_SYS(pidfd_send_signal),
                                  SCMP_SYS(fork),
                                  SCMP_SYS(vfork),
                                  SCMP_SYS(setpriority),
                                  SCMP_SYS(sched_setscheduler),
                                  SCMP_SYS(sched_setparam),
                                  SCMP_SYS(sched_setaffinity),
                                  SCMP_SYS(sched_setattr),
                                  SCMP_SYS(ioprio_set),
                                  SCMP_SYS(shmget),
                                  SCMP_SYS(shmat),
                                  SCMP_SYS(msgget),
                                  SCMP_SYS(semget),
                                  SCMP_SYS(mq_open)};

static int add_bare_rules(scmp_filter_ctx ctx)
{
    const uint32_t deny = SCMP_ACT_ERRNO(EPERM);
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(denied_bare); i++)
        rc |= seccomp_rule_add(ctx, deny, denied_bare[i], 0);
    rc |= seccomp_rule_add(ctx, deny, SCMP_SYS(tgkill), 1,
                           SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid()));
    rc |= seccomp_rule_add(ctx, deny, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_NE, 0));
    /* Threads, but no processes. */
    rc |= seccomp_rule_add(ctx, deny, SCMP_SYS(clone), 1,
                           SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return rc;
}

static int restrict_calls(bool bare)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    int rc = ctx ? (bare ? add_bare_rules(ctx) : 0) | add_rules(ctx) : -ENOMEM;

    if (rc == 0)
        rc = seccomp_load(ctx);
    if (ctx)
        seccomp_release(ctx);
    errno = -rc;
    return rc ? -1 : 0;
}

static void missing(const char *what)
{
    log_warn(&log_sandbox, "sandbox_incomplete", L_Z("missing", what), L_Z("why", strerror(errno)));
}

void sandbox_enter(const struct sandbox *s)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        missing("no_new_privs");
    if (restrict_files(s))
        missing("landlock");
    if (restrict_calls(s->bare))
        missing("seccomp");
}
