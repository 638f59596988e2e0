/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* admin_leads.h - what leads to an address, or to a domain, that is going to be removed.
 * Floor 6 (app, private). Threads: those of admin.h. */
#ifndef PH_APP_ADMIN_LEADS_H
#define PH_APP_ADMIN_LEADS_H
#include "appliance/app/admin_session.h"

/* Aliases, forwards and global aliases with a destination there, but for those that go with a
 * domain. gone: folded, "user@domain" or "@domain". The
 * answer: an object of lists ("aliases",
 * "forwards", "global_aliases") and "warnings", a sentence about them; NULL: there are none, or it
 * couldn't be found out: nobody is kept from removing what is in the way. */
json_t *admin_leads_to(struct admin_call *c, struct admin_session *s, struct str gone);
#endif
