/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* registry.h - which stages there are, their sections in the configuration, and snapshots of these.
 * Floor 4 (filters). Threads: main, before the loop runs, and then loop; snapshots any (immutable
 * once filled). Order of start: filters_registry_new() knows the built-in stages ->
 * filters_registry_load() each plug-in (before the settings are read: they bring sections; no stage
 * code runs yet) -> filters_config_new(), settings set into it -> sandbox -> filters_open()
 * (chain.h). A new built-in stage is a file with a `const struct ph_stage` and a line in the table
 * of registry.c. */
#ifndef PH_FILTERS_REGISTRY_H
#define PH_FILTERS_REGISTRY_H
#include "appliance/base/settings.h"

enum { FILTERS_MAX = 60 };

struct filters_registry;
struct filters_registry *filters_registry_new(void);
void filters_registry_free(struct filters_registry **r); /* after every filters and config of it */
/* A stage by its description, which is copied (its strings are not). ERR_PERM: it isn't one; says
 * what is wrong. Not after the first filters_config_new. */
int filters_registry_add(struct filters_registry *r, const struct ph_stage *stage, struct err *err)
    __attribute__((warn_unused_result));
/* A plug-in by the name of its file, with at least one '/' in it or taken from the working folder.
 */
int filters_registry_load(struct filters_registry *r, const char *file, struct err *err)
    __attribute__((warn_unused_result));
/* "filters" (of the chain as a whole) and one section for each stage: its mode, deadline, on_error
 * and its own settings. Ended by name NULL; offsets are within filters_config_object(). Valid until
 * a stage is added. */
const struct settings_section *filters_registry_sections(struct filters_registry *r);

struct filters_conf {    /* section "filters" */
    const char *plugins; /* list; read before all else: stages_load_named() of app */
    uint64_t keep;       /* verdicts are kept so long */
    uint64_t keep_head;  /* and so much of the head of what was refused */
    uint64_t watchdog;   /* a stage that blocks the loop so long aborts the server */
    int64_t hold_count, quarantine_count;
    uint64_t hold_bytes, quarantine_bytes, hold_time, hold_retry, quarantine_time;
};
enum filters_mode { FILTERS_ON, FILTERS_OFF, FILTERS_SHADOW };
enum filters_on_error {
    FILTERS_ERROR_DEFER,
    FILTERS_ERROR_PASS,
    FILTERS_ERROR_JUNK,
    FILTERS_ERROR_QUARANTINE,
    FILTERS_ERROR_REJECT,
    FILTERS_ERROR_HOLD /* PH_MESSAGE: acknowledged, kept, and judged later; else as DEFER */
};
struct filters_common { /* what each stage's section begins with */
    int mode, on_error;
    uint64_t deadline;
    int64_t dns_queries, dns_voids; /* settings of stages that ask the DNS only; else 0 */
    uint64_t dns_time;
};
/* Bytes of the i-th section's struct, where sections are kept one by one (appliance/app:
 * config_add_section). */
size_t filters_registry_section_size(const struct filters_registry *r, size_t i);
struct filters_config; /* one snapshot; a reference for each session that began with it */
/* A snapshot of sections that lie in another configuration: find(ctx, name) gives each one's
 * struct; they live until on_free(ctx) (or NULL), which comes when the last session that began with
 * them is gone. */
struct filters_config *filters_config_over(struct filters_registry *r,
                                           const void *(*find)(void *ctx, const char *name),
                                           void (*on_free)(void *ctx), void *ctx);
/* With all defaults; fill it by settings_assign(filters_registry_sections(r),
 * filters_config_object(c), ...) before it is used. */
int filters_config_new(struct filters_registry *r, struct filters_config **out, struct err *err)
    __attribute__((warn_unused_result));
void *filters_config_object(struct filters_config *c);
/* After all is set: what settings_check finds, in each section, and what the stages say of theirs.
 */
int filters_config_check(const struct filters_config *c, struct err *err)
    __attribute__((warn_unused_result));
/* What stage i says of its settings (ph_stage.check), if it runs; its name before it. */
int filters_config_check_stage(const struct filters_config *c, size_t i, struct err *err)
    __attribute__((warn_unused_result));
struct filters_config *filters_config_ref(struct filters_config *c); /* loop */
void filters_config_unref(struct filters_config **c);

/* ---- For the chain. */
struct filters_entry {
    struct ph_stage stage;
    struct ph_setting *table; /* all of the section */
    char dns_defaults[3][24]; /* as text */
};
size_t filters_registry_count(const struct filters_registry *r);
const struct filters_entry *filters_registry_entry(const struct filters_registry *r, size_t i);
/* Of a section's struct: the part that is its stage's own. */
const void *filters_section_own(const void *section);
const struct filters_conf *filters_config_general(const struct filters_config *c);
const struct filters_common *filters_config_common(const struct filters_config *c, size_t i);
const void *filters_config_stage(const struct filters_config *c, size_t i);
bool filters_config_runs(const struct filters_config *c, size_t i); /* neither off nor idle */
#endif
