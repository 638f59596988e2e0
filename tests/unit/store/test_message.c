/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "bed.h"

static const struct uid_range all[] = {{1, UINT32_MAX}};

static uint64_t inbox(struct bed *b)
{
    return bed_mailbox(b, bed_account(b, "a@x"), "INBOX").id;
}

static struct mailbox_info info_of(struct bed *b, uint64_t mailbox)
{
    struct mailbox_info m;
    struct err err;

    assert_int_equal(mailbox_get(b->reader, b->arena, mailbox, &m, &err), 0);
    return m;
}

static struct message_info get(struct bed *b, uint64_t mailbox, uint32_t uid)
{
    struct message_info info;
    struct err err;

    assert_int_equal(message_get(b->reader, b->arena, mailbox, uid, &info, &err), 0);
    return info;
}

static void init_flags(struct message_store_flags *f, uint64_t mailbox, enum message_flag_how how,
                       uint64_t flags)
{
    message_store_flags_init(f, NULL);
    f->mailbox = mailbox;
    f->set = all;
    f->n_set = 1;
    f->how = how;
    f->flags = flags;
}

static uint64_t set_flags(struct bed *b, uint64_t mailbox, struct uid_range set,
                          enum message_flag_how how, uint64_t flags)
{
    struct message_store_flags f;

    init_flags(&f, mailbox, how, flags);
    f.set = &set;
    bed_run(b, &f.op);
    buf_fini(&f.modified);
    return f.modseq;
}

static void flags_are_set_added_removed(void **state)
{
    struct bed *b = *state;
    uint64_t m = inbox(b);

    bed_fill(b, m, 5, MESSAGE_SEEN);
    uint64_t before = info_of(b, m).modseq;
    uint64_t modseq = set_flags(b, m, (struct uid_range){2, 3}, MESSAGE_FLAGS_ADD, MESSAGE_FLAGGED);
    assert_int_equal(modseq, before + 1);
    assert_int_equal(get(b, m, 2).flags, MESSAGE_SEEN | MESSAGE_FLAGGED);
    assert_int_equal(get(b, m, 2).modseq, modseq);
    assert_int_equal(set_flags(b, m, (struct uid_range){2, 3}, MESSAGE_FLAGS_ADD, MESSAGE_FLAGGED),
                     0); /* no change */
    assert_int_equal(get(b, m, 3).modseq, modseq);
    set_flags(b, m, (struct uid_range){3, 4}, MESSAGE_FLAGS_REMOVE, MESSAGE_SEEN | MESSAGE_DRAFT);
    assert_int_equal(get(b, m, 3).flags, MESSAGE_FLAGGED);
    assert_int_equal(info_of(b, m).unseen, 2);
    set_flags(b, m, (struct uid_range){3, 9}, MESSAGE_FLAGS_SET, MESSAGE_ANSWERED);
    assert_int_equal(get(b, m, 3).flags, MESSAGE_ANSWERED);
    assert_int_equal(info_of(b, m).unseen, 3);
    bed_check(b);
}

static void keywords_are_flags(void **state)
{
    struct bed *b = *state;
    uint64_t m = inbox(b);
    struct message_store_flags f;
    static const struct str names[] = {{"$Junk", 5}, {"later", 5}};
    struct mailbox_keyword *list;
    struct err err;
    size_t n;

    bed_fill(b, m, 1, 0);
    init_flags(&f, m, MESSAGE_FLAGS_REMOVE, 0);
    f.keywords = names;
    f.n_keywords = 2;
    bed_run(b, &f.op);
    buf_fini(&f.modified);
    assert_int_equal(mailbox_keywords(b->reader, b->arena, m, &list, &n, &err), 0);
    assert_int_equal(n, 0); /* removing makes no keyword */
    init_flags(&f, m, MESSAGE_FLAGS_SET, MESSAGE_SEEN);
    f.keywords = names;
    f.n_keywords = 2;
    bed_run(b, &f.op);
    buf_fini(&f.modified);
    assert_true(get(b, m, 1).flags == (MESSAGE_SEEN | UINT64_C(3) << MESSAGE_KEYWORD_FIRST));
    set_flags(b, m, (struct uid_range){1, 1}, MESSAGE_FLAGS_SET, 0);
    assert_int_equal(get(b, m, 1).flags, 0);
}

static void unchanged_since_refuses_what_changed(void **state)
{
    struct bed *b = *state;
    uint64_t m = inbox(b);
    struct message_store_flags f;
    uint32_t uid;

    bed_fill(b, m, 3, 0);
    uint64_t since = info_of(b, m).modseq;
    set_flags(b, m, (struct uid_range){2, 2}, MESSAGE_FLAGS_ADD, MESSAGE_SEEN);
    init_flags(&f, m, MESSAGE_FLAGS_ADD, MESSAGE_DELETED);
    f.unchanged_since = since;
    bed_run(b, &f.op);
    assert_int_equal(f.modified.n, sizeof uid);
    memcpy(&uid, f.modified.p, sizeof uid);
    assert_int_equal(uid, 2);
    assert_int_equal(get(b, m, 2).flags, MESSAGE_SEEN);
    assert_int_equal(get(b, m, 3).flags, MESSAGE_DELETED);
    buf_fini(&f.modified);
}

static void many_flags_are_changed_in_slices(void **state)
{
    struct bed *b = *state;
    uint64_t m = inbox(b);
    struct message_store_flags f;
    struct message_expunge e;

    bed_fill(b, m, 30000, 0);
    init_flags(&f, m, MESSAGE_FLAGS_ADD, MESSAGE_SEEN | MESSAGE_DELETED);
    bed_run(b, &f.op);
    buf_fini(&f.modified);
    assert_int_equal(f.op.cls, STORE_BULK); /* it took more than one slice */
    assert_int_equal(info_of(b, m).unseen, 0);
    assert_int_equal(info_of(b, m).modseq, f.modseq);
    bed_check(b);
    message_expunge_init(&e, NULL);
    e.mailbox = m;
    bed_run(b, &e.op);
    assert_int_equal(e.count, 30000);
    assert_int_equal(info_of(b, m).messages, 0);
    assert_int_equal(info_of(b, m).modseq, e.modseq);
    bed_check(b);
}

static void expunge_takes_deleted_ones_of_the_set(void **state)
{
    struct bed *b = *state;
    uint64_t m = inbox(b);
    struct message_expunge e;
    static const struct uid_range set[] = {{1, 2}, {6, 6}};
    uint32_t *gone;
    struct err err;
    size_t n;

    bed_fill(b, m, 6, 0);
    uint64_t since = info_of(b, m).modseq;
    set_flags(b, m, (struct uid_range){2, 4}, MESSAGE_FLAGS_ADD, MESSAGE_DELETED);
    message_expunge_init(&e, NULL);
    e.mailbox = m;
    e.set = set;
    e.n_set = 2;
    bed_run(b, &e.op);
    assert_int_equal(e.count, 1);
    message_expunge_init(&e, NULL);
    e.mailbox = m;
    bed_run(b, &e.op);
    assert_int_equal(e.count, 2);
    uint64_t last = e.modseq;
    assert_int_equal(message_expunged(b->reader, m, since, &gone, &n, &err), 0);
    assert_int_equal(n, 3);
    assert_true(gone[0] == 2 && gone[1] == 3 && gone[2] == 4);
    mem_free(gone);
    assert_int_equal(message_expunged(b->reader, m, last, &gone, &n, &err), 0);
    assert_int_equal(n, 0);
    mem_free(gone);
    message_expunge_init(&e, NULL);
    e.mailbox = m;
    bed_run(b, &e.op);
    assert_int_equal(e.count, 0);
    assert_int_equal(e.modseq, 0);
    assert_int_equal(info_of(b, m).uidnext, 7);
    bed_check(b);
}

static void ranges_are_read_in_pages(void **state)
{
    struct bed *b = *state;
    uint64_t m = inbox(b);
    struct message_info *list;
    struct message_query q = {.first = 10, .last = UINT32_MAX, .max = 100};
    uint32_t *uids, expected = 10;
    struct err err;
    size_t n;

    bed_fill(b, m, 350, 0);
    do {
        assert_int_equal(message_range(b->reader, b->arena, m, &q, &list, &n, &err), 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(list[i].uid, expected++);
        q.first = expected;
    } while (n == q.max);
    assert_int_equal(expected, 351);
    uint64_t since = info_of(b, m).modseq;
    set_flags(b, m, (struct uid_range){100, 101}, MESSAGE_FLAGS_ADD, MESSAGE_SEEN);
    q = (struct message_query){
        .first = 1, .last = 100, .max = 100, .since = since, .want_prefix = true};
    assert_int_equal(message_range(b->reader, b->arena, m, &q, &list, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_true(str_eq(list[0].prefix, STR("X-Prefix: 1\r\n")));
    assert_int_equal(message_uids(b->reader, m, 301, &uids, &n, &err), 0);
    assert_int_equal(n, 300);
    assert_int_equal(uids[299], 300);
    mem_free(uids);
    q.max = 0;
    assert_int_equal(message_range(b->reader, b->arena, m, &q, &list, &n, &err), 0);
    assert_int_equal(n, 0);
    struct message_info info;
    assert_int_equal(message_get(b->reader, b->arena, m, 999, &info, &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
}

static void the_first_unseen_is_found_from_both_ends(void **state)
{
    struct bed *b = *state;
    uint64_t m = inbox(b);
    uint32_t uid;
    struct err err;

    assert_int_equal(message_first_unseen(b->reader, m, &uid, &err), 0);
    assert_int_equal(uid, 0);
    bed_fill(b, m, 5000, MESSAGE_SEEN);
    assert_int_equal(message_first_unseen(b->reader, m, &uid, &err), 0);
    assert_int_equal(uid, 0);
    static const uint32_t where[] = {4990, 2500, 600, 3, 1}; /* further and further down */
    for (size_t i = 0; i < ARRAY_LEN(where); i++) {
        set_flags(b, m, (struct uid_range){where[i], where[i]}, MESSAGE_FLAGS_REMOVE, MESSAGE_SEEN);
        assert_int_equal(message_first_unseen(b->reader, m, &uid, &err), 0);
        assert_int_equal(uid, where[i]);
    }
    set_flags(b, m, (struct uid_range){1, 2000}, MESSAGE_FLAGS_ADD, MESSAGE_SEEN);
    assert_int_equal(message_first_unseen(b->reader, m, &uid, &err), 0);
    assert_int_equal(uid, 2500);
}

/* ---- Watchers. */

struct watcher {
    struct store_watch w;
    struct bed *b;
    struct watcher *drops; /* removed when told */
    unsigned told;
};

static void on_change(struct store_watch *w)
{
    struct watcher *x = CONTAINER_OF(w, struct watcher, w);

    x->told++;
    if (x->drops)
        store_watch_del(x->b->store, &x->drops->w);
}

static void watchers_are_told(void **state)
{
    struct bed *b = *state;
    uint64_t m = inbox(b), other = bed_mailbox(b, bed_account(b, "a@x"), "Sent").id;
    struct watcher w[4] = {{.b = b}, {.b = b}, {.b = b}, {.b = b}};
    size_t before = map_count(b->store->watches);

    for (int i = 0; i < 4; i++) {
        w[i].w.on_change = on_change;
        store_watch_add(b->store, i == 3 ? other : m, &w[i].w);
    }
    bed_fill(b, m, 2, 0);
    bed_turn(b);
    assert_int_equal(w[0].told, 1);
    assert_int_equal(w[2].told, 1);
    assert_int_equal(w[3].told, 0);
    w[0].drops = &w[1]; /* another, and itself */
    w[2].drops = &w[2];
    set_flags(b, m, all[0], MESSAGE_FLAGS_ADD, MESSAGE_SEEN);
    bed_turn(b);
    assert_int_equal(w[0].told, 2);
    assert_int_equal(w[1].told, 1);
    assert_int_equal(w[2].told, 2);
    w[0].drops = NULL;
    assert_int_equal(set_flags(b, m, all[0], MESSAGE_FLAGS_ADD, MESSAGE_SEEN),
                     0); /* no change: nobody is told */
    bed_turn(b);
    assert_int_equal(w[0].told, 2);
    store_watch_del(b->store, &w[1].w);
    store_watch_del(b->store, &w[0].w);
    store_watch_del(b->store, &w[3].w);
    assert_int_equal(map_count(b->store->watches), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(flags_are_set_added_removed),
        BED_TEST(keywords_are_flags),
        BED_TEST(unchanged_since_refuses_what_changed),
        BED_TEST(many_flags_are_changed_in_slices),
        BED_TEST(expunge_takes_deleted_ones_of_the_set),
        BED_TEST(ranges_are_read_in_pages),
        BED_TEST(the_first_unseen_is_found_from_both_ends),
        BED_TEST(watchers_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
