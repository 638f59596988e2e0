/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/admin_explain.h"
#include "appliance/app/admin.h"
#include "appliance/base/mem.h"
#include "filters/chain.h"

enum { NAMES_MAX = 64 };
static const char held_name[] = "held";

struct said { /* one stage, at one point */
    json_t *json;
    const char *stage, *rcpt;
    enum ph_point point;
    enum ph_verdict verdict;
    bool shadow, always, held;
    bool overridden; /* by a rule of policy */
    bool again;      /* it was asked again later: this one no longer counts */
};
struct tree {
    struct said *at;
    size_t n;
    bool transaction; /* a command of one was judged */
};
struct names {
    const char *at[NAMES_MAX];
    size_t n;
};
struct result {
    enum ph_verdict verdict;
    const struct said *by; /* NULL: PASS */
    bool settled;
    struct names accepts;
    const struct said *waits;
};

/* ---- Reading */

static const char *text_of(const json_t *o, const char *key)
{
    const char *z = json_string_value(json_object_get(o, key));

    return z ? z : "";
}

static bool is(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

static bool read_one(json_t *o, struct said *s)
{
    int point = 0, verdict = 0;

    while (point < PH_POINTS &&
           strcmp(text_of(o, "point"), ph_point_name((enum ph_point)point)) != 0)
        point++;
    while (verdict < PH_VERDICTS &&
           strcmp(text_of(o, "verdict"), ph_verdict_name((enum ph_verdict)verdict)) != 0)
        verdict++;
    *s = (struct said){.json = o,
                       .stage = text_of(o, "stage"),
                       .rcpt = text_of(o, "recipient"),
                       .point = (enum ph_point)point,
                       .verdict = (enum ph_verdict)verdict,
                       .shadow = is(o, "shadow"),
                       .always = is(o, "always"),
                       .held = is(o, "held"),
                       .overridden = is(o, "overridden")};
    return point < PH_POINTS && verdict < PH_VERDICTS;
}

static void read_tree(const json_t *stages, struct arena *a, struct tree *t)
{
    size_t n = json_array_size(stages);

    *t = (struct tree){.at = ARENA_ARRAY(a, struct said, n + 1)};
    for (size_t i = 0; i < n; i++) {
        struct said *s = &t->at[t->n];
        if (!read_one(json_array_get(stages, i), s))
            continue;
        t->transaction |= s->point > PH_AUTH;
        t->n++;
        for (size_t k = 0; k + 1 < t->n; k++)
            if (t->at[k].held && strcmp(t->at[k].stage, s->stage) == 0)
                t->at[k].again = true;
    }
}

static bool has(const struct names *set, const char *name)
{
    for (size_t i = 0; i < set->n; i++)
        if (strcmp(set->at[i], name) == 0)
            return true;
    return false;
}

static void add(struct names *set, const char *name)
{
    if (set->n < NAMES_MAX && !has(set, name))
        set->at[set->n++] = name;
}

/* ---- What it comes to, with all but some stages, and one that is only in shadow mode */

struct weighing {
    const struct tree *tree;
    const struct names *without;
    const char *with;
    struct result *out;
    const struct said *soft, *firm, *stop;
    /* recipients: so far, and the one whose verdicts come now */
    size_t rcpts, taken, accepted;
    const char *rcpt;
    bool rcpt_accepted;
    const struct said *rcpt_stop;
};

static void worsen(const struct said **worst, const struct said *s)
{
    if (!*worst || s->verdict > (*worst)->verdict)
        *worst = s;
}

static void end_rcpt(struct weighing *w)
{
    if (!w->rcpt)
        return;
    w->rcpts++;
    w->taken += !w->rcpt_stop;
    w->accepted += !w->rcpt_stop && w->rcpt_accepted;
    w->rcpt = NULL;
}

static void weigh_rcpt(struct weighing *w, const struct said *s, bool counts)
{
    if (!w->rcpt || strcmp(w->rcpt, s->rcpt) != 0) {
        end_rcpt(w);
        w->rcpt = s->rcpt;
        w->rcpt_accepted = false;
        w->rcpt_stop = NULL;
    }
    if (!counts)
        return;
    w->rcpt_accepted |= s->verdict == PH_ACCEPT;
    if (s->verdict >= PH_DISCARD)
        worsen(&w->rcpt_stop, s);
}

static void weigh_one(struct weighing *w, const struct said *s)
{
    bool counts = !s->again && !s->held && !has(w->without, s->stage) &&
                  (!s->overridden || has(w->without, "policy")) &&
                  (!s->shadow || (w->with && strcmp(w->with, s->stage) == 0));

    if (s->point == PH_RCPT)
        weigh_rcpt(w, s, counts);
    if (s->held && !s->again)
        w->out->waits = s;
    if (!counts || s->verdict == PH_PASS)
        return;
    if (s->verdict == PH_ACCEPT) {
        add(&w->out->accepts, s->stage);
        w->out->settled |= s->point != PH_RCPT;
    } else if (s->verdict <= PH_QUARANTINE) {
        worsen(s->always ? &w->firm : &w->soft, s);
    } else if (s->point != PH_RCPT &&
               (s->point > PH_AUTH || s->verdict == PH_DISCARD || !w->tree->transaction)) {
        worsen(&w->stop, s); /* a refused HELO or AUTH was one of several */
    }
}

static void weigh(const struct tree *t, const struct names *without, const char *with,
                  struct result *out)
{
    struct weighing w = {.tree = t, .without = without, .with = with, .out = out};
    const struct said *worst;

    *out = (struct result){.verdict = PH_PASS};
    for (size_t i = 0; i < t->n; i++)
        weigh_one(&w, &t->at[i]);
    end_rcpt(&w);
    out->settled |= w.taken > 0 && w.accepted == w.taken;
    worst = w.rcpts > 0 && w.taken == 0 ? w.rcpt_stop : w.stop;
    if (w.firm)
        worsen(&worst, w.firm);
    if (w.soft && !out->settled)
        worsen(&worst, w.soft);
    out->by = worst;
    out->verdict = worst ? worst->verdict : out->settled ? PH_ACCEPT : PH_PASS;
}

/* ---- Words */

static json_t *join(const struct names *set)
{
    json_t *list = json_array();

    for (size_t i = 0; i < set->n; i++)
        json_array_append_new(list, json_string(set->at[i]));
    return list;
}

static json_t *deciders(const struct result *r)
{
    struct names by = {.n = 0};

    if (r->verdict == PH_ACCEPT)
        return join(&r->accepts);
    if (r->by)
        add(&by, r->by->stage);
    return join(&by);
}

static void add_change(json_t *list, const char *how, const struct names *stages,
                       const struct result *r)
{
    json_array_append_new(list, json_pack("{so ss so}", how, join(stages), "verdict",
                                          ph_verdict_name(r->verdict), "decided_by", deciders(r)));
}

static json_t *changes(const struct tree *t, const struct result *actual)
{
    json_t *list = json_array();
    struct names without = {.n = 0}, shadows = {.n = 0};
    struct result r = *actual;

    while (r.by && r.verdict == actual->verdict && without.n < NAMES_MAX) {
        add(&without, r.by->stage);
        weigh(t, &without, NULL, &r);
    }
    if (r.verdict != actual->verdict)
        add_change(list, "without", &without, &r);
    if (actual->accepts.n) {
        weigh(t, &actual->accepts, NULL, &r);
        if (r.verdict != actual->verdict && r.by)
            add_change(list, "without", &actual->accepts, &r);
    }
    for (size_t i = 0; i < t->n; i++)
        if (t->at[i].shadow)
            add(&shadows, t->at[i].stage);
    for (size_t i = 0; i < shadows.n; i++) {
        const struct names none = {.n = 0}, one = {.at = {shadows.at[i]}, .n = 1};
        weigh(t, &none, shadows.at[i], &r);
        if (r.verdict != actual->verdict)
            add_change(list, "with", &one, &r);
    }
    return list;
}

static const char *effect(const struct said *s, const struct result *r, const struct tree *t)
{
    const struct names none = {.n = 0};
    struct result other;

    if (s->again)
        return "the message waited for it, and was judged later";
    if (s->held)
        return "the message waits for it";
    if (s->shadow) {
        weigh(t, &none, s->stage, &other);
        return other.verdict == r->verdict ? "shadow: would have changed nothing"
                                           : "shadow: would have decided otherwise";
    }
    if (s == r->by)
        return "decided";
    if (s->verdict == PH_ACCEPT)
        return r->verdict == PH_ACCEPT ? "decided"
               : s->point == PH_RCPT   ? "settled it for this recipient"
                                       : "settled it, but something weighs more";
    if (s->point == PH_RCPT && s->verdict >= PH_DISCARD)
        return "this recipient only";
    if (s->verdict <= PH_QUARANTINE && !s->always && r->settled)
        return "overridden by ACCEPT";
    return s->verdict >= PH_DISCARD ? "this command only" : "something weighs more";
}

void explain_judge(json_t *o)
{
    struct arena *a = arena_new(0);
    const struct names none = {.n = 0};
    struct tree t;
    struct result r;

    read_tree(json_object_get(o, "stages"), a, &t);
    weigh(&t, &none, NULL, &r);
    for (size_t i = 0; i < t.n; i++)
        if (t.at[i].verdict != PH_PASS || t.at[i].held)
            json_object_set_new(t.at[i].json, "effect", json_string(effect(&t.at[i], &r, &t)));
    json_object_set_new(o, "date",
                        admin_moment(json_integer_value(json_object_get(o, "at")) / 1000));
    if (r.waits && r.verdict < PH_DISCARD) {
        const struct names by = {.at = {r.waits->stage}, .n = 1};
        json_object_set_new(o, "verdict", json_string(held_name));
        json_object_set_new(o, "decided_by", join(&by));
    } else {
        json_object_set_new(o, "verdict", json_string(ph_verdict_name(r.verdict)));
        json_object_set_new(o, "decided_by", deciders(&r));
    }
    json_object_set_new(o, "changes", changes(&t, &r));
    arena_free(&a);
}
