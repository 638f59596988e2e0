/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Making, reading and showing a configuration. */
#include "appliance/app/config.h"
#include "appliance/base/text.h"
#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

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
    SECTION(store, "Where messages are kept."),
    SECTION(directory, "Domains, users, aliases and logging in."),
    SECTION(
        guard,
        "Who may connect and try to log in, and who is banned. The stage `limits` says how much "
        "mail per time."),
    {.name = NULL},
};
const struct settings_section config_port_section = {
    .name = "listener",
    .doc =
        "A port: listener \"name\" { ... }, as many as wanted. Five are there from the start and "
        "only need what shall differ: smtp (25), submissions (465, TLS), submission (587), imap "
        "(143), imaps (993, TLS).",
    .table = port_settings,
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
static const struct settings_section *section_at(struct config *c, size_t i, void **conf_out)
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
    for (size_t i = 0; (s = section_at(c, i, &conf)); i++)
        if (settings_defaults(s->table, conf, err))
            return err_context(err, "section %s", s->name);
    return 0;
}

/* "section.name=value" */
int config_assign(struct config *c, const char *assignment, struct err *err)
{
    struct str left, value, section, name;

    if (str_cut(str_from(assignment), '=', &left, &value) && str_cut(left, '.', &section, &name))
        for (size_t i = 0; i < n_extras; i++)
            if (str_eq(str_trim(section), str_from(extras[i].section.name)))
                return settings_set(extras[i].section.table, c->extra[i], str_trim(name),
                                    str_trim(value), err)
                           ? err_context(err, "%s", extras[i].section.name)
                           : 0;
    return settings_assign(config_sections, c, str_from(assignment), err);
}

static void free_port(struct port_conf *p)
{
    settings_free(port_settings, p);
    cidr_set_free(&p->proxies);
    mem_free(p->name);
}

void config_free(struct config *c)
{
    const struct settings_section *s;
    void *conf;

    for (size_t i = 0; (s = section_at(c, i, &conf)); i++)
        if (conf)
            settings_free(s->table, conf);
    for (size_t i = 0; i < n_extras; i++)
        mem_free(c->extra[i]);
    for (size_t i = 0; i < c->n_ports; i++)
        free_port(&c->ports[i]);
    mem_free(c->ports);
    memset(c, 0, sizeof *c);
}

/* ---- reading a file */
static struct port_conf *port_named(struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_ports; i++)
        if (strcmp(c->ports[i].name, name) == 0)
            return &c->ports[i];
    return NULL;
}

static int add_port(struct config *c, const char *name, struct err *err)
{
    struct port_conf *p = &c->ports[c->n_ports];

    if (c->n_ports == CONFIG_PORTS_MAX)
        return ERR(err, ERR_PROTO, "more than %d listeners", CONFIG_PORTS_MAX);
    memset(p, 0, sizeof *p);
    if (settings_defaults(port_settings, p, err))
        return -1;
    p->name = str_dup_z(str_from(name));
    p->port = -1; /* has to be said */
    c->n_ports++;
    return 0;
}

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

    c->ports = mem_alloc(CONFIG_PORTS_MAX * sizeof *c->ports);
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        if (add_port(c, usual[i].name, err))
            return -1;
        c->ports[i].service = usual[i].service;
        c->ports[i].tls = usual[i].tls;
        c->ports[i].port = usual[i].port;
    }
    return 0;
}

static const struct ph_setting *setting_named(const struct ph_setting *t, const char *name)
{
    for (; t->name; t++)
        if (strcmp(t->name, name) == 0)
            return t;
    return NULL;
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

static int set_port(struct config *c, const struct conf_item *item, struct err *err)
{
    if (!port_named(c, item->title) && add_port(c, item->title, err))
        return -1;
    if (item->name && settings_set(port_settings, port_named(c, item->title), str_from(item->name),
                                   item->value, err))
        return err_context(err, "listener \"%s\"", item->title);
    return 0;
}

static int on_item(void *ctx, const struct conf_item *item, struct err *err)
{
    const struct settings_section *s;
    struct config *c = ctx;
    void *conf;

    if (item->title)
        return set_port(c, item, err);
    if (!item->name)
        return 0;
    for (size_t i = 0; (s = section_at(c, i, &conf)); i++) {
        if (strcmp(s->name, item->section) != 0)
            continue;
        const struct ph_setting *t = setting_named(s->table, item->name);
        if (t && t->type == PH_SECRET && check_secret(item, err))
            return -1;
        return settings_set(s->table, conf, str_from(item->name), item->value, err)
                   ? err_context(err, "%s", s->name)
                   : 0;
    }
    return ERR(err, ERR_BUG, "no such section");
}

/* ---- what one table alone can't tell */
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

static int check_port(struct port_conf *p, struct err *err)
{
    if (p->port < 0)
        return ERR(err, ERR_PROTO, "port is not set");
    if (check_addresses(p, err))
        return -1;
    if (cidr_set_parse(str_from(p->proxy_from), &p->proxies, err))
        return err_context(err, "proxy_from");
    return 0;
}

static bool printable(const char *z)
{
    for (; *z; z++)
        if (*z < ' ' || *z > '~')
            return false;
    return true;
}

static bool is_domain(const char *z)
{
    struct buf out;

    buf_init(&out, 256);
    bool yes = text_domain(str_from(z), &out) == 0;
    buf_fini(&out);
    return yes;
}

static int check_domain(const char *value, const char *name, struct err *err)
{
    if (value[0] && !is_domain(value))
        return ERR(err, ERR_PROTO, "%s: '%.60s' is not a domain name", name, value);
    return 0;
}

static int check_postmaster(const char *value, struct err *err)
{
    const char *at = strrchr(value, '@');

    if (value[0] && (!at || at == value || !is_domain(at + 1)))
        return ERR(err, ERR_PROTO, "main.postmaster: '%.60s' is not an address", value);
    return 0;
}

static void note(struct buf *errors, const char *path, const struct err *one, struct err *err)
{
    if (!errors->n)
        *err = *one;
    buf_printf(errors, "%s: %s\n", path, one->text);
}

/* Rules over several settings, and what rooms take over from main. */
static void finish(struct config *c, const char *path, struct buf *errors, struct err *err)
{
    struct err one;
    const struct settings_section *s;
    void *conf;

    for (size_t i = 0; (s = section_at(c, i, &conf)); i++)
        if (settings_check(s->table, conf, &one)) {
            err_context(&one, "%s", s->name);
            note(errors, path, &one, err);
        }
    for (size_t i = 0; i < c->n_ports; i++)
        if (c->ports[i].enabled && check_port(&c->ports[i], &one)) {
            err_context(&one, "listener \"%s\"", c->ports[i].name);
            note(errors, path, &one, err);
        }
    struct cidr_set trusted;
    if (cidr_set_parse(str_from(c->guard.trusted), &trusted, &one)) {
        err_context(&one, "guard.trusted");
        note(errors, path, &one, err);
    } else {
        cidr_set_free(&trusted);
    }
    if (check_domain(c->main.origin, "main.origin", &one) ||
        check_postmaster(c->main.postmaster, &one))
        note(errors, path, &one, err);
    if (!printable(c->smtp.banner)) {
        err_set(&one, ERR_PROTO, ERR_WHY_OTHER, "smtp.banner: only printable ASCII can be sent");
        note(errors, path, &one, err);
    }
    c->directory.origin = c->main.origin;
    c->directory.postmaster = c->main.postmaster;
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

    for (; (s = section_at(c, n, &conf)); n++) {
        CHECK(n + 2 < MOST);
        out[n] = (struct conf_section){.name = s->name, .settings = s->table};
    }
    out[n] = (struct conf_section){
        .name = config_port_section.name, .settings = port_settings, .titled = true};
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
            finish(c, path, errors, err);
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

/* ---- showing it */
static void show_ports(const struct config *c, struct buf *out)
{
    struct buf body;

    for (size_t i = 0; i < c->n_ports; i++) {
        buf_init(&body, 1 << 16);
        settings_show(&config_port_section, &c->ports[i], &body);
        buf_printf(out, "listener \"%s\"%s", c->ports[i].name,
                   buf_z(&body) + strlen(config_port_section.name));
        buf_fini(&body);
    }
}

void config_show(const struct config *c, bool all, struct buf *out)
{
    const struct settings_section *s;
    void *conf;

    for (s = config_own_sections; all && s->name; s++)
        settings_show(s, c, out);
    if (all)
        show_ports(c, out);
    for (s = config_sections; s->name; s++)
        settings_show(s, c, out);
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

    for (size_t i = 0; (s = section_at(none, i, &conf)); i++) {
        names[n++] = s->name;
        if (!section || strcmp(section, s->name) == 0) {
            settings_help(s, out);
            found++;
        }
    }
    mem_free(none);
    names[n++] = config_port_section.name;
    names[n] = NULL;
    if (!section || strcmp(section, config_port_section.name) == 0) {
        settings_help(&config_port_section, out);
        found++;
    }
    if (found)
        return 0;
    const char *near = settings_nearest(str_from(section), names);
    return ERR(err, ERR_PROTO, "unknown section '%.60s'%s%s%s", section,
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}
