/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* body_read.c - the text of a message for readers: meta, head, and data by ranges from its row or
 * its file. */
#include "appliance/store/store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCAN_CHUNK = 64 << 10, META_MAX = 1 << 20 };

static int read_blob(struct body_reader *b, const char *text, struct str *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(b->r->db, text, &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)b->id);
    rc = sql_step(st, err);
    if (rc == 1)
        *out = arena_str(b->a, sql_blob(st, 0));
    sql_reset(st);
    if (rc == 0)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_NOT_FOUND, "the message's text is gone");
    return rc < 0 ? -1 : 0;
}

static int read_row(struct body_reader *b, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(b->r->db, "SELECT place, data_size FROM body WHERE id = ?", &st, err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)b->id);
    rc = sql_step(st, err);
    if (rc == 1) {
        b->in_file = sql_int(st, 0) == BODY_FILE;
        b->data_size = (uint64_t)sql_int(st, 1);
    }
    sql_reset(st);
    if (rc == 0)
        return ERR_WHY(err, ERR_TEMP, ERR_WHY_NOT_FOUND, "the message's text is gone");
    return rc < 0 ? -1 : 0;
}

/* Looks at the size, so that nobody promises a client what can't be read then. */
static int open_file(struct body_reader *b, struct err *err)
{
    char path[BODY_PATH_MAX];
    struct stat st;

    body_path(b->id, path);
    b->fd = openat(b->r->store->bodies_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (b->fd < 0)
        return ERR_WHY(err, ERR_TEMP, errno == ENOENT ? ERR_WHY_DAMAGED : ERR_WHY_OTHER,
                       "cannot open bodies/%s: %s", path, strerror(errno));
    if (fstat(b->fd, &st) == 0 && (uint64_t)st.st_size >= b->data_size)
        return 0;
    close(b->fd);
    b->fd = -1;
    return ERR_WHY(err, ERR_TEMP, ERR_WHY_DAMAGED, "bodies/%s is shorter than its row says", path);
}

static int load_data(struct body_reader *b, struct err *err)
{
    if (b->data_loaded)
        return 0;
    if (!b->in_file) {
        if (read_blob(b, "SELECT data FROM body_data WHERE id = ?", &b->data, err) != 0)
            return -1;
        b->data_size = b->data.n;
    } else if (open_file(b, err) != 0) {
        return -1;
    }
    b->data_loaded = true;
    return 0;
}

int body_open(struct store_reader *r, struct arena *a, uint64_t id, unsigned want,
              struct body_reader *out, struct err *err)
{
    *out = (struct body_reader){.id = id, .fd = -1, .r = r, .a = a};
    if (read_row(out, err) != 0)
        return -1;
    if ((want & BODY_WANT_META) &&
        read_blob(out, "SELECT meta FROM body_meta WHERE id = ?", &out->meta, err) != 0)
        return -1;
    if ((want & BODY_WANT_HEAD) &&
        read_blob(out, "SELECT head FROM body_head WHERE id = ?", &out->head, err) != 0)
        return -1;
    return want & BODY_WANT_DATA ? load_data(out, err) : 0;
}

static int read_file(struct body_reader *b, uint64_t offset, size_t n, struct buf *buf,
                     struct err *err)
{
    char *space;

    buf_clear(buf);
    if (buf_reserve(buf, n, &space) != 0)
        return ERR(err, ERR_BUG, "body_read: buffer smaller than what is asked for");
    for (size_t got = 0; got < n;) {
        ssize_t rc = pread(b->fd, space + got, n - got, (off_t)(offset + got));
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc < 0)
            return ERR_WHY(err, ERR_TEMP, ERR_WHY_DAMAGED, "cannot read a message's file: %s",
                           strerror(errno));
        if (rc == 0)
            return ERR_WHY(err, ERR_TEMP, ERR_WHY_DAMAGED,
                           "a message's file is shorter than it was");
        got += (size_t)rc;
    }
    buf_commit(buf, n);
    return 0;
}

int body_read(struct body_reader *b, uint64_t offset, size_t n, struct buf *buf, struct str *out,
              struct err *err)
{
    if (load_data(b, err) != 0)
        return -1;
    if (offset >= b->data_size) {
        *out = STR("");
        return 0;
    }
    if (n > b->data_size - offset)
        n = (size_t)(b->data_size - offset);
    if (!b->in_file) {
        *out = str_of(b->data.p + offset, n);
        return 0;
    }
    if (read_file(b, offset, n, buf, err) != 0)
        return -1;
    *out = buf_str(buf);
    return 0;
}

int body_take_file(struct body_reader *b)
{
    int fd = b->fd;

    b->fd = -1;
    return fd;
}

void body_close(struct body_reader *b)
{
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
    b->data_loaded = false;
}

/* ---- Structure. */

static int scan_data(struct body_reader *b, struct mime_scan *scan, struct err *err)
{
    struct buf chunk;
    struct str piece;
    uint64_t at = 0;
    int rc;

    buf_init(&chunk, SCAN_CHUNK);
    while ((rc = body_read(b, at, SCAN_CHUNK, &chunk, &piece, err)) == 0 && piece.n) {
        mime_scan_feed(scan, piece);
        at += piece.n;
    }
    buf_fini(&chunk);
    return rc;
}

static int scan_anew(struct body_reader *b, struct arena *a, struct mime_part **root_out,
                     struct err *err)
{
    struct mime_scan *scan;
    struct buf meta;
    int rc;

    if (!b->head.p && read_blob(b, "SELECT head FROM body_head WHERE id = ?", &b->head, err) != 0)
        return -1;
    scan = mime_scan_new(b->head);
    if (scan_data(b, scan, err) != 0) {
        mime_scan_free(&scan);
        return -1;
    }
    buf_init(&meta, META_MAX * 16); /* what was too large to be kept fits here */
    rc = mime_scan_end(&scan, b->head, &meta);
    if (rc == 0)
        b->meta = arena_str(a, buf_str(&meta));
    buf_fini(&meta);
    if (rc != 0 || mime_meta_decode(a, b->meta, root_out) != 0)
        return ERR(err, ERR_TEMP, "the message's structure can't be read");
    return 0;
}

int body_structure(struct body_reader *b, struct arena *a, struct mime_part **root_out,
                   struct err *err)
{
    if (!b->meta.p && read_blob(b, "SELECT meta FROM body_meta WHERE id = ?", &b->meta, err) != 0)
        return -1;
    if (b->meta.n && mime_meta_decode(a, b->meta, root_out) == 0)
        return 0;
    return scan_anew(b, a, root_out, err);
}
