/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Random operations, many at once, some of their commits failing; after each round the whole store
 * is checked. A failure prints its seed; STORE_SEED repeats it, STORE_ROUNDS makes it longer. */
#include "bed.h"
#include "shim.h"

enum { ACCOUNTS = 3, AT_ONCE = 40, ROUNDS = 25 };
static const char *const accounts[ACCOUNTS] = {"a@x", "b@x", "c@x"};
static const char *const names[] = {"INBOX", "Sent", "Junk", "Archive", "p", "p/q", "p/q/r", "s"};
static uint64_t seed;

static unsigned pick(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

struct task {
    struct bed *b;
    struct store_op *op;
    struct body_sink *sink;
    struct buf *list;
    struct message_recipient r[3];
    struct uid_range set[2];
    union {
        struct message_delivery delivery;
        struct message_append append;
        struct message_store_flags flags;
        struct message_copy copy;
        struct message_expunge expunge;
        struct bed_call call;
    } u;
    unsigned what;
    bool own;
    uint64_t account;
    const char *name, *other;
};

static struct {
    uint64_t id;
    uint32_t uidnext;
} mailboxes[ACCOUNTS * 16];
static size_t n_mailboxes;

/* What exists at the beginning of the round; some of it will be gone when it is used. */
static void look_around(struct bed *b)
{
    struct mailbox_info *list;
    struct err err;
    size_t n;

    n_mailboxes = 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        uint64_t account = bed_account(b, accounts[i]);
        assert_int_equal(mailbox_list(b->reader, b->arena, account, &list, &n, &err), 0);
        for (size_t j = 0; j < n && n_mailboxes < ARRAY_LEN(mailboxes); j++) {
            mailboxes[n_mailboxes].id = list[j].id;
            mailboxes[n_mailboxes++].uidnext = list[j].uidnext;
        }
    }
}

static uint64_t any_mailbox(struct task *t)
{
    size_t i = pick((unsigned)n_mailboxes);
    uint32_t first = 1 + pick(mailboxes[i].uidnext);

    t->set[0] = (struct uid_range){first, first + pick(30)};
    t->set[1] = (struct uid_range){t->set[0].last + 2, pick(4) ? t->set[0].last + 40 : UINT32_MAX};
    return mailboxes[i].id;
}

static int names_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    struct task *t = ctx;
    uint64_t id;
    bool more;

    switch (t->what) {
    case 0:
        return mailbox_create_tx(tx, t->account, str_from(t->name), MAILBOX_NORMAL, &id, err);
    case 1:
        return mailbox_delete_tx(tx, t->account, str_from(t->name), &more, err);
    case 2:
        return mailbox_rename_tx(tx, t->account, str_from(t->name), str_from(t->other), err);
    default:
        return account_set_quota_tx(tx, t->account, t->own, 3000000, 4000, err);
    }
}

static void on_done(struct store_op *op)
{
    op->waited_for = true;
}

static void make_delivery(struct task *t)
{
    t->sink = bed_sink(t->b, STR("From: a@b\r\nSubject: random\r\n\r\nHello\r\n"));
    for (int i = 0; i < 3; i++)
        t->r[i] = (struct message_recipient){.account = str_from(accounts[pick(ACCOUNTS)]),
                                             .mailbox = str_from(names[pick(ARRAY_LEN(names))]),
                                             .prefix = STR("Return-Path: <>\r\n"),
                                             .flags = pick(2) ? MESSAGE_SEEN : 0};
    message_delivery_init(&t->u.delivery, on_done);
    t->u.delivery.sink = t->sink;
    t->u.delivery.rcpts = t->r;
    t->u.delivery.n_rcpts = 1 + pick(3);
    t->op = &t->u.delivery.op;
}

static void make_append(struct task *t)
{
    static char text[40000];
    static const struct str keywords[] = {{"$Forwarded", 10}, {"x", 1}};

    memset(text, '\n', sizeof text);
    memcpy(text, "A: b\r\n\r\n", 8);
    t->sink = bed_sink(t->b, str_of(text, pick(5) ? 100 : sizeof text));
    message_append_init(&t->u.append, on_done);
    t->u.append.sink = t->sink;
    t->u.append.mailbox = any_mailbox(t);
    t->u.append.keywords = keywords;
    t->u.append.n_keywords = pick(3);
    t->op = &t->u.append.op;
}

static void make_flags(struct task *t)
{
    static const struct str keywords[] = {{"y", 1}};

    message_store_flags_init(&t->u.flags, on_done);
    t->u.flags.mailbox = any_mailbox(t);
    t->u.flags.set = t->set;
    t->u.flags.n_set = 1 + pick(2);
    t->u.flags.how = (enum message_flag_how)pick(3);
    t->u.flags.flags = pick(32);
    t->u.flags.keywords = keywords;
    t->u.flags.n_keywords = pick(2);
    t->list = &t->u.flags.modified;
    t->op = &t->u.flags.op;
}

static void make_copy(struct task *t)
{
    message_copy_init(&t->u.copy, on_done);
    t->u.copy.to = any_mailbox(t);
    t->u.copy.from = any_mailbox(t);
    t->u.copy.set = t->set;
    t->u.copy.n_set = 2;
    if (pick(3) == 0)
        t->set[0] = (struct uid_range){1, UINT32_MAX}, t->u.copy.n_set = 1;
    t->u.copy.move = pick(2);
    t->list = &t->u.copy.uids;
    t->op = &t->u.copy.op;
}

static void make_expunge(struct task *t)
{
    message_expunge_init(&t->u.expunge, on_done);
    t->u.expunge.mailbox = any_mailbox(t);
    t->u.expunge.set = t->set;
    t->u.expunge.n_set = pick(3);
    t->op = &t->u.expunge.op;
}

static void make_names(struct task *t)
{
    t->what = pick(4);
    t->own = pick(2);
    t->account = bed_account(t->b, accounts[pick(ACCOUNTS)]);
    t->name = names[pick(ARRAY_LEN(names))];
    t->other = names[pick(ARRAY_LEN(names))];
    t->u.call =
        (struct bed_call){.op = {.run = bed_call_run, .done = on_done, .cls = STORE_INTERACTIVE},
                          .fn = names_fn,
                          .ctx = t};
    t->op = &t->u.call.op;
}

static void make(struct task *t)
{
    static void (*const kinds[])(struct task *) = {make_delivery, make_delivery, make_append,
                                                   make_flags,    make_copy,     make_copy,
                                                   make_expunge,  make_names};

    kinds[pick(ARRAY_LEN(kinds))](t);
}

static void run_round(struct bed *b)
{
    struct task *tasks = mem_alloc(AT_ONCE * sizeof *tasks);

    look_around(b);
    for (int i = 0; i < AT_ONCE; i++) {
        tasks[i].b = b;
        make(&tasks[i]);
    }
    for (int i = 0; i < AT_ONCE; i++) {
        if (pick(10) == 0)
            atomic_store(&shim.full_write, 1 + (int)pick(2));
        assert_int_equal(store_submit(b->store, tasks[i].op), 0);
        if (pick(4) == 0)
            bed_turn(b);
    }
    for (int i = 0; i < AT_ONCE; i++) {
        while (!tasks[i].op->waited_for)
            bed_turn(b);
        if (tasks[i].op->failed && tasks[i].op->err.kind == ERR_BUG)
            fail_msg("operation: %s", tasks[i].op->err.text);
        body_sink_free(&tasks[i].sink);
        if (tasks[i].list)
            buf_fini(tasks[i].list);
    }
    atomic_store(&shim.full_write, 0);
    mem_free(tasks);
}

static void nothing_gets_lost(void **state)
{
    struct bed *b = *state;
    const char *rounds = getenv("STORE_ROUNDS"), *given = getenv("STORE_SEED");
    int n = rounds ? atoi(rounds) : ROUNDS;

    seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_wall_ms();
    for (int i = 0; i < n; i++) {
        uint64_t began = seed;
        run_round(b);
        if (pick(6) == 0)
            bed_sweep(b);
        if (pick(6) == 0)
            bed_reopen(b);
        b->problems = 0;
        struct err err;
        assert_int_equal(store_check(b->reader, bed_problem, b, &err), 0);
        if (b->problems)
            fail_msg("round %d, its seed %llu", i, (unsigned long long)began);
        arena_clear(b->arena);
    }
    fprintf(stderr, "%lld messages in the end, %lld of them visible\n",
            (long long)bed_int(b, "SELECT COUNT(*) FROM message"),
            (long long)bed_int(b, "SELECT SUM(msgs) FROM mailbox WHERE account <> 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {BED_TEST(nothing_gets_lost)};

    shim_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
