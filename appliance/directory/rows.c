/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/rows.h"

int rows_begin(struct rows *r, struct err *err)
{
    return r->kind->begin ? r->kind->begin(r, err) : 0;
}

void rows_end(struct rows *r)
{
    if (r->kind->end)
        r->kind->end(r);
}

void rows_close(struct rows **r)
{
    if (*r)
        (*r)->kind->close(*r);
    *r = NULL;
}

int rows_hosted(struct rows *r, struct str domain, bool *hosted_out, struct err *err)
{
    *hosted_out = false;
    return r->kind->hosted(r, domain, hosted_out, err);
}

int rows_user(struct rows *r, struct str address, bool *found_out, struct err *err)
{
    *found_out = false;
    return r->kind->user(r, address, found_out, err);
}

int rows_alias(struct rows *r, struct arena *m, struct str address, struct str *out,
               struct err *err)
{
    *out = STR_NULL;
    return r->kind->alias(r, m, address, out, err);
}

int rows_first_domain(struct rows *r, struct arena *m, struct str *out, bool *only_out,
                      struct err *err)
{
    *out = STR("");
    *only_out = false;
    return r->kind->first_domain(r, m, out, only_out, err);
}

int rows_first_user(struct rows *r, struct arena *m, struct str domain, struct str *out,
                    struct err *err)
{
    *out = STR("");
    return r->kind->first_user(r, m, domain, out, err);
}

int rows_login(struct rows *r, struct arena *m, struct str address, struct rows_login *out,
               struct err *err)
{
    *out = (struct rows_login){.stored = STR("")};
    return r->kind->login(r, m, address, out, err);
}

int rows_users(struct rows *r, rows_user_fn fn, void *ctx, struct err *err)
{
    return r->kind->users(r, fn, ctx, err);
}

int rows_moved(struct rows *r, struct arena *m, struct str address, struct str *out,
               struct err *err)
{
    *out = STR_NULL;
    return r->kind->moved ? r->kind->moved(r, m, address, out, err) : 0;
}

int rows_relayed(struct rows *r, struct str address, bool *relayed_out, struct err *err)
{
    *relayed_out = false;
    return r->kind->relayed ? r->kind->relayed(r, address, relayed_out, err) : 0;
}

bool rows_gaps(struct rows *r, struct str domain)
{
    return r->kind->gaps && r->kind->gaps(r, domain);
}

static int source_hosted(void *ctx, struct str domain, bool *hosted_out, struct err *err)
{
    return rows_hosted(ctx, domain, hosted_out, err);
}
static int source_alias(void *ctx, struct arena *m, struct str address, struct str *out,
                        struct err *err)
{
    return rows_alias(ctx, m, address, out, err);
}
static int source_user(void *ctx, struct str address, bool *found_out, struct err *err)
{
    return rows_user(ctx, address, found_out, err);
}
static int source_first_domain(void *ctx, struct arena *m, struct str *out, struct err *err)
{
    bool only;
    return rows_first_domain(ctx, m, out, &only, err);
}
static int source_first_user(void *ctx, struct arena *m, struct str domain, struct str *out,
                             struct err *err)
{
    return rows_first_user(ctx, m, domain, out, err);
}

static int source_moved(void *ctx, struct arena *m, struct str address, struct str *out,
                        struct err *err)
{
    return rows_moved(ctx, m, address, out, err);
}
static int source_relayed(void *ctx, struct str address, bool *relayed_out, struct err *err)
{
    return rows_relayed(ctx, address, relayed_out, err);
}

static bool source_gaps(void *ctx, struct str domain)
{
    return rows_gaps(ctx, domain);
}

struct resolve_source rows_source(struct rows *r)
{
    return (struct resolve_source){.ctx = r,
                                   .hosted = source_hosted,
                                   .alias = source_alias,
                                   .user = source_user,
                                   .first_domain = source_first_domain,
                                   .first_user = source_first_user,
                                   .moved = source_moved,
                                   .relayed = source_relayed,
                                   .gaps = source_gaps};
}
