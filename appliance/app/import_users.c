/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_users.c - the accounts of a run: those that users of the directory have. */
#include "appliance/app/import_run.h"
#include "appliance/base/mem.h"
#include "appliance/mail/address.h"

int import_run_account(struct import_run *r, struct str address, struct buf *out, struct err *err)
{
    json_t *found = NULL;

    buf_clear(out);
    if (address_fold(address, out, err) != 0)
        return -1;
    if (import_run_new_accounts(r))
        return 0;
    const char *argv[] = {"user", "show", buf_z(out)};
    int rc = import_wire_command(import_run_wire(r), argv, ARRAY_LEN(argv), &found, err);
    json_decref(found);
    if (rc != 0 && err->kind == ERR_TEMP)
        return import_run_give_up(r, err);
    return rc == 0 ? 0 : err_context(err, "%s (--new-account imports all the same)", buf_z(out));
}

int import_run_users(struct import_run *r, json_t **out, struct err *err)
{
    const char *argv[] = {"user", "list", "--paths"};

    return import_wire_command(import_run_wire(r), argv, ARRAY_LEN(argv), out, err);
}
