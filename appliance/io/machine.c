/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* machine.c - control groups of version 2 (one tree) and 1 (a tree for memory). A limit binds all
 * groups below it, so the way up to the root is walked. */
#include "appliance/io/machine.h"
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 10, PATH_ROOM = 4096 };
#define NO_LIMIT UINT64_MAX
/* Version 1 says "no limit" by the largest multiple of a page: more than any machine has. */
#define HUGE_LIMIT (1ULL << 60)

static bool read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    char *space;

    buf_clear(out);
    while (fd >= 0 && n > 0 && buf_reserve(out, 4096, &space) == 0) {
        n = read(fd, space, 4096);
        buf_commit(out, n > 0 ? (size_t)n : 0);
    }
    if (fd >= 0)
        close(fd);
    return fd >= 0 && n == 0;
}

/* The number after `key` at the beginning of a line. */
static bool field(struct str text, const char *key, uint64_t *out)
{
    struct str line, digits, rest;

    while (text.n) {
        str_cut(text, '\n', &line, &text);
        if (!str_starts(line, str_from(key)))
            continue;
        line = str_trim(str_skip(line, strlen(key)));
        str_cut(line, ' ', &digits, &rest);
        return str_to_u64(digits, UINT64_MAX / 2048, out) == 0;
    }
    return false;
}

struct group {
    const char *root; /* of all files */
    const char *mount;
    char path[PATH_ROOM]; /* "/a/b" or "" */
    struct buf text;
    uint64_t limit; /* the tightest so far */
};

static bool group_text(struct group *g, const char *name)
{
    char path[2 * PATH_ROOM];

    snprintf(path, sizeof path, "%s%s%s/%s", g->root, g->mount, g->path, name);
    return read_file(path, &g->text);
}

/* NO_LIMIT: "max", one as good as that, or no such file. */
static uint64_t group_number(struct group *g, const char *name)
{
    uint64_t n;

    if (!group_text(g, name) || str_to_u64(str_trim(buf_str(&g->text)), UINT64_MAX - 1, &n) ||
        n >= HUGE_LIMIT)
        return NO_LIMIT;
    return n;
}

/* Pages of files in use once are given up before anybody is killed. */
static uint64_t group_cache(struct group *g, const char *key)
{
    uint64_t n;

    return group_text(g, "memory.stat") && field(buf_str(&g->text), key, &n) ? n : 0;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t left_v2(struct group *g, uint64_t swap)
{
    uint64_t max = group_number(g, "memory.max"), used = group_number(g, "memory.current");
    uint64_t swap_max = group_number(g, "memory.swap.max"),
             swapped = group_number(g, "memory.swap.current");

    g->limit = least(g->limit, max);
    if (max == NO_LIMIT || used == NO_LIMIT)
        return NO_LIMIT;
    if (swap_max != NO_LIMIT && swapped != NO_LIMIT)
        swap = least(swap, minus(swap_max, swapped));
    return minus(max, minus(used, group_cache(g, "inactive_file "))) + swap;
}

static uint64_t left_v1(struct group *g, uint64_t swap)
{
    uint64_t max = group_number(g, "memory.limit_in_bytes"),
             used = group_number(g, "memory.usage_in_bytes");
    uint64_t both_max = group_number(g, "memory.memsw.limit_in_bytes"),
             both = group_number(g, "memory.memsw.usage_in_bytes");
    uint64_t cache = group_cache(g, "total_inactive_file "), left = NO_LIMIT;

    g->limit = least(g->limit, max);
    if (max != NO_LIMIT && used != NO_LIMIT)
        left = minus(max, minus(used, cache)) + swap;
    if (both_max != NO_LIMIT && both != NO_LIMIT)
        left = least(left, minus(both_max, minus(both, cache)));
    return left;
}

/* Where the mount shows a container's own group as its root, the way up ends there. */
static uint64_t walk(struct group *g, uint64_t (*left_of)(struct group *, uint64_t), uint64_t swap)
{
    uint64_t left = NO_LIMIT;
    char *slash;

    do {
        left = least(left, left_of(g, swap));
        slash = strrchr(g->path, '/');
        if (slash)
            *slash = '\0';
    } while (slash);
    return left;
}

/* A line "number:controllers:/path". */
static bool has_controller(struct str list, struct str name)
{
    struct str one;
    bool more = true;

    while (more) {
        more = str_cut(list, ',', &one, &list);
        if (str_eq(one, name))
            return true;
    }
    return false;
}

static uint64_t groups_left(const char *root, uint64_t swap, uint64_t *limit)
{
    struct group g = {.root = root, .limit = NO_LIMIT};
    struct str rest, line, number, controllers, path;
    struct buf all;
    char name[PATH_ROOM];
    uint64_t left = NO_LIMIT;

    buf_init(&all, FILE_MAX);
    buf_init(&g.text, FILE_MAX);
    snprintf(name, sizeof name, "%s/proc/self/cgroup", root);
    if (read_file(name, &all))
        for (rest = buf_str(&all); rest.n;) {
            str_cut(rest, '\n', &line, &rest);
            str_cut(line, ':', &number, &line);
            str_cut(line, ':', &controllers, &path);
            bool v1 = has_controller(controllers, STR("memory"));
            if (!v1 && controllers.n)
                continue;
            g.mount = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
            snprintf(g.path, sizeof g.path, STR_FMT,
                     STR_ARG(str_eq(path, STR("/")) ? STR("") : path));
            left = least(left, walk(&g, v1 ? left_v1 : left_v2, swap));
        }
    buf_fini(&g.text);
    buf_fini(&all);
    *limit = g.limit;
    return left;
}

bool machine_memory_read(const char *root, struct machine_memory *out)
{
    struct buf text;
    char name[PATH_ROOM];
    uint64_t available, swap = 0, total = NO_LIMIT / 1024;

    *out = (struct machine_memory){NO_LIMIT, NO_LIMIT, NO_LIMIT, NO_LIMIT, NO_LIMIT};
    buf_init(&text, FILE_MAX);
    snprintf(name, sizeof name, "%s/proc/meminfo", root);
    bool known = read_file(name, &text) && field(buf_str(&text), "MemAvailable:", &available);
    if (known) {
        (void)field(buf_str(&text), "SwapFree:", &swap);
        out->available = available * 1024;
        out->swap = swap * 1024;
        (void)field(buf_str(&text), "MemTotal:", &total);
        out->group = groups_left(root, out->swap, &out->total);
        out->total = least(out->total, total * 1024);
        out->left = least(out->available + out->swap, out->group);
    }
    buf_fini(&text);
    return known;
}

static uint64_t memory_of(const char *status)
{
    uint64_t anonymous = 0, swapped = 0;
    struct buf text;

    buf_init(&text, FILE_MAX);
    if (read_file(status, &text)) {
        (void)field(buf_str(&text), "RssAnon:", &anonymous);
        (void)field(buf_str(&text), "VmSwap:", &swapped);
    }
    buf_fini(&text);
    return (anonymous + swapped) * 1024;
}

uint64_t machine_memory_own(void)
{
    return memory_of("/proc/self/status");
}

uint64_t machine_memory_of(pid_t pid)
{
    char name[40];

    snprintf(name, sizeof name, "/proc/%d/status", (int)pid);
    return memory_of(name);
}
