/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Whether a sender is to be told that somebody is away; that it was told is noted first, so that
 * two programs that answer each other stop. */
#include "appliance/base/clock.h"
#include "appliance/directory/directory.h"
#include "appliance/directory/options.h"
#include "appliance/directory/own.h"
#include "appliance/directory/private.h"
#include "appliance/directory/rows_from.h"

struct away {
    struct work work;
    struct str account, sender;
    struct directory_away answer;
    directory_away_fn on_answer;
    void *ctx;
};

static int decide(struct away *op, struct sql *own, struct err *err)
{
    struct directory_options o;
    int64_t now = clock_wall_ms() / 1000;
    bool told;
    if (options_read(own, op->work.m, op->account, &o, err) < 0 ||
        options_notice(own, op->work.m, op->account, &op->answer.notice, err) < 0)
        return -1;
    if (!options_away(&o, now) || !op->answer.notice.text.p)
        return 0;
    if (options_tell(own, op->account, op->sender, op->answer.notice.days, now, &told, err) < 0)
        return -1;
    op->answer.tell = !told;
    return 0;
}

/* Seldom enough for a connection of its own: those of the workers only read. */
static void run(struct job *j, void *worker)
{
    struct away *op = CONTAINER_OF(j, struct away, work.job);
    const struct rows_from *source = op->work.d->source;
    struct err *err = &op->answer.err;
    struct sql *own = NULL;
    (void)worker;
    op->answer.failed = own_open(source->dir, source->own, SCHEMA_CHANGE, &own, err) < 0 ||
                        decide(op, own, err) < 0;
    sql_close(&own);
}

static void done(struct job *j)
{
    struct away *op = CONTAINER_OF(j, struct away, work.job);
    if (op->answer.failed)
        directory_failure(&op->answer.err, "notice");
    op->on_answer(op->ctx, &op->answer);
    work_end(&op->work);
}

int directory_away(struct directory *d, struct str account, struct str sender,
                   directory_away_fn on_answer, void *ctx)
{
    struct arena *m = arena_new(0);
    struct away *op = ARENA_NEW(m, struct away);
    work_init(&op->work, d, m, run, done);
    op->account = arena_str(m, account);
    op->sender = arena_str(m, sender);
    op->on_answer = on_answer;
    op->ctx = ctx;
    return work_submit(&op->work);
}
