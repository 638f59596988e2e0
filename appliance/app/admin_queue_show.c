/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue show, totals; and how what both these and queue list show is written. */
#include "appliance/app/admin_queue.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"

/* ---- Texts */

const char *queue_state_text(const struct queue_entry *e, uint64_t n, uint64_t on_hold)
{
    if (e->held)
        return e->held == QUEUE_HELD ? "held" : "quarantine";
    return on_hold == 0 ? "waiting" : on_hold == n ? "on hold" : "partly on hold";
}

json_t *queue_time_text(int64_t ms)
{
    return admin_moment(ms / 1000);
}

/* The two largest units of the time from now. */
json_t *queue_in_text(int64_t ms)
{
    int64_t s = (ms - clock_wall_ms() + 999) / 1000;

    if (s <= 0)
        return json_string("now");
    if (s < 60)
        return json_sprintf("in %ds", (int)s);
    if (s < 3600)
        return json_sprintf("in %dm", (int)(s / 60));
    if (s < 86400)
        return json_sprintf("in %dh %dm", (int)(s / 3600), (int)(s % 3600 / 60));
    return json_sprintf("in %lldd %dh", (long long)(s / 86400), (int)(s % 86400 / 3600));
}

json_t *queue_sender_text(struct str sender)
{
    return sender.n ? admin_str(sender) : json_string("<>");
}

json_t *queue_id_text(uint64_t id)
{
    return json_sprintf("%llu", (unsigned long long)id);
}

/* ---- show: one message */

static json_t *notify_text(unsigned notify)
{
    static const char *const names[] = {"never", "success", "failure", "delay"};
    json_t *list = json_array();

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (notify & 1u << i)
            json_array_append_new(list, json_string(names[i]));
    return list;
}

static json_t *to_json(const struct queue_to *t)
{
    static const char *const states[] = {"waiting", "on hold", "held"};
    bool waits = t->state == QUEUE_WAITING;

    return json_pack(
        "{si so ss so so sI so so sb so so so so}", "n", (int)t->n, "to", admin_str(t->rcpt),
        "state", states[t->state], "next", waits ? queue_time_text(t->next_ms) : json_null(), "in",
        waits ? queue_in_text(t->next_ms) : json_null(), "tries", (json_int_t)t->tries, "expires",
        queue_time_text(t->expires_ms), "site", admin_str(t->site), "rerouted", t->forced, "notify",
        notify_text(t->notify), "orcpt", admin_str(t->orcpt), "sender",
        t->sender.p ? queue_sender_text(t->sender) : json_null(), "error", admin_str(t->last));
}

struct showing {
    struct queue_entry entry;
    struct queue_out out; /* of leaving mail */
    struct message_recipient *rcpts;
    struct queue_to *to;
    size_t n_rcpts, n_to;
};

/* Held or leaving. */
static int read_one(struct admin_call *c, struct store_reader *r, struct arena *mem, uint64_t id,
                    struct showing *s)
{
    struct err err;

    if (queue_get(r, mem, id, &s->entry, &err) == 0) {
        if (queue_rcpts(r, mem, id, &s->rcpts, &s->n_rcpts, &c->err))
            return -1;
    } else if (queue_out_get(r, mem, id, &s->entry, &s->out, &c->err)) {
        if (c->err.why == ERR_WHY_NOT_FOUND)
            return ERR_WHY(&c->err, ERR_PERM, ERR_WHY_NOT_FOUND, "no message %llu is in the queue",
                           (unsigned long long)id);
        return -1;
    }
    return queue_out_to(r, mem, id, &s->to, &s->n_to, &c->err);
}

static json_t *envelope_json(const struct showing *s)
{
    const struct queue_entry *e = &s->entry;
    json_t *o, *rcpts = json_array(), *leaves = json_array();
    uint64_t on_hold = 0;

    for (size_t i = 0; i < s->n_rcpts; i++)
        json_array_append_new(rcpts, admin_str(s->rcpts[i].account));
    for (size_t i = 0; i < s->n_to; i++) {
        json_array_append_new(rcpts, admin_str(s->to[i].rcpt));
        json_array_append_new(leaves, to_json(&s->to[i]));
        on_hold += s->to[i].state == QUEUE_ON_HOLD;
    }
    o = json_pack("{so ss so sI so so}", "id", queue_id_text(e->id), "state",
                  queue_state_text(e, s->n_to, on_hold), "since", queue_time_text(e->since_ms),
                  "size", (json_int_t)e->size, "sender", queue_sender_text(e->sender), "recipients",
                  rcpts);
    if (e->held) {
        json_object_set_new(o, "until", queue_time_text(e->until_ms));
        json_object_set_new(o, "stage", admin_str(e->stage));
        json_object_set_new(o, "reason", admin_str(e->reason));
    } else {
        json_object_set_new(o, "account", admin_str(s->out.account));
        json_object_set_new(o, "envid", admin_str(s->out.envid));
    }
    if (s->n_to)
        json_object_set(o, "leaves", leaves);
    json_decref(leaves);
    return o;
}

static int show(struct admin_call *c, struct store_reader *r, struct arena *mem, uint64_t id)
{
    struct showing s = {.n_rcpts = 0};
    struct body_reader body;

    if (read_one(c, r, mem, id, &s) ||
        body_open(r, mem, s.entry.body, BODY_WANT_HEAD, &body, &c->err))
        return -1;
    c->result = envelope_json(&s);
    json_object_set_new(
        c->result, "head",
        admin_str(arena_printf(mem, STR_FMT STR_FMT, STR_ARG(s.out.prefix), STR_ARG(body.head))));
    body_close(&body);
    return 0;
}

int queue_cmd_show(struct admin_call *c)
{
    struct store_reader *r;
    struct arena *mem;
    uint64_t id;
    int rc;

    if (queue_id_word(c->args[0], &id, &c->err) || store_reader_open(c->store, &r, &c->err))
        return -1;
    mem = arena_new(0);
    rc = store_read_begin(r, &c->err);
    if (rc == 0) {
        rc = show(c, r, mem, id);
        store_read_end(r);
    }
    arena_free(&mem);
    store_reader_close(&r);
    return rc;
}

/* ---- totals */

static json_t *kept_json(const struct queue_kept *k)
{
    return json_pack("{sI sI}", "messages", (json_int_t)k->messages, "octets",
                     (json_int_t)k->bytes);
}

int queue_cmd_totals(struct admin_call *c)
{
    struct queue_kept held, quarantine;
    struct queue_totals t;
    struct store_reader *r;
    int rc;

    if (store_reader_open(c->store, &r, &c->err))
        return -1;
    rc = queue_totals(r, &t, &c->err) || queue_kept(r, QUEUE_HELD, &held, &c->err) ||
         queue_kept(r, QUEUE_QUARANTINE, &quarantine, &c->err);
    store_reader_close(&r);
    if (rc == 0)
        c->result =
            json_pack("{sI sI sI sI so so so}", "messages", (json_int_t)t.messages, "recipients",
                      (json_int_t)t.recipients, "on_hold", (json_int_t)t.on_hold, "octets",
                      (json_int_t)t.bytes, "oldest", queue_time_text(t.oldest_ms), "held",
                      kept_json(&held), "quarantine", kept_json(&quarantine));
    return rc ? -1 : 0;
}
