/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* folder.h - which data folder a command works on, and as whom. Floor 6 (app). Threads: main.
 * The first of these: --data, POSTHOUSE_DATA, the configuration's main.data, DATA_DEFAULT. */
#ifndef PH_APP_FOLDER_H
#define PH_APP_FOLDER_H
#include "appliance/app/config.h"

/* data, config_path: as given, or NULL. A configuration that was named must be good; the usual one
 * may be missing or unreadable, and is not looked at when a folder was named. *configured: what was
 * read, for config_unref(), or NULL. The folder returned lives as long as it; NULL: err. */
const char *folder_find(const char *data, const char *config_path, struct config **configured,
                        struct err *err);
/* Root becomes the owner of the folder: a file that root made there the daemon could not use. */
int folder_become_owner(const char *path, struct err *err) __attribute__((warn_unused_result));
#endif
