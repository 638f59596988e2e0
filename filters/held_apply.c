/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* held_apply.c - what the stages want done to a held message, as smtp/filter_message.c does it to
 * one that comes in: head, body, recipients, sender. What can't be done to one that waits in the
 * store (new recipients at other hosts) is said, and the message is kept then. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/directory/directory.h"
#include "appliance/mail/delivered.h"
#include "appliance/mail/header.h"
#include "filters/held_private.h"

enum { PREFIX_MAX = 512 << 10, LIST_MAX = 2000 };

struct held_asking {
    struct held_one *one; /* NULL: gone */
};

/* ---- Head */

/* Our Received stays on top of what is inserted. */
static void edit_head(struct held_one *o)
{
    struct str head = o->message.head, rest = head;
    struct header_field first;
    size_t ours =
        header_next(&rest, &first) && str_ieq(first.name, STR("Received")) ? first.raw.n : 0;
    struct buf edited;

    buf_init(&o->head, HELD_HEAD_MAX);
    buf_init(&edited, HELD_HEAD_MAX);
    if (chain_edit_head(o->chain, str_skip(head, ours), &edited)) {
        buf_add_str(&o->head, str_take(head, ours));
        buf_add_str(&o->head, buf_str(&edited));
    }
    if (!buf_ok(&edited) || !buf_ok(&o->head))
        o->change.impossible = "its head has no room for what stages add to it";
    buf_fini(&edited);
}

/* ---- Recipients and sender */

static void add_address(struct held_one *o, struct str **list, size_t *n, struct str address)
{
    struct str *more = ARENA_ARRAY(o->arena, struct str, *n + 1);

    if (*n)
        memcpy(more, *list, *n * sizeof *more);
    more[(*n)++] = arena_str(o->arena, address);
    *list = more;
}

/* As held_recipient() wrote them. */
static void read_list(struct held_one *o, size_t more)
{
    struct held_change *c = &o->change;
    struct str rest = o->entry.view, key, value;
    struct held_rcpt *r = NULL;
    size_t n = 0;

    while (str_cut(rest, '\0', &key, &rest) && str_cut(rest, '\0', &value, &rest))
        n += str_eq(key, STR("for"));
    c->list = ARENA_ARRAY(o->arena, struct held_rcpt, n + more + 1);
    for (rest = o->entry.view; str_cut(rest, '\0', &key, &rest);) {
        if (!str_cut(rest, '\0', &value, &rest))
            break;
        if (str_eq(key, STR("for")) && c->n < n) {
            r = &c->list[c->n++];
            *r = (struct held_rcpt){.address = value};
        } else if (r && str_eq(key, STR("here"))) {
            add_address(o, &r->here, &r->n_here, value);
        } else if (r && str_eq(key, STR("there"))) {
            add_address(o, &r->there, &r->n_there, value);
        }
    }
}

static bool has(const struct str *list, size_t n, struct str s)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], s))
            return true;
    return false;
}

static bool stays_here(const struct held_one *o, struct str account)
{
    for (size_t i = 0; i < o->change.n; i++) {
        const struct held_rcpt *r = &o->change.list[i];
        if (!r->deleted && has(r->here, r->n_here, account))
            return true;
    }
    return false;
}

bool held_goes_on(const struct held_one *o, struct str address)
{
    if (!o->change.envelope)
        return true;
    for (size_t i = 0; i < o->change.n; i++) {
        const struct held_rcpt *r = &o->change.list[i];
        if (!r->deleted && has(r->there, r->n_there, address))
            return true;
    }
    return false;
}

bool held_nobody_left(const struct held_one *o)
{
    size_t left = 0;

    if (!o->change.envelope)
        return false;
    for (size_t i = 0; i < o->change.n; i++)
        if (!o->change.list[i].deleted)
            left += o->change.list[i].n_here + o->change.list[i].n_there;
    return left == 0;
}

static void delete_rcpt(struct held_one *o, struct str address)
{
    for (size_t i = 0; i < o->change.n; i++)
        if (str_ieq(o->change.list[i].address, address))
            o->change.list[i].deleted = true;
}

static void add_found(struct held_one *o, struct str address, const struct directory_answer *a)
{
    struct held_change *c = &o->change;

    if (a->kind == DIRECTORY_NOT_OURS || a->n_remotes) {
        c->impossible = "a recipient elsewhere can't be added to held mail";
        return;
    }
    if (!a->n_accounts) {
        const struct log_ctx ctx = {.module = "filters", .sid = o->chain->session, .mid = o->id};
        log_warn(&ctx, "filter_recipient_ignored", L_STR("address", address),
                 L_Z("reason", "no such address here"));
        return;
    }
    struct held_rcpt *r = &c->list[c->n++];
    *r = (struct held_rcpt){.address = arena_str(o->arena, address)};
    for (size_t i = 0; i < a->n_accounts; i++)
        add_address(o, &r->here, &r->n_here, a->accounts[i]);
}

static void go_on(struct held_one *o);

static void on_resolved(void *ctx, const struct directory_answer *a)
{
    struct held_asking *asking = ctx;
    struct held_one *o = asking->one;

    mem_free(asking);
    if (!o)
        return;
    o->asking = NULL;
    if (a->failed)
        o->change.impossible = "a recipient can't be looked up";
    else
        add_found(o, o->action->value, a);
    o->action = o->action->next;
    go_on(o);
}

static bool ask(struct held_one *o, struct str address)
{
    struct directory *d = o->filters->env.directory;

    o->asking = MEM_NEW(struct held_asking);
    o->asking->one = o;
    if (d && directory_resolve(d, address, on_resolved, o->asking) == 0)
        return true;
    mem_free(o->asking);
    o->asking = NULL;
    o->change.impossible = "a recipient can't be looked up";
    return false;
}

/* A copy that is forwarded has a sender of its own (SRS), made of the one that came. */
static void check_sender(struct held_one *o)
{
    for (size_t i = 0; o->change.sender.p && i < o->n_to; i++)
        if (o->to[i].sender.p && held_goes_on(o, o->to[i].rcpt))
            o->change.impossible = "the sender of copies that are forwarded can't be changed";
}

static void go_on(struct held_one *o)
{
    for (; o->action && !o->change.impossible; o->action = o->action->next) {
        if (o->action->kind == CHAIN_RCPT_DELETE)
            delete_rcpt(o, o->action->value);
        else if (o->action->kind == CHAIN_SENDER)
            o->change.sender = arena_str(o->arena, o->action->value);
        else if (o->action->kind == CHAIN_RCPT_ADD && ask(o, o->action->value))
            return;
    }
    check_sender(o);
    o->then(o);
}

void held_apply(struct held_one *o, void (*then)(struct held_one *o))
{
    size_t adds = 0, changes = 0;

    edit_head(o);
    for (const struct chain_action *a = chain_actions(o->chain); a; a = a->next) {
        adds += a->kind == CHAIN_RCPT_ADD;
        changes +=
            a->kind == CHAIN_RCPT_ADD || a->kind == CHAIN_RCPT_DELETE || a->kind == CHAIN_SENDER;
    }
    o->then = then;
    o->action = changes ? chain_actions(o->chain) : NULL;
    if (changes) {
        o->change.envelope = true;
        read_list(o, adds);
        if (o->change.n == 0 || adds > LIST_MAX)
            o->change.impossible = "it was held by a version that didn't keep who it is for";
    }
    go_on(o);
}

/* ---- Body */

static void on_stored(void *ctx, const struct err *failed)
{
    struct held_one *o = ctx;

    if (failed)
        o->change.impossible = "the new body can't be stored";
    o->then(o);
}

static void put_more(void *ctx)
{
    struct held_one *o = ctx;
    struct body_sink *sink = o->change.body;
    enum body_put put = body_sink_put_pieces(sink, &o->putting);

    if (put == BODY_WAIT)
        return;
    if (put == BODY_FAIL) {
        o->change.impossible = "the new body can't be stored";
        o->then(o);
        return;
    }
    body_sink_end(sink);
    body_sink_flush(sink, on_stored, o);
}

void held_apply_body(struct held_one *o, void (*then)(struct held_one *o))
{
    const struct chain_action *body = chain_new_body(o->chain);
    struct str head = o->head.n ? buf_str(&o->head) : o->message.head;

    o->then = then;
    if (!body || o->change.impossible || o->released || o->plan.held == QUEUE_HELD) {
        then(o);
        return;
    }
    o->change.body =
        body_sink_new(o->filters->env.store, HELD_HEAD_MAX + body->value.n + 1, put_more, o);
    o->change.eight_bit = !text_ascii(body->value);
    o->putting = body->value;
    if (body_sink_put(o->change.body, head) == BODY_FAIL) {
        o->change.impossible = "the header block would be too large";
        then(o);
        return;
    }
    put_more(o);
}

/* ---- In the store: on the commit thread, without the chain. */

static struct str prefix_of(struct held_one *o, struct str was, struct str sender,
                            struct str account)
{
    struct buf prefix;
    struct str kept;

    buf_init(&prefix, PREFIX_MAX);
    if (was.p)
        delivered_change_sender(&prefix, was, sender);
    else
        delivered_prefix(&prefix, sender, account);
    kept = arena_str(o->arena, buf_str(&prefix));
    buf_fini(&prefix);
    return kept;
}

static bool listed(const struct message_recipient *list, size_t n, struct str account)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i].account, account))
            return true;
    return false;
}

static void add_new(struct held_one *o, struct str sender, struct message_recipient *list,
                    size_t *n)
{
    for (size_t i = 0; i < o->change.n; i++) {
        const struct held_rcpt *r = &o->change.list[i];
        for (size_t k = 0; !r->deleted && k < r->n_here; k++)
            if (!listed(list, *n, r->here[k]))
                list[(*n)++] = (struct message_recipient){
                    .account = r->here[k],
                    .mailbox = STR("INBOX"),
                    .prefix = prefix_of(o, STR_NULL, sender, r->here[k])};
    }
}

static int set_recipients(struct held_one *o, struct store_tx *tx, struct err *err)
{
    struct str sender = o->change.sender.p ? o->change.sender : o->entry.sender;
    struct message_recipient *rows, *list;
    size_t n_rows, n = 0, max;

    if (queue_rcpts_tx(tx, o->id, &rows, &n_rows, err))
        return -1;
    max = n_rows;
    for (size_t i = 0; i < o->change.n; i++)
        max += o->change.list[i].n_here;
    list = ARENA_ARRAY(o->arena, struct message_recipient, max + 1);
    for (size_t i = 0; i < n_rows; i++) {
        if (!stays_here(o, rows[i].account))
            continue;
        list[n] = rows[i];
        if (o->change.sender.p)
            list[n].prefix = prefix_of(o, rows[i].prefix, sender, rows[i].account);
        n++;
    }
    add_new(o, sender, list, &n);
    return queue_set_rcpts_tx(tx, o->id, list, n, err);
}

static int set_envelope(struct held_one *o, struct store_tx *tx, struct err *err)
{
    if (set_recipients(o, tx, err))
        return -1;
    for (size_t i = 0; i < o->n_to; i++)
        if (!held_goes_on(o, o->to[i].rcpt) && queue_drop_to_tx(tx, o->id, o->to[i].n, err))
            return -1;
    return o->change.sender.p ? queue_set_sender_tx(tx, o->id, o->change.sender, err) : 0;
}

int held_apply_tx(struct held_one *o, struct store_tx *tx, struct err *err)
{
    if (o->change.impossible)
        return 0;
    if (o->change.body) {
        if (queue_set_body_tx(tx, o->id, o->change.body, o->change.eight_bit, err))
            return -1;
    } else if (o->head.n && queue_set_head_tx(tx, o->id, buf_str(&o->head), err)) {
        return -1;
    }
    return o->change.envelope ? set_envelope(o, tx, err) : 0;
}

void held_apply_free(struct held_one *o)
{
    if (o->asking)
        o->asking->one = NULL; /* it frees itself */
    o->asking = NULL;
    body_sink_free(&o->change.body);
}
