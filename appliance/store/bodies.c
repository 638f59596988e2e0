/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* bodies.c - the folder of the files of large texts. Nodes that share a database must share it,
 * too, or one would not find what another one stored: a file in it and a row in the database have
 * the same number. */
#include "appliance/base/rand.h"
#include "appliance/store/store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NUMBER_FILE "store-id"

char *store_join(const char *dir, const char *name)
{
    struct buf b;
    char *z;

    buf_init(&b, 8192);
    buf_add_z(&b, dir);
    buf_add_char(&b, '/');
    buf_add_z(&b, name);
    z = str_dup_z(buf_str(&b));
    buf_fini(&b);
    return z;
}

static bool is_elsewhere(const struct store *s)
{
    return s->conf->bodies && s->conf->bodies[0];
}

static char *path_of(const struct store *s)
{
    return is_elsewhere(s) ? str_dup_z(str_from(s->conf->bodies)) : store_join(s->dir, "bodies");
}

int bodies_open(struct store *s, struct err *err)
{
    bool elsewhere = is_elsewhere(s);
    char *path = path_of(s);
    int rc = 0;

    if (!elsewhere && !s->conf->as_is && mkdir(path, 0700) != 0 && errno != EEXIST)
        rc = ERR(err, ERR_PERM, "cannot make %s: %s", path, strerror(errno));
    if (rc == 0)
        s->bodies_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rc == 0 && s->bodies_fd < 0 && errno == ENOENT && s->conf->as_is)
        rc = ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND,
                     "there is no %s yet: start posthouse serve once, which makes it", path);
    else if (rc == 0 && s->bodies_fd < 0)
        rc = ERR(err, ERR_PERM, "cannot open %s: %s", path, strerror(errno));
    mem_free(path);
    return rc;
}

/* ---- Whose it is. */

/* 0: there is none. */
static int read_file(struct store *s, uint64_t *out, struct err *err)
{
    int fd = openat(s->bodies_fd, NUMBER_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char text[32];
    ssize_t n;

    *out = 0;
    if (fd < 0)
        return errno == ENOENT
                   ? 0
                   : ERR(err, ERR_TEMP, "cannot read %s: %s", NUMBER_FILE, strerror(errno));
    n = read(fd, text, sizeof text);
    close(fd);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (n <= 0 || str_to_u64(str_of(text, (size_t)n), INT64_MAX, out) != 0)
        return ERR(err, ERR_PERM, "%s in the folder of bodies holds no number", NUMBER_FILE);
    return 0;
}

/* Under a name of its own first: whoever reads it finds all of it, and who comes first has it. */
static int write_file(struct store *s, uint64_t number, struct err *err)
{
    char text[32], name[64];
    int n = snprintf(text, sizeof text, "%" PRIu64 "\n", number), fd, rc;

    snprintf(name, sizeof name, NUMBER_FILE ".%" PRIx64, rand_u64());
    fd = openat(s->bodies_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    rc = fd >= 0 && write(fd, text, (size_t)n) == n && fsync(fd) == 0 &&
                 (linkat(s->bodies_fd, name, s->bodies_fd, NUMBER_FILE, 0) == 0 ||
                  errno == EEXIST) &&
                 fsync(s->bodies_fd) == 0
             ? 0
             : -1;
    if (rc)
        err_set(err, ERR_TEMP, ERR_WHY_OTHER, "cannot write %s into the folder of bodies: %s",
                NUMBER_FILE, strerror(errno));
    if (fd >= 0) {
        close(fd);
        unlinkat(s->bodies_fd, name, 0);
    }
    return rc;
}

static int read_row(struct sql *db, uint64_t *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    *out = 0;
    if (sql_prepare(db, "SELECT value FROM store_meta WHERE name = 'bodies' FOR UPDATE", &st, err))
        return -1;
    rc = sql_step(st, err);
    if (rc == 1)
        *out = (uint64_t)sql_int(st, 0);
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

static int insert_row(struct sql *db, uint64_t number, struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(db, "INSERT INTO store_meta(name, value) VALUES ('bodies', ?)", &st, err))
        return -1;
    sql_bind_int(st, 1, (int64_t)number);
    return sql_run(st, err);
}

/* Mail that is there must not be taken for strays by a database that has never seen it. */
static int refuse_empty(struct store *s, struct err *err)
{
    char *path = path_of(s);

    err_set(
        err, ERR_PERM, ERR_WHY_OTHER,
        "this database is empty, but the folder of bodies holds large messages: bring the right "
        "database (or its backup) back, or to begin anew move the folder away: %s",
        path);
    mem_free(path);
    return -1;
}

int bodies_check_new(struct store *s, struct sql *db, struct err *err)
{
    int64_t version;

    /* In this order: another node that makes the tables stores its first message after that. */
    if (!bodies_hold_files(s))
        return 0;
    if (db && sql_schema_version(db, "store", &version, err) != 0)
        return -1;
    return db && version ? 0 : refuse_empty(s, err);
}

static int knows_files(struct sql *db, bool *out, struct err *err)
{
    struct sql_stmt *st;
    int rc;

    if (sql_prepare(db, "SELECT 1 FROM body WHERE place = 1 LIMIT 1", &st, err))
        return -1;
    rc = sql_step(st, err);
    *out = rc == 1;
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

/* The first node of all makes both: the row last. */
static int check(struct store *s, struct sql *db, struct err *err)
{
    uint64_t file, row;
    bool known;

    if (read_row(db, &row, err) || read_file(s, &file, err))
        return -1;
    if (row && row == file)
        return 0;
    if (row)
        return ERR(
            err, ERR_PERM,
            "the folder of bodies isn't that of this database's other servers (store.bodies); "
            "if it is, its file " NUMBER_FILE " must hold %" PRIu64,
            row);
    if (knows_files(db, &known, err))
        return -1;
    if (!known && bodies_hold_files(s)) /* its tables were made, but no server has started on it */
        return refuse_empty(s, err);
    if (!file && (write_file(s, (rand_u64() >> 1) | 1, err) || read_file(s, &file, err)))
        return -1;
    return insert_row(db, file, err);
}

static int check_once(struct store *s, struct sql *db, struct err *err)
{
    if (sql_begin(db, true, err))
        return -1;
    if (check(s, db, err)) {
        sql_rollback(db);
        return -1;
    }
    return sql_commit(db, err);
}

int bodies_check(struct store *s, struct sql *db, struct err *err)
{
    if (check_once(s, db, err) == 0)
        return 0;
    /* Another node made the row in this very moment. */
    return err->why == ERR_WHY_EXISTS ? check_once(s, db, err) : -1;
}
