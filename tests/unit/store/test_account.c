/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "bed.h"

struct ctx {
    struct str name;
    uint64_t id, bytes, messages;
    bool own;
};

static int detach_fn(struct store_tx *tx, void *p, struct err *err)
{
    return account_detach_tx(tx, ((struct ctx *)p)->name, err);
}
static int attach_fn(struct store_tx *tx, void *p, struct err *err)
{
    struct ctx *c = p;
    return account_attach_tx(tx, c->id, c->name, err);
}
static int quota_fn(struct store_tx *tx, void *p, struct err *err)
{
    struct ctx *c = p;
    return account_set_quota_tx(tx, c->id, c->own, c->bytes, c->messages, err);
}
static int remove_fn(struct store_tx *tx, void *p, struct err *err)
{
    bool more = true;
    while (more) {
        if (account_remove_tx(tx, ((struct ctx *)p)->id, &more, err) != 0)
            return -1;
    }
    return 0;
}

static struct account_info info_of(struct bed *b, const char *name)
{
    struct account_info info;
    struct err err;

    if (account_find(b->reader, b->arena, str_from(name), &info, &err) != 0)
        fail_msg("%s", err.text);
    return info;
}

static void a_name_that_returns_is_another_account(void **state)
{
    struct bed *b = *state;
    struct ctx c = {.name = STR("a@x")};
    struct account_info *list, info;
    struct err err;
    size_t n;

    assert_int_equal(account_find(b->reader, b->arena, STR("a@x"), &info, &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    bed_deliver(b, "a@x", "INBOX", STR("Subject: private\r\n\r\n"));
    uint64_t old = bed_account(b, "a@x");
    uint32_t uidvalidity = bed_mailbox(b, old, "Archive").uidvalidity;
    bed_call(b, detach_fn, &c);
    assert_int_equal(account_find(b->reader, b->arena, STR("a@x"), &info, &err), -1);
    uint64_t new = bed_account(b, "a@x");
    assert_true(new != old);
    assert_int_equal(bed_mailbox(b, new, "INBOX").messages, 0);
    assert_true(bed_mailbox(b, new, "INBOX").uidvalidity >
                uidvalidity); /* what clients keep of the old one is void */
    bed_call(b, detach_fn, &c);
    assert_int_equal(account_list(b->reader, b->arena, &list, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_true(list[0].detached && list[1].detached && str_eq(list[0].name, STR("a@x")));
    c.id = old;
    bed_call(b, attach_fn, &c);
    assert_int_equal(info_of(b, "a@x").id, old);
    c.id = new;
    assert_int_equal(bed_try_call(b, attach_fn, &c, &err), -1);
    assert_int_equal(err.why, ERR_WHY_EXISTS);
    c.name = STR("none@x");
    assert_int_equal(bed_try_call(b, detach_fn, &c, &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    bed_check(b);
}

static void quota_is_checked(void **state)
{
    struct bed *b = *state;
    struct ctx c = {.id = bed_account(b, "a@x"), .own = true, .bytes = 1000, .messages = 2};
    struct err err;

    assert_int_equal(info_of(b, "a@x").quota_bytes, 0);
    bed_call(b, quota_fn, &c);
    struct account_info info = info_of(b, "a@x");
    assert_int_equal(info.quota_bytes, 1000);
    assert_int_equal(account_check_quota(&info, 1000, &err), 0);
    assert_int_equal(account_check_quota(&info, 1001, &err), -1);
    assert_int_equal(err.why, ERR_WHY_QUOTA);
    assert_int_equal(account_check_quota(&info, UINT64_MAX, &err), -1);
    bed_deliver(b, "a@x", "INBOX", STR("Subject: 1\r\n\r\n"));
    bed_deliver(b, "a@x", "INBOX", STR("Subject: 2\r\n\r\n"));
    info = info_of(b, "a@x");
    assert_int_equal(info.used_messages, 2);
    assert_int_equal(account_check_quota(&info, 1, &err), -1);
    /* a delivery that was promised at RCPT may overrun; an APPEND may not */
    bed_deliver(b, "a@x", "INBOX", STR("Subject: 3\r\n\r\n"));
    struct message_append m;
    message_append_init(&m, NULL);
    m.sink = bed_sink(b, STR("Subject: x\r\n\r\n"));
    m.mailbox = bed_mailbox(b, c.id, "INBOX").id;
    assert_int_equal(bed_try(b, &m.op), -1);
    assert_int_equal(m.op.err.why, ERR_WHY_QUOTA);
    c.own = false;
    bed_call(b, quota_fn, &c);
    bed_run(b, &m.op);
    assert_int_equal(m.uid, 4);
    assert_true(m.uidvalidity > 0);
    body_sink_free(&m.sink);
    bed_check(b);
}

static void the_default_quota_comes_from_the_settings(void **state)
{
    struct bed *b = *state;

    bed_close(b);
    b->conf.quota_bytes = 5000;
    b->conf.quota_messages = 7;
    bed_open(b);
    bed_account(b, "a@x");
    assert_int_equal(info_of(b, "a@x").quota_bytes, 5000);
    assert_int_equal(info_of(b, "a@x").quota_messages, 7);
}

static void removing_takes_everything(void **state)
{
    struct bed *b = *state;
    struct ctx c = {.id = bed_account(b, "a@x"), .name = STR("a@x")};
    uint64_t other = bed_account(b, "b@x");
    struct err err;

    bed_fill(b, bed_mailbox(b, c.id, "INBOX").id, 2000, 0);
    bed_fill(b, bed_mailbox(b, other, "INBOX").id, 10, 0);
    uint32_t uidvalidity = bed_mailbox(b, c.id, "Archive").uidvalidity;
    bed_call(b, detach_fn, &c);
    bed_call(b, remove_fn, &c);
    while (bed_int(b, "SELECT COUNT(*) FROM mailbox WHERE account = 0"))
        bed_turn(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM message"), 10);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM subscription"), 6);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM account"), 1);
    assert_int_equal(bed_try_call(b, remove_fn, &c, &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    assert_true(bed_mailbox(b, bed_account(b, "a@x"), "INBOX").uidvalidity > uidvalidity);
    bed_check(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(a_name_that_returns_is_another_account),
        BED_TEST(quota_is_checked),
        BED_TEST(the_default_quota_comes_from_the_settings),
        BED_TEST(removing_takes_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
