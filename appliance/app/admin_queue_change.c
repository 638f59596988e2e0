/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* queue retry, hold, release, remove, reroute, flush: of one message, or of what filters find. Held
 * mail is changed by its id alone: a filter never means it by accident. */
#include "appliance/app/admin_queue.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "filters/held.h"
#include <arpa/inet.h>

enum { PAGE = 500, SITE_MAX = 320 };

struct change {
    struct admin_call *c;
    const char *id_word; /* NULL: filters say */
    struct queue_filter filter;
    enum queue_change_what what;
    struct str site, wake;
    bool flush;
};

static void say(struct change *ch, uint64_t n)
{
    bool dry = admin_option(ch->c, "dry-run");

    ch->c->result = json_pack("{sI sb}", "recipients", (json_int_t)n, "changed", !dry && n > 0);
    ch->c->queue.changed = !dry && (n > 0 || ch->flush);
    ch->c->queue.flush = ch->flush;
    if (ch->c->queue.changed && ch->wake.n)
        ch->c->queue.of = str_dup_z(ch->wake);
}

void queue_note_later(struct admin_call *c, bool later)
{
    if (later && !c->serving)
        json_object_set_new(c->result, "leaving",
                            json_string("when the server runs, past its stages"));
}

void queue_note_gone(struct admin_call *c, size_t gone)
{
    if (gone)
        json_object_set_new(c->result, "gone", json_integer((json_int_t)gone));
}

int queue_all_gone(struct err *err)
{
    return ERR(err, ERR_PERM,
               "the recipient is gone: the account it was held for was removed, and whoever has "
               "the address now gets none of it; it stays in quarantine (posthouse account attach "
               "brings the account back)");
}

/* ---- What leaves */

static int count(struct change *ch, struct store_reader *r, struct arena *mem, uint64_t *out)
{
    struct queue_filter f = ch->filter;
    struct queue_to *list;
    uint64_t id = 0;
    uint32_t n = 0;
    size_t got;

    *out = 0;
    f.state = queue_change_state(ch->what);
    do {
        arena_clear(mem);
        if (queue_find(r, mem, &f, id, n, PAGE, &list, NULL, &got, &ch->c->err))
            return -1;
        *out += got;
        if (got) {
            id = list[got - 1].id;
            n = list[got - 1].n;
        }
    } while (got == PAGE);
    return 0;
}

static int change_leaving(struct change *ch, struct store_reader *r, struct arena *mem)
{
    struct queue_change_op q;
    uint64_t n;

    if (admin_option(ch->c, "dry-run")) {
        if (count(ch, r, mem, &n))
            return -1;
        say(ch, n);
        return 0;
    }
    queue_change_init(&q, NULL);
    q.filter = ch->filter;
    q.what = ch->what;
    q.site = ch->site;
    if (store_submit_wait(ch->c->store, &q.op) || q.op.failed) {
        ch->c->err = q.op.err;
        return -1;
    }
    say(ch, q.count);
    return 0;
}

/* ---- What is held */

struct held_change {
    struct store_op op;
    uint64_t id;
    const char *mailbox;
    bool release, later;
    struct queue_gone gone;
};

static int run_held(struct store_op *op, struct store_tx *tx)
{
    struct held_change *h = CONTAINER_OF(op, struct held_change, op);
    int rc = h->release ? held_release_tx(tx, h->id, h->mailbox, &h->later, &h->gone, &op->err)
                        : queue_remove_tx(tx, h->id, &op->err);

    return rc ? -1 : STORE_DONE;
}

static int change_held(struct change *ch, const struct queue_entry *e)
{
    struct held_change h = {.op = {.run = run_held, .cls = STORE_INTERACTIVE},
                            .id = e->id,
                            .mailbox = admin_option(ch->c, "junk") ? "Junk" : NULL,
                            .release = ch->what == QUEUE_RELEASE};

    if (ch->what != QUEUE_RELEASE && ch->what != QUEUE_DROP)
        return ERR(&ch->c->err, ERR_PERM,
                   "message %s is %s, not on its way: it can be released or removed", ch->id_word,
                   e->held == QUEUE_HELD ? "held" : "in quarantine");
    if (!admin_option(ch->c, "dry-run") &&
        (store_submit_wait(ch->c->store, &h.op) || h.op.failed)) {
        ch->c->err = h.op.err;
        return -1;
    }
    if (h.gone.n && h.gone.n == e->n_rcpts)
        return queue_all_gone(&ch->c->err);
    say(ch, e->n_rcpts);
    queue_note_later(ch->c, h.later);
    queue_note_gone(ch->c, h.gone.n);
    return 0;
}

/* ---- Either */

static int change_one(struct change *ch, struct store_reader *r, struct arena *mem)
{
    struct queue_entry e;
    struct queue_out out;
    struct err err;

    if (queue_id_word(ch->id_word, &ch->filter.id, &ch->c->err))
        return -1;
    if (queue_get(r, mem, ch->filter.id, &e, &err) == 0)
        return change_held(ch, &e);
    if (admin_option(ch->c, "junk"))
        return ERR(&ch->c->err, ERR_PROTO, "--junk is for what is held or in quarantine");
    if (queue_out_get(r, mem, ch->filter.id, &e, &out, &ch->c->err))
        return ch->c->err.why != ERR_WHY_NOT_FOUND
                   ? -1
                   : ERR_WHY(&ch->c->err, ERR_PERM, ERR_WHY_NOT_FOUND,
                             "no message %s is in the queue", ch->id_word);
    return change_leaving(ch, r, mem);
}

static int with_reader(struct change *ch)
{
    struct store_reader *r;
    struct arena *mem;
    int rc;

    if (store_reader_open(ch->c->store, &r, &ch->c->err))
        return -1;
    mem = arena_new(0);
    rc = ch->id_word ? change_one(ch, r, mem) : change_leaving(ch, r, mem);
    arena_free(&mem);
    store_reader_close(&r);
    return rc;
}

/* Which mail is meant must be said, in one way. */
static int change(struct change *ch)
{
    struct admin_call *c = ch->c;
    bool all = admin_option(c, "all");
    struct queue_words words;
    int rc;

    if (queue_words_read(c, &words))
        return -1;
    if ((ch->id_word != NULL) + all + words.any != 1)
        rc = ERR(&c->err, ERR_PROTO,
                 "say which mail: an ID, or filters (--domain, --sender, --error, --older), or "
                 "--all");
    else if (!ch->id_word && admin_option(c, "junk"))
        rc = ERR(&c->err, ERR_PROTO, "--junk takes an ID");
    else {
        ch->filter = words.filter;
        rc = with_reader(ch);
    }
    queue_words_free(&words);
    return rc;
}

static int change_as(struct admin_call *c, enum queue_change_what what)
{
    struct change ch = {.c = c, .what = what, .id_word = c->n_args ? c->args[0] : NULL};

    return change(&ch);
}

int queue_cmd_retry(struct admin_call *c)
{
    return change_as(c, QUEUE_RETRY);
}

int queue_cmd_hold(struct admin_call *c)
{
    return change_as(c, QUEUE_HOLD);
}

int queue_cmd_release(struct admin_call *c)
{
    return change_as(c, QUEUE_RELEASE);
}

int queue_cmd_remove(struct admin_call *c)
{
    return change_as(c, QUEUE_DROP);
}

/* ---- reroute */

/* As smtp/client/route.h writes it: a name as A-labels, an address as it is printed. */
static int put_host(struct str host, struct buf *out)
{
    char text[64], ip[INET6_ADDRSTRLEN];
    struct in6_addr six;

    if (!str_starts(host, STR("[")))
        return text_domain(host, out);
    if (!str_ends(host, STR("]")) || host.n - 2 >= sizeof text)
        return -1;
    memcpy(text, host.p + 1, host.n - 2);
    text[host.n - 2] = '\0';
    if (inet_pton(AF_INET6, text, &six) == 1 && inet_ntop(AF_INET6, &six, ip, sizeof ip))
        return buf_printf(out, "[%s]", ip);
    struct in_addr four;
    return inet_pton(AF_INET, text, &four) == 1 ? buf_add_z(out, text) : -1;
}

/* "HOST:PORT", "relay:HOST:PORT/ROUTE", or a site by its domain: "example.org", "[192.0.2.1]". */
static int put_site(struct str word, struct buf *out)
{
    struct str host, port, route, whole = word;
    uint64_t number;
    size_t at;

    if (str_starts(word, STR("relay:")))
        word = str_skip(word, 6);
    bool named = str_cut(word, '/', &host, &route);
    bool by_port = str_rchr(host, ':', &at) && !str_ends(host, STR("]"));
    if (!by_port) {
        if (word.p != whole.p)
            return -1;
        if (str_starts(host, STR("[")) ? buf_add_str(out, host) : text_domain(host, out))
            return -1;
    } else {
        port = str_skip(host, at + 1);
        buf_add_z(out, "relay:");
        if (str_to_u64(port, 65535, &number) || number == 0 || put_host(str_take(host, at), out))
            return -1;
        buf_printf(out, ":%u", (unsigned)number);
    }
    if (named) {
        buf_add_char(out, '/');
        buf_add_str(out, route);
    }
    return buf_ok(out) && out->n <= SITE_MAX ? 0 : -1;
}

int queue_cmd_reroute(struct admin_call *c)
{
    bool as_routed = admin_option(c, "as-routed");
    size_t ids = c->n_args - (as_routed || c->n_args == 0 ? 0 : 1);
    struct change ch = {.c = c, .what = QUEUE_REROUTE, .id_word = ids ? c->args[0] : NULL};
    struct buf site;
    int rc = 0;

    buf_init(&site, 4096);
    if (ids > 1 || (!as_routed && c->n_args == 0))
        rc = ERR(&c->err, ERR_PROTO, "say where to: SITE, HOST:PORT, or --as-routed");
    else if (!as_routed && put_site(str_from(c->args[ids]), &site))
        rc = ERR(&c->err, ERR_PROTO, "'%s' is neither a domain nor HOST:PORT", c->args[ids]);
    if (rc == 0) {
        ch.site = ch.wake = buf_str(&site);
        rc = change(&ch);
    }
    buf_fini(&site);
    return rc;
}

/* ---- flush */

int queue_cmd_flush(struct admin_call *c)
{
    struct change ch = {.c = c, .what = QUEUE_RETRY, .flush = true, .filter = {.state = -1}};
    struct buf domain;
    int rc = 0;

    buf_init(&domain, SITE_MAX);
    if (c->n_args) {
        bool literal = c->args[0][0] == '[';
        if (!literal)
            buf_add_char(&domain, '.');
        rc = queue_domain_word(c->args[0], &domain, &c->err);
        ch.filter.domain = buf_str(&domain);
        ch.wake = str_skip(ch.filter.domain, literal ? 0 : 1);
    }
    if (rc == 0)
        rc = with_reader(&ch);
    buf_fini(&domain);
    return rc;
}
