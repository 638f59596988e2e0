/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* gzip.h - files of gzip (RFC 1952), in memory.
 * Floor 0 (base). Threads: any (pure). A megabyte takes some 20 ms: not on the loop. */
#ifndef PH_BASE_GZIP_H
#define PH_BASE_GZIP_H
#include "appliance/base/buf.h"

/* Appends one that holds `in`, without a name and a time: the same in gives the same out. -1: out
 * is full, and as it was. */
int gzip_pack(struct str in, struct buf *out) __attribute__((warn_unused_result));
#endif
