/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* walk_private.h - what walk.c (mailbox, windows) and walk_texts.c share. Floor 5 (imap). */
#ifndef PH_IMAP_WALK_PRIVATE_H
#define PH_IMAP_WALK_PRIVATE_H
#include "imap/client/walk.h"

void imap_walk_note(struct imap_walk *w, const struct imap_response *r);
int imap_walk_stop(struct imap_walk *w, int rc); /* of a callback: -1 as it is, else 0 */
/* The texts of all in the window that are wanted. */
int imap_walk_texts(struct imap_walk *w, struct imap_client *c, struct err *err);
#endif
