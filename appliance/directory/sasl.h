/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sasl.h - SASL mechanisms of servers: PLAIN (RFC 4616) and LOGIN, as a pure state machine.
 * Floor 3 (directory). Threads: one at a time; no I/O: the session sends the challenges and asks
 * the directory. Input is base64 as it comes off the line, at most SASL_LINE_MAX. */
#ifndef PH_DIRECTORY_SASL_H
#define PH_DIRECTORY_SASL_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"

enum { SASL_LINE_MAX = 12288 }; /* RFC 4954 4.3 */
enum sasl_step {
    SASL_CHALLENGE, /* send *challenge_out (base64, may be empty), then feed the answer */
    SASL_READY,     /* user and password are known: ask the directory */
    SASL_CANCELLED, /* the client sent "*" */
    SASL_ERROR      /* malformed: err */
};
struct sasl { /* embedded; zeroed by sasl_init. Views live in the arena given to it */
    struct arena *arena;
    int mechanism, step; /* private */
    struct str authzid, user, password;
};
#define SASL_MECHANISMS "PLAIN LOGIN"
/* -1 ERR_PROTO: mechanism not known. */
int sasl_init(struct sasl *s, struct arena *a, struct str mechanism, struct err *err)
    __attribute__((warn_unused_result));
/* The initial response: .p == NULL when the command had none; "=" is an empty one (RFC 4954 4). */
enum sasl_step sasl_begin(struct sasl *s, struct str initial, struct str *challenge_out,
                          struct err *err);
enum sasl_step sasl_feed(struct sasl *s, struct str line, struct str *challenge_out,
                         struct err *err);
void sasl_wipe(struct sasl *s); /* zeroes the password */
#endif
