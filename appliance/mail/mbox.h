/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mbox.h - the messages of an mbox file: where each begins and ends, and what its Status fields
 * say.
 * Floor 1 (mail). Threads: one at a time (pure: the caller reads). Constant memory, but for one
 * header block of at most MBOX_HEAD_MAX.
 * A message begins with a line "From sender date" at the start of the file or after an empty line.
 * Its Content-Length counts where such a line, or the end of the file, follows just there (mboxcl);
 * else it ends before the next such line (mboxo, mboxrd). */
#ifndef PH_MAIL_MBOX_H
#define PH_MAIL_MBOX_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"
#include "appliance/mail/date.h"
#include <sys/types.h>

enum { MBOX_HEAD_MAX = 1 << 20, MBOX_WINDOW = 1 << 16 };

struct mbox {
    /* Bytes of the file from `at` on, as pread(): -1 with errno; 0: the end. */
    ssize_t (*read)(void *ctx, uint64_t at, void *p, size_t n);
    void *ctx;
    /* private */
    uint64_t at, window_at;
    size_t window_n;
    struct buf head;
    char window[MBOX_WINDOW];
};
struct mbox_message {
    uint64_t start; /* of its From_ line */
    uint64_t head;  /* its first byte, after that line */
    uint64_t body;  /* after the empty line */
    uint64_t end;   /* after its last byte; the empty line before the next From_ isn't part of it */
    struct str fields; /* the header block, until the next call; what of it is within bounds */
    struct date date;  /* of the From_ line */
    bool has_date, has_zone;
    bool quoted; /* a line that begins with >From was From: one '>' is to be taken off */
};
void mbox_init(struct mbox *m, ssize_t (*read)(void *ctx, uint64_t at, void *p, size_t n),
               void *ctx);
void mbox_fini(struct mbox *m);
/* 1: a message; 0: no more; -1: the file can't be read (ERR_TEMP), or is no mbox (ERR_PROTO). */
int mbox_next(struct mbox *m, struct mbox_message *out, struct err *err)
    __attribute__((warn_unused_result));
/* "From a@b Fri Nov 20 06:29:08 2026", with or without a zone before or after the year. */
bool mbox_from_line(struct str line, struct date *date_out, bool *has_zone_out);

enum mbox_flag {
    MBOX_SEEN = 1u << 0,     /* Status: R */
    MBOX_OLD = 1u << 1,      /* Status: O */
    MBOX_ANSWERED = 1u << 2, /* X-Status: A */
    MBOX_FLAGGED = 1u << 3,
    MBOX_DELETED = 1u << 4,
    MBOX_DRAFT = 1u << 5,   /* X-Status: T */
    MBOX_EXPUNGED = 1u << 6 /* X-Mozilla-Status: gone, but for the space it takes */
};
struct mbox_status {
    unsigned flags;                     /* enum mbox_flag */
    uint32_t uid, uidvalidity, uidlast; /* X-UID; X-IMAPbase or X-IMAP; 0: none */
    struct str keywords;                /* separated by white space */
};
void mbox_status_read(struct str fields, struct mbox_status *out);
/* A field that belongs to the mbox, not to the message. */
bool mbox_own_field(struct str name);
/* The line is "From " after any number of '>': it is to be quoted by one more (mboxrd). */
bool mbox_must_quote(struct str line);
#endif
