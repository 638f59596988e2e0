/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The steps of a command (command.h), one after the other; whoever answers later calls
 * imap_session_run() again. */
#include "appliance/base/clock.h"
#include "imap/counts.h"
#include "imap/session.h"

enum { RETRY_MS = 50 };

void imap_command_free(struct imap_session *s)
{
    struct imap_command *cmd = s->cmd;
    if (!cmd)
        return;
    s->cmd = NULL;
    s->phase = PHASE_NONE;
    s->held = s->input_paused = s->swallowing = s->append_pending = false;
    imap_session_set_idling(s, false);
    s->on_line = NULL;
    s->on_piece = NULL;
    if (cmd->fini)
        cmd->fini(cmd);
    buf_fini(&cmd->out);
    arena_free(&cmd->arena);
    mem_free(cmd);
}

enum conn_room imap_session_flush(struct imap_session *s)
{
    enum conn_room room = CONN_ROOM;
    CHECK(buf_ok(&s->cmd->out)); /* work stops at IMAP_OUT_SOFT */
    if (s->cmd->out.n)
        room = conn_write_str(s->conn, buf_str(&s->cmd->out));
    buf_fini(&s->cmd->out);
    s->last_sent_ms = clock_mono_ms();
    s->full = room == CONN_FULL;
    return room;
}

void imap_session_say(struct imap_session *s, struct str line)
{
    if (conn_write_str(s->conn, line) == CONN_FULL)
        s->full = true;
}

/* ---- the job: work, or sync */
/* Each turn sees the store at one moment, and takes SQLite's locks once instead of for every row.
 */
static enum imap_work run_work(struct imap_command *cmd, struct store_reader *r)
{
    if (store_read_begin(r, &cmd->err)) {
        cmd->failed = true;
        return IMAP_WORK_DONE;
    }
    enum imap_work result = cmd->def->work(cmd, r);
    store_read_end(r);
    return result;
}

static void job_run(struct job *j, void *worker)
{
    struct imap_session *s = CONTAINER_OF(j, struct imap_session, job);
    struct imap_command *cmd = s->cmd;
    s->job_result = IMAP_WORK_DONE;
    cmd->started_us = clock_mono_us();
    if (s->syncing && worker) {
        s->job_result = imap_sync_work(&s->sync, worker, &cmd->out, cmd->started_us);
    } else if (worker) {
        s->job_result = run_work(cmd, worker);
    } else if (s->syncing) {
        s->sync.failed = true;
    } else {
        cmd->failed = true;
        err_set(&cmd->err, ERR_TEMP, ERR_WHY_OTHER, "The mail store can't be read at the moment");
    }
}

static void sync_ended(struct imap_session *s);
static void submit_again(struct imap_session *s);

static void job_done(struct job *j)
{
    struct imap_session *s = CONTAINER_OF(j, struct imap_session, job), *of_job = s;
    s->job_running = false;
    imap_turn_over(s);
    if (!s->conn) {
        imap_command_free(s);
    } else {
        enum conn_room room = imap_session_flush(s);
        s->job_again = s->job_result == IMAP_WORK_MORE;
        if (s->job_again &&
            !s->watching) { /* whoever gives up waiting for a long search closes the connection */
            s->watching = true;
            conn_resume(s->conn);
        }
        if (s->job_again && room == CONN_ROOM) {
            submit_again(s);
        } else if (!s->job_again && s->syncing) {
            sync_ended(s);
        } else if (!s->job_again && s->cmd->cut) {
            imap_session_end(s, "a message could not be read to its end");
        } else if (!s->job_again) {
            s->phase = PHASE_WRITE;
            imap_session_run(s);
        }
    }
    imap_session_unref(&of_job);
}

static int submit_job(struct imap_session *s)
{
    s->job.run = job_run;
    s->job.done = job_done;
    if (imap_turn_ask(s))
        return -1;
    s->job_running = true;
    s->job_again = false;
    imap_session_ref(s);
    return 0;
}

/* Half an answer is out: a full lane can't be a refusal any more. */
static void submit_again(struct imap_session *s)
{
    if (submit_job(s))
        imap_session_after(s, RETRY_MS, submit_again);
}

static void start_work(struct imap_session *s)
{
    s->syncing = false;
    if (submit_job(s)) {
        s->cmd->failed = true;
        err_set(&s->cmd->err, ERR_TEMP, ERR_WHY_BUSY, "The server is too busy, try again later");
        s->phase = PHASE_FINISH;
        imap_session_run(s);
    }
}

/* ---- the write */
static void op_done(struct store_op *op)
{
    struct imap_session *s = op->ctx, *of_op = s;
    s->writing = false;
    if (!s->conn) {
        imap_command_free(s);
    } else {
        s->cmd->failed = op->failed;
        if (op->failed)
            s->cmd->err = op->err;
        s->phase = PHASE_FINISH;
        imap_session_run(s);
    }
    imap_session_unref(&of_op);
}

static void submit_op(struct imap_session *s, struct store_op *op)
{
    op->done = op_done;
    op->ctx = s;
    s->wrote = true;
    if (store_submit(s->server->conf.store, op)) {
        s->cmd->failed = true;
        s->cmd->err = op->err;
        s->phase = PHASE_FINISH;
        imap_session_run(s);
        return;
    }
    s->writing = true;
    imap_session_ref(s);
}

void imap_write_now(struct imap_command *cmd, struct store_op *op)
{
    CHECK(cmd->session->held);
    cmd->session->held = false;
    submit_op(cmd->session, op);
}

/* ---- sync */
static bool start_sync(struct imap_session *s)
{
    const struct imap_command *cmd = s->cmd;
    bool seqs = (cmd->def->flags & IMAP_USES_SEQS) && !cmd->uid;
    s->sync = (struct imap_sync){
        .view = s->view,
        .expunges = !seqs,
        .uid = cmd->uid,
        .echo = cmd->echo,
        .n_echo = cmd->n_echo,
        .cmd = cmd,
    };
    s->syncing = true;
    if (submit_job(s)) {
        s->syncing = false;
        s->dirty = true;
        return false;
    }
    s->dirty = false;
    return true;
}

static void retry_sync(struct imap_session *s)
{
    if (s->idling)
        imap_session_sync_idle(s);
}

static void sync_ended(struct imap_session *s)
{
    s->syncing = false;
    if (s->sync.gone) {
        imap_session_bye(s, "mailbox deleted", "The selected mailbox was deleted or renamed");
        return;
    }
    if (s->sync.failed) {
        log_warn(&s->log, "sync_failed", L_Z("error", s->sync.err.text));
        s->dirty = true;
    } else if (s->sync.held) {
        s->dirty = true;
    } else if (s->idling && s->dirty) {
        imap_session_sync_idle(s);
    }
    if (!s->idling) {
        s->phase = PHASE_END;
        imap_session_run(s);
    }
}

void imap_session_sync_idle(struct imap_session *s)
{
    if (s->job_running || s->syncing || s->full || !s->view || !s->dirty)
        return;
    if (!start_sync(s))
        imap_session_after(s, RETRY_MS, retry_sync);
}

static bool sync_needed(const struct imap_session *s)
{
    if (s->state != IMAP_SELECTED || (s->cmd->def->flags & IMAP_CLOSES))
        return false;
    return s->dirty || s->wrote || s->cmd->n_echo;
}

/* ---- from parse to the tagged line */
static void default_answer(struct imap_command *cmd)
{
    if (cmd->failed)
        imap_no_err(cmd, &cmd->err);
    else
        imap_ok(cmd, NULL, NULL);
}

/* RFC 3501 9: response-tagged. */
static void put_tagged(struct imap_command *cmd)
{
    struct buf *b = &cmd->out;
    buf_add_str(b, cmd->tag);
    buf_printf(b, " %s ", cmd->status);
    if (cmd->code.n) {
        buf_add_char(b, '[');
        buf_add_str(b, cmd->code);
        buf_add_z(b, "] ");
    }
    if (cmd->text.n)
        buf_add_str(b, cmd->text);
    else
        buf_printf(b, "%s%s completed", cmd->uid ? "UID " : "", cmd->def->name);
    buf_add_z(b, "\r\n");
}

/* A client that sends nothing but nonsense isn't a mail client (or an attack on the browser, aimed
 * at this port). */
static bool too_many_bads(struct imap_session *s)
{
    bool bad = s->cmd->status[0] == 'B';
    s->bads = bad ? s->bads + 1 : 0;
    if (bad)
        guard_fault(&s->guard, GUARD_ERROR);
    return s->bads >= (s->state == IMAP_PREAUTH ? IMAP_BADS_PREAUTH : IMAP_BADS_MAX);
}

static void end_command(struct imap_session *s)
{
    if (!s->cmd->ended)
        default_answer(s->cmd);
    put_tagged(s->cmd);
    imap_count_command(s->cmd);
    imap_session_flush(s);
    s->commands++;
    bool bad = too_many_bads(s), tls = s->start_tls;
    imap_command_free(s);
    imap_reader_next(&s->reader);
    s->start_tls = false;
    if (s->watching)
        conn_pause(s->conn); /* and resumed below, which shows what is held */
    s->watching = false;
    if (s->state == IMAP_LOGOUT)
        imap_session_bye(s, "logout", "");
    else if (s->say_bye)
        imap_session_bye(s, "stopped", "The server is shutting down");
    else if (bad)
        imap_session_bye(s, "bad commands", "Too many invalid commands");
    else if (s->failed_logins >= (uint64_t)s->conf->login_attempts)
        imap_session_bye(s, "login failures", "Too many failed logins");
    else if (tls)
        conn_start_tls(s->conn, s->server->conf.tls);
    if (s->conn && !s->full)
        conn_resume(s->conn);
}

/* APPEND ended before its message was wanted. True: it is on its way and has to go by first. */
static bool swallow_literal(struct imap_session *s)
{
    if (!s->append_pending)
        return false;
    s->append_pending = false;
    s->swallowing = imap_reader_refuse(&s->reader);
    if (s->swallowing)
        conn_resume(s->conn);
    return s->swallowing;
}

/* One step; false: it will be gone on with later. */
static bool step(struct imap_session *s)
{
    struct imap_command *cmd = s->cmd;
    struct store_op *op;
    switch (s->phase) {
    case PHASE_WORK:
        s->phase = PHASE_WRITE;
        if (cmd->ended || !cmd->def->work)
            return true;
        s->phase = PHASE_WORK;
        start_work(s);
        return false;
    case PHASE_WRITE:
        op = cmd->ended || cmd->failed || !cmd->def->write ? NULL : cmd->def->write(cmd);
        if (op)
            submit_op(s, op);
        else if (!s->held)
            s->phase = PHASE_FINISH;
        return !op && !s->held;
    case PHASE_FINISH:
        if (!cmd->ended && cmd->def->finish)
            cmd->def->finish(cmd);
        if (s->held)
            return false;
        s->phase = PHASE_SYNC;
        return !swallow_literal(s);
    case PHASE_SYNC:
        s->phase = PHASE_END;
        return !sync_needed(s) || !start_sync(s);
    case PHASE_END:
        end_command(s);
        return false;
    default:
        return false;
    }
}

void imap_session_run(struct imap_session *s)
{
    struct imap_session *held = imap_session_ref(s);
    while (s->conn && s->cmd && step(s))
        ;
    imap_session_unref(&held);
}

void imap_hold(struct imap_command *cmd)
{
    cmd->session->held = true;
}

void imap_go_on(struct imap_command *cmd)
{
    struct imap_session *s = cmd->session;
    CHECK(s->held);
    s->held = false;
    imap_session_set_idling(s, false);
    if (s->syncing) /* IDLE's; its end goes on */
        return;
    s->phase++;
    imap_session_run(s);
}

void imap_session_resume(struct imap_session *s)
{
    s->full = false;
    s->last_sent_ms = clock_mono_ms();
    if (s->job_again)
        submit_again(s);
    else if (s->idling)
        imap_session_sync_idle(s);
    imap_session_read(s);
}
