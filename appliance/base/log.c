/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/log.h"
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/base/text.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum {
    LINE_MAX_BYTES = 4096, /* PIPE_BUF: one write stays whole in a pipe */
    VALUE_MAX = 200,       /* bytes of a text value */
    PAIR_MAX = 64 + 4 * VALUE_MAX + 8
};

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic int fd_now = 2;

struct line {
    char p[LINE_MAX_BYTES];
    size_t n;
};

static void put(struct line *l, const char *p, size_t n)
{
    size_t room = sizeof l->p - l->n;
    if (n > room)
        n = room;
    memcpy(l->p + l->n, p, n);
    l->n += n;
}

static void put_char(struct line *l, char c)
{
    put(l, &c, 1);
}

static void put_z(struct line *l, const char *z)
{
    put(l, z, strlen(z));
}

static void put_u64(struct line *l, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + v % 10);
    while (v /= 10);
    put(l, digits + at, sizeof digits - at);
}

static void put_padded(struct line *l, unsigned v, unsigned width)
{
    for (unsigned div = width == 4 ? 1000 : width == 3 ? 100 : 10; div; div /= 10)
        put_char(l, (char)('0' + v / div % 10));
}

/* RFC 3339 in UTC. Counted here because gmtime_r takes libc's time zone lock. Days are counted in
 * years that begin in March, so the leap day is the last one. */
static void put_time(struct line *l, int64_t ms)
{
    uint64_t s = (uint64_t)(ms < 0 ? 0 : ms) / 1000;
    uint64_t z = s / 86400 + 719468; /* since 0000-03-01 */
    unsigned sec = (unsigned)(s % 86400);
    uint64_t era = z / 146097;
    unsigned doe = (unsigned)(z % 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    unsigned month = mp < 10 ? mp + 3 : mp - 9;
    put_padded(l, (unsigned)(era * 400 + yoe + (month <= 2)), 4);
    put_char(l, '-');
    put_padded(l, month, 2);
    put_char(l, '-');
    put_padded(l, doy - (153 * mp + 2) / 5 + 1, 2);
    put_char(l, 'T');
    put_padded(l, sec / 3600, 2);
    put_char(l, ':');
    put_padded(l, sec / 60 % 60, 2);
    put_char(l, ':');
    put_padded(l, sec % 60, 2);
    put_char(l, '.');
    put_padded(l, (unsigned)((uint64_t)(ms < 0 ? 0 : ms) % 1000), 3);
    put_char(l, 'Z');
}

static bool is_plain(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

static bool all_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_plain((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

static void put_escaped(struct line *l, unsigned char c, bool utf8)
{
    static const char hex[] = "0123456789abcdef";
    if (c == '"' || c == '\\') {
        put_char(l, '\\');
        put_char(l, (char)c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
        put_char(l, '\\');
        put_char(l, c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    } else if (c < ' ' || c == 0x7f || (c >= 0x80 && !utf8)) {
        put(l, "\\x", 2);
        put_char(l, hex[c >> 4]);
        put_char(l, hex[c & 15]);
    } else {
        put_char(l, (char)c);
    }
}

/* Cut to VALUE_MAX bytes, not within a character. */
static struct str cap(struct str s)
{
    size_t n = s.n;
    if (n > VALUE_MAX)
        for (n = VALUE_MAX; n > VALUE_MAX - 4 && ((unsigned char)s.p[n] & 0xc0) == 0x80;)
            n--;
    return str_take(s, n);
}

/* C1 control characters are UTF-8 too, and terminals obey them. */
static bool is_printable_utf8(struct str s)
{
    for (size_t i = 0; i + 1 < s.n; i++)
        if ((unsigned char)s.p[i] == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0)
            return false;
    return text_utf8_valid(s);
}

static void put_text(struct line *l, struct str s)
{
    struct str shown = cap(s);
    if (shown.n == s.n && all_plain(s)) {
        put(l, s.p, s.n);
        return;
    }
    bool utf8 = is_printable_utf8(shown);
    put_char(l, '"');
    for (size_t i = 0; i < shown.n; i++)
        put_escaped(l, (unsigned char)shown.p[i], utf8);
    if (shown.n < s.n)
        put_z(l, "...");
    put_char(l, '"');
}

static void put_pair(struct line *l, const struct log_kv *kv)
{
    put_char(l, ' ');
    put_z(l, kv->key);
    put_char(l, '=');
    if (kv->type == LOG_KV_STR) {
        put_text(l, kv->s);
        return;
    }
    uint64_t v = (uint64_t)kv->i;
    if (kv->type == LOG_KV_INT && kv->i < 0) {
        put_char(l, '-');
        v = 0 - v;
    }
    put_u64(l, v);
}

static void put_head(struct line *l, enum log_level level, const struct log_ctx *ctx,
                     const char *event)
{
    static const char *const words[] = {" error ", " warn ", " info ", " debug "};
    put_time(l, clock_wall_ms());
    put_z(l, words[level]);
    put_z(l, ctx && ctx->module ? ctx->module : "-");
    put_char(l, ' ');
    put_z(l, event);
    if (ctx && ctx->sid) {
        put_z(l, " sid=");
        put_u64(l, ctx->sid);
    }
    if (ctx && ctx->mid) {
        put_z(l, " mid=");
        put_u64(l, ctx->mid);
    }
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

void log_set_fd(int fd)
{
    atomic_store_explicit(&fd_now, fd, memory_order_relaxed);
}

void log_write(enum log_level level, const struct log_ctx *ctx, const char *event,
               const struct log_kv *kv)
{
    int fd = atomic_load_explicit(&fd_now, memory_order_relaxed);
    if (fd < 0)
        return;
    struct line l;
    l.n = 0;
    put_head(&l, level, ctx, event);
    for (; kv->key; kv++) {
        if (sizeof l.p - l.n < PAIR_MAX) {
            put_z(&l, " more=cut");
            break;
        }
        put_pair(&l, kv);
    }
    put_char(&l, '\n');
    int before = errno; /* callers log between a failure and strerror(errno) */
    while (write(fd, l.p, l.n) < 0 && errno == EINTR)
        ;
    errno = before;
}
