/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* keys.h - certificate and key of a configuration as a TLS context. Floor 6 (app). Threads: any;
 * blocking. */
#ifndef PH_APP_KEYS_H
#define PH_APP_KEYS_H
#include "appliance/app/config.h"
#include "appliance/app/helper.h"
#include "appliance/io/tls.h"

/* helper NULL or without a process: opens the files itself. No certificate needed (no listener with
 * TLS): 0 and *out NULL. Refuses a key that everybody can read, and a certificate for another host
 * than the configuration names. */
int keys_load(const struct config *c, const struct helper *helper, struct tls_ctx **out,
              struct err *err) __attribute__((warn_unused_result));
#endif
