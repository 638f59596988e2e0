/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* questions.h - asks the DNS what a check wants to know that does no I/O itself (spf_eval.h,
 * dmarc_eval.h). Floor 4 (filters). Threads: loop. Embedded in the memory of a turn. */
#ifndef PH_FILTERS_QUESTIONS_H
#define PH_FILTERS_QUESTIONS_H
#include "filters/stage.h"

enum { QUESTIONS_AT_ONCE = 4 };
enum questions_next {
    QUESTIONS_DECIDED,
    QUESTIONS_ASK, /* this one; its name lives until it is answered */
    QUESTIONS_WAIT /* for answers that are due */
};
struct questions;
struct questions_kind {
    enum questions_next (*next)(struct questions *q, enum ph_dns_type *type_out,
                                const char **name_out);
    void (*answer)(struct questions *q, enum ph_dns_type type, const char *name,
                   const struct ph_dns_answer *a);
    void (*decided)(void *inst, ph_turn turn, struct questions *q); /* ends the turn */
    unsigned at_once; /* so many of them; QUESTIONS_AT_ONCE at most */
};
struct questions {
    const struct ph_host *host;
    const struct questions_kind *kind;
    /* private */
    struct question_asked {
        struct questions *of; /* NULL: free */
        enum ph_dns_type type;
        const char *name;
    } asked[QUESTIONS_AT_ONCE];
    unsigned waiting;
};
/* Until all is decided, perhaps at once. What can't be asked is answered by PH_DNS_FAILED. */
void questions_ask(struct questions *q, void *inst, ph_turn turn);
#endif
