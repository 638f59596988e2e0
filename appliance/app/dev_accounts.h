/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dev_accounts.h - the test accounts of `posthouse dev`. Floor 6 (app). Threads: before others
 * exist; blocks. */
#ifndef PH_APP_DEV_ACCOUNTS_H
#define PH_APP_DEV_ACCOUNTS_H
#include "appliance/base/err.h"
#include <stddef.h>

enum { DEV_CAPTURE = 3, DEV_ACCOUNTS };
struct dev_account {
    const char *address, *password;
};
extern const struct dev_account dev_accounts[DEV_ACCOUNTS];

struct directory_conf;
const char *dev_password(size_t i, const char *for_all); /* for_all NULL: each has its own */
/* Makes them and their domains; sets the password of those that are there. */
int dev_seed(const char *dir, const struct directory_conf *conf, const char *for_all,
             struct err *err) __attribute__((warn_unused_result));
#endif
