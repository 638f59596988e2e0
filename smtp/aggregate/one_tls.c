/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* one_tls.c - what is particular to reports of TLS: RFC 8460. Of their URIs mailto: is known. */
#include "appliance/base/gzip.h"
#include "smtp/aggregate/aggregate_private.h"
#include "smtp/client/tls_report.h"
#include <stdio.h>

enum { ROWS_MAX = 500, JSON_MAX = 4 << 20, NAME_ROOM = 300, RECORD_MAX = 4096 };

/* ---- Its file. */

static int pack(struct one *o, const struct tls_report *r, struct buf *file, struct err *err)
{
    struct buf json;
    int rc;

    buf_init(&json, JSON_MAX);
    rc = tls_report_write(r, &json) || gzip_pack(buf_str(&json), file) ? -1 : 0;
    buf_fini(&json);
    o->told = r->n;
    return rc ? ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "it is too large") : 0;
}

static int prepare(struct one *o, struct store_reader *reader, struct buf *file, struct err *err)
{
    struct tls_report r = {.org = o->org,
                           .contact = o->contact.n ? o->contact : o->from,
                           .domain = o->day.domain,
                           .day = o->day.day};
    struct tls_result *rows;
    struct buf id;

    if (tls_results_of(reader, o->arena, o->day.day, o->day.domain, ROWS_MAX, &rows, &r.n, err))
        return -1;
    r.rows = rows;
    buf_init(&id, 320);
    aggregate_report_id(AGGREGATE_TLS, o->id, o->submitter, &id);
    r.id = buf_str(&id);
    int rc = pack(o, &r, file, err);
    buf_fini(&id);
    return rc;
}

/* ---- Who gets it. */

static void take(struct one *o, struct str list)
{
    struct mailto to;
    struct str uri;

    while (o->n_to < DMARC_RUA_MAX && tls_rua_next(&list, &uri))
        if (mailto_parse(o->arena, uri, &to))
            o->to[o->n_to++] = to.address;
}

/* RFC 8460 3: of several records none counts. */
static void on_answer(void *ctx, const struct resolver_answer *a)
{
    struct one *o = ctx;
    struct str list, found = STR("");
    size_t n = 0;

    o->query = NULL;
    for (size_t i = 0; a->status == RESOLVER_FOUND && i < a->n; i++)
        if (a->records[i].data.n <= RECORD_MAX && tls_rua_record(a->records[i].data, &list)) {
            found = list;
            n++;
        }
    if (n == 1)
        take(o, found);
    one_addressed(o, a->status != RESOLVER_FOUND && a->status != RESOLVER_NO_DATA &&
                         a->status != RESOLVER_NO_NAME);
}

static void address(struct one *o)
{
    char name[NAME_ROOM];

    snprintf(name, sizeof name, "_smtp._tls." STR_FMT, STR_ARG(o->day.domain));
    o->query = resolver_ask(o->a->resolver, RESOLVER_TXT, str_from(name), NULL, on_answer, o);
    if (!o->query)
        one_addressed(o, true);
}

const struct one_kind one_tls = {.name = "tls",
                                 .table = &tls_results_daily,
                                 .ask_first = true,
                                 .prepare = prepare,
                                 .address = address};
