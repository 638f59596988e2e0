/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* programs.h - the runner (appliance/io/runner.h) of this server: who programs are run as, and
 * which ones. Floor 6 (app). Threads: before any other exists. It becomes the service's user, and
 * if that takes root keeps what is needed to run programs as others. It decides by itself what may
 * be run, of its own knowledge: this program as the scanner of viruses, and what sections "program"
 * of the configuration name (stage exec): what was in it at the start, and what is in its file now.
 * All of it has no_new_privs: sudo and the like don't work. */
#ifndef PH_APP_PROGRAMS_H
#define PH_APP_PROGRAMS_H
#include "appliance/app/config.h"
#include "appliance/app/privileges.h"
#include "appliance/io/runner.h"

/* user NULL: it stays who it is. config_path as the server has it; NULL: there is no file. */
int programs_start(struct runner *r, const struct service_user *user, const struct config *config,
                   const char *config_path, struct err *err) __attribute__((warn_unused_result));
#endif
