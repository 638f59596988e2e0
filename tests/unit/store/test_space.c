/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Messages that arrive while space runs short. */
#include "bed.h"
#include "tests/unit/disk_world.h"

enum { MB = 1 << 20, PIECE = 32 << 10 };

static uint64_t fake_ms;

static uint64_t fake_mono(void)
{
    return fake_ms;
}

/* The store's disk from now on: so much over min_free. */
static void disk_has(struct bed *b, int64_t over)
{
    b->conf.min_free = 64 * MB;
    b->store->disk = disk_world_of(b->dir, 64 * MB + over);
    b->store->space_known = false;
}

static struct body_sink *sink_new(struct bed *b, void (*on_ready)(void *ctx), void *ctx)
{
    struct body_sink *sink = body_sink_new(b->store, 100 * MB, on_ready, ctx);
    assert_int_not_equal(body_sink_put(sink, STR("A: b\r\n\r\n")), BODY_FAIL);
    return sink;
}

/* As much as the store takes of `max`, as fast as it takes it. */
static size_t pour(struct bed *b, struct body_sink *sink, size_t max)
{
    static const char piece[PIECE];
    size_t n = 0;
    for (; n < max; n += PIECE) {
        if (body_sink_put(sink, str_of(piece, PIECE)) == BODY_FAIL)
            break;
        bed_turn(b);
    }
    return n;
}

static bool exists(struct bed *b, uint64_t id)
{
    char path[BODY_PATH_MAX];
    body_path(id, path);
    return faccessat(b->store->bodies_fd, path, F_OK, 0) == 0;
}

static void what_arrives_stops_at_min_free(void **state)
{
    struct bed *b = *state;
    disk_has(b, 2 * MB);
    struct body_sink *sink = sink_new(b, NULL, NULL);
    size_t n = pour(b, sink, 10 * MB);
    assert_true(n > MB && n <= 2 * MB);
    assert_true(disk_world_free() >= 64 * MB);
    assert_int_equal(body_sink_error(sink)->kind, ERR_TEMP);
    assert_int_equal(body_sink_error(sink)->why, ERR_WHY_NO_SPACE);
    while (exists(b, sink->id)) /* at once, while its sender still has the sink */
        bed_turn(b);
    struct str data;
    assert_false(body_sink_data(sink, &data));
    body_sink_end(sink);
    assert_int_equal(bed_flush(b, sink), -1);
    body_sink_free(&sink);
    sink = sink_new(b, NULL, NULL);
    assert_int_equal(pour(b, sink, MB), MB);
    body_sink_end(sink);
    assert_int_equal(bed_flush(b, sink), 0);
    body_sink_free(&sink);
}

/* Who holds most of what isn't complete, whoever asks for the room. */
static void the_largest_gives_way(void **state)
{
    struct bed *b = *state;
    disk_has(b, 6 * MB);
    struct body_sink *large = sink_new(b, NULL, NULL), *small = sink_new(b, NULL, NULL),
                     *whole = sink_new(b, NULL, NULL);
    assert_int_equal(pour(b, whole, 3 * MB), 3 * MB);
    body_sink_end(whole); /* complete: it stays */
    assert_int_equal(pour(b, large, 2 * MB), 2 * MB);
    assert_int_equal(pour(b, small, 3 * MB / 2), 3 * MB / 2);
    assert_int_equal(body_sink_error(large)->why, ERR_WHY_NO_SPACE);
    assert_int_equal(body_sink_error(small)->kind, ERR_NONE);
    assert_int_equal(body_sink_put(large, STR("x")), BODY_FAIL);
    assert_false(store_low_on_space(b->store));
    assert_int_equal(bed_flush(b, whole), 0);
    while (exists(b, large->id))
        bed_turn(b);
    body_sink_end(small);
    assert_int_equal(bed_flush(b, small), 0);
    body_sink_free(&whole);
    body_sink_free(&large);
    body_sink_free(&small);
    assert_int_equal(b->store->unwritten, 0);
    while (atomic_load(&b->store->leaving_bytes) != 0) /* the two that were never delivered */
        bed_turn(b);
}

/* Those that send nothing more don't keep out others: a question for room takes theirs. */
static void a_stalled_one_gives_way_to_a_question(void **state)
{
    struct bed *b = *state;
    disk_has(b, 3 * MB);
    struct body_sink *stalled = sink_new(b, NULL, NULL);
    assert_int_equal(pour(b, stalled, 2 * MB), 2 * MB);
    disk_world.size -= 2 * MB; /* something else has grown */
    b->store->space_known = false;
    assert_false(store_low_on_space(b->store));
    assert_int_equal(body_sink_error(stalled)->why, ERR_WHY_NO_SPACE);
    body_sink_free(&stalled);
}

static void on_ready(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void who_waits_is_woken(void **state)
{
    struct bed *b = *state;
    unsigned ready = 0;
    disk_has(b, 8 * MB);
    struct body_sink *sink = sink_new(b, on_ready, &ready);
    static const char piece[4 * MB];
    assert_int_equal(body_sink_put(sink, str_of(piece, sizeof piece)), BODY_WAIT);
    disk_world.size -= 16 * MB;
    b->store->space_known = false;
    assert_true(store_low_on_space(b->store));
    assert_int_equal(ready, 0);
    while (!ready)
        bed_turn(b);
    assert_int_equal(body_sink_put(sink, STR("x")), BODY_FAIL);
    body_sink_free(&sink);
}

static void room_that_was_announced_is_taken(void **state)
{
    struct bed *b = *state;
    disk_has(b, 10 * MB);
    assert_true(store_has_room(b->store, 9 * MB));
    assert_false(store_has_room(b->store, 11 * MB));
    struct body_sink *sink = body_sink_new(b->store, 100 * MB, NULL, NULL);
    body_sink_announce(sink, 6 * MB);
    assert_true(store_has_room(b->store, 3 * MB));
    assert_false(store_has_room(b->store, 5 * MB));
    assert_true(store_has_room(b->store, 0));
    assert_true(store_has_room(b->store, 1000)); /* min_free is for these */
    body_sink_put(sink, STR("A: b\r\n\r\n"));
    assert_int_equal(pour(b, sink, 4 * MB), 4 * MB); /* counts once */
    assert_true(store_has_room(b->store, 3 * MB));
    assert_false(store_has_room(b->store, 5 * MB));
    body_sink_free(&sink);
    assert_true(store_has_room(b->store, 5 * MB)); /* at once, while the file still goes */
}

static unsigned lines_of(int fd, const char *event)
{
    static char text[65536];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    unsigned found = 0;
    text[n > 0 ? n : 0] = '\0';
    for (const char *p = text; (p = strstr(p, event)); p++)
        found++;
    return found;
}

static void entering_and_leaving_is_told(void **state)
{
    struct bed *b = *state;
    static const struct clock_source fake = {fake_mono, NULL};
    char path[96];
    snprintf(path, sizeof path, "%s/log", b->dir);
    FILE *log = fopen(path, "w+");
    assert_non_null(log);
    disk_has(b, MB);
    fake_ms = clock_mono_ms();
    clock_replace(&fake);
    log_set_fd(fileno(log));
    assert_false(store_low_on_space(b->store));
    for (int i = 0; i < 10; i++) {
        fake_ms += 20;
        disk_world.size = 64 * MB + (i % 2 ? MB : -MB);
        assert_int_equal(store_low_on_space(b->store), i % 2 == 0);
    }
    assert_int_equal(lines_of(fileno(log), "level=warn module=store event=low_on_space free="), 1);
    assert_int_equal(lines_of(fileno(log), "space_again"), 0);
    fake_ms += 10000;
    assert_false(store_low_on_space(b->store));
    assert_int_equal(lines_of(fileno(log), "level=warn module=store event=space_again free="), 1);
    log_set_fd(-1);
    clock_replace(NULL);
    fclose(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(what_arrives_stops_at_min_free),        BED_TEST(the_largest_gives_way),
        BED_TEST(a_stalled_one_gives_way_to_a_question), BED_TEST(who_waits_is_woken),
        BED_TEST(room_that_was_announced_is_taken),      BED_TEST(entering_and_leaving_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
