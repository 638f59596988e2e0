/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Connections of the SMTP client: how they begin, and all the ways in which they end. */
#include "client_world.h"
#include <arpa/inet.h>
#include <semaphore.h>

static struct play p;
static int setup(void **state)
{
    (void)state;
    play_init(&p);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    play_fini(&p);
    return 0;
}

static void hello(void **state)
{
    (void)state;
    p.offers = "pipelining\nSIZE 1000\nLIMITS MAILMAX=7";
    play_ready(&p, SCRIPT(GREETED, QUIT));
    assert_int_equal(smtp_client_peer(p.client)->can, SMTP_CAN_PIPELINING | SMTP_CAN_SIZE);
    assert_int_equal(smtp_client_peer(p.client)->size, 1000);
    assert_int_equal(smtp_client_peer(p.client)->mail_max, 7);
    assert_string_equal(smtp_client_peer(p.client)->tls, "");
    play_close(&p);
    assert_false(p.closed);
}

static void helo(void **state)
{
    (void)state;
    static const char *const answers[] = {">500 what", ">502 5.5.1 no", ">504 no", ">550 no"};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        play_ready(&p, SCRIPT(">220-host", ">220 hi", "<EHLO us.example", answers[i],
                              "<HELO us.example", ">250-SIZE 5", ">250 PIPELINING", QUIT));
        assert_int_equal(smtp_client_peer(p.client)->can, 0);
        play_close(&p);
    }
}

static void unwilling(void **state)
{
    (void)state;
    play_fails(&p, SCRIPT(">554 5.7.1 go away", QUIT), SMTP_FAULT_HOST, 554, "5.7.1", "greeting");
    play_fails(&p, SCRIPT(">421 busy"), SMTP_FAULT_HOST, 421, "4.3.2", "greeting");
    play_fails(&p, SCRIPT(">250 hello"), SMTP_FAULT_HOST, 250, "2.0.0", "greeting");
    play_fails(&p, SCRIPT(">220 a", "<EHLO*", ">451 4.3.0 no", QUIT), SMTP_FAULT_HOST, 451, "4.3.0",
               "EHLO");
    play_fails(&p, SCRIPT(">220 a", "<EHLO*", ">554 no", QUIT), SMTP_FAULT_HOST, 554, "5.0.0",
               "EHLO");
    play_fails(&p, SCRIPT(">220 a", "<EHLO*", ">502 a", "<HELO*", ">550 no", QUIT), SMTP_FAULT_HOST,
               550, "5.0.0", "EHLO");
    play_fails(&p, SCRIPT(">SSH-2.0-OpenSSH", "HANG"), SMTP_FAULT_HOST, 0, "4.5.0", "greeting");
    play_fails(&p, SCRIPT(">220 a", "<EHLO*", ">250-a", ">251 b", "HANG"), SMTP_FAULT_HOST, 0,
               "4.5.0", "EHLO");
    play_fails(&p, SCRIPT("CLOSE"), SMTP_FAULT_HOST, 0, "4.4.2", "greeting");
    play_fails(&p, SCRIPT(">220 a", "<EHLO*", ">250-a", "CLOSE"), SMTP_FAULT_HOST, 0, "4.4.2",
               "EHLO");
}

static void nobody_there(void **state)
{
    (void)state;
    const struct smtp_client_events events = {play_on_ready, play_on_closed};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0); /* and nobody listens */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    p.conf.target.port = ntohs(at.sin_port);
    p.script = SCRIPT("HANG");
    assert_int_equal(smtp_client_open(&p.conf, &events, &p, &p.client, &p.err), 0);
    play_until_closed(&p);
    assert_fault(&p.why, SMTP_FAULT_HOST, 0, "4.4.1", "connect");
    smtp_client_close(&p.client);
    close(fd);
    p.conf.target.ip = "no address";
    assert_int_equal(smtp_client_open(&p.conf, &events, &p, &p.client, &p.err), -1);
    assert_null(p.client);
    smtp_client_close(&p.client);
}

/* ---- time */

static void late(const char *const *script, size_t n_rcpts, const char *stage)
{
    play_open(&p, script);
    if (n_rcpts) {
        play_until(&p, &p.ready);
        play_send(&p, n_rcpts);
    }
    play_until_closed(&p);
    assert_fault(&p.why, SMTP_FAULT_HOST, 0, "4.4.2", stage);
    assert_int_equal(p.sent, n_rcpts > 0);
    play_close(&p);
}

#define LIMIT(name, script, n, stage)                                                              \
    do {                                                                                           \
        p.conf.timeouts = (struct smtp_timeouts){.name = 20};                                      \
        late(script, n, stage);                                                                    \
    } while (0)

static void limits(void **state)
{
    (void)state;
    LIMIT(greeting, SCRIPT("HANG"), 0, "greeting");
    LIMIT(greeting, SCRIPT(">220-more", "HANG"), 0, "greeting");
    LIMIT(helo, SCRIPT(">220 a", "<EHLO*", "HANG"), 0, "EHLO");
    LIMIT(mail, SCRIPT(GREETED, "<MAIL*", "HANG"), 1, "MAIL");
    LIMIT(rcpt, SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", "HANG"), 1, "RCPT");
    assert_fault(&p.why, SMTP_FAULT_HOST, 0, "4.4.2", "RCPT");
    LIMIT(data, SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", "<DATA", "HANG"), 1,
          "DATA");
    LIMIT(end,
          SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", "<DATA", ">354 go", "LINES",
                 "HANG"),
          1, "end");
}

/* It takes nothing of a large message. */
static void blocked(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, (size_t)32 << 20);
    p.mail.fd = play_file((size_t)16 << 20, &text);
    p.mail.fd_size = text.n;
    p.conf.timeouts.block = 200;
    play_open(
        &p, SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", "<DATA", ">354 go", "HANG"));
    play_until(&p, &p.ready);
    play_send(&p, 1);
    play_until_closed(&p);
    assert_true(p.sent);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_HOST, 0, "4.4.2", "DATA");
    play_close(&p);
    close(p.mail.fd);
    buf_fini(&text);
}

/* ---- how it ends */

static void idle_end(void **state)
{
    (void)state;
    static const char *const lasts[] = {"CLOSE", ">421 4.4.2 you sleep", ">451 timeout"};
    for (size_t i = 0; i < ARRAY_LEN(lasts); i++) {
        play_ready(&p, SCRIPT(GREETED, lasts[i]));
        play_until_closed(&p);
        assert_int_equal(p.why.kind, SMTP_FAULT_NONE);
        play_close(&p);
    }
    play_ready(&p, SCRIPT(GREETED, ">250 what for", "HANG"));
    play_until_closed(&p);
    assert_fault(&p.why, SMTP_FAULT_HOST, 0, "4.5.0", "idle");
    play_close(&p);
}

static void message_ends(const char *const *script, size_t n_rcpts, enum smtp_fault_kind kind)
{
    play_open(&p, script);
    play_until(&p, &p.ready);
    play_send(&p, n_rcpts);
    play_until_closed(&p);
    assert_true(p.sent);
    assert_int_equal(p.why.kind, kind);
    assert_int_equal(smtp_client_sent(p.client), 0);
}

static void in_the_middle(void **state)
{
    (void)state;
    p.offers = "PIPELINING";
    message_ends(SCRIPT(GREETED, "<MAIL*", "<RCPT*", "<RCPT*", "<RCPT*", "<DATA", ">250 ok",
                        ">550 no", ">250 ok", ">421 4.7.0 too much"),
                 3, SMTP_FAULT_HOST);
    assert_fault(&p.why, SMTP_FAULT_HOST, 421, "4.7.0", "RCPT");
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_PERM, 550, "5.1.1", "RCPT");
    assert_fault(&p.rcpts[1].fault, SMTP_FAULT_HOST, 421, "4.7.0", "RCPT");
    assert_fault(&p.rcpts[2].fault, SMTP_FAULT_HOST, 421, "4.7.0", "RCPT");
    play_close(&p);
    message_ends(
        SCRIPT(GREETED, "<MAIL*", "<RCPT*", "<RCPT*", "<DATA", ">250 ok", ">550 no", "CLOSE"), 2,
        SMTP_FAULT_HOST);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_PERM, 550, "5.1.1", "RCPT");
    assert_fault(&p.rcpts[1].fault, SMTP_FAULT_HOST, 0, "4.4.2", "RCPT");
    play_close(&p);
    message_ends(SCRIPT(GREETED, "<MAIL*", "<RCPT*", "<DATA", ">354 go", "HANG"), 1,
                 SMTP_FAULT_HOST);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_HOST, 0, "4.5.0", "MAIL");
    play_close(&p);
    message_ends(
        SCRIPT(GREETED, "<MAIL*", "<RCPT*", "<DATA", ">250 ok", ">250 ok", ">250 ok", "HANG"), 1,
        SMTP_FAULT_HOST);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_HOST, 0, "4.5.0", "DATA");
    play_close(&p);
}

#define ENVELOPE "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", "<RCPT*", ">550 no", "<DATA", ">354 go"

/* RFC 5321 4.5.3.2.6: it may have it. */
static void after_the_dot(void **state)
{
    (void)state;
    message_ends(SCRIPT(GREETED, ENVELOPE, "LINES", "CLOSE"), 2, SMTP_FAULT_HOST);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_TEMP, 0, "4.4.2", "end");
    assert_fault(&p.rcpts[1].fault, SMTP_FAULT_PERM, 550, "5.1.1", "RCPT");
    play_close(&p);
    message_ends(SCRIPT(GREETED, ENVELOPE, "LINES", ">421 4.3.2 going down"), 2, SMTP_FAULT_HOST);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_HOST, 421, "4.3.2", "end");
    play_close(&p);
    p.offers = "CHUNKING";
    message_ends(SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", "<BDAT*", "CLOSE"), 1,
                 SMTP_FAULT_HOST);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_TEMP, 0, "4.4.2", "end");
    play_close(&p);
}

static void in_the_data(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 20);
    p.mail.fd = play_file(100000, &text);
    p.mail.fd_size = text.n;
    /* Both come at once: nothing of the file has been read then. */
    message_ends(SCRIPT(GREETED, ENVELOPE, ">552 5.3.4 too big", "HANG"), 2, SMTP_FAULT_NONE);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_PERM, 552, "5.3.4", "end");
    assert_fault(&p.rcpts[1].fault, SMTP_FAULT_PERM, 550, "5.1.1", "RCPT");
    play_close(&p);
    message_ends(SCRIPT(GREETED, ENVELOPE, ">250 thanks", "HANG"), 2, SMTP_FAULT_HOST);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_HOST, 0, "4.5.0", "DATA");
    play_close(&p);
    /* The file is shorter than it was. */
    assert_int_equal(ftruncate(p.mail.fd, 70000), 0);
    message_ends(SCRIPT(GREETED, ENVELOPE, "HANG"), 2, SMTP_FAULT_TEMP);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_TEMP, 0, "4.3.0", "DATA");
    timer_start(p.patience, PATIENCE_MS);
    while (!p.host_eof) /* hung up, no dot */
        play_turn(&p);
    play_close(&p);
    close(p.mail.fd);
    buf_fini(&text);
}

static void owner_closes(void **state)
{
    (void)state;
    struct buf text;
    p.close_when_ready = true;
    play_open(&p, SCRIPT(GREETED, QUIT));
    play_until(&p, &p.ready);
    assert_null(p.client);
    play_close(&p);
    p.close_when_ready = false;
    p.close_when_sent = true;
    play_open(&p, SCRIPT(GREETED, "<MAIL*", ">550 no", QUIT));
    play_until(&p, &p.ready);
    play_send(&p, 1);
    play_until(&p, &p.sent);
    assert_null(p.client);
    play_close(&p);
    play_open(&p, SCRIPT(GREETED, "<MAIL*", ">421 no"));
    play_until(&p, &p.ready);
    play_send(&p, 1);
    play_until(&p, &p.sent); /* and no on_closed */
    play_close(&p);
    assert_false(p.closed);
    p.close_when_sent = false;
    /* While its file is being read. */
    buf_init(&text, 1 << 20);
    p.mail.fd = play_file(100000, &text);
    p.mail.fd_size = text.n;
    play_open(
        &p, SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", "<DATA", ">354 go", "HANG"));
    play_until(&p, &p.ready);
    play_send(&p, 1);
    play_until(&p, &p.over);
    play_turn(&p);
    smtp_client_close(&p.client);
    close(p.mail.fd);
    play_close(&p);
    assert_false(p.sent || p.closed);
    buf_fini(&text);
    play_open(&p, SCRIPT("HANG"));
    smtp_client_close(&p.client); /* before the connection stands */
}

struct block {
    struct job job;
    sem_t *go;
    bool done;
};

static void run_block(struct job *j, void *worker)
{
    (void)worker;
    sem_wait(CONTAINER_OF(j, struct block, job)->go);
}

static void block_done(struct job *j)
{
    CONTAINER_OF(j, struct block, job)->done = true;
}

/* No room on the lane: the file waits for it. */
static void lane_full(void **state)
{
    (void)state;
    struct buf text;
    struct block blocks[16] = {0};
    sem_t go;
    size_t n = 0;
    sem_init(&go, 0, 0);
    buf_init(&text, 1 << 20);
    p.mail.fd = play_file(1000, &text);
    p.mail.fd_size = text.n;
    do {
        CHECK(n < ARRAY_LEN(blocks));
        blocks[n] = (struct block){.job = {.run = run_block, .done = block_done}, .go = &go};
    } while (lane_submit(p.files, &blocks[n].job) == 0 && ++n);
    play_open(&p, SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", "<DATA", ">354 go",
                         "LINES", ">250 ok", QUIT));
    play_until(&p, &p.ready);
    play_send(&p, 1);
    while (strncmp(p.script[p.at], "LINES", 5) != 0)
        play_turn(&p);
    play_turn(&p);
    assert_false(p.sent);
    for (size_t i = 0; i < n; i++)
        sem_post(&go);
    play_until(&p, &p.sent);
    assert_int_equal(p.rcpts[0].fault.kind, SMTP_FAULT_NONE);
    for (size_t i = 0; i < n; i++)
        play_until(&p, &blocks[i].done);
    play_close(&p);
    close(p.mail.fd);
    buf_fini(&text);
    sem_destroy(&go);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hello, setup, teardown),
        cmocka_unit_test_setup_teardown(helo, setup, teardown),
        cmocka_unit_test_setup_teardown(unwilling, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_there, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
        cmocka_unit_test_setup_teardown(blocked, setup, teardown),
        cmocka_unit_test_setup_teardown(idle_end, setup, teardown),
        cmocka_unit_test_setup_teardown(in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(after_the_dot, setup, teardown),
        cmocka_unit_test_setup_teardown(in_the_data, setup, teardown),
        cmocka_unit_test_setup_teardown(owner_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(lane_full, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
