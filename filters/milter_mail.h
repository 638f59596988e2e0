/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_mail.h - a message on its way through several milters: each sees what those before it have
 * made of it. What came of it in the end is told to the chain as actions on the message as
 * received. Floor 4 (filters). Threads: loop (pure but for its memory). */
#ifndef PH_FILTERS_MILTER_MAIL_H
#define PH_FILTERS_MILTER_MAIL_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "filters/milter_codec.h"
#include "filters/stage.h"

enum { MILTER_ADDED_MAX = 200 << 10, MILTER_FIELDS_MAX = 10000 };

struct milter_field {
    struct str name, value; /* value: folds as LF; the blanks after the colon are in it */
    unsigned received;      /* which of the head, from 1; 0: a milter's */
    unsigned nth;           /* of its name, in the head */
    bool changed, deleted;
};
struct milter_envelope {
    const struct milter_envelope *next;
    enum milter_what what; /* MILTER_RCPT_ADD, MILTER_RCPT_DELETE, MILTER_SENDER */
    struct str address;
};
struct milter_mail {
    struct arena *arena;
    struct milter_field *fields;
    size_t n, cap;
    size_t added; /* octets that milters have put in */
    bool body_new;
    struct buf body; /* theirs */
    struct milter_envelope *envelope, **last_envelope;
    /* Of the milter at work, until it has had its last word. */
    struct milter_field *before; /* the fields, if it has changed any */
    size_t n_before;
    bool replacing;
    struct buf next_body;
    char last; /* octet of the piece before */
    struct milter_envelope **last_before;
};
void milter_mail_init(struct milter_mail *m, struct str head, size_t body_max);
void milter_mail_fini(struct milter_mail *m);

/* -1: more than there is room for. Values as they come from the milter: `spaced` with the blank
 * after the colon, otherwise one is put in front. */
int milter_mail_add(struct milter_mail *m, struct str name, struct str value, bool spaced);
/* index as libmilter counts: 0 on top of our Received, 1 below it, ... We have only below. */
int milter_mail_insert(struct milter_mail *m, uint32_t index, struct str name, struct str value,
                       bool spaced);
/* The nth (from 1; 0 is taken as 1) field of that name. Empty value: it is deleted. One that isn't
 * there is added. */
int milter_mail_change(struct milter_mail *m, uint32_t nth, struct str name, struct str value,
                       bool spaced);
/* A piece of a body in place of the one that was there; line ends become CRLF. */
int milter_mail_body(struct milter_mail *m, struct str piece);
int milter_mail_envelope(struct milter_mail *m, enum milter_what what, struct str address);
/* What the milter at work has wanted is done; or forgotten, as it failed half-way. */
void milter_mail_commit(struct milter_mail *m);
void milter_mail_rollback(struct milter_mail *m);

/* All of it as actions. How many the chain wouldn't take (not well-formed). */
unsigned milter_mail_tell(const struct milter_mail *m, const struct ph_host *host,
                          struct ph_acts *acts);
#endif
