/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_server.h - the store's end of an import or export: a stream of mail over a socket whose
 * other end (import_wire.h) reads and writes the files, as the daemon may not see them.
 * Floor 6 (app). Threads: loop.
 * Requests are lines of JSON with "do"; each has one answer, a line too, in their order. Text of
 * messages follows its line in chunks, both ways: a line with a count, so many bytes, until the
 * count is 0; "-" ends a message that is to be dropped. The client need not wait for answers:
 *   mailbox {account, mailbox, source, special, subscribe, uidvalidity} -> {uidvalidity}: what is
 *           imported into from now on
 *   known {after} -> {known: [[key, uid, state]...], more}
 *   add {key, uid, state, flags, keywords, at, recent}, text -> {uid}, {known}; lost, uidvalidity
 *   flags {key, uid, state, flags, keywords} -> {}, {gone};  remove {key, uid} -> {}, {gone}
 *   clash {uid} -> {uidvalidity}: the source has this UID for a message known here by another
 *   end {uidnext, mark, mark_state} -> {}: mark is a key of no message, which `known` gives back
 *   subscribe {account, name} -> {};  command {argv} -> as the control socket answers
 *   accounts {} -> {accounts: [...]}
 *   folders {account} -> {folders: [{id, name, special, uidvalidity, uidnext, messages,
 * subscribed}]} fetch {id} -> {keywords: [[bit, name]...]}, then for each message {uid, flags, at}
 * and its text, then {end} {error, temp} instead: it failed; with temp the run had better end. */
#ifndef PH_APP_IMPORT_SERVER_H
#define PH_APP_IMPORT_SERVER_H
#include "appliance/io/conn.h"
#include "appliance/io/lanes.h"
#include "appliance/store/store.h"

struct directory_conf;
struct import_server_env {
    struct loop *loop;
    struct store *store;
    struct lane *misc; /* for commands; NULL: they run at once */
    const char *dir;
    const struct directory_conf *directory; /* NULL: in that folder */
};
struct import_session;
/* Takes the connection over. on_end on the loop, once, when all is over: the session is freed. */
struct import_session *import_session_start(const struct import_server_env *env, struct conn *conn,
                                            void (*on_end)(void *ctx), void *ctx);
/* Ends as soon as what is being committed is; on_end follows, later. */
void import_session_stop(struct import_session *s);
#endif
