/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse export maildir: Maildir++ with Dovecot's lists of UIDs and keywords, so that Dovecot
 * serves what clients know. */
#include "appliance/app/export.h"
#include "appliance/app/import_commands.h"
#include "appliance/mail/maildir.h"
#include "appliance/store/message.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, NAME_BYTES = 2048 };

struct maildir {
    struct buf path; /* of the folder */
    int fd;          /* it */
    FILE *uidlist;
    unsigned letter[EXPORT_KEYWORDS]; /* of a flag bit: 1 is 'a'; 0: none */
    unsigned n_letters;
    /* the message */
    struct export_message m;
    struct buf base;
    FILE *file;
    uint64_t size;
    bool cr, cr_before;
};

static int failed(const struct maildir *d, const char *doing, struct err *err)
{
    return ERR(err, ERR_PERM, "cannot %s %.*s: %s", doing, (int)d->path.n, d->path.p,
               strerror(errno));
}

static FILE *create(const struct maildir *d, const char *name)
{
    int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;

    if (!f && fd >= 0)
        close(fd);
    return f;
}

/* ---- The folder. */

static int make_folders(struct maildir *d, struct err *err)
{
    static const char *const subs[] = {"cur", "new", "tmp"};

    if (mkdir(buf_z(&d->path), 0700) != 0 && errno != EEXIST)
        return failed(d, "make", err);
    d->fd = open(buf_z(&d->path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->fd < 0)
        return failed(d, "open", err);
    for (size_t i = 0; i < ARRAY_LEN(subs); i++)
        if (mkdirat(d->fd, subs[i], 0700) != 0)
            return errno == EEXIST
                       ? ERR(err, ERR_PERM, "%.*s is a Maildir already", (int)d->path.n, d->path.p)
                       : failed(d, "make folders in", err);
    return 0;
}

/* Two names may be the same there: dots aren't possible in them. */
static int make_free(struct maildir *d, const struct export_folder *f, struct err *err)
{
    size_t at;

    buf_clear(&d->path);
    buf_printf(&d->path, "%s/", f->root);
    at = d->path.n;
    if (maildir_folder_encode(f->name, &d->path) != 0 ||
        export_name_take(f->names, &d->path, at, "") != 0)
        return ERR(err, ERR_PERM, "a path that is too long");
    return make_folders(d, err);
}

static int write_keywords(struct maildir *d, const struct export_folder *f, struct err *err)
{
    FILE *out = NULL;

    d->n_letters = 0;
    for (size_t bit = 0; bit < EXPORT_KEYWORDS; bit++) {
        d->letter[bit] = 0;
        if (f->keywords[bit].n == 0 || d->n_letters == MAILDIR_KEYWORDS)
            continue;
        if (!out && !(out = create(d, "dovecot-keywords")))
            return failed(d, "write to", err);
        fprintf(out, "%u " STR_FMT "\n", d->n_letters, STR_ARG(f->keywords[bit]));
        d->letter[bit] = ++d->n_letters;
    }
    return !out || fclose(out) == 0 ? 0 : failed(d, "write to", err);
}

/* Dovecot's second form: levels separated by tabs. */
static int subscribe(const struct export_folder *f, const char *root, struct err *err)
{
    char path[PATH_BYTES];
    struct buf name;
    FILE *out;
    bool fresh;

    snprintf(path, sizeof path, "%s/subscriptions", root);
    fresh = access(path, F_OK) != 0;
    out = fopen(path, "ae");
    if (!out)
        return ERR(err, ERR_PERM, "cannot write %s: %s", path, strerror(errno));
    buf_init(&name, NAME_BYTES);
    if (maildir_folder_encode(f->name, &name) == 0) {
        for (size_t i = 1; i < name.n; i++)
            if (name.p[i] == '.')
                name.p[i] = '\t';
        fprintf(out, "%s%s\n", fresh ? "V\t2\n\n" : "", name.n ? buf_z(&name) + 1 : "INBOX");
    }
    buf_fini(&name);
    return fclose(out) == 0 ? 0 : ERR(err, ERR_PERM, "cannot write %s: %s", path, strerror(errno));
}

static int begin(void *ctx, const struct export_folder *f, struct err *err)
{
    struct maildir *d = ctx;
    FILE *mark;

    if (make_free(d, f, err) != 0 || write_keywords(d, f, err) != 0)
        return -1;
    if (!str_eq(f->name, STR("INBOX"))) { /* Maildir++: a folder, no Maildir of its own */
        mark = create(d, "maildirfolder");
        if (!mark || fclose(mark) != 0)
            return failed(d, "write to", err);
    }
    d->uidlist = create(d, "dovecot-uidlist");
    if (!d->uidlist)
        return failed(d, "write to", err);
    fprintf(d->uidlist, "3 V%u N%u\n", f->uidvalidity, f->uidnext);
    return f->subscribed ? subscribe(f, f->root, err) : 0;
}

static int end(void *ctx, struct err *err)
{
    struct maildir *d = ctx;
    int rc = fclose(d->uidlist);

    d->uidlist = NULL;
    close(d->fd);
    d->fd = -1;
    return rc == 0 ? 0 : failed(d, "write to", err);
}

/* ---- A message. */

static int message(void *ctx, const struct export_message *m, struct err *err)
{
    struct maildir *d = ctx;
    long long at = m->internal_ms / 1000;
    char path[64];

    d->m = *m;
    buf_clear(&d->base);
    buf_printf(&d->base, "%lld.M%06uP%u.posthouse", at > 0 ? at : 0, m->uid % 1000000, m->uid);
    snprintf(path, sizeof path, "tmp/%u", m->uid);
    d->file = create(d, path);
    d->size = 0;
    d->cr = d->cr_before = false;
    return d->file ? 0 : failed(d, "write to", err);
}

static void put(struct maildir *d, char c)
{
    putc_unlocked(c, d->file);
    d->size++;
}

/* A line's end is LF there, as is usual; but what is CR CR LF stays, or its first CR would be taken
 * for part of the end. */
static int text(void *ctx, struct str bytes, struct err *err)
{
    struct maildir *d = ctx;

    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];
        if (d->cr && (c != '\n' || d->cr_before))
            put(d, '\r');
        d->cr_before = c == '\r' && d->cr;
        d->cr = c == '\r';
        if (!d->cr)
            put(d, c);
    }
    return ferror(d->file) ? failed(d, "write to", err) : 0;
}

static void add_flags(struct maildir *d, uint64_t *lost)
{
    static const struct {
        uint64_t ours;
        enum maildir_flag theirs;
    } map[] = {{MESSAGE_SEEN, MAILDIR_SEEN},
               {MESSAGE_ANSWERED, MAILDIR_REPLIED},
               {MESSAGE_FLAGGED, MAILDIR_FLAGGED},
               {MESSAGE_DELETED, MAILDIR_TRASHED},
               {MESSAGE_DRAFT, MAILDIR_DRAFT}};
    unsigned flags = 0;
    uint32_t letters = 0;

    for (size_t i = 0; i < ARRAY_LEN(map); i++)
        if (d->m.flags & map[i].ours)
            flags |= map[i].theirs;
    for (unsigned bit = MESSAGE_KEYWORD_FIRST; bit <= MESSAGE_KEYWORD_LAST; bit++) {
        if (!(d->m.flags & UINT64_C(1) << bit))
            continue;
        if (d->letter[bit])
            letters |= UINT32_C(1) << (d->letter[bit] - 1);
        else
            ++*lost;
    }
    maildir_flags_format(flags, letters, &d->base);
}

static int message_end(void *ctx, bool drop, uint64_t *bytes, uint64_t *lost, struct err *err)
{
    struct maildir *d = ctx;
    struct timespec times[2];
    char from[64], to[NAME_BYTES];
    int rc;

    if (d->cr)
        put(d, '\r');
    times[0] = times[1] = (struct timespec){.tv_sec = (time_t)(d->m.internal_ms / 1000)};
    rc = fflush(d->file) == 0 && futimens(fileno(d->file), times) == 0 ? 0 : -1;
    if (fclose(d->file) != 0)
        rc = -1;
    d->file = NULL;
    snprintf(from, sizeof from, "tmp/%u", d->m.uid);
    if (drop) {
        unlinkat(d->fd, from, 0);
        return 0;
    }
    buf_printf(&d->base, ",S=%llu", (unsigned long long)d->size);
    if (rc == 0)
        fprintf(d->uidlist, "%u :%s\n", d->m.uid, buf_z(&d->base));
    add_flags(d, lost);
    snprintf(to, sizeof to, "cur/%s", buf_z(&d->base));
    *bytes += d->size;
    return rc == 0 && renameat(d->fd, from, d->fd, to) == 0 && !ferror(d->uidlist)
               ? 0
               : failed(d, "write to", err);
}

static int run(const struct import_call *call)
{
    static const struct export_form form = {begin, message, text, message_end, end};
    struct maildir d = {.fd = -1};
    int code;

    buf_init(&d.path, PATH_BYTES);
    buf_init(&d.base, NAME_BYTES);
    code = export_all(call, &form, &d);
    if (d.file)
        fclose(d.file);
    if (d.uidlist)
        fclose(d.uidlist);
    if (d.fd >= 0)
        close(d.fd);
    buf_fini(&d.path);
    buf_fini(&d.base);
    return code;
}

static const char *const options[] = {"account=", NULL};
const struct import_command export_maildir = {
    "export",
    "maildir",
    "DIR",
    1,
    1,
    options,
    run,
    "Write all mail as Maildirs: each account's in a folder of its name in DIR, or ADDRESS's as "
    "DIR "
    "itself. With the UIDs, flags, keywords, dates and subscriptions as Dovecot reads them."};
