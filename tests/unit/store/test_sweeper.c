/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "bed.h"
#include "tests/unit/disk_world.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static int64_t clock_ahead_ms;

static uint64_t mono(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int64_t wall(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + clock_ahead_ms;
}

static int setup(void **state)
{
    static const struct clock_source source = {mono, wall};

    clock_ahead_ms = 0;
    clock_replace(&source);
    return bed_setup(state);
}

static int teardown(void **state)
{
    int rc = bed_teardown(state);

    clock_replace(NULL);
    return rc;
}

#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)

static uint64_t expunge_all(struct bed *b, uint64_t mailbox)
{
    static const struct uid_range all[] = {{1, UINT32_MAX}};
    struct message_store_flags f;
    struct message_expunge e;

    message_store_flags_init(&f, NULL);
    f.mailbox = mailbox;
    f.set = all;
    f.n_set = 1;
    f.how = MESSAGE_FLAGS_ADD;
    f.flags = MESSAGE_DELETED;
    bed_run(b, &f.op);
    buf_fini(&f.modified);
    message_expunge_init(&e, NULL);
    e.mailbox = mailbox;
    bed_run(b, &e.op);
    return e.modseq;
}

static bool exists(struct bed *b, const char *name)
{
    return faccessat(b->store->bodies_fd, name, F_OK, 0) == 0;
}

static void deliver_large(struct bed *b, uint64_t *body_out)
{
    static char text[100000];
    struct message_recipient r = {.account = STR("a@x"), .mailbox = STR("INBOX")};
    struct message_delivery d;

    memset(text, '\n', sizeof text);
    memcpy(text, "A: b\r\n\r\n", 8);
    message_delivery_init(&d, NULL);
    d.sink = bed_sink(b, str_of(text, sizeof text));
    d.rcpts = &r;
    d.n_rcpts = 1;
    bed_run(b, &d.op);
    *body_out = d.body;
    body_sink_free(&d.sink);
}

/* Low on space: what is expunged goes soon, and the room it leaves within the database counts. */
static void a_full_disk_shortens_the_grace(void **state)
{
    struct bed *b = *state;
    static char text[20000];
    uint64_t free_bytes, min_free;

    bed_needs_sqlite(b);
    memset(text, '\n', sizeof text);
    memcpy(text, "A: b\r\n\r\n", 8);
    for (int i = 0; i < 200; i++)
        bed_deliver(b, "a@x", "INBOX", str_of(text, sizeof text));
    expunge_all(b, bed_mailbox(b, bed_account(b, "a@x"), "INBOX").id);
    b->store->disk = disk_world_of(b->dir, 100 << 20);
    b->conf.min_free = (100 << 20) + (2u << 20);
    b->store->space_known = false;
    assert_true(store_low_on_space(b->store));
    clock_ahead_ms = 11000; /* far from the hour of dead_grace */
    bed_sweep(b);
    bed_sweep(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body"), 0);
    assert_int_equal(store_space(b->store, &free_bytes, &min_free), 0);
    b->conf.min_free = free_bytes + (1u << 20);
    b->store->space_known = false;
    assert_false(store_low_on_space(b->store)); /* 4 MB of rows went */
}

static void dead_bodies_go_after_the_grace(void **state)
{
    struct bed *b = *state;
    char path[BODY_PATH_MAX];
    uint64_t large;

    deliver_large(b, &large);
    bed_deliver(b, "a@x", "INBOX", STR("Subject: small\r\n\r\nx\r\n"));
    body_path(large, path);
    expunge_all(b, bed_mailbox(b, bed_account(b, "a@x"), "INBOX").id);
    bed_sweep(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body"), 2); /* somebody may still read them */
    assert_true(exists(b, path));
    bed_check(b);
    clock_ahead_ms = HOUR + 1000;
    bed_sweep(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_head"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_meta"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_data"), 0);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_dead"), 0);
    assert_false(exists(b, path));
    bed_check(b);
}

static void many_dead_bodies_go_in_slices(void **state)
{
    struct bed *b = *state;

    for (int i = 0; i < 300; i++)
        bed_deliver(b, "a@x", "INBOX", STR("Subject: small\r\n\r\nx\r\n"));
    expunge_all(b, bed_mailbox(b, bed_account(b, "a@x"), "INBOX").id);
    clock_ahead_ms = HOUR + 1000;
    bed_sweep(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body"), 0);
    bed_check(b);
}

/* A body can lose its last reference and get one again through the sink that made it. */
static void a_body_that_lives_again_stays(void **state)
{
    struct bed *b = *state;
    struct body_sink *sink = bed_sink(b, STR("Subject: x\r\n\r\ntext\r\n"));
    struct message_recipient r = {.account = STR("a@x"), .mailbox = STR("INBOX")};

    for (int i = 0; i < 2; i++) {
        struct message_delivery d;
        message_delivery_init(&d, NULL);
        d.sink = sink;
        d.rcpts = &r;
        d.n_rcpts = 1;
        bed_run(b, &d.op);
        if (i == 0)
            expunge_all(b, bed_mailbox(b, bed_account(b, "a@x"), "INBOX").id);
    }
    body_sink_free(&sink);
    clock_ahead_ms = HOUR + 1000;
    bed_sweep(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body"), 1);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_dead"), 0);
    bed_check(b);
}

static void old_expunges_are_forgotten(void **state)
{
    struct bed *b = *state;
    uint64_t account = bed_account(b, "a@x"), inbox = bed_mailbox(b, account, "INBOX").id;

    bed_fill(b, inbox, 5, 0);
    uint64_t first = expunge_all(b, inbox);
    bed_fill(b, inbox, 3, 0);
    clock_ahead_ms = 20 * DAY;
    expunge_all(b, inbox);
    bed_sweep(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM expunged"), 8);
    assert_int_equal(bed_mailbox(b, account, "INBOX").qresync_floor, 1);
    clock_ahead_ms = 32 * DAY;
    bed_sweep(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM expunged"), 3);
    assert_int_equal(bed_mailbox(b, account, "INBOX").qresync_floor, first);
    bed_check(b);
}

static void make_file(struct bed *b, const char *folder, const char *name, int64_t age_ms)
{
    char path[64];
    struct timespec times[2] = {0};

    assert_true(mkdirat(b->store->bodies_fd, folder, 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = openat(b->store->bodies_fd, path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    times[0].tv_sec = times[1].tv_sec = (wall() - age_ms) / 1000;
    assert_int_equal(utimensat(b->store->bodies_fd, path, times, 0), 0);
}

static void stray_files_go(void **state)
{
    struct bed *b = *state;
    char path[BODY_PATH_MAX];
    uint64_t known;

    deliver_large(b, &known);
    body_path(known, path);
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(b->store->bodies_fd, path, old, 0), 0);
    make_file(b, "1", "abc", 2 * DAY);
    make_file(b, "1", "abd", 2 * HOUR); /* too young */
    make_file(b, "1", "notes.txt", 2 * DAY);
    make_file(b, "2", "abe", 2 * DAY);
    make_file(b, "3x", "abf", 2 * DAY);
    bed_sweep(b);
    assert_true(exists(b, path));
    assert_false(exists(b, "1/abc"));
    assert_true(exists(b, "1/abd"));
    assert_true(exists(b, "1/notes.txt"));
    assert_false(exists(b, "2")); /* empty now */
    assert_true(exists(b, "3x/abf"));
}

/* A database that knows few of the files may be the wrong one. */
static void most_of_a_folder_stays(void **state)
{
    struct bed *b = *state;
    char name[16];
    uint64_t known;
    int left = 0, fd;

    deliver_large(b, &known);
    for (unsigned i = 1; i <= 60; i++) {
        snprintf(name, sizeof name, "%x", i);
        make_file(b, i % 2 ? "1" : "2", name, 2 * DAY);
    }
    bed_sweep(b);
    for (unsigned i = 1; i <= 60; i++) {
        snprintf(name, sizeof name, "%u/%x", i % 2 ? 1 : 2, i);
        left += exists(b, name);
    }
    assert_int_equal(left, 60);
    fd = openat(b->store->bodies_fd, "remove-strays", O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    bed_sweep(b);
    assert_false(exists(b, "1"));
    assert_false(exists(b, "2"));
    assert_false(exists(b, "remove-strays"));
    bed_check(b);
}

/* A file of this process is never a stray, however long its message takes to arrive. */
static void files_of_this_process_stay(void **state)
{
    struct bed *b = *state;

    clock_ahead_ms = 3 * DAY;
    make_file(b, "1", "abc", 3 * DAY - HOUR);
    bed_sweep(b);
    assert_true(exists(b, "1/abc"));
    bed_reopen(b);
    bed_sweep(b);
    assert_false(exists(b, "1/abc"));
}

/* The clock was set back, a message begun, and the clock set right: its file looks older than the
 * process, but its id doesn't. */
static void a_clock_set_back_makes_no_strays(void **state)
{
    struct bed *b = *state;
    char path[BODY_PATH_MAX], folder[BODY_PATH_MAX];
    uint64_t id = store_new_id(b->store);

    body_path(id, path);
    snprintf(folder, sizeof folder, "%.*s", (int)strcspn(path, "/"), path);
    make_file(b, folder, strchr(path, '/') + 1, 30 * DAY);
    bed_sweep(b);
    assert_true(exists(b, path));
    clock_ahead_ms = HOUR;
    bed_reopen(b);
    bed_sweep(b);
    assert_false(exists(b, path));
}

static void sweeping_may_be_cut_short_by_the_end(void **state)
{
    struct bed *b = *state;
    bool swept = false;

    for (int i = 0; i < 50; i++)
        bed_deliver(b, "a@x", "INBOX", STR("Subject: small\r\n\r\nx\r\n"));
    expunge_all(b, bed_mailbox(b, bed_account(b, "a@x"), "INBOX").id);
    clock_ahead_ms = HOUR + 1000;
    store_sweep(b->store, bed_swept, &swept);
    bed_reopen(b);
    assert_true(swept); /* answered all the same */
    bed_check(b);
}

static int delete_fn(struct store_tx *tx, void *ctx, struct err *err)
{
    bool more;

    return mailbox_delete_tx(tx, *(uint64_t *)ctx, STR("Archive"), &more, err);
}

/* What takes long to remove is left for the next start. */
static void the_end_does_not_wait_for_a_long_round(void **state)
{
    struct bed *b = *state;
    uint64_t account = bed_account(b, "a@x");
    bool swept = false;

    bed_fill(b, bed_mailbox(b, account, "Archive").id, 20000, 0);
    bed_call(b, delete_fn, &account);
    store_sweep(b->store, bed_swept, &swept);
    bed_reopen(b);
    assert_true(swept);
    assert_in_range(bed_int(b, "SELECT COUNT(*) FROM message"), 1, 20000);
    bed_check(b);
    bed_sweep(b);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM message"), 0);
    bed_check(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_shortens_the_grace, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_bodies_go_after_the_grace, setup, teardown),
        cmocka_unit_test_setup_teardown(many_dead_bodies_go_in_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_that_lives_again_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(old_expunges_are_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(stray_files_go, setup, teardown),
        cmocka_unit_test_setup_teardown(most_of_a_folder_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(files_of_this_process_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_set_back_makes_no_strays, setup, teardown),
        cmocka_unit_test_setup_teardown(sweeping_may_be_cut_short_by_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_does_not_wait_for_a_long_round, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
