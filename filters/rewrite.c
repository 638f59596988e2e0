/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* rewrite.c - the stage `rewrite`: addresses of mail that our users send are written in another
 * way, in its envelope and its header, before it is signed; and those without a domain get one. */
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"
#include "filters/builtin.h"
#include "filters/rewrite_rules.h"
#include <stdio.h>

enum { VALUE_MAX = 200 << 10, FIELDS_MAX = 200 };

struct rewrite_conf {
    const char *rules, *except;
    bool recipients, outside, append_origin;
};
// clang-format off
static const struct ph_setting rewrite_settings[] = {
    PH_SETTING(TEXT, rewrite_conf, rules, PH_RELOAD | PH_LIST, "", 0, 0,
               "How addresses of mail from users and programs of this server are written instead: \"old.example->new.example\"; "
               "\".example.com->example.com\" hides the hosts of a domain; \"ann@old.example->ann.smith@new.example\". The most exact one counts, once. "
               "It is for the envelope's sender and for From, Sender, Reply-To and the like, and takes place after smtp.from_check and before DKIM "
               "signs. To lead mail for an old domain to a new one: posthouse policy alias."),
    PH_SETTING(TEXT, rewrite_conf, except, PH_RELOAD | PH_LIST, "", 0, 0,
               "Addresses that stay as they are: { root@host.example.com, example.net, .example.org } (the last with all below)."),
    PH_SETTING(BOOL, rewrite_conf, recipients, PH_RELOAD, "yes", 0, 0,
               "The rules also hold for To, Cc and Bcc in the header. Where the mail goes doesn't change by that."),
    PH_SETTING(BOOL, rewrite_conf, outside, PH_RELOAD, "no", 0, 0,
               "The rules also hold for the header of mail from outside. That breaks its DKIM signatures for whom it is forwarded to."),
    PH_SETTING(BOOL, rewrite_conf, append_origin, PH_RELOAD, "yes", 0, 0,
               "Addresses without a domain in the header of mail from users and programs of this server get main.origin: root becomes "
               "root@example.com."),
    PH_SETTING_END};
// clang-format on

static const char *const senders[] = {
    "From",          "Sender",          "Reply-To",          "Resent-From",
    "Resent-Sender", "Resent-Reply-To", "Return-Receipt-To", "Disposition-Notification-To"};
static const char *const recipients[] = {"To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"};

struct stage_rewrite {
    const struct ph_host *host;
    struct rewrite *none;  /* no rules */
    struct rewrite *rules; /* of the settings that were used last: */
    char *rules_text, *except_text;
};

/* ---- Rules */

static void forget(struct stage_rewrite *st)
{
    rewrite_free(&st->rules);
    mem_free(st->rules_text);
    mem_free(st->except_text);
    st->rules_text = st->except_text = NULL;
}

/* Sessions that began before a reload have others. */
static const struct rewrite *rules_of(struct stage_rewrite *st, const struct rewrite_conf *c)
{
    struct err err;

    if (st->rules && str_eq(str_from(st->rules_text), str_from(c->rules)) &&
        str_eq(str_from(st->except_text), str_from(c->except)))
        return st->rules;
    forget(st);
    if (rewrite_new(str_from(c->rules), str_from(c->except), &st->rules, &err))
        return st->none; /* reload() has seen to it */
    st->rules_text = str_dup_z(str_from(c->rules));
    st->except_text = str_dup_z(str_from(c->except));
    return st->rules;
}

/* ---- A message */

static bool ours(const struct ph_view *v)
{
    return v->auth_user[0] || strcmp(v->service, "submission") == 0;
}

/* A value that begins on the next line: the fold goes. */
static struct str begin_of(struct str value)
{
    while (value.n && strchr(" \t\r\n", value.p[0]) && value.p[0])
        value = str_skip(value, 1);
    return value;
}

static unsigned rewrite_one(const struct ph_host *host, ph_turn turn, const struct rewrite *r,
                            struct str origin, const char *name, unsigned nth, struct str value)
{
    const struct ph_view *v = host->view(host, turn);
    struct buf out;

    buf_init(&out, VALUE_MAX);
    unsigned n = rewrite_field(r, origin, begin_of(value), &out);
    if (n &&
        (!buf_ok(&out) || host->header_change(host->acts(host, turn), name, nth, buf_z(&out)))) {
        host->log(host, v, PH_LOG_WARN, "field %s is left as it is: it can't be written anew",
                  name);
        n = 0;
    }
    buf_fini(&out);
    return n;
}

static unsigned rewrite_named(const struct ph_host *host, ph_turn turn, const struct rewrite *r,
                              struct str origin, const char *name)
{
    const struct ph_view *v = host->view(host, turn);
    struct str head = str_of(v->head, v->head_size), wanted = str_from(name);
    struct header_field f;
    unsigned n = 0, nth = 0;

    while (nth < FIELDS_MAX && header_next(&head, &f)) {
        char written[40]; /* its name: "to", "TO" */
        if (!str_ieq(f.name, wanted))
            continue;
        snprintf(written, sizeof written, STR_FMT, STR_ARG(f.name));
        n += rewrite_one(host, turn, r, origin, written, ++nth, f.value);
    }
    return n;
}

static unsigned rewrite_head(const struct stage_rewrite *st, ph_turn turn,
                             const struct rewrite_conf *c, const struct rewrite *r)
{
    const struct ph_host *host = st->host;
    const struct ph_view *v = host->view(host, turn);
    struct str origin = c->append_origin && ours(v) ? str_from(v->origin) : STR_NULL;
    unsigned n = 0;

    for (size_t i = 0; i < sizeof senders / sizeof senders[0]; i++)
        n += rewrite_named(host, turn, r, origin, senders[i]);
    if (!c->recipients)
        r = st->none;
    for (size_t i = 0; i < sizeof recipients / sizeof recipients[0]; i++)
        n += rewrite_named(host, turn, r, origin, recipients[i]);
    return n;
}

/* The new sender; NULL: it stays. */
static const char *rewrite_sender(const struct ph_host *host, ph_turn turn, const struct rewrite *r,
                                  struct arena *a)
{
    const struct ph_view *v = host->view(host, turn);
    struct str sender;

    if (!ours(v) || !v->mail_from[0] || !rewrite_address(r, a, str_from(v->mail_from), &sender) ||
        host->sender_change(host->acts(host, turn), sender.p))
        return NULL;
    return sender.p;
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct stage_rewrite *st = inst;
    const struct rewrite_conf *c = conf;
    const struct ph_host *host = st->host;
    const struct ph_view *v = host->view(host, turn);
    char why[256] = "";

    (void)at;
    if (!ours(v) && !c->outside) {
        host->done(host, turn, PH_PASS, NULL, NULL);
        return;
    }
    struct arena *a = arena_new(0);
    const struct rewrite *r = rules_of(st, c);
    unsigned n = rewrite_head(st, turn, c, r);
    const char *sender = rewrite_sender(host, turn, r, a);
    if (n || sender)
        snprintf(why, sizeof why, "%u addresses of the header written anew%s%.150s", n,
                 sender ? ", the sender is now " : "", sender ? sender : "");
    host->done(host, turn, PH_PASS, NULL, why[0] ? why : NULL);
    arena_free(&a);
}

/* ---- Its life */

static int check(const void *conf, struct ph_err *why)
{
    const struct rewrite_conf *c = conf;
    struct rewrite *r;
    struct err err = {0};

    if (rewrite_new(str_from(c->rules), str_from(c->except), &r, &err)) {
        snprintf(why->text, sizeof why->text, "%.230s", err.text);
        return -1;
    }
    rewrite_free(&r);
    return 0;
}

static void close_stage(void *inst)
{
    struct stage_rewrite *st = inst;

    forget(st);
    rewrite_free(&st->none);
    mem_free(st);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *why)
{
    struct stage_rewrite *st;
    struct err err;

    (void)conf;
    (void)why;
    st = MEM_NEW(struct stage_rewrite);
    st->host = host;
    CHECK(rewrite_new(STR_NULL, STR_NULL, &st->none, &err) == 0);
    *inst = st;
    return 0;
}

static bool idle(const void *conf)
{
    const struct rewrite_conf *c = conf;

    return !c->rules[0] && !c->append_origin;
}

const struct ph_stage rewrite_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MESSAGE),
    .name = "rewrite",
    .doc = "Writes addresses of mail that users and programs of this server send in another way: "
           "old domains, hosts that shall not be seen, names of people; and gives those without a "
           "domain one. Names, comments and all else in the fields stay as they are. Mail from "
           "outside isn't changed unless asked.",
    .settings = rewrite_settings,
    .conf_size = sizeof(struct rewrite_conf),
    .check = check,
    .open = open_stage,
    .close = close_stage,
    .on_point = on_point,
    .idle = idle};
