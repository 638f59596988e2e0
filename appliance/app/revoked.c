/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* revoked.c - news without rows: the key says it all, and is heard once. */
#include "appliance/app/revoked.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include "appliance/store/news.h"

#define TABLE "revoked"

struct revoked {
    struct store *store;
    struct news *news;
    revoked_fn *fn;
    void *ctx;
};
struct telling {
    struct store_op op;
    char *account;
};

static const struct log_ctx log_revoked = {.module = "app"};

/* ---- Telling. */

static int tell_run(struct store_op *op, struct store_tx *tx)
{
    news_tell(tx, TABLE, str_from(CONTAINER_OF(op, struct telling, op)->account));
    return STORE_DONE;
}

static void tell_done(struct store_op *op)
{
    struct telling *t = CONTAINER_OF(op, struct telling, op);

    if (op->failed)
        log_warn(&log_revoked, "not_told", L_Z("account", t->account), L_Z("why", op->err.text));
    mem_free(t->account);
    mem_free(t);
}

void revoked_tell(struct revoked *r, struct str account)
{
    struct telling *t;

    if (!r || !r->news || account.n > NEWS_KEY_MAX)
        return;
    t = MEM_NEW(struct telling);
    t->op = (struct store_op){.run = tell_run, .done = tell_done, .cls = STORE_INTERACTIVE};
    t->account = str_dup_z(account);
    if (store_submit(r->store, &t->op)) {
        t->op.failed = true;
        tell_done(&t->op);
    }
}

int revoked_tell_wait(struct store *s, struct str account, struct err *err)
{
    struct telling t = {.op = {.run = tell_run, .cls = STORE_INTERACTIVE}};
    int rc;

    if (account.n > NEWS_KEY_MAX)
        return 0;
    t.account = str_dup_z(account);
    rc = store_submit_wait(s, &t.op);
    if (rc || t.op.failed) {
        *err = t.op.err;
        rc = -1;
    }
    mem_free(t.account);
    return rc;
}

/* ---- Hearing. */

static int read_key(struct sql *db, const struct news_ask *ask, struct news_rows *out,
                    struct err *err)
{
    (void)db;
    (void)err;
    if (!ask->max)
        (void)news_row(out, ask->key, 1);
    return 0;
}

static void take(void *ctx, struct str key, const void *row)
{
    const struct revoked *r = ctx;

    if (row)
        r->fn(r->ctx, key);
}

static void forget(void *ctx)
{
    const struct revoked *r = ctx;

    r->fn(r->ctx, STR("@"));
}

struct revoked *revoked_new(struct store *s, revoked_fn *fn, void *ctx)
{
    static const struct news_kind kind = {.read = read_key, .take = take, .forget = forget};
    struct revoked *r = MEM_NEW(struct revoked);

    *r = (struct revoked){.store = s, .fn = fn, .ctx = ctx};
    r->news = news_open(s, TABLE, &kind, r);
    return r;
}

void revoked_free(struct revoked **rp)
{
    struct revoked *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    news_close(&r->news);
    mem_free(r);
}
