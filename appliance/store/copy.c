/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* copy.c - COPY and MOVE: all messages or none (RFC 3501 6.4.7, RFC 6851).
 * Up to COPY_AT_ONCE messages are one piece of work. More are staged in slices: rows in the target
 * with uids above a gap over its uidnext, and a modseq above a gap over its modseq, where no reader
 * looks; deliveries meanwhile take uids in the gap. One transaction then publishes: it moves
 * uidnext and modseq past the staged rows and counts them in. A MOVE names in `moving` what leaves
 * its source after that; a crash in between is finished at the next start (staging.c). Until then
 * other MOVEs from the same source wait: each of its messages goes to one place. Other nodes see a
 * stage by its row in `stage`. */
#include "appliance/store/store_private.h"

enum { COPY_AT_ONCE = 500, CHUNK = 128, UID_GAP = 16384, MODSEQ_GAP = 1 << 20 };
enum { COPY_START, COPY_STAGE, COPY_LEAVE };

struct copying {
    struct store_tx *tx;
    struct message_copy *p;
    struct err *err;
    struct tx_mailbox *from, *to;
    struct tx_account *from_account, *to_account;
    struct keyword_map keywords;
    bool mapped;
    struct arena *arena;
};

static int begin(struct copying *c)
{
    struct message_copy *p = c->p;

    if (tx_mailbox_get(c->tx, p->from, &c->from, c->err) != 0)
        return err_context(c->err, "source");
    if (tx_mailbox_get(c->tx, p->to, &c->to, c->err) != 0 ||
        tx_account_get(c->tx, c->from->row.account, &c->from_account, c->err) != 0 ||
        tx_account_get(c->tx, c->to->row.account, &c->to_account, c->err) != 0)
        return -1;
    p->uidvalidity = c->to->row.uidvalidity;
    return 0;
}

static int pick(struct copying *c, size_t max, struct message_info **out, size_t *n_out)
{
    struct message_copy *p = c->p;
    struct message_pick what = {.mailbox = p->from,
                                .set = p->set,
                                .n_set = p->n_set,
                                .first = p->at.next,
                                .last = p->at.last,
                                .max = max,
                                .want_prefix = true};

    arena_clear(c->arena);
    return message_pick_tx(c->tx, c->arena, &what, out, n_out, c->err);
}

static int add_pair(struct copying *c, uint32_t from, uint32_t to)
{
    uint32_t pair[2] = {from, to};

    c->p->at.n_uids++;
    if (buf_add(&c->p->uids, pair, sizeof pair) != 0)
        return ERR_WHY(c->err, ERR_TEMP, ERR_WHY_LIMIT, "too many messages");
    return 0;
}

static int translate(struct copying *c, struct message_info *info)
{
    if (c->p->from == c->p->to || !(info->flags & ~(uint64_t)MESSAGE_SYSTEM_FLAGS))
        return 0;
    if (!c->mapped && keyword_map_tx(c->tx, c->p->from, c->p->to, &c->keywords, c->err) != 0)
        return -1;
    c->mapped = true;
    return keyword_translate_tx(c->tx, &c->keywords, info->flags, &info->flags, c->err);
}

static int check_quota(struct copying *c, uint64_t bytes, uint64_t messages)
{
    const struct tx_account_row *a = &c->to_account->row;

    if (c->p->move && c->from_account == c->to_account)
        return 0;
    if ((a->quota_bytes && a->used_bytes + bytes > a->quota_bytes) ||
        (a->quota_messages && a->used_messages + messages > a->quota_messages))
        return ERR_WHY(c->err, ERR_PERM, ERR_WHY_QUOTA,
                       "the copies would exceed the account's quota");
    return account_domain_room_tx(c->tx, c->to->row.account, bytes, c->err);
}

static void count_in(struct copying *c, uint64_t messages, uint64_t bytes, uint64_t unseen)
{
    tx_mailbox_edit(c->tx, c->to);
    tx_account_edit(c->tx, c->to_account);
    c->to->row.messages += messages;
    c->to->row.bytes += bytes;
    c->to->row.unseen += unseen;
    c->to_account->row.used_messages += messages;
    c->to_account->row.used_bytes += bytes;
}

/* ---- Few messages: at once. */

static int copy_one(struct copying *c, const struct message_info *old, uint64_t modseq)
{
    struct message_info new = *old;
    struct tx_mailbox *to = c->to;

    if (to->row.stage_first && to->row.uidnext >= to->row.stage_first)
        return ERR_WHY(c->err, ERR_TEMP, ERR_WHY_BUSY,
                       "a large copy into this mailbox is under way");
    if (to->row.uidnext == UINT32_MAX)
        return ERR_WHY(c->err, ERR_PERM, ERR_WHY_LIMIT, "the mailbox has no uids left");
    if (translate(c, &new) != 0)
        return -1;
    new.uid = to->row.uidnext++;
    new.modseq = modseq;
    if (message_insert_row_tx(c->tx, to->id, &new, c->err) != 0)
        return -1;
    count_in(c, 1, new.size, !(new.flags &MESSAGE_SEEN));
    return add_pair(c, old->uid, new.uid);
}

static int leave_at_once(struct copying *c, const struct message_info *list, size_t n)
{
    tx_mailbox_edit(c->tx, c->from);
    uint64_t modseq = ++c->from->row.modseq;
    for (size_t i = 0; i < n; i++) {
        if (message_expunge_one_tx(c->tx, c->from, c->from_account, &list[i], modseq, c->err) != 0)
            return -1;
    }
    return 0;
}

static int copy_at_once(struct copying *c, const struct message_info *list, size_t n)
{
    uint64_t bytes = 0;

    if (n == 0)
        return STORE_DONE;
    for (size_t i = 0; i < n; i++)
        bytes += list[i].size;
    if (check_quota(c, bytes, n) != 0)
        return -1;
    tx_mailbox_edit(c->tx, c->to);
    uint64_t modseq = ++c->to->row.modseq;
    for (size_t i = 0; i < n; i++) {
        if (copy_one(c, &list[i], modseq) != 0)
            return -1;
    }
    if (c->p->move && leave_at_once(c, list, n) != 0)
        return -1;
    return STORE_DONE;
}

/* ---- Many: staged. */

static int stage_begin(struct copying *c)
{
    struct message_copy_at *at = &c->p->at;
    struct map *staging = c->tx->store->staging;
    struct tx_mailbox *to = c->to;
    void *owner = map_get_id(staging, to->id);

    bool elsewhere;

    if (owner && owner != c->p)
        return STORE_AGAIN; /* after the one that stages there now */
    if (stage_of_other_tx(c->tx, to->id, &elsewhere, c->err) != 0)
        return -1;
    if (elsewhere)
        return ERR_WHY(c->err, ERR_TEMP, ERR_WHY_BUSY,
                       "a large copy into this mailbox is under way");
    if (to->row.stage_first != 0) {
        staging_clean_later(c->tx->store, to->id);
        return ERR_WHY(c->err, ERR_TEMP, ERR_WHY_BUSY, "an unfinished copy is being cleaned up");
    }
    if (to->row.uidnext > UINT32_MAX / 2)
        return ERR_WHY(c->err, ERR_PERM, ERR_WHY_LIMIT, "the mailbox has too few uids left");
    if (stage_take_tx(c->tx, to->id, c->p->move ? c->from->id : 0, c->err) != 0)
        return -1;
    tx_mailbox_edit(c->tx, to);
    at->stage_first = at->stage_next = to->row.stage_first = to->row.uidnext + UID_GAP;
    at->stage_modseq = to->row.modseq + MODSEQ_GAP;
    at->step = COPY_STAGE;
    map_set_id(staging, to->id, c->p);
    if (c->p->move)
        map_set_id(c->tx->store->leaving, c->from->id, c->p);
    return STORE_DONE;
}

static int add_moving(struct copying *c, uint32_t uid)
{
    struct sql_stmt *st;

    if (sql_prepare(c->tx->db, "INSERT INTO moving(target, source, uid) VALUES (?, ?, ?)", &st,
                    c->err) != 0)
        return -1;
    sql_bind_int(st, 1, (int64_t)c->p->to);
    sql_bind_int(st, 2, (int64_t)c->p->from);
    sql_bind_int(st, 3, uid);
    return sql_run(st, c->err);
}

static int stage_one(struct copying *c, const struct message_info *old)
{
    struct message_copy_at *at = &c->p->at;
    struct message_info new = *old;

    if (at->stage_next == UINT32_MAX)
        return ERR_WHY(c->err, ERR_PERM, ERR_WHY_LIMIT, "the mailbox has no uids left");
    if (translate(c, &new) != 0)
        return -1;
    new.uid = at->stage_next++;
    new.modseq = at->stage_modseq;
    at->next = old->uid + 1;
    at->bytes += new.size;
    at->unseen += !(new.flags &MESSAGE_SEEN);
    if (message_insert_row_tx(c->tx, c->p->to, &new, c->err) != 0 ||
        (c->p->move && add_moving(c, old->uid) != 0))
        return -1;
    return add_pair(c, old->uid, new.uid);
}

/* From here on the copies exist. */
static int publish(struct copying *c)
{
    struct message_copy_at *at = &c->p->at;
    struct tx_mailbox *to = c->to;

    if (check_quota(c, at->bytes, at->n_uids) != 0)
        return -1;
    if (to->row.modseq >= at->stage_modseq || to->row.uidnext > at->stage_first)
        return ERR_WHY(c->err, ERR_TEMP, ERR_WHY_BUSY,
                       "too much happened in the mailbox meanwhile");
    count_in(c, at->n_uids, at->bytes, at->unseen);
    to->row.modseq = at->stage_modseq;
    to->row.uidnext = at->stage_next;
    to->row.stage_first = 0;
    at->step = COPY_LEAVE;
    if (c->p->move)
        return STORE_AGAIN;
    return stage_release_tx(c->tx, to->id, c->err) == 0 ? STORE_DONE : -1;
}

static int stage_slice(struct copying *c)
{
    size_t n;

    do {
        struct message_info *list;
        if (pick(c, CHUNK, &list, &n) != 0)
            return -1;
        for (size_t i = 0; i < n; i++) {
            if (stage_one(c, &list[i]) != 0)
                return -1;
        }
        if (n < CHUNK)
            return publish(c);
    } while (!store_tx_slice_over(c->tx));
    return STORE_AGAIN;
}

/* ---- The operation. */

static int start(struct copying *c)
{
    struct message_info *list;
    bool elsewhere;
    size_t n;
    int rc;
    void *mover = c->p->move ? map_get_id(c->tx->store->leaving, c->p->from) : NULL;

    c->p->at.next = 1;
    c->p->at.last = c->from->row.uidnext - 1;
    if (c->p->n_set == 0) /* a set of none, not of all */
        return STORE_DONE;
    if (mover && mover != c->p)
        return STORE_AGAIN; /* after the large MOVE that empties this mailbox now */
    if (c->p->move && stage_empties_other_tx(c->tx, c->p->from, &elsewhere, c->err) != 0)
        return -1;
    if (c->p->move && elsewhere)
        return ERR_WHY(c->err, ERR_TEMP, ERR_WHY_BUSY,
                       "a large move out of this mailbox is under way");
    if (pick(c, COPY_AT_ONCE + 1, &list, &n) != 0)
        return -1;
    if (n <= COPY_AT_ONCE)
        return copy_at_once(c, list, n);
    rc = stage_begin(c);
    return rc == STORE_DONE ? stage_slice(c) : rc;
}

static int leave(struct copying *c)
{
    bool more;

    if (staging_leave_tx(c->tx, c->p->to, &more, c->err) != 0)
        return -1;
    if (more)
        return STORE_AGAIN;
    return stage_release_tx(c->tx, c->p->to, c->err) == 0 ? STORE_DONE : -1;
}

static int copy_step(struct copying *c)
{
    if (c->p->at.step == COPY_LEAVE)
        return leave(c);
    if (begin(c) != 0)
        return -1;
    if (c->p->at.step == COPY_START)
        return start(c);
    return stage_check_tx(c->tx, c->p->to, c->err) == 0 ? stage_slice(c) : -1;
}

static int copy_run(struct store_op *op, struct store_tx *tx)
{
    struct message_copy *p = CONTAINER_OF(op, struct message_copy, op);
    struct copying c = {.tx = tx, .p = p, .err = &op->err, .arena = arena_new(0)};
    int rc;

    if (op->rerun)
        p->at = p->slice_began;
    p->slice_began = p->at;
    buf_truncate(&p->uids, p->at.n_uids * 2 * sizeof(uint32_t));
    if (p->at.step == COPY_START) /* waiting for another COPY it may have been here before */
        p->at = (struct message_copy_at){0};
    rc = copy_step(&c);
    arena_free(&c.arena);
    return rc;
}

static void copy_settled(struct store *s, struct store_op *op)
{
    struct message_copy *p = CONTAINER_OF(op, struct message_copy, op);

    if (map_get_id(s->leaving, p->from) == p)
        map_del_id(s->leaving, p->from);
    if (map_get_id(s->staging, p->to) != p)
        return;
    map_del_id(s->staging, p->to);
    if (op->failed)
        staging_clean_later(s, p->to);
}

void message_copy_init(struct message_copy *m, void (*done)(struct store_op *))
{
    *m = (struct message_copy){
        .op = {
            .run = copy_run, .done = done, .cls = STORE_INTERACTIVE, .on_settled = copy_settled}};
    buf_init(&m->uids, SIZE_MAX / 2);
}
