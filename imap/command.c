/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/clock.h"
#include "imap/session.h"

enum { OUT_MAX = 512 << 20, WORK_US = 20000, TAG_MAX = 200 };

static void end(struct imap_command *cmd, const char *status, const char *code, const char *text)
{
    CHECK(strlen(status) < sizeof cmd->status);
    cmd->ended = true;
    memcpy(cmd->status, status, strlen(status) + 1);
    cmd->code = arena_str(cmd->arena, str_from(code));
    cmd->text = arena_str(cmd->arena, str_from(text));
}

void imap_ok(struct imap_command *cmd, const char *code, const char *text)
{
    end(cmd, "OK", code, text);
}

void imap_no(struct imap_command *cmd, const char *code, const char *text)
{
    end(cmd, "NO", code, text);
}

void imap_bad(struct imap_command *cmd, const char *text)
{
    end(cmd, "BAD", NULL, text);
}

/* RFC 5530. What the database denies us, or has twice, says nothing of what the client may or has.
 */
static const char *code_of(const struct err *err)
{
    if (err->kind == ERR_TEMP && (err->why == ERR_WHY_DENIED || err->why == ERR_WHY_EXISTS))
        return "UNAVAILABLE";
    switch (err->why) {
    case ERR_WHY_NOT_FOUND:
        return "NONEXISTENT";
    case ERR_WHY_EXISTS:
        return "ALREADYEXISTS";
    case ERR_WHY_QUOTA:
        return "OVERQUOTA";
    case ERR_WHY_LIMIT:
        return "LIMIT";
    case ERR_WHY_DENIED:
        return "NOPERM";
    case ERR_WHY_BUSY:
        return "INUSE";
    case ERR_WHY_NO_SPACE:
    case ERR_WHY_READ_ONLY:
    case ERR_WHY_CANCELLED:
        return "UNAVAILABLE";
    case ERR_WHY_DAMAGED:
        return "CORRUPTION";
    case ERR_WHY_UNKNOWN:   /* whether it happened */
    case ERR_WHY_CHARSET:   /* of tables of others */
    case ERR_WHY_UNTRUSTED: /* of connections to others */
    case ERR_WHY_OTHER:
        break;
    }
    return err->kind == ERR_BUG ? "SERVERBUG" : err->kind == ERR_PERM ? "CANNOT" : "UNAVAILABLE";
}

/* What isn't the client's doing is for the log: its text may name files, servers and users of the
 * database. */
static const char *neutral_text(const struct err *err)
{
    switch (err->why) {
    case ERR_WHY_BUSY:
        return "It is in use at the moment, try again later";
    case ERR_WHY_LIMIT:
        return "That is too much at once, or for the server at the moment";
    case ERR_WHY_NO_SPACE:
        return "There is no room for it at the moment, try again later";
    default:
        return "The server has a problem, try again later";
    }
}

static bool is_ordinary(const struct err *err)
{
    return err->why == ERR_WHY_BUSY || err->why == ERR_WHY_LIMIT || err->why == ERR_WHY_NO_SPACE ||
           err->why == ERR_WHY_READ_ONLY || err->why == ERR_WHY_CANCELLED ||
           err->why == ERR_WHY_NOT_FOUND;
}

void imap_no_err(struct imap_command *cmd, const struct err *err)
{
    bool inner = err->kind != ERR_PERM;
    const char *name = cmd->def ? cmd->def->name : "";

    if (inner && is_ordinary(err))
        log_info(&cmd->session->log, "command_failed", L_Z("command", name),
                 L_Z("error", err->text));
    else if (inner)
        log_error(&cmd->session->log, "command_failed", L_Z("command", name),
                  L_Z("error", err->text));
    imap_no(cmd, code_of(err), inner ? neutral_text(err) : err->text);
}

bool imap_work_time_up(const struct imap_command *cmd)
{
    return clock_mono_us() - cmd->started_us > WORK_US;
}

/* RFC 3501 9: tag = 1*<any ASTRING-CHAR except "+">. */
static bool parse_tag(struct imap_command *cmd, struct imap_cursor *c)
{
    struct str tag;
    size_t at;
    if (imap_atom(c, &tag) || tag.n > TAG_MAX || str_chr(tag, '+', &at) || imap_space(c))
        return false;
    cmd->tag = arena_str(cmd->arena, tag);
    return true;
}

static bool parse_name(struct imap_command *cmd, struct imap_cursor *c)
{
    struct str name;
    if (imap_atom(c, &name))
        return false;
    if (str_ieq(name, STR("UID"))) {
        cmd->uid = true;
        if (imap_space(c) || imap_atom(c, &name))
            return false;
    }
    const struct imap_command_def *def = imap_command_find(name);
    if (!def || (cmd->uid && !(def->flags & IMAP_UID_TOO)))
        return false;
    cmd->def = def;
    return true;
}

static const char *why_illegal(enum imap_state now)
{
    return now == IMAP_PREAUTH ? "Log in first"
           : now == IMAP_AUTH
               ? "Not in this state: no mailbox is selected, or you are logged in already"
               : "Not in this state: you are logged in already";
}

/* May this command run now? */
static bool permitted(struct imap_command *cmd)
{
    struct imap_session *s = cmd->session;
    const struct imap_command_def *def = cmd->def;
    if (!(def->legal & s->state))
        imap_bad(cmd, why_illegal(s->state));
    else if ((def->flags & IMAP_NEEDS_WRITE) && s->view->read_only)
        imap_no(cmd, NULL, "The mailbox was opened read-only");
    else if ((def->flags & IMAP_NO_PIPELINE) &&
             conn_input(s->conn).n) /* RFC 3501 6.2.1: no injection */
        imap_bad(cmd, "Wait for the answer before you send more");
    return !cmd->ended;
}

static const struct imap_command_def no_command = {.name = "Command"};

static void parse(struct imap_command *cmd)
{
    struct imap_session *s = cmd->session;
    struct imap_cursor c = {buf_str(&s->reader.cmd), cmd->arena};
    if (!parse_tag(cmd, &c)) {
        cmd->tag = STR("*");
        imap_bad(cmd, "Invalid tag");
    } else if (!parse_name(cmd, &c)) {
        imap_bad(cmd, "Unknown command");
    } else if (permitted(cmd)) {
        cmd->def->parse(cmd, &c);
        if (!cmd->ended && !s->held && !imap_at_end(&c))
            imap_bad(cmd, "Unexpected text after the arguments");
    }
}

void imap_session_begin(struct imap_session *s, bool append)
{
    struct imap_command *cmd = MEM_NEW(struct imap_command);
    cmd->session = s;
    cmd->def = &no_command;
    cmd->arena = arena_new(0);
    cmd->begun_us = clock_mono_us();
    cmd->view = s->state == IMAP_SELECTED ? s->view : NULL;
    buf_init(&cmd->out, OUT_MAX);
    s->cmd = cmd;
    s->phase = PHASE_PARSE;
    s->wrote = false;
    s->append_pending = append;
    parse(cmd);
    if (!cmd->ended && (cmd->def->flags & IMAP_CLOSES))
        imap_session_deselect(s);
    if (s->held)
        return;
    s->phase = PHASE_WORK;
    imap_session_run(s);
}
