/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A scanner of its own that dies, hangs or talks nonsense: this program plays it, and does what
 * words in the message tell it. Nobody passes unscanned, nobody waits for ever, and only who is to
 * blame is blamed. */
#include "appliance/io/runner.h"
#include "filters/clamav.h"
#include "filters/clamav_scanner.h"
#include "filters/clamav_status.h"
#include "filters/clamav_wire.h"
#include "tests/unit/filters/world.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* ---- The scanner */

static const char *folder;

static bool there(const char *name)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/* True for one of all processes. */
static bool first(const char *name)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void stop(void)
{
    for (;;)
        pause();
}

static bool receive(struct clamav_packet *p, int fds[2])
{
    char text[CLAMAV_PACKET], room[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(16)));
    struct iovec iov = {text, sizeof text};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    ssize_t n = recvmsg(STDIN_FILENO, &m, 0);

    if (n <= 0 || !CMSG_FIRSTHDR(&m))
        return false;
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), CMSG_FIRSTHDR(&m)->cmsg_len - CMSG_LEN(0));
    return clamav_packet_take(str_of(text, (size_t)n), p);
}

static void answer(int fd, const struct clamav_packet *p)
{
    char text[CLAMAV_PACKET];

    (void)!send(fd, text, clamav_packet_put(p, text), MSG_NOSIGNAL);
    close(fd);
}

static void scan(int message, int to)
{
    struct clamav_packet p = {.kind = CLAMAV_SCANNED};
    char text[4096];
    ssize_t n = pread(message, text, sizeof text - 1, 0);

    close(message);
    text[n > 0 ? n : 0] = '\0';
    if (strstr(text, "Die\r\n") || (strstr(text, "Die once") && first("died")))
        die();
    if (strstr(text, "Hang\r\n") || (strstr(text, "Hang once") && first("hung")))
        stop();
    if (strstr(text, "Garbage")) {
        (void)!send(to, "\4garbage", 8, MSG_NOSIGNAL);
        stop();
    }
    while (strstr(text, "Wait") && !there("go"))
        usleep(1000);
    if (strstr(text, "Virus"))
        p = (struct clamav_packet){
            .kind = CLAMAV_SCANNED, .result = CLAMAV_INFECTED, .text = "Test.Played"};
    answer(to, &p);
}

static void *serve(void *none)
{
    struct clamav_packet p;
    int fds[2];

    while (receive(&p, fds))
        scan(fds[0], fds[1]);
    _exit(0);
    return none;
}

static int play(void)
{
    struct clamav_packet p;
    pthread_t thread;
    int fds[2];

    if (!receive(&p, fds) || p.kind != CLAMAV_LOAD)
        return 1;
    if (there("deadly"))
        die();
    answer(fds[0], &(struct clamav_packet){.kind = CLAMAV_LOADED, .loaded = true, .signatures = 1});
    for (unsigned i = 1; i < p.threads; i++)
        if (pthread_create(&thread, NULL, serve, NULL))
            return 1;
    serve(NULL);
    return 0;
}

/* ---- The server */

static struct world w;
static char signatures[96];
static struct runner runner = {.fd = -1};
static uint64_t last_id;

static void put(const char *name)
{
    char path[160];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", signatures, name);
    assert_non_null(f = fopen(path, "w"));
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
    char line[160];
    struct err err = {0};

    (void)state;
    assert_int_equal(runner_start(&runner, &(struct runner_conf){0}, &err), 0);
    world_init(&w);
    w.runner = &runner;
    world_store(&w);
    snprintf(signatures, sizeof signatures, "%s/signatures", w.dir);
    assert_int_equal(mkdir(signatures, 0700), 0);
    snprintf(line, sizeof line, "clamav.database=%s", signatures);
    world_set(&w, line);
    world_set(&w, "clamav.isolation=process");
    world_set(&w, "clamav.check=100ms");
    world_set(&w, "clamav.threads=8");
    world_set(&w, "clamav.wait=1min");
    world_set(&w, "clamav.deadline=2min");
    world_set(&w, "clamav.scan_time=50s");
    put("own.ndb");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_fini(&w);
    runner_stop(&runner);
    return 0;
}

/* A message with these words in it. */
static struct chain *sent(const char *words)
{
    static const char *const rcpts[] = {"b@example.com", NULL};
    const struct ph_view v = {.mail_from = "a@example.net", .rcpts = rcpts, .n_rcpts = 1};
    const struct chain_message m = {
        .head = STR("From: a@example.net\r\n\r\n"), .data = str_from(words), .fd = -1};
    struct chain *c = chain_new(w.filters, 1);

    chain_transaction(c, ++last_id);
    if (chain_run(c, PH_MESSAGE, &v, &m, NULL, world_on_answer, &w) == CHAIN_DONE)
        w.answers++;
    return c;
}

static struct chain_answer judged(const char *words)
{
    unsigned before = w.answers;
    struct chain *c = sent(words);

    while (w.answers == before)
        world_turn(&w);
    struct chain_answer a = *chain_answer(c);
    chain_free(&c);
    return a;
}

static struct clamav_status status(void)
{
    struct clamav_status st;

    assert_true(clamav_status(w.filters, &st));
    return st;
}

static void answers_come(void **state)
{
    (void)state;
    world_open(&w);
    assert_int_equal(judged("Hello\r\n").verdict, PH_PASS);
    assert_int_equal(judged("Virus\r\n").verdict, PH_REJECT);
    assert_true(status().ready);
    assert_true(status().pid > 0);
    assert_int_equal(status().deaths, 0);
}

static void scanned_again_when_it_died(void **state)
{
    (void)state;
    world_open(&w);
    assert_int_equal(judged("Die once\r\n").verdict, PH_PASS);
    assert_int_equal(status().deaths, 1);
    assert_int_equal(judged("Die once Virus\r\n").verdict, PH_REJECT);
    assert_int_equal(status().deaths, 1);
}

static void scanned_again_when_it_hung(void **state)
{
    (void)state;
    world_set(&w, "clamav.scan_time=5s");
    world_open(&w);
    assert_int_equal(judged("Hang once, Virus\r\n").verdict, PH_REJECT);
    assert_int_equal(status().deaths, 1);
}

static void nonsense_is_no_answer(void **state)
{
    (void)state;
    world_open(&w);
    struct chain_answer a = judged("Garbage\r\n");
    assert_int_equal(a.verdict, PH_DEFER);
    assert_non_null(strstr(a.reason, "dies of this message"));
    assert_int_equal(judged("Hello\r\n").verdict, PH_PASS);
}

static void poison(void **state)
{
    static const struct {
        const char *set;
        enum ph_verdict verdict;
        bool hold;
    } cases[] = {{"clamav.poison=defer", PH_DEFER, false},
                 {"clamav.poison=hold", PH_PASS, true},
                 {"clamav.poison=quarantine", PH_QUARANTINE, false},
                 {"clamav.poison=reject", PH_REJECT, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (i) {
            assert_int_equal(tear_down(NULL), 0);
            assert_int_equal(set_up(NULL), 0);
        }
        world_set(&w, cases[i].set);
        world_open(&w);
        struct chain_answer a = judged("Die\r\n");
        assert_int_equal(a.verdict, cases[i].verdict);
        assert_int_equal(a.hold, cases[i].hold);
        assert_int_equal(status().deaths, 2);
        /* It comes again, as held mail does: it isn't tried any more. */
        last_id--;
        assert_int_equal(judged("Die\r\n").verdict, cases[i].verdict);
        assert_int_equal(status().deaths, 2);
        assert_int_equal(judged("Hello\r\n").verdict, PH_PASS);
    }
}

/* All are under way when it dies of one of them; the others are scanned and pass. */
static void only_who_is_to_blame(void **state)
{
    static const char *const words[] = {"Wait\r\n", "Wait, Virus\r\n", "Wait\r\n",
                                        "Die\r\n",  "Wait\r\n",        "Hello\r\n"};
    static const enum ph_verdict verdicts[] = {PH_PASS,  PH_REJECT, PH_PASS,
                                               PH_DEFER, PH_PASS,   PH_PASS};
    struct chain *all[ARRAY_LEN(words)];

    (void)state;
    world_open(&w);
    assert_int_equal(judged("Hello\r\n").verdict, PH_PASS);
    w.answers = 0;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        all[i] = sent(words[i]);
    while (status().deaths == 0)
        world_turn(&w);
    put("go");
    while (w.answers < ARRAY_LEN(words))
        world_turn(&w);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        assert_int_equal(chain_answer(all[i])->verdict, verdicts[i]);
        chain_free(&all[i]);
    }
    assert_int_equal(status().deaths, 2);
}

static void cut_off_while_it_is_suspected(void **state)
{
    struct chain *all[4];

    (void)state;
    world_open(&w);
    assert_int_equal(judged("Hello\r\n").verdict, PH_PASS);
    w.answers = 0;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i] = sent(i ? "Wait\r\n" : "Die\r\n");
    while (status().deaths == 0)
        world_turn(&w);
    chain_free(&all[0]);
    chain_free(&all[1]);
    put("go");
    while (w.answers < 2)
        world_turn(&w);
    for (size_t i = 2; i < ARRAY_LEN(all); i++) {
        assert_int_equal(chain_answer(all[i])->verdict, PH_PASS);
        chain_free(&all[i]);
    }
}

static void dies_with_nothing_to_do(void **state)
{
    (void)state;
    world_open(&w);
    assert_int_equal(judged("Hello\r\n").verdict, PH_PASS);
    pid_t pid = status().pid;
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (status().deaths == 0)
        world_turn(&w);
    assert_int_equal(judged("Virus\r\n").verdict, PH_REJECT);
    assert_int_not_equal(status().pid, pid);
    assert_int_equal(kill(status().pid, SIGKILL), 0); /* and nobody has noticed yet */
    assert_int_equal(judged("Virus\r\n").verdict, PH_REJECT);
    assert_int_equal(status().deaths, 2);
}

static void dies_while_it_loads(void **state)
{
    char path[160];

    (void)state;
    put("deadly");
    world_open(&w);
    while (status().deaths == 0)
        world_turn(&w);
    struct chain_answer a = judged("Hello\r\n");
    while (a.verdict == PH_PASS && a.hold) /* another one was just being loaded */
        a = judged("Hello\r\n");
    assert_int_equal(a.verdict, PH_DEFER);
    assert_non_null(strstr(a.reason, "killed by signal 9"));
    snprintf(path, sizeof path, "%s/deadly", signatures);
    assert_int_equal(unlink(path), 0);
    while (!status().ready)
        world_turn(&w);
    assert_int_equal(judged("Virus\r\n").verdict, PH_REJECT);
}

/* The runner of scanners comes back by itself (tests/unit/io/test_runner.c), its supervisor not. */
static void the_supervisor_dies(void **state)
{
    (void)state;
    world_open(&w);
    assert_int_equal(judged("Hello\r\n").verdict, PH_PASS);
    assert_int_equal(kill(runner.pid, SIGKILL), 0);
    while (status().deaths < 2) /* it, and the one that couldn't be started */
        world_turn(&w);
    struct chain_answer a = judged("Hello\r\n");
    assert_int_equal(a.verdict, PH_DEFER);
    assert_non_null(strstr(a.reason, "restart posthouse"));
}

static void other_signatures_meanwhile(void **state)
{
    static const char *const ways[] = {"clamav.concurrent_reload=no",
                                       "clamav.concurrent_reload=yes"};
    struct chain *c;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        if (i) {
            assert_int_equal(tear_down(NULL), 0);
            assert_int_equal(set_up(NULL), 0);
        }
        world_set(&w, ways[i]);
        world_open(&w);
        assert_int_equal(judged("Hello\r\n").verdict, PH_PASS);
        pid_t pid = status().pid;
        w.answers = 0;
        c = sent("Wait, Virus\r\n"); /* it keeps the old one alive */
        put("other.ndb");
        while (status().pid == pid)
            world_turn(&w);
        assert_int_equal(w.answers, 0);
        put("go");
        while (!w.answers)
            world_turn(&w);
        assert_int_equal(chain_answer(c)->verdict, PH_REJECT);
        chain_free(&c);
        while (kill(pid, 0) == 0)
            world_turn(&w);
        assert_int_equal(judged("Virus\r\n").verdict, PH_REJECT);
        assert_int_equal(status().deaths, 0);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_come, set_up, tear_down),
        cmocka_unit_test_setup_teardown(scanned_again_when_it_died, set_up, tear_down),
        cmocka_unit_test_setup_teardown(scanned_again_when_it_hung, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nonsense_is_no_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(poison, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_who_is_to_blame, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut_off_while_it_is_suspected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dies_with_nothing_to_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dies_while_it_loads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_supervisor_dies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_signatures_meanwhile, set_up, tear_down),
    };

    if (argc > 2 && strcmp(argv[1], CLAMAV_SCANNER_WORD) == 0) {
        folder = argv[2];
        return play();
    }
    if (!clamav_engine_built()) {
        print_message("built without libclamav\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
