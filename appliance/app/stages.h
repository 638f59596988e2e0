/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* stages.h - the filter stages of this program: built-in ones and plug-ins, their sections in the
 * configuration, and the chain that runs with it. Floor 6 (app). Threads: main, then loop. */
#ifndef PH_APP_STAGES_H
#define PH_APP_STAGES_H
#include "appliance/app/config.h"
#include "filters/chain.h"

/* A plug-in by its file; before stages_declare(). */
int stages_load(const char *file, struct err *err) __attribute__((warn_unused_result));
/* The plug-ins that filters.plugins names in this configuration file (not in included ones), which
 * can be read in full only with their sections. What else is wrong in the file is not said here. */
int stages_load_named(const char *config_path, struct err *err) __attribute__((warn_unused_result));
/* What the stages say of their settings: a line in errors for each that refuses, path before it;
 * err the first. */
void stages_check(const struct config *c, const char *path, struct buf *errors, struct err *err);
/* Adds the sections of all stages, once; before the first configuration is made. */
void stages_declare(void);
/* runner NULL: no programs can be run. Takes a reference to the snapshot, in which the
 * configuration lies, for as long as sessions use it; NULL: it lives as long as the program.
 * resolver NULL: what stages ask the DNS fails. */
int stages_open(const struct config *c, struct snapshot *snapshot, struct loop *loop,
                struct store *store, struct directory *directory, struct resolver *resolver,
                const struct runner *runner, struct filters **out, struct err *err)
    __attribute__((warn_unused_result));
int stages_reload(struct filters *f, const struct config *c, struct snapshot *snapshot,
                  struct err *err) __attribute__((warn_unused_result));
#endif
