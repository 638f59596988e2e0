/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/sdnotify.h"
#include "appliance/base/mem.h"
#include "appliance/base/str.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct {
    int fd; /* -1: nobody listens */
    uint64_t watchdog_ms;
    struct timer *timer;
} state = {.fd = -1};

static uint64_t env_number(const char *name)
{
    uint64_t v = 0;

    if (str_to_u64(str_from(getenv(name)), UINT64_MAX / 2, &v))
        return 0;
    return v;
}

static int connect_to(const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    int fd;

    if ((name[0] != '/' && name[0] != '@') || n >= sizeof un.sun_path)
        return -1;
    memcpy(un.sun_path, name, n);
    if (name[0] == '@') /* the abstract name space */
        un.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&un,
                           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void sdnotify_open(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    uint64_t pid = env_number("WATCHDOG_PID");

    if (name)
        state.fd = connect_to(name);
    if (!pid || pid == (uint64_t)getpid())
        state.watchdog_ms = env_number("WATCHDOG_USEC") / 1000;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static void say(const char *text)
{
    if (state.fd >= 0)
        (void)!send(state.fd, text, strlen(text), MSG_NOSIGNAL);
}

void sdnotify_ready(void)
{
    say("READY=1\nSTATUS=Serving mail");
}

void sdnotify_reloading(void)
{
    struct timespec now;
    char text[96];

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)now.tv_sec * 1000000ull + (unsigned long long)now.tv_nsec / 1000);
    say(text);
}

void sdnotify_stopping(void)
{
    say("STOPPING=1\nSTATUS=Finishing what is under way");
}

static void on_watchdog(void *ctx)
{
    (void)ctx;
    say("WATCHDOG=1");
    timer_start(state.timer, state.watchdog_ms / 2);
}

void sdnotify_start_watchdog(struct loop *l)
{
    if (state.fd < 0 || state.watchdog_ms < 2)
        return;
    state.timer = timer_new(l, on_watchdog, NULL);
    on_watchdog(NULL);
}

void sdnotify_close(void)
{
    if (state.timer)
        timer_free(&state.timer);
    if (state.fd >= 0)
        close(state.fd);
    state.fd = -1;
}
