/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* credential.h - table `credential`: SCRAM verifiers, app passwords, and our secret.
 * Floor 3 (directory, private). Threads: that of the connection; blocks. Accounts are folded
 * addresses.
 *
 * A verifier belongs to one stored password: a digest of what is stored lies beside it, so one that
 * was changed behind our back has none any more. An app password is made by us, with 100 bits that
 * nobody can guess, so one salted hash of it is enough and takes no time. */
#ifndef PH_DIRECTORY_CREDENTIAL_H
#define PH_DIRECTORY_CREDENTIAL_H
#include "appliance/directory/scram.h"
#include "appliance/sql/sql.h"

enum credential_kind { CREDENTIAL_SECRET = 0, CREDENTIAL_SCRAM = 1, CREDENTIAL_APP = 2 };
enum {
    CREDENTIAL_LABEL_MAX = 100,
    CREDENTIAL_APP_MOST = 100, /* app passwords of one account */
    APP_PASSWORD_LETTERS = 20,
    APP_PASSWORD_TEXT = APP_PASSWORD_LETTERS + 4 /* four groups, and a NUL */
};

/* Our secret, made when there is none: it makes the salts. Needs a connection that may write. */
int credential_secret(struct sql *db, unsigned char out[SCRAM_HASH], struct err *err)
    __attribute__((warn_unused_result));

/* *found_out: there is one, of this stored password, or this is one. */
int credential_verifier(struct sql *db, struct str account, struct str stored,
                        struct scram_verifier *out, bool *found_out, struct err *err)
    __attribute__((warn_unused_result));
/* Instead of the one there is. In no transaction. */
int credential_put_verifier(struct sql *db, struct str account, struct str stored,
                            const struct scram_verifier *v, struct err *err)
    __attribute__((warn_unused_result));

struct credential_app { /* in the arena given */
    struct str label;
    int64_t created, used; /* wall clock, s; used 0: never */
};
/* Could it be an app password? Its 20 letters go to out: blanks, hyphens and capitals don't
 * count. */
bool app_password_read(struct str text, char out[APP_PASSWORD_LETTERS]);
/* Is it one of this account's? *label_out: its name, in the arena; .p NULL: no. *data_out: what is
 * stored of it. */
int credential_app_find(struct sql *db, struct arena *m, struct str account, struct str password,
                        struct credential_app *out, struct str *data_out, struct err *err)
    __attribute__((warn_unused_result));
/* A new one, written to text. ERR_PERM: ERR_WHY_EXISTS; ERR_WHY_LIMIT: there are too many. */
int credential_app_add(struct sql *db, struct str account, struct str label,
                       char text[APP_PASSWORD_TEXT], struct err *err)
    __attribute__((warn_unused_result));
int credential_app_list(struct sql *db, struct arena *m, struct str account,
                        struct credential_app **out, size_t *n_out, struct err *err)
    __attribute__((warn_unused_result));
int credential_app_used(struct sql *db, struct str account, struct str label, int64_t when,
                        struct err *err) __attribute__((warn_unused_result));
/* label .p NULL: all. */
int credential_app_remove(struct sql *db, struct str account, struct str label,
                          uint64_t *removed_out, struct err *err)
    __attribute__((warn_unused_result));
/* All that is known of an account that is gone. */
int credential_remove_all(struct sql *db, struct str account, struct err *err)
    __attribute__((warn_unused_result));
#endif
