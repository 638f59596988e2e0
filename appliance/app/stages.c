/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/stages.h"

/* One a process, as the sections that config_add_section() takes are; never freed. */
static struct filters_registry *stages;
static bool declared;

static struct filters_registry *registry(void)
{
    if (!stages)
        stages = filters_registry_new();
    return stages;
}

static bool listed(const struct settings_section *s, const char *name)
{
    while (s->name && strcmp(s->name, name) != 0)
        s++;
    return s->name != NULL;
}

int stages_load(const char *file, struct err *err)
{
    CHECK(!declared);
    if (filters_registry_load(registry(), file, err))
        return -1;
    const char *name =
        filters_registry_entry(stages, filters_registry_count(stages) - 1)->stage.name;
    bool taken = listed(config_own_sections, name) || listed(config_sections, name);
    for (size_t i = 0; i < CONFIG_TITLED; i++)
        taken = taken || strcmp(config_titled[i].section.name, name) == 0;
    if (taken)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_EXISTS,
                       "plug-in %s: there is a section %s already, which is no stage's", file,
                       name);
    return 0;
}

int stages_load_named(const char *config_path, struct err *err)
{
    struct buf names;
    struct str rest, word;
    int rc = 0;

    if (declared)
        return 0;
    buf_init(&names, 1 << 16);
    conf_peek(config_path, "filters", "plugins", &names);
    rest = buf_str(&names);
    while (rc == 0 && settings_list_next(&rest, &word)) {
        char *file = str_dup_z(word);
        rc = stages_load(file, err);
        mem_free(file);
    }
    buf_fini(&names);
    return rc ? err_context(err, "%s: filters.plugins", config_path) : 0;
}

void stages_declare(void)
{
    const struct settings_section *s = filters_registry_sections(registry());

    if (declared)
        return;
    declared = true;
    for (size_t i = 0; s[i].name; i++)
        config_add_section(s[i].name, s[i].doc, s[i].table,
                           filters_registry_section_size(stages, i));
}

/* A configuration and the reference that keeps it. */
struct held {
    const struct config *config;
    struct snapshot *snapshot;
};

static const void *find(void *ctx, const char *name)
{
    return config_extra(((struct held *)ctx)->config, name);
}

static void on_free(void *ctx)
{
    struct held *h = ctx;

    snapshot_unref(&h->snapshot);
    mem_free(h);
}

static struct filters_config *over(const struct config *c, struct snapshot *snapshot)
{
    struct held *h = MEM_NEW(struct held);

    *h = (struct held){c, snapshot_ref(snapshot)};
    return filters_config_over(registry(), find, on_free, h);
}

void stages_check(const struct config *c, const char *path, struct buf *errors, struct err *err)
{
    struct held h = {.config = c};
    struct err one;

    if (!declared)
        return;
    struct filters_config *config = filters_config_over(stages, find, NULL, &h);
    for (size_t i = 0; i < filters_registry_count(stages); i++)
        if (filters_config_check_stage(config, i, &one)) {
            if (!errors->n)
                *err = one;
            buf_printf(errors, "%s: %s\n", path, one.text);
        }
    filters_config_unref(&config);
}

int stages_open(const struct config *c, struct snapshot *snapshot, struct loop *loop,
                struct store *store, struct directory *directory, struct resolver *resolver,
                const struct runner *runner, struct filters **out, struct err *err)
{
    stages_declare();
    struct filters_config *config = over(c, snapshot);
    const struct filters_env env = {.loop = loop,
                                    .store = store,
                                    .directory = directory,
                                    .resolver = resolver,
                                    .registry = stages,
                                    .config = config,
                                    .sealed = !resolver,
                                    .runner = runner};
    int rc = filters_open(&env, out, err);

    filters_config_unref(&config);
    return rc;
}

int stages_reload(struct filters *f, const struct config *c, struct snapshot *snapshot,
                  struct err *err)
{
    struct filters_config *config = over(c, snapshot);
    int rc = filters_reload(f, config, err);

    filters_config_unref(&config);
    return rc;
}
