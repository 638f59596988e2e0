/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "bed.h"
#include <errno.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* These stand before libc's: a flush that fails when told. */
static atomic_int fail_flush;
int fsync(int fd)
{
    if (atomic_load(&fail_flush)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}
int fdatasync(int fd)
{
    if (atomic_load(&fail_flush)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

enum { LARGE = 5 << 20 };
static char large[LARGE];

static void make_large(void)
{
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : (char)('a' + i / 78 % 26);
}

static unsigned files_in(struct bed *b)
{
    char command[160];
    unsigned n = 0;
    FILE *f;

    snprintf(command, sizeof command, "find %s/bodies -type f ! -name store-id | wc -l", b->dir);
    f = popen(command, "r"); /* NOLINT: a test */
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%u", &n), 1);
    pclose(f);
    return n;
}

/* Files that are not wanted any more go behind the loop's back; those of a store that is being
 * closed are left to the next start. */
static void until_no_files(struct bed *b)
{
    time_t end = time(NULL) + 60;

    while (files_in(b) && time(NULL) < end)
        bed_turn(b);
    assert_int_equal(files_in(b), 0);
}

struct feed {
    struct body_sink *sink;
    unsigned ready;
};

static void on_ready(void *ctx)
{
    ((struct feed *)ctx)->ready++;
}

/* Feeds in pieces and pauses as told. */
static void feed(struct bed *b, struct feed *f, struct str text, size_t piece)
{
    while (text.n) {
        unsigned ready = f->ready;
        enum body_put put = body_sink_put(f->sink, str_take(text, piece));
        text = str_skip(text, piece);
        assert_int_not_equal(put, BODY_FAIL);
        while (put == BODY_WAIT && f->ready == ready)
            bed_turn(b);
    }
}

static uint64_t deliver_sink(struct bed *b, struct body_sink *sink)
{
    struct message_recipient r = {.account = STR("a@x"), .mailbox = STR("INBOX")};
    struct message_delivery d;

    message_delivery_init(&d, NULL);
    d.sink = sink;
    d.rcpts = &r;
    d.n_rcpts = 1;
    bed_run(b, &d.op);
    return d.body;
}

static void assert_data(struct bed *b, uint64_t id, struct str expected)
{
    struct body_reader r;
    struct err err = {0};
    struct buf buf;
    struct str part;

    buf_init(&buf, 100000);
    assert_int_equal(body_open(b->reader, b->arena, id, BODY_WANT_DATA, &r, &err), 0);
    assert_int_equal(r.data_size, expected.n);
    for (uint64_t at = 0; at < expected.n; at += part.n) {
        assert_int_equal(body_read(&r, at, 99991, &buf, &part, &err), 0);
        assert_true(part.n > 0);
        assert_memory_equal(part.p, expected.p + at, part.n);
    }
    assert_int_equal(body_read(&r, expected.n, 10, &buf, &part, &err), 0);
    assert_int_equal(part.n, 0);
    body_close(&r);
    buf_fini(&buf);
}

static void assert_sha256(struct bed *b, struct str data)
{
    unsigned char expected[32];
    struct sql_stmt *st;
    struct err err;

    SHA256((const unsigned char *)data.p, data.n, expected);
    assert_int_equal(sql_prepare(b->reader->db, "SELECT sha256 FROM body", &st, &err), 0);
    assert_int_equal(sql_step(st, &err), 1);
    assert_int_equal(sql_blob(st, 0).n, 32);
    assert_memory_equal(sql_blob(st, 0).p, expected, 32);
    sql_reset(st);
}

static void large_data_becomes_a_file(void **state)
{
    struct bed *b = *state;
    struct feed f = {0};

    f.sink = body_sink_new(b->store, b->conf.message_limit, on_ready, &f);
    feed(b, &f, STR("Subject: large\r\nX: y\r\n\r\n"), 5);
    feed(b, &f, str_of(large, LARGE), 30011);
    assert_int_equal(body_sink_size(f.sink), 24 + LARGE);
    assert_int_equal(bed_flush(b, f.sink), 0);
    uint64_t id = deliver_sink(b, f.sink);
    body_sink_free(&f.sink);
    assert_int_equal(files_in(b), 1);
    assert_int_equal(bed_int(b, "SELECT place FROM body"), BODY_FILE);
    assert_int_equal(bed_int(b, "SELECT COUNT(*) FROM body_data"), 0);
    assert_data(b, id, str_of(large, LARGE));
    assert_sha256(b, str_of(large, LARGE));
    bed_check(b);
}

static void the_sender_is_asked_to_pause(void **state)
{
    struct bed *b = *state;
    struct feed f = {0};
    bool waited = false;

    f.sink = body_sink_new(b->store, b->conf.message_limit, on_ready, &f);
    body_sink_put(f.sink, STR("Subject: x\r\n\r\n"));
    for (size_t at = 0; at < LARGE && !waited; at += 65536)
        waited = body_sink_put(f.sink, str_of(large + at, 65536)) == BODY_WAIT;
    assert_true(waited); /* the loop never turned, so nothing was taken off the queue */
    assert_int_equal(f.ready, 0);
    while (!f.ready)
        bed_turn(b);
    assert_int_equal(f.ready, 1);
    body_sink_free(&f.sink);
}

static void small_data_is_a_row(void **state)
{
    struct bed *b = *state;
    struct body_sink *sink = bed_sink(b, STR("Subject: x\r\n\r\nsmall\r\n"));
    uint64_t id = deliver_sink(b, sink);

    body_sink_free(&sink);
    assert_int_equal(files_in(b), 0);
    assert_data(b, id, STR("small\r\n"));
    assert_sha256(b, STR("small\r\n"));
}

static void exactly_the_limit_is_a_row(void **state)
{
    struct bed *b = *state;
    struct feed f = {0};

    for (int more = 0; more < 2; more++) {
        f.sink = body_sink_new(b->store, b->conf.message_limit, on_ready, &f);
        feed(b, &f, STR("Subject: x\r\n\r\n"), 100);
        feed(b, &f, str_of(large, b->conf.inline_limit + (uint64_t)more), 1000);
        assert_int_equal(bed_flush(b, f.sink), 0);
        assert_data(b, deliver_sink(b, f.sink),
                    str_of(large, b->conf.inline_limit + (uint64_t)more));
        body_sink_free(&f.sink);
        assert_int_equal(files_in(b), more);
    }
    bed_check(b);
}

/* ---- Heads. */

static void assert_split(struct bed *b, const char *text, const char *head, const char *data)
{
    for (size_t piece = 1; piece < 40; piece += 6) {
        struct feed f = {0};
        struct body_reader r;
        struct str got;
        struct err err;
        f.sink = body_sink_new(b->store, b->conf.message_limit, on_ready, &f);
        feed(b, &f, str_from(text), piece);
        assert_int_equal(bed_flush(b, f.sink), 0);
        assert_true(str_eq(body_sink_head(f.sink), str_from(head)));
        uint64_t id = deliver_sink(b, f.sink);
        body_sink_free(&f.sink);
        assert_int_equal(
            body_open(b->reader, b->arena, id, BODY_WANT_HEAD | BODY_WANT_DATA, &r, &err), 0);
        assert_true(str_eq(r.head, str_from(head)));
        assert_int_equal(body_read(&r, 0, 1000, NULL, &got, &err), 0);
        assert_true(str_eq(got, str_from(data)));
        body_close(&r);
    }
}

static void heads_end_where_they_end(void **state)
{
    struct bed *b = *state;

    assert_split(b, "A: b\r\nC: d\r\n e\r\n\r\nbody\r\n", "A: b\r\nC: d\r\n e\r\n\r\n", "body\r\n");
    assert_split(b, "A: b\r\n\r\n", "A: b\r\n\r\n", "");
    assert_split(b, "A: b\r\n", "A: b\r\n\r\n", "");
    assert_split(b, "A: b", "A: b\r\n\r\n", "");
    assert_split(b, "", "\r\n", "");
    assert_split(b, "\r\nno head\r\n", "\r\n", "no head\r\n");
    assert_split(b, "A: b\r\nno field at all\r\nmore\r\n", "A: b\r\n\r\n",
                 "no field at all\r\nmore\r\n");
    bed_check(b);
}

static void the_head_may_be_edited(void **state)
{
    struct bed *b = *state;
    struct body_sink *sink = body_sink_new(b->store, 1000, NULL, NULL);

    body_sink_put(sink, STR("Subject: x\r\n\r\nhi\r\n"));
    body_sink_end(sink);
    body_sink_head_prepend(sink, STR("Received: by us\r\n"));
    body_sink_head_append(sink, STR("Date: now\r\n"));
    assert_true(
        str_eq(body_sink_head(sink), STR("Received: by us\r\nSubject: x\r\nDate: now\r\n\r\n")));
    assert_int_equal(bed_flush(b, sink), 0);
    deliver_sink(b, sink);
    body_sink_free(&sink);
    bed_check(b); /* sizes too */
}

static void limits_are_kept(void **state)
{
    struct bed *b = *state;
    struct body_sink *sink = body_sink_new(b->store, 1000, NULL, NULL);

    assert_int_equal(body_sink_put(sink, str_of(large, 1000)), BODY_MORE);
    assert_int_equal(body_sink_put(sink, STR("x")), BODY_FAIL);
    assert_int_equal(body_sink_error(sink)->why, ERR_WHY_LIMIT);
    assert_int_equal(body_sink_error(sink)->kind, ERR_PERM);
    assert_int_equal(body_sink_put(sink, STR("x")), BODY_FAIL);
    assert_int_equal(bed_flush(b, sink), -1);
    body_sink_free(&sink);

    enum body_put put = BODY_MORE; /* a head without end */
    sink = body_sink_new(b->store, b->conf.message_limit, NULL, NULL);
    for (int i = 0; i < 20000 && put == BODY_MORE; i++)
        put = body_sink_put(sink,
                            STR("X-Header: and so on and so on and so on and so on and so on\r\n"));
    assert_int_equal(put, BODY_FAIL);
    assert_int_equal(body_sink_error(sink)->why, ERR_WHY_LIMIT);
    body_sink_free(&sink);
}

/* ---- Ends. */

static void a_sink_may_end_at_any_time(void **state)
{
    struct bed *b = *state;

    for (int stage = 0; stage < 8; stage++) {
        int flushed = 0;
        struct body_sink *sink = body_sink_new(b->store, b->conf.message_limit, NULL, NULL);
        if (stage > 0)
            body_sink_put(sink, STR("Subject: x\r\n"));
        if (stage > 1)
            body_sink_put(sink, STR("\r\n"));
        if (stage > 2)
            body_sink_put(sink, str_of(large, 1 << 20));
        if (stage == 4)
            for (int i = 0; i < 10; i++)
                bed_turn(b);
        if (stage > 4)
            body_sink_end(sink);
        if (stage > 5)
            body_sink_flush(sink, bed_flushed, &flushed);
        while (stage == 7 && !flushed)
            bed_turn(b);
        body_sink_free(&sink);
        assert_null(sink);
        assert_int_equal(flushed, stage == 7);
    }
    until_no_files(b);
}

static void a_refused_body_leaves_no_file(void **state)
{
    struct bed *b = *state;
    char name[400];
    struct message_recipient r = {.account = {name, sizeof name}, .mailbox = STR("INBOX")};
    struct message_delivery d;
    struct feed f = {0};

    memset(name, 'n', sizeof name);
    f.sink = body_sink_new(b->store, b->conf.message_limit, on_ready, &f);
    feed(b, &f, STR("Subject: x\r\n\r\n"), 100);
    feed(b, &f, str_of(large, 1 << 20), 65536);
    assert_int_equal(bed_flush(b, f.sink), 0);
    message_delivery_init(&d, NULL);
    d.sink = f.sink;
    d.rcpts = &r;
    d.n_rcpts = 1;
    assert_int_equal(bed_try(b, &d.op), -1);
    assert_int_equal(files_in(b), 1);
    body_sink_free(&f.sink);
    until_no_files(b);
}

static void a_failed_flush_refuses_the_message(void **state)
{
    struct bed *b = *state;
    struct body_sink *sink = body_sink_new(b->store, b->conf.message_limit, NULL, NULL);

    body_sink_put(sink, STR("Subject: x\r\n\r\n"));
    body_sink_put(sink, str_of(large, 100000));
    atomic_store(&fail_flush, 1);
    assert_int_equal(bed_flush(b, sink), -1);
    atomic_store(&fail_flush, 0);
    assert_int_equal(body_sink_error(sink)->kind, ERR_TEMP);
    body_sink_free(&sink);
    until_no_files(b);
    assert_false(store_read_only(b->store));
}

/* ---- Structure. */

static int spoil_meta(struct store_tx *tx, void *ctx, struct err *err)
{
    (void)ctx;
    return sql_exec(store_tx_sql(tx), "UPDATE body_meta SET meta = x'ff00ff'", err);
}

static void structure_is_scanned_anew_when_meta_is_spoiled(void **state)
{
    struct bed *b = *state;
    struct mime_part *root;
    struct body_reader r;
    struct err err;
    struct feed f = {0};

    f.sink = body_sink_new(b->store, b->conf.message_limit, on_ready, &f);
    feed(b, &f,
         STR("Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nContent-Type: "
             "text/html\r\n\r\n<p>\r\n--q\r\n\r\n"),
         7);
    feed(b, &f, str_of(large, 100000), 8000);
    feed(b, &f, STR("\r\n--q--\r\n"), 100);
    assert_int_equal(bed_flush(b, f.sink), 0);
    uint64_t id = deliver_sink(b, f.sink);
    body_sink_free(&f.sink);
    bed_call(b, spoil_meta, NULL);
    assert_int_equal(body_open(b->reader, b->arena, id, BODY_WANT_META, &r, &err), 0);
    assert_int_equal(body_structure(&r, b->arena, &root, &err), 0);
    body_close(&r);
    assert_true(str_ieq(root->subtype, STR("mixed")));
    assert_true(str_ieq(root->child->subtype, STR("html")));
    assert_int_equal(root->child->next->body_size, 100000);
}

static void a_missing_file_is_noticed(void **state)
{
    struct bed *b = *state;
    struct body_sink *sink = body_sink_new(b->store, b->conf.message_limit, NULL, NULL);
    char path[BODY_PATH_MAX];
    struct body_reader r;
    struct err err;

    body_sink_put(sink, STR("Subject: x\r\n\r\n"));
    body_sink_put(sink, str_of(large, 100000));
    assert_int_equal(bed_flush(b, sink), 0);
    uint64_t id = deliver_sink(b, sink);
    body_sink_free(&sink);
    body_path(id, path);
    assert_int_equal(unlinkat(b->store->bodies_fd, path, 0), 0);
    assert_int_equal(body_open(b->reader, b->arena, id, BODY_WANT_DATA, &r, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    b->problems = 0;
    struct mailbox_info m = bed_mailbox(b, bed_account(b, "a@x"), "INBOX");
    assert_int_equal(mailbox_check(b->reader, b->arena, m.id, bed_problem, b, &err), 0);
    assert_int_equal(b->problems, 1);
}

static uint64_t stopped_clock;

static int64_t clock_wall_ms_real(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t stopped_mono(void)
{
    return stopped_clock;
}

static void min_free_is_watched(void **state)
{
    struct bed *b = *state;
    static const struct clock_source stopped = {stopped_mono, clock_wall_ms_real};

    stopped_clock = clock_mono_ms();
    clock_replace(&stopped);
    assert_false(store_low_on_space(b->store));
    b->conf.min_free = UINT64_MAX / 2;
    assert_false(store_low_on_space(b->store)); /* not asked at every message */
    stopped_clock += 1000;
    assert_true(store_low_on_space(b->store));
    clock_replace(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(large_data_becomes_a_file),
        BED_TEST(the_sender_is_asked_to_pause),
        BED_TEST(small_data_is_a_row),
        BED_TEST(exactly_the_limit_is_a_row),
        BED_TEST(heads_end_where_they_end),
        BED_TEST(the_head_may_be_edited),
        BED_TEST(limits_are_kept),
        BED_TEST(a_sink_may_end_at_any_time),
        BED_TEST(a_refused_body_leaves_no_file),
        BED_TEST(a_failed_flush_refuses_the_message),
        BED_TEST(structure_is_scanned_anew_when_meta_is_spoiled),
        BED_TEST(a_missing_file_is_noticed),
        BED_TEST(min_free_is_watched),
    };
    make_large();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
