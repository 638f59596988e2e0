/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_answers.c - what a milter says to what it was told. Its ACCEPT is about itself only: it
 * isn't asked any more, and the other stages are. */
#include "filters/milter_private.h"
#include <stdio.h>

static void accept(struct milter_peer *p)
{
    if (p->asked == MILTER_CONNECT || p->asked == MILTER_HELO)
        p->settled = true;
    else
        p->settled_mail = p->mail;
}

/* At a recipient it is about the whole message, while the chain's own DISCARD would be about the
 * recipient. */
static void discard(struct milter_peer *p)
{
    struct milter_session *s = p->session;

    if (s->at != PH_RCPT) {
        milter_session_decide(p, PH_DISCARD, NULL, "it discards this");
        return;
    }
    s->discarded = milter_view(s)->message;
    p->settled_mail = s->discarded;
    s->current = s->n;
}

static void reply(struct milter_peer *p, struct str text)
{
    char line[300];

    if (milter_reply_line(text, line, sizeof line)) {
        milter_peer_fail(p, "a reply that is none of 4xx or 5xx");
        return;
    }
    milter_session_decide(p, line[0] == '4' ? PH_DEFER : PH_REJECT, line, line);
}

static void quarantine(struct milter_peer *p, struct str why)
{
    char reason[200];

    snprintf(reason, sizeof reason, "quarantine: %.180s", why.p);
    milter_session_decide(p, PH_QUARANTINE, NULL, reason);
}

/* ---- Changes. */

static int change(struct milter_peer *p, const struct milter_answer *a)
{
    struct milter_mail *m = &p->session->mail;
    bool spaced = milter_client_terms(p->client)->steps & MILTER_LEADING_SPACE;

    switch (a->what) {
    case MILTER_HEADER_ADD:
        return milter_mail_add(m, a->name, a->text, spaced);
    case MILTER_HEADER_INSERT:
        return milter_mail_insert(m, a->index, a->name, a->text, spaced);
    case MILTER_HEADER_CHANGE:
        return milter_mail_change(m, a->index, a->name, a->text, spaced);
    case MILTER_BODY_REPLACE:
        return milter_mail_body(m, a->text);
    case MILTER_RCPT_ADD: /* the chain knows of no ESMTP parameters to keep */
    case MILTER_RCPT_DELETE:
    case MILTER_SENDER:
        return milter_mail_envelope(m, a->what, milter_address(a->text));
    default:
        quarantine(p, a->text);
        return 0;
    }
}

/* ---- */

static void message_over(struct milter_peer *p)
{
    if (p->failed)
        return;
    milter_mail_commit(&p->session->mail);
    p->settled_mail = p->mail;
    p->mail = 0;
}

static void last_word(struct milter_peer *p, const struct milter_answer *a)
{
    switch (a->what) {
    case MILTER_ACCEPT:
        accept(p);
        break;
    case MILTER_REJECT:
        milter_session_decide(p, PH_REJECT, NULL, "it refuses this");
        break;
    case MILTER_TEMPFAIL:
        milter_session_decide(p, PH_DEFER, NULL, "it can't decide at the moment");
        break;
    case MILTER_SHUTDOWN:
        milter_session_decide(p, PH_DEFER, "421 4.7.0 Try again later",
                              "it wants the connection to end");
        break;
    case MILTER_DISCARD:
        discard(p);
        break;
    case MILTER_REPLY:
        reply(p, a->text);
        break;
    case MILTER_SKIP:
        if (p->asked == MILTER_BODY)
            p->part = MILTER_PART_BODY_END;
        break;
    default:
        break;
    }
}

void milter_on_answer(void *peer, const struct milter_answer *a)
{
    struct milter_peer *p = peer;
    struct milter_session *s = p->session;

    p->reused = false;
    if (a->what == MILTER_PROGRESS)
        return;
    if (a->what > MILTER_PROGRESS) {
        if (change(p, a) == 0)
            return;
        milter_peer_fail(p, a->what == MILTER_BODY_REPLACE
                                ? "its new body is larger than body_limit"
                                : "it wants more changes than there is room for");
    } else {
        last_word(p, a);
        if (p->asked == MILTER_BODY_END)
            message_over(p);
    }
    milter_session_run(s);
}
