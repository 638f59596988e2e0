/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* held_world.h - a world with a store, for tests of mail that is kept: the text of a message, and a
 * reader that looks at what became of it. */
#ifndef TESTS_FILTERS_HELD_WORLD_H
#define TESTS_FILTERS_HELD_WORLD_H
#include "world.h"

#include "appliance/store/queue.h"
#include "filters/held.h"

static struct world w;
static struct arena *arena;
static struct store_reader *reader;

/* After world_init() and the stages of the test. */
static inline void held_world_open(void)
{
    struct err err = {0};

    world_set(&w, "filters.hold_retry=1h");
    world_store(&w);
    world_open(&w);
    arena = arena_new(0);
    assert_int_equal(store_reader_open(w.store, &reader, &err), 0);
}

static inline void finish(void)
{
    store_reader_close(&reader);
    arena_free(&arena);
    world_fini(&w);
}

static inline void held_on_flushed(void *ctx, const struct err *failed)
{
    assert_null(failed);
    *(bool *)ctx = true;
}

/* The text of a message, flushed. */
static inline struct body_sink *held_text(void)
{
    struct body_sink *sink = body_sink_new(w.store, 1000, NULL, NULL);
    bool flushed = false;

    assert_int_not_equal(body_sink_put(sink, STR("Subject: x\r\n\r\nHello\r\n")), BODY_FAIL);
    body_sink_end(sink);
    body_sink_flush(sink, held_on_flushed, &flushed);
    while (!flushed)
        world_turn(&w);
    return sink;
}
#endif
