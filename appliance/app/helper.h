/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* helper.h - a small process that stays root and opens certificate and key for the daemon, which
 * may not read them once it has become its user. Floor 6 (app).
 * It reads the configuration itself and opens what `tls` names there, nothing else, and ends with
 * the daemon. Threads: helper_start before any other exists; helper_open blocks: one at a time. */
#ifndef PH_APP_HELPER_H
#define PH_APP_HELPER_H
#include "appliance/base/err.h"

struct helper {
    int fd; /* -1: there is none */
};
enum helper_file { HELPER_CERTIFICATE, HELPER_KEY };

/* config_path as the daemon has it. */
int helper_start(struct helper *h, const char *config_path, struct err *err)
    __attribute__((warn_unused_result));
/* A descriptor to read from; -1: err. */
int helper_open(const struct helper *h, enum helper_file which, struct err *err)
    __attribute__((warn_unused_result));
void helper_stop(struct helper *h);
#endif
