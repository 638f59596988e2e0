/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/dev_accounts.h"
#include "appliance/directory/directory_admin.h"

const struct dev_account dev_accounts[DEV_ACCOUNTS] = {
    {"xandros@example.com", "xandros-pass"},
    {"vivita@example.com", "vivita-pass"},
    {"karl@example.com", "karl-pass"},
    [DEV_CAPTURE] = {"capture@example.com", "capture-pass"}};

const char *dev_password(size_t i, const char *for_all)
{
    return for_all ? for_all : dev_accounts[i].password;
}

static int added(int rc, struct err *err) /* what an earlier start added is as good */
{
    if (rc && err->why == ERR_WHY_EXISTS) {
        err_clear(err);
        return 0;
    }
    return rc;
}

static int seed_accounts(struct directory_admin *admin, const char *for_all, struct err *err)
{
    struct str xandros = STR("xandros@example.com");

    if (added(directory_domain_add(admin, STR("example.com"), err), err) ||
        added(directory_domain_add(admin, STR("example.net"), err), err))
        return -1;
    for (size_t i = 0; i < DEV_ACCOUNTS; i++) {
        struct str address = str_from(dev_accounts[i].address);
        struct str password = str_from(dev_password(i, for_all));
        int rc = directory_user_add(admin, address, STR(""), password, 0, err);
        if (rc && err->why == ERR_WHY_EXISTS)
            rc = directory_user_set_password(admin, address, password, err);
        if (rc)
            return -1;
    }
    return added(directory_alias_add(admin, STR("@example.net"), &xandros, 1, false, err), err);
}

int dev_seed(const char *dir, const struct directory_conf *conf, const char *for_all,
             struct err *err)
{
    struct directory_admin *admin;
    int rc;

    if (directory_admin_open_as(dir, conf, &admin, err))
        return -1;
    rc = seed_accounts(admin, for_all, err);
    directory_admin_close(&admin);
    return rc;
}
