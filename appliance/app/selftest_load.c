/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* selftest_load.c - messages made from numbers, and their delivery as the SMTP server does it: text
 * into a sink, sink flushed, delivery committed, acknowledged. No network. */
#include "appliance/app/selftest.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/store/message.h"
#include <inttypes.h>
#include <stdio.h>

enum { LARGE_EVERY = 23, LINE = 78, WINDOW_MAX = 32, MESSAGE_MAX = 1 << 20 };

struct delivery {
    struct running *running;
    uint64_t number;
    struct body_sink *sink;
    struct message_delivery op;
    struct message_recipient rcpts[SELFTEST_RECIPIENTS];
    char addresses[SELFTEST_RECIPIENTS][64], prefixes[SELFTEST_RECIPIENTS][96];
    bool busy;
};
struct running {
    struct selftest_load *load;
    struct delivery all[WINDOW_MAX];
    unsigned busy;
    uint64_t random;
    struct buf text;
    struct err err; /* of the first that failed */
};

uint64_t selftest_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void selftest_address(unsigned account, char out[64])
{
    snprintf(out, 64, "user%u@selftest.example", account);
}

size_t selftest_recipients(uint64_t number, unsigned out[SELFTEST_RECIPIENTS])
{
    out[0] = (unsigned)(number % SELFTEST_ACCOUNTS);
    out[1] = (unsigned)((number + 1) % SELFTEST_ACCOUNTS);
    return number % 3 == 0 ? 2 : 1;
}

void selftest_message(uint64_t number, struct buf *out)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789 +/ABCDEFGHIJKLMNOPQRSTUVWX";
    uint64_t random = number, lines;
    char line[LINE];

    lines = selftest_random(&random) % 70 + 1;
    if (number % LARGE_EVERY == 5)
        lines = selftest_random(&random) % 1200 + 500;
    buf_clear(out);
    buf_printf(out,
               "From: sender@example.org\r\nSubject: number %" PRIu64 "\r\nMessage-ID: <%" PRIu64
               "@selftest.example>\r\n\r\n",
               number, number);
    for (; lines; lines--) {
        for (size_t i = 0; i < LINE - 2; i += 8) {
            uint64_t bits = selftest_random(&random);
            for (size_t k = i; k < i + 8 && k < LINE - 2; k++, bits >>= 6)
                line[k] = letters[bits & 63];
        }
        line[LINE - 2] = '\r';
        line[LINE - 1] = '\n';
        buf_add(out, line, LINE);
    }
}

/* ---- One delivery. */

static void end(struct delivery *d, const struct err *failed)
{
    if (failed && d->running->err.kind == ERR_NONE)
        d->running->err = *failed;
    body_sink_free(&d->sink);
    d->busy = false;
    d->running->busy--;
}

static void on_delivered(struct store_op *op)
{
    struct delivery *d = CONTAINER_OF(op, struct delivery, op.op);
    struct selftest_load *load = d->running->load;

    if (!op->failed && !load->early)
        load->on_accepted(load->ctx, d->number);
    end(d, op->failed ? &op->err : NULL);
}

static void on_flushed(void *ctx, const struct err *failed)
{
    struct delivery *d = ctx;
    struct selftest_load *load = d->running->load;

    if (failed) {
        end(d, failed);
        return;
    }
    message_delivery_init(&d->op, on_delivered);
    d->op.sink = d->sink;
    d->op.rcpts = d->rcpts;
    d->op.internal_ms = clock_wall_ms();
    unsigned accounts[SELFTEST_RECIPIENTS];
    d->op.n_rcpts = selftest_recipients(d->number, accounts);
    if (store_submit(load->store, &d->op.op) != 0)
        end(d, &d->op.op.err);
}

static void begin(struct running *r, struct delivery *d)
{
    unsigned accounts[SELFTEST_RECIPIENTS];
    size_t n;

    d->running = r;
    d->number = r->load->next++;
    n = selftest_recipients(d->number, accounts);
    for (size_t i = 0; i < n; i++) {
        selftest_address(accounts[i], d->addresses[i]);
        snprintf(d->prefixes[i], sizeof d->prefixes[i], "Delivered-To: %s\r\n", d->addresses[i]);
        d->rcpts[i] = (struct message_recipient){.account = str_from(d->addresses[i]),
                                                 .mailbox = STR("INBOX"),
                                                 .prefix = str_from(d->prefixes[i])};
    }
    selftest_message(d->number, &r->text);
    if (r->load->early && r->load->next < r->load->end)
        r->load->on_accepted(r->load->ctx, r->load->next);
    d->busy = true;
    r->busy++;
    d->sink = body_sink_new(r->load->store, MESSAGE_MAX, NULL, NULL);
    /* BODY_WAIT only asks for patience and BODY_FAIL is told again by the flush. */
    (void)body_sink_put(d->sink, buf_str(&r->text));
    body_sink_end(d->sink);
    body_sink_flush(d->sink, on_flushed, d);
}

/* ---- All of them. */

static void refill(struct running *r)
{
    struct selftest_load *load = r->load;
    unsigned window = load->window < WINDOW_MAX ? load->window : WINDOW_MAX;

    if (load->bursts) {
        if (r->busy)
            return;
        window = (unsigned)(selftest_random(&r->random) % window) + 1;
    }
    for (unsigned i = 0; i < window && load->next < load->end; i++) {
        if (!r->all[i].busy)
            begin(r, &r->all[i]);
    }
}

int selftest_load(struct selftest_load *load, struct err *err)
{
    struct running *r = MEM_NEW(struct running);
    int rc = 0;

    r->load = load;
    r->random = load->next;
    buf_init(&r->text, MESSAGE_MAX);
    for (;;) {
        if (r->err.kind == ERR_NONE && !selftest_stopped())
            refill(r);
        if (!r->busy)
            break;
        loop_turn(load->loop, true);
    }
    if (r->err.kind != ERR_NONE) {
        *err = r->err;
        rc = -1;
    }
    buf_fini(&r->text);
    mem_free(r);
    return rc;
}
