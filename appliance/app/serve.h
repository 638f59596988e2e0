/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* serve.h - the appliance that faces the internet: what start (serve.c) and reload (reload.c)
 * share. Floor 6 (app). Threads: main thread, which becomes the loop. */
#ifndef PH_APP_SERVE_H
#define PH_APP_SERVE_H
#include "appliance/app/appliance.h"
#include "appliance/app/pam_helper.h"
#include "appliance/app/keys.h"
#include "appliance/app/privileges.h"
#include "appliance/app/programs.h"

struct reload;
struct serve {
    const char *config_path; /* absolute */
    bool json;
    struct config *boot;    /* the rooms that are opened once keep it: store, directory */
    struct config *current; /* what sessions begin with */
    struct service_user user;
    struct helper helper;
    struct runner runner; /* of programs */
    struct pam_helper pam;
    struct datadir data;
    struct appliance appliance;
    struct reload *reload; /* under way */
    bool reload_again;
};

/* serve_check.c: refuses, with a sentence that says what to do, what would be insecure. Also fills
 * in the host name where the system's is to be used. */
int serve_check(struct config *c, struct err *err) __attribute__((warn_unused_result));
int serve_check_data(const struct config *c, const struct service_user *u, struct err *err)
    __attribute__((warn_unused_result));

/* serve_ports.c: the configuration's listeners as ports of the appliance. */
int serve_make_ports(struct serve *s, struct err *err) __attribute__((warn_unused_result));
void serve_free_ports(struct serve *s);
void serve_read_proxies(struct serve *s); /* from `current` */

/* log.level, format, debug */
void serve_set_log(const struct config *c);

/* reload.c: reads configuration and keys again on lane misc; when all is well they take effect,
 * else everything stays as it is and the log says why. */
void serve_reload(void *serve);
#endif
