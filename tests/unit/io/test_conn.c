/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "end.h"
#include <sys/ioctl.h>

static struct loop *loop;

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_replace(NULL);
    loop_free(&loop);
    return 0;
}

static void opens_later_and_echoes(void **state)
{
    (void)state;
    struct end e;
    char text[64];
    end_open(&e, loop, NULL);
    assert_seen(&e, ""); /* never from within a call */
    spin(loop);
    assert_seen(&e, "O");
    end_sends(&e, "hello");
    assert_seen(&e, "I");
    assert_got(&e, "hello");
    assert_int_equal(conn_write_str(e.conn, STR("a")), CONN_ROOM);
    conn_write_str(e.conn, STR("b"));
    assert_int_equal(conn_queued(e.conn), 2);
    assert_string_equal(end_recv(&e, text, sizeof(text)), ""); /* at the end of the turn */
    loop_turn(loop, false);
    assert_string_equal(end_recv(&e, text, sizeof(text)), "ab");
    assert_int_equal(conn_queued(e.conn), 0);
    end_free(&e);
}

static void keeps_what_is_not_consumed(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, NULL);
    e.lines = true;
    end_sends(&e, "one\ntw");
    assert_got(&e, "one\n");
    assert_int_equal(conn_input(e.conn).n, 2);
    end_sends(&e, "o");
    assert_got(&e, "");
    end_sends(&e, "\nthree\n");
    assert_got(&e, "two\nthree\n");
    assert_seen(&e, "OIII");
    assert_int_equal(conn_input(e.conn).n, 0);
    end_free(&e);
}

static void trickles(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, NULL);
    e.lines = true;
    for (const char *p = "MAIL FROM:<a@b>\r\nQUIT\r\n"; *p; p++) {
        end_send(&e, p, 1);
        spin(loop);
    }
    assert_got(&e, "MAIL FROM:<a@b>\r\nQUIT\r\n");
    end_free(&e);
}

/* A held part larger than the room before the read buffer, then small ones: the bytes stay in
 * order. */
static void holds_much(void **state)
{
    (void)state;
    struct end e;
    char block[40000], expected[80001];
    end_open(&e, loop, NULL);
    conn_set_max_input(e.conn, 200000);
    for (size_t i = 0; i < sizeof(expected) - 1; i++)
        expected[i] = (char)('a' + i % 23);
    expected[80000] = '\0';
    e.lines = true; /* no line end yet */
    for (size_t at = 0; at < 80000; at += 40000) {
        memcpy(block, expected + at, 40000);
        end_send(&e, block, 40000);
        spin(loop);
    }
    assert_int_equal(conn_input(e.conn).n, 80000);
    end_sends(&e, "\nrest");
    assert_int_equal(e.got.n, 80001);
    assert_memory_equal(e.got.p, expected, 80000);
    struct str rest = conn_input(e.conn);
    assert_true(str_eq(rest, STR("rest")));
    end_free(&e);
}

static void stops_reading_at_max_input(void **state)
{
    (void)state;
    struct end e;
    char block[3000];
    memset(block, 'x', sizeof(block));
    end_open(&e, loop, NULL);
    e.keep = true;
    conn_set_max_input(e.conn, 1000);
    end_send(&e, block, sizeof(block));
    spin(loop);
    assert_int_equal(conn_input(e.conn).n, 1000);
    int left = 0;
    ioctl(e.fd, TIOCOUTQ, &left); /* the rest waits in the kernel */
    assert_true(left > 0);
    assert_seen(&e, "OI");
    conn_consume(e.conn, 600);
    spin(loop);
    assert_int_equal(conn_input(e.conn).n, 1000);
    assert_seen(&e, "I");
    conn_consume(e.conn, 1000);
    spin(loop);
    conn_consume(e.conn, 1000);
    spin(loop);
    assert_int_equal(conn_input(e.conn).n, 400);
    end_free(&e);
}

static void pauses_and_resumes(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, NULL);
    spin(loop);
    conn_pause(e.conn);
    assert_true(conn_paused(e.conn));
    end_sends(&e, "a");
    end_sends(&e, "b");
    assert_seen(&e, "O");
    int waiting = 0;
    ioctl(e.fd, TIOCOUTQ, &waiting);
    assert_true(waiting > 0); /* unread: the peer's window fills */
    conn_resume(e.conn);
    assert_got(&e, "");
    spin(loop);
    assert_got(&e, "ab");
    conn_resume(e.conn); /* not paused: nothing */
    spin(loop);
    assert_seen(&e, "I");
    end_free(&e);
}

static void pause_after_first_line(struct end *e, enum conn_event ev)
{
    if (ev != CONN_INPUT)
        return;
    struct str line, rest;
    if (!str_cut(conn_input(e->conn), '\n', &line, &rest))
        return;
    buf_add(&e->got, line.p, line.n + 1);
    conn_consume(e->conn, line.n + 1);
    conn_pause(e->conn);
}

static void pausing_in_the_handler_holds_the_rest(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, NULL);
    e.hook = pause_after_first_line;
    e.keep = true;
    end_sends(&e, "one\ntwo\nthree\n");
    close(e.fd);
    e.fd = -1;
    spin(loop);
    assert_got(&e, "one\n");
    assert_seen(&e, "OI");
    conn_resume(e.conn);
    spin(loop);
    assert_got(&e, "two\n");
    conn_resume(e.conn);
    spin(loop);
    assert_got(&e, "three\n");
    assert_seen(&e, "II"); /* EOF waits too */
    conn_resume(e.conn);
    spin(loop);
    assert_seen(&e, "E");
    end_free(&e);
}

static void eof_leaves_writing(void **state)
{
    (void)state;
    struct end e;
    char text[64];
    end_open(&e, loop, NULL);
    e.lines = true;
    end_send(&e, "a\nhalf", 6);
    shutdown(e.fd, SHUT_WR);
    spin(loop);
    assert_seen(&e, "OIE"); /* data first, then the end, once */
    assert_true(str_eq(conn_input(e.conn), STR("half")));
    conn_write_str(e.conn, STR("bye"));
    spin(loop);
    assert_string_equal(end_recv(&e, text, sizeof(text)), "bye");
    assert_seen(&e, "");
    end_free(&e);
}

static void on_fire(void *ctx)
{
    *(bool *)ctx = true;
}

/* A paused connection with bytes in the kernel, and one whose peer has ended, don't keep the loop
 * turning. */
static void waiting_connections_cost_nothing(void **state)
{
    (void)state;
    struct end paused, ended;
    bool fired = false;
    end_open(&paused, loop, NULL);
    end_open(&ended, loop, NULL);
    spin(loop);
    conn_pause(paused.conn);
    end_send(&paused, "x", 1);
    shutdown(ended.fd, SHUT_WR);
    spin(loop);
    struct timer *t = timer_new(loop, on_fire, &fired);
    timer_start(t, 20);
    int turns = 0;
    for (; !fired; turns++)
        loop_turn(loop, true);
    assert_true(turns < 6);
    timer_free(&t);
    end_free(&paused);
    end_free(&ended);
}

static void write_after_the_peer_is_gone(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, NULL);
    spin(loop);
    close(e.fd);
    e.fd = -1;
    spin(loop);
    assert_seen(&e, "OE");
    conn_write_str(e.conn, STR("x"));
    assert_seen(&e, "");
    spin(loop);
    assert_seen(&e, "C");
    assert_int_equal(conn_error(e.conn)->kind, ERR_TEMP);
    /* Afterwards all is a no-op. */
    assert_int_equal(conn_write_str(e.conn, STR("y")), CONN_ROOM);
    assert_int_equal(conn_queued(e.conn), 0);
    conn_pause(e.conn);
    conn_resume(e.conn);
    conn_set_timeout(e.conn, 1);
    spin(loop);
    assert_seen(&e, "");
    conn_close_flushed(&e.conn, 1000);
    assert_null(e.conn);
    end_free(&e);
}

static void close_in_every_event(struct end *e, enum conn_event ev)
{
    if ((int)ev != e->hooked)
        return;
    conn_close(&e->conn);
}

static void closing_inside_the_handler(void **state)
{
    (void)state;
    static const struct {
        enum conn_event ev;
        const char *seen;
    } cases[] = {{CONN_OPEN, "O"}, {CONN_INPUT, "OI"}, {CONN_EOF, "OIE"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct end e;
        end_open(&e, loop, NULL);
        e.hook = close_in_every_event;
        e.hooked = (int)cases[i].ev;
        end_send(&e, "data", 4);
        shutdown(e.fd, SHUT_WR);
        spin(loop);
        assert_null(e.conn);
        assert_seen(&e, cases[i].seen);
        char text[8];
        ssize_t n = recv(e.fd, text, sizeof(text), 0);
        assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
        end_free(&e);
    }
}

static void a_reference_outlives_the_close(void **state)
{
    (void)state;
    struct end e;
    end_open(&e, loop, NULL);
    spin(loop);
    struct conn *mine = conn_ref(e.conn);
    conn_close(&e.conn);
    spin(loop);
    conn_write_str(mine, STR("lost"));
    conn_resume(mine);
    assert_int_equal(conn_error(mine)->kind, ERR_NONE);
    assert_true(conn_peer(mine)->local);
    assert_int_equal(conn_peer(mine)->uid, getuid());
    spin(loop);
    conn_unref(&mine);
    assert_null(mine);
    end_free(&e);
}

static void output_over_the_high_mark(void **state)
{
    (void)state;
    struct end e;
    static char block[30000], in[1 << 20];
    end_open(&e, loop, NULL);
    spin(loop);
    e.seen[0] = '\0';
    memset(block, 'o', sizeof(block));
    size_t written = 0, read_n = 0;
    enum conn_room room = CONN_ROOM;
    while (room == CONN_ROOM) { /* fills the socket, then the queue */
        room = conn_write(e.conn, block, sizeof(block));
        written += sizeof(block);
        spin(loop);
        assert_true(written < (size_t)64 << 20);
    }
    assert_seen(&e, ""); /* the socket is full: not drained */
    assert_true(conn_queued(e.conn) >= 64 * 1024);
    /* Input still works meanwhile. */
    end_sends(&e, "x");
    assert_got(&e, "x");
    assert_seen(&e, "I");
    while (read_n < written) {
        ssize_t n = recv(e.fd, in, sizeof(in), 0);
        if (n > 0)
            read_n += (size_t)n;
        spin(loop);
    }
    assert_seen(&e, "D");
    assert_int_equal(read_n, written);
    assert_int_equal(conn_queued(e.conn), 0);
    end_free(&e);
}

static void too_much_output_breaks(void **state)
{
    (void)state;
    struct end e;
    char *block = mem_alloc(1 << 20);
    end_open(&e, loop, NULL);
    spin(loop);
    for (int i = 0; i < 70; i++)
        conn_write(e.conn, block, 1 << 20);
    spin(loop);
    assert_seen(&e, "OC");
    mem_free(block);
    end_free(&e);
}

static uint64_t fake_ms;
static uint64_t fake_mono(void)
{
    return fake_ms;
}

static void times_out(void **state)
{
    (void)state;
    static const struct clock_source fake = {.mono_ms = fake_mono};
    fake_ms = 1000;
    clock_replace(&fake);
    struct end e;
    end_open(&e, loop, NULL);
    conn_set_timeout(e.conn, 300);
    spin(loop);
    assert_seen(&e, "O");
    fake_ms += 299;
    end_sends(&e, "x");
    assert_seen(&e, "I");
    fake_ms += 299; /* counted from the byte */
    spin(loop);
    assert_seen(&e, "");
    fake_ms += 1;
    spin(loop);
    assert_seen(&e, "t");
    fake_ms += 299;
    spin(loop);
    assert_seen(&e, "");
    fake_ms += 1; /* again after the same time */
    spin(loop);
    assert_seen(&e, "t");
    conn_set_timeout(e.conn, 0);
    fake_ms += 100000;
    spin(loop);
    assert_seen(&e, "");
    conn_set_timeout(e.conn, 100000);
    conn_set_timeout(e.conn, 10); /* shorter than what is armed */
    fake_ms += 10;
    e.hook = close_in_every_event;
    e.hooked = CONN_TIMEOUT;
    spin(loop);
    assert_seen(&e, "t");
    assert_null(e.conn);
    end_free(&e);
}

static void flushed_close_sends_all(void **state)
{
    (void)state;
    struct end e;
    char text[64];
    end_open(&e, loop, NULL);
    spin(loop);
    conn_write_str(e.conn, STR("221 bye"));
    conn_close_flushed(&e.conn, 1000);
    assert_null(e.conn);
    end_sends(&e, "more that nobody reads");
    assert_string_equal(end_recv(&e, text, sizeof(text)), "221 bye");
    assert_int_equal(recv(e.fd, text, sizeof(text), 0), 0); /* FIN, not reset */
    assert_seen(&e, "O");
    end_free(&e);
    spin(loop);
}

static void flushed_close_gives_up(void **state)
{
    (void)state;
    static const struct clock_source fake = {.mono_ms = fake_mono};
    static char block[1 << 20];
    clock_replace(&fake);
    struct end e;
    end_open(&e, loop, NULL);
    spin(loop);
    for (int i = 0; i < 8; i++)
        conn_write(e.conn, block, sizeof(block));
    conn_close_flushed(&e.conn, 500);
    spin(loop);
    assert_int_equal(send(e.fd, "x", 1, MSG_NOSIGNAL), 1); /* still there */
    fake_ms += 500;
    spin(loop);
    assert_int_equal(send(e.fd, "x", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    end_free(&e);
}

static void lingering_ends_with_the_loop(void **state)
{
    (void)state;
    struct end e;
    static char block[1 << 20];
    end_open(&e, loop, NULL);
    conn_write(e.conn, block, sizeof(block));
    conn_close_flushed(&e.conn, 100000);
    spin(loop);
    loop_free(&loop); /* ASan: no leak */
    loop = loop_new();
    end_free(&e);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(opens_later_and_echoes),
        T(keeps_what_is_not_consumed),
        T(trickles),
        T(holds_much),
        T(stops_reading_at_max_input),
        T(pauses_and_resumes),
        T(pausing_in_the_handler_holds_the_rest),
        T(eof_leaves_writing),
        T(waiting_connections_cost_nothing),
        T(write_after_the_peer_is_gone),
        T(closing_inside_the_handler),
        T(a_reference_outlives_the_close),
        T(output_over_the_high_mark),
        T(too_much_output_breaks),
        T(times_out),
        T(flushed_close_sends_all),
        T(flushed_close_gives_up),
        T(lingering_ends_with_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
