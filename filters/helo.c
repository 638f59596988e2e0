/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* helo.c - the stage `helo`: is what the client calls itself true, as far as one can see? Judged at
 * MAIL, when it is known whether it has logged in. That the name's address is another one is not
 * held against it (RFC 5321 4.1.4). */
#include "appliance/base/text.h"
#include "filters/builtin.h"
#include "filters/fault.h"
#include "filters/helo_name.h"
#include "filters/outside.h"
#include <stdio.h>

enum { QUERIES = 3, TIME_MS = 5000, POINTS_MAX = 1000 };

struct helo_conf {
    int literal, ours, unqualified, unresolvable;
    const char *own;
    int64_t points;
    const char *skip;
};
// clang-format off
static const struct ph_setting helo_settings[] = {
    PH_SETTING_ENUM(helo_conf, literal, PH_RELOAD, "score", fault_wishes,
                    "A client that names an address in brackets which isn't the one it comes from. score: `points` are added to the "
                    "message's score. The sender is told what to do about it."),
    PH_SETTING_ENUM(helo_conf, ours, PH_RELOAD, "score", fault_wishes,
                    "A client that calls itself by this server's name, or one in `own`."),
    PH_SETTING_ENUM(helo_conf, unqualified, PH_RELOAD, "score", fault_wishes,
                    "A client that says one word without a dot, an address without brackets, or what is no domain name (RFC 5321 4.1.1.1)."),
    PH_SETTING_ENUM(helo_conf, unresolvable, PH_RELOAD, "none", fault_wishes,
                    "A client whose name has no address and no mail server in the DNS. Anything but none makes up to three questions."),
    PH_SETTING(TEXT, helo_conf, own, PH_RELOAD | PH_LIST, "localhost, localhost.localdomain, 127.0.0.1, ::1", 0, 0,
               "Names and addresses besides smtp.hostname that nobody else may use: this server's other ones, domains that only it sends for."),
    PH_SETTING(INT, helo_conf, points, PH_RELOAD, "1", 0, POINTS_MAX, "What each of these adds to the score, unless it is none."),
    PH_SETTING(TEXT, helo_conf, skip, PH_RELOAD | PH_LIST, OUTSIDE_PRIVATE, 0, 0,
               "Clients that aren't checked. Nor are those in guard.trusted, and whoever has logged in."),
    PH_SETTING_END};
// clang-format on

struct helo_turn {
    const struct helo_conf *conf;
    unsigned waiting;
    bool found, unanswered;
};

static void finish(struct outside_stage *st, ph_turn turn, const char *result,
                   const struct fault *f, int64_t points)
{
    st->host->fact_set(st->host->acts(st->host, turn), "helo.result", result);
    if (f)
        fault_done(st->host, turn, f, points);
    else
        st->host->done(st->host, turn, PH_PASS, NULL, result);
}

/* ---- Does the name exist? */

static void on_answer(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg)
{
    struct outside_stage *st = inst;
    struct helo_turn *t = arg;
    char say[240];

    t->found |= a->n > 0;
    t->unanswered |= a->status > PH_DNS_NO_NAME;
    if (--t->waiting)
        return;
    if (t->found || t->unanswered) {
        finish(st, turn, t->found ? "ok" : "unanswered", NULL, 0);
        return;
    }
    snprintf(say, sizeof say,
             "Your HELO name %.120s isn't in the DNS: give it an address record, or use the name "
             "that your server has",
             st->host->view(st->host, turn)->helo);
    const struct fault f = {t->conf->unresolvable, "7.1",
                            "its HELO name has no address and no mail server", say};
    finish(st, turn, "unresolvable", &f, t->conf->points);
}

static bool ask(struct outside_stage *st, ph_turn turn, const struct helo_conf *c)
{
    static const enum ph_dns_type types[] = {PH_DNS_A, PH_DNS_AAAA, PH_DNS_MX};
    const struct ph_host *host = st->host;
    struct helo_turn *t = host->memory(host, turn);
    struct str name = str_from(host->view(host, turn)->helo);
    struct buf plain;

    t->conf = c;
    buf_init(&plain, 256);
    if (text_ascii(name) ? buf_add_str(&plain, name) == 0 : text_domain(name, &plain) == 0)
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
            if (host->dns(host, turn, types[i], buf_z(&plain), on_answer, t) == 0)
                t->waiting++;
    buf_fini(&plain);
    return t->waiting > 0;
}

/* ---- What it says. */

/* Our own name is not a stranger's if the DNS gives it to the client: it is one of ours. */
static bool is_stranger(struct outside_stage *st, ph_turn turn, const char *said)
{
    const char *name = st->host->fact_get(st->host->acts(st->host, turn), "rdns.name");

    return !name || !str_ieq(str_from(name), str_from(said));
}

static bool faulty(struct outside_stage *st, ph_turn turn, const struct helo_conf *c)
{
    const struct ph_view *v = st->host->view(st->host, turn);
    enum helo_kind kind = helo_kind(v->helo, v->client_ip);
    struct fault f = {.status = "7.1"};
    const char *result;
    char say[240];

    if (kind != HELO_LITERAL_OWN && helo_is_ours(v->helo, v->host, c->own) &&
        is_stranger(st, turn, v->helo)) {
        result = "ours";
        f.wish = c->ours;
        f.reason = "it calls itself by a name of ours";
        snprintf(say, sizeof say,
                 "You called yourself %.120s in HELO, but that is not you: say your own name",
                 v->helo);
    } else if (kind == HELO_LITERAL_OTHER) {
        result = "literal";
        f.wish = c->literal;
        f.reason = "its HELO has an address that isn't its own";
        snprintf(say, sizeof say,
                 "You said %.80s in HELO, but come from %s: say your own name or address", v->helo,
                 v->client_ip);
    } else if (kind == HELO_UNQUALIFIED) {
        result = "unqualified";
        f.wish = c->unqualified;
        f.status = "5.2";
        f.reason = "its HELO isn't a full domain name";
        snprintf(say, sizeof say,
                 "You said %.120s in HELO, which isn't a full domain name: say your server's, as "
                 "in mail.example.com",
                 v->helo);
    } else {
        return false;
    }
    f.say = say;
    finish(st, turn, result, &f, c->points);
    return true;
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct outside_stage *st = inst;
    const struct helo_conf *c = conf;
    const struct ph_view *v = st->host->view(st->host, turn);
    const char *why = outside_why_not(&st->outside, st->host, v);

    (void)at;
    if (why) {
        st->host->done(st->host, turn, PH_PASS, NULL, why);
        return;
    }
    if (faulty(st, turn, c))
        return;
    if (c->unresolvable == FAULT_NONE || v->helo[0] == '[' || !ask(st, turn, c))
        finish(st, turn, "ok", NULL, 0);
}

/* ---- Its life. */

static int check(const void *conf, struct ph_err *err)
{
    return outside_check(((const struct helo_conf *)conf)->skip, err);
}

static int reload(void *inst, const void *conf, struct ph_err *err)
{
    (void)err;
    outside_take(&((struct outside_stage *)inst)->outside, ((const struct helo_conf *)conf)->skip);
    return 0;
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)err;
    return outside_stage_open(host, ((const struct helo_conf *)conf)->skip, inst);
}

const struct ph_stage helo_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MAIL),
    .flags = PH_ABOUT_SENDER,
    .name = "helo",
    .doc =
        "Looks at the name that the client gives itself in HELO or EHLO. Facts: helo.result (ok, "
        "literal, ours, unqualified, unresolvable, unanswered).",
    .after = "rdns",
    .settings = helo_settings,
    .conf_size = sizeof(struct helo_conf),
    .turn_size = sizeof(struct helo_turn),
    .check = check,
    .open = open_stage,
    .reload = reload,
    .close = outside_stage_close,
    .on_point = on_point,
    .dns_queries = QUERIES,
    .dns_ms = TIME_MS};
