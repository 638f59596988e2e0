/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* datadir.h - the data folder: made private, held by one process at a time.
 * Floor 6 (app). Threads: any, one at a time. Blocking.
 * The lock is flock() on FOLDER/lock, which holds the pid of its owner; it goes with the process,
 * however it ends. */
#ifndef PH_APP_DATADIR_H
#define PH_APP_DATADIR_H
#include "appliance/base/err.h"

struct datadir {
    char *path; /* absolute */
    int fd;     /* the folder */
    int lock_fd;
    bool temporary;
    char owner[24]; /* the pid of who has the lock, when it couldn't be taken */
};

/* It can be made private and given to the server: it is empty, or has files of ours. False for a
 * folder with other things, and one that can't be read. */
bool datadir_fits(const char *path);
/* Creates the folder (0700) when create is set, makes one private that fits. NULL path: a new
 * temporary folder, removed by datadir_close. */
int datadir_open(const char *path, bool create, struct datadir *out, struct err *err)
    __attribute__((warn_unused_result));
/* Takes the lock: 0; or -1 ERR_WHY_BUSY with the owner's pid in the text. */
int datadir_lock(struct datadir *d, struct err *err) __attribute__((warn_unused_result));
/* Writes a small file whole (mode 0600, fsynced, renamed into place). */
int datadir_write(struct datadir *d, const char *name, const char *text, struct err *err)
    __attribute__((warn_unused_result));
void datadir_close(struct datadir *d);
#endif
