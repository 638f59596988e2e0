/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_turns.c - a message before the stage `clamav`: it waits for an engine, is scanned, and
 * something becomes of it.
 * Where the scanner is a process of its own, it may die of a message. Which one it was, of those
 * that it was at, isn't known: each of them is suspected, and scanned once more, alone. Whoever it
 * dies of then, it was. */
#include "appliance/base/mem.h"
#include "filters/builtin.h"
#include "filters/clamav.h"
#include <stdio.h>
#include <string.h>

enum { SECOND = 1000, NAME_ROOM = 160, DEADLY = 2 };

struct scan {
    struct clamav *of;
    struct clamav_held *engine;
    const struct clamav_conf *conf; /* of the session */
    uint64_t message;
    enum clamav_result result;
    char name[NAME_ROOM];
};

/* ---- What was found. */

static void note(struct clamav *c, ph_turn turn, const char *result, const char *name)
{
    struct ph_acts *acts = c->host->acts(c->host, turn);

    if (!acts)
        return;
    (void)c->host->fact_set(acts, "clamav.result", result);
    if (name && name[0])
        (void)c->host->fact_set(acts, "clamav.name", name);
}

static void act(struct clamav *c, ph_turn turn, enum clamav_wish wish, const char *tag,
                const char *reply, const char *reason)
{
    static const enum ph_verdict verdicts[] = {[CLAMAV_WISH_PASS] = PH_PASS,
                                               [CLAMAV_WISH_TAG] = PH_PASS,
                                               [CLAMAV_WISH_JUNK] = PH_JUNK,
                                               [CLAMAV_WISH_QUARANTINE] = PH_QUARANTINE,
                                               [CLAMAV_WISH_REJECT] = PH_REJECT};
    struct ph_acts *acts = c->host->acts(c->host, turn);

    if (acts && wish == CLAMAV_WISH_TAG)
        (void)c->host->tag(acts, tag);
    c->host->done(c->host, turn, verdicts[wish], reply, reason);
}

static void begin(struct clamav *c, struct clamav_pause *p);

static void answer(struct clamav *c, ph_turn turn, const struct scan *s)
{
    char reply[240], reason[240];

    switch (s->result) {
    case CLAMAV_CLEAN:
        note(c, turn, "clean", NULL);
        c->host->done(c->host, turn, PH_PASS, NULL, NULL);
        break;
    case CLAMAV_INFECTED:
        note(c, turn, "infected", s->name);
        snprintf(reply, sizeof reply, "554 5.7.1 A virus was found in the message: %s", s->name);
        snprintf(reason, sizeof reason, "found %s", s->name);
        act(c, turn, (enum clamav_wish)(s->conf->action + CLAMAV_WISH_TAG), "virus", reply, reason);
        break;
    case CLAMAV_ENCRYPTED:
        note(c, turn, "encrypted", s->name);
        act(c, turn, (enum clamav_wish)s->conf->encrypted, "encrypted",
            "554 5.7.1 Encrypted archives and documents are not accepted here",
            "a part is encrypted");
        break;
    case CLAMAV_OVERSIZED:
        note(c, turn, "oversized", s->name);
        snprintf(reason, sizeof reason, "too much to scan%s%s", s->name[0] ? ": " : "", s->name);
        act(c, turn, (enum clamav_wish)s->conf->oversized, "unscanned",
            "554 5.7.1 The message holds more than can be scanned for viruses", reason);
        break;
    case CLAMAV_FAILED:
        snprintf(reason, sizeof reason, "the scan failed: %s", s->name);
        c->host->failed(c->host, turn, PH_PASS, NULL, reason);
        break;
    case CLAMAV_GONE:
    case CLAMAV_UNASKED:
        begin(c, c->host->memory(c->host, turn));
        break;
    }
}

/* ---- Whose scanner died. They are known by the message's number, which held mail keeps. */

static struct clamav_suspect *suspect(struct clamav *c, uint64_t message)
{
    for (size_t i = 0; i < CLAMAV_SUSPECTS; i++)
        if (c->suspects[i].message == message && c->suspects[i].deaths)
            return &c->suspects[i];
    return NULL;
}

static void accuse(struct clamav *c, uint64_t message)
{
    struct clamav_suspect *s = suspect(c, message);

    if (!s) {
        s = &c->suspects[c->next_suspect++ % CLAMAV_SUSPECTS];
        *s = (struct clamav_suspect){.message = message};
    }
    s->deaths++;
}

static void acquit(struct clamav *c, uint64_t message)
{
    struct clamav_suspect *s = suspect(c, message);

    if (s)
        *s = (struct clamav_suspect){0};
}

static bool deadly(struct clamav *c, uint64_t message)
{
    const struct clamav_suspect *s = suspect(c, message);

    return s && s->deaths >= DEADLY;
}

static void poison(struct clamav *c, const struct clamav_pause *p)
{
    static const char reason[] = "the scanner dies of this message";
    static const char *const words[] = {"the sender is asked to try again later", "it is held",
                                        "it is kept in quarantine", "it is rejected"};
    const struct ph_view *v = c->host->view(c->host, p->turn);

    c->host->log(c->host, v, PH_LOG_ERROR,
                 "poison: the scanner has died of this message %u times, "
                 "of one from %.200s; %s",
                 (unsigned)DEADLY, v->mail_from[0] ? v->mail_from : "<>", words[p->conf->poison]);
    note(c, p->turn, "poison", NULL);
    switch (p->conf->poison) {
    case CLAMAV_POISON_HOLD:
        builtin_hold(c->host, p->turn, reason);
        break;
    case CLAMAV_POISON_QUARANTINE:
        c->host->done(c->host, p->turn, PH_QUARANTINE, NULL, reason);
        break;
    case CLAMAV_POISON_REJECT:
        c->host->done(c->host, p->turn, PH_REJECT,
                      "554 5.7.1 The message can't be scanned for viruses", reason);
        break;
    default:
        c->host->done(c->host, p->turn, PH_DEFER,
                      "451 4.3.2 The message can't be scanned for viruses, please try again later",
                      reason);
    }
}

/* ---- A scan. */

static void resume_soon(struct clamav *c);

static void run_scan(void *inst, const struct ph_view *v, void *arg)
{
    struct scan *s = arg;

    (void)inst;
    s->result = s->engine->child
                    ? clamav_child_scan(s->engine->child, v, s->name, sizeof s->name)
                    : clamav_engine_scan(s->engine->engine, v, s->name, sizeof s->name);
}

/* Of a turn that waits for it or not any more. */
static void settle(struct scan *s)
{
    struct clamav *c = s->of;

    if (!s->engine)
        return;
    if (s->result >= CLAMAV_GONE) {
        if (s->result == CLAMAV_GONE)
            accuse(c, s->message);
        clamav_keeper_lost(c, s->engine, s->name);
    } else {
        acquit(c, s->message);
    }
    c->under_way--;
    c->alone = false;
    clamav_held_unref(&s->engine);
    resume_soon(c);
}

static void on_scanned(void *inst, ph_turn turn, void *arg)
{
    settle(arg);
    answer(inst, turn, arg);
}

static void scan_free(void *arg)
{
    struct scan *s = arg;

    settle(s);
    clamav_unref(&s->of);
    mem_free(s);
}

static void scan(struct clamav *c, struct clamav_pause *p)
{
    struct scan *s = MEM_NEW(struct scan);

    s->of = clamav_ref(c);
    s->engine = clamav_held_ref(c->engine);
    s->conf = p->conf;
    s->message = p->message;
    c->under_way++;
    c->alone = suspect(c, p->message) != NULL;
    if (c->host->job(c->host, p->turn, run_scan, on_scanned, scan_free, s))
        scan_free(s);
}

/* ---- No engine. */

static void unavailable(struct clamav *c, ph_turn turn, const struct clamav_conf *conf)
{
    char reason[256];

    snprintf(reason, sizeof reason, "not scanned: %.200s", c->why);
    switch (conf->unavailable) {
    case CLAMAV_UNAVAILABLE_HOLD:
        builtin_hold(c->host, turn, reason);
        break;
    case CLAMAV_UNAVAILABLE_PASS:
        note(c, turn, "unscanned", NULL);
        c->host->done(c->host, turn, PH_PASS, NULL, reason);
        break;
    default:
        c->host->done(c->host, turn, PH_DEFER,
                      "451 4.3.2 The virus scanner is not available, please try again later",
                      reason);
    }
}

static void on_waited(void *inst, ph_turn turn, void *arg)
{
    struct clamav *c = inst;
    struct clamav_pause *p = arg;

    p->timed = false;
    if (!p->waiting)
        return; /* it is scanned now */
    p->waiting = false;
    list_del(&p->link);
    builtin_hold(c->host, turn, "the signatures are being loaded");
}

static void wait_for_engine(struct clamav *c, struct clamav_pause *p)
{
    p->waiting = true;
    list_add(&c->waiting, &p->link);
    if (!p->timed)
        p->timed = c->host->after(c->host, p->turn, p->conf->wait, on_waited, p) == 0;
}

/* Suspects go first, one at a time, and with nobody beside them. */
static bool its_turn(struct clamav *c, const struct clamav_pause *p)
{
    if (c->alone)
        return false;
    if (suspect(c, p->message))
        return c->under_way == 0;
    LIST_EACH(&c->waiting, it)
    if (suspect(c, LIST_ITEM(it, struct clamav_pause, link)->message))
        return false;
    return true;
}

static void begin(struct clamav *c, struct clamav_pause *p)
{
    if (!p)
        return;
    if (deadly(c, p->message))
        poison(c, p);
    else if (c->state == CLAMAV_WITHOUT)
        unavailable(c, p->turn, p->conf);
    else if (c->state == CLAMAV_READY && its_turn(c, p))
        scan(c, p);
    else
        wait_for_engine(c, p);
}

/* Each that waits gets its chance once; who must wait on is at the end again. */
static void resume(void *inst, ph_turn none, void *arg)
{
    struct clamav *c = inst;
    struct list round;

    (void)none;
    (void)arg;
    c->resuming = false;
    if (c->state == CLAMAV_LOADING)
        return;
    list_init(&round);
    for (int suspects = 1; suspects >= 0; suspects--)
        LIST_EACH(&c->waiting, it)
        {
            struct clamav_pause *p = LIST_ITEM(it, struct clamav_pause, link);
            if ((suspect(c, p->message) != NULL) == (suspects != 0)) {
                list_del(it);
                list_add(&round, it);
            }
        }
    while (!list_empty(&round)) {
        struct clamav_pause *p = LIST_ITEM(round.next, struct clamav_pause, link);
        list_del(&p->link);
        p->waiting = false;
        begin(c, p);
    }
}

static void resume_soon(struct clamav *c)
{
    if (list_empty(&c->waiting) || c->resuming || atomic_load(&c->closing))
        return;
    c->resuming = c->host->after(c->host, (ph_turn){0}, 0, resume, NULL) == 0;
}

static void wake_held(void *inst, ph_turn none, void *arg)
{
    const struct clamav *c = inst;

    (void)none;
    (void)arg;
    if (c->state == CLAMAV_READY)
        builtin_wake_held(c->host);
}

/* What was held last may still be on its way into the store at the first look. */
void clamav_state_changed(struct clamav *c)
{
    static const uint64_t looks[] = {0, 2 * SECOND};

    resume_soon(c);
    for (size_t i = 0; i < ARRAY_LEN(looks) && c->state == CLAMAV_READY; i++)
        (void)c->host->after(c->host, (ph_turn){0}, looks[i], wake_held, NULL);
}

void clamav_acquit_all(struct clamav *c)
{
    memset(c->suspects, 0, sizeof c->suspects);
}

/* ---- As struct ph_stage has them. */

void clamav_on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct clamav *c = inst;
    struct clamav_pause *p = c->host->memory(c->host, turn);

    (void)at;
    list_init(&p->link);
    p->turn = turn;
    p->conf = conf;
    p->message = c->host->view(c->host, turn)->message;
    begin(c, p);
}

void clamav_cancel(void *inst, ph_turn turn)
{
    struct clamav *c = inst;
    struct clamav_pause *p = c->host->memory(c->host, turn);

    if (p && p->turn.id)
        list_del(&p->link);
}
