/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* TLS of the SMTP client. */
#include "client_world.h"

static struct play p;
static struct tls_ctx *host_tls, *client_tls;
static const char *const right[] = {"host.example", NULL}, *const wrong[] = {"mx.example", NULL};

static int group_setup(void **state)
{
    (void)state;
    play_tls(&host_tls, &client_tls);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    tls_ctx_unref(&host_tls);
    tls_ctx_unref(&client_tls);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    play_init(&p);
    p.host_tls = host_tls;
    p.conf.tls = client_tls;
    p.conf.demand = (struct tls_demand){.trust = TLS_TRUST_PKIX, .names = right};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    play_fini(&p);
    return 0;
}

#define STARTTLS "<STARTTLS", ">220 go", "TLS"
#define EHLO_AGAIN "<EHLO us.example", ">250-host", ">250-REQUIRETLS", ">250 DSN"

static void starttls(void **state)
{
    (void)state;
    p.conf.use = SMTP_TLS_MUST;
    p.offers = "STARTTLS\nSIZE 5\nAUTH PLAIN\nLIMITS RCPTMAX=1";
    p.mail.requiretls = true;
    play_ready(&p, SCRIPT(GREETED, STARTTLS, EHLO_AGAIN, "<MAIL FROM:<a@us.example> REQUIRETLS",
                          ">550 no", QUIT));
    const struct smtp_peer *peer = smtp_client_peer(p.client);
    assert_int_equal(peer->can, SMTP_CAN_DSN | SMTP_CAN_REQUIRETLS);
    assert_int_equal(peer->size, 0);
    assert_int_equal(peer->rcpt_max, 0);
    assert_int_equal(peer->trust, TLS_TRUST_PKIX);
    assert_int_equal(strncmp(peer->tls, "TLSv1.3 ", 8), 0);
    play_send(&p, 1);
    play_until(&p, &p.sent);
    play_close(&p);
}

/* What an attacker put behind the go-ahead must not be taken for a reply under TLS. */
static void injection(void **state)
{
    (void)state;
    p.conf.use = SMTP_TLS_MUST;
    p.offers = "STARTTLS";
    play_ready(&p, SCRIPT(GREETED, "<STARTTLS", ">220 go\r\n250-evil\r\n250 SIZE 1", "TLS",
                          EHLO_AGAIN, QUIT));
    assert_int_equal(smtp_client_peer(p.client)->size, 0);
    assert_int_equal(smtp_client_peer(p.client)->can, SMTP_CAN_DSN | SMTP_CAN_REQUIRETLS);
    play_close(&p);
}

static void large(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, (size_t)4 << 20);
    p.conf.use = SMTP_TLS_MUST;
    p.offers = "STARTTLS";
    p.mail.fd = play_file((size_t)3 << 20, &text);
    p.mail.fd_size = text.n;
    play_ready(&p, SCRIPT(GREETED, STARTTLS, EHLO_AGAIN, "<MAIL*", ">250 ok", "<RCPT*", ">250 ok",
                          "<DATA", ">354 go", "LINES", ">250 ok", QUIT));
    play_send(&p, 1);
    play_until(&p, &p.sent);
    assert_int_equal(p.rcpts[0].fault.kind, SMTP_FAULT_NONE);
    assert_true(p.got.n > text.n);
    play_close(&p);
    close(p.mail.fd);
    buf_fini(&text);
}

static void without_proof(void **state)
{
    (void)state;
    p.conf.use = SMTP_TLS_MAY;
    p.conf.demand = (struct tls_demand){.trust = TLS_TRUST_NONE, .names = wrong};
    p.offers = "STARTTLS";
    p.mail.requiretls = true;
    play_ready(&p, SCRIPT(GREETED, STARTTLS, EHLO_AGAIN, QUIT));
    assert_int_equal(smtp_client_peer(p.client)->trust, TLS_TRUST_NONE);
    play_send(&p, 1);
    play_until(&p, &p.sent);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_PERM, 0, "5.7.30", "MAIL");
    play_close(&p);
}

static void opportunistic(void **state)
{
    (void)state;
    p.conf.use = SMTP_TLS_MAY;
    play_ready(&p, SCRIPT(GREETED, QUIT));
    play_close(&p);
    p.offers = "STARTTLS";
    play_ready(&p, SCRIPT(GREETED, "<STARTTLS", ">454 4.7.0 not now", QUIT));
    assert_string_equal(smtp_client_peer(p.client)->tls, "");
    play_close(&p);
    play_fails(&p, SCRIPT(GREETED, "<STARTTLS", ">220 go", "CLOSE"), SMTP_FAULT_TLS, 0, "4.7.5",
               "STARTTLS");
    play_fails(&p, SCRIPT(GREETED, "<STARTTLS", ">421 bye"), SMTP_FAULT_HOST, 421, "4.3.2",
               "STARTTLS");
    p.conf.use = SMTP_TLS_OFF;
    play_ready(&p, SCRIPT(GREETED, QUIT));
    play_close(&p);
}

static void demanded(void **state)
{
    (void)state;
    p.conf.use = SMTP_TLS_MUST;
    play_fails(&p, SCRIPT(GREETED, QUIT), SMTP_FAULT_TLS, 0, "4.7.10", "STARTTLS");
    play_fails(&p, SCRIPT(">220 a", "<EHLO*", ">502 a", "<HELO*", ">250 a", QUIT), SMTP_FAULT_TLS,
               0, "4.7.10", "STARTTLS");
    p.offers = "STARTTLS";
    play_fails(&p, SCRIPT(GREETED, "<STARTTLS", ">454 4.7.0 not now", QUIT), SMTP_FAULT_TLS, 454,
               "4.7.0", "STARTTLS");
    p.conf.demand.names = wrong;
    play_fails(&p, SCRIPT(GREETED, STARTTLS, "HANG"), SMTP_FAULT_TLS, 0, "4.7.5", "STARTTLS");
}

static void implicit(void **state)
{
    (void)state;
    play_listen(&p, host_tls);
    p.conf.use = SMTP_TLS_IMPLICIT;
    p.offers = "STARTTLS";
    play_ready(&p, SCRIPT(GREETED, "<MAIL*", ">550 no", QUIT));
    assert_int_equal(smtp_client_peer(p.client)->trust, TLS_TRUST_PKIX);
    play_send(&p, 1);
    play_until(&p, &p.sent);
    play_close(&p);
    p.conf.demand.names = wrong;
    play_open(&p, SCRIPT("HANG"));
    play_until_closed(&p);
    assert_fault(&p.why, SMTP_FAULT_TLS, 0, "4.7.5", "STARTTLS");
    smtp_client_close(&p.client);
    p.script = SCRIPT("HANG");
    p.over = true;
    timer_start(p.patience, PATIENCE_MS);
    while (p.host)
        play_turn(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(starttls, setup, teardown),
        cmocka_unit_test_setup_teardown(injection, setup, teardown),
        cmocka_unit_test_setup_teardown(large, setup, teardown),
        cmocka_unit_test_setup_teardown(without_proof, setup, teardown),
        cmocka_unit_test_setup_teardown(opportunistic, setup, teardown),
        cmocka_unit_test_setup_teardown(demanded, setup, teardown),
        cmocka_unit_test_setup_teardown(implicit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
