/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* store.c - opening and closing the store. */
#include "appliance/store/news_private.h"
#include "appliance/store/node.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WRITER_CACHE_KB = 8000, /* a batch of 20 ms changes about 5 MB of pages */
    WRITER_BUSY_MS = 10000,
    BODY_THREADS =
        2, /* more large files at once make commits wait: 0.55 -> 16 ms p99 (DESIGN.md 4) */
    BODY_DEPTH = 4096,
    READER_DEPTH = 4096
};
const struct log_ctx store_log = {.module = "store"};

void store_ref(struct store *s)
{
    atomic_fetch_add(&s->refs, 1);
}

void store_unref(struct store *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    if (s->bodies_fd >= 0)
        close(s->bodies_fd);
    pthread_mutex_destroy(&s->readers_lock);
    node_free(s);
    map_free(&s->watches);
    map_free(&s->staging);
    map_free(&s->leaving);
    mem_free(s->dir);
    mem_free(s->db_path);
    mem_free(s);
}

const struct store_conf *store_conf(const struct store *s)
{
    return s->conf;
}

const char *store_folder(const struct store *s)
{
    return s->dir;
}

struct lane *store_lane(struct store *s)
{
    return s->reader_lane;
}

bool store_read_only(const struct store *s)
{
    return atomic_load(&s->read_only);
}

/* ---- Lanes. */

static void *reader_thread_open(void *ctx)
{
    struct store_reader *r = NULL;
    struct err err;

    if (store_reader_open(ctx, &r, &err) != 0)
        log_error(&store_log, "reader-failed", L_Z("why", err.text));
    return r;
}

static void reader_thread_close(void *ctx, void *worker)
{
    struct store_reader *r = worker;

    (void)ctx;
    store_reader_close(&r);
}

static int start_lanes(struct store *s, struct err *err)
{
    struct lane_conf body = {.name = "body", .threads = BODY_THREADS, .depth = BODY_DEPTH};
    struct lane_conf readers = {.name = "store",
                                .threads = (unsigned)s->conf->readers,
                                .depth = READER_DEPTH,
                                .thread_open = reader_thread_open,
                                .thread_close = reader_thread_close,
                                .ctx = s};

    if (committer_start(s, err) != 0)
        return -1;
    s->body_lane = lane_new(s->loop, &body, err);
    if (!s->body_lane)
        return -1;
    s->reader_lane = lane_new(s->loop, &readers, err);
    return s->reader_lane ? 0 : -1;
}

/* ---- Open and close. */

static int open_folder(struct store *s, struct err *err)
{
    if (!s->conf->as_is && mkdir(s->dir, 0700) != 0 && errno != EEXIST)
        return ERR(err, ERR_PERM, "cannot make %s: %s", s->dir, strerror(errno));
    return bodies_open(s, err);
}

/* The entries store.db and bodies/ themselves: SQLite flushes the folder for its journal only. */
static int flush_folder(struct store *s, struct err *err)
{
    int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0 || (s->conf->sync == SQL_SYNC_FULL && fsync(fd) != 0))
        rc = ERR(err, ERR_TEMP, "cannot flush %s: %s", s->dir, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Mail is for nobody else's eyes, whatever the folder's mode and the umask; SQLite gives its other
 * files the same mode. */
static int make_private(struct store *s, struct err *err)
{
    if (s->conf->server)
        return 0;
    bool there = access(s->db_path, F_OK) == 0;
    if (!there && s->conf->as_is)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND,
                       "there is no %s yet: start posthouse serve once, which makes it",
                       s->db_path);
    if (!there && bodies_check_new(s, NULL, err) != 0)
        return -1;
    int fd = open(s->db_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return ERR(err, ERR_PERM, "cannot open %s: %s", s->db_path, strerror(errno));
    close(fd);
    return 0;
}

static int open_database(struct store *s, struct err *err)
{
    struct sql_conf conf = {.server = s->conf->server,
                            .path = s->db_path,
                            .sync = (enum sql_sync)s->conf->sync,
                            .busy_ms = WRITER_BUSY_MS,
                            .cache_kb = WRITER_CACHE_KB,
                            .vfs = s->disk->vfs,
                            .own_checkpoints = true};

    if (sql_open(&conf, &s->committer.db, err) != 0 ||
        bodies_check_new(s, s->committer.db, err) != 0 ||
        schema_open(s->committer.db, s->conf->as_is, err) != 0 ||
        ids_open(s, s->committer.db, err) != 0 || node_open(s, s->committer.db, err) != 0 ||
        (s->node && !s->conf->as_is && bodies_check(s, s->committer.db, err) != 0))
        return -1;
    s->first_id = store_new_id(s);
    if (s->node && news_log_last(s->committer.db, &s->news_at, err) != 0)
        return -1;
    return staging_recover(s, s->committer.db, err);
}

int store_open(const char *dir, const struct store_conf *conf, struct loop *l, struct store **out,
               struct err *err)
{
    struct store *s = MEM_NEW(struct store);

    CHECK(l);
    s->conf = conf;
    s->disk = conf->disk ? conf->disk : &store_disk_kernel;
    s->loop = l;
    s->bodies_fd = -1;
    s->opened_at = clock_wall_ms();
    s->dir = str_dup_z(str_from(dir));
    s->db_path = store_join(dir, "store.db");
    s->watches = map_new();
    s->staging = map_new();
    s->leaving = map_new();
    atomic_store(&s->refs, 1);
    CHECK(pthread_mutex_init(&s->readers_lock, NULL) == 0);
    list_init(&s->readers);
    list_init(&s->arriving);
    atomic_store(&s->message_limit, conf->message_limit);
    if (open_folder(s, err) != 0 || make_private(s, err) != 0 || open_database(s, err) != 0 ||
        flush_folder(s, err) != 0 || start_lanes(s, err) != 0) {
        store_close(&s);
        return -1;
    }
    s->sweeper = sweeper_new(s);
    s->watch_poll = watch_poll_new(s);
    if (s->node)
        s->news = news_hub_new(s, s->news_at);
    *out = s;
    return 0;
}

void store_close(struct store **sp)
{
    struct store *s = *sp;

    if (!s)
        return;
    *sp = NULL;
    sweeper_free(&s->sweeper);
    watch_poll_free(&s->watch_poll);
    news_hub_free(&s->news);
    lane_free(&s->reader_lane);
    lane_free(&s->body_lane);
    committer_stop(s);
    node_close(s, s->committer.db);
    sql_close(&s->committer.db);
    s->closed = true;
    store_unref(s);
}
