/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* SIGHUP: a new configuration and certificate while sessions go on. Files are read and keys
 * unpacked on lane misc; the loop only exchanges pointers. */
#include "appliance/app/sdnotify.h"
#include "appliance/app/serve.h"
#include "appliance/app/stages.h"
#include "appliance/base/log.h"
#include "filters/registry.h"
#include <stdio.h>

static const struct log_ctx log_reload = {.module = "app"};

struct reload {
    struct serve *serve;
    struct job job;
    struct config *config; /* what was read; NULL: it failed */
    struct tls_ctx *tls;
    struct buf errors;
    struct err err;
};

static bool has_word(const char *list, struct str wanted)
{
    struct str rest = str_from(list), word;

    while (settings_list_next(&rest, &word))
        if (str_eq(word, wanted))
            return true;
    return false;
}

/* Plug-ins are loaded at the start only: a file that names another one has sections and settings
 * that aren't known here. */
static void tell_plugins(struct reload *r)
{
    const struct filters_conf *boot = config_extra(r->serve->boot, "filters");
    const char *path = r->serve->config_path;
    struct str rest, word;
    struct buf names;

    buf_init(&names, 1 << 16);
    conf_peek(path, "filters", "plugins", &names);
    rest = buf_str(&names);
    while (settings_list_next(&rest, &word))
        if (!boot || !has_word(boot->plugins, word))
            buf_printf(&r->errors,
                       "%s: filters.plugins: " STR_FMT " is new: that needs a restart, until then "
                       "the running settings stay\n",
                       path, STR_ARG(word));
    buf_fini(&names);
}

static void read_all(struct job *j, void *worker)
{
    struct reload *r = CONTAINER_OF(j, struct reload, job);

    (void)worker;
    if (config_load(r->serve->config_path, &r->config, &r->errors, &r->err) == 0 &&
        serve_check(r->config, &r->err) == 0 &&
        keys_load(r->config, &r->serve->helper, &r->tls, &r->err) == 0)
        return;
    config_unref(&r->config);
    if (r->errors.n)
        tell_plugins(r);
}

/* ---- what waits for a restart */
static void value_of(const struct settings_section *s, const struct ph_setting *t,
                     const void *config, struct buf *out)
{
    struct ph_setting one[2] = {*t, PH_SETTING_END};
    struct settings_section alone = {.name = "", .table = one, .offset = s->offset};

    buf_clear(out);
    settings_show(&alone, config, out);
}

static void tell(const char *section, const char *title, const char *setting)
{
    char name[200];

    snprintf(name, sizeof name, title ? "%s \"%s\"" : "%s", section, title);
    log_warn(&log_reload, "needs_restart", L_Z("section", name), L_Z("setting", setting));
}

/* title NULL: a section without. */
static void compare(const struct settings_section *s, const char *title, const void *before,
                    const void *after)
{
    struct buf a, b;

    buf_init(&a, 1 << 16);
    buf_init(&b, 1 << 16);
    for (const struct ph_setting *t = s->table; t->name; t++) {
        if (t->flags & PH_RELOAD || t->type == PH_SECRET)
            continue;
        value_of(s, t, before, &a);
        value_of(s, t, after, &b);
        if (!str_eq(buf_str(&a), buf_str(&b)))
            tell(s->name, title, t->name);
    }
    buf_fini(&a);
    buf_fini(&b);
}

static const struct port_conf *port_named(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_ports; i++)
        if (strcmp(c->ports[i].name, name) == 0)
            return &c->ports[i];
    return NULL;
}

static void compare_ports(const struct config *before, const struct config *after)
{
    const struct settings_section *s = &config_titled[CONFIG_LISTENER].section;

    for (size_t i = 0; i < after->n_ports; i++) {
        const struct port_conf *old = port_named(before, after->ports[i].name);
        if (old)
            compare(s, old->name, old, &after->ports[i]);
        else
            tell(s->name, after->ports[i].name, "it is new");
    }
    for (size_t i = 0; i < before->n_ports; i++)
        if (!port_named(after, before->ports[i].name))
            tell(s->name, before->ports[i].name, "it is gone");
}

static void tell_what_waits(const struct config *before, const struct config *after)
{
    const struct settings_section *lists[] = {config_own_sections, config_sections};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (const struct settings_section *s = lists[i]; s->name; s++)
            compare(s, NULL, before, after);
    const struct settings_section *added;
    void *old, *fresh;
    for (size_t i = 0; (added = config_extra_section(i, &old, before)); i++)
        if (config_extra_section(i, &fresh, after))
            compare(added, NULL, old, fresh);
    compare_ports(before, after);
}

/* A port with TLS needs a certificate for as long as it is open. */
static bool tls_is_missing(const struct reload *r)
{
    return !r->tls && r->serve->appliance.tls;
}

/* ---- the exchange */
static int take_over(struct reload *r)
{
    struct serve *s = r->serve;
    struct config *old = s->current;
    struct tls_ctx *old_tls = s->appliance.tls;

    if (stages_reload(s->appliance.filters, r->config, &r->config->snapshot, &r->err))
        return -1;
    tell_what_waits(s->boot, r->config);
    s->current = r->config;
    r->config = NULL;
    s->appliance.tls = r->tls;
    r->tls = NULL;
    s->appliance.drain_ms = s->current->main.drain;
    serve_read_proxies(s);
    appliance_reload(&s->appliance, s->current, &s->current->snapshot, s->appliance.tls);
    serve_set_log(s->current);
    config_unref(&old);
    tls_ctx_unref(&old_tls);
    log_info(&log_reload, "reloaded", L_Z("file", s->config_path));
    return 0;
}

static void complain(const struct reload *r)
{
    struct str rest = buf_str(&r->errors), line;

    while (rest.n && str_cut(rest, '\n', &line, &rest))
        log_error(&log_reload, "reload_failed", L_STR("why", line));
    if (!r->errors.n)
        log_error(&log_reload, "reload_failed", L_Z("why", r->err.text));
}

static void on_read(struct job *j)
{
    struct reload *r = CONTAINER_OF(j, struct reload, job);
    struct serve *s = r->serve;

    if (r->config && tls_is_missing(r)) {
        err_set(&r->err, ERR_PERM, ERR_WHY_OTHER,
                "listeners with TLS are open, so there must be a certificate");
        config_unref(&r->config);
    }
    s->reload = NULL;
    if (s->appliance.stopping || !s->appliance.smtp) {
        log_info(&log_reload, "reload_dropped");
    } else {
        if (!r->config || take_over(r))
            complain(r);
        sdnotify_ready();
    }
    config_unref(&r->config);
    tls_ctx_unref(&r->tls);
    buf_fini(&r->errors);
    mem_free(r);
    if (s->reload_again && !s->appliance.stopping)
        serve_reload(s);
}

void serve_reload(void *ctx)
{
    struct serve *s = ctx;

    s->reload_again = s->reload != NULL;
    if (s->reload)
        return;
    s->reload = MEM_NEW(struct reload);
    s->reload->serve = s;
    s->reload->job = (struct job){.run = read_all, .done = on_read};
    buf_init(&s->reload->errors, 1 << 16);
    sdnotify_reloading();
    if (lane_submit(s->appliance.misc, &s->reload->job) == 0)
        return;
    log_error(&log_reload, "reload_failed", L_Z("why", "too many commands are waiting"));
    mem_free(s->reload);
    s->reload = NULL;
    sdnotify_ready();
}
