/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "bed.h"

struct named {
    uint64_t account, id;
    struct str name, to;
    const struct str *names;
    size_t n;
    uint64_t mask;
    uint32_t recent;
    bool on;
};

static int create_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct named *c = ctx;
    return mailbox_create_tx(tx, c->account, c->name, MAILBOX_NORMAL, &c->id, err);
}
static int delete_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct named *c = ctx;
    bool more;
    return mailbox_delete_tx(tx, c->account, c->name, &more, err);
}
static int rename_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct named *c = ctx;
    return mailbox_rename_tx(tx, c->account, c->name, c->to, err);
}
static int subscribe_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct named *c = ctx;
    return mailbox_subscribe_tx(tx, c->account, c->name, c->on, err);
}
static int keywords_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct named *c = ctx;
    return mailbox_keywords_tx(tx, c->id, c->names, c->n, &c->mask, err);
}
static int recent_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct named *c = ctx;
    return mailbox_take_recent_tx(tx, c->id, &c->recent, err);
}

static enum err_why try_name(struct bed *b, uint64_t account, const char *name)
{
    struct named c = {.account = account, .name = str_from(name)};
    struct err err;

    return bed_try_call(b, create_fn, &c, &err) == 0 ? ERR_WHY_OTHER : err.why;
}

static uint64_t create(struct bed *b, uint64_t account, const char *name)
{
    struct named c = {.account = account, .name = str_from(name)};

    bed_call(b, create_fn, &c);
    return c.id;
}

static int try_rename(struct bed *b, uint64_t account, const char *from, const char *to,
                      struct err *err)
{
    struct named c = {.account = account, .name = str_from(from), .to = str_from(to)};

    return bed_try_call(b, rename_fn, &c, err);
}

static void assert_names(struct bed *b, uint64_t account, const char *expected)
{
    struct mailbox_info *list;
    struct buf names;
    struct err err;
    size_t n;

    buf_init(&names, 100000);
    assert_int_equal(mailbox_list(b->reader, b->arena, account, &list, &n, &err), 0);
    for (size_t i = 0; i < n; i++)
        buf_printf(&names, STR_FMT " ", STR_ARG(list[i].name));
    assert_string_equal(buf_z(&names), expected);
    buf_fini(&names);
}

static void an_account_has_its_folders(void **state)
{
    struct bed *b = *state;
    uint64_t a = bed_account(b, "a@x");
    struct str *subscribed;
    struct err err;
    size_t n;

    assert_int_equal(bed_account(b, "a@x"), a);
    assert_names(b, a, "Archive Drafts INBOX Junk Sent Trash ");
    assert_int_equal(bed_mailbox(b, a, "Junk").special, MAILBOX_JUNK);
    assert_int_equal(mailbox_subscriptions(b->reader, b->arena, a, &subscribed, &n, &err), 0);
    assert_int_equal(n, 6);
    assert_true(str_eq(subscribed[0], STR("Archive")));
}

static void names_are_checked(void **state)
{
    struct bed *b = *state;
    uint64_t a = bed_account(b, "a@x");
    char longest[MAILBOX_NAME_MAX + 2];
    struct err err;
    struct named c = {.account = a};

    assert_int_equal(try_name(b, a, "inBoX"), ERR_WHY_EXISTS);
    create(b, a, "inbox/Sub");
    create(b, a, "Inboxes");
    create(b, a, "f\xc3\xbcr \xe2\x82\xac/x*%");
    assert_names(b, a,
                 "Archive Drafts INBOX INBOX/Sub Inboxes Junk Sent Trash f\xc3\xbcr \xe2\x82\xac "
                 "f\xc3\xbcr \xe2\x82\xac/x*% ");
    static const char *const bad[] = {"", "/a", "a/", "a//b", "a\nb", "\x7f", "\xff", "a\xc2\x85"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        c.name = str_from(bad[i]);
        assert_int_equal(bed_try_call(b, create_fn, &c, &err), -1);
        assert_int_equal(err.kind, ERR_PERM);
    }
    memset(longest, 'x', sizeof longest);
    c.name = str_of(longest, 256);
    assert_int_equal(bed_try_call(b, create_fn, &c, &err), -1);
    assert_int_equal(err.why, ERR_WHY_LIMIT);
    assert_int_equal(try_name(b, a, "1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h"), ERR_WHY_LIMIT);
    assert_int_equal(try_name(b, a, "1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g"), ERR_WHY_OTHER);
}

static void renaming_takes_inferiors_along(void **state)
{
    struct bed *b = *state;
    uint64_t a = bed_account(b, "a@x");
    struct err err;

    create(b, a, "p/q/r");
    create(b, a, "p0"); /* not below p */
    create(b, a, "p-");
    uint64_t q = bed_mailbox(b, a, "p/q").id;
    uint32_t uidvalidity = bed_mailbox(b, a, "p/q").uidvalidity;
    assert_int_equal(try_rename(b, a, "p", "new/p", &err), 0);
    assert_names(b, a, "Archive Drafts INBOX Junk Sent Trash new new/p new/p/q new/p/q/r p- p0 ");
    assert_int_equal(bed_mailbox(b, a, "new/p/q").id, q);
    assert_int_equal(bed_mailbox(b, a, "new/p/q").uidvalidity, uidvalidity);
    assert_int_equal(try_rename(b, a, "new", "new/p/x", &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(try_rename(b, a, "new/p", "p0", &err), -1);
    assert_int_equal(err.why, ERR_WHY_EXISTS);
    assert_int_equal(try_rename(b, a, "none", "some", &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    assert_int_equal(try_rename(b, a, "new/p", "1/2/3/4/5/6/7/8/9/a/b/c/d/e/f", &err),
                     -1); /* r would be too deep */
    assert_int_equal(err.why, ERR_WHY_LIMIT);
    assert_names(b, a, "Archive Drafts INBOX Junk Sent Trash new new/p new/p/q new/p/q/r p- p0 ");
    bed_check(b);
}

static void renaming_inbox_moves_its_messages(void **state)
{
    struct bed *b = *state;
    uint64_t a = bed_account(b, "a@x");
    struct err err;

    bed_deliver(b, "a@x", "INBOX", STR("Subject: 1\r\n\r\nx\r\n"));
    create(b, a, "INBOX/below");
    struct mailbox_info old = bed_mailbox(b, a, "INBOX");
    assert_int_equal(try_rename(b, a, "INBOX", "saved/2025", &err), 0);
    struct mailbox_info new = bed_mailbox(b, a, "INBOX"), saved = bed_mailbox(b, a, "saved/2025");
    assert_int_equal(new.messages, 0);
    assert_int_equal(saved.messages, 1);
    assert_true(new.uidvalidity > old.uidvalidity);
    bed_mailbox(b, a, "INBOX/below");
    assert_int_equal(bed_deliver(b, "a@x", "INBOX", STR("Subject: 2\r\n\r\nx\r\n")), 1);
    bed_check(b);
}

static void deleting_leaves_inferiors_and_a_new_uidvalidity(void **state)
{
    struct bed *b = *state;
    uint64_t a = bed_account(b, "a@x");
    struct named c = {.account = a, .name = STR("p")};
    struct err err;

    create(b, a, "p/q");
    bed_fill(b, bed_mailbox(b, a, "p").id, 1000, 0);
    uint32_t uidvalidity = bed_mailbox(b, a, "p").uidvalidity;
    bed_call(b, delete_fn, &c);
    assert_names(b, a, "Archive Drafts INBOX Junk Sent Trash p/q ");
    bed_check(b); /* quota is free at once */
    assert_int_equal(bed_int(b, "SELECT used_messages FROM account"), 0);
    create(b, a, "p");
    assert_true(bed_mailbox(b, a, "p").uidvalidity > uidvalidity);
    c.name = STR("inbox");
    assert_int_equal(bed_try_call(b, delete_fn, &c, &err), -1);
    assert_int_equal(err.why, ERR_WHY_DENIED);
    c.name = STR("none");
    assert_int_equal(bed_try_call(b, delete_fn, &c, &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    while (bed_int(b, "SELECT COUNT(*) FROM mailbox WHERE account = 0")) /* by itself, soon */
        bed_turn(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM message"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_dead"), 1);
    bed_check(b);
}

static void a_deleted_mailbox_takes_no_mail(void **state)
{
    struct bed *b = *state;
    uint64_t a = bed_account(b, "a@x"), id = create(b, a, "p");
    struct named c = {.account = a, .name = STR("p")};
    struct mailbox_info info;
    struct message_append m;
    struct err err;

    bed_call(b, delete_fn, &c);
    message_append_init(&m, NULL);
    m.sink = bed_sink(b, STR("Subject: x\r\n\r\n"));
    m.mailbox = id;
    assert_int_equal(bed_try(b, &m.op), -1);
    assert_int_equal(m.op.err.why, ERR_WHY_NOT_FOUND);
    body_sink_free(&m.sink);
    assert_int_equal(mailbox_get(b->reader, b->arena, id, &info, &err), -1);
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
}

static void subscriptions_are_names_only(void **state)
{
    struct bed *b = *state;
    uint64_t a = bed_account(b, "a@x");
    struct named c = {.account = a, .name = STR("none"), .on = true};
    struct str *list;
    struct err err;
    size_t n;

    bed_call(b, subscribe_fn, &c);
    bed_call(b, subscribe_fn, &c);
    assert_int_equal(mailbox_subscriptions(b->reader, b->arena, a, &list, &n, &err), 0);
    assert_int_equal(n, 7);
    assert_true(str_eq(list[6], STR("none")));
    c.on = false;
    bed_call(b, subscribe_fn, &c);
    bed_call(b, subscribe_fn, &c);
    assert_int_equal(mailbox_subscriptions(b->reader, b->arena, a, &list, &n, &err), 0);
    assert_int_equal(n, 6);
}

static int fill_subscriptions_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    char text[300];

    snprintf(text, sizeof text,
             "INSERT INTO subscription WITH RECURSIVE d(i) AS (SELECT 0 UNION ALL "
             "SELECT i + 1 FROM d WHERE i < 199) "
             "SELECT %lld, 'none-' || (a.i * 200 + b.i) FROM d a, d b WHERE a.i * 200 + b.i < %d",
             (long long)*(uint64_t *)ctx,
             SUBSCRIPTIONS_PER_ACCOUNT - 6 /* a new account has so many */);
    return sql_exec(store_tx_sql(tx), text, err);
}

static void subscriptions_have_a_limit(void **state)
{
    struct bed *b = *state;
    uint64_t a = bed_account(b, "a@x"), other = bed_account(b, "b@x");
    struct named c = {.account = a, .name = STR("one more"), .on = true};
    struct err err;

    bed_call(b, fill_subscriptions_fn, &a);
    assert_int_equal(bed_try_call(b, subscribe_fn, &c, &err), -1);
    assert_int_equal(err.why, ERR_WHY_LIMIT);
    c.name = STR("none-1"); /* is there already */
    bed_call(b, subscribe_fn, &c);
    c.account = other;
    bed_call(b, subscribe_fn, &c);
    c = (struct named){.account = a, .name = STR("Archive"), .on = false};
    bed_call(b, subscribe_fn, &c);
}

static void keywords_get_bits(void **state)
{
    struct bed *b = *state;
    uint64_t a = bed_account(b, "a@x");
    struct str names[] = {STR("$Forwarded"), STR("Work"), STR("$forwarded")};
    struct named c = {.id = bed_mailbox(b, a, "INBOX").id, .names = names, .n = 3};
    struct mailbox_keyword *list;
    struct err err;
    char name[16];
    size_t n;

    bed_call(b, keywords_fn, &c);
    assert_true(c.mask == (UINT64_C(3) << MESSAGE_KEYWORD_FIRST));
    assert_int_equal(mailbox_keywords(b->reader, b->arena, c.id, &list, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_true(str_eq(list[0].name, STR("$Forwarded")));
    for (int i = 2; i <= MESSAGE_KEYWORD_LAST - MESSAGE_KEYWORD_FIRST + 1; i++) {
        snprintf(name, sizeof name, "k%d", i);
        names[0] = str_from(name);
        c.n = 1;
        int rc = bed_try_call(b, keywords_fn, &c, &err);
        assert_int_equal(rc, i == MESSAGE_KEYWORD_LAST - MESSAGE_KEYWORD_FIRST + 1 ? -1 : 0);
    }
    assert_int_equal(err.why, ERR_WHY_LIMIT);
}

static void recent_is_taken_once(void **state)
{
    struct bed *b = *state;
    uint64_t a = bed_account(b, "a@x");
    struct named c = {.id = bed_mailbox(b, a, "INBOX").id};

    bed_fill(b, c.id, 3, 0);
    bed_call(b, recent_fn, &c);
    assert_int_equal(c.recent, 1);
    bed_call(b, recent_fn, &c);
    assert_int_equal(c.recent, 4);
    bed_fill(b, c.id, 1, 0);
    assert_int_equal(bed_mailbox(b, a, "INBOX").recent_from, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(an_account_has_its_folders),
        BED_TEST(names_are_checked),
        BED_TEST(renaming_takes_inferiors_along),
        BED_TEST(renaming_inbox_moves_its_messages),
        BED_TEST(deleting_leaves_inferiors_and_a_new_uidvalidity),
        BED_TEST(a_deleted_mailbox_takes_no_mail),
        BED_TEST(subscriptions_are_names_only),
        BED_TEST(subscriptions_have_a_limit),
        BED_TEST(keywords_get_bits),
        BED_TEST(recent_is_taken_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
