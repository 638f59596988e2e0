/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The PROXY protocol: the parser, and connections behind a proxy. */
#include "appliance/io/listener.h"
#include "appliance/io/proxy.h"
#include "end.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define V2_IPV4 V2 "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\1\xdc\4\0\x19"

/* A literal as an initialiser of static data. */
#define STR_IN(lit)                                                                                \
    {                                                                                              \
        "" lit "", sizeof(lit) - 1                                                                 \
    }

static struct proxy_client client;
static struct err err;
static size_t used;

static enum proxy_result parse(struct str in)
{
    return proxy_parse(in, &client, &used, &err);
}

static void is_client(struct str in, const char *ip, unsigned port)
{
    assert_int_equal(parse(in), PROXY_OK);
    assert_true(client.known);
    assert_string_equal(client.ip, ip);
    assert_int_equal(client.port, port);
}

static void version_1(void **state)
{
    (void)state;
    is_client(STR("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\nEHLO x\r\n"), "192.0.2.1", 56324);
    assert_int_equal(used, 44);
    is_client(STR("PROXY TCP6 2001:DB8::1 ::2 1 65535\r\n"), "2001:db8::1", 1);
    is_client(STR("PROXY TCP6 ::ffff:192.0.2.9 ::1 0 0\r\n"), "192.0.2.9", 0);
    assert_false(client.v6);
    assert_int_equal(parse(STR("PROXY UNKNOWN\r\n")), PROXY_OK);
    assert_false(client.known);
    assert_int_equal(parse(STR("PROXY UNKNOWN ff::1 ff::1 1 2\r\n")), PROXY_OK);
    assert_false(client.known);
}

static void version_2(void **state)
{
    (void)state;
    is_client(STR(V2_IPV4 "EHLO x\r\n"), "192.0.2.1", 56324);
    assert_int_equal(used, 28);
    is_client(STR(V2 "\x21\x11\0\x13\xc0\0\2\1\xc6\x33\x64\1\xdc\4\0\x19\3\0\4abcdEHLO"),
              "192.0.2.1", 56324);
    assert_int_equal(used, 35);
    is_client(STR(V2 "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\x0d\xb8\0\0\0\0\0"
                     "\0\0\0\0\0\0\2"
                     "\xdc\4\0\x19"),
              "2001:db8::1", 56324);
    assert_true(client.v6);
    assert_int_equal(parse(STR(V2 "\x20\x11\0\0")), PROXY_OK);
    assert_false(client.known);
    assert_int_equal(parse(STR(V2 "\x21\0\0\1x")), PROXY_OK);
    assert_false(client.known);
}

static void in_pieces(void **state)
{
    static const struct str headers[] = {{V2_IPV4, sizeof V2_IPV4 - 1},
                                         {"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n", 44}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        for (size_t n = 0; n <= headers[i].n; n++)
            assert_int_equal(parse(str_take(headers[i], n)),
                             n < headers[i].n ? PROXY_MORE : PROXY_OK);
}

static void refused(void **state)
{
    static const struct str wrong[] = {
        STR_IN("EHLO client.example\r\n"),
        STR_IN("\x16\x03\x01"),
        STR_IN("\r\n\r\nQ"),
        STR_IN("PROXI"),
        STR_IN("PROXY \r\n"),
        STR_IN("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n"),
        STR_IN("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25 1\r\n"),
        STR_IN("PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n"),
        STR_IN("PROXY TCP4 192.0.2.1 198.51.100.1 -1 25\r\n"),
        STR_IN("PROXY TCP4 192.0.2.1 198.51.100.1 01 25\r\n"),
        STR_IN("PROXY TCP4 ::1 ::1 1 25\r\n"),
        STR_IN("PROXY TCP6 192.0.2.1 192.0.2.1 1 25\r\n"),
        STR_IN("PROXY TCP4 192.0.2.1\0 198.51.100.1 1 25\r\n"),
        STR_IN("PROXY TCP4  192.0.2.1 198.51.100.1 1 25\r\n"),
        STR_IN("PROXY UDP4 192.0.2.1 198.51.100.1 1 25\r\n"),
        STR_IN("PROXY UNKNOWNX\r\n"),
        STR_IN(V2 "\x11\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\1\xdc\4\0\x19"),
        STR_IN(V2 "\x22\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\1\xdc\4\0\x19"),
        STR_IN(V2 "\x21\x12\0\x0c\xc0\0\2\1\xc6\x33\x64\1\xdc\4\0\x19"),
        STR_IN(V2 "\x21\x11\0\x0b\xc0\0\2\1\xc6\x33\x64\1\xdc\4\0"),
        STR_IN(V2 "\x21\x11\xff\xff"),
    };
    char line[200] = "PROXY UNKNOWN ";
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (parse(wrong[i]) != PROXY_BAD)
            fail_msg("number %zu: " STR_FMT, i, STR_ARG(wrong[i]));
    memset(line + 14, 'x', 186);
    assert_int_equal(parse(str_of(line, 106)), PROXY_MORE);
    assert_int_equal(parse(str_of(line, 107)), PROXY_BAD);
}

/* ---- behind a proxy */
static struct loop *loop;
static struct listener *ln;
static struct conn *conn;
static struct cidr_set proxies;
static char events[64], opened_by[64], input[256];

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
    static const char letters[] = "OTIDtEC";
    (void)ctx;
    size_t n = strlen(events);
    if (n + 1 < sizeof events && (ev != CONN_INPUT || n == 0 || events[n - 1] != 'I'))
        events[n] = letters[ev];
    if (ev == CONN_OPEN)
        snprintf(opened_by, sizeof opened_by, "%s:%u", conn_peer(c)->ip,
                 (unsigned)conn_peer(c)->port);
    if (ev == CONN_INPUT) {
        struct str in = conn_input(c);
        strncat(input, in.p, in.n);
        conn_consume(c, in.n);
    }
}

static void on_accept(void *ctx, struct conn *c)
{
    (void)ctx;
    conn = c;
    conn_set_handler(c, on_event, NULL);
}

static int begin(void **state)
{
    (void)state;
    memset(events, 0, sizeof events);
    memset(opened_by, 0, sizeof opened_by);
    memset(input, 0, sizeof input);
    loop = loop_new();
    conn = NULL;
    assert_int_equal(cidr_set_parse(STR("127.0.0.1"), &proxies, &err), 0);
    assert_int_equal(listener_open("127.0.0.1", 0, &ln, &err), 0);
    struct listener_conf conf = {.on_accept = on_accept, .proxies = &proxies};
    return listener_start(ln, loop, &conf, &err);
}

static int end(void **state)
{
    (void)state;
    conn_close(&conn);
    listener_stop(&ln);
    spin(loop);
    clock_replace(NULL);
    loop_free(&loop);
    cidr_set_free(&proxies);
    return 0;
}

static int dial(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(listener_port(ln))};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void put(int fd, struct str s)
{
    assert_int_equal(send(fd, s.p, s.n, 0), (ssize_t)s.n);
    for (int i = 0; i < 5; i++)
        spin(loop);
}

static void client_is_shown(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, STR("PROXY TCP4 192.0.2.1 198.51.1"));
    assert_string_equal(events, "");
    put(fd, STR("00.1 56324 25\r\nhello"));
    assert_string_equal(events, "OI");
    assert_string_equal(opened_by, "192.0.2.1:56324");
    assert_string_equal(input, "hello");
    put(fd, STR(" again"));
    assert_string_equal(input, "hello again");
    close(fd);
}

static void byte_by_byte(void **state)
{
    (void)state;
    struct str all = {V2_IPV4 "x", sizeof V2_IPV4};
    int fd = dial();
    for (size_t i = 0; i < all.n; i++)
        put(fd, str_take(str_skip(all, i), 1));
    assert_string_equal(opened_by, "192.0.2.1:56324");
    assert_string_equal(input, "x");
    close(fd);
}

static void health_check_keeps_its_address(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, STR("PROXY UNKNOWN\r\n"));
    assert_true(str_starts(str_from(opened_by), STR("127.0.0.1:")));
    close(fd);
}

static void without_header_it_ends(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, STR("EHLO x\r\n"));
    assert_string_equal(events, "C");
    assert_non_null(strstr(conn_error(conn)->text, "PROXY"));
    close(fd);
}

static void it_ends_before_the_header_does(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, STR("PROXY"));
    close(fd);
    while (!strchr(events, 'C'))
        loop_turn(loop, true);
    assert_string_equal(events, "C");
}

static void from_others_it_is_no_header(void **state)
{
    struct cidr_set none = {NULL, 0};
    (void)state;
    listener_set(ln, NULL, &none);
    int fd = dial();
    put(fd, STR("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n"));
    assert_true(str_starts(str_from(opened_by), STR("127.0.0.1:")));
    assert_true(str_starts(str_from(input), STR("PROXY TCP4")));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1),
        cmocka_unit_test(version_2),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(refused),
        cmocka_unit_test_setup_teardown(client_is_shown, begin, end),
        cmocka_unit_test_setup_teardown(byte_by_byte, begin, end),
        cmocka_unit_test_setup_teardown(health_check_keeps_its_address, begin, end),
        cmocka_unit_test_setup_teardown(without_header_it_ends, begin, end),
        cmocka_unit_test_setup_teardown(it_ends_before_the_header_does, begin, end),
        cmocka_unit_test_setup_teardown(from_others_it_is_no_header, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
