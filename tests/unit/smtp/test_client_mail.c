/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Transactions of the SMTP client with a host that plays a script. */
#include "client_world.h"

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

static void step_by_step(void **state)
{
    (void)state;
    p.lockstep = true;
    play_message(&p,
                 SCRIPT(GREETED, "<MAIL FROM:<a@us.example>", ">250 ok",
                        "<RCPT TO:<b@host.example>", ">250 ok", "<RCPT TO:<c@host.example>",
                        ">550 5.1.1 no such user", "<DATA", ">354 go", "LINES",
                        ">250 2.0.0 queued as 1234", QUIT),
                 2);
    assert_int_equal(p.rcpts[0].fault.kind, SMTP_FAULT_NONE);
    assert_fault(&p.rcpts[1].fault, SMTP_FAULT_PERM, 550, "5.1.1", "RCPT");
    assert_string_equal(p.rcpts[1].fault.text, "no such user");
    assert_true(p.rcpts[1].fault.remote);
    assert_string_equal(p.mail.reply, "250 2.0.0 queued as 1234");
    assert_false(p.mail.relayed_dsn);
    assert_int_equal(smtp_client_sent(p.client), 1);
    assert_string_equal(buf_z(&p.got), "Subject: x\r\n\r\nhello\r\n");
    play_close(&p);
}

static void pipelined(void **state)
{
    (void)state;
    for (int trickle = 0; trickle < 2; trickle++) {
        p.trickle = trickle;
        p.offers = "PIPELINING\nSIZE 1000";
        p.mail.sender = STR("");
        p.mail.text = STR("a\r\n.b\r\n..\r\n.");
        play_message(&p,
                     SCRIPT(GREETED, "<MAIL FROM:<> SIZE=12", "<RCPT TO:<b@host.example>",
                            "<RCPT TO:<c@host.example>", "<RCPT TO:<d@host.example>", "<DATA",
                            ">250 2.1.0 ok", ">250 2.1.5 ok", ">450-4.2.0 wait",
                            ">450 4.2.0 a little", ">251 2.1.5 will forward", ">354 go", "<a",
                            "<..b", "<...", "<..", "<.", ">250", QUIT),
                     3);
        assert_int_equal(p.rcpts[0].fault.kind, SMTP_FAULT_NONE);
        assert_fault(&p.rcpts[1].fault, SMTP_FAULT_TEMP, 450, "4.2.0", "RCPT");
        assert_string_equal(p.rcpts[1].fault.text, "wait a little");
        assert_int_equal(p.rcpts[2].fault.kind, SMTP_FAULT_NONE);
        assert_string_equal(p.mail.reply, "250 ");
        play_close(&p);
    }
}

/* RFC 2920 3.1: 354 for nobody is answered with the dot alone. */
static void nobody(void **state)
{
    (void)state;
    p.offers = "PIPELINING";
    play_message(&p,
                 SCRIPT(GREETED, "<MAIL*", "<RCPT*", "<DATA", ">250 ok", ">550 5.7.1 no", ">354 go",
                        "<.", ">554 5.5.0 nobody", "<RSET", "<MAIL*", "<RCPT*", "<DATA", ">250 ok",
                        ">250 ok", ">250 ok", ">354 go", "LINES", ">250 ok", "<MAIL*", "<RCPT*",
                        "<DATA", ">250 ok", ">550 no", ">503 no recipients", "<RSET", "<MAIL*",
                        "<RCPT*", "<DATA", ">250 ok", ">451 4.7.1 who", ">503 no", ">503 no", QUIT),
                 1);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_PERM, 550, "5.7.1", "RCPT");
    assert_int_equal(smtp_client_sent(p.client), 0);
    play_send(&p, 1);
    play_until(&p, &p.sent);
    assert_int_equal(p.rcpts[0].fault.kind, SMTP_FAULT_NONE);
    play_send(&p, 1);
    play_until(&p, &p.sent);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_PERM, 550, "5.1.1", "RCPT");
    play_send(&p, 1);
    play_until(&p, &p.sent);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_TEMP, 451, "4.7.1", "MAIL");
    assert_false(p.closed);
    play_close(&p);
}

static void nobody_step_by_step(void **state)
{
    (void)state;
    p.lockstep = true;
    play_message(&p,
                 SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", ">550 5.1.1 a", "<RCPT*",
                        ">450 4.2.0 b", "<RSET", ">250 ok", "<MAIL*", ">553 5.1.8 you", "<MAIL*",
                        ">250 ok", "<RCPT*", ">250 ok", "<DATA", ">452 4.3.1 full", "<RSET",
                        ">250 ok", "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", "<DATA", ">354 go",
                        "LINES", ">554 5.6.0 bad", QUIT),
                 2);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_PERM, 550, "5.1.1", "RCPT");
    assert_fault(&p.rcpts[1].fault, SMTP_FAULT_TEMP, 450, "4.2.0", "RCPT");
    play_send(&p, 2);
    play_until(&p, &p.sent);
    assert_fault(&p.rcpts[1].fault, SMTP_FAULT_PERM, 553, "5.1.8", "MAIL");
    play_send(&p, 1);
    play_until(&p, &p.sent);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_TEMP, 452, "4.3.1", "DATA");
    play_send(&p, 1);
    play_until(&p, &p.sent);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_PERM, 554, "5.6.0", "end");
    play_close(&p);
}

static void too_many(void **state)
{
    (void)state;
    p.offers = "PIPELINING\nLIMITS RCPTMAX=3";
    play_message(&p,
                 SCRIPT(GREETED, "<MAIL*", "<RCPT TO:<b@host.example>", "<RCPT TO:<c@host.example>",
                        "<RCPT TO:<d@host.example>", "<DATA", ">250 ok", ">250 ok", ">552 too many",
                        ">552 5.2.2 full", ">354 go", "LINES", ">250 ok", QUIT),
                 4);
    assert_int_equal(smtp_client_peer(p.client)->rcpt_max, 3);
    assert_int_equal(p.rcpts[0].fault.kind, SMTP_FAULT_NONE);
    assert_fault(&p.rcpts[1].fault, SMTP_FAULT_TEMP, 552, "4.5.3", "RCPT");
    assert_fault(&p.rcpts[2].fault, SMTP_FAULT_PERM, 552, "5.2.2", "RCPT");
    assert_fault(&p.rcpts[3].fault, SMTP_FAULT_TEMP, 0, "4.5.3", "RCPT");
    play_close(&p);
}

static void parameters(void **state)
{
    (void)state;
    p.offers = "DSN\nSIZE\n8BITMIME\nSMTPUTF8";
    p.mail.sender = STR("\xc3\xa4@us.example");
    p.mail.envid = STR("a=b +1");
    p.mail.ret = QUEUE_RET_HDRS;
    p.mail.utf8 = true;
    p.rcpts[0].notify = QUEUE_NOTIFY_NEVER;
    p.rcpts[1].notify = QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_DELAY;
    p.rcpts[1].orcpt = STR("rfc822;x+y@us.example");
    p.rcpts[2].orcpt = STR("utf-8;\xc3\xb6@us.example");
    p.rcpts[2].notify = QUEUE_NOTIFY_FAILURE;
    play_message(&p,
                 SCRIPT(GREETED,
                        "<MAIL FROM:<\xc3\xa4@us.example> SIZE=21 BODY=8BITMIME SMTPUTF8 RET=HDRS "
                        "ENVID=a+3Db+20+2B1",
                        ">250 ok", "<RCPT TO:<b@host.example> NOTIFY=NEVER", ">250 ok",
                        "<RCPT TO:<c@host.example> NOTIFY=SUCCESS,DELAY "
                        "ORCPT=rfc822;x+2By@us.example",
                        ">250 ok",
                        "<RCPT TO:<d@host.example> NOTIFY=FAILURE ORCPT=utf-8;\\x{F6}@us.example",
                        ">250 ok", "<DATA", ">354 go", "LINES", ">250 ok", QUIT),
                 3);
    assert_true(p.mail.relayed_dsn);
    play_close(&p);
    /* Nothing of it to who doesn't know it. */
    p.offers = "";
    p.mail.utf8 = false;
    p.mail.sender = STR("a@us.example");
    p.rcpts[0].notify = QUEUE_NOTIFY_NEVER;
    p.rcpts[0].orcpt = STR("rfc822;x@us.example");
    play_message(&p,
                 SCRIPT(GREETED, "<MAIL FROM:<a@us.example>", ">250 ok",
                        "<RCPT TO:<b@host.example>", ">250 ok", "<DATA", ">354 go", "LINES",
                        ">250 ok", QUIT),
                 1);
    assert_false(p.mail.relayed_dsn);
    play_close(&p);
}

static void refused(const char *status, enum smtp_fault_kind kind, const char *stage)
{
    for (int i = 0; i < 2; i++) {
        play_send(&p, 2);
        play_until(&p, &p.sent);
        assert_fault(&p.rcpts[0].fault, kind, 0, status, stage);
        assert_false(p.rcpts[0].fault.remote);
    }
}

static void refused_without_a_word(void **state)
{
    (void)state;
    const struct smtp_client_mail plain = p.mail;
    p.offers = "SIZE 20\nREQUIRETLS";
    play_open(&p, SCRIPT(GREETED, QUIT));
    play_until(&p, &p.ready);
    refused("5.3.4", SMTP_FAULT_PERM, "MAIL");
    p.mail.text = STR("x\r\n");
    p.mail.utf8 = true;
    refused("5.6.7", SMTP_FAULT_PERM, "MAIL");
    p.mail = plain;
    p.mail.text = STR("x\r\n");
    p.mail.sender = STR("\xc3\xa4@us.example");
    refused("5.6.7", SMTP_FAULT_PERM, "MAIL");
    p.mail.sender = STR("a@us.example>\r\nRSET\r\n");
    refused("5.1.7", SMTP_FAULT_PERM, "MAIL");
    p.mail.sender = STR("a@us.example> BODY=8BITMIME");
    refused("5.1.7", SMTP_FAULT_PERM, "MAIL");
    p.mail.sender = STR("\"a\\\"@us.example");
    refused("5.1.7", SMTP_FAULT_PERM, "MAIL");
    p.mail.sender = STR("");
    p.mail.eight_bit = true;
    refused("5.6.3", SMTP_FAULT_PERM, "MAIL");
    p.mail.eight_bit = false;
    p.mail.requiretls = true; /* offered, but there is no TLS */
    refused("5.7.30", SMTP_FAULT_PERM, "MAIL");
    p.mail.requiretls = false;
    p.rcpts[0].address = STR("b\r\n@host.example");
    p.rcpts[1].address = STR("\xc3\xa4@host.example");
    refused("5.1.3", SMTP_FAULT_PERM, "RCPT");
    assert_fault(&p.rcpts[1].fault, SMTP_FAULT_PERM, 0, "5.6.7", "RCPT");
    play_close(&p);
}

static void closed_while_refusing(void **state)
{
    (void)state;
    play_open(&p, SCRIPT(GREETED, "HANG"));
    play_until(&p, &p.ready);
    p.mail.utf8 = true;
    play_send(&p, 1);
    smtp_client_close(&p.client);
    play_until(&p, &p.host_eof);
    assert_false(p.sent);
    play_close(&p);
}

/* ---- BDAT */

static void chunk(void **state)
{
    (void)state;
    p.offers = "PIPELINING\nCHUNKING";
    p.mail.eight_bit = true; /* CHUNKING will do */
    p.mail.text = STR("\xe4\r\n.\r\nx");
    play_message(&p,
                 SCRIPT(GREETED, "<MAIL FROM:<a@us.example>", "<RCPT*", "<RCPT*", ">250 ok",
                        ">550 no", ">250 ok", "<BDAT 9 LAST", "OCTETS 9", ">250 2.0.0 ok", "<MAIL*",
                        "<RCPT*", ">250 ok", ">550 no", "<RSET", "<MAIL*", "<RCPT*", ">250 ok",
                        ">250 ok", ">250 ok", "<BDAT 0 LAST", ">250 ok", QUIT),
                 2);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_PERM, 550, "5.1.1", "RCPT");
    assert_int_equal(p.rcpts[1].fault.kind, SMTP_FAULT_NONE);
    assert_true(str_eq(buf_str(&p.got), STR("\xe4\r\n.\r\nx\r\n")));
    play_send(&p, 1);
    play_until(&p, &p.sent);
    p.mail.text = STR("");
    play_send(&p, 1);
    play_until(&p, &p.sent);
    assert_int_equal(p.rcpts[0].fault.kind, SMTP_FAULT_NONE);
    play_close(&p);
}

enum { BIG = 300000 };

static void big(void **state)
{
    (void)state;
    struct buf text, want;
    static const char *const offers[] = {"PIPELINING", ""};
    buf_init(&text, 1 << 20);
    buf_init(&want, 1 << 20);
    p.mail.fd = play_file(BIG, &text);
    p.mail.fd_size = text.n;
    buf_add_z(&want, "Subject: x\r\n\r\nhello\r\n");
    buf_add_str(&want, buf_str(&text));
    for (int i = 0; i < 2; i++) {
        p.offers = offers[i];
        play_message(&p,
                     i ? SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", "<DATA",
                                ">354 go", "LINES", ">250 ok", QUIT)
                       : SCRIPT(GREETED, "<MAIL*", "<RCPT*", "<DATA", ">250 ok", ">250 ok",
                                ">354 go", "LINES", ">250 ok", QUIT),
                     1);
        assert_int_equal(p.rcpts[0].fault.kind, SMTP_FAULT_NONE);
        /* The stuffed dots off again. */
        struct str rest = buf_str(&p.got), line;
        size_t at = 0;
        while (rest.n) {
            str_cut(rest, '\n', &line, &rest);
            line = str_skip(line, line.p[0] == '.');
            assert_true(at + line.n < want.n && memcmp(want.p + at, line.p, line.n) == 0);
            at += line.n + 1;
        }
        assert_int_equal(at, want.n);
        play_close(&p);
    }
    close(p.mail.fd);
    buf_fini(&text);
    buf_fini(&want);
}

/* One chunk for what is in memory, then the file's pieces. */
#define CHUNK_1 "<BDAT 21", "OCTETS 21"
#define CHUNK_2 "<BDAT 65536", "OCTETS 65557"
#define CHUNK_3 "<BDAT 102 LAST", "OCTETS 65659"

static int file_of_x(size_t n)
{
    struct buf text;
    char *space;
    buf_init(&text, n);
    assert_int_equal(buf_reserve(&text, n, &space), 0);
    memset(space, 'x', n);
    buf_commit(&text, n);
    int fd = play_file(n, &text);
    buf_fini(&text);
    return fd;
}

static void big_in_chunks(void **state)
{
    (void)state;
    p.mail.fd = file_of_x(65536 + 100);
    p.mail.fd_size = 65536 + 100;
    p.offers = "PIPELINING\nCHUNKING";
    play_message(&p,
                 SCRIPT(GREETED, "<MAIL*", "<RCPT*", ">250 ok", ">250 ok", CHUNK_1, CHUNK_2,
                        CHUNK_3, ">250 ok", ">250 ok", ">250 2.0.0 whole", QUIT),
                 1);
    assert_int_equal(p.rcpts[0].fault.kind, SMTP_FAULT_NONE);
    assert_string_equal(p.mail.reply, "250 2.0.0 whole");
    assert_memory_equal(p.got.p + 65536 + 100 + 19, "xx\r\n", 4);
    play_close(&p);
    p.offers = "CHUNKING";
    p.lockstep = true;
    play_message(&p,
                 SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", CHUNK_1, ">250 ok",
                        CHUNK_2, ">250 ok", CHUNK_3, ">250 2.0.0 whole", QUIT),
                 1);
    assert_int_equal(p.rcpts[0].fault.kind, SMTP_FAULT_NONE);
    play_close(&p);
    close(p.mail.fd);
}

static void chunk_refused(void **state)
{
    (void)state;
    p.mail.fd = file_of_x(65536 + 100);
    p.mail.fd_size = 65536 + 100;
    p.offers = "CHUNKING";
    p.lockstep = true;
    play_message(&p,
                 SCRIPT(GREETED, "<MAIL*", ">250 ok", "<RCPT*", ">250 ok", CHUNK_1, ">250 ok",
                        CHUNK_2, ">452 4.3.1 full", "<RSET", ">250 ok", "<MAIL*", ">550 no", QUIT),
                 1);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_TEMP, 452, "4.3.1", "end");
    play_send(&p, 1);
    play_until(&p, &p.sent);
    play_close(&p);
    /* With the rest under way: each chunk has its reply, the first refusal counts. */
    p.offers = "PIPELINING\nCHUNKING";
    p.lockstep = false;
    play_message(&p,
                 SCRIPT(GREETED, "<MAIL*", "<RCPT*", ">250 ok", ">250 ok", CHUNK_1, CHUNK_2,
                        CHUNK_3, ">250 ok", ">552 5.3.4 too big", ">503 5.5.1 what", QUIT),
                 1);
    assert_fault(&p.rcpts[0].fault, SMTP_FAULT_PERM, 552, "5.3.4", "end");
    play_close(&p);
    close(p.mail.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(step_by_step, setup, teardown),
        cmocka_unit_test_setup_teardown(pipelined, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_step_by_step, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_without_a_word, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_while_refusing, setup, teardown),
        cmocka_unit_test_setup_teardown(chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(big, setup, teardown),
        cmocka_unit_test_setup_teardown(big_in_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(chunk_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
