/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sasl_client.h - SASL mechanisms of clients: SCRAM-SHA-256 (RFC 5802, 7677; without channel
 * binding), PLAIN (RFC 4616) and LOGIN, as a pure state machine.
 * Floor 3 (directory). Threads: one at a time; no I/O. sasl_client_work() takes a tenth of a second
 * and more: a job on a lane, during which nothing else may be called.
 * Ownership: user and password are copied, and wiped by sasl_client_free(). Views live until the
 * next call. Text is base64 as it goes over the line.
 * Bounds: of SCRAM, 4096 to 1 000 000 iterations; fewer would show the password's hash too cheaply
 * to whom we take for our server. User and password are UTF-8 without control characters; SASLprep
 * (RFC 4013) does nothing more to what people's keyboards make but normalise it, which isn't done.
 */
#ifndef PH_DIRECTORY_SASL_CLIENT_H
#define PH_DIRECTORY_SASL_CLIENT_H
#include "appliance/base/err.h"
#include "appliance/base/str.h"

enum {
    SASL_CLIENT_TEXT_MAX = 512, /* of user and of password, octets */
    SASL_CLIENT_ITERATIONS_MIN = 4096,
    SASL_CLIENT_ITERATIONS_MAX = 1000000
};
enum sasl_client_step {
    SASL_CLIENT_SEND, /* *out, base64; may be empty */
    SASL_CLIENT_WORK, /* call sasl_client_work(), then sasl_client_worked() */
    SASL_CLIENT_ERROR /* what the server says is wrong, or it isn't ours: err. Cancel */
};
struct sasl_client;
#define SASL_CLIENT_MECHANISMS "SCRAM-SHA-256 PLAIN LOGIN"
bool sasl_client_knows(struct str mechanism);
/* -1 ERR_PERM: not a known mechanism; a user or password that can't be sent. */
int sasl_client_new(struct str mechanism, struct str user, struct str password,
                    struct sasl_client **out, struct err *err) __attribute__((warn_unused_result));
void sasl_client_free(struct sasl_client **c); /* NULL is fine */
const char *sasl_client_name(const struct sasl_client *c);
/* What goes with the command, when it has at most max octets. false: nothing, the server asks
 * first; then the first sasl_client_feed() gives it. */
bool sasl_client_initial(struct sasl_client *c, size_t max, struct str *out);
/* The server's challenge. */
enum sasl_client_step sasl_client_feed(struct sasl_client *c, struct str challenge, struct str *out,
                                       struct err *err);
void sasl_client_work(struct sasl_client *c); /* any thread */
enum sasl_client_step sasl_client_worked(struct sasl_client *c, struct str *out, struct err *err);
/* The server says that we are in. -1 ERR_PROTO: it should have proved first that it knows the
 * password too (SCRAM), and hasn't. */
int sasl_client_finish(const struct sasl_client *c, struct err *err)
    __attribute__((warn_unused_result));
/* Tests: the client's nonce of SCRAM, before anything else. */
void sasl_client_set_nonce(struct sasl_client *c, const char *nonce);
#endif
