/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* scratch.h - a store in a temporary folder, one mailbox selected, and commands run on it as a
 * session runs them, without a connection. Answers come back as text: untagged responses and the
 * tagged line ("OK [CODE] text"). */
#ifndef PH_TEST_IMAP_SCRATCH_H
#define PH_TEST_IMAP_SCRATCH_H
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "appliance/store/message.h"
#include "imap/cmd.h"
#include "imap/session.h"
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/sql_world.h"

struct scratch {
    char dir[64];
    struct sql_world sql;
    struct loop *loop;
    struct store_conf conf;
    struct store *store;
    struct store_reader *reader;
    struct arena *arena;
    struct imap_view *view;
    uint64_t account, mailbox;
    struct buf out;
    unsigned runs; /* of work, of the last command */
    bool cut;
};

struct scratch_op {
    struct store_op op;
    int (*fn)(struct scratch *s, struct store_tx *tx, struct err *err);
    struct scratch *s;
};

static bool scratch_done;

static inline void scratch_on_done(struct store_op *op)
{
    (void)op;
    scratch_done = true;
}

static inline void scratch_wait(struct scratch *s)
{
    while (!scratch_done) { /* what is deferred runs before the poll: a turn that waits would wait
                               on */
        loop_turn(s->loop, false);
        sched_yield();
    }
    scratch_done = false;
}

static inline void scratch_submit(struct scratch *s, struct store_op *op)
{
    op->done = scratch_on_done;
    assert_int_equal(store_submit(s->store, op), 0);
    scratch_wait(s);
}

static inline int scratch_run_op(struct store_op *op, struct store_tx *tx)
{
    struct scratch_op *o = CONTAINER_OF(op, struct scratch_op, op);
    return o->fn(o->s, tx, &op->err);
}

static inline void scratch_tx(struct scratch *s,
                              int (*fn)(struct scratch *s, struct store_tx *tx, struct err *err))
{
    struct scratch_op o = {
        .op = {.run = scratch_run_op, .cls = STORE_INTERACTIVE}, .fn = fn, .s = s};
    scratch_submit(s, &o.op);
    if (o.op.failed)
        fail_msg("%s", o.op.err.text);
}

static inline int scratch_make_account(struct scratch *s, struct store_tx *tx, struct err *err)
{
    if (account_open_tx(tx, STR("test@example.com"), &s->account, err))
        return -1;
    return mailbox_find_tx(tx, s->account, STR("INBOX"), &s->mailbox, err);
}

static inline uint64_t scratch_mailbox(struct scratch *s, const char *name)
{
    struct mailbox_info info;
    struct err err;
    assert_int_equal(mailbox_find(s->reader, s->arena, s->account, str_from(name), &info, &err), 0);
    return info.id;
}

static inline void scratch_on_flushed(void *ctx, const struct err *failed)
{
    (void)ctx;
    assert_null(failed);
    scratch_done = true;
}

static inline void scratch_on_ready(void *ctx)
{
    *(bool *)ctx = false;
}

/* A message into a mailbox; its uid. */
static inline uint32_t scratch_append_to(struct scratch *s, uint64_t mailbox, uint64_t flags,
                                         struct str text)
{
    bool waiting = false;
    struct message_append m;
    struct body_sink *sink = body_sink_new(s->store, 1 << 30, scratch_on_ready, &waiting);
    for (; text.n; text = str_skip(text, 65536)) {
        enum body_put put = body_sink_put(sink, str_take(text, 65536));
        assert_int_not_equal(put, BODY_FAIL);
        for (waiting = put == BODY_WAIT; waiting;)
            loop_turn(s->loop, false);
    }
    body_sink_end(sink);
    scratch_done = false;
    body_sink_flush(sink, scratch_on_flushed, NULL);
    scratch_wait(s);
    message_append_init(&m, NULL);
    m.sink = sink;
    m.mailbox = mailbox;
    m.flags = flags;
    m.internal_ms = 1000000000000; /* 2001-09-09 01:46:40 */
    scratch_submit(s, &m.op);
    if (m.op.failed)
        fail_msg("%s", m.op.err.text);
    body_sink_free(&sink);
    return m.uid;
}

static inline uint32_t scratch_append(struct scratch *s, uint64_t flags, const char *text)
{
    return scratch_append_to(s, s->mailbox, flags, str_from(text));
}

/* Selects the mailbox, all of it known. */
static inline void scratch_select(struct scratch *s)
{
    struct mailbox_info info;
    struct err err;
    size_t n;
    if (s->view)
        imap_view_free(&s->view);
    assert_int_equal(mailbox_get(s->reader, s->arena, s->mailbox, &info, &err), 0);
    s->view = imap_view_new(info.name);
    struct imap_view *v = s->view;
    v->mailbox = s->mailbox;
    v->account = s->account;
    v->uidvalidity = info.uidvalidity;
    v->uidnext = info.uidnext;
    v->modseq = v->expunge_modseq = info.modseq;
    v->recent_from = UINT32_MAX;
    uint32_t *uids;
    assert_int_equal(message_uids(s->reader, s->mailbox, info.uidnext, &uids, &n, &err), 0);
    for (size_t i = 0; i < n; i++)
        imap_view_add(v, uids[i]);
    mem_free(uids);
    struct mailbox_keyword *k;
    assert_int_equal(mailbox_keywords(s->reader, s->arena, s->mailbox, &k, &n, &err), 0);
    imap_view_set_keywords(v, k, n);
}

/* ---- Commands. */

static inline void scratch_collect(struct scratch *s, struct imap_command *cmd)
{
    assert_true(buf_ok(&cmd->out));
    buf_add_str(&s->out, buf_str(&cmd->out));
    buf_clear(&cmd->out);
}

static inline void scratch_work(struct scratch *s, struct imap_command *cmd)
{
    enum imap_work more;
    if (!cmd->def->work || cmd->ended)
        return;
    do {
        cmd->started_us = clock_mono_us();
        more = cmd->def->work(cmd, s->reader);
        s->runs++;
        scratch_collect(s, cmd);
    } while (more == IMAP_WORK_MORE);
}

static inline void scratch_write(struct scratch *s, struct imap_command *cmd)
{
    struct store_op *op = NULL;
    if (cmd->def->write && !cmd->failed && !cmd->ended)
        op = cmd->def->write(cmd);
    if (!op)
        return;
    scratch_submit(s, op);
    cmd->failed = op->failed;
    cmd->err = op->err;
}

static inline void scratch_sync(struct scratch *s, struct imap_command *cmd)
{
    struct imap_sync y = {.view = s->view,
                          .expunges = cmd->uid || !(cmd->def->flags & IMAP_USES_SEQS),
                          .uid = cmd->uid,
                          .echo = cmd->echo,
                          .n_echo = cmd->n_echo,
                          .cmd = cmd};
    enum imap_work more;
    do {
        more = imap_sync_work(&y, s->reader, &cmd->out, clock_mono_us());
        scratch_collect(s, cmd);
    } while (more == IMAP_WORK_MORE);
    if (y.failed)
        fail_msg("%s", y.err.text);
}

/* `line` without a tag. The result is valid until the next command. */
static inline const char *scratch_command(struct scratch *s, struct str line)
{
    struct imap_command cmd = {.arena = arena_new(0), .view = s->view};
    struct imap_cursor c = {.rest = line, .arena = cmd.arena};
    struct str name;
    buf_clear(&s->out);
    s->runs = 0;
    buf_init(&cmd.out, 512 << 20);
    assert_int_equal(imap_atom(&c, &name), 0);
    if (str_ieq(name, STR("UID"))) {
        cmd.uid = true;
        assert_int_equal(imap_space(&c), 0);
        assert_int_equal(imap_atom(&c, &name), 0);
    }
    cmd.def = imap_command_find(name);
    assert_non_null(cmd.def);
    cmd.def->parse(&cmd, &c);
    if (!cmd.ended && !imap_at_end(&c))
        imap_bad(&cmd, "Unexpected arguments");
    if (strcmp(cmd.status, "BAD") != 0) {
        scratch_work(s, &cmd);
        s->cut = cmd.cut;
        if (!cmd.cut) {
            scratch_write(s, &cmd);
            if (!cmd.ended)
                cmd.def->finish(&cmd);
            scratch_collect(s, &cmd);
            scratch_sync(s, &cmd);
        }
    }
    if (!s->cut) {
        buf_printf(&s->out, "%s ", cmd.status);
        if (cmd.code.n) {
            buf_add_char(&s->out, '[');
            buf_add_str(&s->out, cmd.code);
            buf_add_z(&s->out, "] ");
        }
        buf_add_str(&s->out, cmd.text);
    }
    if (cmd.fini)
        cmd.fini(&cmd);
    buf_fini(&cmd.out);
    arena_free(&cmd.arena);
    return buf_z(&s->out);
}

static inline const char *scratch_do(struct scratch *s, const char *line)
{
    return scratch_command(s, str_from(line));
}

/* ---- */

static inline int scratch_set_up(void **state)
{
    struct scratch *s = MEM_NEW(struct scratch);
    struct err err;
    snprintf(s->dir, sizeof s->dir, "/tmp/ph-imap-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    s->loop = loop_new();
    s->conf = (struct store_conf){.message_limit = 1 << 30,
                                  .min_free = 1,
                                  .inline_limit = 32768,
                                  .readers = 1,
                                  .dead_grace = 1000};
    if (sql_world_open(&s->sql))
        s->conf.server = s->sql.conf;
    if (store_open(s->dir, &s->conf, s->loop, &s->store, &err))
        fail_msg("%s", err.text);
    s->arena = arena_new(0);
    buf_init(&s->out, 512 << 20);
    scratch_tx(s, scratch_make_account);
    assert_int_equal(store_reader_open(s->store, &s->reader, &err), 0);
    *state = s;
    return 0;
}

static inline int scratch_tear_down(void **state)
{
    struct scratch *s = *state;
    char command[100];
    if (s->view)
        imap_view_free(&s->view);
    store_reader_close(&s->reader);
    store_close(&s->store);
    loop_turn(s->loop, false);
    loop_free(&s->loop);
    buf_fini(&s->out);
    arena_free(&s->arena);
    sql_world_close(&s->sql);
    snprintf(command, sizeof command, "rm -rf '%s'", s->dir);
    assert_int_equal(system(command), 0);
    mem_free(s);
    return 0;
}
#endif
