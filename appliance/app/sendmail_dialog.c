/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* One message over the server's local socket. It blocks: there is nothing else to do. */
#include "appliance/app/sendmail.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

enum { REPLY_MAX = 64 << 10, WAIT_MS = 600000, PIECE = 16 << 10, FROM_ROOM = 600 };

struct dialog {
    int fd;
    bool verbose;
    struct buf in; /* from the server; the reply at hand in front */
    unsigned code;
    struct str text; /* of the last reply, its lines joined by LF */
    struct buf reply;
    struct buf out;
    struct buf address; /* of the sender */
};

static int fail(int code, const char *what, const char *why)
{
    fprintf(stderr, "posthouse sendmail: %s: %s\n", what, why);
    return code;
}

static int open_socket(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof un.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(un.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof un) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* ---- Bytes. */
static int send_all(struct dialog *d, struct str s)
{
    while (s.n) {
        ssize_t n = send(d->fd, s.p, s.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        s = str_skip(s, (size_t)n);
    }
    return 0;
}

static int flush(struct dialog *d)
{
    int rc = buf_ok(&d->out) ? send_all(d, buf_str(&d->out)) : -1;

    buf_clear(&d->out);
    return rc;
}

static int more(struct dialog *d)
{
    struct pollfd p = {.fd = d->fd, .events = POLLIN};
    char *space;
    ssize_t n;

    if (poll(&p, 1, WAIT_MS) <= 0 || buf_reserve(&d->in, 4096, &space))
        return -1;
    do
        n = read(d->fd, space, 4096);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        buf_commit(&d->in, (size_t)n);
    return n > 0 ? 0 : -1;
}

/* The next reply, whole. -1: the server is gone, or it isn't one. */
static int reply(struct dialog *d)
{
    struct str line, rest;
    uint64_t code;
    bool last = false;

    buf_clear(&d->reply);
    while (!last) {
        if (!str_cut(buf_str(&d->in), '\n', &line, &rest)) {
            if (more(d))
                return -1;
            continue;
        }
        if (line.n < 4 || str_to_u64(str_take(line, 3), 599, &code))
            return -1;
        last = line.p[3] != '-';
        if (d->reply.n)
            buf_add_char(&d->reply, '\n');
        buf_add_str(&d->reply, str_trim(str_skip(line, 4)));
        if (d->verbose)
            fprintf(stderr, "<<< " STR_FMT "\n", STR_ARG(str_trim(line)));
        buf_drop(&d->in, line.n + 1);
    }
    d->code = (unsigned)code;
    d->text = buf_str(&d->reply);
    return buf_ok(&d->reply) ? 0 : -1;
}

static int ask(struct dialog *d, struct str command)
{
    if (d->verbose)
        fprintf(stderr, ">>> " STR_FMT "\n", STR_ARG(str_trim(command)));
    return send_all(d, command) ? -1 : reply(d);
}

/* ---- What a reply means to the caller. */
static int exit_code(const struct dialog *d)
{
    if (d->code < 400)
        return EX_OK;
    if (d->code < 500)
        return EX_TEMPFAIL;
    if (str_starts(d->text, STR("5.1.2")))
        return EX_NOHOST;
    if (str_starts(d->text, STR("5.1.")))
        return EX_NOUSER;
    if (str_starts(d->text, STR("5.7.")))
        return EX_NOPERM;
    if (str_starts(d->text, STR("5.6.")) || str_starts(d->text, STR("5.5.")))
        return EX_DATAERR;
    return EX_UNAVAILABLE;
}

static int refused(const struct dialog *d, struct str about)
{
    fprintf(stderr, "posthouse sendmail: " STR_FMT ": %u " STR_FMT "\n", STR_ARG(about), d->code,
            STR_ARG(d->text));
    return exit_code(d);
}

static int broken(void)
{
    return fail(EX_TEMPFAIL, "the mail server", "the connection ended before it answered");
}

/* ---- The message. */
static bool not_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return true;
    return false;
}

static bool needs_utf8(const struct sendmail_job *j)
{
    if (not_ascii(j->sender))
        return true;
    for (size_t i = 0; i < j->rcpts.n; i++)
        if (not_ascii(j->rcpts.at[i]))
            return true;
    return false;
}

static void add_xtext(struct buf *out, struct str s) /* RFC 3461 4 */
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c > 0x20 && c < 0x7f && c != '+' && c != '=')
            buf_add_char(out, (char)c);
        else
            buf_printf(out, "+%02X", c);
    }
}

/* The sender as the server knows it, with its domain: "2.1.0 <user@example.org> Sender ok". */
static void take_address(struct dialog *d)
{
    struct str text = buf_str(&d->reply);
    size_t begin, end;

    if (str_chr(text, '<', &begin) && str_rchr(text, '>', &end) && end > begin)
        buf_add(&d->address, text.p + begin + 1, end - begin - 1);
}

static int mail_from(struct dialog *d, const struct sendmail_job *j)
{
    buf_printf(&d->out, "MAIL FROM:<" STR_FMT "> SIZE=%zu", STR_ARG(j->sender),
               j->text.n + (j->needs_from ? FROM_ROOM : 0));
    if (not_ascii(buf_str(&j->text)) || (j->needs_from && not_ascii(j->full_name)))
        buf_add_z(&d->out, " BODY=8BITMIME");
    if (needs_utf8(j))
        buf_add_z(&d->out, " SMTPUTF8");
    if (j->ret.n)
        buf_printf(&d->out, " RET=" STR_FMT, STR_ARG(j->ret));
    if (j->envid.n) {
        buf_add_z(&d->out, " ENVID=");
        add_xtext(&d->out, j->envid);
    }
    buf_add_z(&d->out, "\r\n");
    if (d->verbose)
        fprintf(stderr, ">>> " STR_FMT "\n", STR_ARG(str_trim(buf_str(&d->out))));
    if (flush(d) || reply(d))
        return broken();
    if (d->code != 250)
        return refused(d, j->sender);
    take_address(d);
    return 0;
}

/* Sends to those that are taken; the first refusal is what the caller is told. */
static int rcpt_to(struct dialog *d, const struct sendmail_job *j, size_t *n_ok)
{
    int first = 0;

    *n_ok = 0;
    for (size_t i = 0; i < j->rcpts.n; i++) {
        buf_printf(&d->out, "RCPT TO:<" STR_FMT ">", STR_ARG(j->rcpts.at[i]));
        if (j->notify.n)
            buf_printf(&d->out, " NOTIFY=" STR_FMT, STR_ARG(j->notify));
        buf_add_z(&d->out, "\r\n");
        if (flush(d) || reply(d)) {
            *n_ok = 0;
            return broken();
        }
        if (d->code / 100 == 2)
            (*n_ok)++;
        else if (!first)
            first = refused(d, j->rcpts.at[i]);
        else
            refused(d, j->rcpts.at[i]);
    }
    return first;
}

static int send_text(struct dialog *d, struct str text)
{
    bool at_start = true;

    while (text.n) {
        struct str line = text;
        size_t at;
        if (str_chr(text, '\n', &at))
            line = str_take(text, at + 1);
        if (at_start && line.p[0] == '.')
            buf_add_char(&d->out, '.');
        buf_add_str(&d->out, line);
        if (d->out.n >= PIECE && flush(d))
            return -1;
        at_start = line.p[line.n - 1] == '\n';
        text = str_skip(text, line.n);
    }
    buf_add_z(&d->out, ".\r\n");
    return flush(d);
}

static int data(struct dialog *d, const struct sendmail_job *j)
{
    if (ask(d, STR("DATA\r\n")))
        return broken();
    if (d->code != 354)
        return refused(d, STR("the message"));
    if (j->needs_from && d->address.n)
        sendmail_from(j, buf_str(&d->address), &d->out);
    if (send_text(d, buf_str(&j->text)) || reply(d))
        return broken();
    return d->code == 250 ? 0 : refused(d, STR("the message"));
}

static int transaction(struct dialog *d, const struct sendmail_job *j)
{
    size_t n_ok;
    int code, rcpts;

    if (reply(d) || (d->code == 220 && ask(d, STR("EHLO localhost\r\n"))))
        return broken();
    if (d->code != 250)
        return refused(d, STR("the mail server"));
    code = mail_from(d, j);
    if (code)
        return code;
    rcpts = rcpt_to(d, j, &n_ok);
    if (!n_ok)
        return rcpts;
    code = data(d, j);
    if (!code)
        ask(d, STR("QUIT\r\n"));
    return code ? code : rcpts;
}

static int no_server(const char *socket)
{
    char why[200];

    snprintf(why, sizeof why, "%s; try again later", strerror(errno));
    return fail(EX_TEMPFAIL, socket, why);
}

int sendmail_send(const char *socket, struct sendmail_job *j)
{
    struct dialog d = {.fd = open_socket(socket), .verbose = j->verbose};
    int code;

    if (d.fd < 0)
        return no_server(socket);
    buf_init(&d.address, REPLY_MAX);
    buf_init(&d.in, REPLY_MAX);
    buf_init(&d.reply, REPLY_MAX);
    buf_init(&d.out, 1 << 20);
    code = transaction(&d, j);
    close(d.fd);
    buf_fini(&d.address);
    buf_fini(&d.in);
    buf_fini(&d.reply);
    buf_fini(&d.out);
    return code;
}

/* ---- -bs */
static int copy(int from, int to)
{
    char piece[PIECE];
    ssize_t n = read(from, piece, sizeof piece);

    if (n < 0 && errno == EINTR)
        return 1;
    for (ssize_t at = 0; at < n;) {
        ssize_t w = write(to, piece + at, (size_t)(n - at));
        if (w < 0 && errno != EINTR)
            return -1;
        if (w > 0)
            at += w;
    }
    return n > 0;
}

int sendmail_proxy(const char *socket)
{
    int fd = open_socket(socket);
    struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    int more_in = 1, more_out = 1;

    if (fd < 0)
        return no_server(socket);
    while (more_out > 0) {
        p[0].fd = more_in > 0 ? STDIN_FILENO : -1;
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        if (more_in > 0 && p[0].revents) {
            more_in = copy(STDIN_FILENO, fd);
            if (more_in <= 0)
                shutdown(fd, SHUT_WR);
        }
        if (p[1].revents)
            more_out = copy(fd, STDOUT_FILENO);
    }
    close(fd);
    return more_out == 0 ? EX_OK : EX_IOERR;
}
