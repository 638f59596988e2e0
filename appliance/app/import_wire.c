/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/import_wire.h"
#include "appliance/app/control.h"
#include "appliance/app/folder.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    OUT_ENOUGH = 256 << 10,
    OUT_MAX = 4 << 20,
    IN_MAX = 64 << 20,
    READ_AT_ONCE = 64 << 10,
    PIECE_MAX = 64 << 10,
    BUSY_TRIES = 50,
    BUSY_WAIT_MS = 100
};

struct import_wire {
    int fd;
    int64_t child; /* 0: a daemon */
    struct buf out, in;
    size_t in_taken; /* of in, by the views given out */
};

/* ---- The socket. */

static int read_some(struct import_wire *w, struct err *err)
{
    char *space;

    buf_drop(&w->in, w->in_taken);
    w->in_taken = 0;
    if (buf_reserve(&w->in, READ_AT_ONCE, &space) != 0)
        return ERR(err, ERR_BUG, "the store's process answers too much");
    ssize_t n = recv(w->fd, space, READ_AT_ONCE, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0)
        return ERR(err, ERR_TEMP, "the store's process is gone: %s", strerror(errno));
    if (n == 0)
        return ERR(err, ERR_TEMP, "the store's process has ended");
    buf_commit(&w->in, (size_t)n);
    return 0;
}

/* One step: sends and reads what can be, waits when neither can. */
static int turn(struct import_wire *w, struct err *err)
{
    struct pollfd p = {.fd = w->fd, .events = (short)(POLLIN | (w->out.n ? POLLOUT : 0))};

    if (poll(&p, 1, -1) < 0)
        return errno == EINTR ? 0 : ERR(err, ERR_TEMP, "poll: %s", strerror(errno));
    if (p.revents & POLLOUT) {
        ssize_t n = send(w->fd, w->out.p, w->out.n, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR && !(p.revents & POLLIN))
            return ERR(err, ERR_TEMP, "the store's process is gone: %s", strerror(errno));
        if (n > 0)
            buf_drop(&w->out, (size_t)n);
    }
    if (p.revents & (POLLIN | POLLHUP | POLLERR))
        return read_some(w, err);
    return 0;
}

int import_wire_flush(struct import_wire *w, struct err *err)
{
    while (w->out.n)
        if (turn(w, err) != 0)
            return -1;
    return 0;
}

static int relieve(struct import_wire *w, struct err *err)
{
    while (w->out.n > OUT_ENOUGH)
        if (turn(w, err) != 0)
            return -1;
    return buf_ok(&w->out) ? 0 : ERR(err, ERR_BUG, "too much to send at once");
}

/* ---- Requests. */

int import_wire_send(struct import_wire *w, json_t *request, struct err *err)
{
    char *text = json_dumps(request, JSON_COMPACT);

    json_decref(request);
    if (!text)
        return ERR(err, ERR_BUG, "a request that can't be written");
    buf_add_z(&w->out, text);
    buf_add_char(&w->out, '\n');
    free(text);
    return relieve(w, err);
}

int import_wire_text(struct import_wire *w, struct str bytes, struct err *err)
{
    while (bytes.n) {
        struct str piece = str_take(bytes, PIECE_MAX);
        buf_printf(&w->out, "%zu\n", piece.n);
        buf_add_str(&w->out, piece);
        bytes = str_skip(bytes, piece.n);
        if (relieve(w, err) != 0)
            return -1;
    }
    return 0;
}

int import_wire_text_end(struct import_wire *w, bool drop, struct err *err)
{
    buf_add_z(&w->out, drop ? "-\n" : "0\n");
    return relieve(w, err);
}

/* ---- Answers. */

static int take_line(struct import_wire *w, bool wait, struct str *line, struct err *err)
{
    struct str rest;

    while (!str_cut(str_skip(buf_str(&w->in), w->in_taken), '\n', line, &rest)) {
        if (!wait)
            return 0;
        if (turn(w, err) != 0)
            return -1;
    }
    w->in_taken += line->n + 1;
    return 1;
}

int import_wire_answer(struct import_wire *w, bool wait, json_t **out, struct err *err)
{
    struct str line;
    int rc = take_line(w, wait, &line, err);

    *out = NULL;
    if (rc != 1)
        return rc;
    *out = json_loadb(line.p, line.n, 0, NULL);
    return *out ? 1 : ERR(err, ERR_PROTO, "the store's process gave no sensible answer");
}

int import_wire_piece(struct import_wire *w, struct str *out, struct err *err)
{
    struct str line;
    uint64_t n;

    if (take_line(w, true, &line, err) != 1)
        return -1;
    if (str_eq(line, STR("-")))
        return 2;
    if (str_to_u64(line, PIECE_MAX, &n) != 0)
        return ERR(err, ERR_PROTO, "the store's process gave no sensible answer");
    while (w->in.n - w->in_taken < n)
        if (turn(w, err) != 0)
            return -1;
    *out = str_take(str_skip(buf_str(&w->in), w->in_taken), n);
    w->in_taken += n;
    return n ? 1 : 0;
}

int import_wire_error(json_t *answer, struct err *err)
{
    const char *text = json_string_value(json_object_get(answer, "error"));

    if (!text)
        return 0;
    return ERR(err, json_is_true(json_object_get(answer, "temp")) ? ERR_TEMP : ERR_PERM, "%s",
               text);
}

int import_wire_ask(struct import_wire *w, json_t *request, json_t **out, struct err *err)
{
    *out = NULL;
    if (import_wire_send(w, request, err) != 0 || import_wire_answer(w, true, out, err) != 1)
        return -1;
    if (import_wire_error(*out, err) == 0)
        return 0;
    json_decref(*out);
    *out = NULL;
    return -1;
}

int import_wire_command(struct import_wire *w, const char *const *argv, size_t n, json_t **out,
                        struct err *err)
{
    json_t *words = json_array(), *answer;

    *out = NULL;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(words, json_string(argv[i]));
    if (import_wire_ask(w, json_pack("{ss so}", "do", "command", "argv", words), &answer, err) != 0)
        return -1;
    *out = json_incref(json_object_get(answer, "result"));
    json_decref(answer);
    return 0;
}

/* ---- Beginning and end. */

static int hello(struct import_wire *w, struct err *err)
{
    json_t *answer;
    int rc;

    if (import_wire_flush(w, err) != 0 || import_wire_answer(w, true, &answer, err) != 1)
        return -1;
    rc = import_wire_error(answer, err);
    if (rc == 0 && json_object_get(answer, "busy"))
        rc = ERR_WHY(err, ERR_TEMP, ERR_WHY_BUSY, "the data folder is in use");
    json_decref(answer);
    return rc;
}

static void take_socket(struct import_wire *w, int fd)
{
    w->fd = fd;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    buf_clear(&w->in);
    buf_clear(&w->out);
    w->in_taken = 0;
}

static void drop_socket(struct import_wire *w)
{
    int status;

    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    while (w->child && waitpid((pid_t)w->child, &status, 0) < 0 && errno == EINTR)
        ;
    w->child = 0;
}

static int open_daemon(struct import_wire *w, const char *folder, struct err *err)
{
    int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

    if (dirfd < 0)
        return ERR(err, ERR_PERM, "cannot open the data folder %s: %s", folder, strerror(errno));
    fd = control_connect(dirfd, err);
    close(dirfd);
    if (fd < 0)
        return -1;
    take_socket(w, fd);
    buf_add_z(&w->out, "{\"stream\":true}\n");
    return hello(w, err);
}

static int open_here(struct import_wire *w, const char *folder, const struct config *configured,
                     bool reads, struct err *err)
{
    int fd;

    if (import_here_start(folder, configured, reads, &fd, &w->child, err) != 0)
        return -1;
    take_socket(w, fd);
    if (hello(w, err) == 0)
        return 0;
    drop_socket(w);
    return -1;
}

/* Held, and nobody answers: another command has it, or the child of one that was killed just now,
 * or a daemon that begins or ends. */
static int open_folder(struct import_wire *w, const char *folder, const struct config *configured,
                       bool reads, struct err *err)
{
    for (int tries = 0;; tries++) {
        if (open_here(w, folder, configured, reads, err) == 0)
            return 0;
        if (err->why != ERR_WHY_BUSY)
            return -1;
        if (open_daemon(w, folder, err) == 0)
            return 0;
        drop_socket(w);
        if (err->why != ERR_WHY_NOT_FOUND || tries == BUSY_TRIES)
            return -1;
        err_clear(err);
        (void)poll(NULL, 0, BUSY_WAIT_MS);
    }
}

int import_wire_open(const char *data, const char *config, bool reads, struct import_wire **out,
                     struct err *err)
{
    struct import_wire *w = MEM_NEW(struct import_wire);
    struct config *configured = NULL;
    const char *folder = folder_find(data, config, &configured, err);

    w->fd = -1;
    buf_init(&w->out, OUT_MAX);
    buf_init(&w->in, IN_MAX);
    *out = w;
    int rc = folder ? open_folder(w, folder, configured, reads, err) : -1;
    config_unref(&configured);
    if (rc != 0)
        import_wire_close(out);
    return rc;
}

bool import_wire_daemon(const struct import_wire *w)
{
    return w->child == 0;
}

void import_wire_close(struct import_wire **w)
{
    if (!*w)
        return;
    drop_socket(*w);
    buf_fini(&(*w)->out);
    buf_fini(&(*w)->in);
    mem_free(*w);
    *w = NULL;
}
