/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* password_schemes.h - what a stored password is: its scheme and the bytes to compare with.
 * Floor 3 (directory, private). Threads: any (pure). */
#ifndef PH_DIRECTORY_PASSWORD_SCHEMES_H
#define PH_DIRECTORY_PASSWORD_SCHEMES_H
#include "appliance/base/str.h"
#include <openssl/evp.h>

enum password_kind {
    PASSWORD_NONE,   /* empty, or locked ("!...", "*..."): nobody can log in */
    PASSWORD_CRYPT,  /* bytes: a setting of crypt(3) with its hash */
    PASSWORD_PLAIN,  /* bytes: the password */
    PASSWORD_DIGEST, /* bytes: the digest and then, if salted, the salt */
    PASSWORD_KDF,    /* bytes: text that password_kdf.h reads; name says how */
    PASSWORD_UNKNOWN /* not readable */
};
enum { PASSWORD_STORED_MAX = 1024 }; /* longest stored text that is looked at */
struct password_form {
    enum password_kind kind;
    const char *name; /* for people: "yescrypt", "ssha256", "none" */
    const EVP_MD *md;
    bool salted;
    size_t n;
    char bytes[PASSWORD_STORED_MAX + 1]; /* terminated */
};
void password_form_read(struct str stored, struct password_form *out);
/* Made as password_hash() makes them today: there is nothing to upgrade. */
bool password_form_current(const struct password_form *form);
#endif
