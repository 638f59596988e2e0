/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* test_delivery_tls.c - with TLS where it can be had, without where it may be left out, and not at
 * all where it may not. */
#include "delivery_bed.h"
#include "smtp/client/tls_results.h"
#include <fcntl.h>

#define ME "xandros@example.com"

static char ca_file[128];

/* A certificate for mx.peer.example by an authority of its own. */
static void peer_certificate(struct bed *b)
{
    const char *const names[] = {"mx.peer.example", NULL};
    char cert[128], key[128];
    int dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(tls_ca_ensure(dir, names, &b->err), 0);
    close(dir);
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", b->dir);
    snprintf(cert, sizeof cert, "%s/cert.pem", b->dir);
    snprintf(key, sizeof key, "%s/key.pem", b->dir);
    assert_int_equal(tls_ctx_server(cert, key, &b->peer.tls, &b->err), 0);
    b->peer.offers = "PIPELINING\n8BITMIME\nSTARTTLS\nREQUIRETLS";
}

static void end(struct bed *b)
{
    if (b->delivery)
        bed_stop(b, 0);
    tls_ctx_unref(&b->peer.tls);
}

static void assert_result(struct bed *b, enum tls_result_type type)
{
    struct tls_result *list;
    size_t n;
    bed_stop(b, 0); /* written now */
    int64_t day = clock_wall_ms() / 86400000;
    assert_int_equal(tls_results_read(b->reader, b->arena, day, 10, &list, &n, &b->err), 0);
    if (n == 0) /* it became midnight */
        assert_int_equal(tls_results_read(b->reader, b->arena, day - 1, 10, &list, &n, &b->err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(list[0].type, type);
    assert_true(str_eq(list[0].domain, STR("there.example")));
    assert_true(str_eq(list[0].mx, STR("mx.peer.example")));
}

static void test_opportunistic(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    peer_certificate(b);
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 1);
    assert_int_equal(bed_stats(b).tls[1], 1); /* nobody we know vouches for it */
    assert_result(b, TLS_RESULT_SUCCESS);
    end(b);
}

/* STARTTLS is offered and doesn't work: rather plain than not at all. */
static void test_broken(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    b->peer.offers = "STARTTLS";
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 1);
    assert_int_equal(b->peer.all, 2);
    assert_int_equal(bed_stats(b).tls[0], 1);
    assert_int_equal(bed_stats(b).connect_failures, 0);
    assert_result(b, TLS_RESULT_VALIDATION_FAILURE);
}

static void test_not_offered(void **state)
{
    struct bed *b = *state;
    bed_domain("there.example");
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 1);
    assert_result(b, TLS_RESULT_STARTTLS_NOT_SUPPORTED);
}

static void by_relay(struct bed *b, int tls)
{
    dns_ip("mx.peer.example", "127.0.0.1", false);
    b->relay.port = b->peer.port;
    b->relay.tls = tls;
    assert_int_equal(
        settings_set(relay_settings, &b->relay, STR("host"), STR("mx.peer.example"), &b->err), 0);
}

static const char *relay_site(struct bed *b)
{
    return arena_printf(b->arena, "relay:mx.peer.example:%u", b->peer.port).p;
}

static void test_demanded(void **state)
{
    struct bed *b = *state;
    struct queue_to to;
    by_relay(b, ROUTE_TLS_ENCRYPT);
    bed_start(b);
    bed_send(b,
             &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}, .site = relay_site(b)});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 0);
    assert_true(bed_row(b, "a@there.example", &to));
    assert_has(to.last.p, "STARTTLS");
    assert_int_equal(bed_stats(b).connect_failures, 1);
}

static void test_verified(void **state)
{
    struct bed *b = *state;
    peer_certificate(b);
    by_relay(b, ROUTE_TLS_VERIFY);
    assert_int_equal(
        settings_set(relay_settings, &b->relay, STR("ca_file"), str_from(ca_file), &b->err), 0);
    bed_start(b);
    bed_send(b, &(struct bed_mail){.sender = ME,
                                   .rcpts = {"a@there.example"},
                                   .site = relay_site(b),
                                   .flags = QUEUE_REQUIRETLS});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 1);
    assert_has(b->peer.got[0].mail, " REQUIRETLS");
    assert_int_equal(bed_stats(b).tls[2], 1);
    end(b);
}

static void test_not_verified(void **state)
{
    struct bed *b = *state;
    struct queue_to to;
    peer_certificate(b);
    by_relay(b, ROUTE_TLS_VERIFY); /* but with the system's authorities */
    bed_start(b);
    bed_send(b,
             &(struct bed_mail){.sender = ME, .rcpts = {"a@there.example"}, .site = relay_site(b)});
    UNTIL(b, bed_tried(b, 1));
    assert_int_equal(b->peer.n_got, 0);
    assert_int_equal(b->peer.all, 1); /* never plain */
    assert_true(bed_row(b, "a@there.example", &to));
    assert_has(to.last.p, "certificate");
    end(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(test_opportunistic), BED_TEST(test_broken),   BED_TEST(test_not_offered),
        BED_TEST(test_demanded),      BED_TEST(test_verified), BED_TEST(test_not_verified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
