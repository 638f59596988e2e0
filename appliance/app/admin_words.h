/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* admin_words.h - what commands of all kinds (admin.h, import.h) have in common: their options, the
 * lines about them, their exit codes. Floor 6 (app, private). Threads: any (pure). */
#ifndef PH_APP_ADMIN_WORDS_H
#define PH_APP_ADMIN_WORDS_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

/* known: of a command's table, "name=" takes a value; NULL-terminated; or NULL. word: without its
 * "--", and has its value where one is taken. */
bool admin_knows_option(const char *const *known, const char *word);
/* given: "name=value" or "name". The value, "" for a plain one, or NULL. */
const char *admin_option_value(const char *const *given, size_t n, const char *name);
/* "posthouse GROUP VERB USAGE [--option=VALUE]", and what it does. */
void admin_usage_lines(const char *group, const char *verb, const char *usage,
                       const char *const *options, const char *doc, struct buf *out);
int admin_exit_code(const struct err *err); /* ADMIN_* */
#endif
