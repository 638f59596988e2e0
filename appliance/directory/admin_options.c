/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What an account may, where its mail goes, what is said while its owner is away. */
#include "appliance/base/clock.h"
#include "appliance/base/text.h"
#include "appliance/directory/admin_private.h"
#include "appliance/directory/options.h"
#include "appliance/directory/resolve.h"

enum { FORWARD_MAX = 4000, SUBJECT_MAX = 500, NOTICE_MAX = 64 << 10, DAYS_MAX = 365 };

/* The folded address of a user there is, enabled or not, and our tables. NULL: err. */
static struct sql *find(struct directory_admin *a, struct str address, struct str *account_out,
                        bool *enabled_out, struct err *err)
{
    struct directory_user u;
    struct arena *m = arena_new(0);
    int rc = directory_user_get(a, m, address, &u, err);
    *enabled_out = rc == 0 && u.enabled;
    arena_free(&m);
    if (rc < 0 || admin_address(a, address, account_out, err) < 0)
        return NULL;
    return admin_own(a, err);
}

/* ---- Options */

/* As it will be: those of one account are not in the table yet. */
struct planned {
    struct sql *own;
    struct str account;
    const struct directory_options *options;
};

static int read_planned(void *ctx, struct arena *m, struct str account,
                        struct directory_options *out, struct err *err)
{
    const struct planned *p = ctx;
    if (!str_eq(account, p->account))
        return options_read(p->own, m, account, out, err);
    *out = *p->options;
    return 0;
}

static int check_arrives(struct directory_admin *a, struct sql *own, struct str account,
                         const struct directory_options *o, struct err *err)
{
    struct planned p = {.own = own, .account = account, .options = o};
    struct resolve_source src = rows_source(a->rows);
    struct resolve_result r;
    src.options = read_planned;
    src.options_ctx = &p;
    src.now_s = clock_wall_ms() / 1000;
    if (resolve_address(&src, &admin_limits, a->scratch, account, &r, err) < 0)
        return -1;
    if (o->receives && r.n_accounts + r.n_remotes == 0)
        return ERR(err, ERR_PERM, "mail for " STR_FMT " would arrive nowhere",
                   STR_ARG(str_take(account, 200)));
    return 0;
}

static int check_forward(struct directory_admin *a, struct str account, struct str forward,
                         struct str *out, struct err *err)
{
    struct str list[64], folded[64], rest = forward;
    struct buf joined;
    size_t n = 0;
    while (rest.n && n < ARRAY_LEN(list)) {
        str_cut(rest, ',', &list[n], &rest);
        list[n] = str_trim(list[n]);
        n += list[n].n > 0;
    }
    if (rest.n)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "too many addresses to forward to");
    buf_init(&joined, FORWARD_MAX);
    int rc = admin_join(a, account, list, n, folded, &joined, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = admin_check_destination(a, account, folded[i], err);
    *out = arena_str(a->scratch, buf_str(&joined));
    buf_fini(&joined);
    return rc;
}

int directory_options_get(struct directory_admin *a, struct arena *m, struct str address,
                          struct directory_options *out, struct err *err)
{
    struct str account;
    bool enabled;
    struct sql *own = find(a, address, &account, &enabled, err);
    return own ? options_read(own, m, account, out, err) : -1;
}

int directory_options_set(struct directory_admin *a, struct str address,
                          const struct directory_options *o, struct err *err)
{
    struct directory_options checked = *o;
    struct str account;
    bool enabled;
    struct sql *own = find(a, address, &account, &enabled, err);
    if (!own || check_forward(a, account, o->forward, &checked.forward, err) < 0)
        return -1;
    if (o->away_until && o->away_until <= o->away_from)
        return ERR(err, ERR_PERM, "the absence would end before it begins");
    if (enabled && check_arrives(a, own, account, &checked, err) < 0)
        return -1;
    return options_write(own, account, &checked, err);
}

static void read_forward(struct sql_stmt *st, struct arena *m, void *item)
{
    struct directory_forward *f = item;
    f->account = arena_str(m, sql_text(st, 0));
    f->destinations = arena_str(m, sql_text(st, 1));
}

int directory_forward_list(struct directory_admin *a, struct arena *m,
                           struct directory_forward **out, size_t *n_out, struct err *err)
{
    struct sql *own = admin_own(a, err);
    struct sql_stmt *st;
    if (!own || sql_prepare(own,
                            "SELECT account, forward FROM account_option WHERE forward <> ''"
                            " ORDER BY account",
                            &st, err) < 0)
        return -1;
    return admin_collect(st, m, sizeof **out, read_forward, out, n_out, err);
}

/* ---- The notice */

int directory_notice_get(struct directory_admin *a, struct arena *m, struct str address,
                         struct directory_notice *out, struct err *err)
{
    struct str account;
    bool enabled;
    struct sql *own = find(a, address, &account, &enabled, err);
    return own ? options_notice(own, m, account, out, err) : -1;
}

static int check_notice(const struct directory_notice *n, struct err *err)
{
    if (n->days < 1 || n->days > DAYS_MAX)
        return ERR(err, ERR_PERM, "a sender is told again after 1 to %d days", DAYS_MAX);
    if (n->subject.n > SUBJECT_MAX || !text_utf8_valid(n->subject))
        return ERR(err, ERR_PERM, "a subject is at most %d octets of UTF-8", SUBJECT_MAX);
    for (size_t i = 0; i < n->subject.n; i++)
        if ((unsigned char)n->subject.p[i] < 32)
            return ERR(err, ERR_PERM, "a subject is one line");
    if (n->text.n > NOTICE_MAX || !text_utf8_valid(n->text) || memchr(n->text.p, 0, n->text.n))
        return ERR(err, ERR_PERM, "the text is at most %d octets of UTF-8", NOTICE_MAX);
    return n->text.n ? 0 : ERR(err, ERR_PERM, "there is no text to send");
}

int directory_notice_set(struct directory_admin *a, struct str address,
                         const struct directory_notice *n, struct err *err)
{
    struct str account;
    if (check_notice(n, err) < 0)
        return -1;
    bool enabled;
    struct sql *own = find(a, address, &account, &enabled, err);
    return own ? options_set_notice(own, account, n, err) : -1;
}
