/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* deliver.h - the steps between the end of a message and its one reply. Private to smtp/.
 * Floor 5 (smtp). Threads: loop only. */
#ifndef PH_SMTP_DELIVER_H
#define PH_SMTP_DELIVER_H
#include "smtp/session.h"

enum smtp_step {
    SMTP_STEP_NEXT,
    SMTP_STEP_WAIT,  /* smtp_deliver_go_on() comes later, with the next step */
    SMTP_STEP_ASKED, /* smtp_deliver_go_on() comes later, with the same step again */
    SMTP_STEP_REFUSE /* tx->refused says why */
};
void smtp_deliver_go_on(struct smtp_session *s);
enum smtp_step smtp_step_refuse(struct smtp_session *s, unsigned code, const char *status,
                                const char *text);
/* hold.c: into the queue instead of these mailboxes. */
enum smtp_step smtp_step_hold(struct smtp_session *s, const struct message_recipient *rcpts,
                              size_t n);
/* hold.c: only the copies that leave, of junk. */
void smtp_hold_leaving(struct smtp_session *s, struct queue_entry *e);
enum smtp_step smtp_step_from(struct smtp_session *s); /* from.c */
/* The store said no: tx->refused accordingly. */
void smtp_store_failed(struct smtp_session *s, const struct err *err);

/* filter_message.c */
enum smtp_step smtp_step_readable(struct smtp_session *s);
/* Large data is still on its way into its file; stages read it from there. */
enum smtp_step smtp_make_readable(struct smtp_session *s);
/* What the chain is shown, until the transaction ends or it is called again. -1: it can't be. */
int smtp_show_message(struct smtp_session *s, struct chain_message *m);
enum smtp_step smtp_step_filter(struct smtp_session *s);
enum smtp_step smtp_step_edit(struct smtp_session *s);
enum smtp_step smtp_step_body(struct smtp_session *s);
enum smtp_step smtp_step_envelope(struct smtp_session *s);

/* leave.c: tx->leaves from the recipients elsewhere */
enum smtp_step smtp_step_junk(struct smtp_session *s);
bool smtp_junk_stays(const struct smtp_session *s); /* something of it leaves, unless it is junk */
enum smtp_step smtp_step_circle(struct smtp_session *s);
enum smtp_step smtp_step_sender(struct smtp_session *s);
enum smtp_step smtp_step_leave(struct smtp_session *s);
void smtp_leave_queued(struct smtp_session *s); /* committed: who sends it is told */
/* outbound.c */
enum smtp_step smtp_step_outgoing(struct smtp_session *s);
enum smtp_step smtp_step_outbound(struct smtp_session *s);
#endif
