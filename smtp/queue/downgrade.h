/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* downgrade.h - a message with 8-bit content made 7 bit, for hosts without 8BITMIME (RFC 6152 3).
 * Leaves with octets over 127 become quoted-printable (text) or base64, in all multiparts and
 * attached messages; Content-Transfer-Encoding follows. Pure. Floor 5 (smtp). Threads: any; it is
 * work, so not the loop. */
#ifndef PH_SMTP_DOWNGRADE_H
#define PH_SMTP_DOWNGRADE_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

enum { DOWNGRADE_MAX = 16 << 20 }; /* larger messages aren't converted */

/* head: with its empty line. Appends the whole message to out, whose maximum of
 * downgrade_room() is enough. -1 ERR_PERM: it can't or mustn't be changed, and why: it is signed
 * (DKIM-Signature, multipart/signed, S/MIME), isn't MIME, has octets over 127 in a header, or its
 * structure forbids it. */
int downgrade_message(struct str head, struct str data, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));
size_t downgrade_room(size_t head, size_t data);
#endif
