/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* explain: what the filter stages decided about a message, and why. */
#include "appliance/app/admin.h"
#include "appliance/app/admin_explain.h"
#include "appliance/app/admin_queue.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/sql/sql.h"
#include <time.h>

enum { PAUSE_MS = 50, PATIENCE_MS = 500, PATIENCE_NEW_MS = 5000, NEW_MS = 60000 };

static int read_detail(struct admin_call *c, uint64_t id, json_t **out)
{
    struct store_reader *r;
    struct sql_stmt *st;
    int rc;

    if (store_reader_open(c->store, &r, &c->err))
        return -1;
    rc = sql_prepare(store_reader_sql(r), "SELECT detail FROM verdict WHERE id = ?", &st, &c->err);
    if (rc == 0) {
        sql_bind_int(st, 1, (int64_t)id);
        rc = sql_step(st, &c->err);
        if (rc == 1) {
            struct str detail = sql_blob(st, 0);
            *out = json_loadb(detail.p, detail.n, 0, NULL);
        }
        sql_reset(st);
    }
    store_reader_close(&r);
    return rc < 0 ? -1 : 0;
}

/* Verdicts are written behind: those of a message that was answered just now are on their way to a
 * disk that may have much to do. */
static unsigned patience_ms(uint64_t id)
{
    return id >= store_id_at(clock_wall_ms() - NEW_MS) ? PATIENCE_NEW_MS : PATIENCE_MS;
}

static int wait_for_detail(struct admin_call *c, uint64_t id, json_t **out)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    unsigned patience = patience_ms(id);
    int rc = read_detail(c, id, out);

    for (unsigned waited = 0; rc == 0 && !*out && waited < patience; waited += PAUSE_MS) {
        nanosleep(&pause, NULL);
        rc = read_detail(c, id, out);
    }
    return rc;
}

/* Why it is where it is now. */
static int add_kept(struct admin_call *c, uint64_t id, json_t *detail)
{
    struct store_reader *r;
    struct queue_entry e;
    struct arena *mem;
    struct err err;

    if (store_reader_open(c->store, &r, &c->err))
        return -1;
    mem = arena_new(0);
    if (queue_get(r, mem, id, &e, &err) == 0)
        json_object_set_new(detail, "kept",
                            admin_str(arena_printf(mem, "%s: " STR_FMT,
                                                   e.held == QUEUE_HELD ? "held" : "in quarantine",
                                                   STR_ARG(e.reason))));
    arena_free(&mem);
    store_reader_close(&r);
    return 0;
}

static int explain(struct admin_call *c)
{
    uint64_t id;
    json_t *detail = NULL;

    if (str_to_u64(str_from(c->args[0]), INT64_MAX, &id))
        return ERR(
            &c->err, ERR_PROTO,
            "'%s' is no id: it is in the 250 reply, in Received, and the mid= or sid= of the "
            "log",
            c->args[0]);
    if (wait_for_detail(c, id, &detail))
        return -1;
    if (!detail)
        return ERR_WHY(&c->err, ERR_PERM, ERR_WHY_NOT_FOUND,
                       "no verdicts are kept about %s: no stage looked at it, or they are older "
                       "than filters.keep",
                       c->args[0]);
    json_object_set_new(detail, "id", json_string(c->args[0]));
    explain_judge(detail);
    c->result = detail;
    return add_kept(c, id, detail);
}

const struct admin_command admin_explain_commands[] = {
    {"explain", "show", "ID", 1, 1, NULL, false, explain,
     "Show what the filter stages decided about a message or a session, also one that was refused, "
     "and why (posthouse explain ID): every verdict, which of them decided, and what would have "
     "changed it."},
    {.group = NULL}};
