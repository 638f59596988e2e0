/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* judge.c - what the verdicts of stages come to: for a command, a transaction, a session. */
#include "filters/private.h"
#include <stdio.h>

static void decide(struct decision *d, enum ph_verdict v, const struct stage *s, const char *reply,
                   const char *reason)
{
    if (v <= d->verdict)
        return;
    *d = (struct decision){.verdict = v, .stage = stage_def(s)->name};
    snprintf(d->reason, sizeof d->reason, "%s", reason ? reason : "");
    reply_parse(d, reply);
}

bool judge_allowed(const struct chain *c)
{
    const struct scope *s = c->message ? &c->of_message : &c->of_session;

    if (s->allowed || c->run.point == PH_RCPT)
        return s->allowed || c->run.allowed == BUILTIN_ALLOW;
    return s->rcpts > 0 && s->rcpts_allowed + (s->proven ? s->rcpts_if_proven : 0) == s->rcpts;
}

enum judged judge_turn(struct chain *c, const struct stage *s, enum ph_verdict v, const char *reply,
                       const char *reason)
{
    struct scope *scope = chain_scope(c);
    bool of_rcpt = c->run.point == PH_RCPT;

    if (v > PH_ACCEPT && stage_def(s)->flags & PH_ABOUT_SENDER) {
        if (judge_allowed(c))
            return JUDGED_OVERRIDDEN;
        if (v >= PH_DISCARD && c->run.point == PH_MAIL && scope->postponer) {
            decide(&scope->late, v, s, reply, reason);
            return JUDGED_LATE;
        }
    }
    if (v == PH_ACCEPT)
        *(of_rcpt ? &c->run.accepted : &scope->accepted) = true;
    else if (v == PH_JUNK || v == PH_QUARANTINE)
        decide(stage_def(s)->flags & PH_ALWAYS ? &scope->firm : &scope->soft, v, s, reply, reason);
    else if (v == PH_DISCARD && !of_rcpt)
        decide(&scope->stop, v, s, reply, reason);
    else if (v >= PH_DISCARD) /* of this command only */
        decide(&c->run.stop, v, s, reply, reason);
    return JUDGED;
}

/* What was refused at MAIL: for this recipient nobody can allow it any more. */
static bool refused_late(const struct chain *c)
{
    const struct scope *s = &c->of_message;

    return c->run.point == PH_RCPT && s->late.verdict != PH_PASS && !judge_allowed(c) &&
           !((c->run.todo | c->run.running) & s->postponer);
}

bool judge_settled(const struct chain *c)
{
    const struct scope *s = c->message ? &c->of_message : &c->of_session;

    if (s->accepted || c->run.point == PH_RCPT)
        return s->accepted || c->run.accepted;
    return s->rcpts > 0 && s->rcpts_accepted == s->rcpts;
}

bool judge_stopped(const struct chain *c)
{
    const struct scope *s = c->message ? &c->of_message : &c->of_session;

    return c->run.stop.verdict != PH_PASS || s->stop.verdict != PH_PASS || refused_late(c);
}

static const struct decision *worse(const struct decision *a, const struct decision *b)
{
    return b->verdict > a->verdict ? b : a;
}

static void make_answer(struct chain *c)
{
    const struct scope *scope = chain_scope(c);
    struct chain_answer *a = &c->answer;
    const struct decision *d = worse(&scope->stop, &c->run.stop);
    bool settled = judge_settled(c);

    if (refused_late(c))
        d = worse(d, &scope->late);
    d = worse(d, &scope->firm);
    if (!settled)
        d = worse(d, &scope->soft);
    *a = (struct chain_answer){
        .verdict = d->verdict, .stage = d->stage ? d->stage : "", .code = d->code};
    memcpy(a->status, d->status, sizeof a->status);
    memcpy(a->text, d->text, sizeof a->text);
    memcpy(a->reason, d->reason, sizeof a->reason);
    if (a->verdict == PH_PASS && settled)
        a->verdict = PH_ACCEPT;
    if (c->run.held && a->verdict < PH_DISCARD) {
        a->hold = true;
        a->stage = c->held;
    }
}

void judge_run(struct chain *c)
{
    struct scope *scope = chain_scope(c);

    make_answer(c);
    if (c->run.point != PH_RCPT || c->answer.verdict >= PH_DISCARD)
        return;
    scope->rcpts++;
    scope->rcpts_accepted += c->run.accepted;
    scope->rcpts_allowed += c->run.allowed == BUILTIN_ALLOW;
    scope->rcpts_if_proven += c->run.allowed == BUILTIN_ALLOW_IF_PROVEN;
    if (scope->late.verdict != PH_PASS) /* allowed, or it wouldn't be here */
        for (struct chain_record *r = scope->records; r;
             r = (struct chain_record *)(uintptr_t)r->next)
            r->overridden |= r->late;
}
