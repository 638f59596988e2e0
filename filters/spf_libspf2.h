/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_libspf2.h - check_host() by libspf2, the second engine of the stage `spf`; used as the first
 * one (spf_eval.h) is. Floor 4 (filters). Threads: one for all (the library's error handler).
 * libspf2 asks the DNS and blocks meanwhile. Here it never does: a question whose answer isn't
 * known yet ends the run, it is put, and once it is answered the library begins again. What it
 * can't be trusted with is kept from it: a record, an explanation that our own parser refuses, or
 * one that doesn't fit its buffers (CVE-2023-42118) is a permerror, or no explanation. */
#ifndef PH_FILTERS_SPF_LIBSPF2_H
#define PH_FILTERS_SPF_LIBSPF2_H
#include "filters/spf_eval.h"

bool spf_libspf2_is_there(void); /* false: built without it, and nothing below may be called */
struct spf_libspf2;
struct spf_libspf2 *spf_libspf2_new(const struct spf_request *r);
void spf_libspf2_free(struct spf_libspf2 **s);
bool spf_libspf2_question(const struct spf_libspf2 *s, struct spf_question *out);
void spf_libspf2_answer(struct spf_libspf2 *s, const struct ph_dns_answer *a);
const struct spf_verdict *spf_libspf2_verdict(const struct spf_libspf2 *s); /* NULL: not yet */
#endif
