/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* writer.h - what is noted of logins, behind them: SCRAM verifiers, when an app password was used.
 * Floor 3 (directory, private). Threads: loop; the work is done on lane `accounts`, on a connection
 * of its own that writes our own tables.
 * What can't be noted now (the database is away, too much waits) is noted at a later login; that it
 * failed is logged. */
#ifndef PH_DIRECTORY_WRITER_H
#define PH_DIRECTORY_WRITER_H
#include "appliance/directory/private.h"

struct writer;
int writer_new(struct directory *d, struct writer **out, struct err *err)
    __attribute__((warn_unused_result));
void writer_stop(struct writer *w); /* finishes what waits */
void writer_free(struct writer **w);
void writer_verifier(struct writer *w, struct str account, struct str stored, struct str password);
struct lane *writer_lane(struct writer *w); /* for what else waits behind logins; NULL: stopped */
void writer_used(struct writer *w, struct str account, struct str label);
/* Does every enabled account that has a password have a verifier? Looked at now and then, and after
 * verifiers were made; false until it was. */
bool writer_complete(const struct writer *w);
/* Somebody has none: it is looked at again soon, if that was not known. */
void writer_missing(struct writer *w);

/* The same at once, when there are at most so many users; else false. Before the loop runs. */
bool writer_count_now(struct writer *w, size_t most);
#endif
