/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/directory.h"

#include "appliance/directory/options.h"
#include "appliance/directory/own.h"
#include "appliance/directory/private.h"

static bool is_own(struct lookup *op, struct str account)
{
    struct str folded, base;
    if (!resolve_fold(op->work.m, op->address, &folded))
        return false;
    if (str_eq(folded, account))
        return true;
    return resolve_untag(op->work.m, folded, op->limits.tag, &base) && str_eq(base, account);
}

/* An alias or catch-all that leads to it; where other accounts send their mail on to says nothing
 * about whose they are. */
static int leads_to(struct lookup *op, struct rows *rows, struct str account, bool *out,
                    struct err *err)
{
    struct resolve_source src = rows_source(rows);
    struct resolve_result r;
    *out = false;
    if (resolve_address(&src, &op->limits, op->work.m, op->address, &r, err) < 0)
        /* An alias that delivers nowhere (a loop) gives nobody the right to its name. */
        return err->kind == ERR_PERM ? 0 : -1;
    for (size_t i = 0; i < r.n_accounts; i++)
        *out = *out || str_eq(r.accounts[i], account);
    return 0;
}

static int check_sends(struct lookup *op, struct directory_worker *w, struct str account,
                       bool *sends_out, struct err *err)
{
    struct directory_options o;
    struct sql *own = worker_own(w, err);
    if (!own || options_read(own, op->work.m, account, &o, err) < 0)
        return -1;
    *sends_out = o.sends;
    return 0;
}

int may_send_lookup(struct lookup *op, struct directory_worker *w, struct rows *rows,
                    struct err *err)
{
    struct str *account = ARENA_NEW(op->work.m, struct str);
    bool exists, sends, may = false;
    op->result = (struct resolve_result){.kind = DIRECTORY_UNKNOWN};
    if (!resolve_fold(op->work.m, op->account, account))
        return 0;
    /* Asked again each time: a session may outlive its user. */
    if (rows_user(rows, *account, &exists, err) < 0)
        return -1;
    if (!exists)
        return 0;
    if (check_sends(op, w, *account, &sends, err) < 0)
        return -1;
    op->result.closed = !sends;
    if (!sends)
        return 0;
    may = is_own(op, *account);
    if (!may && leads_to(op, rows, *account, &may, err) < 0)
        return -1;
    if (may) {
        op->result.kind = DIRECTORY_LOCAL;
        op->result.accounts = account;
        op->result.n_accounts = 1;
    }
    return 0;
}

int directory_may_send_as(struct directory *d, struct str account, struct str address,
                          directory_answer_fn on_answer, void *ctx)
{
    return lookup_start(d, address, account.p ? account : STR(""), on_answer, ctx);
}
