/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim.c - the stage `dkim`: verifies the signatures of what comes in (RFC 6376). It asks for their
 * keys on the loop, all at once, and verifies them on lane `check`. It judges nothing: what it
 * found are the facts dkim.result and dkim.results. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/authres.h"
#include "filters/builtin.h"
#include "filters/dkim_fetch.h"
#include "filters/dkim_hash.h"
#include <stdio.h>

/* A key for each of as many signatures as can be set. */
enum { RESULTS_MAX = 4000, QUERIES = DKIM_CHECK_MAX, DNS_MS = 10000 };

struct dkim_conf {
    int64_t signatures, min_rsa_bits;
    bool test_keys;
};
// clang-format off
static const struct ph_setting dkim_settings[] = {
    PH_SETTING(INT, dkim_conf, signatures, PH_RELOAD, "8", 1, DKIM_CHECK_MAX,
               "How many signatures of a message are verified, from the top. The others are ignored."),
    PH_SETTING(INT, dkim_conf, min_rsa_bits, PH_RELOAD, "1024", 1024, 4096,
               "RSA keys with fewer bits are too weak: their signatures count as `policy`, not as pass. RFC 8301 asks for 1024 at least; "
               "many senders still have no more."),
    PH_SETTING(BOOL, dkim_conf, test_keys, PH_RELOAD, "no", 0, 0,
               "Signatures whose key says that its domain is testing (t=y) count like others, as with most receivers. no: mail is treated as "
               "if it hadn't them (RFC 6376 3.6.1): they are shown as `policy`, and DMARC doesn't pass by them."),
    PH_SETTING_END};
// clang-format on

struct dkim {
    const struct ph_host *host;
    struct dkim_verifier *verifier;
};
struct work { /* of one message; goes with its job, or its turn */
    struct dkim *dkim;
    struct dkim_check check;
    struct dkim_fetch keys;
};

static void work_free(void *arg)
{
    struct work *w = arg;

    dkim_check_fini(&w->check);
    mem_free(w);
}

static struct work **place(const struct ph_host *host, ph_turn turn)
{
    return host->memory(host, turn);
}

/* ---- The answer */

static int write_authres(const struct dkim_one *one, struct buf *out)
{
    const struct dkim_signature *s = &one->sig;
    const struct {
        const char *name;
        struct str value;
    } properties[] = {{"header.d", s->domain},
                      {"header.s", s->selector},
                      {"header.a", s->algorithm},
                      {"header.i", s->identity},
                      {"header.b", s->mark}};

    authres_result(out, "dkim", dkim_result_name(one->result), str_from(one->why));
    for (size_t i = 0; i < ARRAY_LEN(properties); i++)
        if (properties[i].value.n)
            authres_property(out, properties[i].name, properties[i].value);
    return buf_ok(out) ? 0 : -1;
}

/* As many as there is room for. */
static void set_list(const struct ph_host *host, struct ph_acts *acts, const char *fact,
                     const struct dkim_check *c, const char *between,
                     int (*write)(const struct dkim_one *, struct buf *))
{
    struct buf list;

    buf_init(&list, RESULTS_MAX);
    for (size_t i = 0; i < c->n; i++) {
        size_t before = list.n;
        buf_add_z(&list, i ? between : "");
        if (write(&c->list[i], &list)) {
            buf_truncate(&list, before);
            list.full = false;
            break;
        }
    }
    host->fact_set(acts, fact, buf_z(&list));
    buf_fini(&list);
}

static void write_facts(const struct ph_host *host, ph_turn turn, const struct dkim_check *c)
{
    struct ph_acts *acts = host->acts(host, turn);

    host->fact_set(acts, "dkim.result", dkim_result_name(dkim_check_result(c)));
    set_list(host, acts, "dkim.results", c, "; ", dkim_one_write);
    if (c->n) /* of what isn't signed nobody needs to be told */
        set_list(host, acts, "dkim.authres", c, "", write_authres);
}

/* For a person: the reason kept with the verdict. */
static void write_reason(const struct dkim_check *c, struct buf *out)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct dkim_one *one = &c->list[i];
        buf_printf(out, "%s%s " STR_FMT "/" STR_FMT, i ? "; " : "", dkim_result_name(one->result),
                   STR_ARG(one->sig.domain), STR_ARG(one->sig.selector));
        if (one->why[0])
            buf_printf(out, " (%s)", one->why);
    }
    if (c->ignored)
        buf_printf(out, "; %zu more ignored", c->ignored);
}

static void answer(struct dkim *d, ph_turn turn, const struct dkim_check *c)
{
    struct buf reason;

    buf_init(&reason, 8192);
    write_reason(c, &reason);
    write_facts(d->host, turn, c);
    d->host->done(d->host, turn, PH_PASS, NULL, c->n ? buf_z(&reason) : "no signature");
    buf_fini(&reason);
}

/* ---- Verifying */

static void run(void *inst, const struct ph_view *v, void *arg) /* lane check */
{
    const struct dkim *d = inst;
    struct work *w = arg;
    const struct dkim_message m = dkim_message_of(v);

    dkim_check_run(d->verifier, &w->check, &m);
}

static void on_verified(void *inst, ph_turn turn, void *arg)
{
    answer(inst, turn, &((struct work *)arg)->check);
}

/* All keys are there, or are known to be missing. */
static void go_on(void *ctx, ph_turn turn)
{
    struct work *w = ctx;
    struct dkim *d = w->dkim;

    if (!dkim_check_open(&w->check)) {
        *place(d->host, turn) = NULL;
        answer(d, turn, &w->check);
        work_free(w);
        return;
    }
    *place(d->host, turn) = NULL; /* the job's now */
    if (d->host->job(d->host, turn, run, on_verified, work_free, w))
        work_free(w);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct dkim *d = inst;
    const struct dkim_conf *c = conf;
    const struct ph_view *v = d->host->view(d->host, turn);

    (void)at;
    if (v->auth_user[0]) { /* our own users' mail: it is signed, not judged */
        d->host->done(d->host, turn, PH_PASS, NULL, "submitted");
        return;
    }
    struct work *w = MEM_NEW(struct work);
    w->dkim = d;
    w->check.min_bits = c->min_rsa_bits;
    w->check.test_keys = c->test_keys;
    dkim_check_begin(&w->check, str_of(v->head, v->head_size), (size_t)c->signatures,
                     clock_wall_ms() / 1000);
    w->keys = (struct dkim_fetch){
        .host = d->host, .arena = w->check.arena, .n = w->check.n, .done = go_on, .ctx = w};
    w->keys.list = ARENA_ARRAY(w->check.arena, struct dkim_one *, w->check.n + 1);
    for (size_t i = 0; i < w->check.n; i++)
        w->keys.list[i] = &w->check.list[i];
    *place(d->host, turn) = w;
    if (!dkim_fetch_begin(&w->keys, turn))
        go_on(w, turn);
}

static void cancel(void *inst, ph_turn turn)
{
    const struct dkim *d = inst;
    struct work **w = place(d->host, turn);

    if (*w)
        work_free(*w);
    *w = NULL;
}

/* ---- The stage */

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    struct dkim *d = MEM_NEW(struct dkim);

    (void)conf;
    d->host = host;
    d->verifier = dkim_verifier_new();
    *inst = d;
    if (d->verifier)
        return 0;
    snprintf(err->text, sizeof err->text, "libopendkim can't be used");
    mem_free(d);
    return -1;
}

static void close_stage(void *inst)
{
    struct dkim *d = inst;

    dkim_verifier_free(&d->verifier);
    mem_free(d);
}

const struct ph_stage dkim_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MESSAGE),
    .name = "dkim",
    .doc = "Verifies DKIM signatures (RFC 6376, 8301, 8463). It refuses nothing by itself: what it "
           "found is shown by posthouse "
           "explain, and other stages build on it.",
    .lane = "check",
    .settings = dkim_settings,
    .conf_size = sizeof(struct dkim_conf),
    .turn_size = sizeof(struct work *),
    .open = open_stage,
    .close = close_stage,
    .on_point = on_point,
    .cancel = cancel,
    .dns_queries = QUERIES,
    .dns_ms = DNS_MS};
