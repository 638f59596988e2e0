/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/hash_queue.h"

#include "appliance/base/list.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/base/metrics.h"

enum { OF_ACCOUNT = 2 }; /* favoured at once without a known device */

enum { STRANGERS, FAVOURED, CLASSES };

static const char *class_name(size_t i)
{
    static const char *const names[CLASSES] = {"stranger", "favoured"};
    return names[i];
}

METRIC(hashed, CLASSES, .type = METRIC_COUNTER, .name = "posthouse_login_hashes_total",
       .help = "Passwords hashed for logins: of known devices and recent users, and of strangers.",
       .labels = {{"class", class_name, CLASSES}});
METRIC(turned_away, CLASSES, .type = METRIC_COUNTER, .name = "posthouse_login_hashes_refused_total",
       .help = "Logins that were put off because too many passwords wait to be hashed.",
       .labels = {{"class", class_name, CLASSES}});

struct hash_queue {
    struct lane *lane; /* NULL: stopped */
    unsigned threads, running, strangers_running;
    struct list favoured, strangers;
    size_t n_favoured, n_strangers;
    struct map *accounts; /* how many of an account are favoured for having been here lately */
};

struct hash_queue *hash_queue_new(struct lane *lane, unsigned threads)
{
    struct hash_queue *q = MEM_NEW(struct hash_queue);
    q->lane = lane;
    q->threads = threads;
    list_init(&q->favoured);
    list_init(&q->strangers);
    q->accounts = map_new();
    return q;
}

void hash_queue_free(struct hash_queue **q)
{
    if (!*q)
        return;
    CHECK((*q)->n_favoured == 0 && (*q)->n_strangers == 0 && (*q)->running == 0);
    map_free(&(*q)->accounts);
    mem_free(*q);
    *q = NULL;
}

size_t hash_queue_waiting(const struct hash_queue *q, bool favoured)
{
    return favoured ? q->n_favoured : q->n_strangers;
}

static void count_account(struct hash_queue *q, struct str account, intptr_t by)
{
    uintptr_t n = (uintptr_t)map_get(q->accounts, account) + (uintptr_t)by;
    if (n)
        map_set(q->accounts, account, (void *)n);
    else
        map_del(q->accounts, account);
}

static void on_run(struct job *job, void *worker)
{
    struct hash_job *j = CONTAINER_OF(job, struct hash_job, job);
    (void)worker;
    if (!j->skipped)
        j->run(j);
}

static void pump(struct hash_queue *q);

static void on_done(struct job *job)
{
    struct hash_job *j = CONTAINER_OF(job, struct hash_job, job);
    struct hash_queue *q = j->queue;
    q->running--;
    if (!j->favoured)
        q->strangers_running--;
    if (j->of_account)
        count_account(q, j->account, -1);
    pump(q);
    j->done(j);
}

/* The lane has room for all that it is given here. */
static void start(struct hash_queue *q, struct list *from, size_t *n)
{
    struct hash_job *j = LIST_ITEM(from->next, struct hash_job, link);
    list_del(&j->link);
    --*n;
    q->running++;
    metric_inc(&hashed, j->favoured);
    if (!j->favoured)
        q->strangers_running++;
    CHECK(lane_submit(q->lane, &j->job) == 0);
}

static void pump(struct hash_queue *q)
{
    unsigned share = q->threads > 1 ? q->threads / 2 : 1;
    while (q->lane && q->running < q->threads) {
        if (q->n_favoured)
            start(q, &q->favoured, &q->n_favoured);
        else if (q->n_strangers && q->strangers_running < share)
            start(q, &q->strangers, &q->n_strangers);
        else
            break;
    }
}

int hash_queue_submit(struct hash_queue *q, struct hash_job *j, bool device, bool recent)
{
    bool few = recent && (uintptr_t)map_get(q->accounts, j->account) < OF_ACCOUNT;
    bool favoured = device || few;
    if (!q->lane || (favoured ? q->n_favoured >= HASH_QUEUE_FAVOURED
                              : q->n_strangers >= HASH_QUEUE_STRANGERS)) {
        metric_inc(&turned_away, favoured);
        return -1;
    }
    j->job = (struct job){.run = on_run, .done = on_done};
    j->queue = q;
    j->favoured = favoured;
    j->of_account = !device && few;
    j->skipped = false;
    if (j->of_account)
        count_account(q, j->account, 1);
    list_add(favoured ? &q->favoured : &q->strangers, &j->link);
    ++*(favoured ? &q->n_favoured : &q->n_strangers);
    pump(q);
    return 0;
}

void hash_queue_stop(struct hash_queue *q)
{
    struct list *lists[] = {&q->favoured, &q->strangers};
    size_t *counts[] = {&q->n_favoured, &q->n_strangers};
    for (size_t i = 0; q->lane && i < ARRAY_LEN(lists); i++)
        while (*counts[i]) {
            LIST_ITEM(lists[i]->next, struct hash_job, link)->skipped = true;
            start(q, lists[i], counts[i]);
        }
    q->lane = NULL;
}
