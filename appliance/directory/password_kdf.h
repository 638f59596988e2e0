/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* password_kdf.h - stored passwords that neither crypt(3) nor one digest checks: argon2, and of
 * Dovecot PBKDF2, the verifiers of SCRAM, and CRAM-MD5.
 * Floor 3 (directory, private). Threads: any; blocks. Bounds, so that a row can't stop the server:
 * argon2 256 MiB, 64 passes, 16 lanes; 10 000 000 iterations of the others. */
#ifndef PH_DIRECTORY_PASSWORD_KDF_H
#define PH_DIRECTORY_PASSWORD_KDF_H
#include "appliance/base/err.h"
#include "appliance/directory/password_schemes.h"

/* form: of kind PASSWORD_KDF. Compared in constant time. err: it can't be read. */
bool password_kdf_check(struct str password, const struct password_form *form, struct err *err);
#endif
