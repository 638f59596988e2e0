/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* settings.h - fill, check and document conf structs from their tables (filters/stage.h: struct
 * ph_setting). Floor 0 (base). Threads: tables are const; a filled struct is immutable after load,
 * so any. Ownership: text values are heap copies owned by the conf struct; settings_free releases
 * them. A conf struct is zeroed before its first settings_defaults. A secret written as file:/path
 * or env:NAME is read from there (a line end at the end of the file is dropped). Errors: ERR_PROTO
 * with a sentence naming the setting, what was wrong, what is allowed, "did you mean". */
#ifndef PH_BASE_SETTINGS_H
#define PH_BASE_SETTINGS_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"
#include "filters/stage.h"

/* Sections of the house: {"smtp", smtp_settings, sizeof(struct smtp_conf), offset in the whole
 * config}. */
struct settings_section {
    const char *name, *doc;
    const struct ph_setting *table;
    size_t offset; /* of the conf struct inside the whole configuration object */
};

int settings_defaults(const struct ph_setting *t, void *conf,
                      struct err *err); /* -1: ERR_BUG, a wrong table */
int settings_set(const struct ph_setting *t, void *conf, struct str name, struct str value,
                 struct err *err) __attribute__((warn_unused_result));
/* After all is set: every PH_REQUIRED text and secret has a value. */
int settings_check(const struct ph_setting *t, const void *conf, struct err *err)
    __attribute__((warn_unused_result));
void settings_free(const struct ph_setting *t, void *conf); /* wipes secrets */
/* "section.name=value" against an array of sections (ended by name NULL). */
int settings_assign(const struct settings_section *sections, void *config, struct str assignment,
                    struct err *err) __attribute__((warn_unused_result));
void settings_show(const struct settings_section *s, const void *config,
                   struct buf *out); /* secrets as "***" */
void settings_help(const struct settings_section *s,
                   struct buf *out); /* name, type, default, bounds, doc */
/* A number as it is written in the file: with the largest unit that divides it. */
void settings_number(enum ph_setting_type type, int64_t v, struct buf *out);
/* "a|b", "size, 1K to 2G": type and bounds in words. */
void settings_type(const struct ph_setting *s, struct buf *out);
/* Walks the value of a PH_LIST setting, from rest = all of it. False: no more words. */
bool settings_list_next(struct str *rest, struct str *word_out);
/* The entry of candidates (ended by NULL) that a misspelt word probably meant, or NULL. */
const char *settings_nearest(struct str word, const char *const *candidates);
#endif
