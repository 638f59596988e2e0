/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* log, err, clock, rand. */
#include "appliance/base/clock.h"
#include "appliance/base/err.h"
#include "appliance/base/log.h"
#include "appliance/base/rand.h"
#include "appliance/base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t wall_now;
static uint64_t mono_now;

static int64_t fake_wall(void)
{
    return wall_now;
}

static uint64_t fake_mono(void)
{
    return mono_now;
}

static const struct clock_source fake = {fake_mono, fake_wall};
static int pipe_fds[2];

static int set_up(void **state)
{
    (void)state;
    clock_replace(&fake);
    wall_now = 1709210096007; /* a leap day */
    if (pipe(pipe_fds))
        return -1;
    log_set_fd(pipe_fds[1]);
    return fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
}

static int tear_down(void **state)
{
    (void)state;
    clock_replace(NULL);
    log_set_fd(2);
    log_set_level(LOG_LEVEL_INFO);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

/* What was logged since the last call. */
static const char *logged(void)
{
    static char text[8192];
    ssize_t n = read(pipe_fds[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static const struct log_ctx ctx = {"smtp", 12, 0}, both_ids = {"smtp", 12, UINT64_MAX};
static const struct log_ctx modules[] = {{"imap", 0, 0}, {"im", 0, 0}, {"store", 0, 0}};

static void json_lines(void **state)
{
    (void)state;
    log_set_json(true);
    log_info(&both_ids, "accepted", L_Z("from", "a \"b\" \\\n\x01"), L_INT("size", -5),
             L_STR("to", str_of("\xff", 1)), L_Z("name", "\xc3\xa9"), L_ID("body", INT64_MAX));
    assert_string_equal(
        logged(), "{\"ts\":\"2024-02-29T12:34:56.007Z\",\"level\":\"info\",\"module\":\"smtp\","
                  "\"event\":\"accepted\",\"sid\":\"12\",\"mid\":\"18446744073709551615\","
                  "\"from\":\"a \\\"b\\\" \\\\\\u000a\\u0001\",\"size\":-5,\"to\":\"\\ufffd\","
                  "\"name\":\"\xc3\xa9\",\"body\":\"9223372036854775807\"}\n");
    log_info(NULL, "nothing");
    log_set_json(false);
    assert_string_equal(logged(),
                        "{\"ts\":\"2024-02-29T12:34:56.007Z\",\"level\":\"info\",\"module\":"
                        "\"-\",\"event\":\"nothing\"}\n");
}

static void json_line_is_cut_whole(void **state)
{
    char long_text[250];
    const char *text;
    (void)state;
    memset(long_text, 1, sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    log_set_json(true);
    log_info(&ctx, "long", L_Z("a", long_text), L_Z("b", long_text), L_Z("c", long_text),
             L_Z("d", long_text), L_Z("e", long_text));
    log_set_json(false);
    text = logged();
    assert_non_null(strstr(text, "\",\"more\":\"cut\"}\n"));
    assert_true(strlen(text) <= 4096);
}

static void journal_lines(void **state)
{
    (void)state;
    log_set_journal(true);
    log_error(&ctx, "a");
    log_warn(&ctx, "b");
    log_info(&ctx, "c", L_INT("n", 1));
    log_set_journal(false);
    assert_string_equal(logged(),
                        "<3>level=error module=smtp event=a sid=12\n<4>level=warn module=smtp "
                        "event=b sid=12\n<6>level=info module=smtp event=c sid=12 n=1\n");
}

static void debug_of_some_modules(void **state)
{
    (void)state;
    log_set_debug(STR("imap, smtp"));
    log_debug(&ctx, "one");
    log_debug(&modules[0], "two");
    log_debug(&modules[1], "no");
    log_debug(&modules[2], "no");
    log_debug(NULL, "no");
    log_set_debug(STR_NULL);
    log_debug(&ctx, "no");
    assert_string_equal(logged(),
                        "ts=2024-02-29T12:34:56.007Z level=debug module=smtp event=one sid=12\n"
                        "ts=2024-02-29T12:34:56.007Z level=debug module=imap event=two\n");
}

static void one_line_one_fact(void **state)
{
    (void)state;
    log_info(&ctx, "accepted", L_Z("from", "a@example.com"), L_UINT("size", UINT64_MAX),
             L_INT("left", INT64_MIN));
    assert_string_equal(logged(),
                        "ts=2024-02-29T12:34:56.007Z level=info module=smtp event=accepted sid=12 "
                        "from=a@example.com size=18446744073709551615 "
                        "left=-9223372036854775808\n");
    struct log_ctx both = {"store", 1, 2};
    log_error(&both, "disk");
    assert_string_equal(
        logged(), "ts=2024-02-29T12:34:56.007Z level=error module=store event=disk sid=1 mid=2\n");
    log_warn(NULL, "odd");
    assert_string_equal(logged(), "ts=2024-02-29T12:34:56.007Z level=warn module=- event=odd\n");
}

static void levels(void **state)
{
    (void)state;
    log_debug(&ctx, "detail");
    assert_string_equal(logged(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug(&ctx, "detail");
    assert_string_not_equal(logged(), "");
    log_set_level(LOG_LEVEL_ERROR);
    log_warn(&ctx, "degraded");
    assert_string_equal(logged(), "");
    log_set_fd(-1);
    log_error(&ctx, "nowhere");
    assert_string_equal(logged(), "");
}

static void check_value(struct str value, const char *want)
{
    log_info(&ctx, "x", L_STR("v", value));
    const char *line = logged(), *at = strstr(line, " v=");
    assert_non_null(at);
    size_t n = strlen(want);
    assert_memory_equal(at + 3, want, n);
    assert_string_equal(at + 3 + n, "\n");
}

static void client_text_is_quoted(void **state)
{
    (void)state;
    check_value(STR_NULL, "\"\"");
    check_value(STR("two words"), "\"two words\"");
    check_value(STR("a=b"), "\"a=b\"");
    check_value(STR("\"\\"), "\"\\\"\\\\\"");
    check_value(STR("a\r\n2024 error fake\tx\x1b[31m\x7f"),
                "\"a\\r\\n2024 error fake\\tx\\x1b[31m\\x7f\"");
    check_value(STR("a\0b"), "\"a\\x00b\"");
    check_value(STR("Gr\xc3\xbc\xc3\x9f\x65"), "\"Gr\xc3\xbc\xc3\x9f\x65\"");
    check_value(STR("\xff\xc3\xbc"), "\"\\xff\\xc3\\xbc\"");
    check_value(STR("\xc2\x9b\x33"), "\"\\xc2\\x9b3\""); /* CSI as a C1 control character */
    check_value(STR("\n\xe2\x80\xae"
                    "a"),
                "\"\\n\\xe2\\x80\\xaea\""); /* turns what is read around */
    check_value(STR("\n\xc3\xbc"), "\"\\n\xc3\xbc\"");
}

static void client_text_is_capped(void **state)
{
    (void)state;
    char text[300], want[300];
    memset(text, 'x', sizeof text);
    check_value(str_of(text, 200), memset(want, 'x', 200) ? (want[200] = '\0', want) : NULL);
    memcpy(want, "\"", 1);
    memset(want + 1, 'x', 200);
    memcpy(want + 201, "...\"", 5);
    check_value(str_of(text, 201), want);
    memcpy(text + 199, "\xc3\xbc", 2); /* would be cut in the middle */
    memcpy(want + 200, "...\"", 5);
    check_value(str_of(text, 300), want);
}

static void a_line_has_an_end(void **state)
{
    (void)state;
    static char bad[200];
    memset(bad, 1, sizeof bad);
    struct str s = str_of(bad, sizeof bad);
    log_info(&ctx, "x", L_STR("a", s), L_STR("b", s), L_STR("c", s), L_STR("d", s), L_STR("e", s),
             L_STR("f", s));
    const char *line = logged();
    size_t n = strlen(line);
    assert_true(n < 4096);
    assert_non_null(strstr(line, " d="));
    assert_null(strstr(line, " f="));
    assert_string_equal(line + n - 10, " more=cut\n");
}

static void dates_agree_with_libc(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 80000; day += 13) {
        wall_now = day * 86400000 + (day * 7919) % 86400000;
        time_t t = (time_t)(wall_now / 1000);
        struct tm tm;
        char want[64];
        strftime(want, sizeof want, "ts=%Y-%m-%dT%H:%M:%S.", gmtime_r(&t, &tm));
        log_info(&ctx, "x");
        assert_memory_equal(logged(), want, strlen(want));
    }
}

static void *write_lines(void *arg)
{
    struct log_ctx mine = {"t", (uint64_t)(uintptr_t)arg, 0};
    for (int i = 0; i < 40; i++)
        log_info(&mine, "line", L_Z("text", "some text with blanks"));
    return NULL;
}

static void threads_do_not_mix_lines(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, (void *)(i + 1)), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    static char all[65536];
    ssize_t n = read(pipe_fds[0], all, sizeof all - 1);
    assert_true(n > 0);
    struct str rest = str_of(all, (size_t)n), line;
    int lines = 0;
    while (str_cut(rest, '\n', &line, &rest)) {
        assert_true(str_starts(
            line, STR("ts=2024-02-29T12:34:56.007Z level=info module=t event=line sid=")));
        assert_true(str_ends(line, STR(" text=\"some text with blanks\"")));
        lines++;
    }
    assert_int_equal(lines, 160);
}

static void logging_keeps_errno(void **state)
{
    (void)state;
    log_set_fd(999999);
    errno = ENOENT;
    log_error(&ctx, "x");
    assert_int_equal(errno, ENOENT);
}

static void clocks(void **state)
{
    (void)state;
    mono_now = 1234;
    assert_int_equal(clock_mono_ms(), 1234);
    assert_int_equal(clock_mono_us(), 1234000);
    assert_true(clock_wall_ms() == wall_now);
    clock_replace(NULL);
    uint64_t a = clock_mono_us(), b = clock_mono_us();
    assert_true(b >= a && a > 1234000);
    assert_true(clock_wall_ms() > 1700000000000);
}

static int fails(struct err *err)
{
    return ERR_WHY(err, ERR_PERM, ERR_WHY_QUOTA, "over %d\r\nof %s", 5, "quota");
}

static void errors(void **state)
{
    (void)state;
    struct err err;
    char longer[400];
    assert_int_equal(fails(&err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(err.why, ERR_WHY_QUOTA);
    assert_string_equal(err.text, "over 5  of quota");
    assert_int_equal(err_context(&err, "box %d", 7), -1);
    assert_string_equal(err.text, "box 7: over 5  of quota");
    assert_int_equal(err.why, ERR_WHY_QUOTA);
    assert_int_equal(ERR(&err, ERR_TEMP, "again: %s", err.text), -1);
    assert_string_equal(err.text, "again: box 7: over 5  of quota");
    assert_int_equal(err.why, ERR_WHY_OTHER);

    for (size_t i = 0; i < sizeof longer - 2; i += 2)
        memcpy(longer + i, "\xc3\xbc", 2);
    longer[sizeof longer - 2] = '\0';
    for (int shift = 0; shift < 2; shift++) {
        err_set(&err, ERR_TEMP, ERR_WHY_OTHER, "%s%s", shift ? "x" : "", longer);
        assert_true(text_utf8_valid(str_from(err.text)));
        assert_true(strlen(err.text) >= sizeof err.text - 3);
        err_context(&err, "c%s", shift ? "" : "d");
        assert_true(text_utf8_valid(str_from(err.text)));
        assert_true(strlen(err.text) >= sizeof err.text - 3);
    }
    err_clear(&err);
    assert_int_equal(err.kind, ERR_NONE);
    assert_string_equal(err.text, "");
}

static void random_bytes(void **state)
{
    (void)state;
    char text[33], again[33];
    rand_text(text, 32);
    rand_text(again, 32);
    assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz234567"), 32);
    assert_string_not_equal(text, again);
    assert_true(rand_u64() != rand_u64());
    rand_bytes(NULL, 0);
}

int main(void)
{
#define WITH_PIPE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_PIPE(one_line_one_fact),
        WITH_PIPE(levels),
        WITH_PIPE(json_lines),
        WITH_PIPE(json_line_is_cut_whole),
        WITH_PIPE(journal_lines),
        WITH_PIPE(debug_of_some_modules),
        WITH_PIPE(client_text_is_quoted),
        WITH_PIPE(client_text_is_capped),
        WITH_PIPE(a_line_has_an_end),
        WITH_PIPE(dates_agree_with_libc),
        WITH_PIPE(threads_do_not_mix_lines),
        WITH_PIPE(logging_keeps_errno),
        WITH_PIPE(clocks),
        cmocka_unit_test(errors),
        cmocka_unit_test(random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
