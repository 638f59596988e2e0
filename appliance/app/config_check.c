/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What one table alone can't tell. */
#include "appliance/app/stages.h"
#include "appliance/base/text.h"
#include "filters/alias.h"
#include "filters/exec.h"
#include "filters/registry.h"

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

/* Whatever writes lines names itself by one of these (struct log_ctx). */
static const char *const log_modules[] = {
    "app",  "control", "database", "directory", "dns", "filters", "guard", "helper", "http",
    "imap", "import",  "io",       "monitor",   "pam", "runner",  "smtp",  "store",  NULL};

static int check_debug(const char *modules, struct err *err)
{
    struct str rest = str_from(modules), word;
    struct buf known;
    int rc = 0;

    buf_init(&known, 1024);
    for (size_t i = 0; log_modules[i]; i++)
        buf_printf(&known, "%s%s", i ? ", " : "", log_modules[i]);
    while (rc == 0 && settings_list_next(&rest, &word)) {
        size_t i = 0;
        while (log_modules[i] && !str_eq(word, str_from(log_modules[i])))
            i++;
        if (!log_modules[i])
            rc = ERR(err, ERR_PROTO, "log.debug: '%.*s' is no module; there are %s",
                     (int)(word.n < 40 ? word.n : 40), word.p, buf_z(&known));
    }
    buf_fini(&known);
    return rc;
}

static void note(struct buf *errors, const char *path, const struct err *one, struct err *err)
{
    if (!errors->n)
        *err = *one;
    buf_printf(errors, "%s: %s\n", path, one->text);
}

static int inet_of(const struct config *c)
{
    return c->main.inet == INET_IPV4 ? 4 : c->main.inet == INET_IPV6 ? 6 : 0;
}

static void settle_titled(const struct config_titled *t, struct config *c, const char *path,
                          struct buf *errors, struct err *err)
{
    struct err one;

    for (size_t i = 0; i < config_titled_count(t, c); i++) {
        void *conf = config_titled_at(t, c, i);
        if (settings_check(t->section.table, conf, &one) || t->check(conf, &one)) {
            err_context(&one, "%s \"%s\"", t->section.name, config_titled_name(t, conf));
            note(errors, path, &one, err);
        }
    }
}

/* The stage gets them with its own settings. */
static void hand_over_programs(struct config *c)
{
    const void *section = config_extra(c, "exec");

    if (section) {
        struct exec_conf *conf = (struct exec_conf *)(uintptr_t)filters_section_own(section);
        conf->programs = c->programs;
        conf->n_programs = c->n_programs;
    }
}

/* Whoever shares a database shares the rules for that: another node may come at any time. */
static void settle_database(struct config *c, const char *path, struct buf *errors, struct err *err)
{
    const struct sql_server *server;
    struct err one;

    if (database_settle(&c->database, &server, &one)) /* its texts begin with the setting */
        note(errors, path, &one, err);
    c->store.server = c->directory.database = server;
    c->store.shared = server != NULL;
}

/* What anything here takes in: the store keeps room for two of it. */
static uint64_t largest_message(const struct config *c)
{
    return c->smtp.message_limit > c->imap.append_limit ? c->smtp.message_limit
                                                        : c->imap.append_limit;
}

bool config_settle(struct config *c, const char *path, struct buf *errors, struct err *err)
{
    struct err one;
    size_t before = errors->n;
    const struct settings_section *s;
    void *conf;

    for (size_t i = 0; (s = config_section_at(c, i, &conf)); i++)
        if (settings_check(s->table, conf, &one)) {
            err_context(&one, "%s", s->name);
            note(errors, path, &one, err);
        }
    for (size_t i = 0; i < CONFIG_TITLED; i++)
        settle_titled(&config_titled[i], c, path, errors, err);
    c->store.message_limit = largest_message(c);
    c->dns.inet = inet_of(c);
    if (resolver_check(&c->dns, &one)) /* its texts begin with the section */
        note(errors, path, &one, err);
    if (relay_settle(&c->relay, inet_of(c), &one)) {
        err_context(&one, "relay");
        note(errors, path, &one, err);
    }
    if (reports_check(&c->reports, &one)) /* its text begins with the setting */
        note(errors, path, &one, err);
    struct cidr_set trusted;
    if (cidr_set_parse(str_from(c->guard.trusted), &trusted, &one)) {
        err_context(&one, "guard.trusted");
        note(errors, path, &one, err);
    } else {
        cidr_set_free(&trusted);
    }
    if (oauth_check(&c->oauth, &one)) /* its texts begin with the setting */
        note(errors, path, &one, err);
    if (check_debug(c->log.debug, &one)) /* its text begins with the setting */
        note(errors, path, &one, err);
    if (check_domain(c->main.origin, "main.origin", &one) ||
        check_postmaster(c->main.postmaster, &one))
        note(errors, path, &one, err);
    struct alias_set *aliases;
    if (alias_set_parse(str_from(c->smtp.global_aliases), &aliases, &one)) {
        err_context(&one, "smtp.global_aliases");
        note(errors, path, &one, err);
    }
    alias_set_free(&aliases);
    if (!printable(c->smtp.banner)) {
        err_set(&one, ERR_PROTO, ERR_WHY_OTHER, "smtp.banner: only printable ASCII can be sent");
        note(errors, path, &one, err);
    }
    hand_over_programs(c);
    stages_check(c, path, errors, err);
    settle_database(c, path, errors, err);
    c->directory.origin = c->main.origin;
    c->directory.postmaster = c->main.postmaster;
    if (directory_check(&c->directory, &one)) /* its texts begin with the section */
        note(errors, path, &one, err);
    return errors->n == before;
}
