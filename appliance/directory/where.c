/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* where.c - an address looked up once, for a command: as the workers of lane `directory` do it. */
#include "appliance/base/clock.h"
#include "appliance/directory/admin_private.h"
#include "appliance/directory/options.h"
#include "appliance/directory/own.h"
#include "appliance/directory/resolve.h"

static int read_options(void *own, struct arena *m, struct str account,
                        struct directory_options *out, struct err *err)
{
    return options_read(own, m, account, out, err);
}

static struct resolve_limits limits_of(const struct directory_conf *conf)
{
    const char *tag = conf->tag_delimiter, *origin = conf->origin, *postmaster = conf->postmaster;
    return (struct resolve_limits){.depth = (size_t)conf->alias_depth,
                                   .targets = (size_t)conf->alias_targets,
                                   .tag = tag && tag[0] ? tag[0] : '\0',
                                   .origin = origin && origin[0] ? origin : NULL,
                                   .postmaster = postmaster && postmaster[0] ? postmaster : NULL};
}

static int look_up(struct rows *rows, struct sql *own, const struct directory_conf *conf,
                   struct arena *m, struct str address, struct resolve_result *out, struct err *err)
{
    struct resolve_limits limits = limits_of(conf);
    if (rows_begin(rows, err) < 0)
        return -1;
    struct resolve_source src = rows_source(rows);
    src.options = read_options;
    src.options_ctx = own;
    src.now_s = clock_wall_ms() / 1000;
    int rc = resolve_address(&src, &limits, m, address, out, err);
    rows_end(rows);
    return rc;
}

int directory_where(const char *dir, const struct directory_conf *conf, struct arena *m,
                    struct str address, struct str **accounts_out, size_t *n_out, struct err *err)
{
    struct resolve_result found = {.n_accounts = 0};
    struct rows_from *source;
    struct rows *rows = NULL;
    struct sql *own = NULL;
    if (rows_from_new(dir, conf, &source, err) < 0)
        return -1;
    int rc = -1;
    if (rows_from_open(source, &rows, err) == 0 &&
        own_open(source->dir, source->own, rows_from_how(source), &own, err) == 0)
        rc = look_up(rows, own, conf, m, address, &found, err);
    rows_close(&rows);
    sql_close(&own);
    rows_from_free(&source);
    *accounts_out = found.accounts;
    *n_out = found.n_accounts;
    return rc;
}
