/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* appliance_ports.h - the ports of an appliance: its part of appliance.c. They are opened by
 * appliance_listen() and its like (appliance.h). Floor 6 (app). Threads: main thread, the loop. */
#ifndef PH_APP_APPLIANCE_PORTS_H
#define PH_APP_APPLIANCE_PORTS_H
#include "appliance/app/appliance.h"

/* Connections go to the servers from now on. The control socket and metrics are served by who owns
 * them. */
int appliance_ports_start(struct appliance *a, struct err *err) __attribute__((warn_unused_result));
/* Connections that come from now on have this certificate, and the ports' `proxies` as they are. */
void appliance_ports_set(struct appliance *a, struct tls_ctx *tls);
void appliance_ports_stop(struct appliance *a); /* no more connections, nor commands */
#endif
