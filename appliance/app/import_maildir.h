/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_maildir.h - one Maildir on the disk, which may be in use meanwhile: its folders, and the
 * messages of one.
 * Floor 6 (app). Threads: one; blocking. No symbolic link below the Maildir is followed: whose it
 * is could have put it there, and the import may run as root. */
#ifndef PH_APP_IMPORT_MAILDIR_H
#define PH_APP_IMPORT_MAILDIR_H
#include "appliance/app/import_run.h"

enum maildir_layout {
    MAILDIR_AUTO, /* both */
    MAILDIR_PLUS, /* Maildir++: .Folder.Sub */
    MAILDIR_FS    /* Folder/Sub */
};
struct maildir_folder {
    struct str path; /* below the Maildir; "" its own messages */
    struct str name; /* UTF-8, "INBOX" */
};
/* A folder of its whose name can't be had is a failure of the run, and left out. In `a`. */
int import_maildir_folders(struct import_run *run, const char *root, enum maildir_layout layout,
                           struct arena *a, struct maildir_folder **out, size_t *n_out,
                           struct err *err) __attribute__((warn_unused_result));
/* Its messages to the mailbox of `t`, whose UIDs and count are filled in here. -1: the run is over.
 */
int import_maildir_messages(struct import_run *run, const char *root, struct str path,
                            struct import_target *t) __attribute__((warn_unused_result));
/* A descriptor of the folder, or -1. */
int import_maildir_open(const char *root, struct str path);
/* The lines of a file there, each at most 4 KB; what is longer is left out. -1: there is none. */
int import_maildir_lines(int dirfd, const char *name, void (*on_line)(void *ctx, struct str line),
                         void *ctx);
#endif
