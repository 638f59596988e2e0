/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Making and showing a configuration. */
#include "appliance/app/config.h"

#define SECTION(room, text)                                                                        \
    {                                                                                              \
        .name = #room, .doc = text, .table = room##_settings,                                      \
        .offset = offsetof(struct config, room)                                                    \
    }

const struct settings_section config_own_sections[] = {
    SECTION(main, "The program as a whole."),
    SECTION(tls, "The certificate."),
    SECTION(log, "What is written to standard error, and how."),
    SECTION(metrics, "Figures for Prometheus, and whether the server is well, over HTTP."),
    {.name = NULL},
};
const struct settings_section config_sections[] = {
    SECTION(smtp, "Receiving and submitting mail."),
    SECTION(imap, "Reading mail."),
    SECTION(database,
            "A database server for mail and accounts, instead of files in the data folder."),
    SECTION(store, "Where messages are kept."),
    SECTION(directory, "Domains, users, aliases and logging in."),
    SECTION(oauth, "Logins with an access token, OAUTHBEARER and XOAUTH2."),
    SECTION(
        guard,
        "Who may connect and try to log in, and who is banned. The stage `limits` says how much "
        "mail per time."),
    {.name = "dns",
     .doc = "Asking DNS: for mail to other hosts, and for the filters.",
     .table = resolver_settings,
     .offset = offsetof(struct config, dns)},
    SECTION(relay, "Sending mail to other hosts."),
    SECTION(reports, "Reports to other domains about mail of a day."),
    {.name = NULL},
};

/* ---- sections added at run time */
static struct extra {
    struct settings_section section;
    size_t size;
} extras[CONFIG_EXTRA_MAX];
static size_t n_extras;

void config_add_section(const char *name, const char *doc, const struct ph_setting *table,
                        size_t conf_size)
{
    CHECK(n_extras < CONFIG_EXTRA_MAX);
    extras[n_extras++] =
        (struct extra){{.name = name, .doc = doc, .table = table}, conf_size ? conf_size : 1};
}

const struct settings_section *config_extra_section(size_t i, void **conf_out,
                                                    const struct config *c)
{
    if (i >= n_extras)
        return NULL;
    *conf_out = c->extra[i];
    return &extras[i].section;
}

const void *config_extra(const struct config *c, const char *name)
{
    for (size_t i = 0; i < n_extras; i++)
        if (strcmp(extras[i].section.name, name) == 0)
            return c->extra[i];
    return NULL;
}

/* ---- all sections with a struct, in order: own, rooms', added */
const struct settings_section *config_section_at(struct config *c, size_t i, void **conf_out)
{
    const struct settings_section *lists[] = {config_own_sections, config_sections};

    for (size_t k = 0; k < ARRAY_LEN(lists); k++)
        for (const struct settings_section *s = lists[k]; s->name; s++)
            if (i-- == 0) {
                *conf_out = (char *)c + s->offset;
                return s;
            }
    return config_extra_section(i, conf_out, c);
}

int config_defaults(struct config *c, struct err *err)
{
    const struct settings_section *s;
    void *conf;

    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < n_extras; i++)
        c->extra[i] = mem_alloc(extras[i].size);
    for (size_t i = 0; (s = config_section_at(c, i, &conf)); i++)
        if (settings_defaults(s->table, conf, err))
            return err_context(err, "section %s", s->name);
    return 0;
}

/* "program.title.name=value"; left is what stands before the '='. 1: it isn't one. */
static int assign_titled(struct config *c, struct str left, struct str value, struct err *err)
{
    const struct config_titled *t = &config_titled[CONFIG_PROGRAM];
    struct str section, title;
    size_t dot;
    int rc;

    if (!str_cut(str_trim(left), '.', &section, &title) || !str_rchr(title, '.', &dot) ||
        !str_eq(section, str_from(t->section.name)))
        return 1;
    char *name = str_dup_z(str_take(title, dot));
    void *one = config_titled_get(t, c, name, err);
    rc = one ? settings_set(t->section.table, one, str_skip(title, dot + 1), str_trim(value), err)
             : -1;
    if (rc)
        rc = err_context(err, "%s \"%s\"", t->section.name, name);
    mem_free(name);
    return rc;
}

/* "section.name=value" */
int config_assign(struct config *c, const char *assignment, struct err *err)
{
    struct str left, value, section, name;
    int rc = 1;

    if (str_cut(str_from(assignment), '=', &left, &value))
        rc = assign_titled(c, left, value, err);
    if (rc <= 0)
        return rc;
    if (str_cut(str_from(assignment), '=', &left, &value) && str_cut(left, '.', &section, &name))
        for (size_t i = 0; i < n_extras; i++)
            if (str_eq(str_trim(section), str_from(extras[i].section.name)))
                return settings_set(extras[i].section.table, c->extra[i], str_trim(name),
                                    str_trim(value), err)
                           ? err_context(err, "%s", extras[i].section.name)
                           : 0;
    return settings_assign(config_sections, c, str_from(assignment), err);
}

void config_free(struct config *c)
{
    const struct settings_section *s;
    void *conf;

    for (size_t i = 0; (s = config_section_at(c, i, &conf)); i++)
        if (conf)
            settings_free(s->table, conf);
    for (size_t i = 0; i < n_extras; i++)
        mem_free(c->extra[i]);
    config_titled_free(c);
    database_fini(&c->database);
    relay_fini(&c->relay);
    memset(c, 0, sizeof *c);
}

/* ---- showing it */
static void show_titled(const struct config_titled *t, const struct config *c, struct buf *out)
{
    struct buf body;

    for (size_t i = 0; i < config_titled_count(t, c); i++) {
        const void *one = config_titled_at(t, c, i);
        buf_init(&body, 1 << 16);
        settings_show(&t->section, one, &body);
        buf_printf(out, "%s \"%s\"%s", t->section.name, config_titled_name(t, one),
                   buf_z(&body) + strlen(t->section.name));
        buf_fini(&body);
    }
}

void config_show(const struct config *c, bool all, struct buf *out)
{
    const struct settings_section *s;
    void *conf;

    for (s = config_own_sections; all && s->name; s++)
        settings_show(s, c, out);
    for (size_t i = 0; all && i < CONFIG_TITLED; i++)
        if (config_titled[i].own)
            show_titled(&config_titled[i], c, out);
    for (s = config_sections; s->name; s++)
        settings_show(s, c, out);
    for (size_t i = 0; i < CONFIG_TITLED; i++)
        if (!config_titled[i].own)
            show_titled(&config_titled[i], c, out);
    for (size_t i = 0; (s = config_extra_section(i, &conf, c)); i++)
        settings_show(s, conf, out);
}

int config_help(const char *section, struct buf *out, struct err *err)
{
    struct config *none = MEM_NEW(struct config);
    const struct settings_section *s;
    const char *names[32 + CONFIG_EXTRA_MAX];
    size_t n = 0, found = 0;
    void *conf;

    for (size_t i = 0; (s = config_section_at(none, i, &conf)); i++) {
        names[n++] = s->name;
        if (!section || strcmp(section, s->name) == 0) {
            settings_help(s, out);
            found++;
        }
    }
    mem_free(none);
    for (size_t i = 0; i < CONFIG_TITLED; i++) {
        names[n++] = config_titled[i].section.name;
        if (!section || strcmp(section, config_titled[i].section.name) == 0) {
            settings_help(&config_titled[i].section, out);
            found++;
        }
    }
    names[n] = NULL;
    if (found)
        return 0;
    const char *near = settings_nearest(str_from(section), names);
    return ERR(err, ERR_PROTO, "unknown section '%.60s'%s%s%s", section,
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}
