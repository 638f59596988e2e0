/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* site.c - what an active site does: it loads, asks where its hosts are, opens connections and
 * hands mails to them, until nothing is due any more or others want its place. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"
#include <stdio.h>

enum { READY_LOW = 20 }; /* mails: fewer, and the next batch is loaded */

void share_unref(struct share **sp)
{
    struct share *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    CHECK(s->refs > 0);
    if (--s->refs)
        return;
    hosts_free(&s->hosts);
    arena_free(&s->arena);
    snapshot_unref(&s->snapshot);
    mem_free(s);
}

void site_forget_hosts(struct site *s)
{
    if (s->query)
        hosts_cancel(&s->query);
    share_unref(&s->asked);
    share_unref(&s->share);
    site_touch(s);
}

/* ---- Concurrency. */

void site_halve(struct site *s)
{
    s->limit = s->limit > 1 ? s->limit / 2 : 1;
}

void site_grow(struct site *s)
{
    if (s->limit < (unsigned)s->d->conf.relay->site_connections)
        s->limit++;
}

/* ---- Where its hosts are. */

static void on_hosts(void *ctx, struct hosts_answer *a)
{
    struct site *s = ctx;
    uint64_t good_ms = a->fault.kind == SMTP_FAULT_NONE ? DELIVERY_HOSTS_MS : DELIVERY_HOSTS_MS / 2;

    s->query = NULL;
    s->asked->hosts = a;
    s->asked->until_ms = loop_now_ms(s->d->conf.loop) + good_ms;
    share_unref(&s->share);
    s->share = s->asked;
    s->asked = NULL;
    share_note_policy(s->d, s->share);
    site_touch(s);
}

/* No route: what waits fails for now. Its rows are routed anew when they are loaded, unless an
 * administrator said that this is where they go. */
static void ask_failed(struct site *s, const char *text)
{
    struct smtp_fault f = {.kind = SMTP_FAULT_TEMP, .status = "4.3.5", .stage = "route"};

    snprintf(f.text, sizeof f.text, "%s", text);
    share_unref(&s->asked);
    while (!list_empty(&s->ready))
        mail_fail(site_take(s, NULL), &f, 0);
}

static void ask_hosts(struct site *s)
{
    struct delivery *d = s->d;
    struct share *share = MEM_NEW(struct share);
    struct hosts_conf conf = {
        .loop = d->conf.loop, .resolver = d->conf.resolver, .sts = d->sts, .self = d->hostname};
    struct err err = {0};

    share->refs = 1;
    share->arena = arena_new(0);
    share->relay = d->conf.relay;
    share->snapshot = snapshot_ref(d->conf.snapshot);
    s->asked = share;
    if (route_of_site(share->relay, share->arena, s->name, &share->route, &err)) {
        ask_failed(s, err.text);
        return;
    }
    s->query = hosts_find(&conf, share->relay, &share->route, on_hosts, s);
    if (!s->query)
        ask_failed(s, "The hosts can't be looked up at the moment");
}

/* ---- Mails that are ready. */

struct mail *site_take(struct site *s, const struct hop *hop)
{
    LIST_EACH(&s->ready, it)
    {
        struct mail *m = LIST_ITEM(it, struct mail, link);
        if (hop && !hop_fits(hop, m))
            continue;
        list_del(&m->link);
        s->n_ready--;
        return m;
    }
    return NULL;
}

void site_drop_ready(struct site *s)
{
    struct mail *m;

    if (!list_empty(&s->ready))
        s->due = true;
    while ((m = site_take(s, NULL)))
        mail_free(&m);
}

static struct hop *idle_hop(struct site *s, const struct mail *m)
{
    LIST_EACH(&s->hops, it)
    {
        struct hop *h = LIST_ITEM(it, struct hop, link);
        if (h->state == HOP_IDLE && hop_fits(h, m))
            return h;
    }
    return NULL;
}

void site_give_back(struct site *s, struct mail *m)
{
    list_add(s->ready.next, &m->link); /* before the first, or the head */
    s->n_ready++;
}

/* May another connection be opened? The first one's place is the site's own. */
static bool may_open(const struct site *s)
{
    if (s->n_hops == 0)
        return true;
    return s->n_hops < s->limit && s->n_hops < (unsigned)s->d->conf.relay->site_connections &&
           s->d->slots < delivery_slots(s->d) && list_empty(&s->d->waiting);
}

/* An idle connection that isn't good enough for what is to be sent makes room for one that is. */
static bool close_unfit(struct site *s)
{
    LIST_EACH(&s->hops, it)
    {
        struct hop *h = LIST_ITEM(it, struct hop, link);
        if (h->state == HOP_IDLE) {
            hop_close(h);
            return true;
        }
    }
    return false;
}

/* False: it must wait. */
static bool send_first(struct site *s)
{
    struct mail *m = LIST_ITEM(s->ready.next, struct mail, link);
    struct hop *idle = idle_hop(s, m);

    if (idle) {
        hop_take(idle, site_take(s, idle));
        return true;
    }
    if (!may_open(s))
        return close_unfit(s);
    if (!s->share || loop_now_ms(s->d->conf.loop) >= s->share->until_ms) {
        if (!s->query)
            ask_hosts(s);
        return false;
    }
    m = site_take(s, NULL);
    if (s->share->hosts->fault.kind != SMTP_FAULT_NONE)
        mail_fail(m, &s->share->hosts->fault, 0);
    else
        hop_start(s, m);
    return true;
}

/* ---- Active. */

static bool wants_load(const struct site *s)
{
    if (!s->due || s->load || s->n_ready >= READY_LOW || s->d->n_rows >= DELIVERY_ROWS_MAX)
        return false;
    return !s->loaded || list_empty(&s->d->waiting);
}

static void deactivate(struct site *s)
{
    s->active = false;
    s->d->active--;
    s->d->slots--;
    if (s->query)
        hosts_cancel(&s->query);
    share_unref(&s->asked);
}

void site_activate(struct site *s)
{
    s->active = true;
    s->loaded = false;
    s->active_ms = loop_now_ms(s->d->conf.loop);
    s->d->active++;
    s->d->slots++;
    site_touch(s);
}

void site_run(struct site *s)
{
    if (!s->active)
        return;
    if (s->d->stopping)
        site_drop_ready(s);
    else if (wants_load(s))
        load_start(s);
    while (!list_empty(&s->ready) && send_first(s))
        ;
    if (!s->n_hops && list_empty(&s->ready) && !s->load)
        deactivate(s);
}
