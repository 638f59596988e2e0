/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* source.c - the picture of a transaction that stages get: strings copied, the message readable
 * from memory or its file. */
#include "appliance/base/mem.h"
#include "filters/private.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static size_t read_part(struct str part, uint64_t offset, char *to, size_t n)
{
    if (offset >= part.n)
        return 0;
    struct str s = str_take(str_skip(part, (size_t)offset), n);
    memcpy(to, s.p, s.n);
    return s.n;
}

static int64_t read_file(const struct source *s, uint64_t offset, char *to, size_t n)
{
    size_t got = 0;

    if (offset >= s->data_size)
        return 0;
    if (n > s->data_size - offset)
        n = (size_t)(s->data_size - offset);
    while (got < n) {
        ssize_t rc = pread(s->fd, to + got, n - got, (off_t)(offset + got));
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc <= 0) /* shorter than it was: as bad as an error */
            return -1;
        got += (size_t)rc;
    }
    return (int64_t)got;
}

static int64_t read_message(const struct ph_view *view, uint64_t offset, void *to, size_t n)
{
    const struct source *s = (const void *)((const char *)view - offsetof(struct source, view));
    size_t got = read_part(s->head, offset, to, n);
    uint64_t at = offset + got - s->head.n;

    if (got == n || offset + got < s->head.n)
        return (int64_t)got;
    if (s->fd < 0)
        return (int64_t)(got + read_part(s->data, at, (char *)to + got, n - got));
    int64_t more = read_file(s, at, (char *)to + got, n - got);
    return more < 0 ? -1 : (int64_t)got + more;
}

struct source *source_new(void)
{
    struct source *s = MEM_NEW(struct source);

    s->refs = 1;
    s->fd = -1;
    s->arena = arena_new(1024);
    return s;
}

struct source *source_ref(struct source *s)
{
    s->refs++;
    return s;
}

static void clear(struct source *s)
{
    if (s->own_fd)
        close(s->fd);
    arena_clear(s->arena);
    *s = (struct source){.refs = s->refs, .arena = s->arena, .fd = -1};
}

void source_unref(struct source **sp)
{
    struct source *s = *sp;

    *sp = NULL;
    if (!s || --s->refs)
        return;
    clear(s);
    arena_free(&s->arena);
    mem_free(s);
}

static const char *text(struct source *s, const char *z)
{
    return z && z[0] ? arena_str(s->arena, str_from(z)).p : "";
}

static const char *const *texts(struct source *s, const char *const *from, size_t n)
{
    const char **list = ARENA_ARRAY(s->arena, const char *, n + 1);

    for (size_t i = 0; i < n; i++)
        list[i] = text(s, from[i]);
    return list;
}

static void fill_message(struct source *s, const struct chain_message *m, bool copy)
{
    s->head = copy ? arena_str(s->arena, m->head) : m->head;
    s->data_size = m->data_size;
    s->fd = m->fd;
    if (m->fd < 0) {
        s->data = copy ? arena_str(s->arena, m->data) : m->data;
        s->data_size = m->data.n;
    } else if (copy) {
        s->fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
        s->own_fd = s->fd >= 0;
        /* Out of descriptors: reads fail (EBADF), and the stage's on_error decides. */
        if (s->fd < 0)
            s->fd = INT32_MAX;
    }
    s->view.head = s->head.p ? s->head.p : "";
    s->view.head_size = s->head.n;
    s->view.message_size = s->head.n + s->data_size;
}

void source_fill(struct source *s, const struct ph_view *v, const struct chain_message *m,
                 bool copy)
{
    clear(s);
    s->view = *v;
    s->view.size = sizeof s->view;
    s->view.read = read_message;
    s->view.client_ip = text(s, v->client_ip);
    s->view.client_name = text(s, v->client_name);
    s->view.port = text(s, v->port);
    s->view.service = text(s, v->service);
    s->view.tls = text(s, v->tls);
    s->view.helo = text(s, v->helo);
    s->view.host = text(s, v->host);
    s->view.route = text(s, v->route);
    s->view.leads_to = text(s, v->leads_to);
    s->view.origin = text(s, v->origin);
    s->view.auth_user = text(s, v->auth_user);
    s->view.mail_from = text(s, v->mail_from);
    s->view.rcpt = text(s, v->rcpt);
    s->view.rcpts = texts(s, v->rcpts, v->n_rcpts);
    s->view.accounts = texts(s, v->accounts, v->n_accounts);
    s->view.head = "";
    s->view.head_size = 0;
    if (m)
        fill_message(s, m, copy);
}
