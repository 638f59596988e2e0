/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* questions.h - asks the DNS what a check wants to know that does no I/O itself (spf_eval.h,
 * dmarc_eval.h), one question after another. Floor 4 (filters). Threads: loop. Embedded in the
 * memory of a turn. */
#ifndef PH_FILTERS_QUESTIONS_H
#define PH_FILTERS_QUESTIONS_H
#include "filters/stage.h"

struct questions;
struct questions_kind {
    /* True: that is to be asked; the name lives until it is answered. False: it is decided. */
    bool (*next)(struct questions *q, enum ph_dns_type *type_out, const char **name_out);
    void (*answer)(struct questions *q, const struct ph_dns_answer *a);
    void (*decided)(void *inst, ph_turn turn, struct questions *q); /* ends the turn */
};
struct questions {
    const struct ph_host *host;
    const struct questions_kind *kind;
};
/* Until all is decided, perhaps at once. What can't be asked is answered by PH_DNS_FAILED. */
void questions_ask(struct questions *q, void *inst, ph_turn turn);
#endif
