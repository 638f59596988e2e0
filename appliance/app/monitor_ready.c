/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* monitor_ready.c - /readyz: really asks. An operation that writes nothing goes through the
 * committer, an address through the directory; both must answer within 2 s. */
#include "appliance/app/monitor_private.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAIT_MS = 2000 };

struct asked {
    bool answered;
    char why[300]; /* what is wrong; "" for nothing */
};
struct check {
    struct list link;
    struct monitor *monitor; /* NULL: answered */
    struct http_request *request;
    struct timer *timer;
    struct asked store, directory;
    struct store_op op;
    unsigned refs; /* the page; each question on its way */
};

static void check_unref(struct check *c)
{
    if (--c->refs == 0)
        mem_free(c);
}

static void add_reason(json_t *list, const char *why)
{
    if (why[0])
        json_array_append_new(list, json_stringn_nocheck(why, strlen(why)));
}

static void reply(struct http_request *r, json_t *reasons)
{
    bool ready = json_array_size(reasons) == 0;
    json_t *o = ready ? json_pack("{sb}", "ready", 1)
                      : json_pack("{sb sO}", "ready", 0, "reasons", reasons);
    char *text = json_dumps(o, JSON_COMPACT);

    http_reply(r, ready ? 200 : 503, "application/json", str_from(text ? text : "{}"));
    free(text);
    json_decref(o);
    json_decref(reasons);
}

/* The page is answered, with what is known now. */
static void finish(struct check *c)
{
    json_t *reasons = json_array();

    if (c->monitor->stopping) {
        add_reason(reasons, "shutting down");
    } else {
        add_reason(reasons, c->store.answered ? c->store.why : "the store does not commit");
        add_reason(reasons,
                   c->directory.answered ? c->directory.why : "the directory does not answer");
    }
    reply(c->request, reasons);
    c->monitor = NULL;
    list_del(&c->link);
    timer_free(&c->timer);
    check_unref(c);
}

static void finish_if_done(struct check *c)
{
    if (c->monitor && c->store.answered && c->directory.answered)
        finish(c);
}

static void on_time(void *ctx)
{
    finish(ctx);
}

/* Texts of errors may hold bytes of file names: JSON wants UTF-8. */
static void say(struct asked *a, const char *what, const char *text)
{
    snprintf(a->why, sizeof a->why, "%s%s", what, text);
    for (char *p = a->why; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    a->answered = true;
}

/* ---- the store */
static int touch_nothing(struct store_op *op, struct store_tx *tx)
{
    (void)op, (void)tx;
    return STORE_DONE;
}

static void on_committed(struct store_op *op)
{
    struct check *c = op->ctx;

    if (op->failed)
        say(&c->store, "", op->err.text);
    c->store.answered = true;
    finish_if_done(c);
    check_unref(c);
}

static void ask_store(struct check *c, struct store *s)
{
    c->op = (struct store_op){
        .run = touch_nothing, .done = on_committed, .cls = STORE_INTERACTIVE, .ctx = c};
    if (store_low_on_space(s)) {
        say(&c->store, "the disk is below min_free", "");
    } else if (store_submit(s, &c->op)) {
        say(&c->store, "", c->op.err.text);
    } else {
        c->refs++;
    }
}

/* ---- the directory */
static void on_resolved(void *ctx, const struct directory_answer *a)
{
    struct check *c = ctx;

    if (a->failed && a->err.kind != ERR_PERM) /* PERM is about this address */
        say(&c->directory, "directory: ", a->err.text);
    c->directory.answered = true;
    finish_if_done(c);
    check_unref(c);
}

static void ask_directory(struct check *c, struct directory *d)
{
    c->refs++;
    if (directory_resolve(d, STR("postmaster"), on_resolved, c) == 0)
        return;
    c->refs--;
    say(&c->directory, "the directory is overloaded", "");
}

void monitor_on_ready(void *ctx, struct http_request *r)
{
    struct monitor *m = ctx;
    struct check *c = MEM_NEW(struct check);

    c->monitor = m;
    c->request = r;
    c->refs = 1;
    c->timer = timer_new(m->conf.loop, on_time, c);
    list_add(&m->checks, &c->link);
    timer_start(c->timer, WAIT_MS);
    ask_store(c, m->conf.store);
    ask_directory(c, m->conf.directory);
    finish_if_done(c);
}

void monitor_drop_checks(struct monitor *m)
{
    m->stopping = true;
    LIST_EACH(&m->checks, it)
    {
        struct check *c = LIST_ITEM(it, struct check, link);
        finish(c);
    }
}
