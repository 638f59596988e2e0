/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* login_answer.c - when a login is answered. What was right is answered at once. What was wrong is
 * answered at a moment that doesn't tell why: whether there is such a user, and what kind of hash
 * was checked, is seen in milliseconds otherwise, over any delay that is added to them. */
#include "appliance/base/clock.h"
#include "appliance/directory/login.h"
#include <openssl/crypto.h>

enum { STEPS_MAX = 4, STEPS_KEPT_MS = 10 * 60 * 1000 };
enum { CHALLENGE_MS = 20 }; /* only rows are read for SCRAM's first step: the same few, for all */

void login_free(struct login *op)
{
    explicit_bzero(op->password, sizeof op->password);
    explicit_bzero(&op->verifier, sizeof op->verifier);
    explicit_bzero(&op->tried, sizeof op->tried);
    if (op->token.n)
        explicit_bzero((void *)(uintptr_t)op->token.p, op->token.n); /* ours, in the arena */
    timer_free(&op->timer);
    directory_unref(&op->d);
    arena_free(&op->m);
    mem_free(op);
}

static void tell(struct login *op)
{
    struct directory_login l = {.failed = op->failed, .err = op->err, .ok = op->ok && !op->failed};
    if (l.failed)
        l.err.kind = ERR_TEMP;
    if (l.ok) {
        l.account = op->account;
        l.quota_bytes = op->row.quota_bytes;
    } else if (!l.failed && op->kind == LOGIN_SCRAM && !op->proving) {
        l.verifier = &op->verifier;
    }
    op->on_login(op->ctx, &l);
    login_free(op);
}

static void release(void *ctx)
{
    struct login *op = ctx;
    list_del(&op->held);
    tell(op);
}

static void release_posted(struct loop_post *p)
{
    release(CONTAINER_OF(p, struct login, post));
}

uint64_t login_due(uint64_t began_ms, uint64_t now_ms, uint64_t step_ms)
{
    uint64_t took = now_ms > began_ms ? now_ms - began_ms : 0;
    if (!step_ms)
        return now_ms;
    return began_ms + (took / step_ms + (took % step_ms || !took)) * step_ms;
}

/* Where a hash took longer than a step, all refusals do for a while: else they would tell whose
 * hash that was. Not without end: what waits behind many others has no bound. */
static uint64_t same_for_all(struct directory *d, const struct login *op, uint64_t due,
                             uint64_t now)
{
    uint64_t steps = d->refusal_ms ? (due - op->began_ms) / d->refusal_ms : 0;
    if (steps > 1 && (steps >= d->refusal_steps || now >= d->refusal_until_ms)) {
        d->refusal_steps = steps < STEPS_MAX ? steps : STEPS_MAX;
        d->refusal_until_ms = now + STEPS_KEPT_MS;
    }
    bool more = steps < d->refusal_steps && now < d->refusal_until_ms;
    return more ? op->began_ms + d->refusal_steps * d->refusal_ms : due;
}

void login_answer(struct login *op)
{
    struct directory *d = op->d;
    uint64_t step = d->refusal_ms, now = loop_now_ms(d->loop);
    bool challenge = op->kind == LOGIN_SCRAM && !op->proving;
    if (challenge && step > CHALLENGE_MS)
        step = CHALLENGE_MS;
    op->due_ms = login_due(op->began_ms, clock_mono_ms(), step);
    if (!challenge && !op->ok && !op->failed)
        op->due_ms = same_for_all(d, op, op->due_ms, now);
    /* A directory that is closed has nobody left who could learn from it. */
    if (op->ok || op->failed || op->due_ms <= now || !d->rows) {
        tell(op);
        return;
    }
    explicit_bzero(op->password, sizeof op->password);
    list_add(&d->held, &op->held);
    op->timer = timer_new(d->loop, release, op);
    timer_start(op->timer, op->due_ms - now);
}

void login_answer_failed(struct login *op, enum err_why why, const char *text)
{
    op->failed = true;
    err_set(&op->err, ERR_TEMP, why, "%s", text);
    login_answer(op);
}

void login_release_all(struct directory *d)
{
    LIST_EACH(&d->held, it)
    {
        struct login *op = LIST_ITEM(it, struct login, held);
        timer_stop(op->timer);
        loop_post(d->loop, &op->post, release_posted);
    }
}
