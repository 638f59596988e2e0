/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* quarantine: what a filter stage has kept from its recipients, for somebody to look at. The rows
 * are those of `queue`, which shows them among all that waits. */
#include "appliance/app/admin_queue.h"
#include "appliance/base/mem.h"
#include "filters/held.h"

enum {
    PAGE = 1000, /* messages in one answer; the client asks for more */
    ROWS = 500,
    SLICE = 50, /* of a change, in one transaction */
    IDS_MAX = 50
};

struct look {
    struct admin_call *c;
    struct store_reader *r;
    struct arena *mem;
    struct queue_words words;
    struct str rcpt, stage;
    bool any; /* a filter was said */
};
struct one {
    const struct queue_entry *e;
    struct message_recipient *here;
    struct queue_to *to; /* elsewhere */
    size_t n_here, n_to;
};
typedef int (*one_fn)(struct look *l, const struct one *one); /* 1: enough, -1: error */

/* ---- Which */

static int look_begin(struct admin_call *c, struct look *l)
{
    const char *rcpt = admin_option(c, "rcpt"), *stage = admin_option(c, "stage");

    *l = (struct look){.c = c, .rcpt = str_from(rcpt), .stage = str_from(stage)};
    if ((rcpt && !rcpt[0]) || (stage && !stage[0]))
        return ERR(&c->err, ERR_PROTO, "--%s wants a value", rcpt && !rcpt[0] ? "rcpt" : "stage");
    if (queue_words_read(c, &l->words))
        return -1;
    l->any = l->words.any || rcpt || stage;
    if (store_reader_open(c->store, &l->r, &c->err)) {
        queue_words_free(&l->words);
        return -1;
    }
    l->mem = arena_new(0);
    return 0;
}

static int look_end(struct look *l, int rc)
{
    arena_free(&l->mem);
    store_reader_close(&l->r);
    queue_words_free(&l->words);
    return rc;
}

static bool rcpt_fits(const struct look *l, const struct one *one)
{
    bool fits = l->rcpt.n == 0;

    for (size_t i = 0; i < one->n_here && !fits; i++)
        fits = queue_sender_fits(one->here[i].account, l->rcpt);
    for (size_t i = 0; i < one->n_to && !fits; i++)
        fits = queue_sender_fits(one->to[i].rcpt, l->rcpt);
    return fits;
}

/* Several stages stand as "a,b". */
static bool stage_fits(const struct look *l, struct str stages)
{
    bool fits = l->stage.n == 0, more = true;
    struct str name;

    while (!fits && more) {
        more = str_cut(stages, ',', &name, &stages);
        fits = str_eq(name, l->stage);
    }
    return fits;
}

static bool fits(const struct look *l, const struct one *one)
{
    const struct queue_filter *f = &l->words.filter;

    return (f->sender.n == 0 || queue_sender_fits(one->e->sender, f->sender)) &&
           (f->older_ms == 0 || one->e->since_ms < f->older_ms) && stage_fits(l, one->e->stage) &&
           rcpt_fits(l, one);
}

/* 0: it has gone meanwhile. */
static int read_rcpts(struct look *l, const struct queue_entry *e, struct one *one)
{
    *one = (struct one){.e = e};
    if (queue_rcpts(l->r, l->mem, e->id, &one->here, &one->n_here, &l->c->err))
        return l->c->err.why == ERR_WHY_NOT_FOUND ? 0 : -1;
    return queue_out_to(l->r, l->mem, e->id, &one->to, &one->n_to, &l->c->err) ? -1 : 1;
}

/* Those after that id that the filters mean, the oldest first. */
static int each(struct look *l, uint64_t after, one_fn fn)
{
    struct queue_entry *list;
    struct one one;
    size_t n;
    int rc = 0;

    do {
        if (queue_list(l->r, l->mem, QUEUE_QUARANTINE, 0, after, ROWS, &list, &n, &l->c->err))
            return -1;
        for (size_t i = 0; i < n && rc == 0; i++) {
            int there = read_rcpts(l, &list[i], &one);
            rc = there < 0 ? -1 : there && fits(l, &one) ? fn(l, &one) : 0;
            after = list[i].id;
        }
    } while (n == ROWS && rc == 0);
    return rc < 0 ? -1 : 0;
}

/* ---- list */

static int add_line(struct look *l, const struct one *one)
{
    const struct queue_entry *e = one->e;
    json_t *list = l->c->result;
    struct str first = one->n_here ? one->here[0].account : one->n_to ? one->to[0].rcpt : STR_NULL;

    if (json_array_size(list) == PAGE) {
        const char *last = json_string_value(
            json_object_get(json_array_get(list, json_array_size(list) - 1), "id"));
        l->c->more = str_dup_z(str_from(last));
        return 1;
    }
    json_array_append_new(
        list, json_pack("{so so so sI sI so so so so}", "id", queue_id_text(e->id), "since",
                        queue_time_text(e->since_ms), "until", queue_time_text(e->until_ms), "size",
                        (json_int_t)e->size, "recipients", (json_int_t)(one->n_here + one->n_to),
                        "sender", queue_sender_text(e->sender), "to", admin_str(first), "stage",
                        admin_str(e->stage), "reason", admin_str(e->reason)));
    return 0;
}

static int cmd_list(struct admin_call *c)
{
    const char *word = admin_option(c, "after");
    uint64_t after = 0;
    struct look l;

    if (word && queue_id_word(word, &after, &c->err))
        return err_context(&c->err, "--after");
    if (look_begin(c, &l))
        return -1;
    c->result = json_array();
    return look_end(&l, each(&l, after, add_line));
}

/* ---- show */

static int in_quarantine(struct look *l, const char *word, struct queue_entry *e)
{
    struct err *err = &l->c->err;
    uint64_t id;

    if (queue_id_word(word, &id, err))
        return -1;
    if (queue_get(l->r, l->mem, id, e, err))
        return err->why != ERR_WHY_NOT_FOUND
                   ? -1
                   : ERR_WHY(err, ERR_PERM, ERR_WHY_NOT_FOUND,
                             "no message %s is in quarantine (posthouse quarantine list)", word);
    if (e->held != QUEUE_QUARANTINE)
        return ERR(err, ERR_PERM,
                   "message %s isn't in quarantine: it is held until a stage can judge it "
                   "(posthouse queue show %s)",
                   word, word);
    return 0;
}

static int cmd_show(struct admin_call *c)
{
    struct queue_entry e;
    struct look l;

    if (look_begin(c, &l))
        return -1;
    return look_end(&l, in_quarantine(&l, c->args[0], &e)) ? -1 : queue_cmd_show(c);
}

/* ---- release, delete */

struct change {
    struct store_op op;
    const uint64_t *ids;
    size_t n;
    const char *mailbox;
    bool release, later;
    size_t done, gone;
};
struct plan {
    struct look look; /* first: see note() */
    bool later;       /* something of it waits for the stages */
    uint64_t *ids;
    size_t n, cap, recipients;
    size_t gone; /* of the recipients */
};

static int run_change(struct store_op *op, struct store_tx *tx)
{
    struct change *ch = CONTAINER_OF(op, struct change, op);

    struct queue_gone gone = {.n = 0};
    bool later = false;

    ch->done = ch->gone = 0;
    ch->later = false;
    for (size_t i = 0; i < ch->n; i++) {
        err_clear(&op->err);
        if ((ch->release ? held_release_tx(tx, ch->ids[i], ch->mailbox, &later, &gone, &op->err)
                         : queue_remove_tx(tx, ch->ids[i], &op->err)) == 0) {
            ch->done++;
            ch->gone += gone.n;
            ch->later |= later;
        } else if (op->err.why != ERR_WHY_NOT_FOUND) /* else somebody was faster */
            return -1;
    }
    return STORE_DONE;
}

static int note(struct look *l, const struct one *one)
{
    struct plan *p = CONTAINER_OF(l, struct plan, look);

    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : ROWS;
        uint64_t *more = ARENA_ARRAY(l->mem, uint64_t, cap);
        if (p->n)
            memcpy(more, p->ids, p->n * sizeof *more);
        p->ids = more;
        p->cap = cap;
    }
    p->ids[p->n++] = one->e->id;
    p->recipients += one->n_here + one->n_to;
    return 0;
}

static bool noted(const struct plan *p, uint64_t id)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->ids[i] == id)
            return true;
    return false;
}

static int note_named(struct plan *p)
{
    const struct admin_call *c = p->look.c;
    struct queue_entry e;
    struct one one;

    for (size_t i = 0; i < c->n_args; i++) {
        if (in_quarantine(&p->look, c->args[i], &e))
            return -1;
        int there = noted(p, e.id) ? 0 : read_rcpts(&p->look, &e, &one);
        if (there < 0 || (there && note(&p->look, &one)))
            return -1;
    }
    return 0;
}

static int carry_out(struct plan *p, bool release, size_t *done_out)
{
    struct admin_call *c = p->look.c;

    *done_out = 0;
    for (size_t at = 0; at < p->n; at += SLICE) {
        struct change ch = {.op = {.run = run_change, .cls = STORE_INTERACTIVE},
                            .ids = p->ids + at,
                            .n = p->n - at < SLICE ? p->n - at : SLICE,
                            .mailbox = admin_option(c, "junk") ? "Junk" : NULL,
                            .release = release};
        if (store_submit_wait(c->store, &ch.op) || ch.op.failed) {
            c->err = ch.op.err;
            return *done_out ? err_context(&c->err, "some of it is done, but then") : -1;
        }
        *done_out += ch.done;
        p->later |= ch.later;
        p->gone += ch.gone;
    }
    return 0;
}

/* Which mail is meant must be said, in one way. */
static int change(struct plan *p, bool release)
{
    struct admin_call *c = p->look.c;
    bool all = admin_option(c, "all"), dry = admin_option(c, "dry-run");
    size_t done = 0;

    if ((c->n_args > 0) + all + p->look.any != 1)
        return ERR(
            &c->err, ERR_PROTO,
            "say which mail: IDs, or filters (--rcpt, --sender, --stage, --older), or --all");
    if (c->n_args ? note_named(p) : each(&p->look, 0, note))
        return -1;
    if (!dry && carry_out(p, release, &done))
        return -1;
    c->queue.changed = release && done > 0;
    if (p->gone && p->gone == p->recipients)
        return queue_all_gone(&c->err);
    c->result = json_pack("{sI sI sb}", "messages", (json_int_t)(dry ? p->n : done), "recipients",
                          (json_int_t)p->recipients, "changed", done > 0);
    queue_note_later(c, p->later);
    queue_note_gone(c, p->gone);
    return 0;
}

static int begin_change(struct admin_call *c, bool release)
{
    struct plan p = {.n = 0};

    if (look_begin(c, &p.look))
        return -1;
    return look_end(&p.look, change(&p, release));
}

static int cmd_release(struct admin_call *c)
{
    return begin_change(c, true);
}

static int cmd_delete(struct admin_call *c)
{
    return begin_change(c, false);
}

#define FILTERS "rcpt=", "sender=", "stage=", "older="
static const char *const list_options[] = {FILTERS, "after=", NULL};
static const char *const release_options[] = {"junk", "all", FILTERS, "dry-run", NULL};
static const char *const delete_options[] = {"all", FILTERS, "dry-run", NULL};
const struct admin_command admin_quarantine_commands[] = {
    {"quarantine", "list", "", 0, 0, list_options, false, cmd_list,
     "List mail that a filter stage has put into quarantine instead of delivering it, the oldest "
     "first; `until`: then it is deleted (filters.quarantine_time). --rcpt=ann@example.com, "
     "--rcpt=@example.com; --sender=@.example.org: with all domains below; --sender=<>: without "
     "one; --stage=dmarc: what that one has put there; --older=2h (units s min h d w); --after=ID: "
     "from there on. Why: posthouse explain ID."},
    {"quarantine", "show", "ID", 1, 1, NULL, false, cmd_show,
     "Show one message: envelope, who put it there and why, header block."},
    {"quarantine", "release", "[ID ...]", 0, IDS_MAX, release_options, false, cmd_release,
     "Deliver it after all: what is named, or what the filters find (--all: all of it), into INBOX "
     "or (--junk) the Junk folder of its recipients here, and on its way to those elsewhere, past "
     "the stages that look at mail which leaves (dkim_sign signs it); without a running server "
     "those "
     "copies wait for it. With --dry-run only say how much that is; so also below."},
    {"quarantine", "delete", "[ID ...]", 0, IDS_MAX, delete_options, false, cmd_delete,
     "Delete it undelivered; nobody is told."},
    {.group = NULL}};
