/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* scram.h - the server's side of SCRAM-SHA-256 and -PLUS (RFC 5802, 7677): what is stored of a
 * password, and the exchange. Floor 3 (directory, private). Threads: one at a time; no I/O.
 * scram_make() takes milliseconds: a lane. All else is a few hashes.
 * A password is taken as the octets that were typed: SASLprep (RFC 4013) does nothing more to what
 * people's keyboards make but normalise it, which isn't done. */
#ifndef PH_DIRECTORY_SCRAM_H
#define PH_DIRECTORY_SCRAM_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

enum {
    SCRAM_HASH = 32,
    SCRAM_SALT = 16,
    SCRAM_SALT_MAX = 64,
    SCRAM_NONCE_MAX = 256, /* of a client */
    SCRAM_ITERATIONS_MIN = 4096,
    SCRAM_ITERATIONS_MAX = 1000000,
    SCRAM_TEXT_MAX = 400 /* a verifier as text */
};
struct scram_verifier {
    unsigned iterations;
    size_t n_salt;
    unsigned char salt[SCRAM_SALT_MAX], stored_key[SCRAM_HASH], server_key[SCRAM_HASH];
};
/* false: the library failed. */
bool scram_make(struct str password, struct str salt, unsigned iterations,
                struct scram_verifier *out);
/* "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey", as other programs write it too. */
void scram_print(const struct scram_verifier *v, struct buf *out);
bool scram_parse(struct str text, struct scram_verifier *out);
/* "{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey": a hash as Dovecot stores it is one. */
bool scram_parse_hash(struct str stored, struct scram_verifier *out);
/* For an account without one: its salt is what a verifier of ours would have, its keys fit no
 * password that anybody knows. key: secret, of 32 octets. */
void scram_salt(const unsigned char key[SCRAM_HASH], struct str account,
                unsigned char out[SCRAM_SALT]);
void scram_fake(const unsigned char key[SCRAM_HASH], struct str account, unsigned iterations,
                struct scram_verifier *out);

/* What both ends of a TLS connection know; .n 0: it can't be had. */
struct scram_channel {
    struct str exporter;  /* tls-exporter, RFC 9266 */
    struct str end_point; /* tls-server-end-point, RFC 5929 4 */
};
struct scram { /* embedded, zeroed by scram_first(); views live in its arena */
    struct arena *arena;
    struct str user, authzid;
    struct str header, bare, nonce, server_first, bound; /* private */
    struct scram_verifier verifier;
    bool downgraded; /* scram_first() failed for this: somebody hid -PLUS from the client */
    bool misbound;   /* scram_last(): the client is at the other end of another connection */
};
/* The client's first message. plus: the mechanism is -PLUS; announced: the client was offered it.
 * -1 ERR_PROTO. */
int scram_first(struct scram *s, struct arena *a, struct str message, bool plus, bool announced,
                const struct scram_channel *channel, struct err *err)
    __attribute__((warn_unused_result));
/* The server's first message; v is copied. */
struct str scram_challenge(struct scram *s, const struct scram_verifier *v);
/* The client's last message: *good_out, and then the server's last in *out. -1 ERR_PROTO. */
int scram_last(struct scram *s, struct str message, bool *good_out, struct str *out,
               struct err *err) __attribute__((warn_unused_result));
/* The next attribute of a message, which must be this one; for clients, too. */
bool scram_attribute(struct str *rest, char name, struct str *value);
void scram_set_nonce(struct scram *s, struct str nonce); /* tests: ours, before scram_challenge */
#endif
