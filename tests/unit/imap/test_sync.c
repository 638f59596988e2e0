/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What sync.h tells of changes that other sessions made, on a real store. A client that does what
 * it is told must end with the mailbox as it is. */
#include "appliance/sql/sql.h"
#include "scratch.h"

#define TEXT "Subject: x\r\n\r\ntext\r\n"

/* Syncs; the responses. *slices_out: calls of work. */
static const char *sync_now(struct scratch *s, bool expunges, struct imap_sync *y,
                            unsigned *slices_out)
{
    struct buf out;
    enum imap_work more = IMAP_WORK_MORE;
    *y = (struct imap_sync){.view = s->view, .expunges = expunges};
    buf_clear(&s->out);
    buf_init(&out, 1 << 20);
    for (*slices_out = 0; more == IMAP_WORK_MORE; ++*slices_out) {
        more = imap_sync_work(y, s->reader, &out, clock_mono_us());
        assert_true(out.n < IMAP_OUT_SOFT + 64 * 1024); /* a slice is bounded */
        buf_add_str(&s->out, buf_str(&out));
        buf_clear(&out);
    }
    buf_fini(&out);
    return buf_z(&s->out);
}

static const char *told(struct scratch *s)
{
    struct imap_sync y;
    unsigned slices;
    const char *text = sync_now(s, true, &y, &slices);
    assert_false(y.failed);
    return text;
}

static const char *told_without_expunges(struct scratch *s, bool *held_out)
{
    struct imap_sync y;
    unsigned slices;
    const char *text = sync_now(s, false, &y, &slices);
    assert_false(y.failed);
    *held_out = y.held;
    return text;
}

static void other_flags(struct scratch *s, uint32_t first, uint32_t last, enum message_flag_how how,
                        uint64_t flags)
{
    struct message_store_flags m;
    struct uid_range set = {first, last};
    message_store_flags_init(&m, NULL);
    m.mailbox = s->mailbox;
    m.set = &set;
    m.n_set = 1;
    m.how = how;
    m.flags = flags;
    m.unchanged_since = UINT64_MAX;
    scratch_submit(s, &m.op);
    assert_false(m.op.failed);
    buf_fini(&m.modified);
}

static void other_expunges(struct scratch *s, uint32_t first, uint32_t last)
{
    struct message_expunge m;
    struct uid_range set = {first, last};
    other_flags(s, first, last, MESSAGE_FLAGS_ADD, MESSAGE_DELETED);
    message_expunge_init(&m, NULL);
    m.mailbox = s->mailbox;
    m.set = &set;
    m.n_set = 1;
    scratch_submit(s, &m.op);
    assert_false(m.op.failed);
}

static uint64_t fill_body;
static unsigned fill_n;

static int fill_tx(struct scratch *s, struct store_tx *tx, struct err *err)
{
    struct message_new m = {.mailbox = s->mailbox, .body = fill_body};
    uint32_t uid;
    for (unsigned i = 0; i < fill_n; i++)
        if (message_insert_tx(tx, &m, &uid, err))
            return -1;
    return 0;
}

/* n messages that share the body of the one that is there. */
static void other_fills(struct scratch *s, unsigned n)
{
    struct message_info m;
    struct err err;
    uint32_t uid = scratch_append(s, 0, TEXT);
    assert_int_equal(message_get(s->reader, s->arena, s->mailbox, uid, &m, &err), 0);
    fill_body = m.body;
    fill_n = n - 1;
    scratch_tx(s, fill_tx);
}

static void nothing_changed(void **state)
{
    struct scratch *s = *state;
    scratch_append(s, 0, TEXT);
    scratch_select(s);
    assert_string_equal(told(s), "");
}

static void in_order(void **state)
{
    struct scratch *s = *state;
    for (int i = 0; i < 4; i++)
        scratch_append(s, 0, TEXT);
    scratch_select(s);
    s->view->recent_from = 4;
    other_expunges(s, 1, 2);
    scratch_append(s, 0, TEXT);
    scratch_append(s, 0, TEXT);
    other_expunges(s, 5, 5); /* came and went: nobody needs to know */
    other_flags(s, 4, 4, MESSAGE_FLAGS_SET, MESSAGE_SEEN);
    assert_string_equal(told(s),
                        "* 4 FETCH (FLAGS (\\Seen \\Recent))\r\n* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n"
                        "* 3 EXISTS\r\n* 2 RECENT\r\n");
    assert_int_equal(s->view->n, 3);
    assert_int_equal(s->view->uidnext, 7);
    assert_string_equal(told(s), "");
}

static void expunges_wait(void **state)
{
    struct scratch *s = *state;
    bool held;
    for (int i = 0; i < 3; i++)
        scratch_append(s, 0, TEXT);
    scratch_select(s);
    other_expunges(s, 1, 1);
    other_flags(s, 3, 3, MESSAGE_FLAGS_ADD, MESSAGE_SEEN);
    scratch_append(s, 0, TEXT);
    assert_string_equal(told_without_expunges(s, &held),
                        "* 3 FETCH (FLAGS (\\Seen))\r\n* 4 EXISTS\r\n* 0 RECENT\r\n");
    assert_true(held);
    assert_string_equal(told_without_expunges(s, &held), "");
    assert_true(held);
    assert_string_equal(told(s), "* 1 EXPUNGE\r\n");
    assert_string_equal(told_without_expunges(s, &held), "");
    assert_false(held);
}

static int forget_expunged(struct scratch *s, struct store_tx *tx, struct err *err)
{
    (void)s;
    return sql_exec(store_tx_sql(tx), "DELETE FROM expunged", err) ||
                   sql_exec(store_tx_sql(tx), "UPDATE mailbox SET qresync_floor = modseq", err)
               ? -1
               : 0;
}

static void forgotten_expunges_are_found(void **state)
{
    struct scratch *s = *state;
    for (int i = 0; i < 5; i++)
        scratch_append(s, 0, TEXT);
    scratch_select(s);
    other_expunges(s, 2, 3);
    other_expunges(s, 5, 5);
    scratch_tx(s, forget_expunged);
    assert_string_equal(told(s), "* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n* 3 EXPUNGE\r\n");
    assert_string_equal(told(s), "");
}

static int delete_tx(struct scratch *s, struct store_tx *tx, struct err *err)
{
    bool more;
    return mailbox_delete_tx(tx, s->account, STR("Trash"), &more, err);
}

static int rename_tx(struct scratch *s, struct store_tx *tx, struct err *err)
{
    return mailbox_rename_tx(tx, s->account, STR("INBOX"), STR("old"), err);
}

static void a_mailbox_that_is_gone(void **state)
{
    struct scratch *s = *state;
    struct imap_sync y;
    unsigned slices;
    uint64_t inbox = s->mailbox;
    scratch_select(s);
    scratch_tx(s, rename_tx);
    sync_now(s, true, &y, &slices);
    assert_true(y.failed && y.gone);
    s->mailbox = scratch_mailbox(s, "Trash");
    scratch_select(s);
    scratch_tx(s, delete_tx);
    sync_now(s, true, &y, &slices);
    assert_true(y.failed && y.gone);
    s->mailbox = inbox;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = strstr(text, what); p; p = strstr(p + 1, what))
        n++;
    return n;
}

static void many_changes_come_in_slices(void **state)
{
    struct scratch *s = *state;
    struct imap_sync y;
    unsigned slices;
    enum { MANY = 8000 };
    other_fills(s, MANY);
    scratch_select(s);
    other_flags(s, 1, MANY, MESSAGE_FLAGS_ADD, MESSAGE_FLAGGED);
    const char *text = sync_now(s, true, &y, &slices);
    assert_int_equal(count(text, "FETCH (FLAGS (\\Flagged))\r\n"), MANY);
    assert_true(slices > 1);
    other_expunges(s, 2, MANY - 1);
    other_fills(s, MANY);
    text = sync_now(s, true, &y, &slices);
    assert_int_equal(count(text, "* 2 EXPUNGE\r\n"), MANY - 2);
    assert_int_equal(count(text, "EXISTS"), 1);
    assert_non_null(strstr(text, "* 8002 EXISTS\r\n"));
    assert_true(slices > 1);
    assert_int_equal(s->view->n, MANY + 2);
}

/* A client of many numbers: how many messages it believes there are, after what it is told. */
static void obey(size_t *n, const char *text)
{
    while (*text) {
        struct str line, rest, number;
        uint64_t v;
        assert_true(str_cut(str_from(text), '\n', &line, &rest));
        text += line.n + 1;
        line = str_trim(str_skip(line, 2));
        str_cut(line, ' ', &number, &line);
        assert_int_equal(str_to_u64(number, UINT32_MAX, &v), 0);
        if (str_eq(line, STR("EXPUNGE"))) {
            assert_in_range(v, 1, *n);
            --*n;
        } else if (str_eq(line, STR("EXISTS"))) {
            assert_true(v >= *n); /* RFC 3501 7.3.1: only EXPUNGE takes messages away */
            *n = v;
        } else if (str_starts(line, STR("FETCH"))) {
            assert_in_range(v, 1, *n);
        }
    }
}

static void check_view(struct scratch *s)
{
    uint32_t *uids;
    size_t n;
    struct err err;
    assert_int_equal(message_uids(s->reader, s->mailbox, s->view->uidnext, &uids, &n, &err), 0);
    assert_int_equal(s->view->n, n);
    if (n)
        assert_memory_equal(s->view->uids, uids, n * sizeof *uids);
    mem_free(uids);
}

static void at_random(void **state)
{
    struct scratch *s = *state;
    unsigned seed = 4711;
    bool held = false;
    size_t n = 10;
    other_fills(s, 10);
    scratch_select(s);
    for (int i = 0; i < 200; i++) {
        uint32_t uid = 1 + (uint32_t)rand_r(&seed) % (s->view->uidnext + 3);
        switch (rand_r(&seed) % 6) {
        case 0:
            other_fills(s, 1 + (unsigned)rand_r(&seed) % 4);
            break;
        case 1:
            other_flags(s, uid, uid + 2, MESSAGE_FLAGS_ADD, MESSAGE_SEEN);
            break;
        case 2:
            other_flags(s, uid, uid, MESSAGE_FLAGS_SET, 0);
            break;
        case 3:
            other_expunges(s, uid, uid + (uint32_t)rand_r(&seed) % 3);
            break;
        case 4:
            obey(&n, told_without_expunges(s, &held));
            break;
        default:
            obey(&n, told(s));
            check_view(s);
        }
        assert_int_equal(n, s->view->n);
    }
    obey(&n, told(s));
    check_view(s);
}

/* What is deferred runs before the loop waits for events: without a tick the wait for it would
 * last. */
static struct timer *tick;

static void on_tick(void *ctx)
{
    (void)ctx;
    timer_start(tick, 1);
}

static int set_up(void **state)
{
    if (scratch_set_up(state))
        return -1;
    struct scratch *s = *state;
    tick = timer_new(s->loop, on_tick, NULL);
    timer_start(tick, 1);
    return 0;
}

static int tear_down(void **state)
{
    timer_free(&tick);
    return scratch_tear_down(state);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nothing_changed),
        TEST(in_order),
        TEST(expunges_wait),
        TEST(forgotten_expunges_are_found),
        TEST(a_mailbox_that_is_gone),
        TEST(many_changes_come_in_slices),
        TEST(at_random),
    };
    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
