/* SPDX-License-Identifier: MIT */
/* every.c - for tests: a loop-style stage at every point, with every action, whose behaviour comes
 * from its settings: at `point`, for a subject that its sender's local part names, it answers
 * `verdict` after `delay`. */
#define _GNU_SOURCE
#include <posthouse/stage.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AT_ONCE, LATER, NEVER, TWICE, LATE, BLOCK };
struct every_conf {
    int point, verdict, how;
    uint64_t delay;
    const char *reply, *needle, *act, *refuse;
};
static const char *const points[] = {"connect", "helo",    "auth",     "mail",
                                     "rcpt",    "message", "outbound", NULL};
static const char *const verdicts[] = {"pass",    "accept", "junk",   "quarantine",
                                       "discard", "defer",  "reject", NULL};
static const char *const hows[] = {"at_once", "later", "never", "twice", "late", "block", NULL};
static const struct ph_setting settings[] = {
    PH_SETTING_ENUM(every_conf, point, PH_RELOAD, "message", points, "Where it answers so."),
    PH_SETTING_ENUM(every_conf, verdict, PH_RELOAD, "pass", verdicts, "What it answers."),
    PH_SETTING_ENUM(every_conf, how, PH_RELOAD, "at_once", hows, "How it answers."),
    PH_SETTING(TIME, every_conf, delay, PH_RELOAD, "10ms", 0, 0, "With how = later."),
    PH_SETTING(TEXT, every_conf, reply, PH_RELOAD, "", 0, 0, "The reply."),
    PH_SETTING(TEXT, every_conf, needle, PH_RELOAD, "", 0, 0,
               "Only if this is in the recipient or the sender."),
    PH_SETTING(TEXT, every_conf, act, PH_RELOAD, "", 0, 0, "What else: name=value; ..."),
    PH_SETTING(TEXT, every_conf, refuse, PH_RELOAD, "", 0, 0,
               "open and reload refuse, with these words."),
    PH_SETTING_END};
static const struct ph_host *host;
static ph_turn late;

static int every_open(const struct ph_host *h, const void *conf, void **inst, struct ph_err *err)
{
    const struct every_conf *c = conf;
    host = h;
    *inst = (void *)(uintptr_t)h;
    snprintf(err->text, sizeof err->text, "%s", c->refuse);
    return c->refuse[0] ? -1 : 0;
}

static int every_reload(void *inst, const void *conf, struct ph_err *err)
{
    void *ignored;
    (void)inst;
    return every_open(host, conf, &ignored, err);
}

static void act(ph_turn turn, const char *what, char *value)
{
    struct ph_acts *a = host->acts(host, turn);
    char *second = strchr(value, '|');
    if (second)
        *second++ = '\0';
    if (strcmp(what, "add") == 0)
        host->header_add(a, value, second);
    else if (strcmp(what, "insert") == 0)
        host->header_insert(a, 0, value, second);
    else if (strcmp(what, "change") == 0)
        host->header_change(a, value, 1, second);
    else if (strcmp(what, "delete") == 0)
        host->header_delete(a, value, 0);
    else if (strcmp(what, "rcpt") == 0)
        host->rcpt_add(a, value);
    else if (strcmp(what, "norcpt") == 0)
        host->rcpt_delete(a, value);
    else if (strcmp(what, "sender") == 0)
        host->sender_change(a, value);
    else if (strcmp(what, "tag") == 0)
        host->tag(a, value);
    else if (strcmp(what, "count") == 0) {
        int64_t n = 0;
        char text[32];
        if (host->kv_get(host, value, strlen(value), &n, sizeof n) < 0)
            n = 0;
        n++;
        host->kv_set(host, value, strlen(value), &n, sizeof n, 0);
        snprintf(text, sizeof text, "%lld", (long long)n);
        host->fact_set(a, "every.count", text);
    } else if (strcmp(what, "body") == 0) {
        size_t n = (size_t)strtoul(value, NULL, 10);
        char *body = malloc(n);
        for (size_t i = 0; i < n; i++)
            body[i] = i % 72 == 70 || i + 2 == n ? '\r' : i % 72 == 71 || i + 1 == n ? '\n' : 'x';
        if (host->body_replace(a, body, n))
            host->log(host, NULL, PH_LOG_ERROR, "body_replace refused");
        free(body);
    } else if (strcmp(what, "read") == 0) { /* all of it, in odd pieces */
        const struct ph_view *v = host->view(host, turn);
        char piece[1999], text[64];
        uint64_t at = 0;
        unsigned sum = 0;
        int64_t n;
        while ((n = v->read(v, at, piece, sizeof piece)) > 0) {
            for (int64_t i = 0; i < n; i++)
                sum += (unsigned char)piece[i];
            at += (uint64_t)n;
        }
        snprintf(text, sizeof text, "%llu %u", (unsigned long long)at, sum);
        host->fact_set(a, "every.read", at == v->message_size && n == 0 ? text : "wrong");
    } else {
        host->log(host, NULL, PH_LOG_ERROR, "unknown act %s", what);
    }
}

static void act_all(ph_turn turn, const char *list)
{
    char *copy = strdup(list), *rest = copy, *one;
    while ((one = strsep(&rest, ";"))) {
        char *value = strchr(one, '=');
        if (value) {
            *value++ = '\0';
            act(turn, one, value);
        }
    }
    free(copy);
}

static void answer(ph_turn turn, const struct every_conf *c)
{
    act_all(turn, c->act);
    host->done(host, turn, (enum ph_verdict)c->verdict, c->reply[0] ? c->reply : NULL,
               "the test wants it");
}

static void on_delay(void *inst, ph_turn turn, void *arg)
{
    (void)inst;
    answer(turn, arg);
}

static void every_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    const struct every_conf *c = conf;
    const struct ph_view *v = host->view(host, turn);
    (void)inst;
    if (v->size < sizeof *v || !v->client_ip[0]) {
        host->done(host, turn, PH_REJECT, NULL, "the view is wrong");
        return;
    }
    if ((int)at != c->point ||
        (c->needle[0] && !strstr(v->rcpt, c->needle) && !strstr(v->mail_from, c->needle))) {
        host->done(host, turn, PH_PASS, NULL, NULL);
        return;
    }
    if (c->how == LATE && late.id)
        host->done(host, late, PH_REJECT, NULL, "late"); /* the turn before this one */
    late = turn;
    if (c->how == AT_ONCE || c->how == TWICE)
        answer(turn, c);
    if (c->how == TWICE)
        host->done(host, turn, PH_REJECT, NULL, NULL);
    if (c->how == LATER)
        host->after(host, turn, c->delay, on_delay, (void *)(uintptr_t)c);
    if (c->how == NEVER)
        host->log(host, v, PH_LOG_INFO, "is asked, and silent");
    if (c->how == BLOCK)
        nanosleep(&(struct timespec){3600, 0}, NULL);
}

static void every_cancel(void *inst, ph_turn turn)
{
    (void)inst;
    host->log(host, host->view(host, turn), PH_LOG_INFO, "cancelled");
}

#ifndef ABI
#define ABI PH_STAGE_ABI
#endif
#ifndef NAME
#define NAME "every"
#endif
PH_EXPORT const struct ph_stage ph_stage_export = {.abi = ABI,
                                                   .size = sizeof(struct ph_stage),
                                                   .setting_size = sizeof(struct ph_setting),
                                                   .points = PH_AT(PH_POINTS) - 1,
                                                   .name = NAME,
                                                   .doc = "For tests.",
                                                   .settings = settings,
                                                   .conf_size = sizeof(struct every_conf),
                                                   .turn_size = 100,
                                                   .open = every_open,
                                                   .reload = every_reload,
                                                   .on_point = every_point,
                                                   .cancel = every_cancel};
