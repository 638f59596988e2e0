/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* control.h - the control socket: how commands reach the daemon that holds the data folder.
 * Floor 6 (app). Threads: loop (server side); the client side blocks and belongs to a command's
 * process. FOLDER/control.sock, mode 0600; only root and the daemon's own user are heard (peer
 * credentials). One request a connection, one line of JSON each way:
 *   {"argv":["user","add","a@b"],"password":"..."}  ->  {"exit":0,"result":...}  or
 * {"exit":1,"error":"..."}
 * With "more":"ID" beside a result there is more of it, which --after=ID asks for.
 * {"stream":true} makes the connection a stream of mail (import_server.h). */
#ifndef PH_APP_CONTROL_H
#define PH_APP_CONTROL_H
#include "appliance/io/lanes.h"
#include "appliance/io/listener.h"
#include "appliance/store/store.h"
#include <jansson.h>

#define CONTROL_SOCKET "control.sock"

struct control;
struct directory_conf;
struct guard;
struct control *control_new(struct loop *l, struct lane *misc, const char *dir, struct store *store,
                            struct guard *guard);
/* Where the accounts are; lives as long as the control. Without: in the folder's own tables. */
void control_set_directory(struct control *c, const struct directory_conf *directory);
/* smtp.global_aliases as it is now; copies it. Without: none. */
void control_set_aliases(struct control *c, const char *global_aliases);
/* fn on the loop, before such a command is answered: the logins of this account hold no more (it
 * was disabled or removed, or has another password); its sessions are to be ended. */
void control_on_revoked(struct control *c, void (*fn)(void *ctx, struct str account), void *ctx);
/* fn on the loop, before such a command is answered: mail of the queue waits that didn't, or has
 * another site. site_or_domain: of what (.n == 0: of anything); with flush a domain, and all that
 * waits for it or below it is to be tried at once. */
void control_on_queue(struct control *c,
                      void (*fn)(void *ctx, struct str site_or_domain, bool flush), void *ctx);
/* fn on the loop, before such a command is answered: reports about days that are over shall leave
 * now. */
void control_on_reports(struct control *c, void (*fn)(void *ctx), void *ctx);
int control_start(struct control *c, struct listener *ln, struct err *err)
    __attribute__((warn_unused_result));
/* No new requests; on_stopped on the loop when those under way are answered. */
void control_stop(struct control *c, void (*on_stopped)(void *ctx), void *ctx);
void control_free(struct control **c);

/* Client: sends a request to the daemon of the folder dirfd. 0: *reply_out (owned). -1
 * ERR_WHY_NOT_FOUND: no daemon listens. */
int control_ask(int dirfd, json_t *request, json_t **reply_out, struct err *err)
    __attribute__((warn_unused_result));
/* A socket to it, for a request of one's own. -1 as control_ask. */
int control_connect(int dirfd, struct err *err) __attribute__((warn_unused_result));
/* What a request's run answers, in the daemon and in a program without one. Blocks. */
json_t *control_answer(const char *dir, const struct directory_conf *directory,
                       const char *global_aliases, struct store *store, struct guard *guard,
                       json_t *request);
/* It has to run on the loop, with a guard. */
bool control_on_loop(json_t *request);
#endif
