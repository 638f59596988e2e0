/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Sections with a title: listener, route, program. */
#include "appliance/app/config.h"
#include <arpa/inet.h>

static int check_addresses(const struct port_conf *p, struct err *err)
{
    struct str rest = str_from(p->address), word;
    unsigned char any[16];
    char z[INET6_ADDRSTRLEN];

    while (settings_list_next(&rest, &word)) {
        struct str fits = str_take(word, sizeof z - 1);
        memcpy(z, fits.p, fits.n);
        z[fits.n] = '\0';
        if (inet_pton(AF_INET, z, any) != 1 && inet_pton(AF_INET6, z, any) != 1)
            return ERR(err, ERR_PROTO, "address: '%s' is not an IP address", z);
    }
    return 0;
}

static int check_port(void *one, struct err *err)
{
    struct port_conf *p = one;

    if (!p->enabled)
        return 0;
    if (p->port < 0)
        return ERR(err, ERR_PROTO, "port is not set");
    if (check_addresses(p, err))
        return -1;
    if (cidr_set_parse(str_from(p->proxy_from), &p->proxies, err))
        return err_context(err, "proxy_from");
    return 0;
}

static void init_port(void *one)
{
    ((struct port_conf *)one)->port = -1; /* has to be said */
}

static void fini_port(void *one)
{
    struct port_conf *p = one;

    settings_free(port_settings, p);
    cidr_set_free(&p->proxies);
    mem_free(p->name);
}

static int check_route(void *one, struct err *err)
{
    return route_check(one, err);
}

static void fini_route(void *one)
{
    route_fini(one);
}

static int check_program(void *one, struct err *err)
{
    return exec_program_check(one, err);
}

static void fini_program(void *one)
{
    exec_program_fini(one);
}

const struct config_titled config_titled[CONFIG_TITLED] = {
    [CONFIG_LISTENER] =
        {.section = {.name = "listener",
                     .doc =
                         "A port: listener \"name\" { ... }, as many as wanted. Five are there "
                         "from the start and only need what shall differ: smtp (25), submissions "
                         "(465, TLS), submission (587), imap (143), imaps (993, TLS).",
                     .table = port_settings},
         .size = sizeof(struct port_conf),
         .name = offsetof(struct port_conf, name),
         .list = offsetof(struct config, ports),
         .count = offsetof(struct config, n_ports),
         .max = CONFIG_PORTS_MAX,
         .own = true,
         .init = init_port,
         .fini = fini_port,
         .check = check_port},
    [CONFIG_ROUTE] =
        {.section = {.name = "route",
                     .doc = "Where mail for some domains or of some senders goes: route \"name\" { "
                            "... }, as many as wanted; the first that fits counts. What none takes "
                            "goes to relay.host, or to each domain's own mail hosts.",
                     .table = route_settings},
         .size = sizeof(struct route_conf),
         .name = offsetof(struct route_conf, name),
         .list = offsetof(struct config, relay.routes),
         .count = offsetof(struct config, relay.n_routes),
         .max = CONFIG_ROUTES_MAX,
         .fini = fini_route,
         .check = check_route},
    [CONFIG_PROGRAM] =
        {.section = {.name = "program",
                     .doc = "A program that judges messages: program \"name\" { ... }, as many as "
                            "wanted; they are run in this order by the stage exec, which tells "
                            "what they get.",
                     .table = exec_program_settings},
         .size = sizeof(struct exec_program),
         .name = offsetof(struct exec_program, name),
         .list = offsetof(struct config, programs),
         .count = offsetof(struct config, n_programs),
         .max = EXEC_PROGRAMS_MAX,
         .fini = fini_program,
         .check = check_program},
};

static void **list_of(const struct config_titled *t, const struct config *c)
{
    return (void **)((uintptr_t)c + t->list);
}

static size_t *count_of(const struct config_titled *t, const struct config *c)
{
    return (size_t *)((uintptr_t)c + t->count);
}

static char **name_of(const struct config_titled *t, const void *one)
{
    return (char **)((uintptr_t)one + t->name);
}

size_t config_titled_count(const struct config_titled *t, const struct config *c)
{
    return *count_of(t, c);
}

void *config_titled_at(const struct config_titled *t, const struct config *c, size_t i)
{
    return (char *)*list_of(t, c) + i * t->size;
}

const char *config_titled_name(const struct config_titled *t, const void *one)
{
    return *name_of(t, one);
}

void *config_titled_get(const struct config_titled *t, struct config *c, const char *title,
                        struct err *err)
{
    size_t n = *count_of(t, c);
    void **list = list_of(t, c);

    for (size_t i = 0; i < n; i++)
        if (strcmp(config_titled_name(t, config_titled_at(t, c, i)), title) == 0)
            return config_titled_at(t, c, i);
    if (n == t->max) {
        err_set(err, ERR_PROTO, ERR_WHY_LIMIT, "more than %zu %ss", t->max, t->section.name);
        return NULL;
    }
    *list = mem_realloc(*list, (n + 1) * t->size);
    void *one = memset(config_titled_at(t, c, n), 0, t->size);
    *name_of(t, one) = str_dup_z(str_from(title));
    *count_of(t, c) = n + 1;
    if (settings_defaults(t->section.table, one, err))
        return NULL;
    if (t->init)
        t->init(one);
    return one;
}

void config_titled_free(struct config *c)
{
    for (size_t k = 0; k < CONFIG_TITLED; k++) {
        const struct config_titled *t = &config_titled[k];
        for (size_t i = 0; i < *count_of(t, c); i++)
            t->fini(config_titled_at(t, c, i));
        mem_free(*list_of(t, c));
        *list_of(t, c) = NULL;
        *count_of(t, c) = 0;
    }
}
