/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* notice.h - a message that the server itself writes: a confirmation, somebody's answer that they
 * are away, a report about a day. Private to smtp/.
 * Floor 5 (smtp). Threads: loop only.
 * It goes, with the null sender, to mailboxes of ours or past the stages at PH_OUTBOUND into the
 * queue. It is a courtesy: what can't be sent is logged and dropped, and one that is lost in a
 * crash between two commits is not missed. Whoever wants to know more says so with `then`. */
#ifndef PH_SMTP_NOTICE_H
#define PH_SMTP_NOTICE_H
#include "smtp/session.h"

enum { NOTICE_MAX = 1 << 20 }; /* its text */

struct notice {
    const char *what;       /* for the log: "confirmation" */
    uint64_t id;            /* of store_new_id() */
    uint64_t about;         /* of the message, for the log */
    struct str to;          /* an address */
    struct str account;     /* who it is from; empty: the server */
    struct str text;        /* whole, CRLF line ends */
    bool utf8;              /* it may be sent with SMTPUTF8 */
    const struct str *more; /* further recipients */
    size_t n_more;
    bool any_tls;     /* by MX it goes whatever the host's TLS and its policies are (RFC 8460 3) */
    bool only_signed; /* not without a DKIM signature, to other hosts */
    const struct notice_then *then; /* or NULL; lives until done() */
    void *ctx;
};
struct notice_then {
    /* Commit thread, in the transaction in which it is kept; -1: not at all. May come again where
     * the transaction was undone. */
    int (*also)(void *ctx, struct store_tx *tx, struct err *err);
    /* Once, later on the loop. failed: NULL, or why; ERR_PERM: it never will be sent. */
    void (*done)(void *ctx, const struct err *failed);
};
/* Are there so many under way that one more is better dropped? */
bool notice_busy(const struct smtp_server *server);
/* Copies what it is given. The way out is that of the session. */
void notice_send(const struct smtp_session *s, const struct notice *n);
/* One that no session has caused: by the way out of now. */
void notice_post(struct smtp_server *server, const struct notice *n);
#endif
