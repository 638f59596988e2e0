/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* policy.c - the stage `policy`: who is let in whatever the other stages say of senders, and who is
 * not, by rules of the administrator (policy_rules.h; posthouse policy); and domains whose mail
 * must be signed. Rules are looked at for each recipient, as a narrower one may say otherwise; only
 * networks that are allowed for all settle a session from its beginning. Anybody can write any
 * sender: such a rule stands up to a refusal only where SPF or DKIM prove it. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/builtin.h"
#include "filters/dmarc_facts.h"
#include "filters/live.h"
#include "filters/policy_dkim.h"
#include "filters/policy_rows.h"
#include <stdio.h>

enum { WORDS = 256 };
enum wish { WISH_JUNK, WISH_QUARANTINE, WISH_REJECT };
struct policy_conf {
    const char *dkim_required;
    int dkim_missing;
    bool allow_forged;
};
static const char *const wishes[] = {"junk", "quarantine", "reject", NULL};
// clang-format off
static const struct ph_setting policy_settings[] = {
    PH_SETTING(BOOL, policy_conf, allow_forged, PH_RELOAD, "no", 0, 0,
               "Rules that allow a sender, or a name in HELO, count whoever writes it. no: where spf says that the client may not send for "
               "the sender's domain (fail, softfail), they don't count; else they keep its mail out of Junk and quarantine, and they let "
               "it in against a refusal (of dmarc, dnslist, rdns ...) where the sender is proven: by SPF, or by a DKIM signature of its "
               "domain or one above it; a HELO, where the client's address has that name (stage rdns)."),
    PH_SETTING(TEXT, policy_conf, dkim_required, PH_RELOAD | PH_LIST, "", 0, 0,
               "Domains that sign all their mail: { example.org, .example.net } (the latter with all below). Mail with such a domain in "
               "From needs a DKIM signature of it, or of a domain above or below it, that stage dkim found valid."),
    PH_SETTING_ENUM(policy_conf, dkim_missing, PH_RELOAD, "reject", wishes,
                    "What becomes of mail that lacks it. Where a key can't be asked for at the moment, the client is told to come again."),
    PH_SETTING_END};
// clang-format on

struct policy {
    const struct ph_host *host;
    struct live *live;
};

static struct str fact(const struct policy *p, ph_turn turn, const char *name)
{
    return str_from(p->host->fact_get(p->host->acts(p->host, turn), name));
}

/* ---- Rules */

static bool forged(const struct policy *p, ph_turn turn)
{
    struct str spf = fact(p, turn, "spf.result");

    return str_eq(spf, STR("fail")) || str_eq(spf, STR("softfail"));
}

static bool proven_by_spf(const struct policy *p, ph_turn turn)
{
    return str_eq(fact(p, turn, "spf.result"), STR("pass")) &&
           str_eq(fact(p, turn, "spf.identity"), STR("mailfrom"));
}

static bool proven_helo(const struct policy *p, ph_turn turn, const struct ph_view *v)
{
    struct str name = fact(p, turn, "rdns.name");

    return name.n && str_ieq(name, str_from(v->helo));
}

static const struct policy_rule *find(const struct policy *p, const struct ph_view *v,
                                      struct policy_subject about)
{
    return policy_set_find_for(policy_live_set(p->live), &about, v->accounts, v->n_accounts);
}

static bool allows(const struct policy *p, const struct ph_view *v, struct policy_subject about,
                   bool sender_unproven, bool helo_unproven)
{
    about.sender_unproven = sender_unproven;
    about.helo_unproven = helo_unproven;
    const struct policy_rule *r = find(p, v, about);
    return r && r->action == POLICY_ALLOW;
}

/* Does it stand up to refusals of other stages? */
static enum builtin_allow weight(const struct policy *p, const struct policy_conf *conf,
                                 ph_turn turn, const struct ph_view *v,
                                 const struct policy_subject *about)
{
    bool helo_unproven = !conf->allow_forged && !proven_helo(p, turn, v);

    if (allows(p, v, *about, !conf->allow_forged && !proven_by_spf(p, turn), helo_unproven))
        return BUILTIN_ALLOW;
    return allows(p, v, *about, false, helo_unproven) ? BUILTIN_ALLOW_IF_PROVEN : BUILTIN_ALLOW_NO;
}

static void refuse(const struct policy *p, ph_turn turn, const struct policy_rule *r,
                   const char *why)
{
    static const char *const words[] = {
        [POLICY_SENDER] = "Mail from this sender is not accepted here",
        [POLICY_RECIPIENT] = "This address does not accept mail",
        [POLICY_NETWORK] = "Mail from your network is not accepted here",
        [POLICY_HELO] = "Mail from hosts that call themselves so is not accepted here"};
    char reply[WORDS];

    snprintf(reply, sizeof reply, "550 5.7.1 %.*s",
             r->reason.n ? (int)r->reason.n : (int)strlen(words[r->kind]),
             r->reason.n ? r->reason.p : words[r->kind]);
    p->host->done(p->host, turn, PH_REJECT, reply, why);
}

/* At RCPT: told to who asks posthouse explain. */
static const char *tell_alias(const struct policy *p, ph_turn turn, char why[WORDS])
{
    const char *leads_to = p->host->view(p->host, turn)->leads_to;

    if (!leads_to[0])
        return NULL;
    p->host->fact_set(p->host->acts(p->host, turn), "policy.alias", leads_to);
    snprintf(why, WORDS, "global alias: goes to %.200s", leads_to);
    return why;
}

static void on_rule(const struct policy *p, ph_turn turn, const struct policy_rule *r,
                    enum builtin_allow how)
{
    const struct ph_host *host = p->host;
    char why[WORDS];
    const char *alias = tell_alias(p, turn, why);
    struct buf text;

    if (!r) {
        host->done(host, turn, PH_PASS, NULL, alias);
        return;
    }
    buf_init(&text, 3 * POLICY_TEXT);
    policy_rule_text(r, &text);
    host->fact_set(host->acts(host, turn), "policy.rule", buf_z(&text));
    snprintf(why, sizeof why, "%s%s%.*s%s", buf_z(&text), r->reason.n ? ": " : "", (int)r->reason.n,
             r->reason.n ? r->reason.p : "",
             r->action == POLICY_DENY || how == BUILTIN_ALLOW
                 ? ""
                 : " (not against refusals: who sends isn't proven)");
    if (r->action == POLICY_DENY)
        refuse(p, turn, r, why);
    else
        host->done(host, turn, PH_ACCEPT, NULL, why);
    buf_fini(&text);
}

/* Who denies for all waits for the recipient: somebody may want it. */
static void on_connect(const struct policy *p, ph_turn turn, const struct ph_view *v)
{
    const struct policy_subject about = {.ip = v->client_ip, .now = clock_wall_ms() / 1000};
    const struct policy_rule *r = policy_set_find(policy_live_set(p->live), &about);

    if (r && r->action != POLICY_ALLOW)
        r = NULL;
    if (r)
        builtin_allow(p->host, turn, BUILTIN_ALLOW);
    on_rule(p, turn, r, BUILTIN_ALLOW);
}

static void on_mail(const struct policy *p, ph_turn turn)
{
    if (policy_set_waits(policy_live_set(p->live)))
        builtin_postpone(p->host, turn);
    p->host->done(p->host, turn, PH_PASS, NULL, NULL);
}

static void on_rcpt(const struct policy *p, const struct policy_conf *conf, ph_turn turn,
                    const struct ph_view *v)
{
    struct policy_subject about = {.ip = v->client_ip,
                                   .sender = str_from(v->mail_from),
                                   .rcpt = str_from(v->rcpt),
                                   .helo = str_from(v->helo),
                                   .now = clock_wall_ms() / 1000};
    enum builtin_allow how = weight(p, conf, turn, v, &about);

    builtin_allow(p->host, turn, how);
    about.sender_unproven = !conf->allow_forged && forged(p, turn);
    on_rule(p, turn, find(p, v, about), how);
}

/* ---- Signatures */

static void missing(const struct policy *p, const struct policy_conf *conf, ph_turn turn,
                    const char *domain)
{
    static const enum ph_verdict of_wish[] = {
        [WISH_JUNK] = PH_JUNK, [WISH_QUARANTINE] = PH_QUARANTINE, [WISH_REJECT] = PH_REJECT};
    char reply[WORDS], why[WORDS];

    snprintf(reply, sizeof reply,
             "550 5.7.20 Mail from %.120s must have a valid DKIM signature of that domain", domain);
    snprintf(why, sizeof why, "dkim_required: no valid signature of %.200s", domain);
    p->host->done(p->host, turn, of_wish[conf->dkim_missing], reply, why);
}

/* Of its sender's domain, or one above: who has that speaks for all below. */
static bool proven_by_dkim(const struct policy *p, ph_turn turn, const struct ph_view *v)
{
    struct str results = fact(p, turn, "dkim.results"), domain = str_from(v->mail_from);
    struct dmarc_domain folded;
    struct dmarc_dkim one;
    size_t at;

    if (!str_rchr(domain, '@', &at) || !dmarc_domain_fold(str_skip(domain, at + 1), &folded))
        return false;
    while (dmarc_dkim_next(&results, &one))
        if (str_eq(one.result, STR("pass")) && str_rchr(one.domain, '.', &at) &&
            policy_dkim_within(str_from(folded.z), one.domain))
            return true;
    return false;
}

static void on_message(const struct policy *p, const struct policy_conf *conf, ph_turn turn,
                       const struct ph_view *v)
{
    const struct ph_host *host = p->host;
    struct dmarc_domain domain = {""};
    bool proven = proven_by_dkim(p, turn, v), temporary;
    char why[WORDS] = "";

    if (proven)
        builtin_prove(host, turn);
    if (builtin_allowed(host, turn)) {
        host->done(host, turn, PH_ACCEPT, NULL,
                   proven ? "allowed: its sender is proven by DKIM" : "allowed");
        return;
    }
    switch (policy_dkim_look(str_from(conf->dkim_required), str_of(v->head, v->head_size),
                             fact(p, turn, "dkim.results"), &domain, &temporary)) {
    case POLICY_DKIM_MISSING:
        missing(p, conf, turn, domain.z);
        return;
    case POLICY_DKIM_UNKNOWN:
        if (temporary) {
            snprintf(why, sizeof why, "dkim_required: a key of %.200s can't be asked for",
                     domain.z);
            host->done(host, turn, PH_DEFER,
                       "451 4.7.5 A DKIM key can't be asked for at the moment", why);
            return;
        }
        snprintf(why, sizeof why, "dkim_required: %.180s not checked, stage dkim has not looked",
                 domain.z);
        host->log(host, v, PH_LOG_WARN, "%s", why);
        break;
    case POLICY_DKIM_SIGNED:
        snprintf(why, sizeof why, "dkim_required: signed by %.200s", domain.z);
        break;
    case POLICY_DKIM_FREE:
        break;
    }
    host->done(host, turn, PH_PASS, NULL, why[0] ? why : NULL);
}

/* ---- The stage */

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    const struct policy *p = inst;
    const struct ph_view *v = p->host->view(p->host, turn);
    char why[WORDS];

    if (v->auth_user[0] || strcmp(v->service, "submission") == 0)
        p->host->done(p->host, turn, PH_PASS, NULL, tell_alias(p, turn, why));
    else if (at == PH_CONNECT)
        on_connect(p, turn, v);
    else if (at == PH_MAIL)
        on_mail(p, turn);
    else if (at == PH_RCPT)
        on_rcpt(p, conf, turn, v);
    else
        on_message(p, conf, turn, v);
}

static int check(const void *conf, struct ph_err *why)
{
    struct err err = {0};

    if (policy_dkim_check(str_from(((const struct policy_conf *)conf)->dkim_required), &err) == 0)
        return 0;
    snprintf(why->text, sizeof why->text, "dkim_required: %.200s", err.text);
    return -1;
}

static void close_stage(void *inst)
{
    struct policy *p = inst;

    live_close(&p->live);
    mem_free(p);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *why)
{
    struct policy *p = MEM_NEW(struct policy);
    struct err err = {0};

    (void)conf;
    p->host = host;
    if (policy_live_open(builtin_loop(host), builtin_store(host), &p->live, &err) == 0) {
        *inst = p;
        return 0;
    }
    snprintf(why->text, sizeof why->text, "%.200s", err.text);
    close_stage(p);
    return -1;
}

const struct ph_stage policy_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_CONNECT) | PH_AT(PH_MAIL) | PH_AT(PH_RCPT) | PH_AT(PH_MESSAGE),
    .name = "policy",
    .after = "dkim",
    .doc =
        "Allows and denies senders, recipients, networks and names in HELO by rules, for all, "
        "for one of our domains or for one "
        "address or account: posthouse policy keeps them, and they take effect at once. What is "
        "allowed no longer counts as junk, nor goes into quarantine, whatever other stages say; a "
        "virus stays one. Nor is it refused by what rdns, helo, spf, dnslist, greylist, "
        "verify_sender, dmarc, score and dkim_required say of who sends: the rule must be about a "
        "network, a recipient, or a sender that is proven (see allow_forged). Malformed mail, "
        "limits, viruses, programs and milters refuse it all the same. A message to several is let "
        "in against dmarc, score and dkim_required if it is allowed for each. While there are "
        "rules "
        "that allow more than networks for all, what those stages would refuse at MAIL is refused "
        "at RCPT. What is denied is refused at its recipient. Users who send aren't looked at. "
        "Facts: policy.rule, policy.alias.",
    .settings = policy_settings,
    .conf_size = sizeof(struct policy_conf),
    .check = check,
    .open = open_stage,
    .close = close_stage,
    .on_point = on_point};
