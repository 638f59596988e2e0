/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The stage `milter` against milters that follow a script. */
#include "tests/unit/filters/milter_peer.h"

static struct world w;
static struct peer peers[2];
static char dir[64];
static struct chain *chain;
static const char *const rcpts[] = {"b@example.com", "c@example.com", NULL};
static struct ph_view view;
static struct chain_message message;

#define CONTINUE "\0\0\0\1c"
#define ACCEPT "\0\0\0\1a"

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/ph-milter-XXXXXX");
    assert_non_null(mkdtemp(dir));
    peer_init(&peers[0], dir, "one");
    peer_init(&peers[1], dir, "two");
    world_init(&w);
    chain = NULL;
    view = (struct ph_view){.client_ip = "192.0.2.1",
                            .port = "smtp",
                            .host = "mx.example.com",
                            .tls = "TLSv1.3 TLS_AES_256_GCM_SHA384",
                            .helo = "there",
                            .mail_from = "a@example.net",
                            .rcpts = rcpts,
                            .rcpt = ""};
    message = (struct chain_message){.head = STR("From: a@example.net\r\nSubject: x\r\n\r\n"),
                                     .data = STR("Hello\r\n"),
                                     .fd = -1};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    chain_free(&chain);
    world_fini(&w);
    peer_stop(&peers[0]);
    peer_stop(&peers[1]);
    rmdir(dir);
    return 0;
}

static void set(const char *fmt, const char *value)
{
    char line[400];
    snprintf(line, sizeof line, "milter.%s=%s", fmt, value);
    world_set(&w, line);
}

/* n milters; those that are started run already. */
static void start(int n)
{
    char list[400] = "";
    for (int i = 0; i < n; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%sunix:%s", i ? ", " : "",
                 peers[i].path);
    set("endpoints", list);
    world_open(&w);
    chain = chain_new(w.filters, 77);
}

static const struct chain_answer *ask(enum ph_point at)
{
    unsigned before = w.answers;
    struct ph_view v = view;
    if (at == PH_CONNECT)
        v.helo = "";
    if (chain_run(chain, at, &v, at == PH_MESSAGE ? &message : NULL, NULL, world_on_answer, &w) ==
        CHAIN_WAIT)
        while (w.answers == before)
            world_turn(&w);
    return chain_answer(chain);
}

static void assert_passes(enum ph_point at)
{
    const struct chain_answer *a = ask(at);
    if (a->verdict != PH_PASS)
        fail_msg("%s: %s", ph_point_name(at), a->reason);
}

static void to_mail(uint64_t id)
{
    chain_transaction(chain, id);
    view.n_rcpts = 0;
    assert_passes(PH_MAIL);
}

static enum ph_verdict rcpt(void)
{
    view.rcpt = rcpts[view.n_rcpts];
    enum ph_verdict v = ask(PH_RCPT)->verdict;
    view.n_rcpts++;
    view.rcpt = "";
    return v;
}

/* To the end of a message of one recipient. */
static const struct chain_answer *whole_mail(uint64_t id)
{
    to_mail(id);
    assert_int_equal(rcpt(), PH_PASS);
    return ask(PH_MESSAGE);
}

static void assert_head(const char *wanted)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    if (!chain_edit_head(chain, message.head, &out))
        buf_add_str(&out, message.head);
    assert_string_equal(buf_z(&out), wanted);
    buf_fini(&out);
}

static const struct chain_action *action(enum chain_action_kind kind)
{
    for (const struct chain_action *a = chain_actions(chain); a; a = a->next)
        if (a->kind == kind)
            return a;
    return NULL;
}

static const char mail_log[] = "M<a@example.net>| R<b@example.com>| T LFrom|a@example.net| "
                               "LSubject|x| N B E ";

static void a_session(void **state)
{
    (void)state;
    peer_start(&peers[0]);
    start(1);
    assert_passes(PH_CONNECT);
    assert_passes(PH_HELO);
    peer_assert_heard(&peers[0], "O C[192.0.2.1]|4||192.0.2.1| Hthere| ");
    assert_int_equal(whole_mail(5)->verdict, PH_PASS);
    peer_assert_heard(&peers[0], mail_log);
    peer_assert_macros(&peers[0], "DCj|mx.example.com|_|[192.0.2.1]|v|posthouse ");
    peer_assert_macros(&peers[0], "{daemon_name}|smtp|");
    peer_assert_macros(&peers[0], "{client_addr}|192.0.2.1|{client_name}|[192.0.2.1]|");
    peer_assert_macros(&peers[0], "DH{tls_version}|TLSv1.3|{cipher}|TLS_AES_256_GCM_SHA384| ");
    peer_assert_macros(&peers[0], "DMi|5|{mail_addr}|a@example.net|{mail_host}|example.net|");
    peer_assert_macros(&peers[0], "DRi|5|{rcpt_addr}|b@example.com|{rcpt_host}|example.com|");
    /* the next mail, on the same connection */
    view.auth_user = "karl@example.com";
    assert_int_equal(whole_mail(6)->verdict, PH_PASS);
    peer_assert_heard(&peers[0], mail_log);
    peer_assert_macros(&peers[0], "DMi|6|{auth_type}|PLAIN|{auth_authen}|karl@example.com|");
    /* one that is given up */
    to_mail(7);
    assert_int_equal(rcpt(), PH_PASS);
    assert_int_equal(rcpt(), PH_PASS);
    to_mail(8);
    peer_assert_heard(&peers[0], "M<a@example.net>| R<b@example.com>| R<c@example.com>| A "
                                 "M<a@example.net>| ");
    assert_int_equal(peer_connections(&peers[0]), 1);
    chain_free(&chain);
    for (int i = 0; i < 3; i++)
        world_turn(&w);
    peer_has_heard(&peers[0], "Q ");
}

static void steps_left_out(void **state)
{
    (void)state;
    peers[0].steps = MILTER_NO_CONNECT | MILTER_NO_HELO | MILTER_NO_RCPT | MILTER_NO_BODY |
                     MILTER_NO_DATA | MILTER_NO_HEADERS_END;
    peers[1].steps = MILTER_NR_CONNECT | MILTER_NR_HELO | MILTER_NR_MAIL | MILTER_NR_RCPT |
                     MILTER_NR_DATA | MILTER_NR_HEADER | MILTER_NR_HEADERS_END | MILTER_NR_BODY |
                     MILTER_LEADING_SPACE;
    peer_start(&peers[0]);
    peer_start(&peers[1]);
    start(2);
    assert_passes(PH_CONNECT);
    assert_passes(PH_HELO);
    assert_int_equal(whole_mail(5)->verdict, PH_PASS);
    peer_assert_heard(&peers[0], "O M<a@example.net>| LFrom|a@example.net| LSubject|x| E ");
    peer_assert_heard(&peers[1], "O C[192.0.2.1]|4||192.0.2.1| Hthere| M<a@example.net>| "
                                 "R<b@example.com>| T LFrom| a@example.net| LSubject| x| N B E ");
}

static void an_old_one(void **state)
{
    (void)state;
    peers[0].version = 2;
    peers[0].actions = 0x3f;
    peer_start(&peers[0]);
    start(1);
    assert_int_equal(whole_mail(5)->verdict, PH_PASS);
    peer_assert_heard(&peers[0], "O C[192.0.2.1]|4||192.0.2.1| Hthere| M<a@example.net>| "
                                 "R<b@example.com>| LFrom|a@example.net| LSubject|x| N B E ");
}

static void macros_of_its_choice(void **state)
{
    (void)state;
    peers[0].wants = "{mail_addr} j nonsense";
    peer_start(&peers[0]);
    start(1);
    to_mail(5);
    peer_assert_macros(&peers[0], "DM{mail_addr}|a@example.net|j|mx.example.com| ");
}

static const struct ph_host *namer;

static int namer_open(const struct ph_host *host, const void *conf, void **inst, struct ph_err *why)
{
    (void)conf;
    (void)inst;
    (void)why;
    namer = host;
    return 0;
}

static void namer_on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    (void)inst;
    (void)conf;
    (void)at;
    assert_int_equal(namer->fact_set(namer->acts(namer, turn), "rdns.name", "client.example"), 0);
    namer->done(namer, turn, PH_PASS, NULL, NULL);
}

/* As it was found by the stage `rdns`. */
static void the_clients_name(void **state)
{
    (void)state;
    world_add(&w, (struct ph_stage){.name = "namer",
                                    .points = PH_AT(PH_CONNECT),
                                    .open = namer_open,
                                    .on_point = namer_on_point});
    set("on_error", "pass");
    peers[0].wants = "{client_name} {client_ptr} client_resolve";
    start(1);
    (void)ask(PH_CONNECT); /* it doesn't run yet */
    peer_start(&peers[0]);
    to_mail(5);
    peer_assert_heard(&peers[0], "O Cclient.example|4||192.0.2.1| Hthere| M<a@example.net>| ");
    peer_assert_macros(&peers[0], "DM{client_name}|client.example|{client_ptr}|client.example|"
                                  "{client_resolve}|OK| ");
}

/* What it says at a point is the answer there. */
static void verdicts(void **state)
{
    static const struct {
        char command;
        struct str answer;
        enum ph_point at;
        enum ph_verdict verdict;
        unsigned code;
        const char *text;
    } cases[] = {
        {'C', STR("\0\0\0\1r"), PH_CONNECT, PH_REJECT, 550, NULL},
        {'C', STR("\0\0\0\1t"), PH_CONNECT, PH_DEFER, 451, NULL},
        {'H', STR("\0\0\0\x14y550 5.7.1 Bad name\0"), PH_HELO, PH_REJECT, 550, "Bad name"},
        {'M', STR("\0\0\0\1t"), PH_MAIL, PH_DEFER, 451, NULL},
        {'M',
         STR("\0\0\0\1"
             "4"),
         PH_MAIL, PH_DEFER, 421, "Try again later"},
        {'M', STR("\0\0\0\1d"), PH_MAIL, PH_DISCARD, 0, NULL},
        {'R', STR("\0\0\0\1r"), PH_RCPT, PH_REJECT, 550, NULL},
        {'R', STR("\0\0\0\x11y451 4.7.1 Later\0"), PH_RCPT, PH_DEFER, 451, "Later"},
        {'T', STR("\0\0\0\1r"), PH_MESSAGE, PH_REJECT, 550, NULL},
        {'L', STR("\0\0\0\1t"), PH_MESSAGE, PH_DEFER, 451, NULL},
        {'N', STR("\0\0\0\1d"), PH_MESSAGE, PH_DISCARD, 0, NULL},
        {'B', STR("\0\0\0\1r"), PH_MESSAGE, PH_REJECT, 550, NULL},
        {'E', STR("\0\0\0\x0ay550 Spam\0"), PH_MESSAGE, PH_REJECT, 550, "Spam"},
        {'E', STR("\0\0\0\1p\0\0\0\1p\0\0\0\5qwhy\0" CONTINUE), PH_MESSAGE, PH_QUARANTINE, 0, NULL},
        {'E', STR("\0\0\0\x0ay250 Fine\0"), PH_MESSAGE, PH_DEFER, 451, NULL}, /* it failed */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const enum ph_point way[] = {PH_CONNECT, PH_HELO, PH_MAIL, PH_RCPT, PH_MESSAGE};
        set_up(NULL);
        peer_rule(&peers[0], cases[i].command, cases[i].answer);
        peer_start(&peers[0]);
        start(1);
        for (size_t at = 0; way[at] != cases[i].at; at++) {
            if (way[at] == PH_MAIL)
                chain_transaction(chain, 5);
            view.rcpt = rcpts[0];
            view.n_rcpts = way[at] > PH_RCPT;
            assert_passes(way[at]);
        }
        if (cases[i].at == PH_MAIL)
            chain_transaction(chain, 5);
        view.rcpt = cases[i].at == PH_RCPT ? rcpts[0] : "";
        const struct chain_answer *a = ask(cases[i].at);
        if (a->verdict != cases[i].verdict)
            fail_msg("case %zu: %s %s", i, ph_verdict_name(a->verdict), a->reason);
        if (cases[i].code)
            assert_int_equal(a->code, cases[i].code);
        if (cases[i].text)
            assert_string_equal(a->text, cases[i].text);
        tear_down(NULL);
    }
}

/* The first milter that refuses decides; ACCEPT is about that milter only. */
static void several(void **state)
{
    (void)state;
    peer_rule(&peers[0], 'M', STR(ACCEPT));
    peer_rule(&peers[1], 'R', STR("\0\0\0\1r"));
    peer_start(&peers[0]);
    peer_start(&peers[1]);
    start(2);
    to_mail(5);
    assert_int_equal(rcpt(), PH_REJECT);
    peer_assert_heard(&peers[0], "O C[192.0.2.1]|4||192.0.2.1| Hthere| M<a@example.net>| ");
    peer_assert_heard(&peers[1], "O C[192.0.2.1]|4||192.0.2.1| Hthere| M<a@example.net>| "
                                 "R<b@example.com>| ");
    to_mail(6); /* another transaction: it is asked again */
    peer_assert_heard(&peers[0], "A M<a@example.net>| ");
}

static void accepted_for_good(void **state)
{
    (void)state;
    peer_rule(&peers[0], 'C', STR(ACCEPT));
    peer_start(&peers[0]);
    start(1);
    assert_passes(PH_CONNECT);
    assert_int_equal(whole_mail(5)->verdict, PH_PASS);
    peer_assert_heard(&peers[0], "O C[192.0.2.1]|4||192.0.2.1| ");
}

static void refused_first(void **state)
{
    (void)state;
    peer_rule(&peers[0], 'R', STR("\0\0\0\1r"));
    peer_start(&peers[0]);
    peer_start(&peers[1]);
    start(2);
    to_mail(5);
    assert_int_equal(rcpt(), PH_REJECT);
    peer_assert_heard(&peers[1],
                      "O C[192.0.2.1]|4||192.0.2.1| Hthere| M<a@example.net>| "); /* no RCPT */
}

/* To a milter that is about the message. */
static void discarded_at_a_recipient(void **state)
{
    (void)state;
    peer_rule(&peers[0], 'R', STR("\0\0\0\1d"));
    peer_start(&peers[0]);
    start(1);
    to_mail(5);
    assert_int_equal(rcpt(), PH_PASS);
    assert_int_equal(rcpt(), PH_PASS);
    assert_int_equal(ask(PH_MESSAGE)->verdict, PH_DISCARD);
    peer_assert_heard(&peers[0], "O C[192.0.2.1]|4||192.0.2.1| Hthere| M<a@example.net>| "
                                 "R<b@example.com>| ");
}

static void changes(void **state)
{
    (void)state;
    peer_rule(&peers[0], 'E',
              STR("\0\0\0\x09hX-One\0"
                  "1\0"
                  "\0\0\0\x0fm\0\0\0\1Subject\0y\0"
                  "\0\0\0\x09-<b@x.y>\0"
                  "\0\0\0\x0e+<d@example>\0\0"
                  "\0\0\0\x13"
                  "2<d@example.com>\0A\0"
                  "\0\0\0\6"
                  "e<>\0A\0"
                  "\0\0\0\3bHi\0\0\0\7b\r\nyou\n" CONTINUE));
    peer_rule(&peers[1], 'E',
              STR("\0\0\0\x0di\0\0\0\1X-Two\0"
                  "2\0"
                  "\0\0\0\x0fm\0\0\0\1X-One\0new\0" ACCEPT));
    peer_start(&peers[0]);
    peer_start(&peers[1]);
    start(2);
    assert_int_equal(whole_mail(5)->verdict, PH_PASS);
    assert_head("X-Two: 2\r\nFrom: a@example.net\r\nSubject: y\r\nX-One: new\r\n\r\n");
    peer_has_heard(&peers[1], "LSubject|y| LX-One|1| ");
    assert_int_equal(peer_body(&peers[1]), strlen("Hi\r\nyou\r\n"));
    assert_true(str_eq(action(CHAIN_BODY)->value, STR("Hi\r\nyou\r\n")));
    assert_true(str_eq(action(CHAIN_RCPT_DELETE)->value, STR("b@x.y")));
    assert_true(str_eq(action(CHAIN_RCPT_ADD)->value, STR("d@example")));
    assert_true(str_eq(action(CHAIN_SENDER)->value, STR("")));
}

static void a_large_body(void **state)
{
    const size_t size = 3000000;
    char *large = mem_alloc(size);
    (void)state;
    memset(large, 'x', size);
    message.data = str_of(large, size);
    peers[1].steps = MILTER_NR_BODY;
    peer_rule(&peers[0], 'B', STR("\0\0\0\1s")); /* the rest isn't wanted */
    peer_start(&peers[0]);
    peer_start(&peers[1]);
    start(2);
    assert_int_equal(whole_mail(5)->verdict, PH_PASS);
    peer_has_heard(&peers[0], "E ");
    assert_int_equal(peer_body(&peers[0]), MILTER_DATA_MAX);
    peer_has_heard(&peers[1], "E ");
    assert_int_equal(peer_body(&peers[1]), size);
    mem_free(large);
}

/* ---- Milters that fail. */

static void broken_ones(void **state)
{
    static const struct {
        char command;
        struct str answer; /* p NULL: silence */
        bool close;
        const char *why;
    } cases[] = {
        {'O', STR_NULL, false, "it did not answer the negotiation"},
        {'O', STR_NULL, true, "it closed the connection"},
        {'O', STR("220 mx.example.com ESMTP\r\n"), false, "impossible length"},
        {'O', STR("\0\0\0\1c"), false, "does not speak the milter protocol"},
        {'O', STR("\0\0\0\x0dO\0\0\0\6\0\1\0\0\0\0\0\0"), false, "not offered"},
        {'M', STR_NULL, false, "it did not answer MAIL within"},
        {'M', STR_NULL, true, "it closed the connection, instead of an answer to MAIL"},
        {'M', STR("\0\0\0\0"), false, "impossible length"},
        {'M', STR("\x7f\xff\xff\xff"), false, "impossible length"},
        {'M', STR("\0\0\0\1Z"), false, "an answer of an unknown kind"},
        {'M', STR("\0\0\0\5yabcd"), false, "a malformed answer"},
        {'M', STR("\0\0\0\5y200\0"), false, "a reply that is none"},
        {'M', STR("\0\0\0\5hA\0b\0"), false, "changes before the end of the message"},
        {'E', STR_NULL, false, "it did not answer the end of the message"},
        {'E', STR("\0\0\0\1p"), false, "it did not answer the end of the message"},
        {'E', STR("\0\0\0\5hA\0b\0"), true, "instead of an answer to the end of the message"},
        {'E', STR("\0\0\0\3bHi"), false, "it did not answer the end of the message"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_up(NULL);
        if (cases[i].close)
            peer_rule_close(&peers[0], cases[i].command, cases[i].answer);
        else
            peer_rule(&peers[0], cases[i].command, cases[i].answer);
        peer_rule(&peers[1], 'E',
                  STR("\0\0\0\x09hX-Two\0"
                      "2\0" CONTINUE));
        peer_start(&peers[0]);
        peer_start(&peers[1]);
        /* Where it is about time, the machine may be slow at any other command, too. */
        const char *why = cases[i].why;
        bool timed = strstr(why, "did not answer") != NULL;
        set("command_timeout", timed ? "30ms" : "1min");
        set("content_timeout", timed ? "30ms" : "1min");
        set("deadline", "2min");
        set("on_error", "junk");
        start(2);
        chain_transaction(chain, 5);
        (void)ask(PH_MAIL);
        (void)rcpt();
        const struct chain_answer *a = ask(PH_MESSAGE);
        if (a->verdict != PH_JUNK || !strstr(a->reason, timed ? "did not answer" : why))
            fail_msg("case %zu: %s %s", i, ph_verdict_name(a->verdict), a->reason);
        /* what it has half done is forgotten, and the other one was asked */
        if (!timed)
            assert_head("From: a@example.net\r\nSubject: x\r\nX-Two: 2\r\n\r\n");
        assert_null(action(CHAIN_BODY));
        tear_down(NULL);
    }
}

static void nobody_listens(void **state)
{
    (void)state;
    start(1);
    assert_int_equal(ask(PH_CONNECT)->verdict, PH_DEFER);
    assert_non_null(strstr(chain_answer(chain)->reason, "there is no such socket"));
    peer_start(&peers[0]); /* in the next transaction it is there */
    chain_transaction(chain, 5);
    assert_passes(PH_MAIL);
    peer_assert_heard(&peers[0], "O C[192.0.2.1]|4||192.0.2.1| Hthere| M<a@example.net>| ");
}

/* It isn't asked at every command of a transaction whether it is back. */
static void failed_is_failed(void **state)
{
    (void)state;
    peer_rule_close(&peers[0], 'M', STR_NULL);
    peer_start(&peers[0]);
    set("on_error", "pass");
    start(1);
    assert_passes(PH_CONNECT);
    to_mail(5);
    assert_int_equal(rcpt(), PH_PASS);
    assert_int_equal(ask(PH_MESSAGE)->verdict, PH_PASS);
    assert_int_equal(peer_connections(&peers[0]), 1);
    to_mail(6);
    assert_int_equal(peer_connections(&peers[0]), 2);
}

/* One that was restarted is told everything from the beginning. */
static void restart(bool seen)
{
    peer_start(&peers[0]);
    start(1);
    assert_passes(PH_CONNECT);
    assert_passes(PH_HELO);
    to_mail(5);
    assert_int_equal(rcpt(), PH_PASS);
    peer_stop(&peers[0]);
    peer_init(&peers[0], dir, "one");
    peer_start(&peers[0]);
    for (int i = 0; seen && i < 50; i++)
        world_turn(&w);
    assert_int_equal(rcpt(), PH_PASS);
    assert_int_equal(ask(PH_MESSAGE)->verdict, PH_PASS);
    peer_assert_heard(&peers[0],
                      "O C[192.0.2.1]|4||192.0.2.1| Hthere| M<a@example.net>| "
                      "R<b@example.com>| R<c@example.com>| T LFrom|a@example.net| LSubject|x| N "
                      "B E ");
}

static void restarted(void **state)
{
    (void)state;
    restart(true);
}

static void restarted_unseen(void **state)
{
    (void)state;
    restart(false);
}

/* Once, that is. */
static void closes_again_and_again(void **state)
{
    (void)state;
    peer_rule_close(&peers[0], 'R', STR_NULL);
    peer_start(&peers[0]);
    start(1);
    to_mail(5);
    assert_int_equal(rcpt(), PH_DEFER);
    assert_non_null(strstr(chain_answer(chain)->reason, "instead of an answer to RCPT"));
    assert_int_equal(peer_connections(&peers[0]), 2);
}

/* Held mail comes without what was before it. */
static void message_only(void **state)
{
    (void)state;
    peer_start(&peers[0]);
    start(1);
    chain_transaction(chain, 5);
    view.n_rcpts = 2;
    assert_int_equal(ask(PH_MESSAGE)->verdict, PH_PASS);
    peer_has_heard(&peers[0], "Hthere| M<a@example.net>|SIZE=");
    peer_has_heard(&peers[0], "R<b@example.com>| R<c@example.com>| T ");
    peer_assert_macros(&peers[0], "{rcpt_addr}|b@example.com|");
    peer_assert_macros(&peers[0], "{rcpt_addr}|c@example.com|");
}

static void client_gone(void **state)
{
    (void)state;
    peer_rule(&peers[0], 'E', STR_NULL);
    peer_start(&peers[0]);
    set("content_timeout", "1h");
    set("deadline", "1h");
    start(1);
    to_mail(5);
    assert_int_equal(rcpt(), PH_PASS);
    struct ph_view v = view;
    assert_int_equal(chain_run(chain, PH_MESSAGE, &v, &message, NULL, world_on_answer, &w),
                     CHAIN_WAIT);
    for (size_t i = 0; i < 20; i++)
        world_turn(&w);
    chain_cancel(chain);
    to_mail(6); /* a new connection, as the old one owes an answer */
    assert_int_equal(peer_connections(&peers[0]), 2);
    assert_int_equal(chain_run(chain, PH_RCPT, &v, NULL, NULL, world_on_answer, &w), CHAIN_WAIT);
    chain_free(&chain); /* in the middle */
}

static void deadline(void **state)
{
    (void)state;
    peer_rule(&peers[0], 'M', STR_NULL);
    peer_start(&peers[0]);
    set("deadline", "30ms");
    start(1);
    chain_transaction(chain, 5);
    assert_int_equal(ask(PH_MAIL)->verdict, PH_DEFER);
    assert_non_null(strstr(chain_answer(chain)->reason, "deadline"));
}

static void names(void **state)
{
    (void)state;
    set("endpoints", "inet:milter.example:25");
    world_open(&w);
    chain = chain_new(w.filters, 1);
    assert_int_equal(ask(PH_CONNECT)->verdict, PH_DEFER); /* there is no resolver */
    assert_non_null(strstr(chain_answer(chain)->reason, "its name has no address"));
}

static void settings(void **state)
{
    static const char *const bad[] = {"nonsense", "inet:127.0.0.1", "unix:relative"};
    struct err err = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        set("endpoints", bad[i]);
        assert_int_equal(world_try_open(&w, &err), -1);
        assert_non_null(strstr(err.text, "milter: endpoints: \""));
    }
    set("endpoints", "unix:/a/b");
    const struct filters_env env = {
        .loop = w.loop, .registry = w.registry, .config = w.config, .sealed = true};
    assert_int_equal(filters_open(&env, &w.filters, &err), -1);
    assert_non_null(strstr(err.text, "sealed"));
    set("endpoints", "");
    world_open(&w);
    assert_false(filters_at(w.filters, PH_RCPT));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_session),
        TEST(steps_left_out),
        TEST(an_old_one),
        TEST(macros_of_its_choice),
        TEST(the_clients_name),
        cmocka_unit_test(verdicts),
        TEST(several),
        TEST(accepted_for_good),
        TEST(refused_first),
        TEST(discarded_at_a_recipient),
        TEST(changes),
        TEST(a_large_body),
        cmocka_unit_test(broken_ones),
        TEST(nobody_listens),
        TEST(failed_is_failed),
        TEST(restarted),
        TEST(restarted_unseen),
        TEST(closes_again_and_again),
        TEST(message_only),
        TEST(client_gone),
        TEST(deadline),
        TEST(names),
        TEST(settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
