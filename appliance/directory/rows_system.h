/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rows_system.h - the users of the system as users of one domain.
 * Floor 3 (directory, private). Threads: each struct rows is that of one worker. Who has a uid in
 * the range exists; passwords are the system's matter (rows_login.system: directory_conf.system
 * checks them). There are no aliases. Names are those of getpwnam_r(3), in lower case. */
#ifndef PH_DIRECTORY_ROWS_SYSTEM_H
#define PH_DIRECTORY_ROWS_SYSTEM_H
#include "appliance/directory/rows.h"

int rows_system_new(const char *domain, uint64_t uid_min, uint64_t uid_max, struct rows **out,
                    struct err *err) __attribute__((warn_unused_result));
#endif
