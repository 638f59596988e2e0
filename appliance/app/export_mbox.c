/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse export mbox: a file a mailbox, mboxrd, with Status fields. */
#include "appliance/app/export.h"
#include "appliance/app/import_commands.h"
#include "appliance/mail/header.h"
#include "appliance/mail/mbox.h"
#include "appliance/store/message.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, HEAD_BYTES = 4 << 20, SENDER_MAX = 320 };

struct mbox_out {
    struct buf path;
    FILE *file;
    const struct export_folder *folder;
    bool first; /* message of the file */
    struct export_message m;
    struct buf head;
    bool in_head;
    long began;    /* where the message begins in the file */
    uint64_t size; /* written of it */
    /* the line that is written */
    bool line_begins, cr, cr_before;
    size_t matched; /* of "From " after any '>' */
    char last;
};

static int failed(const struct mbox_out *o, struct err *err)
{
    return ERR(err, ERR_PERM, "cannot write %.*s: %s", (int)o->path.n, o->path.p, strerror(errno));
}

/* Levels are folders; what would climb out of them, or be hidden, is not. No folder has a name that
 * a file might have. */
static int make_path(struct mbox_out *o, const struct export_folder *f, struct err *err)
{
    struct str level, rest = f->name;
    size_t at = 0;

    buf_clear(&o->path);
    buf_add_z(&o->path, f->root);
    while (rest.n) {
        str_cut(rest, '/', &level, &rest);
        buf_add_char(&o->path, '/');
        at = o->path.n;
        if (level.n && level.p[0] == '.')
            buf_add_char(&o->path, '_');
        buf_add_str(&o->path, level);
        if (!rest.n)
            break;
        export_name_shorten(&o->path, at);
        if (str_iends(buf_str(&o->path), STR(".mbox")))
            buf_add_char(&o->path, '_');
        if (mkdir(buf_z(&o->path), 0700) != 0 && errno != EEXIST)
            return failed(o, err);
    }
    return export_name_take(f->names, &o->path, at, ".mbox") == 0
               ? 0
               : ERR(err, ERR_PERM, "a path that is too long");
}

static int begin(void *ctx, const struct export_folder *f, struct err *err)
{
    struct mbox_out *o = ctx;
    int fd;

    if (make_path(o, f, err) != 0)
        return -1;
    fd = open(buf_z(&o->path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    o->file = fd >= 0 ? fdopen(fd, "w") : NULL;
    o->folder = f;
    o->first = true;
    return o->file ? 0 : failed(o, err);
}

static int end(void *ctx, struct err *err)
{
    struct mbox_out *o = ctx;
    int rc = fclose(o->file);

    o->file = NULL;
    return rc == 0 ? 0 : failed(o, err);
}

/* ---- The head. */

static void put(struct mbox_out *o, char c)
{
    putc_unlocked(c, o->file);
    o->size++;
    o->last = c;
}

static void put_z(struct mbox_out *o, const char *z)
{
    while (*z)
        put(o, *z++);
}

static void put_from(struct mbox_out *o)
{
    char sender[SENDER_MAX + 1] = "MAILER-DAEMON", date[64];
    time_t at = (time_t)(o->m.internal_ms / 1000);
    struct header_field f;
    struct tm tm;

    if (header_find(buf_str(&o->head), STR("Return-Path"), 0, &f)) {
        struct str v = str_trim(f.value);
        if (v.n > 2 && v.p[0] == '<' && v.p[v.n - 1] == '>')
            v = (struct str){v.p + 1, v.n - 2};
        size_t n = 0;
        while (n < v.n && v.p[n] > ' ' && v.p[n] < 0x7f)
            n++;
        if (n == v.n && n <= SENDER_MAX && !str_eq(v, STR("<>")))
            snprintf(sender, sizeof sender, STR_FMT, STR_ARG(v));
    }
    gmtime_r(&at, &tm);
    strftime(date, sizeof date, "%a %b %e %H:%M:%S %Y +0000", &tm);
    put_z(o, "From ");
    put_z(o, sender);
    put(o, ' ');
    put_z(o, date);
    put(o, '\n');
}

static void put_keywords(struct mbox_out *o, uint64_t flags)
{
    for (unsigned bit = MESSAGE_KEYWORD_FIRST; bit <= MESSAGE_KEYWORD_LAST; bit++) {
        struct str word = o->folder->keywords[bit];
        if (word.n == 0 || !(flags & UINT64_C(1) << bit))
            continue;
        put(o, ' ');
        for (size_t i = 0; i < word.n; i++)
            put(o, word.p[i]);
    }
    put(o, '\n');
}

static void put_status(struct mbox_out *o)
{
    static const struct {
        uint64_t flag;
        char letter;
    } map[] = {{MESSAGE_ANSWERED, 'A'},
               {MESSAGE_FLAGGED, 'F'},
               {MESSAGE_DELETED, 'D'},
               {MESSAGE_DRAFT, 'T'}};
    char text[100];

    if (o->first) {
        snprintf(text, sizeof text, "X-IMAPbase: %u %010u", o->folder->uidvalidity,
                 o->folder->uidnext - 1);
        put_z(o, text);
        put_keywords(o, UINT64_MAX);
    }
    put_z(o, o->m.flags & MESSAGE_SEEN ? "Status: RO\nX-Status: " : "Status: O\nX-Status: ");
    for (size_t i = 0; i < ARRAY_LEN(map); i++)
        if (o->m.flags & map[i].flag)
            put(o, map[i].letter);
    put_z(o, "\nX-Keywords:");
    put_keywords(o, o->m.flags);
    snprintf(text, sizeof text, "X-UID: %u\n", o->m.uid);
    put_z(o, text);
    o->first = false;
}

static void put_line(struct mbox_out *o, struct str raw)
{
    for (size_t i = 0; i < raw.n; i++)
        if (raw.p[i] != '\r' || i + 1 == raw.n || raw.p[i + 1] != '\n')
            put(o, raw.p[i]);
}

/* The From_ line, the fields that aren't an mbox's own, ours, the empty line. */
static void put_head(struct mbox_out *o)
{
    struct str rest = buf_str(&o->head);
    struct header_field f;

    put_from(o);
    while (header_next(&rest, &f))
        if (!mbox_own_field(f.name) || str_ieq(f.name, STR("Lines")) ||
            str_istarts(f.name, STR("X-Mozilla-")))
            put_line(o, f.raw);
    put_status(o);
    put(o, '\n');
    o->in_head = false;
    o->line_begins = true;
    o->matched = 0;
    o->cr = o->cr_before = false;
}

/* ---- The rest. */

static const char from[] = "From ";

/* One more '>' where a line is From after any number of them; wherever among these it stands. */
static void put_body(struct mbox_out *o, char c)
{
    if (o->line_begins && o->matched == 0 && c == '>') {
        put(o, c);
        return;
    }
    if (o->line_begins && c == from[o->matched]) {
        if (++o->matched < sizeof from - 1)
            return;
        put(o, '>');
        put_z(o, from);
        o->line_begins = false;
        o->matched = 0;
        return;
    }
    for (size_t i = 0; i < o->matched; i++)
        put(o, from[i]);
    o->matched = 0;
    put(o, c);
    o->line_begins = c == '\n';
}

static int text(void *ctx, struct str bytes, struct err *err)
{
    struct mbox_out *o = ctx;
    size_t at;

    if (o->in_head) {
        size_t before = o->head.n > 3 ? o->head.n - 3 : 0;
        if (buf_add_str(&o->head, bytes) != 0)
            return ERR(err, ERR_PERM, "a message with a header block that is too large");
        struct str tail = str_skip(buf_str(&o->head), before);
        if (str_find(tail, STR("\n\r\n"), &at))
            at += 3;
        else if (str_find(tail, STR("\n\n"), &at))
            at += 2;
        else if (str_starts(buf_str(&o->head), STR("\r\n")))
            at = 2;
        else
            return 0;
        bytes = str_skip(tail, at); /* lies in head, which put_head reads to its empty line */
        put_head(o);
    }
    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];
        if (o->cr && (c != '\n' || o->cr_before)) /* CR CR LF stays, as in export_maildir.c */
            put_body(o, '\r');
        o->cr_before = c == '\r' && o->cr;
        o->cr = c == '\r';
        if (!o->cr)
            put_body(o, c);
    }
    return ferror(o->file) ? failed(o, err) : 0;
}

static int message(void *ctx, const struct export_message *m, struct err *err)
{
    struct mbox_out *o = ctx;

    o->m = *m;
    buf_clear(&o->head);
    o->in_head = true;
    o->size = 0;
    o->last = '\n';
    o->began = ftell(o->file);
    return o->began >= 0 ? 0 : failed(o, err);
}

static int message_end(void *ctx, bool drop, uint64_t *bytes, uint64_t *lost, struct err *err)
{
    struct mbox_out *o = ctx;

    (void)lost;
    if (drop) { /* as if it had not been begun */
        if (fflush(o->file) != 0 || ftruncate(fileno(o->file), o->began) != 0 ||
            fseek(o->file, o->began, SEEK_SET) != 0)
            return failed(o, err);
        o->first = o->began == 0;
        return 0;
    }
    if (o->in_head)
        put_head(o);
    for (size_t i = 0; i < o->matched; i++)
        put(o, from[i]);
    if (o->cr)
        put(o, '\r');
    if (o->last != '\n')
        put(o, '\n');
    put(o, '\n');
    *bytes += o->size;
    return ferror(o->file) ? failed(o, err) : 0;
}

static int run(const struct import_call *call)
{
    static const struct export_form form = {begin, message, text, message_end, end};
    struct mbox_out o = {.file = NULL};
    int code;

    buf_init(&o.path, PATH_BYTES);
    buf_init(&o.head, HEAD_BYTES);
    code = export_all(call, &form, &o);
    if (o.file)
        fclose(o.file);
    buf_fini(&o.path);
    buf_fini(&o.head);
    return code;
}

static const char *const options[] = {"account=", NULL};
const struct import_command export_mbox = {
    "export",
    "mbox",
    "DIR",
    1,
    1,
    options,
    run,
    "Write all mail as mbox files (mboxrd), a file a mailbox: each account's in a folder of its "
    "name "
    "in DIR, or ADDRESS's in DIR itself. With Status, X-Status, X-Keywords and X-UID fields."};
