/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* admin_dkim.h - what the files of the group `dkim` share. Private to app.
 * Floor 6 (app). Threads: as admin_run(). */
#ifndef PH_APP_ADMIN_DKIM_H
#define PH_APP_ADMIN_DKIM_H
#include "appliance/app/admin.h"
#include "filters/dkim_rows.h"

struct dkim_work {
    struct admin_call *c;
    struct arena *mem;
    struct dkim_row *rows; /* as last read */
    size_t n;
    struct dkim_change changes[8];
    size_t n_changes;
};
int dkim_begin(struct admin_call *c, struct dkim_work *w);
int dkim_end(struct dkim_work *w, int rc); /* returns rc */
int dkim_read(struct dkim_work *w, struct str domain);
int dkim_domain_word(const char *word, struct arena *a, struct str *out, struct err *err);

/* admin_dkim_show.c: the result of a command about a domain. */
int dkim_show(struct dkim_work *w, struct str domain);
int dkim_cmd_list(struct admin_call *c);
int dkim_cmd_show(struct admin_call *c);
#endif
