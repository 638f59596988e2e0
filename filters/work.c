/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* work.c - lane style: work() on a thread of its lane, and jobs of loop style; what becomes of a
 * thread that is past its deadline. The deadline holds even when nobody waits for the answer any
 * more: a thread that never comes back must be replaced. */
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
    /* of a job; fn is NULL then */
    void (*job_run)(void *inst, const struct ph_view *, void *arg);
    void (*job_done)(void *inst, ph_turn, void *arg);
    void (*job_release)(void *arg);
    void *arg;
};

static void work_free(struct work *w)
{
    list_del(&w->link);
    timer_free(&w->deadline);
    acts_fini(&w->acts);
    source_unref(&w->source);
    filters_config_unref(&w->config);
    if (w->job_release)
        w->job_release(w->arg);
    mem_free(w);
}

static void run(struct fjob *j) /* worker */
{
    struct work *w = CONTAINER_OF(j, struct work, job);

    if (w->fn)
        w->fn(w->inst, w->conf, w->point, &w->source->view, &w->result);
    else
        w->job_run(w->inst, &w->source->view, w->arg);
}

static void take_result(struct work *w, struct turn *t)
{
    struct ph_result *r = &w->result;

    r->reply[sizeof r->reply - 1] = r->reason[sizeof r->reason - 1] = '\0';
    if ((unsigned)r->verdict >= PH_VERDICTS)
        turn_fail(t, "its verdict is none");
    else
        turn_answer(t, &w->acts, r->verdict, r->reply[0] ? r->reply : NULL, r->reason);
}

/* The turn goes on. */
static void give_back(struct work *w, struct turn *t)
{
    t->job = NULL;
    w->turn = NULL;
    stage_enter(w->stage);
    w->job_done(w->inst, (ph_turn){t->id}, w->arg);
    stage_leave(w->stage);
}

static void done(struct fjob *j)
{
    struct work *w = CONTAINER_OF(j, struct work, job);
    struct turn *t = w->turn;

    if (w->stage && w->lost) {
        w->stage->stats.late++;
        log_warn(&(struct log_ctx){.module = "filters"}, "answer_ignored",
                 L_Z("stage", stage_def(w->stage)->name),
                 L_Z("reason", "its work came back after its deadline"));
    }
    if (t)
        (w->fn ? take_result : give_back)(w, t);
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
    if (t && !w->fn)
        turn_late(t);
    else if (t)
        turn_fail(t, was == FJOB_RUNNING ? "its work was not done before its deadline"
                                         : "no thread was free before its deadline");
    if (was != FJOB_RUNNING)
        work_free(w); /* it never began */
}

void work_detach(struct work *w)
{
    w->turn = NULL;
    /* What no thread has begun needn't be done. (In on_deadline it is freed there.) */
    if (w->deadline && flane_cancel(w->stage->lane, &w->job))
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

static struct work *work_new(struct turn *t)
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
    acts_init(&w->acts, NULL);
    w->deadline = timer_new(s->filters->env.loop, on_deadline, w);
    list_add(&s->filters->works, &w->link);
    return w;
}

/* -1: the lane was full, and the turn is over. */
static int submit(struct work *w)
{
    struct turn *t = w->turn;

    if (flane_submit(t->stage->lane, &w->job) == 0) {
        timer_start(w->deadline, t->common->deadline);
        return 0;
    }
    t->work = t->job = NULL;
    work_free(w);
    turn_fail(t, "its lane is full");
    return -1;
}

void work_start(struct turn *t)
{
    struct work *w = t->work = work_new(t);

    w->fn = stage_def(t->stage)->work;
    if (t->acts.known)
        w->acts.known = facts_copy(acts_arena(&w->acts), t->acts.known);
    w->result = (struct ph_result){.size = sizeof w->result, .acts = &w->acts};
    (void)submit(w);
}

static int host_job(const struct ph_host *h, ph_turn turn,
                    void (*job_run)(void *inst, const struct ph_view *, void *arg),
                    void (*job_done)(void *inst, ph_turn, void *arg), void (*release)(void *arg),
                    void *arg)
{
    struct turn *t = turn_find(h, turn);

    if (!t || t->work || t->job || !t->stage->lane || !job_run || !job_done)
        return -1;
    struct work *w = t->job = work_new(t);
    w->job_run = job_run;
    w->job_done = job_done;
    w->arg = arg;
    if (submit(w))
        return -1;
    w->job_release = release;
    return 0;
}

void work_host(struct ph_host *h)
{
    h->job = host_job;
}
