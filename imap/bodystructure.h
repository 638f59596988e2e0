/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* bodystructure.h - ENVELOPE, BODY and BODYSTRUCTURE as text (RFC 3501 7.4.2), from the tree of
 * mail/mime.h. Floor 5 (imap). Threads: any (pure). Header values go out as they were written
 * (encoded words untouched), quoted where that is possible, as literals otherwise; what a header
 * lacks is NIL, what it has and is empty is "". */
#ifndef PH_IMAP_BODYSTRUCTURE_H
#define PH_IMAP_BODYSTRUCTURE_H
#include "appliance/mail/mime.h"

void imap_put_envelope(struct buf *b, const struct mime_envelope *e);
/* extended: with extension data (BODYSTRUCTURE); without: BODY. */
void imap_put_body(struct buf *b, const struct mime_part *root, bool extended);
#endif
