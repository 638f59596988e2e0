/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/seal.h"
#include "appliance/base/mem.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DENY SCMP_ACT_ERRNO(EACCES)

static int add_rules(scmp_filter_ctx ctx, bool local_sockets)
{
    static const int whole[] = {SCMP_SYS(io_uring_setup), SCMP_SYS(ptrace), SCMP_SYS(pidfd_getfd)};
    static const struct {
        int call;
        unsigned flags_arg;
    } sends[] = {{SCMP_SYS(sendto), 3}, {SCMP_SYS(sendmsg), 2}, {SCMP_SYS(sendmmsg), 3}};
    const struct scmp_arg_cmp not_local = {
        .arg = 2, .op = SCMP_CMP_NE, .datum_a = sizeof(struct sockaddr_un)};
    int rc = seccomp_rule_add(ctx, DENY, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX));

    if (local_sockets)
        rc |= seccomp_rule_add_array(ctx, DENY, SCMP_SYS(connect), 1, &not_local);
    else
        rc |= seccomp_rule_add(ctx, DENY, SCMP_SYS(connect), 0);
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        rc |= seccomp_rule_add(ctx, DENY, whole[i], 0);
    /* With MSG_FASTOPEN a send connects (RFC 7413). */
    for (size_t i = 0; i < ARRAY_LEN(sends); i++)
        rc |= seccomp_rule_add(
            ctx, DENY, sends[i].call, 1,
            SCMP_CMP(sends[i].flags_arg, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, MSG_FASTOPEN));
    return rc;
}

static int load_filter(bool local_sockets, struct err *err)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    int rc;

    if (!ctx)
        return ERR(err, ERR_TEMP, "seccomp is not available");
    rc = add_rules(ctx, local_sockets);
    if (rc == 0)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    if (rc != 0)
        return ERR(err, ERR_TEMP, "the kernel took no seccomp filter: %s", strerror(-rc));
    return 0;
}

/* Sockets made before the seal, to prove that they can't be connected after it. */
struct probe {
    const char *what;
    int family, type, fd;
};

static void probe_address(int family, struct sockaddr_storage *ss, socklen_t *n)
{
    memset(ss, 0, sizeof *ss);
    if (family == AF_INET) {
        struct sockaddr_in *a = (struct sockaddr_in *)ss;
        a->sin_family = AF_INET;
        a->sin_port = htons(25);
        inet_pton(AF_INET, "192.0.2.1", &a->sin_addr);
        *n = sizeof *a;
    } else {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)ss;
        a->sin6_family = AF_INET6;
        a->sin6_port = htons(25);
        inet_pton(AF_INET6, "2001:db8::1", &a->sin6_addr);
        *n = sizeof *a;
    }
}

static int probe_check(const struct probe *p, struct err *err)
{
    struct sockaddr_storage ss;
    socklen_t n;
    int fd = socket(p->family, p->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 || errno != EACCES) {
        if (fd >= 0)
            close(fd);
        return ERR(err, ERR_BUG, "the seal leaks: a new %s socket could be made", p->what);
    }
    probe_address(p->family, &ss, &n);
    if (p->fd >= 0 && (connect(p->fd, (struct sockaddr *)&ss, n) == 0 || errno != EACCES))
        return ERR(err, ERR_BUG, "the seal leaks: a %s socket could be connected", p->what);
    return 0;
}

int seal_process(bool local_sockets, struct err *err)
{
    struct probe probes[] = {{"TCP/IPv4", AF_INET, SOCK_STREAM, -1},
                             {"UDP/IPv4", AF_INET, SOCK_DGRAM, -1},
                             {"TCP/IPv6", AF_INET6, SOCK_STREAM, -1},
                             {"UDP/IPv6", AF_INET6, SOCK_DGRAM, -1}};
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(probes); i++)
        probes[i].fd = socket(probes[i].family, probes[i].type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    rc = load_filter(local_sockets, err);
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        if (rc == 0)
            rc = probe_check(&probes[i], err);
        if (probes[i].fd >= 0)
            close(probes[i].fd);
    }
    return rc;
}
