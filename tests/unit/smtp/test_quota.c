/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What RCPT has found room for needn't have any when it is kept: the commit looks once more. */
#include "appliance/base/log.h"
#include "world.h"

struct set_quota {
    struct store_op op;
    const char *account;
    uint64_t bytes, domain_bytes;
};

static int run_set_quota(struct store_op *op, struct store_tx *tx)
{
    struct set_quota *q = CONTAINER_OF(op, struct set_quota, op);
    uint64_t id;
    if (q->account && (account_open_tx(tx, str_from(q->account), &id, &op->err) ||
                       account_set_quota_tx(tx, id, true, q->bytes, 0, &op->err)))
        return -1;
    return account_set_domain_quota_tx(tx, STR("example.com"), q->domain_bytes, &op->err);
}

static void set_quota(struct world *w, const char *account, uint64_t bytes, uint64_t domain_bytes)
{
    struct set_quota q = {.op = {.run = run_set_quota, .cls = STORE_INTERACTIVE},
                          .account = account,
                          .bytes = bytes,
                          .domain_bytes = domain_bytes};
    assert_int_equal(store_submit_wait(w->store, &q.op), 0);
}

/* RCPT looks at what is announced here, and the end of the message isn't asked about again. */
static void announce(struct client *c, const char *rcpt)
{
    client_ask(c, "MAIL FROM:<a@there.example> SIZE=1300", "250 2.1.0");
    client_say(c, "RCPT TO:<");
    client_say(c, rcpt);
    client_ask(c, ">", "250 2.1.5");
}

static void send_1200(struct client *c, const char *want)
{
    client_ask(c, "DATA", "354 ");
    for (int i = 0; i < 120; i++)
        client_say(c, "12345678\r\n");
    client_ask(c, ".", want);
}

static void bdat_1200(struct client *c, const char *want)
{
    client_say(c, "BDAT 1200 LAST\r\n");
    for (int i = 0; i < 120; i++)
        client_say(c, "12345678\r\n");
    client_want(c, want);
}

/* Two messages are announced at once for accounts of a domain that has room for one. */
static void the_domain_is_full_meanwhile(void **state)
{
    (void)state;
    struct world w;
    struct client first, second, third;
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    set_quota(&w, NULL, 0, 2000);
    client_hello(&first, &w);
    client_hello(&second, &w);
    client_hello(&third, &w);
    announce(&first, "xandros@example.com");
    announce(&second, "vivita@example.com");
    announce(&third, "capture@example.com");
    send_1200(&first, "250 2.0.0");
    send_1200(&second, "452 4.2.2 The mailbox is full");
    bdat_1200(&third, "452 4.2.2 The mailbox is full");
    assert_int_equal(world_messages(&w, "vivita@example.com"), 0);
    assert_int_equal(world_messages(&w, "capture@example.com"), 0);
    /* and RCPT knows of it now */
    client_ask(&second, "MAIL FROM:<a@there.example> SIZE=1300", "250 2.1.0");
    client_ask(&second, "RCPT TO:<vivita@example.com>", "452 4.2.2");
    client_close(&first);
    client_close(&second);
    client_close(&third);
    world_end(&w);
}

/* One reply for all: refused when nobody has room, or else taken by all. */
static void several_recipients(void **state)
{
    (void)state;
    struct world w;
    struct client a, b;
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    set_quota(&w, "vivita@example.com", 2000, 10000);
    client_hello(&a, &w);
    client_hello(&b, &w);
    announce(&a, "vivita@example.com");
    announce(&b, "vivita@example.com");
    client_ask(&b, "RCPT TO:<xandros@example.com>", "250 2.1.5");
    send_1200(&a, "250 2.0.0");
    send_1200(&b, "250 2.0.0"); /* over for vivita, not for xandros */
    assert_int_equal(world_messages(&w, "vivita@example.com"), 2);
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    set_quota(&w, NULL, 0, 0);
    announce(&b, "xandros@example.com");
    client_ask(&b, "RCPT TO:<capture@example.com>", "250 2.1.5");
    set_quota(&w, NULL, 0, 4500);
    send_1200(&b, "452 4.2.2");
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    client_close(&a);
    client_close(&b);
    world_end(&w);
}

/* It fits as announced, and doesn't with what is added to it. */
static void larger_than_it_may_grow(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    set_quota(&w, "vivita@example.com", 1300, 0);
    client_hello(&c, &w);
    announce(&c, "vivita@example.com");
    send_1200(&c, "552 5.2.2 The message is larger");
    assert_int_equal(world_messages(&w, "vivita@example.com"), 0);
    client_close(&c);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_domain_is_full_meanwhile),
        cmocka_unit_test(several_recipients),
        cmocka_unit_test(larger_than_it_may_grow),
    };
    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
