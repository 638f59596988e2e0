/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_check.h - all signatures of one message: found, given their keys, verified (libopendkim).
 * Floor 4 (filters). Threads: a check belongs to one at a time: begin and keys on the loop, run on
 * a lane (it takes about 0.2 ms for a signature, and time for large messages). A verifier: any. */
#ifndef PH_FILTERS_DKIM_CHECK_H
#define PH_FILTERS_DKIM_CHECK_H
#include "appliance/base/buf.h"
#include "filters/dkim_tags.h"

enum { DKIM_CHECK_MAX = 20, DKIM_WHY = 120 };

struct dkim_verifier;
struct dkim_verifier *dkim_verifier_new(void); /* NULL: the library can't be used */
void dkim_verifier_free(struct dkim_verifier **v);

struct dkim_check {
    struct arena *arena;
    int64_t min_bits;  /* of RSA */
    bool test_keys;    /* what a key with t=y has signed counts, too */
    size_t n, ignored; /* ignored: signatures over the limit */
    struct dkim_one {
        struct dkim_signature sig;
        enum dkim_result result; /* DKIM_NONE: not known yet */
        char why[DKIM_WHY];
        struct dkim_record record; /* of its key, where there is one */
        unsigned bits;
        struct str normal;    /* the record as the library is given it */
        void *info;           /* the library's */
        const char *key_name; /* under which its key is asked for */
    } list[DKIM_CHECK_MAX];
};
/* Reads the DKIM-Signature fields of a head, from the top, `most` of them. now: s. */
void dkim_check_begin(struct dkim_check *c, struct str head, size_t most, int64_t now);
void dkim_check_fini(struct dkim_check *c);
/* The key of one whose result isn't known: its TXT records, several where the DNS has several. */
void dkim_check_key(struct dkim_check *c, struct dkim_one *one, const struct str *records,
                    size_t n);
void dkim_one_key(struct arena *a, struct dkim_one *one, const struct str *records, size_t n);
void dkim_one_settle(struct dkim_one *one, enum dkim_result r, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool dkim_check_open(const struct dkim_check *c); /* is there anything to verify? */

/* Verifies what is open; then all have a result. read: n octets of the message from offset, as
 * ph_view.read. Blocks. */
struct dkim_message {
    struct str head;
    int64_t (*read)(void *ctx, uint64_t offset, void *to, size_t n);
    void *ctx;
};
void dkim_check_run(const struct dkim_verifier *v, struct dkim_check *c,
                    const struct dkim_message *m);

/* The best of all results. */
enum dkim_result dkim_check_result(const struct dkim_check *c);
/* A blank and a word: no blanks in it, nothing that would end an entry. */
void dkim_word_write(struct buf *out, struct str s);
/* One signature as words: RESULT DOMAIN SELECTOR ALGORITHM IDENTITY MARK BITS TEXT..., "-" for what
 * isn't known; see filters/README.md. */
int dkim_one_write(const struct dkim_one *one, struct buf *out);
#endif
