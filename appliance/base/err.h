/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* err.h - what went wrong, and of what kind.
 * Floor 0 (base). Threads: any (a struct err belongs to one).
 * Functions that can fail return 0 or -1 and take `struct err *err` last (never NULL); on -1 it is
 * filled. Mail's rule: what we can't decide is ERR_TEMP (4xx, NO, keep it); nothing is lost. */
#ifndef PH_BASE_ERR_H
#define PH_BASE_ERR_H
#include <stdbool.h>

enum err_kind {
    ERR_NONE,
    ERR_TEMP,  /* may work later: disk, database, resource, lane full */
    ERR_PERM,  /* will not work: no such mailbox, over a limit, refused by policy */
    ERR_PROTO, /* the peer or the file said something malformed */
    ERR_BUG    /* ours */
};
/* Why, where an answer depends on it (IMAP response codes, RFC 3463 details, exit codes). */
enum err_why {
    ERR_WHY_OTHER,
    ERR_WHY_NOT_FOUND,
    ERR_WHY_EXISTS,
    ERR_WHY_QUOTA,    /* account over its quota */
    ERR_WHY_NO_SPACE, /* disk below min_free, or full */
    ERR_WHY_LIMIT,    /* a count, size or length limit */
    ERR_WHY_DENIED,
    ERR_WHY_BUSY,      /* queue full, locked by another process */
    ERR_WHY_READ_ONLY, /* store refuses writes since a flush failed */
    ERR_WHY_CANCELLED, /* stopped before it ran */
    ERR_WHY_UNTRUSTED, /* a peer's certificate isn't what was demanded */
    ERR_WHY_DAMAGED,   /* what is stored can't be had any more; other things can */
    ERR_WHY_UNKNOWN,   /* it may have happened: the answer was lost */
    ERR_WHY_CHARSET    /* a text isn't in the character set of what it is compared with */
};
struct err {
    enum err_kind kind;
    enum err_why why;
    char text[248]; /* one sentence for a person, no newline, no secrets */
};

/* return ERR(err, ERR_TEMP, "cannot open %s: %s", path, strerror(errno)); */
#define ERR(e, kind, ...) (err_set((e), (kind), ERR_WHY_OTHER, __VA_ARGS__), -1)
#define ERR_WHY(e, kind, why, ...) (err_set((e), (kind), (why), __VA_ARGS__), -1)
void err_set(struct err *e, enum err_kind kind, enum err_why why, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), cold));
void err_clear(struct err *e);
/* Puts "context: " before the text, keeps kind and why. Returns -1. */
int err_context(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));
#endif
