/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* pam_helper.h - passwords of the system's users: a small process that stays root asks PAM, service
 * "posthouse", because the daemon in its sandbox can't.
 * Floor 6 (app). Threads: pam_helper_start before any other exists; the check any, blocking: lane
 * `auth`; one question at a time. Each is answered by a process of its own with PASSWORD_SECONDS,
 * so a module that hangs or crashes costs that question only. Built without PAM: it refuses. */
#ifndef PH_APP_PAM_HELPER_H
#define PH_APP_PAM_HELPER_H
#include "appliance/directory/directory.h"
#include <pthread.h>

struct pam_helper {
    int fd; /* -1: there is none */
    pthread_mutex_t one;
    struct directory_system system; /* for the directory; lives as long as this */
};
int pam_helper_start(struct pam_helper *p, struct err *err) __attribute__((warn_unused_result));
void pam_helper_stop(struct pam_helper *p); /* also of one that was never started: fd -1 */
bool pam_built_in(void);
#endif
