/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_load.h - reading what is due for a site, with the texts, in one job on lane store.
 * Private to smtp/queue: delivery_load.c begins and ends it on the loop, delivery_rows.c is the
 * worker's part. Floor 5 (smtp). */
#ifndef PH_SMTP_DELIVERY_LOAD_H
#define PH_SMTP_DELIVERY_LOAD_H
#include "smtp/queue/delivery_private.h"

struct load_key {
    uint64_t id;
    uint32_t n;
};
struct load {
    struct job job;
    struct flight_load flight;
    struct site *site;
    struct delivery *d;
    /* in */
    struct str name;
    int64_t now_ms;
    const struct relay_conf *relay;
    struct snapshot *snapshot;
    struct load_key *known;
    size_t n_known, transaction;
    /* out */
    struct arena *arena;
    struct list mails;
    struct queue_to *strays; /* with the site that is theirs today */
    size_t n_strays, octets;
    int64_t next_ms;
    bool more, failed;
    struct err err;
    struct queue_claim claim; /* several nodes: of all rows that came */
};
int load_by_key(const void *a, const void *b); /* of struct load_key, for qsort() */
void load_run(struct job *j, void *worker);    /* the worker's part */
#endif
