/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* one_dmarc.c - what is particular to aggregate reports of DMARC: RFC 9990. */
#include "appliance/base/gzip.h"
#include "filters/dmarc_report.h"
#include "smtp/aggregate/aggregate_private.h"

enum {
    ROWS_MAX = 5000,     /* the most frequent ones; */
    ROWS_ROOM = 8 << 20, /* octets of them */
    XML_MAX = 4 << 20
};

/* ---- Its file. */

static int pack(struct one *o, const struct dmarc_report *r, struct buf *file, struct err *err)
{
    struct buf xml;
    int rc;

    buf_init(&xml, XML_MAX);
    rc = dmarc_report_write(r, &xml, &o->told);
    if (rc)
        err_set(err, ERR_PERM, ERR_WHY_LIMIT, "its rows are too large");
    else if ((rc = gzip_pack(buf_str(&xml), file)) != 0)
        err_set(err, ERR_PERM, ERR_WHY_LIMIT, "it is too large");
    buf_fini(&xml);
    return rc;
}

static int prepare(struct one *o, struct store_reader *reader, struct buf *file, struct err *err)
{
    struct dmarc_report r = {.org = o->org,
                             .email = o->from,
                             .contact = o->contact,
                             .domain = o->day.domain,
                             .day = o->day.day};
    struct dmarc_row *rows;
    struct buf id;
    int rc;

    if (dmarc_results_of(reader, o->arena, o->day.day, o->day.domain, ROWS_MAX, ROWS_ROOM, &rows,
                         &r.n, err))
        return -1;
    r.rows = rows;
    o->record = dmarc_report_record(rows, r.n);
    buf_init(&id, 64);
    aggregate_report_id(AGGREGATE_DMARC, o->id, o->submitter, &id);
    r.id = buf_str(&id);
    do
        rc = pack(o, &r, file, err);
    while (rc && (r.n /= 2) > 0);
    buf_fini(&id);
    return rc;
}

/* ---- Who gets it. */

static void ask(struct one *o);

static void give(struct one *o, const struct ph_dns_answer *a)
{
    dmarc_rua_answer(o->rua, a);
    ask(o);
}

static enum ph_dns_status status_of(enum resolver_status s)
{
    switch (s) {
    case RESOLVER_FOUND:
        return PH_DNS_FOUND;
    case RESOLVER_NO_DATA:
        return PH_DNS_NO_DATA;
    case RESOLVER_NO_NAME:
        return PH_DNS_NO_NAME;
    default:
        return PH_DNS_FAILED;
    }
}

/* Only TXT records are asked for. */
static void on_answer(void *ctx, const struct resolver_answer *from)
{
    struct one *o = ctx;
    struct arena *arena = arena_new(0);
    const struct ph_dns_record **list =
        ARENA_ARRAY(arena, const struct ph_dns_record *, from->n + 1);
    const struct ph_dns_answer a = {.size = sizeof a,
                                    .status = status_of(from->status),
                                    .name = "",
                                    .n = from->n,
                                    .records = list,
                                    .why = ""};

    for (size_t i = 0; i < from->n; i++) {
        struct ph_dns_record *r = ARENA_NEW(arena, struct ph_dns_record);
        *r = (struct ph_dns_record){.text = from->records[i].data.p,
                                    .text_size = from->records[i].data.n};
        list[i] = r;
    }
    o->query = NULL;
    give(o, &a);
    arena_free(&arena);
}

static void answered(struct one *o)
{
    const struct dmarc_rua_to *list;
    bool unknown = false;
    size_t n;

    list = dmarc_rua_list(o->rua, &n);
    for (size_t i = 0; i < n; i++) {
        unknown = unknown || list[i].state == DMARC_RUA_UNKNOWN;
        if (list[i].state == DMARC_RUA_TAKES)
            o->to[o->n_to++] = arena_str(o->arena, list[i].to.address);
        else if (list[i].state == DMARC_RUA_REFUSES)
            log_info(&o->a->log, "report_not_authorized", L_STR("domain", o->day.domain),
                     L_STR("to", list[i].to.address));
    }
    one_addressed(o, unknown);
}

static void ask(struct one *o)
{
    static const struct ph_dns_answer failed = {
        .size = sizeof failed, .status = PH_DNS_FAILED, .name = "", .why = ""};
    struct dmarc_question q;

    while (dmarc_rua_question(o->rua, &q)) {
        o->query = resolver_ask(o->a->resolver, RESOLVER_TXT, str_from(q.name), NULL, on_answer, o);
        if (o->query)
            return;
        dmarc_rua_answer(o->rua, &failed);
    }
    answered(o);
}

static void address(struct one *o)
{
    struct dmarc_record record;
    struct str rua = STR("");

    if (dmarc_record_parse(o->record, &record))
        rua = record.rua;
    o->rua = dmarc_rua_new(o->day.domain.p, rua);
    ask(o);
}

const struct one_kind one_dmarc = {
    .name = "dmarc", .table = &dmarc_results_daily, .prepare = prepare, .address = address};
