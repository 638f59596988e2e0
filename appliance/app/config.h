/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* config.h - the configuration of the whole program: one section a room, filled from the rooms' own
 * settings tables. Floor 6 (app). Threads: any, once filled (immutable). */
#ifndef PH_APP_CONFIG_H
#define PH_APP_CONFIG_H
#include "appliance/base/settings.h"
#include "appliance/directory/directory.h"
#include "appliance/store/store.h"
#include "imap/server.h"
#include "smtp/server.h"

struct config {
    struct smtp_conf smtp;
    struct imap_conf imap;
    struct store_conf store;
    struct directory_conf directory;
};
extern const struct settings_section config_sections[]; /* ended by name NULL */

int config_defaults(struct config *c, struct err *err) __attribute__((warn_unused_result));
int config_assign(struct config *c, const char *assignment, struct err *err)
    __attribute__((warn_unused_result)); /* "smtp.rcpt_limit=50" */
void config_free(struct config *c);
#endif
