/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Reading a configuration from its file. */
#include "appliance/app/config.h"
#include <errno.h>
#include <sys/stat.h>

static int add_usual_ports(struct config *c, struct err *err)
{
    static const struct {
        const char *name;
        int service, tls, port;
    } usual[] = {{"smtp", SERVICE_SMTP, PORT_STARTTLS, 25},
                 {"submissions", SERVICE_SUBMISSION, PORT_IMPLICIT, 465},
                 {"submission", SERVICE_SUBMISSION, PORT_STARTTLS, 587},
                 {"imap", SERVICE_IMAP, PORT_STARTTLS, 143},
                 {"imaps", SERVICE_IMAP, PORT_IMPLICIT, 993}};

    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        struct port_conf *p =
            config_titled_get(&config_titled[CONFIG_LISTENER], c, usual[i].name, err);
        if (!p)
            return -1;
        p->service = usual[i].service;
        p->tls = usual[i].tls;
        p->port = usual[i].port;
    }
    return 0;
}

static bool is_secret(const struct ph_setting *t, const char *name)
{
    for (; t->name; t++)
        if (strcmp(t->name, name) == 0)
            return t->type == PH_SECRET;
    return false;
}

/* A secret is in a file of its own or in the configuration: neither is for everybody to read. */
static int check_secret(const struct conf_item *item, struct err *err)
{
    struct str value = item->value;
    char *path = NULL;
    struct stat st;
    int rc = 0;

    if (!value.n || str_starts(value, STR("env:")))
        return 0;
    if (str_starts(value, STR("file:")))
        path = str_dup_z(str_skip(value, 5));
    const char *file = path ? path : item->file;
    if (stat(file, &st) == 0 && st.st_mode & S_IROTH)
        rc = ERR(err, ERR_PERM, "%s.%s: everybody can read this secret; run: chmod o= %s",
                 item->section, item->name, file);
    mem_free(path);
    return rc;
}

static int set_one(const struct settings_section *s, void *conf, const struct conf_item *item,
                   struct err *err)
{
    if (is_secret(s->table, item->name) && check_secret(item, err))
        return -1;
    return settings_set(s->table, conf, str_from(item->name), item->value, err);
}

static int set_titled(struct config *c, const struct conf_item *item, struct err *err)
{
    for (size_t i = 0; i < CONFIG_TITLED; i++) {
        const struct config_titled *t = &config_titled[i];
        if (strcmp(t->section.name, item->section) != 0)
            continue;
        void *one = config_titled_get(t, c, item->title, err);
        if (!one)
            return -1;
        return item->name && set_one(&t->section, one, item, err)
                   ? err_context(err, "%s \"%s\"", t->section.name, item->title)
                   : 0;
    }
    return ERR(err, ERR_BUG, "no such section");
}

static int on_item(void *ctx, const struct conf_item *item, struct err *err)
{
    const struct settings_section *s;
    struct config *c = ctx;
    void *conf;

    if (item->title)
        return set_titled(c, item, err);
    if (!item->name)
        return 0;
    for (size_t i = 0; (s = config_section_at(c, i, &conf)); i++)
        if (strcmp(s->name, item->section) == 0)
            return set_one(s, conf, item, err) ? err_context(err, "%s", s->name) : 0;
    return ERR(err, ERR_BUG, "no such section");
}

static void inherit_hostname(struct config *c)
{
    const char **names[] = {&c->smtp.hostname, &c->imap.hostname};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!(*names[i])[0] && c->main.hostname[0]) {
            char *old = (char *)(uintptr_t)*names[i];
            *names[i] = str_dup_z(str_from(c->main.hostname));
            mem_free(old);
        }
}

static void snapshot_free(struct snapshot *s)
{
    struct config *c = CONTAINER_OF(s, struct config, snapshot);

    config_free(c);
    mem_free(c);
}

static struct conf_section *file_sections(struct config *c)
{
    enum { MOST = 16 + CONFIG_EXTRA_MAX };
    struct conf_section *out = mem_alloc(MOST * sizeof *out);
    const struct settings_section *s;
    size_t n = 0;
    void *conf;

    for (; (s = config_section_at(c, n, &conf)); n++) {
        CHECK(n + CONFIG_TITLED + 1 < MOST);
        out[n] = (struct conf_section){.name = s->name, .settings = s->table};
    }
    for (size_t i = 0; i < CONFIG_TITLED; i++)
        out[n++] = (struct conf_section){.name = config_titled[i].section.name,
                                         .settings = config_titled[i].section.table,
                                         .titled = true};
    return out;
}

int config_load(const char *path, struct config **out, struct buf *errors, struct err *err)
{
    struct config *c = MEM_NEW(struct config);
    size_t before = errors->n;

    if (config_defaults(c, err) || add_usual_ports(c, err)) {
        buf_printf(errors, "%s\n", err->text);
    } else {
        struct conf_section *sections = file_sections(c);
        if (conf_read(path, sections, on_item, c, errors, err) == 0)
            config_settle(c, path, errors, err);
        mem_free(sections);
    }
    if (errors->n > before) {
        config_free(c);
        mem_free(c);
        return -1;
    }
    inherit_hostname(c);
    c->snapshot = (struct snapshot){.refs = 1, .on_free = snapshot_free};
    *out = c;
    return 0;
}

void config_unref(struct config **c)
{
    struct snapshot *s = *c ? &(*c)->snapshot : NULL;

    *c = NULL;
    snapshot_unref(&s);
}
