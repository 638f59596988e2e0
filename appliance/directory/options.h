/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* options.h - what an account may do and what becomes of its mail, beyond its row: our own tables
 * (own.h). Floor 3 (directory, private). Threads: that of the connection; blocks.
 * An account without a row sends, receives, forwards nothing and is at home. */
#ifndef PH_DIRECTORY_OPTIONS_H
#define PH_DIRECTORY_OPTIONS_H
#include "appliance/base/arena.h"
#include "appliance/directory/directory_admin.h"
#include "appliance/sql/sql.h"

/* The row of a folded address; memory from m. `away` is about the notice as it is set up, whether
 * it is time for it or not. */
int options_read(struct sql *own, struct arena *m, struct str account,
                 struct directory_options *out, struct err *err)
    __attribute__((warn_unused_result));
/* The whole row; one that says what no row says is removed. */
int options_write(struct sql *own, struct str account, const struct directory_options *o,
                  struct err *err) __attribute__((warn_unused_result));
/* Everything that is kept of an account here, its credentials excepted. */
int options_remove(struct sql *own, struct str account, struct err *err)
    __attribute__((warn_unused_result));
/* At this time (s since 1970), are senders told that the account is away? */
bool options_away(const struct directory_options *o, int64_t now_s);

/* The text of the notice; .p NULL: there is none. */
int options_notice(struct sql *own, struct arena *m, struct str account,
                   struct directory_notice *out, struct err *err)
    __attribute__((warn_unused_result));
int options_set_notice(struct sql *own, struct str account, const struct directory_notice *n,
                       struct err *err) __attribute__((warn_unused_result));
/* Notes that this sender is told now. *told_out: it was told within the notice's days already, and
 * nothing was changed. In a transaction of its own. */
int options_tell(struct sql *own, struct str account, struct str sender, int64_t days,
                 int64_t now_s, bool *told_out, struct err *err)
    __attribute__((warn_unused_result));
#endif
