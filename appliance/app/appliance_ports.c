/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* appliance_ports.c - sockets that the appliance listens on, and whom their connections go to. */
#include "appliance/app/appliance_ports.h"
#include "appliance/app/control.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 20000, SUBMIT_MAX = 200 };

/* ---- Opened */

static int listen_one(struct appliance_port *p, const char *host, struct err *err)
{
    bool optional = host[0] == '?';
    struct listener *ln;

    if (p->n_listeners == ARRAY_LEN(p->listeners))
        return ERR(err, ERR_PERM, "at most %zu addresses to listen on", ARRAY_LEN(p->listeners));
    if (listener_open(host + optional, p->number, &ln, err)) {
        if (optional) {
            err_clear(err);
            return 0;
        }
        return err_context(err, "%s", p->name);
    }
    p->number = listener_port(ln);
    p->listeners[p->n_listeners++] = ln;
    return 0;
}

int appliance_listen_metrics(struct appliance *a, const char *host, uint16_t port, struct err *err)
{
    return listener_open(host, port, &a->metrics_listener, err) ? err_context(err, "metrics") : 0;
}

int appliance_listen(struct appliance *a, const char *const *hosts, struct err *err)
{
    const struct metrics_conf *metrics = &a->config->metrics;

    if (metrics->port &&
        appliance_listen_metrics(a, metrics->address, (uint16_t)metrics->port, err))
        return -1;
    for (size_t i = 0; i < a->n_ports; i++) {
        const char *const *of_port = a->ports[i].hosts ? a->ports[i].hosts : hosts;
        for (size_t h = 0; of_port[h]; h++)
            if (listen_one(&a->ports[i], of_port[h], err))
                return -1;
        a->ports[i].host = of_port[0];
    }
    return a->data ? appliance_listen_control(a, err) : 0;
}

int appliance_listen_control(struct appliance *a, struct err *err)
{
    return listener_open_unix(a->data->fd, CONTROL_SOCKET, &a->control_listener, err);
}

int appliance_listen_submit(struct appliance *a, const char *path, struct err *err)
{
    char *copy = str_dup_z(str_from(path)), *slash = strrchr(copy, '/');
    int rc, dirfd;

    *slash = '\0';
    dirfd = open(copy[0] ? copy : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        rc = ERR(err, ERR_PERM, "cannot open %s: %s", copy, strerror(errno));
    else
        rc = listener_open_unix(dirfd, slash + 1, &a->submit_listener, err);
    if (rc == 0 && fchmodat(dirfd, slash + 1, 0666, 0) != 0)
        rc = ERR(err, ERR_PERM, "cannot open %s to others: %s", path, strerror(errno));
    if (dirfd >= 0)
        close(dirfd);
    mem_free(copy);
    return rc;
}

/* ---- Served */

static int start_submit(struct appliance *a, struct err *err)
{
    struct listener_conf conf = {.name = "submit",
                                 .on_accept = smtp_on_accept,
                                 .ctx = &a->submit_port,
                                 .max_conns = SUBMIT_MAX};

    if (!a->submit_listener)
        return 0;
    a->submit_port = (struct smtp_port){
        .server = a->smtp, .role = SMTP_LOCAL, .no_starttls = true, .name = "submit"};
    return listener_start(a->submit_listener, a->loop, &conf, err);
}

static int start_port(struct appliance *a, struct appliance_port *p, struct err *err)
{
    struct listener_conf conf = {.name = p->name,
                                 .proxies = p->proxies,
                                 .implicit_tls = p->implicit_tls ? a->tls : NULL,
                                 .max_conns = p->max_conns ? p->max_conns : CONNECTIONS_MAX};

    p->smtp = (struct smtp_port){.server = a->smtp,
                                 .role = p->role,
                                 .no_starttls = p->no_starttls,
                                 .implicit_tls = p->implicit_tls,
                                 .logins = p->logins,
                                 .name = p->name};
    p->imap = (struct imap_port){.server = a->imap,
                                 .no_starttls = p->no_starttls,
                                 .implicit_tls = p->implicit_tls,
                                 .logins = p->logins,
                                 .name = p->name};
    conf.on_accept = p->service == APPLIANCE_SMTP ? smtp_on_accept : imap_on_accept;
    conf.admit = p->service == APPLIANCE_SMTP ? smtp_admit : imap_admit;
    conf.ctx = p->service == APPLIANCE_SMTP ? (void *)&p->smtp : (void *)&p->imap;
    for (size_t i = 0; i < p->n_listeners; i++)
        if (listener_start(p->listeners[i], a->loop, &conf, err))
            return err_context(err, "%s", p->name);
    return 0;
}

int appliance_ports_start(struct appliance *a, struct err *err)
{
    for (size_t i = 0; i < a->n_ports; i++)
        if (start_port(a, &a->ports[i], err))
            return -1;
    return start_submit(a, err);
}

void appliance_ports_set(struct appliance *a, struct tls_ctx *tls)
{
    for (size_t i = 0; i < a->n_ports; i++)
        for (size_t k = 0; k < a->ports[i].n_listeners; k++)
            listener_set(a->ports[i].listeners[k], a->ports[i].implicit_tls ? tls : NULL,
                         a->ports[i].proxies);
}

void appliance_ports_stop(struct appliance *a)
{
    for (size_t i = 0; i < a->n_ports; i++) {
        for (size_t k = 0; k < a->ports[i].n_listeners; k++)
            listener_stop(&a->ports[i].listeners[k]);
        a->ports[i].n_listeners = 0;
    }
    if (a->submit_listener)
        listener_stop(&a->submit_listener);
    if (a->control_listener)
        listener_stop(&a->control_listener);
}
