/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_here.c - the store's end of a stream where no daemon runs: a child process that becomes
 * the folder's owner, takes its lock and opens the store, until the stream ends. */
#include "appliance/app/config.h"
#include "appliance/app/datadir.h"
#include "appliance/app/folder.h"
#include "appliance/app/import_server.h"
#include "appliance/app/import_wire.h"
#include "appliance/base/log.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_end(void *ctx)
{
    loop_stop(ctx);
}

static int serve_stream(const struct config *c, struct datadir *d, bool reads, int fd,
                        struct err *err)
{
    struct loop *loop = loop_new();
    struct store *store = NULL;
    struct store_conf store_conf = c->store;
    struct directory_conf directory = c->directory;
    struct conn *conn;
    int rc = database_check_folder(d, &c->database, err);

    store_conf.as_is = directory.as_is = reads;
    if (rc == 0)
        rc = store_open(d->path, &store_conf, loop, &store, err);
    if (rc == 0 && !reads)
        rc = database_claim_folder(d, &c->database, err);
    if (rc == 0) {
        conn = conn_adopt(loop, fd, NULL);
        if (conn) {
            import_session_start(
                &(struct import_server_env){
                    .loop = loop, .store = store, .dir = d->path, .directory = &directory},
                conn, on_end, loop);
            loop_run(loop);
        }
    }
    store_close(&store);
    loop_turn(loop, false);
    loop_free(&loop);
    return rc;
}

static int take_folder(const char *folder, const struct config *configured, bool reads,
                       struct datadir *d, int fd, struct err *err)
{
    struct config defaults;
    int rc;

    if (folder_become_owner(folder, err) != 0 || datadir_open(folder, false, d, err) != 0)
        return -1;
    if (datadir_lock(d, err) != 0 || config_defaults(&defaults, err) != 0) {
        datadir_close(d);
        return -1;
    }
    rc = serve_stream(configured ? configured : &defaults, d, reads, fd, err);
    config_free(&defaults);
    datadir_close(d);
    return rc;
}

/* The first line the other end reads, when there is no stream. */
static void report(int fd, const struct err *err)
{
    json_t *v = err->why == ERR_WHY_BUSY
                    ? json_pack("{sb}", "busy", 1)
                    : json_pack("{ss sb}", "error", err->text, "temp", err->kind == ERR_TEMP);
    char *text = json_dumps(v, JSON_COMPACT);

    if (text &&
        (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 || send(fd, "\n", 1, MSG_NOSIGNAL) < 0))
        log_set_fd(-1); /* nobody listens: nothing to say */
    free(text);
    json_decref(v);
}

int import_here_start(const char *folder, const struct config *configured, bool reads, int *fd_out,
                      int64_t *pid_out, struct err *err)
{
    struct datadir d;
    int fds[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return ERR(err, ERR_TEMP, "cannot make a socket: %s", strerror(errno));
    pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return ERR(err, ERR_TEMP, "cannot make a process: %s", strerror(errno));
    }
    if (pid == 0) {
        struct err own = {ERR_NONE, ERR_WHY_OTHER, ""};
        int spare = dup(fds[1]); /* the stream closes the other */
        close(fds[0]);
        log_set_level(LOG_LEVEL_WARN);
        if (take_folder(folder, configured, reads, &d, fds[1], &own) != 0 && spare >= 0)
            report(spare, &own);
        _exit(0);
    }
    close(fds[1]);
    *fd_out = fds[0];
    *pid_out = pid;
    return 0;
}
