/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivered.h - what stands in front of the copy in a mailbox (RFC 5321 4.4, RFC 9228). Floor 1
 * (mail). Pure. Threads: any. */
#ifndef PH_MAIL_DELIVERED_H
#define PH_MAIL_DELIVERED_H
#include "appliance/base/buf.h"

/* Return-Path and Delivered-To. */
void delivered_prefix(struct buf *out, struct str sender, struct str account);
/* A prefix that was made so, of a message that has another sender now. */
void delivered_change_sender(struct buf *out, struct str prefix, struct str sender);
#endif
