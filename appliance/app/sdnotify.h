/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sdnotify.h - telling systemd how we are: the protocol of sd_notify(3), a datagram of lines.
 * Floor 6 (app). Threads: loop, or before it. Without NOTIFY_SOCKET everything is a no-op. */
#ifndef PH_APP_SDNOTIFY_H
#define PH_APP_SDNOTIFY_H
#include "appliance/io/loop.h"

/* Before the sandbox; takes the variables out of the environment. */
void sdnotify_open(void);
void sdnotify_ready(void);
void sdnotify_reloading(void); /* then sdnotify_ready() again, whatever came of it */
void sdnotify_stopping(void);
void sdnotify_start_watchdog(struct loop *l); /* from the loop, at half the time systemd allows */
void sdnotify_close(void);                    /* before the loop is freed */
#endif
