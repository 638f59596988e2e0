/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* log.h - one line, one fact: `ts=... level=... module=... event=... key=value ...` (logfmt) on
 * stderr, or the same as JSON. Floor 0 (base). Threads: any; a line is written whole by one
 * write(2), before the call returns. Once log_start_thread() was called nobody waits for whoever
 * reads the log: lines that the descriptor doesn't take just now are written later, in order, by a
 * thread, and beyond 1 MB of them counted ("lines_lost n=", posthouse_log_lines_lost_total). Client
 * text is quoted and capped at 200 bytes. Never: passwords, bodies, secrets. */
#ifndef PH_BASE_LOG_H
#define PH_BASE_LOG_H
#include "appliance/base/str.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
/* error: the operator must act; warn: degraded; info: one line per connection, message, delivery;
 * debug: on demand. */

struct log_ctx {        /* inherited session -> transaction -> job; by value, plain data */
    const char *module; /* static string: "smtp", "imap", "store", ... */
    uint64_t sid, mid;  /* session and message ids; 0 = none */
};
struct log_kv {
    const char *key; /* NULL ends the list */
    enum { LOG_KV_STR, LOG_KV_INT, LOG_KV_UINT, LOG_KV_ID } type;
    struct str s;
    int64_t i;
};
#define L_STR(k, v)                                                                                \
    {                                                                                              \
        .key = (k), .type = LOG_KV_STR, .s = (v)                                                   \
    }
#define L_Z(k, v)                                                                                  \
    {                                                                                              \
        .key = (k), .type = LOG_KV_STR, .s = str_from(v)                                           \
    }
#define L_INT(k, v)                                                                                \
    {                                                                                              \
        .key = (k), .type = LOG_KV_INT, .i = (int64_t)(v)                                          \
    }
#define L_UINT(k, v)                                                                               \
    {                                                                                              \
        .key = (k), .type = LOG_KV_UINT, .i = (int64_t)(uint64_t)(v)                               \
    }
/* A 64-bit id: more than JSON's numbers hold everywhere, so there it is a string. */
#define L_ID(k, v)                                                                                 \
    {                                                                                              \
        .key = (k), .type = LOG_KV_ID, .i = (int64_t)(uint64_t)(v)                                 \
    }

/* log_info(&s->log, "accepted", L_STR("from", from), L_UINT("size", n)); event names are fixed
 * words. A key is text, a number or an id wherever it is used, for whoever keeps the lines as
 * columns. */
#define log_error(ctx, ev, ...) log_at(LOG_LEVEL_ERROR, ctx, ev, __VA_ARGS__)
#define log_warn(ctx, ev, ...) log_at(LOG_LEVEL_WARN, ctx, ev, __VA_ARGS__)
#define log_info(ctx, ev, ...) log_at(LOG_LEVEL_INFO, ctx, ev, __VA_ARGS__)
#define log_debug(ctx, ev, ...) log_at(LOG_LEVEL_DEBUG, ctx, ev, __VA_ARGS__)
#define log_at(level, ctx, ev, ...)                                                                \
    (log_enabled(level)                                                                            \
         ? log_write(level, ctx, ev,                                                               \
                     (const struct log_kv[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}})             \
         : (void)0)

bool log_enabled(enum log_level level);
/* How much is written and how it looks: the only mutable globals; atomic, so any time, any thread.
 */
void log_set_level(enum log_level level);
/* Modules that write debug lines whatever the level, as "smtp, imap"; "" or NULL: none. */
void log_set_debug(struct str modules);
void log_set_json(
    bool json); /* {"ts":...,"level":...,"module":...,"event":...,"sid":"1",...}: ids are strings */
/* Lines begin with "<6>" and the like, and have no time: for systemd's journal (sd-daemon(3)). */
void log_set_journal(bool journal);
void log_set_fd(int fd); /* default 2; -1: nothing is written (tests) */
/* Looks at the descriptor that is set, while its pipe may still be opened: before another user's
 * rights and the sandbox. The thread starts after them. Forked children are without it and write
 * for themselves. At exit() it gets a second for what is left. */
void log_prepare(void);
void log_start_thread(void);
bool log_stop_thread(uint64_t ms); /* false: after so long, lines are left that nobody reads */
/* Waits until nothing is left. False: still is, after so long. */
bool log_flush(uint64_t ms);
/* For whoever ends the process at once: what is left, then this text on stderr, but without waiting
 * for ever. */
void log_last_words(const char *text);
void log_write(enum log_level level, const struct log_ctx *ctx, const char *event,
               const struct log_kv *kv);
#endif
