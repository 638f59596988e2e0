/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The SMTP client and the SMTP server of this house. */
#include "appliance/base/log.h"
#include "smtp/client/client.h"
#include "world.h"

struct seen {
    bool ready, sent, closed;
};

static void on_ready(void *ctx)
{
    ((struct seen *)ctx)->ready = true;
}

static void on_closed(void *ctx, const struct smtp_fault *why)
{
    ((struct seen *)ctx)->closed = true;
    if (why->kind != SMTP_FAULT_NONE)
        fail_msg("%s %s (%s)", why->status, why->text, why->stage);
}

static void on_sent(void *ctx, struct smtp_client_mail *m)
{
    (void)m;
    ((struct seen *)ctx)->sent = true;
}

static void wait_for(struct world *w, const bool *what)
{
    timer_start(w->patience, PATIENCE_MS);
    while (!*what)
        world_turn(w);
}

static void send_mail(struct world *w, struct seen *seen, struct smtp_client *c,
                      struct smtp_client_mail *m)
{
    m->on_sent = on_sent;
    seen->sent = false;
    smtp_client_send(c, m);
    wait_for(w, &seen->sent);
}

static void delivers(void **state)
{
    (void)state;
    struct world w;
    struct seen seen = {0};
    struct smtp_client *c;
    struct buf data;
    struct smtp_client_rcpt rcpts[] = {{.address = STR("xandros@example.com")},
                                       {.address = STR("nobody@example.com")},
                                       {.address = STR("vivita@example.com")}};
    struct smtp_client_mail m = {.sender = STR("a@there.example"),
                                 .rcpts = rcpts,
                                 .n_rcpts = 3,
                                 .text = STR("Subject: x\r\n\r\n.\r\n..\r\nend"),
                                 .fd = -1};
    log_set_fd(-1);
    world_prepare(&w);
    world_start(&w, SMTP_RECEPTION, NULL);
    const struct lane_conf lane = {.name = "files", .threads = 1, .depth = 4};
    struct lane *files = lane_new(w.loop, &lane, &w.err);
    const struct smtp_client_conf conf = {
        .loop = w.loop,
        .files = files,
        .target = {.ip = "127.0.0.1", .port = listener_port(w.listener)},
        .host = "house.example",
        .hostname = "us.example",
        .log = {.module = "smtp"}};
    const struct smtp_client_events events = {on_ready, on_closed};
    assert_int_equal(smtp_client_open(&conf, &events, &seen, &c, &w.err), 0);
    wait_for(&w, &seen.ready);
    send_mail(&w, &seen, c, &m);
    assert_int_equal(rcpts[0].fault.kind, SMTP_FAULT_NONE);
    assert_int_equal(rcpts[1].fault.kind, SMTP_FAULT_PERM);
    assert_string_equal(rcpts[1].fault.status, "5.1.1");
    assert_int_equal(rcpts[2].fault.kind, SMTP_FAULT_NONE);
    assert_int_equal(world_messages(&w, "xandros@example.com"), 1);
    assert_int_equal(world_messages(&w, "vivita@example.com"), 1);
    /* And a large one, over the same connection. */
    char *space;
    size_t n = (size_t)2 << 20;
    FILE *file = tmpfile();
    buf_init(&data, n);
    assert_int_equal(buf_reserve(&data, n, &space), 0);
    for (size_t i = 0; i < n; i++)
        space[i] = "....\r\n12"[i % 8];
    assert_int_equal(fwrite(space, 1, n, file), n);
    assert_int_equal(fflush(file), 0);
    m.text = STR("Subject: y\r\n\r\n");
    m.fd = fileno(file);
    m.fd_size = n;
    m.n_rcpts = 1;
    send_mail(&w, &seen, c, &m);
    assert_int_equal(rcpts[0].fault.kind, SMTP_FAULT_NONE);
    assert_int_equal(world_messages(&w, "xandros@example.com"), 2);
    assert_int_equal(smtp_client_sent(c), 2);
    smtp_client_close(&c);
    fclose(file);
    buf_fini(&data);
    lane_free(&files);
    assert_false(seen.closed);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(delivers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
