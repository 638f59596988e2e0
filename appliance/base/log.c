/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/log.h"
#include "appliance/base/buf.h"
#include "appliance/base/clock.h"
#include "appliance/base/log_out.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <stdatomic.h>

enum {
    VALUE_MAX = 200, /* bytes of a text value */
    PAIR_MAX = 64 + 6 * VALUE_MAX + 8
};

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic int fd_now = 2;
static _Atomic bool json_now, journal_now;

/* Modules with debug lines. What was set before is kept for ever, for threads that still look at
 * it. */
struct modules {
    struct modules *before;
    char text[]; /* ",smtp,imap," */
};
static _Atomic(struct modules *) debug_now;

struct line {
    char p[LOG_LINE_MAX];
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

/* C1 control characters are UTF-8 too, and terminals obey them, as they do those that turn the
 * direction of text. What is ASCII is escaped one by one. */
static bool is_printable_utf8(struct str s)
{
    for (size_t i = 0, n; i < s.n; i += n + 1) {
        for (n = 0; i + n < s.n && (unsigned char)s.p[i + n] >= 0x80;)
            n++;
        if (!text_is_printable(str_of(s.p + i, n)))
            return false;
    }
    return true;
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

/* RFC 8259; what is no UTF-8 is shown as \ufffd. */
static void put_json_char(struct line *l, unsigned char c, bool utf8)
{
    static const char hex[] = "0123456789abcdef";
    if (c == '"' || c == '\\') {
        put_char(l, '\\');
        put_char(l, (char)c);
    } else if (c < ' ' || c == 0x7f) {
        put(l, "\\u00", 4);
        put_char(l, hex[c >> 4]);
        put_char(l, hex[c & 15]);
    } else if (c >= 0x80 && !utf8) {
        put(l, "\\ufffd", 6);
    } else {
        put_char(l, (char)c);
    }
}

static void put_json_text(struct line *l, struct str s)
{
    struct str shown = cap(s);
    bool utf8 = is_printable_utf8(shown);
    put_char(l, '"');
    for (size_t i = 0; i < shown.n; i++)
        put_json_char(l, (unsigned char)shown.p[i], utf8);
    if (shown.n < s.n)
        put_z(l, "...");
    put_char(l, '"');
}

static void put_pair(struct line *l, const struct log_kv *kv, bool json)
{
    put_z(l, json ? ",\"" : " ");
    put_z(l, kv->key);
    put_z(l, json ? "\":" : "=");
    if (kv->type == LOG_KV_STR) {
        if (json)
            put_json_text(l, kv->s);
        else
            put_text(l, kv->s);
        return;
    }
    uint64_t v = (uint64_t)kv->i;
    if (kv->type == LOG_KV_INT && kv->i < 0) {
        put_char(l, '-');
        v = 0 - v;
    }
    bool quoted = json && kv->type == LOG_KV_ID;
    put_z(l, quoted ? "\"" : "");
    put_u64(l, v);
    put_z(l, quoted ? "\"" : "");
}

static const char *const level_words[] = {"error", "warn", "info", "debug"};

static void put_head(struct line *l, enum log_level level, const char *module, const char *event,
                     bool journal)
{
    static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"};
    if (journal) {
        put_z(l, priorities[level]);
    } else {
        put_z(l, "ts=");
        put_time(l, clock_wall_ms());
        put_char(l, ' ');
    }
    put_z(l, "level=");
    put_z(l, level_words[level]);
    put_z(l, " module=");
    put_z(l, module);
    put_z(l, " event=");
    put_z(l, event);
}

static void put_json_head(struct line *l, enum log_level level, const char *module,
                          const char *event)
{
    put_z(l, "{\"ts\":\"");
    put_time(l, clock_wall_ms());
    put_z(l, "\",\"level\":\"");
    put_z(l, level_words[level]);
    put_z(l, "\",\"module\":\"");
    put_z(l, module);
    put_z(l, "\",\"event\":\"");
    put_z(l, event);
    put_char(l, '"');
}

/* 64 bits are more than JSON's numbers hold everywhere. */
static void put_id(struct line *l, const char *key, uint64_t id, bool json)
{
    if (!id)
        return;
    put_z(l, json ? ",\"" : " ");
    put_z(l, key);
    put_z(l, json ? "\":\"" : "=");
    put_u64(l, id);
    put_z(l, json ? "\"" : "");
}

static bool debugged(const char *module)
{
    const struct modules *m = atomic_load_explicit(&debug_now, memory_order_acquire);
    size_t n = strlen(module);
    if (!m)
        return false;
    for (const char *p = m->text; (p = strstr(p, module)); p++)
        if (p[-1] == ',' && p[n] == ',')
            return true;
    return false;
}

bool log_enabled(enum log_level level)
{
    const struct modules *m = atomic_load_explicit(&debug_now, memory_order_relaxed);
    return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed) ||
           (m && m->text[1]);
}

void log_set_debug(struct str modules)
{
    struct modules *m = mem_alloc(sizeof *m + modules.n + 3), *now = atomic_load(&debug_now);
    size_t n = 0;
    m->text[n++] = ',';
    for (size_t i = 0; i < modules.n; i++)
        if (modules.p[i] != ' ')
            m->text[n++] = modules.p[i];
    if (n > 1)
        m->text[n] = ',';
    if (now ? strcmp(now->text, m->text) == 0 : n == 1) {
        mem_free(m);
        return;
    }
    m->before = now;
    atomic_store_explicit(&debug_now, m, memory_order_release);
}

void log_set_json(bool json)
{
    atomic_store_explicit(&json_now, json, memory_order_relaxed);
}

void log_set_journal(bool journal)
{
    atomic_store_explicit(&journal_now, journal, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

void log_set_fd(int fd)
{
    atomic_store_explicit(&fd_now, fd, memory_order_relaxed);
}

int log_fd(void)
{
    return atomic_load_explicit(&fd_now, memory_order_relaxed);
}

static void put_line(struct line *l, enum log_level level, const struct log_ctx *ctx,
                     const char *module, const char *event, const struct log_kv *kv)
{
    bool json = atomic_load_explicit(&json_now, memory_order_relaxed);
    l->n = 0;
    if (json)
        put_json_head(l, level, module, event);
    else
        put_head(l, level, module, event, atomic_load_explicit(&journal_now, memory_order_relaxed));
    put_id(l, "sid", ctx ? ctx->sid : 0, json);
    put_id(l, "mid", ctx ? ctx->mid : 0, json);
    for (; kv->key; kv++) {
        if (sizeof l->p - l->n < PAIR_MAX) {
            put_z(l, json ? ",\"more\":\"cut\"" : " more=cut");
            break;
        }
        put_pair(l, kv, json);
    }
    put_z(l, json ? "}\n" : "\n");
}

size_t log_lost_line(uint64_t lost, char out[LOG_LINE_MAX])
{
    struct line l;
    put_line(&l, LOG_LEVEL_WARN, NULL, "log", "lines_lost",
             (const struct log_kv[]){L_UINT("n", lost), {.key = NULL}});
    memcpy(out, l.p, l.n);
    return l.n;
}

void log_write(enum log_level level, const struct log_ctx *ctx, const char *event,
               const struct log_kv *kv)
{
    int fd = log_fd();
    const char *module = ctx && ctx->module ? ctx->module : "-";
    if (fd < 0 ||
        ((int)level > atomic_load_explicit(&level_now, memory_order_relaxed) && !debugged(module)))
        return;
    struct line l;
    put_line(&l, level, ctx, module, event, kv);
    log_out(fd, l.p, l.n);
}
