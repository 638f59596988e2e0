/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/fetch.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "imap/bodystructure.h"
#include "imap/fetch_body.h"
#include "imap/pages.h"
#include "imap/session.h"

enum {
    PAGE = 1000,
    PAGE_WITH_BODIES = 200,
    STRUCTURE_MAX =
        64 << 20, /* one ENVELOPE or BODYSTRUCTURE as text; far above what mime.h can hold */
    FILE_PIECE_MAX = 64 * 1024,
};

struct fetch {
    struct fetch_items items;
    struct uid_range *set;
    size_t n_set;
    struct imap_pages pages;
    /* The message being answered; all of it survives a return from work but the open body. */
    const struct message_info *msg;
    struct arena *arena;
    struct fetch_message m;
    struct body_reader body;
    bool body_open;
    size_t item;                /* the next one to be written */
    struct fetch_stream stream; /* what is left of the item before it */
    bool damaged;               /* its data can't be had: the sections of it are NIL */
    uint32_t damaged_uid;       /* the first such message, told at the end */
    uint64_t n_damaged;
    struct err failed; /* a section that could not be had; told when the message is closed */
    struct buf space, text;
    struct buf seen; /* uids to get \Seen, as uint32_t */
    struct message_store_flags op;
};

static void fetch_fini(struct imap_command *cmd)
{
    struct fetch *f = cmd->data;
    imap_pages_fini(&f->pages);
    arena_free(&f->arena);
    buf_fini(&f->space);
    buf_fini(&f->text);
    buf_fini(&f->seen);
    buf_fini(&f->op.modified);
}

void fetch_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct fetch *f = ARENA_NEW(cmd->arena, struct fetch);
    struct imap_set set;
    const char *why;
    if (imap_space(args) || imap_set(args, &set) || imap_space(args)) {
        imap_bad(cmd, "Invalid message set");
        return;
    }
    if (fetch_items_parse(args, cmd->uid, &f->items, &why)) {
        imap_bad(cmd, why);
        return;
    }
    if (imap_view_resolve(cmd->view, cmd->arena, &set, cmd->uid, &f->set, &f->n_set)) {
        imap_bad(cmd, "No such message sequence number");
        return;
    }
    imap_pages_init(&f->pages, cmd->view->mailbox, f->set, f->n_set,
                    f->items.want ? PAGE_WITH_BODIES : PAGE, f->items.prefix);
    f->arena = arena_new(0);
    f->m = (struct fetch_message){.arena = f->arena, .body = &f->body, .space = &f->space};
    buf_init(&f->space, FILE_PIECE_MAX);
    buf_init(&f->text, STRUCTURE_MAX);
    buf_init(&f->seen, sizeof(uint32_t) * (cmd->view->n + 1));
    cmd->data = f;
    cmd->fini = fetch_fini;
}

/* ---- One message: opening it before its first octet is sent. */

static int open_body(struct fetch *f, struct store_reader *r, unsigned want, struct err *err)
{
    if (body_open(r, f->arena, f->msg->body, want, &f->body, err))
        return -1;
    f->body_open = true;
    return 0;
}

static void close_body(struct fetch *f)
{
    if (f->body_open)
        body_close(&f->body);
    f->body_open = false;
}

/* One damaged message doesn't keep the others from being answered. */
static void note_damaged(struct imap_command *cmd, struct fetch *f, struct err *err)
{
    static const struct log_ctx log_imap = {.module = "imap"};
    log_error(cmd->session ? &cmd->session->log : &log_imap, "message_damaged",
              L_ID("mailbox", cmd->view->mailbox), L_UINT("uid", f->msg->uid),
              L_ID("body", f->msg->body), L_Z("error", err->text));
    if (f->n_damaged++ == 0)
        f->damaged_uid = f->msg->uid;
    err_clear(err);
}

static int open_wanted(struct imap_command *cmd, struct fetch *f, struct store_reader *r)
{
    if (open_body(f, r, f->items.want, &cmd->err) == 0)
        return 0;
    if (cmd->err.why != ERR_WHY_DAMAGED)
        return -1;
    note_damaged(cmd, f, &cmd->err);
    f->damaged = true;
    return open_body(f, r, f->items.want & ~(unsigned)BODY_WANT_DATA, &cmd->err);
}

/* -1: cmd->err; that is empty when there's nothing to be told of the message. */
static int open_message(struct imap_command *cmd, struct fetch *f, struct store_reader *r)
{
    arena_clear(f->arena);
    f->item = 0;
    f->m.root = NULL;
    f->m.prefix = f->msg->prefix;
    f->m.head = STR_NULL;
    f->damaged = false;
    if (f->items.want == 0)
        return 0;
    if (open_wanted(cmd, f, r))
        return -1;
    f->m.head = f->body.head;
    if (!f->items.structure)
        return 0;
    struct mime_part *root;
    if (body_structure(&f->body, f->arena, &root, &cmd->err)) {
        close_body(f);
        if (cmd->err.why == ERR_WHY_DAMAGED && f->damaged)
            err_clear(&cmd->err);
        else if (cmd->err.why == ERR_WHY_DAMAGED)
            note_damaged(cmd, f, &cmd->err);
        return -1;
    }
    f->m.root = root;
    return 0;
}

/* ---- Items. */

static void note_seen(struct fetch *f, const struct imap_view *v)
{
    if (f->items.seen && !f->damaged && !v->read_only && !(f->msg->flags & MESSAGE_SEEN))
        buf_add(&f->seen, &f->msg->uid, sizeof f->msg->uid);
}

static void put_date(struct buf *b, int64_t at_ms)
{
    int64_t s = at_ms / 1000 - (at_ms % 1000 < 0);
    buf_add_z(b, "INTERNALDATE \"");
    date_imap_format((struct date){.at = s, .zone = 0}, b);
    buf_add_char(b, '"');
}

static void put_structure(struct fetch *f, enum fetch_kind kind)
{
    buf_clear(&f->text);
    if (kind == FETCH_ENVELOPE)
        imap_put_envelope(&f->text, f->m.root->envelope);
    else
        imap_put_body(&f->text, f->m.root, kind == FETCH_BODYSTRUCTURE);
    f->stream = (struct fetch_stream){0};
    fetch_stream_memory(&f->stream, buf_ok(&f->text) ? buf_str(&f->text) : STR("NIL"));
}

static void put_section(struct fetch *f, const struct fetch_section *s, struct buf *b)
{
    struct err err;
    buf_add_str(b, s->label);
    int none = fetch_section_resolve(s, &f->m, &f->stream, &err);
    if (none || (f->damaged && fetch_stream_needs_data(&f->stream))) {
        f->stream = (struct fetch_stream){0};
        buf_add_z(b, " NIL");
        if (none < 0 && !f->damaged)
            f->failed = err;
        return;
    }
    uint64_t left = fetch_stream_left(&f->stream);
    if (left)
        buf_printf(b, " {%llu}\r\n", (unsigned long long)left);
    else
        buf_add_z(b, " \"\"");
}

static void put_item(struct imap_command *cmd, struct fetch *f, const struct fetch_item *item)
{
    struct buf *b = &cmd->out;
    switch (item->kind) {
    case FETCH_UID:
        buf_printf(b, "UID %u", f->msg->uid);
        break;
    case FETCH_FLAGS:
        buf_add_z(b, "FLAGS ");
        imap_put_flags(b, cmd->view, f->msg->uid, f->msg->flags);
        break;
    case FETCH_INTERNALDATE:
        put_date(b, f->msg->internal_ms);
        break;
    case FETCH_SIZE:
        buf_printf(b, "RFC822.SIZE %llu", (unsigned long long)f->msg->size);
        break;
    case FETCH_ENVELOPE:
        buf_add_z(b, "ENVELOPE ");
        put_structure(f, item->kind);
        break;
    case FETCH_BODY:
    case FETCH_BODYSTRUCTURE:
        buf_add_z(b, item->kind == FETCH_BODY ? "BODY " : "BODYSTRUCTURE ");
        put_structure(f, item->kind);
        break;
    case FETCH_SECTION:
        put_section(f, item->section, b);
        break;
    }
}

/* ---- Work. */

/* Writes the message as far as it goes. 1: enough for now; -1: cmd->failed. */
static int write_message(struct imap_command *cmd, struct fetch *f)
{
    for (;;) {
        struct err err;
        if (fetch_stream_run(&f->stream, &f->m, &cmd->out, IMAP_OUT_SOFT, &err)) {
            cmd->cut = true; /* octets were promised that can't be given */
            cmd->failed = true;
            cmd->err = err;
            return -1;
        }
        if (cmd->out.n >= IMAP_OUT_SOFT)
            return 1;
        if (f->item == f->items.n)
            break;
        if (f->item)
            buf_add_char(&cmd->out, ' ');
        put_item(cmd, f, &f->items.list[f->item++]);
    }
    buf_add_z(&cmd->out, ")\r\n");
    if (f->failed.why == ERR_WHY_DAMAGED)
        note_damaged(cmd, f, &f->failed);
    if (f->failed.kind == ERR_NONE)
        return 0;
    cmd->failed = true;
    cmd->err = f->failed;
    return -1;
}

/* The next message of the set is opened and its response begun. 1: there is none. */
static int begin_message(struct imap_command *cmd, struct fetch *f, struct store_reader *r)
{
    for (;;) {
        if (imap_pages_next(&f->pages, r, &f->msg, &cmd->err))
            return -1;
        if (!f->msg)
            return 1;
        size_t seq = imap_view_seq(cmd->view, f->msg->uid);
        if (seq == 0)
            continue;
        if (open_message(cmd, f, r) == 0) {
            buf_printf(&cmd->out, "* %zu FETCH (", seq);
            note_seen(f, cmd->view);
            return 0;
        }
        /* Expunged while we read: RFC 2180 4.1.2, the others are answered. */
        if (cmd->err.kind != ERR_NONE && cmd->err.why != ERR_WHY_NOT_FOUND)
            return -1;
        err_clear(&cmd->err);
    }
}

static enum imap_work fetch_failed(struct imap_command *cmd, struct fetch *f)
{
    cmd->failed = true;
    close_body(f);
    return IMAP_WORK_DONE;
}

/* Opens the body again when the message at hand was left in the middle. */
static int resume(struct imap_command *cmd, struct fetch *f, struct store_reader *r)
{
    unsigned want = f->items.want & BODY_WANT_DATA;
    bool more_sections = f->item < f->items.n && want;
    if (f->damaged)
        want = 0;
    if (!fetch_stream_needs_data(&f->stream) && !more_sections)
        return 0;
    if (open_body(f, r, want, &cmd->err) == 0)
        return 0;
    cmd->cut = true;
    return -1;
}

enum imap_work fetch_work(struct imap_command *cmd, struct store_reader *r)
{
    struct fetch *f = cmd->data;
    if (f->msg && resume(cmd, f, r))
        return fetch_failed(cmd, f);
    for (;;) {
        if (!f->msg) {
            int end = begin_message(cmd, f, r);
            if (end)
                return end < 0 ? fetch_failed(cmd, f) : IMAP_WORK_DONE;
        }
        int more = write_message(cmd, f);
        if (more < 0)
            return fetch_failed(cmd, f);
        close_body(f);
        if (more)
            return IMAP_WORK_MORE;
        f->msg = NULL;
        if (imap_work_time_up(cmd))
            return IMAP_WORK_MORE;
    }
}

/* ---- \Seen. */

/* Ascending uids as ranges. */
static size_t ranges_of(const uint32_t *uids, size_t n, struct uid_range *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (k && out[k - 1].last + 1 == uids[i])
            out[k - 1].last++;
        else
            out[k++] = (struct uid_range){uids[i], uids[i]};
    }
    return k;
}

struct store_op *fetch_write(struct imap_command *cmd)
{
    struct fetch *f = cmd->data;
    size_t n = f->seen.n / sizeof(uint32_t);
    if (n == 0)
        return NULL;
    struct uid_range *set = ARENA_ARRAY(cmd->arena, struct uid_range, n);
    message_store_flags_init(&f->op, NULL);
    f->op.mailbox = cmd->view->mailbox;
    f->op.n_set = ranges_of((const uint32_t *)(const void *)f->seen.p, n, set);
    f->op.set = set;
    f->op.how = MESSAGE_FLAGS_ADD;
    f->op.flags = MESSAGE_SEEN;
    return &f->op.op;
}

void fetch_finish(struct imap_command *cmd)
{
    const struct fetch *f = cmd->data;
    if (cmd->failed) {
        imap_no_err(cmd, &cmd->err);
    } else if (f->n_damaged) { /* RFC 5530 3 */
        struct str text = arena_printf(
            cmd->arena,
            "The text of %llu message(s) is damaged on the server, first that with UID %u",
            (unsigned long long)f->n_damaged, (unsigned)f->damaged_uid);
        imap_no(cmd, "CORRUPTION", text.p);
    } else {
        imap_ok(cmd, NULL, "Fetch completed.");
    }
}
