/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* From `listener` sections to ports. */
#include "appliance/app/serve.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOSTS_MAX = 8 };

static bool has_ipv6(void)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

/* NULL-terminated, every string on the heap. */
static int make_hosts(const struct config *c, const struct port_conf *pc, char **hosts,
                      struct err *err)
{
    struct str rest = str_from(pc->address), word;
    size_t n = 0;

    while (settings_list_next(&rest, &word)) {
        if (n == HOSTS_MAX)
            return ERR(err, ERR_PERM, "listener \"%s\": at most %d addresses", pc->name, HOSTS_MAX);
        hosts[n++] = str_dup_z(word);
    }
    if (n)
        return 0;
    if (c->main.inet != INET_IPV6)
        hosts[n++] = str_dup_z(STR("0.0.0.0"));
    if (c->main.inet == INET_IPV6 || (c->main.inet == INET_ANY && has_ipv6()))
        hosts[n++] = str_dup_z(STR("::"));
    return 0;
}

/* -PLUS: a client that can't do it after all can't log in, so it never comes by itself. */
static bool binds(const struct port_conf *pc)
{
    return pc->channel_binding == PORT_BINDING_YES ||
           (pc->channel_binding == PORT_BINDING_AUTO && pc->scram == DIRECTORY_SCRAM_ON);
}

static int make_port(const struct config *c, const struct port_conf *pc, struct appliance_port *p,
                     struct err *err)
{
    char **hosts = mem_alloc((HOSTS_MAX + 1) * sizeof *hosts);

    *p = (struct appliance_port){
        .name = pc->name,
        .service = pc->service == SERVICE_IMAP ? APPLIANCE_IMAP : APPLIANCE_SMTP,
        .role = pc->service == SERVICE_SUBMISSION ? SMTP_SUBMISSION : SMTP_RECEPTION,
        .implicit_tls = pc->tls == PORT_IMPLICIT,
        .no_starttls = pc->tls == PORT_NO_TLS,
        .logins = {.scram = pc->scram, .no_binding = !binds(pc)},
        .max_conns = (unsigned)pc->max_connections,
        .hosts = (const char *const *)hosts,
        .number = (uint16_t)pc->port};
    return make_hosts(c, pc, hosts, err);
}

int serve_make_ports(struct serve *s, struct err *err)
{
    struct appliance *a = &s->appliance;

    a->ports = mem_alloc(s->boot->n_ports * sizeof *a->ports);
    for (size_t i = 0; i < s->boot->n_ports; i++)
        if (s->boot->ports[i].enabled &&
            make_port(s->boot, &s->boot->ports[i], &a->ports[a->n_ports++], err))
            return -1;
    serve_read_proxies(s);
    return 0;
}

void serve_read_proxies(struct serve *s)
{
    for (size_t i = 0; i < s->appliance.n_ports; i++)
        for (size_t k = 0; k < s->current->n_ports; k++)
            if (strcmp(s->appliance.ports[i].name, s->current->ports[k].name) == 0)
                s->appliance.ports[i].proxies = &s->current->ports[k].proxies;
}

void serve_free_ports(struct serve *s)
{
    struct appliance *a = &s->appliance;

    for (size_t i = 0; i < a->n_ports; i++) {
        for (const char *const *h = a->ports[i].hosts; *h; h++)
            mem_free((void *)(uintptr_t)*h);
        mem_free((void *)(uintptr_t)a->ports[i].hosts);
    }
    mem_free(a->ports);
    a->ports = NULL;
    a->n_ports = 0;
}
