/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* password.h - password hashes: making and checking.
 * Floor 3 (directory). Threads: any; blocks for milliseconds and takes up to 16 MiB: lane auth.
 * Read: every $id$ that libcrypt knows, DES, and the prefixes {CRYPT} {PLAIN} {CLEARTEXT}
 * {SHA256-CRYPT} {SHA512-CRYPT} {BLF-CRYPT} {MD5-CRYPT} {DES-CRYPT} {YESCRYPT} {SHA} {SSHA}
 * {SHA256} {SSHA256} {SHA512} {SSHA512} {MD5} {PLAIN-MD5} {LDAP-MD5} {SMD5} {ARGON2I} {ARGON2ID}
 * {PBKDF2} {SCRAM-SHA-1} {SCRAM-SHA-256} {CRAM-MD5}, with .b64/.hex suffixes. Of Dovecot's these
 * are missing: DIGEST-MD5 (needs the name), OTP, PLAIN-MD4, PLAIN-TRUNC. Written: yescrypt ($y$).
 */
#ifndef PH_DIRECTORY_PASSWORD_H
#define PH_DIRECTORY_PASSWORD_H
#include "appliance/base/err.h"
#include "appliance/base/str.h"

enum {
    PASSWORD_MAX = 512,
    PASSWORD_HASH_MAX = 384
}; /* both with a NUL: 511 bytes of password; empty or with NUL never matches */
int password_hash(struct str password, char out[PASSWORD_HASH_MAX], struct err *err)
    __attribute__((warn_unused_result));
/* Compared in constant time. false also for a scheme not known (err says so; ERR_NONE otherwise).
 */
bool password_check(struct str password, struct str stored, struct err *err);
/* Is the hash one that password_hash() would make today? If not, a login may upgrade it. */
bool password_is_current(struct str stored);
/* Spends the time of a check against a fresh yescrypt hash: for unknown users. */
void password_check_nobody(struct str password);
#endif
