/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Reports about a day: when they leave, what becomes of them when the DNS is silent, when counts
 * change meanwhile, when another node was quicker; mail for ourselves. With a real store and
 * directory, made-up DNS, and a clock that is turned. */
#include "fake_dns.h"
// it brings what cmocka wants
#include "world.h"

#include "appliance/base/clock.h"
#include "appliance/sql/sql.h"
#include "appliance/store/body.h"
#include "filters/dmarc_results.h"
#include "smtp/aggregate/aggregate_private.h"
#include "smtp/client/tls_results.h"
#include <time.h>

enum { HOUR = 3600, DAY = 24 * HOUR, TODAY = 20000, PATIENCE = 120000 };
#define RUA "v=DMARC1; p=reject; rua=mailto:r@bank.example"

static struct world w;
static struct aggregate *reports;
static struct reports_conf conf;
static struct store_reader *reader;
static struct arena *arena;
static _Atomic int64_t wall_ms;
static _Atomic uint64_t ahead_ms;

/* ---- The clock: the wall's stands still until it is turned. */

static uint64_t real_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t mono(void)
{
    return real_ms() + ahead_ms;
}

static int64_t wall(void)
{
    return wall_ms;
}

static void turn_to(int64_t day, int64_t second)
{
    int64_t at = (day * DAY + second) * 1000;

    assert_true(at >= wall_ms);
    wall_ms = at;
}

#define UNTIL(what)                                                                                \
    do {                                                                                           \
        uint64_t from = real_ms();                                                                 \
        while (!(what)) {                                                                          \
            if (real_ms() - from > PATIENCE)                                                       \
                fail_msg("nothing happened: %s", #what);                                           \
            world_turn(&w);                                                                        \
        }                                                                                          \
    } while (0)

/* ---- What is there. */

static int64_t number(const char *query)
{
    struct sql_stmt *st;

    assert_int_equal(sql_prepare(store_reader_sql(reader), query, &st, &w.err), 0);
    assert_int_equal(sql_step(st, &w.err), 1);
    int64_t n = sql_int(st, 0);
    sql_reset(st);
    return n;
}

static int64_t rows(void)
{
    return number("SELECT COUNT(*) FROM dmarc_result");
}

static int64_t queued(void)
{
    return number("SELECT COUNT(*) FROM queue_to");
}

static void count(const char *domain, const char *record, const char *ip)
{
    struct dmarc_results *r = dmarc_results_new(w.loop, w.store);

    dmarc_results_note(r, &(struct dmarc_row){.domain = str_from(domain),
                                              .record = str_from(record),
                                              .author = str_from(domain),
                                              .ip = str_from(ip),
                                              .spf = true});
    dmarc_results_free(&r); /* writes */
}

/* Time for a round of the timer, in which nothing is expected to happen. None is under way after
 * it: the timer of the next one runs. */
static void round_over(void)
{
    ahead_ms += 21 * 60 * 1000;
    for (int i = 0; i < 200; i++)
        world_turn(&w);
    UNTIL(!reports->running);
}

/* ---- Life. */

static int begin(void **state)
{
    static const struct clock_source turned = {mono, wall};

    (void)state;
    wall_ms = (int64_t)TODAY * DAY * 1000 + 12 * HOUR * 1000;
    ahead_ms = 0;
    clock_replace(&turned);
    world_prepare(&w);
    w.relays = true;
    w.loop = loop_new();
    fake_reset(w.loop);
    world_start(&w, SMTP_RECEPTION, NULL);
    timer_stop(w.patience);
    arena = arena_new(0);
    assert_int_equal(store_reader_open(w.store, &reader, &w.err), 0);
    assert_int_equal(settings_defaults(reports_settings, &conf, &w.err), 0);
    reports = aggregate_new(&(struct aggregate_env){.conf = &conf,
                                                    .hostname = "mail.example.com",
                                                    .origin = "example.com",
                                                    .loop = w.loop,
                                                    .store = w.store,
                                                    .server = w.server});
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (reports)
        aggregate_stop(reports);
    world_stop(&w, 0);
    UNTIL(w.stopped);
    aggregate_free(&reports);
    store_reader_close(&reader);
    arena_free(&arena);
    world_end(&w);
    settings_free(reports_settings, &conf);
    clock_replace(NULL);
    return 0;
}

/* ---- Tests */

/* Not on its day, not at midnight; within the hours after it; once. */
static void leaves_in_the_night(void **state)
{
    (void)state;
    count("bank.example", RUA, "192.0.2.1");
    count("bank.example", RUA, "192.0.2.2");
    round_over();
    turn_to(TODAY + 1, 60);
    round_over();
    assert_int_equal(rows(), 2);
    assert_int_equal(dns_asked, 0);
    turn_to(TODAY + 1, 5 * HOUR);
    ahead_ms += 21 * 60 * 1000;
    UNTIL(queued() == 1);
    assert_int_equal(rows(), 0); /* in the same transaction */
    UNTIL(w.queued == 1);
    assert_string_equal(w.site, "bank.example");
    assert_int_equal(number("SELECT COUNT(*) FROM queue WHERE LENGTH(sender) = 0"), 1);
    round_over();
    assert_int_equal(queued(), 1);
}

/* Two of a hundred domains don't leave at the same moment. */
static void spread(void **state)
{
    char name[40];
    int64_t early, late;

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "d%d.example", i);
        count(name, "v=DMARC1; p=none",
              "192.0.2.1"); /* nobody wants it: forgotten when it is due */
    }
    turn_to(TODAY + 1, 2 * HOUR);
    ahead_ms += 21 * 60 * 1000;
    UNTIL(rows() < 20);
    round_over();
    early = rows();
    assert_true(early > 0);
    turn_to(TODAY + 1, 3 * HOUR);
    ahead_ms += 21 * 60 * 1000;
    UNTIL(rows() < early);
    round_over();
    late = rows();
    assert_true(late < early);
    turn_to(TODAY + 1, 5 * HOUR);
    ahead_ms += 21 * 60 * 1000;
    UNTIL(rows() == 0);
    assert_int_equal(queued(), 0);
}

static void at_once_when_asked(void **state)
{
    (void)state;
    count("bank.example", RUA, "192.0.2.1");
    aggregate_now(reports); /* today isn't over */
    round_over();
    assert_int_equal(rows(), 1);
    turn_to(TODAY + 1, 0);
    aggregate_now(reports);
    UNTIL(queued() == 1);
    assert_int_equal(rows(), 0);
}

static void waits_for_the_dns(void **state)
{
    (void)state;
    dns_fail(RESOLVER_TXT, "bank.example._report._dmarc.else.test", RESOLVER_FAILED);
    count("bank.example", "v=DMARC1; p=none; rua=mailto:r@else.test", "192.0.2.1");
    turn_to(TODAY + 1, 8 * HOUR);
    aggregate_now(reports);
    UNTIL(dns_asked > 0);
    round_over();
    assert_int_equal(rows(), 1);
    dns_n = 0;
    dns_txt("bank.example._report._dmarc.else.test", "v=DMARC1");
    aggregate_now(reports);
    UNTIL(queued() == 1);
    assert_int_equal(rows(), 0);
}

static void gives_up(void **state)
{
    (void)state;
    dns_fail(RESOLVER_TXT, "bank.example._report._dmarc.else.test", RESOLVER_FAILED);
    count("bank.example", "v=DMARC1; p=none; rua=mailto:r@else.test", "192.0.2.1");
    turn_to(TODAY + REPORTS_DAYS, 8 * HOUR);
    aggregate_now(reports);
    UNTIL(dns_asked > 0);
    round_over();
    assert_int_equal(rows(), 1);
    turn_to(TODAY + REPORTS_DAYS + 1, 8 * HOUR);
    aggregate_now(reports);
    UNTIL(rows() == 0);
    assert_int_equal(queued(), 0);
}

/* What is counted while a report is made isn't lost with it, nor told twice. */
static void counts_meanwhile(void **state)
{
    (void)state;
    dns_txt("bank.example._report._dmarc.else.test", "v=DMARC1");
    count("bank.example", "v=DMARC1; p=none; rua=mailto:r@else.test", "192.0.2.1");
    turn_to(TODAY + 1, 8 * HOUR);
    aggregate_now(reports);
    UNTIL(dns_asked > 0);
    wall_ms -= (int64_t)DAY * 1000; /* a node that was late */
    count("bank.example", "v=DMARC1; p=none; rua=mailto:r@else.test", "192.0.2.2");
    wall_ms += (int64_t)DAY * 1000;
    UNTIL(!reports->running);
    assert_true((rows() == 2 && queued() == 0) || (rows() == 1 && queued() == 1));
    int64_t before = queued();
    aggregate_now(reports);
    UNTIL(rows() == 0);
    assert_int_equal(queued(), before + 1);
}

/* Two that share the store report it once. */
static void two_nodes(void **state)
{
    struct aggregate *other = aggregate_new(&(struct aggregate_env){.conf = &conf,
                                                                    .hostname = "two.example.com",
                                                                    .origin = "example.com",
                                                                    .loop = w.loop,
                                                                    .store = w.store,
                                                                    .server = w.server});
    char name[40], record[100];

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "d%d.example", i);
        snprintf(record, sizeof record, "v=DMARC1; p=none; rua=mailto:r@%s", name);
        count(name, record, "192.0.2.1");
    }
    turn_to(TODAY + 1, 8 * HOUR);
    aggregate_now(reports);
    aggregate_now(other);
    UNTIL(rows() == 0);
    round_over();
    assert_int_equal(queued(), 20);
    aggregate_stop(other);
    aggregate_free(&other);
}

/* A domain of ours that wants reports gets them into its mailbox. */
static void our_own(void **state)
{
    (void)state;
    count("example.com", "v=DMARC1; p=none; rua=mailto:xandros@example.com", "192.0.2.1");
    turn_to(TODAY + 1, 8 * HOUR);
    aggregate_now(reports);
    UNTIL(rows() == 0);
    assert_int_equal(number("SELECT COUNT(*) FROM message"), 1);
    assert_int_equal(queued(), 0);
}

static void note_tls(const char *domain)
{
    struct tls_results *r = tls_results_new(w.loop, w.store);

    tls_results_note(r, &(struct tls_result){.domain = str_from(domain), .mx = STR("mx.example")});
    tls_results_free(&r);
}

/* RFC 8460 3: unsigned ones would be ignored; here nobody signs. Several records are none. */
static void tls(void **state)
{
    (void)state;
    dns_txt("_smtp._tls.none.example", "v=spf1");
    dns_txt("_smtp._tls.two.example", "v=TLSRPTv1; rua=mailto:r@two.example");
    dns_txt("_smtp._tls.two.example", "v=TLSRPTv1; rua=mailto:s@two.example");
    dns_txt("_smtp._tls.one.example", "v=TLSRPTv1;rua=mailto:r@one.example");
    dns_txt("_smtp._tls.example.com", "v=TLSRPTv1;rua=mailto:vivita@example.com");
    note_tls("none.example");
    note_tls("two.example");
    note_tls("one.example");
    note_tls("example.com");
    turn_to(TODAY + 1, 8 * HOUR);
    aggregate_now(reports);
    UNTIL(number("SELECT COUNT(*) FROM tls_result") == 0);
    assert_int_equal(queued(), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM message"), 1);
}

static void turned_off(void **state)
{
    (void)state;
    conf.dmarc = conf.tls = false;
    count("bank.example", RUA, "192.0.2.1");
    note_tls("example.com");
    turn_to(TODAY + 1, 8 * HOUR);
    aggregate_now(reports);
    round_over();
    assert_int_equal(rows(), 1);
    assert_int_equal(dns_asked, 0);
}

/* It may go at any moment. */
static void stops(void **state)
{
    static char names[20][80];
    char name[40];

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "d%d.example", i);
        snprintf(names[i], sizeof names[i], "%s._report._dmarc.else.test", name);
        dns_txt(names[i], "v=DMARC1");
        count(name, "v=DMARC1; p=none; rua=mailto:r@else.test", "192.0.2.1");
    }
    turn_to(TODAY + 1, 8 * HOUR);
    aggregate_now(reports);
    UNTIL(dns_asked >= 3);
    aggregate_stop(reports);
    world_stop(&w, 0);
    UNTIL(w.stopped);
    aggregate_free(&reports);
    assert_int_equal(dns_open, 0);
    for (int i = 0; i < 50; i++)
        world_turn(&w);
    /* what was being written may still come */
    assert_int_equal(number("SELECT (SELECT COUNT(*) FROM dmarc_result) + "
                            "(SELECT COUNT(*) FROM queue_to)"),
                     20);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {T(leaves_in_the_night), T(spread),   T(at_once_when_asked),
                                       T(waits_for_the_dns),   T(gives_up), T(counts_meanwhile),
                                       T(two_nodes),           T(our_own),  T(tls),
                                       T(turned_off),          T(stops)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
