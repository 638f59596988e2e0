/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sasl.h - SASL mechanisms of servers as one pure state machine: SCRAM-SHA-256 and -PLUS (RFC 5802,
 * 7677), PLAIN (RFC 4616), LOGIN, OAUTHBEARER (RFC 7628), XOAUTH2.
 * Floor 3 (directory). Threads: one at a time; no I/O: the session sends the challenges and asks
 * the directory (directory_sasl). Input is base64 as it comes off the line, at most SASL_LINE_MAX.
 *
 * begin/feed give CHALLENGE until READY. The directory then answers in one of three ways: yes; no:
 * sasl_refuse(), whose challenge (OAuth has one) is sent before the failure is; or, with SCRAM, a
 * verifier: sasl_verifier() makes it the next challenge, and READY comes again. */
#ifndef PH_DIRECTORY_SASL_H
#define PH_DIRECTORY_SASL_H
#include "appliance/base/arena.h"
#include "appliance/base/err.h"
#include "appliance/directory/scram.h"

enum { SASL_LINE_MAX = 12288 }; /* RFC 4954 4.3 */
enum sasl_step {
    SASL_CHALLENGE, /* send *challenge_out (base64, may be empty), then feed the answer */
    SASL_READY,     /* ask the directory */
    SASL_REFUSED,   /* the exchange is over: wrong name or password */
    SASL_CANCELLED, /* the client sent "*" */
    SASL_ERROR      /* malformed: err; ERR_WHY_UNTRUSTED: somebody stands between us */
};
enum sasl_kind { SASL_PLAIN, SASL_LOGIN, SASL_SCRAM, SASL_SCRAM_PLUS, SASL_BEARER, SASL_XOAUTH2 };
/* What a connection offers beside PLAIN and LOGIN. */
struct sasl_offer {
    bool scram, plus, oauth;
    struct scram_channel channel; /* of -PLUS; needed from sasl_init() on */
};
struct sasl { /* embedded; zeroed by sasl_init. Views live in the arena given to it */
    struct arena *arena;
    int mechanism, step; /* private */
    struct str authzid, user;
    struct str password; /* OAuth: the token */
    struct sasl_offer offer;
    struct scram scram;
    bool proving, proved; /* SCRAM, at the second READY; and the client knew the password */
};
/* Most secure first, a blank between two. */
void sasl_mechanisms(const struct sasl_offer *offer, struct buf *out);
/* -1 ERR_PROTO: mechanism not known, or not offered. offer NULL: PLAIN and LOGIN. */
int sasl_init(struct sasl *s, struct arena *a, struct str mechanism, const struct sasl_offer *offer,
              struct err *err) __attribute__((warn_unused_result));
/* A name and password that came otherwise (IMAP's LOGIN): as if PLAIN had brought them. */
void sasl_init_password(struct sasl *s, struct arena *a, struct str user, struct str password);
enum sasl_kind sasl_kind(const struct sasl *s);
const char *sasl_name(const struct sasl *s); /* "SCRAM-SHA-256" */
/* The initial response: .p == NULL when the command had none; "=" is an empty one (RFC 4954 4). */
enum sasl_step sasl_begin(struct sasl *s, struct str initial, struct str *challenge_out,
                          struct err *err);
enum sasl_step sasl_feed(struct sasl *s, struct str line, struct str *challenge_out,
                         struct err *err);
enum sasl_step sasl_verifier(struct sasl *s, const struct scram_verifier *v,
                             struct str *challenge_out);
/* The directory said yes, and this is the account: does the client want to act for another (RFC
 * 4616 2, RFC 5802 5.1)? That isn't offered: a login that failed. */
bool sasl_is_for_other(const struct sasl *s, struct str account);
enum sasl_step sasl_refuse(struct sasl *s, struct str *challenge_out);
void sasl_wipe(struct sasl *s); /* zeroes password and keys */
#endif
