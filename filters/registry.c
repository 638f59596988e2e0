/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* registry.c - takes descriptions of stages, checks them, makes their sections of the
 * configuration. */
#include "filters/registry.h"
#include "appliance/base/mem.h"
#include "filters/builtin.h"
#include <stdio.h>

enum {
    SETTINGS_MAX = 200,
    NAME_MAX_ = 31,
    ALIGN = 16,
    SECOND = 1000,
    HOUR = 3600 * SECOND,
    DAY = 24 * HOUR
};

static const struct ph_stage *const builtin[] = {
    &exec_stage,    &limits_stage,   &rdns_stage,   &helo_stage,          &spf_stage,
    &dnslist_stage, &greylist_stage, &milter_stage, &dkim_stage,          &dkim_sign_stage,
    &arc_stage,     &arc_seal_stage, &dmarc_stage,  &clamav_stage,        &policy_stage,
    &headers_stage, &authres_stage,  &score_stage,  &verify_sender_stage, &rewrite_stage,
};

static const char *const mode_names[] = {"on", "off", "shadow", NULL};
static const char *const on_error_names[] = {"defer",  "pass", "junk", "quarantine",
                                             "reject", "hold", NULL};
// clang-format off
static const struct ph_setting common_settings[] = {
    PH_SETTING_ENUM(filters_common, mode, PH_RELOAD, "on", mode_names,
                    "on: it runs and acts. off: it doesn't run. shadow: it runs, and its verdict is logged and kept, but not acted on."),
    PH_SETTING(TIME, filters_common, deadline, PH_RELOAD, "30s", 1, HOUR,
               "How long it may take for one answer. After that on_error is the answer."),
    PH_SETTING_ENUM(filters_common, on_error, PH_RELOAD, "defer", on_error_names,
                    "The verdict when it fails or is too late. hold: a complete message is acknowledged, kept, and judged later; at "
                    "other points this is defer."),
    PH_SETTING_END};
/* Of stages that ask the DNS; the defaults are what each declares. */
static const struct ph_setting dns_settings[] = {
    PH_SETTING(INT, filters_common, dns_queries, PH_RELOAD, NULL, 1, 10000,
               "Most questions to the DNS for one answer of it."),
    PH_SETTING(INT, filters_common, dns_voids, PH_RELOAD, NULL, 0, 10000,
               "Most of them that may be answered by nothing. 0: no limit."),
    PH_SETTING(TIME, filters_common, dns_time, PH_RELOAD, NULL, 0, HOUR,
               "How long it may ask for one answer; the questions after that fail. 0: no limit but deadline."),
    PH_SETTING_END};
static const struct ph_setting general_settings[] = {
    PH_SETTING(TEXT, filters_conf, plugins, PH_LIST, "", 0, 0,
               "Filter stages to load: files of shared objects, as posthouse-stage(3) tells. Each brings a section of its name."),
    PH_SETTING(TIME, filters_conf, keep, PH_RELOAD, "30d", 0, 3650LL * DAY,
               "How long verdicts are kept for posthouse explain, of mail that was refused, too. 0: none are kept."),
    PH_SETTING(SIZE, filters_conf, keep_head, PH_RELOAD, "4K", 0, 16 << 10,
               "How much of the header block of a message that was refused or discarded after it had come is kept with its verdicts, so "
               "that posthouse explain can show what it was. 0: nothing of it."),
    PH_SETTING(TIME, filters_conf, watchdog, 0, "10s", 100, HOUR,
               "A stage that blocks the loop so long aborts the server, which its supervisor starts again."),
    PH_SETTING(INT, filters_conf, hold_count, PH_RELOAD, "1000", 0, 1000000,
               "Most messages held for a stage. When it is reached, mail that would be held gets 451."),
    PH_SETTING(SIZE, filters_conf, hold_bytes, PH_RELOAD, "1G", 0, 1LL << 40,
               "Most octets held for a stage."),
    PH_SETTING(TIME, filters_conf, hold_time, PH_RELOAD, "1h", SECOND, 30LL * DAY,
               "How long a message is held for a stage that can't judge it; then it goes into quarantine."),
    PH_SETTING(TIME, filters_conf, hold_retry, PH_RELOAD, "30s", 10, 3600 * SECOND,
               "How often a held message is given back to the stage that holds it."),
    PH_SETTING(INT, filters_conf, quarantine_count, PH_RELOAD, "10000", 0, 1000000,
               "Most messages in quarantine. When it is reached, mail that would be put there gets 451, and held mail waits on: "
               "nothing that was acknowledged is removed before quarantine_time to make room."),
    PH_SETTING(SIZE, filters_conf, quarantine_bytes, PH_RELOAD, "1G", 0, 1LL << 40,
               "Most octets in quarantine."),
    PH_SETTING(TIME, filters_conf, quarantine_time, PH_RELOAD, "30d", 60 * SECOND, 3650LL * DAY,
               "How long mail stays in quarantine before it is removed."),
    PH_SETTING_END};
// clang-format on

struct filters_registry {
    struct filters_entry entries[FILTERS_MAX];
    size_t n, object_size;
    struct settings_section sections[FILTERS_MAX + 2];
    bool sealed; /* a snapshot was made of it */
};
struct filters_config {
    unsigned refs;
    struct filters_registry *registry;
    char *object;                      /* NULL: over another configuration */
    const char *conf[FILTERS_MAX + 1]; /* of each section */
    void (*on_free)(void *ctx);
    void *ctx;
};

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- Checks. A plug-in of another ABI may be read no further than its first words. */

static int check_name(const char *name, struct err *err)
{
    size_t n = name ? strlen(name) : 0;

    if (n == 0 || n > NAME_MAX_ || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != n)
        return ERR(err, ERR_PERM, "a stage's name is of a-z, 0-9 and '_', up to %d", NAME_MAX_);
    return 0;
}

static int check_shape(const struct ph_stage *s, struct err *err)
{
    const uint32_t least = offsetof(struct ph_stage, cancel) + sizeof s->cancel;

    if (s->abi != PH_STAGE_ABI)
        return ERR(err, ERR_PERM,
                   "it is built for version %u of the stage interface; this server has %u: build "
                   "it against this "
                   "server's stage.h",
                   s->abi, PH_STAGE_ABI);
    if (s->size < least || s->setting_size < offsetof(struct ph_setting, doc) + sizeof(char *))
        return ERR(err, ERR_PERM, "its description is too short: begin it with PH_STAGE_HEAD");
    if (check_name(s->name, err))
        return -1;
    if (!s->doc || !s->doc[0])
        return ERR(err, ERR_PERM, "%s: it has no doc", s->name);
    if (!s->points || s->points >= PH_AT(PH_POINTS))
        return ERR(err, ERR_PERM, "%s: points names none, or unknown ones", s->name);
    if (!s->on_point == !s->work)
        return ERR(err, ERR_PERM, "%s: exactly one of on_point and work must be there", s->name);
    if (s->flags & ~(unsigned)(PH_ALWAYS | PH_UNLESS_ACCEPTED | PH_ABOUT_SENDER))
        return ERR(err, ERR_PERM, "%s: unknown flags", s->name);
    if (s->conf_size > 1 << 20 || s->turn_size > 1 << 20)
        return ERR(err, ERR_PERM, "%s: conf_size and turn_size may be 1 MB", s->name);
    return 0;
}

static const struct ph_setting *setting_at(const struct ph_stage *s, size_t i)
{
    return (const void *)((const char *)s->settings + i * s->setting_size);
}

static bool is_among(const struct ph_setting *table, const char *name)
{
    while (table->name && strcmp(table->name, name) != 0)
        table++;
    return table->name != NULL;
}

static int check_setting(const struct ph_stage *s, const struct ph_setting *t, struct err *err)
{
    static const size_t sizes[] = {sizeof(bool),     sizeof(int64_t),      sizeof(uint64_t),
                                   sizeof(uint64_t), sizeof(const char *), sizeof(const char *),
                                   sizeof(int)};

    if ((unsigned)t->type >= ARRAY_LEN(sizes) || t->offset > s->conf_size ||
        s->conf_size - t->offset < sizes[t->type] || (t->type == PH_ENUM && !t->names))
        return ERR(err, ERR_PERM, "%s: setting %s doesn't lie within conf_size", s->name, t->name);
    if (is_among(common_settings, t->name))
        return ERR(err, ERR_PERM, "%s: every stage has a setting %s already", s->name, t->name);
    if (s->dns_queries && is_among(dns_settings, t->name))
        return ERR(err, ERR_PERM, "%s: every stage that asks the DNS has a setting %s already",
                   s->name, t->name);
    return 0;
}

/* ---- Sections. */

static void copy_setting(struct ph_setting *to, const struct ph_setting *from, size_t base)
{
    *to = *from;
    to->offset += base;
}

static void write_dns_defaults(struct filters_entry *e)
{
    const struct ph_stage *s = &e->stage;

    snprintf(e->dns_defaults[0], sizeof e->dns_defaults[0], "%u", s->dns_queries);
    snprintf(e->dns_defaults[1], sizeof e->dns_defaults[1], "%u", s->dns_voids);
    if (s->dns_ms % SECOND == 0)
        snprintf(e->dns_defaults[2], sizeof e->dns_defaults[2], "%llus",
                 (unsigned long long)s->dns_ms / SECOND);
    else
        snprintf(e->dns_defaults[2], sizeof e->dns_defaults[2], "%llums",
                 (unsigned long long)s->dns_ms);
}

static int make_table(struct filters_entry *e, struct err *err)
{
    const struct ph_stage *s = &e->stage;
    const size_t n_common = ARRAY_LEN(common_settings) - 1;
    const size_t n_dns = s->dns_queries ? ARRAY_LEN(dns_settings) - 1 : 0;
    const size_t base = aligned(sizeof(struct filters_common));
    size_t n = 0;

    while (s->settings && setting_at(s, n)->name)
        if (check_setting(s, setting_at(s, n), err))
            return -1;
        else if (++n > SETTINGS_MAX)
            return ERR(err, ERR_PERM, "%s: more than %d settings", s->name, SETTINGS_MAX);
    e->table = mem_alloc((n_common + n_dns + n + 1) * sizeof *e->table);
    for (size_t i = 0; i < n_common; i++)
        copy_setting(&e->table[i], &common_settings[i], 0);
    for (size_t i = 0; i < n_dns; i++) {
        copy_setting(&e->table[n_common + i], &dns_settings[i], 0);
        e->table[n_common + i].def = e->dns_defaults[i];
    }
    for (size_t i = 0; i < n; i++)
        copy_setting(&e->table[n_common + n_dns + i], setting_at(s, i), base);
    return 0;
}

/* The table's own defaults must be good: else the first start says so, and not a user's file. */
static int check_defaults(const struct filters_entry *e, struct err *err)
{
    void *conf = mem_alloc(aligned(sizeof(struct filters_common)) + aligned(e->stage.conf_size));
    int rc = settings_defaults(e->table, conf, err);

    settings_free(e->table, conf);
    mem_free(conf);
    return rc ? err_context(err, "%s", e->stage.name) : 0;
}

static void place(struct filters_registry *r, struct filters_entry *e)
{
    r->sections[r->n + 1] = (struct settings_section){
        .name = e->stage.name, .doc = e->stage.doc, .table = e->table, .offset = r->object_size};
    r->object_size += filters_registry_section_size(r, r->n + 1);
}

int filters_registry_add(struct filters_registry *r, const struct ph_stage *stage, struct err *err)
{
    struct filters_entry *e = &r->entries[r->n];

    if (r->sealed)
        return ERR(err, ERR_BUG, "stages come before the configuration is read");
    if (r->n == FILTERS_MAX)
        return ERR(err, ERR_PERM, "at most %d stages", FILTERS_MAX);
    if (check_shape(stage, err))
        return -1;
    for (size_t i = 0; i <= r->n; i++)
        if (strcmp(i < r->n ? r->entries[i].stage.name : "filters", stage->name) == 0)
            return ERR_WHY(err, ERR_PERM, ERR_WHY_EXISTS, "there is a stage or section %s already",
                           stage->name);
    *e = (struct filters_entry){0};
    memcpy(&e->stage, stage, stage->size < sizeof e->stage ? stage->size : sizeof e->stage);
    if (e->stage.work)
        e->stage.dns_queries = 0;
    write_dns_defaults(e);
    if (make_table(e, err) || check_defaults(e, err)) {
        mem_free(e->table);
        return -1;
    }
    place(r, e);
    r->n++;
    return 0;
}

struct filters_registry *filters_registry_new(void)
{
    struct filters_registry *r = MEM_NEW(struct filters_registry);

    r->object_size = aligned(sizeof(struct filters_conf));
    r->sections[0] = (struct settings_section){
        .name = "filters", .doc = "The filter chain as a whole.", .table = general_settings};
    for (size_t i = 0; i < ARRAY_LEN(builtin); i++) {
        struct err err = {0};
        CHECK(filters_registry_add(r, builtin[i], &err) == 0);
    }
    return r;
}

void filters_registry_free(struct filters_registry **rp)
{
    struct filters_registry *r = *rp;

    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        mem_free(r->entries[i].table);
    mem_free(r);
    *rp = NULL;
}

const struct settings_section *filters_registry_sections(struct filters_registry *r)
{
    return r->sections;
}

size_t filters_registry_count(const struct filters_registry *r)
{
    return r->n;
}

const struct filters_entry *filters_registry_entry(const struct filters_registry *r, size_t i)
{
    return &r->entries[i];
}

/* ---- Snapshots. */

size_t filters_registry_section_size(const struct filters_registry *r, size_t i)
{
    if (i == 0)
        return sizeof(struct filters_conf);
    return aligned(sizeof(struct filters_common)) + aligned(r->entries[i - 1].stage.conf_size);
}

static struct filters_config *config_new(struct filters_registry *r)
{
    struct filters_config *c = MEM_NEW(struct filters_config);

    r->sealed = true;
    c->refs = 1;
    c->registry = r;
    return c;
}

struct filters_config *filters_config_over(struct filters_registry *r,
                                           const void *(*find)(void *ctx, const char *name),
                                           void (*on_free)(void *ctx), void *ctx)
{
    struct filters_config *c = config_new(r);

    c->on_free = on_free;
    c->ctx = ctx;
    for (size_t i = 0; i <= r->n; i++) {
        c->conf[i] = find(ctx, r->sections[i].name);
        CHECK(c->conf[i]);
    }
    return c;
}

int filters_config_new(struct filters_registry *r, struct filters_config **out, struct err *err)
{
    struct filters_config *c = config_new(r);

    c->object = mem_alloc(r->object_size);
    *out = c;
    for (size_t i = 0; i <= r->n; i++)
        c->conf[i] = c->object + r->sections[i].offset;
    for (const struct settings_section *s = r->sections; s->name; s++)
        if (settings_defaults(s->table, c->object + s->offset, err)) {
            filters_config_unref(out);
            return -1;
        }
    return 0;
}

void *filters_config_object(struct filters_config *c)
{
    return c->object;
}

int filters_config_check(const struct filters_config *c, struct err *err)
{
    for (size_t i = 0; i <= c->registry->n; i++)
        if (settings_check(c->registry->sections[i].table, c->conf[i], err))
            return err_context(err, "%s", c->registry->sections[i].name);
    for (size_t i = 0; i < c->registry->n; i++)
        if (filters_config_check_stage(c, i, err))
            return -1;
    return 0;
}

int filters_config_check_stage(const struct filters_config *c, size_t i, struct err *err)
{
    const struct ph_stage *s = &c->registry->entries[i].stage;
    struct ph_err why = {0};

    if (!filters_config_runs(c, i) || !s->check || s->check(filters_config_stage(c, i), &why) == 0)
        return 0;
    why.text[sizeof why.text - 1] = '\0'; /* a plug-in wrote it */
    return ERR(err, ERR_PERM, "%s: %s", s->name, why.text);
}

struct filters_config *filters_config_ref(struct filters_config *c)
{
    c->refs++;
    return c;
}

void filters_config_unref(struct filters_config **cp)
{
    struct filters_config *c = *cp;

    *cp = NULL;
    if (!c || --c->refs)
        return;
    for (const struct settings_section *s = c->registry->sections; c->object && s->name; s++)
        settings_free(s->table, c->object + s->offset);
    if (c->on_free)
        c->on_free(c->ctx);
    mem_free(c->object);
    mem_free(c);
}

const struct filters_conf *filters_config_general(const struct filters_config *c)
{
    return (const void *)c->conf[0];
}

const struct filters_common *filters_config_common(const struct filters_config *c, size_t i)
{
    return (const void *)c->conf[i + 1];
}

const void *filters_section_own(const void *section)
{
    return (const char *)section + aligned(sizeof(struct filters_common));
}

const void *filters_config_stage(const struct filters_config *c, size_t i)
{
    return filters_section_own(c->conf[i + 1]);
}

bool filters_config_runs(const struct filters_config *c, size_t i)
{
    const struct ph_stage *s = &c->registry->entries[i].stage;

    return filters_config_common(c, i)->mode != FILTERS_OFF &&
           !(s->idle && s->idle(filters_config_stage(c, i)));
}
