/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* admin_queue.h - what the files of `posthouse queue` share: its filters, its texts, its commands.
 * Floor 6 (app). Threads: as admin.h. */
#ifndef PH_APP_ADMIN_QUEUE_H
#define PH_APP_ADMIN_QUEUE_H
#include "appliance/app/admin.h"
#include "appliance/store/queue.h"

/* --domain= --sender= --error= --older= */
struct queue_words {
    struct queue_filter filter;
    struct buf domain; /* filter.domain lies here */
    bool any;          /* one of them was said */
};
int queue_words_read(struct admin_call *c, struct queue_words *w)
    __attribute__((warn_unused_result));
void queue_words_free(struct queue_words *w);
/* A domain name as A-labels, or an address literal as it is. */
int queue_domain_word(const char *word, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));
int queue_id_word(const char *word, uint64_t *out, struct err *err)
    __attribute__((warn_unused_result));

const char *queue_state_text(const struct queue_entry *e, uint64_t n, uint64_t on_hold);
json_t *queue_time_text(int64_t ms); /* 0: null */
json_t *queue_in_text(int64_t ms);   /* "now", "in 5m" */
json_t *queue_sender_text(struct str sender);
json_t *queue_id_text(uint64_t id);

/* Into the result of a release: copies that leave wait for the stages. */
void queue_note_later(struct admin_call *c, bool later);
/* Recipients whose account was removed meanwhile: for them it stays in quarantine. */
void queue_note_gone(struct admin_call *c, size_t gone);
int queue_all_gone(struct err *err); /* -1 */

int queue_cmd_show(struct admin_call *c);
int queue_cmd_totals(struct admin_call *c);
int queue_cmd_retry(struct admin_call *c);
int queue_cmd_hold(struct admin_call *c);
int queue_cmd_release(struct admin_call *c);
int queue_cmd_remove(struct admin_call *c);
int queue_cmd_reroute(struct admin_call *c);
int queue_cmd_flush(struct admin_call *c);
#endif
