/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Sessions in time: timeouts, delays, slow readers, clients that go at any moment, the server's
 * stop. */
#include "appliance/directory/private.h"
#include "appliance/store/store_private.h"
#include "tests/unit/disk_world.h"
#include "world.h"

enum { MINUTE = 60 * 1000 };

static void login_takes_too_long(void **state)
{
    struct world *w = *state;
    struct client c;
    client_connect(&c, w);
    client_want(&c, "* OK");
    world_skew_ms += MINUTE / 2;
    client_say(&c, "a NOOP\r\n"); /* a byte now and then doesn't help */
    client_want(&c, "a OK");
    world_skew_ms += MINUTE / 2;
    client_want(&c, "* BYE");
    client_want_end(&c);
    client_close(&c);
}

/* Hours, so that no real time that passes meanwhile counts. */
static const struct imap_session *slow_logins(struct world *w, struct client *c)
{
    w->imap.login_delay = 60 * MINUTE;
    w->imap.login_timeout = w->imap.idle_timeout = 100 * 60 * MINUTE;
    client_connect(c, w);
    client_want(c, "* OK");
    return LIST_ITEM(w->server->sessions.next, struct imap_session, link);
}

static void wrong_passwords_take_longer_each_time(void **state)
{
    struct world *w = *state;
    struct client c;
    const struct imap_session *session = slow_logins(w, &c);
    for (uint64_t delay = 60 * MINUTE, i = 0; i < 5; i++, delay *= 2) {
        client_say(&c, "a LOGIN u@example.com wrong\r\n");
        while (session->failed_logins == i) /* until the directory has answered */
            world_turn(w);
        world_skew_ms += delay - 30 * MINUTE;
        client_want_silence(&c);
        world_skew_ms += 30 * MINUTE;
        client_want(&c, "a NO [AUTHENTICATIONFAILED]");
    }
    client_want(&c, "* BYE");
    client_want_end(&c);
    client_close(&c);
}

/* Added to what the check took, the delay would show that. */
static void the_delay_counts_from_the_attempt(void **state)
{
    struct world *w = *state;
    struct client c;
    w->directory->refusal_ms = 20 * MINUTE;
    const struct imap_session *session = slow_logins(w, &c);
    client_say(&c, "a LOGIN u@example.com wrong\r\n");
    while (list_empty(&w->directory->held))
        world_turn(w);
    world_skew_ms += 20 * MINUTE;
    while (session->failed_logins == 0)
        world_turn(w);
    world_skew_ms += 30 * MINUTE;
    client_want_silence(&c);
    world_skew_ms += 10 * MINUTE;
    client_want(&c, "a NO [AUTHENTICATIONFAILED]");
    client_close(&c);
}

static void a_silent_session_ends(void **state)
{
    struct world *w = *state;
    struct client c;
    client_login(&c, w);
    world_skew_ms += 20 * MINUTE;
    client_want_silence(&c);
    client_say(&c, "a NOOP\r\n");
    client_want(&c, "a OK");
    world_skew_ms += 29 * MINUTE;
    client_want_silence(&c);
    world_skew_ms += MINUTE;
    client_want(&c, "* BYE");
    client_want_end(&c);
    client_close(&c);
}

/* One octet now and then keeps idle_timeout off; a command and a message have their own limits. */
static void what_trickles_in_ends(void **state)
{
    struct world *w = *state;
    struct client c;
    client_login(&c, w);
    client_say(&c, "a NO");
    client_want_silence(&c);
    world_skew_ms += 4 * MINUTE;
    client_say(&c, "O");
    client_want_silence(&c);
    world_skew_ms += MINUTE;
    client_want(&c, "* BYE This command");
    client_want_end(&c);
    client_close(&c);

    client_login(&c, w);
    client_say(&c, "a SELECT {5}\r\n");
    client_want(&c, "+ OK");
    client_say(&c, "INB");
    world_skew_ms += 5 * MINUTE;
    client_want(&c, "* BYE This command");
    client_want_end(&c);
    client_close(&c);
}

static void a_message_that_trickles_in_ends(void **state)
{
    struct world *w = *state;
    struct client c;
    client_login(&c, w);
    client_say(&c, "a APPEND INBOX {100}\r\n");
    client_want(&c, "+ OK");
    for (int i = 0; i < 3; i++) {
        client_say(&c, "x");
        client_want_silence(&c);
        world_skew_ms += 20 * MINUTE;
    }
    client_want(&c, "* BYE This message");
    client_want_end(&c);
    client_close(&c);
}

/* The time of a command ends with its last octet, that of a message with the message. */
static void what_comes_in_time_stays(void **state)
{
    struct world *w = *state;
    struct client c;
    client_login(&c, w);
    client_say(&c, "a NO");
    client_want_silence(&c);
    world_skew_ms += 4 * MINUTE;
    client_say(&c, "OP\r\n");
    client_want(&c, "a OK");
    client_say(&c, "b APPEND INBOX {10}\r\n");
    client_want(&c, "+ OK");
    client_say(&c, "A: b\r\n\r\n");
    client_want_silence(&c);
    world_skew_ms += 6 * MINUTE;
    client_say(&c, "xy\r\nc IDLE\r\n");
    client_until(&c, "b OK");
    client_want(&c, "+ idling");
    world_skew_ms += 10 * MINUTE;
    client_want(&c, "* OK Still here");
    client_say(&c, "DONE\r\n");
    client_until(&c, "c OK");
    client_close(&c);
}

/* Space runs short while the message comes: NO at its end, and the session goes on. */
static void space_runs_short_within_append(void **state)
{
    struct world *w = *state;
    struct client c;
    char kb[1024];
    memset(kb, 'x', sizeof kb);
    w->store_conf.min_free = 64 << 20;
    w->store->disk = disk_world_of(w->dir, 66 << 20);
    w->store->space_known = false;
    client_login(&c, w);
    client_say(&c, "a APPEND INBOX {3000000}\r\n");
    client_want(&c, "a NO [UNAVAILABLE]");
    client_say(&c, "b APPEND INBOX {1024008}\r\n");
    client_want(&c, "+ OK");
    client_say(&c, "A: b\r\n\r\n");
    for (int i = 0; i < 500; i++)
        client_send(&c, str_of(kb, sizeof kb));
    while (disk_world_free() > (66 << 20) - 400000)
        world_turn(w);
    disk_world.size -= 2 << 20;
    w->store->space_known = false;
    for (int i = 0; i < 500; i++)
        client_send(&c, str_of(kb, sizeof kb));
    client_say(&c, "\r\nc NOOP\r\n");
    client_want(&c, "b NO [UNAVAILABLE]");
    client_want(&c, "c OK");
    client_close(&c);
}

static void idle_is_kept_alive_and_ends(void **state)
{
    struct world *w = *state;
    struct client c;
    client_login(&c, w);
    client_say(&c, "a SELECT INBOX\r\nb IDLE\r\n");
    client_until(&c, "+ idling");
    for (int i = 0; i < 7; i++) {
        world_skew_ms += 4 * MINUTE;
        client_want(&c, "* OK Still here");
    }
    client_say(&c, "DONE\r\nc IDLE\r\n");
    client_want(&c, "b OK");
    client_want(&c, "+ idling");
    for (int i = 0; i < 7; i++) {
        world_skew_ms += 4 * MINUTE;
        client_want(&c, "* OK Still here");
    }
    world_skew_ms += 4 * MINUTE;
    client_want(&c, "* BYE");
    client_want_end(&c);
    client_close(&c);
}

static void the_directory_sets_the_quota(void **state)
{
    struct world *w = *state;
    struct client c;
    client_connect(&c, w);
    client_say(&c, "a LOGIN q@example.com pass\r\nb GETQUOTA \"\"\r\nc APPEND INBOX {2000000}\r\n");
    client_until(&c, "a OK");
    client_want(&c, "* QUOTA \"\" (STORAGE 0 1024");
    client_want(&c, "b OK");
    client_want(&c, "c NO [OVERQUOTA]");
    client_close(&c);
}

/* n messages of `size` bytes into INBOX, by the client. */
static void fill(struct client *c, int n, size_t size)
{
    struct buf b;
    buf_init(&b, size + 100);
    buf_printf(&b, "x APPEND INBOX {%zu+}\r\nA: b\r\n\r\n", size);
    for (size_t i = 8; i < size; i++)
        buf_add_char(&b, i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x');
    buf_add_z(&b, "\r\n");
    for (int i = 0; i < n; i++) {
        client_send(c, buf_str(&b));
        client_until(c, "x OK");
    }
    buf_fini(&b);
}

static uint64_t jobs_done(struct world *w)
{
    struct lane_stats st;
    lane_stats(store_lane(w->store), &st);
    return st.jobs;
}

/* Turns until no job is run any more; fails when that never happens. */
static void settle(struct world *w)
{
    uint64_t jobs = UINT64_MAX;
    for (int i = 0; i < 1000 && jobs != jobs_done(w); i++) {
        jobs = jobs_done(w);
        for (int k = 0; k < 10; k++)
            world_turn(w);
    }
    assert_int_equal(jobs, jobs_done(w));
}

static void a_reader_that_does_not_read_holds_nothing(void **state)
{
    struct world *w = *state;
    struct client slow, quick;
    enum { N = 60, SIZE = 100000 };
    client_login(&slow, w);
    fill(&slow, N, SIZE);
    client_say(&slow, "a SELECT INBOX\r\n");
    client_until(&slow, "a OK");
    client_say(&slow, "b FETCH 1:* BODY.PEEK[]\r\nc NOOP\r\n");
    settle(w);
    client_login(&quick, w); /* the lane is free */
    client_say(&quick, "a SELECT INBOX\r\n");
    client_until(&quick, "a OK [READ-WRITE]");
    client_until(&slow, "b OK");
    client_want(&slow, "c OK");
    client_close(&slow);
    client_close(&quick);
}

static void a_reader_that_never_reads_is_ended(void **state)
{
    struct world *w = *state;
    struct client c;
    client_login(&c, w);
    fill(&c, 20, 100000);
    client_say(&c, "a SELECT INBOX\r\nb FETCH 1:* BODY.PEEK[]\r\n");
    settle(w);
    world_skew_ms += 31 * MINUTE;
    while (imap_server_sessions(w->server)) {
        world_skew_ms += 1000; /* the last words linger */
        world_turn(w);
    }
    client_close(&c);
}

static void stop_tells_all_and_lets_commands_end(void **state)
{
    struct world *w = *state;
    struct client idle, at_rest, busy, stuck;
    client_login(&busy, w);
    fill(&busy, 40, 100000);
    client_say(&busy, "a SELECT INBOX\r\n");
    client_until(&busy, "a OK");
    client_login(&stuck, w);
    client_say(&stuck, "a SELECT INBOX\r\n");
    client_until(&stuck, "a OK");
    client_say(&stuck, "b FETCH 1:* BODY.PEEK[]\r\n");
    settle(w);
    client_login(&idle, w);
    client_say(&idle, "a IDLE\r\n");
    client_until(&idle, "+ idling");
    client_login(&at_rest, w);
    client_say(&busy, "b FETCH 1:* BODY.PEEK[]\r\nc NOOP\r\n");
    settle(w);
    imap_server_stop(w->server, 10 * MINUTE, world_on_stopped, w);
    client_want(&idle, "* BYE");
    client_want_end(&idle);
    client_want(&at_rest, "* BYE");
    client_want_end(&at_rest);
    client_until(&busy, "b OK");
    client_want(&busy, "* BYE");
    client_want_end(&busy);
    assert_false(w->stopped);
    world_skew_ms += 10 * MINUTE;
    WORLD_UNTIL(w, w->stopped);
    client_close(&idle);
    client_close(&at_rest);
    client_close(&busy);
    client_close(&stuck);
}

/* Changes fill the pipe to a client within IDLE; its DONE is read once it reads again. */
static void an_idle_client_that_does_not_read(void **state)
{
    struct world *w = *state;
    struct client idle, busy;
    client_login(&idle, w);
    client_login(&busy, w);
    fill(&busy, 300, 10);
    client_say(&idle, "a SELECT INBOX\r\n");
    client_until(&idle, "a OK");
    client_say(&busy, "a SELECT INBOX\r\n");
    client_until(&busy, "a OK");
    client_say(&idle, "b IDLE\r\n");
    client_until(&idle, "+ idling");
    for (int i = 0; i < 60; i++) {
        client_say(&busy,
                   i % 2 ? "b STORE 1:* FLAGS.SILENT (\\Seen)\r\n"
                         : "b STORE 1:* FLAGS.SILENT (\\Flagged \\Answered \\Draft \\Deleted)\r\n");
        client_until(&busy, "b OK");
        world_turn(w);
    }
    settle(w);
    assert_true(LIST_ITEM(w->server->sessions.next, struct imap_session, link)->full);
    client_say(&idle, "DONE\r\nc NOOP\r\n");
    for (int i = 0; i < 20; i++)
        world_turn(w);
    client_until(&idle, "b OK");
    client_until(&idle, "c OK");
    client_close(&idle);
    client_close(&busy);
}

/* Whatever is under way when a client goes, its session is given back; a sanitizer sees what is
 * not. */
static void clients_go_at_any_moment(void **state)
{
    static const char script[] = "l LOGIN u@example.com pass\r\na SELECT INBOX\r\nb APPEND INBOX "
                                 "(\\Seen) {12+}\r\nA: b\r\n\r\nbody"
                                 "\r\nc FETCH 1:* (FLAGS BODY[])\r\nd STORE 1:* +FLAGS (\\Deleted "
                                 "$K)\r\ne SEARCH TEXT body\r\n"
                                 "f IDLE\r\nDONE\r\ng APPEND INBOX {12}\r\nA: b\r\n\r\nbody\r\nh "
                                 "COPY 1:* Trash\r\ni EXPUNGE\r\n"
                                 "j CREATE x\r\nk DELETE x\r\nm CLOSE\r\nn LOGIN\r\no LOGOUT\r\n";
    struct world *w = *state;
    unsigned seed = 42;
    for (size_t at = 0; at < sizeof script; at += 3) {
        struct client c;
        client_connect(&c, w);
        client_send(&c, str_of(script, at));
        for (int turns = rand_r(&seed) % 12; turns > 0; turns--)
            loop_turn(w->loop, false);
        if (at % 2)
            shutdown(c.fd, SHUT_WR);
        if (at % 4 == 1)
            world_turn(w);
        client_close(&c);
    }
    WORLD_UNTIL(w, imap_server_sessions(w->server) == 0);
}

static void every_order_of_replies_survives_the_stop(void **state)
{
    struct world *w = *state;
    struct client c[20];
    for (int i = 0; i < 20; i++) {
        client_connect(&c[i], w);
        client_say(&c[i], "l LOGIN u@example.com pass\r\na SELECT INBOX\r\nb APPEND INBOX "
                          "{12+}\r\nA: b\r\n\r\nbody\r\nc IDLE\r\n");
        for (int turns = 0; turns < i; turns++)
            loop_turn(w->loop, false);
    }
    imap_server_stop(w->server, 0, world_on_stopped, w);
    while (!w->stopped)
        world_turn(w);
    for (int i = 0; i < 20; i++)
        client_close(&c[i]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(login_takes_too_long),
        TEST(wrong_passwords_take_longer_each_time),
        TEST(the_delay_counts_from_the_attempt),
        TEST(a_silent_session_ends),
        TEST(space_runs_short_within_append),
        TEST(what_trickles_in_ends),
        TEST(a_message_that_trickles_in_ends),
        TEST(what_comes_in_time_stays),
        TEST(idle_is_kept_alive_and_ends),
        TEST(the_directory_sets_the_quota),
        TEST(a_reader_that_does_not_read_holds_nothing),
        TEST(a_reader_that_never_reads_is_ended),
        TEST(an_idle_client_that_does_not_read),
        TEST(stop_tells_all_and_lets_commands_end),
        TEST(clients_go_at_any_moment),
        TEST(every_order_of_replies_survives_the_stop),
    };
    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
