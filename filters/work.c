/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* work.c - lane style: work() on a thread of its lane, and what becomes of a thread that is past
 * its deadline. The deadline holds even when nobody waits for the answer any more: a thread that
 * never comes back must be replaced. */
#include "appliance/base/mem.h"
#include "filters/private.h"

struct work {
    struct fjob job;
    struct stage *stage; /* NULL: filters is closed */
    struct turn *turn;   /* NULL: its answer isn't wanted */
    struct list link;    /* in filters.works */
    struct filters_config *config;
    struct source *source;
    struct timer *deadline;
    const void *conf;
    enum ph_point point;
    void *inst;
    void (*fn)(void *inst, const void *conf, enum ph_point, const struct ph_view *,
               struct ph_result *);
    struct ph_acts acts;
    struct ph_result result;
    bool lost;
};

static void work_free(struct work *w)
{
    list_del(&w->link);
    timer_free(&w->deadline);
    acts_fini(&w->acts);
    source_unref(&w->source);
    filters_config_unref(&w->config);
    mem_free(w);
}

static void run(struct fjob *j) /* worker */
{
    struct work *w = CONTAINER_OF(j, struct work, job);

    w->fn(w->inst, w->conf, w->point, &w->source->view, &w->result);
}

static void done(struct fjob *j)
{
    struct work *w = CONTAINER_OF(j, struct work, job);
    struct turn *t = w->turn;

    if (w->stage && w->lost) {
        w->stage->stats.late++;
        log_warn(&(struct log_ctx){.module = "filters"}, "answer_ignored",
                 L_Z("stage", stage_def(w->stage)->name),
                 L_Z("reason", "work() came back after its deadline"));
    }
    if (t) {
        struct ph_result *r = &w->result;
        r->reply[sizeof r->reply - 1] = r->reason[sizeof r->reason - 1] = '\0';
        if ((unsigned)r->verdict >= PH_VERDICTS)
            turn_fail(t, "its verdict is none");
        else
            turn_end(t, &w->acts, r->verdict, r->reply[0] ? r->reply : NULL, r->reason, false);
    }
    work_free(w);
}

static void lose(struct work *w, enum fjob_state was)
{
    struct stage *s = w->stage;

    if (was != FJOB_RUNNING)
        return;
    w->lost = true;
    s->off = s->lost > LOST_MAX;
    log_error(
        &(struct log_ctx){.module = "filters"}, "stage_lost_thread",
        L_Z("stage", stage_def(s)->name), L_UINT("lost", s->lost),
        L_Z("now", s->off ? "it is off until a restart; on_error answers for it" : "replaced"));
}

static void on_deadline(void *ctx)
{
    struct work *w = ctx;
    struct stage *s = w->stage;
    struct turn *t = w->turn;
    bool replace = s->lost < LOST_MAX || s->lane_user->users > 1; /* others need the lane */
    enum fjob_state was = flane_abandon(s->lane, &w->job, replace);

    timer_free(&w->deadline);
    if (was == FJOB_DONE)
        return; /* the answer is on its way */
    s->lost += was == FJOB_RUNNING;
    s->stats.threads_lost = s->lost;
    lose(w, was);
    s->stats.off = s->off;
    if (t)
        turn_fail(t, was == FJOB_RUNNING ? "its work was not done before its deadline"
                                         : "no thread was free before its deadline");
    if (was != FJOB_RUNNING)
        work_free(w); /* it never began */
}

void work_detach(struct turn *t)
{
    struct work *w = t->work;

    w->turn = NULL;
    /* What no thread has begun needn't be done. (In on_deadline it is freed there.) */
    if (w->deadline && flane_cancel(t->stage->lane, &w->job))
        work_free(w);
}

void works_orphan(struct filters *f)
{
    LIST_EACH(&f->works, it)
    {
        struct work *w = LIST_ITEM(it, struct work, link);
        timer_free(&w->deadline);
        w->stage = NULL;
        list_del(&w->link);
    }
}

void work_start(struct turn *t)
{
    struct chain *c = t->chain;
    struct stage *s = t->stage;
    struct work *w = MEM_NEW(struct work);

    w->job = (struct fjob){.run = run, .done = done};
    w->stage = s;
    w->turn = t;
    w->config = filters_config_ref(c->config);
    w->source = source_ref(c->run.source);
    w->conf = t->conf;
    w->point = c->run.point;
    w->inst = s->inst;
    w->fn = stage_def(s)->work;
    acts_init(&w->acts, NULL);
    if (t->acts.known)
        w->acts.known = facts_copy(acts_arena(&w->acts), t->acts.known);
    w->result = (struct ph_result){.size = sizeof w->result, .acts = &w->acts};
    w->deadline = timer_new(s->filters->env.loop, on_deadline, w);
    list_add(&s->filters->works, &w->link);
    t->work = w;
    if (flane_submit(s->lane, &w->job) == 0) {
        timer_start(w->deadline, t->common->deadline);
        return;
    }
    t->work = NULL;
    work_free(w);
    turn_fail(t, "its lane is full");
}
