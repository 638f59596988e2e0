/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* admin_own.c - what follows in our own tables when an administrator changes a user. */
#include "appliance/directory/admin_private.h"
#include "appliance/directory/credential.h"

int admin_password_changed(struct directory_admin *a, struct str id, struct str password,
                           struct str hash, struct err *err)
{
    unsigned char salt[SCRAM_SALT], secret[SCRAM_HASH];
    struct scram_verifier v;
    struct sql *own = a->scram_iterations ? admin_own(a, err) : NULL;
    if (!own)
        return a->scram_iterations ? -1 : 0;
    if (credential_secret(own, secret, err) < 0)
        return -1;
    scram_salt(secret, id, salt);
    explicit_bzero(secret, sizeof secret);
    if (!scram_make(password, str_of(salt, sizeof salt), a->scram_iterations, &v))
        return ERR(err, ERR_TEMP, "the key of SCRAM could not be computed");
    int r = credential_put_verifier(own, id, hash, &v, err);
    explicit_bzero(&v, sizeof v);
    return r;
}

int admin_user_gone(struct directory_admin *a, struct str id, struct err *err)
{
    struct sql *own = admin_own(a, err);
    return own ? credential_remove_all(own, id, err) : -1;
}

int admin_users_gone(struct directory_admin *a, struct str pattern, struct err *err)
{
    struct sql_stmt *st;
    struct sql *own = admin_own(a, err);
    if (!own || sql_prepare(own, "DELETE FROM credential WHERE account LIKE ?", &st, err) < 0)
        return -1;
    sql_bind_text(st, 1, pattern);
    return sql_run(st, err);
}
