/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue: mail that is on its way to other hosts, held, or in quarantine: the commands, and the
 * list. */
#include "appliance/app/admin_queue.h"
#include "appliance/base/mem.h"

enum {
    PAGE = 1000, /* messages in one answer; the client asks for more */
    ROWS = 500,
    PAGE_ROWS = 10000 /* recipients of one answer, but for the rest of a message */
};

struct line {
    const struct queue_entry *entry;
    int64_t next_ms, until_ms;
    uint64_t n, on_hold;
    struct str to, reason; /* of the first recipient, of the first that has one */
};
struct row {
    uint64_t id;
    json_t *json;
};
struct listing {
    struct admin_call *c;
    struct store_reader *r;
    struct arena *mem;
    const struct queue_filter *filter;
    uint64_t after;
    struct row *rows[2]; /* PAGE each: held, leaving */
    size_t n[2];
    bool more[2];
};

static void add_line(struct listing *l, int kind, const struct line *line)
{
    const struct queue_entry *e = line->entry;
    bool waits = !line->on_hold || line->on_hold < line->n;
    json_t *json = json_pack(
        "{so ss so so so so sI sI so so so so}", "id", queue_id_text(e->id), "state",
        queue_state_text(e, line->n, line->on_hold), "since", queue_time_text(e->since_ms), "next",
        waits ? queue_time_text(line->next_ms) : json_null(), "in",
        waits ? queue_in_text(line->next_ms) : json_null(), "until",
        queue_time_text(line->until_ms), "size", (json_int_t)e->size, "recipients",
        (json_int_t)line->n, "sender", queue_sender_text(e->sender), "to", admin_str(line->to),
        "stage", admin_str(e->stage), "reason", admin_str(line->reason));

    l->rows[kind][l->n[kind]++] = (struct row){e->id, json};
}

static bool held_fits(const struct queue_filter *f, const struct queue_entry *e,
                      const struct message_recipient *rcpts, size_t n)
{
    bool domain = f->domain.n == 0;
    size_t at;

    for (size_t i = 0; i < n && !domain; i++)
        domain = queue_domain_fits(rcpts[i].account, f->domain);
    return domain && (f->sender.n == 0 || queue_sender_fits(e->sender, f->sender)) &&
           (f->older_ms == 0 || e->since_ms < f->older_ms) &&
           (f->error.n == 0 || str_ifind(e->reason, f->error, &at));
}

/* Its recipients, for the first of them; one that is released just now has none. */
static int list_held_one(struct listing *l, const struct queue_entry *e)
{
    struct message_recipient *rcpts;
    struct queue_to *to;
    struct line line = {.entry = e,
                        .next_ms = e->next_ms,
                        .until_ms = e->until_ms,
                        .n = e->n_rcpts,
                        .reason = e->reason};
    size_t n, n_to;

    if (queue_rcpts(l->r, l->mem, e->id, &rcpts, &n, &l->c->err))
        return l->c->err.why == ERR_WHY_NOT_FOUND ? 0 : -1;
    if (queue_out_to(l->r, l->mem, e->id, &to, &n_to, &l->c->err))
        return -1;
    line.to = n ? rcpts[0].account : n_to ? to[0].rcpt : STR_NULL;
    if (e->held == QUEUE_QUARANTINE)
        line.on_hold = line.n;
    if (held_fits(l->filter, e, rcpts, n))
        add_line(l, 0, &line);
    return 0;
}

static int list_held(struct listing *l)
{
    uint64_t after = l->after;
    struct queue_entry *list;
    size_t n;

    do {
        if (queue_list(l->r, l->mem, 0, 0, after, ROWS, &list, &n, &l->c->err))
            return -1;
        for (size_t i = 0; i < n; i++) {
            if (l->n[0] == PAGE) {
                l->more[0] = true;
                return 0;
            }
            if (list_held_one(l, &list[i]))
                return -1;
            after = list[i].id;
        }
    } while (n == ROWS);
    return 0;
}

static void count_in(struct line *line, const struct queue_to *t)
{
    bool waits = t->state == QUEUE_WAITING;

    if (waits && (line->n == line->on_hold || t->next_ms < line->next_ms))
        line->next_ms = t->next_ms;
    if (t->expires_ms > line->until_ms)
        line->until_ms = t->expires_ms;
    if (!line->reason.n)
        line->reason = t->last;
    line->on_hold += !waits;
    line->n++;
}

static int list_leaving(struct listing *l)
{
    struct line line = {.n = 0};
    struct queue_entry *entries;
    struct queue_to *list = NULL;
    uint64_t after = l->after;
    uint32_t after_n = UINT32_MAX;
    size_t n, seen = 0;

    do {
        if (queue_find(l->r, l->mem, l->filter, after, after_n, ROWS, &list, &entries, &n,
                       &l->c->err))
            return -1;
        for (size_t i = 0; i < n; i++, seen++) {
            if (!line.n || line.entry->id != list[i].id) {
                if (line.n)
                    add_line(l, 1, &line);
                l->more[1] = l->n[1] == PAGE || seen > PAGE_ROWS;
                if (l->more[1])
                    return 0;
                line = (struct line){.entry = &entries[i], .to = list[i].rcpt};
            }
            count_in(&line, &list[i]);
            after = list[i].id;
            after_n = list[i].n;
        }
    } while (n == ROWS);
    if (line.n)
        add_line(l, 1, &line);
    return 0;
}

/* Both by id, as far as both have been read. */
static void merge(struct listing *l)
{
    uint64_t bound = UINT64_MAX;
    size_t at[2] = {0, 0};

    for (int k = 0; k < 2; k++)
        if (l->more[k] && l->rows[k][l->n[k] - 1].id < bound)
            bound = l->rows[k][l->n[k] - 1].id;
    l->c->result = json_array();
    for (;;) {
        int k = at[0] == l->n[0]   ? 1
                : at[1] == l->n[1] ? 0
                                   : l->rows[1][at[1]].id < l->rows[0][at[0]].id;
        if (at[k] == l->n[k])
            break;
        struct row *row = &l->rows[k][at[k]++];
        if (row->id <= bound)
            json_array_append_new(l->c->result, row->json);
        else
            json_decref(row->json);
    }
    if (bound != UINT64_MAX)
        l->c->more = str_dup_z(arena_printf(l->mem, "%llu", (unsigned long long)bound));
}

static int list(struct listing *l)
{
    bool held = admin_option(l->c, "held"), leaving = admin_option(l->c, "leaving");

    for (int k = 0; k < 2; k++)
        l->rows[k] = ARENA_ARRAY(l->mem, struct row, PAGE);
    if (((held || !leaving) && list_held(l)) || ((leaving || !held) && list_leaving(l))) {
        for (int k = 0; k < 2; k++)
            for (size_t i = 0; i < l->n[k]; i++)
                json_decref(l->rows[k][i].json);
        return -1;
    }
    merge(l);
    return 0;
}

static int cmd_list(struct admin_call *c)
{
    const char *after = admin_option(c, "after");
    struct listing l = {.c = c};
    struct queue_words words;
    int rc;

    if (after && queue_id_word(after, &l.after, &c->err))
        return err_context(&c->err, "--after");
    if (queue_words_read(c, &words))
        return -1;
    l.filter = &words.filter;
    rc = store_reader_open(c->store, &l.r, &c->err);
    if (rc == 0) {
        l.mem = arena_new(0);
        rc = list(&l);
        arena_free(&l.mem);
        store_reader_close(&l.r);
    }
    queue_words_free(&words);
    return rc;
}

#define FILTERS "domain=", "sender=", "error=", "older="
static const char *const list_options[] = {"held", "leaving", FILTERS, "after=", NULL};
static const char *const change_options[] = {"all", FILTERS, "dry-run", NULL};
static const char *const release_options[] = {"junk", "all", FILTERS, "dry-run", NULL};
static const char *const reroute_options[] = {"as-routed", "all", FILTERS, "dry-run", NULL};
static const char *const flush_options[] = {"dry-run", NULL};
const struct admin_command admin_queue_commands[] = {
    {"queue", "list", "", 0, 0, list_options, false, cmd_list,
     "List mail that waits to leave, is held until a filter stage can judge it, or is in "
     "quarantine, the oldest first. --domain=.example.org: with all below; --sender=@example.org; "
     "--sender=<>: without one; --error: a part of the last error; --older=2h (units s min h d w); "
     "--after=ID: from there on."},
    {"queue", "show", "ID", 1, 1, NULL, false, queue_cmd_show,
     "Show one message: envelope, each recipient with its last error, header block."},
    {"queue", "totals", "", 0, 0, NULL, false, queue_cmd_totals,
     "Show how much waits to leave, and since when."},
    {"queue", "retry", "[ID]", 0, 1, change_options, false, queue_cmd_retry,
     "Try again now: one message, or what the filters find of mail that leaves (--all: all of it). "
     "With --dry-run only say how many recipients that is; so also below."},
    {"queue", "hold", "[ID]", 0, 1, change_options, false, queue_cmd_hold,
     "Put mail that waits to leave on hold: it isn't tried until it is released."},
    {"queue", "release", "[ID]", 0, 1, release_options, false, queue_cmd_release,
     "Let go what is on hold; by ID also what is held or in quarantine: to its recipients here, "
     "into INBOX or (--junk) their Junk folder, and on its way to those elsewhere, as `quarantine "
     "release` does."},
    {"queue", "remove", "[ID]", 0, 1, change_options, false, queue_cmd_remove,
     "Delete it undelivered; nobody is told. By ID also what is held or in quarantine."},
    {"queue", "reroute", "[ID] SITE|HOST:PORT", 0, 2, reroute_options, false, queue_cmd_reroute,
     "Send it to another domain's hosts, or to this host, whatever the routes say, at once; "
     "--as-routed instead: as the routes say again."},
    {"queue", "flush", "[DOMAIN]", 0, 1, flush_options, false, queue_cmd_flush,
     "Try again now what waits for this domain and those below it, or all, also at hosts that rest "
     "because they didn't answer."},
    {.group = NULL}};
