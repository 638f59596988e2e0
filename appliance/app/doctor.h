/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* doctor.h - `posthouse doctor`: is this appliance as it should be? A table of small checks, each
 * of which says what it found in a line, and what to do about it. Floor 6 (app). Threads: main,
 * without a loop of its own but for questions to DNS; blocks. It runs beside a daemon or without
 * one, changes nothing, and needs a configuration for most. */
#ifndef PH_APP_DOCTOR_H
#define PH_APP_DOCTOR_H
#include "appliance/app/config.h"
#include <jansson.h>

enum doctor_mark { DOCTOR_OK, DOCTOR_WARN, DOCTOR_BAD };
struct doctor {
    const char *data;            /* the data folder */
    const struct config *config; /* NULL: there is none, the data folder alone is looked at */
    bool dns;                    /* may be asked */
    json_t *findings; /* out: [{"check":..., "mark":"ok|warn|bad", "says":..., "do":...}] */
    enum doctor_mark worst;
    /* of the check under way */
    const char *check;
    struct resolver *resolver; /* of doctor_dns.c */
    struct loop *loop;
    struct arena *mem;
};
/* what_to_do: a sentence, or "" when all is well. says: as printf. */
void doctor_say(struct doctor *d, enum doctor_mark mark, const char *what_to_do, const char *says,
                ...) __attribute__((format(printf, 4, 5)));
/* A command of this program, as a request of control.h; NULL: it failed, which was said, unless it
 * was refused and refused_out isn't NULL. */
json_t *doctor_ask(struct doctor *d, const char *const *words, bool *refused_out);

/* doctor_host.c */
void doctor_tls(struct doctor *d);
void doctor_disk(struct doctor *d);
void doctor_flush(struct doctor *d);
void doctor_clock(struct doctor *d);
void doctor_memory(struct doctor *d);
/* doctor_config.c */
void doctor_relay(struct doctor *d);
void doctor_listeners(struct doctor *d);
void doctor_database(struct doctor *d);
/* doctor_kept.c */
void doctor_kept(struct doctor *d);
/* doctor_accounts.c */
void doctor_accounts(struct doctor *d);
/* doctor_dns.c */
void doctor_names(struct doctor *d);   /* of this host */
void doctor_domains(struct doctor *d); /* that we receive for */
#endif
