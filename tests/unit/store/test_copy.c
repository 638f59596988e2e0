/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "bed.h"

enum { MANY = 5000 };
static const struct uid_range all[] = {{1, UINT32_MAX}};

struct folders {
    uint64_t account, inbox, archive;
};

static struct folders folders(struct bed *b)
{
    struct folders f = {.account = bed_account(b, "a@x")};

    f.inbox = bed_mailbox(b, f.account, "INBOX").id;
    f.archive = bed_mailbox(b, f.account, "Archive").id;
    return f;
}

static void init(struct message_copy *c, uint64_t from, uint64_t to, bool move)
{
    message_copy_init(c, NULL);
    c->from = from;
    c->to = to;
    c->set = all;
    c->n_set = 1;
    c->move = move;
}

static uint32_t pair(const struct message_copy *c, size_t i, int which)
{
    uint32_t v;

    memcpy(&v, c->uids.p + (2 * i + (size_t)which) * sizeof v, sizeof v);
    return v;
}

static size_t pairs(const struct message_copy *c)
{
    return c->uids.n / (2 * sizeof(uint32_t));
}

static void few_are_copied_at_once(void **state)
{
    struct bed *b = *state;
    struct folders f = folders(b);
    struct message_copy c;
    static const struct uid_range set[] = {{2, 3}, {5, 5}, {9, 30}};

    bed_fill(b, f.inbox, 10, MESSAGE_SEEN);
    bed_fill(b, f.archive, 3, 0);
    init(&c, f.inbox, f.archive, false);
    c.set = set;
    c.n_set = 3;
    bed_run(b, &c.op);
    assert_int_equal(pairs(&c), 5);
    static const uint32_t expected[] = {2, 3, 5, 9, 10};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(pair(&c, i, 0), expected[i]);
        assert_int_equal(pair(&c, i, 1), 4 + i);
    }
    assert_int_equal(c.uidvalidity, bed_mailbox(b, f.account, "Archive").uidvalidity);
    assert_int_equal(bed_mailbox(b, f.account, "Archive").messages, 8);
    assert_int_equal(bed_mailbox(b, f.account, "Archive").unseen, 3);
    assert_int_equal(bed_mailbox(b, f.account, "INBOX").messages, 10);
    buf_fini(&c.uids);
    init(&c, f.inbox, f.inbox, false); /* into itself */
    bed_run(b, &c.op);
    assert_int_equal(pairs(&c), 10);
    assert_int_equal(bed_mailbox(b, f.account, "INBOX").messages, 20);
    buf_fini(&c.uids);
    init(&c, f.inbox, f.archive, false);
    c.n_set = 0; /* none, not all */
    bed_run(b, &c.op);
    assert_int_equal(pairs(&c), 0);
    buf_fini(&c.uids);
    bed_check(b);
}

static void few_are_moved_at_once(void **state)
{
    struct bed *b = *state;
    struct folders f = folders(b);
    struct message_copy c;
    uint32_t *gone;
    struct err err;
    size_t n;

    bed_fill(b, f.inbox, 10, 0);
    uint64_t modseq = bed_mailbox(b, f.account, "INBOX").modseq;
    init(&c, f.inbox, f.archive, true);
    bed_run(b, &c.op);
    assert_int_equal(bed_mailbox(b, f.account, "INBOX").messages, 0);
    assert_int_equal(bed_mailbox(b, f.account, "Archive").messages, 10);
    assert_int_equal(message_expunged(b->reader, f.inbox, modseq, &gone, &n, &err), 0);
    assert_int_equal(n, 10);
    assert_int_equal(gone[9], 10);
    mem_free(gone);
    buf_fini(&c.uids);
    bed_check(b);
}

struct names {
    struct str list[2];
    uint64_t mailbox, mask;
};

static int keywords_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct names *n = ctx;

    return mailbox_keywords_tx(tx, n->mailbox, n->list, 2, &n->mask, err);
}

static void keywords_keep_their_names(void **state)
{
    struct bed *b = *state;
    struct folders f = folders(b);
    struct names from = {{STR("one"), STR("two")}, f.inbox, 0},
                 to = {{STR("x"), STR("TWO")}, f.archive, 0};
    struct message_info info;
    struct mailbox_keyword *list;
    struct message_copy c;
    struct err err;
    size_t n;

    bed_call(b, keywords_fn, &from);
    bed_call(b, keywords_fn, &to);
    bed_fill(b, f.inbox, 1, MESSAGE_FLAGGED | from.mask);
    init(&c, f.inbox, f.archive, false);
    bed_run(b, &c.op);
    buf_fini(&c.uids);
    assert_int_equal(message_get(b->reader, b->arena, f.archive, 1, &info, &err), 0);
    assert_int_equal(mailbox_keywords(b->reader, b->arena, f.archive, &list, &n, &err), 0);
    assert_int_equal(n, 3); /* x, TWO, one */
    assert_true(str_eq(list[2].name, STR("one")));
    assert_true(info.flags == (MESSAGE_FLAGGED | UINT64_C(6) << MESSAGE_KEYWORD_FIRST));
}

/* ---- Many. */

static void start(struct bed *b, struct store_op *op)
{
    op->done = bed_done;
    assert_int_equal(store_submit(b->store, op), 0);
}

/* Turns the loop until so many messages of a MOVE are staged. */
static void wait_staged(struct bed *b, int64_t n)
{
    while (bed_int(b, "SELECT COUNT(*) FROM moving") < n)
        bed_turn(b);
}

/* How often a reader looked while a part was copied already. */
static unsigned copy_while_mail_arrives(struct bed *b, struct folders f, const char *name)
{
    uint64_t target = bed_mailbox(b, f.account, name).id;
    unsigned delivered = 0, seen_staged = 0, late = 0;
    struct message_copy c;

    bed_fill(b, target, 1, 0);
    init(&c, f.inbox, target, false);
    start(b, &c.op);
    while (!c.op.waited_for) {
        uint32_t uid = bed_deliver(b, "a@x", name, STR("Subject: new\r\n\r\n"));
        if (uid != 2 + delivered) { /* published just before */
            assert_int_equal(uid, bed_mailbox(b, f.account, name).uidnext - 1);
            late++;
        }
        delivered++;
        struct mailbox_info m;
        struct message_info *list;
        struct err err;
        size_t n;
        struct message_query q = {.first = 1, .last = UINT32_MAX, .max = SIZE_MAX};
        assert_int_equal(store_read_begin(b->reader, &err), 0);
        m = bed_mailbox(b, f.account, name);
        assert_int_equal(message_range(b->reader, b->arena, target, &q, &list, &n, &err), 0);
        store_read_end(b->reader);
        assert_true(m.messages == 1 + delivered || m.messages == 1 + delivered + MANY);
        assert_int_equal(n, m.messages); /* none, or all */
        seen_staged += m.messages < MANY;
        arena_clear(b->arena);
        bed_check(b);
    }
    assert_false(c.op.failed);
    assert_true(late <= 1);
    assert_int_equal(pairs(&c), MANY);
    struct mailbox_info m = bed_mailbox(b, f.account, name);
    assert_int_equal(m.messages, 1 + delivered + MANY);
    assert_int_equal(pair(&c, MANY - 1, 1), m.uidnext - 1 - late);
    assert_true(pair(&c, 0, 1) > 1 + delivered - late);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM mailbox WHERE stage_first <> 0"), 0);
    buf_fini(&c.uids);
    bed_check(b);
    return seen_staged;
}

/* Where this thread rests too long at a bad moment, all is copied before the first look. */
static void many_appear_at_once_while_mail_arrives(void **state)
{
    static const char *const names[] = {"Archive", "Sent", "Drafts", "Trash", "Junk"};
    struct bed *b = *state;
    struct folders f = folders(b);
    unsigned seen = 0;

    bed_fill(b, f.inbox, MANY, 0);
    for (size_t i = 0; i < ARRAY_LEN(names) && seen == 0; i++)
        seen = copy_while_mail_arrives(b, f, names[i]);
    assert_true(seen > 0);
}

static void many_are_moved(void **state)
{
    struct bed *b = *state;
    struct folders f = folders(b);
    struct message_copy c;

    bed_fill(b, f.inbox, MANY, MESSAGE_SEEN);
    init(&c, f.inbox, f.archive, true);
    bed_run(b, &c.op);
    assert_int_equal(pairs(&c), MANY);
    assert_int_equal(bed_mailbox(b, f.account, "INBOX").messages, 0);
    assert_int_equal(bed_mailbox(b, f.account, "Archive").messages, MANY);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM moving"), 0);
    buf_fini(&c.uids);
    bed_check(b);
}

static void two_large_copies_take_turns(void **state)
{
    struct bed *b = *state;
    struct folders f = folders(b);
    struct message_copy c, d;

    bed_fill(b, f.inbox, 2000, 0);
    init(&c, f.inbox, f.archive, false);
    init(&d, f.inbox, f.archive, true);
    start(b, &c.op);
    start(b, &d.op);
    while (!c.op.waited_for || !d.op.waited_for)
        bed_turn(b);
    assert_false(c.op.failed);
    assert_false(d.op.failed);
    assert_int_equal(bed_mailbox(b, f.account, "Archive").messages, 4000);
    assert_int_equal(bed_mailbox(b, f.account, "INBOX").messages, 0);
    assert_int_equal(map_count(b->store->staging), 0);
    buf_fini(&c.uids);
    buf_fini(&d.uids);
    bed_check(b);
}

/* Two clients that put the same messages away at the same time: each ends up in one place. */
static void moves_of_the_same_messages_take_turns(void **state)
{
    struct bed *b = *state;
    struct folders f = folders(b);
    uint64_t trash = bed_mailbox(b, f.account, "Trash").id;
    struct message_copy c, d, few;
    static const struct uid_range ten[] = {{MANY - 9, MANY}};

    bed_fill(b, f.inbox, MANY, 0);
    init(&c, f.inbox, f.archive, true);
    init(&d, f.inbox, trash, true);
    init(&few, f.inbox, trash, true);
    few.set = ten;
    start(b, &c.op);
    wait_staged(b, 1);
    start(b, &d.op);
    start(b, &few.op);
    while (!c.op.waited_for || !d.op.waited_for || !few.op.waited_for)
        bed_turn(b);
    assert_false(c.op.failed);
    assert_false(d.op.failed);
    assert_false(few.op.failed);
    assert_int_equal(pairs(&c), MANY);
    assert_int_equal(pairs(&d) + pairs(&few), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM message"), MANY);
    assert_int_equal(bed_mailbox(b, f.account, "INBOX").messages, 0);
    assert_int_equal(map_count(b->store->staging) + map_count(b->store->leaving), 0);
    buf_fini(&c.uids);
    buf_fini(&d.uids);
    buf_fini(&few.uids);
    bed_check(b);
}

static int quota_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    return account_set_quota_tx(tx, *(uint64_t *)ctx, true, 0, 6000, err);
}

static void over_quota_copies_nothing(void **state)
{
    struct bed *b = *state;
    struct folders f = folders(b);
    struct message_copy c;

    bed_call(b, quota_fn, &f.account);
    bed_fill(b, f.inbox, MANY, 0);
    init(&c, f.inbox, f.archive, false);
    assert_int_equal(bed_try(b, &c.op), -1);
    assert_int_equal(c.op.err.why, ERR_WHY_QUOTA);
    buf_fini(&c.uids);
    while (bed_int(
        b, "SELECT COUNT(*) FROM mailbox WHERE stage_first <> 0")) /* cleaned up behind it */
        bed_turn(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM message"), MANY);
    init(&c, f.inbox, f.archive, true); /* a move needs no room */
    bed_run(b, &c.op);
    buf_fini(&c.uids);
    assert_int_equal(bed_mailbox(b, f.account, "Archive").messages, MANY);
    bed_check(b);
}

static int delete_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    bool more;

    return mailbox_delete_tx(tx, *(uint64_t *)ctx, STR("Archive"), &more, err);
}

/* With few rows staged the sweeper is faster than the cleaning behind the failed MOVE, with many it
 * is not: nothing may leave its source either way. */
static void the_target_vanishes(struct bed *b, int64_t staged)
{
    struct folders f = folders(b);
    struct message_copy c;

    bed_fill(b, f.inbox, 20000, 0);
    init(&c, f.inbox, f.archive, true);
    start(b, &c.op);
    wait_staged(b, staged);
    bed_call(b, delete_fn, &f.account);
    while (!c.op.waited_for)
        bed_turn(b);
    assert_true(c.op.failed);
    assert_int_equal(c.op.err.why, ERR_WHY_NOT_FOUND);
    buf_fini(&c.uids);
    bed_sweep(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM message"), 20000);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM moving"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM mailbox WHERE account = 0"), 0);
    bed_check(b);
}

static void the_target_may_vanish_early(void **state)
{
    the_target_vanishes(*state, 1);
}

static void the_target_may_vanish_late(void **state)
{
    the_target_vanishes(*state, 10000);
}

/* ---- Crashes: a copy of the files as they are at some moment is what a crash leaves. */

static void copy_files(struct bed *b, char *to)
{
    char command[200];

    snprintf(command, sizeof command, "cp -r %s %s", b->dir, to);
    assert_int_equal(system(command), 0); /* NOLINT: a test */
}

/* Commits stop while the files are copied: the copy is one moment, as a crash is. */
struct frozen {
    struct bed *b;
    char *to;
};

static int freeze_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct frozen *f = ctx;

    (void)tx;
    (void)err;
    copy_files(f->b, f->to);
    return 0;
}

static void crash_during(struct bed *b, bool move, const char *moment, struct bed *after)
{
    struct folders f = folders(b);
    struct message_copy c;
    struct frozen frozen = {b, after->dir};

    bed_fill(b, f.inbox, 20000, 0);
    init(&c, f.inbox, f.archive, move);
    start(b, &c.op);
    while (bed_int(b, moment) == 0)
        bed_turn(b);
    bed_call(b, freeze_fn, &frozen);
    while (!c.op.waited_for)
        bed_turn(b);
    assert_false(c.op.failed);
    buf_fini(&c.uids);
    after->conf = b->conf;
    after->arena = arena_new(0);
    bed_open(after);
}

static void end_crash(struct bed *after)
{
    bed_check(after);
    assert_int_equal(bed_int(after, "SELECT COUNT(*) FROM mailbox WHERE stage_first <> 0"), 0);
    assert_int_equal(bed_int(after, "SELECT COUNT(*) FROM moving"), 0);
    bed_deliver(after, "a@x", "Archive", STR("Subject: new\r\n\r\n"));
    bed_check(after);
    bed_close(after);
    arena_free(&after->arena);
    folder_remove(after->dir);
}

static void a_crash_undoes_what_was_staged(void **state)
{
    struct bed *b = *state, after = {0};

    bed_needs_sqlite(b);
    for (int move = 0; move < 2; move++) {
        after = (struct bed){0};
        snprintf(after.dir, sizeof after.dir, "%.40s-%d", b->dir, move);
        crash_during(b, move, "SELECT COUNT(*) FROM mailbox WHERE stage_first <> 0", &after);
        uint64_t account = bed_account(&after, "a@x");
        uint64_t archived = bed_mailbox(&after, account, "Archive").messages;
        assert_int_equal(archived, move ? 20000 : 0); /* from the round before */
        assert_int_equal(bed_mailbox(&after, account, "INBOX").messages, move ? 40000 : 20000);
        end_crash(&after);
    }
}

static void a_crash_after_publishing_completes_the_move(void **state)
{
    struct bed *b = *state, after = {0};

    bed_needs_sqlite(b);
    snprintf(after.dir, sizeof after.dir, "%.40s-x", b->dir);
    crash_during(b, true,
                 "SELECT COUNT(*) FROM mailbox WHERE name = 'Archive' AND msgs > 0 AND "
                 "EXISTS (SELECT 1 FROM moving)",
                 &after);
    uint64_t account = bed_account(&after, "a@x");
    assert_int_equal(bed_mailbox(&after, account, "Archive").messages, 20000);
    assert_int_equal(bed_mailbox(&after, account, "INBOX").messages, 0);
    end_crash(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(few_are_copied_at_once),
        BED_TEST(few_are_moved_at_once),
        BED_TEST(keywords_keep_their_names),
        BED_TEST(many_appear_at_once_while_mail_arrives),
        BED_TEST(many_are_moved),
        BED_TEST(two_large_copies_take_turns),
        BED_TEST(moves_of_the_same_messages_take_turns),
        BED_TEST(over_quota_copies_nothing),
        BED_TEST(the_target_may_vanish_early),
        BED_TEST(the_target_may_vanish_late),
        BED_TEST(a_crash_undoes_what_was_staged),
        BED_TEST(a_crash_after_publishing_completes_the_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
