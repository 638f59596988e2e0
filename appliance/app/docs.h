/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* docs.h - what is made from the tables of settings and commands: man pages and the sample file of
 * conf/, kept in step by tests/checks/docs.py. Floor 6 (app). Threads: any. */
#ifndef PH_APP_DOCS_H
#define PH_APP_DOCS_H
#include "appliance/base/buf.h"

/* what: "sample" (posthouse.conf), "man5" (posthouse.conf.5), "man8" (posthouse.8). -1: none of
 * these. NULL is none. */
int docs_print(const char *what, struct buf *out);
#endif
