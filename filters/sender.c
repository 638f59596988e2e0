/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sender.c - the stage `verify_sender`: does the sender's address exist? Its mail hosts are asked,
 * as if something were to be sent there (ph_host.probe). Answers are remembered, as nobody likes to
 * be asked often. */
#include "appliance/base/clock.h"
#include "appliance/base/metrics.h"
#include "appliance/base/settings.h"
#include "appliance/mail/address.h"
#include "filters/builtin.h"
#include "filters/outside.h"
#include "filters/policy_rules.h"
#include "filters/suspect.h"
#include <stdio.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
#define DAYS(n) ((n)*24LL * HOUR)
enum { TEXT_ROOM = 200, ADDRESS_ROOM = 256 };

enum whom { NOBODY, SUSPECTS, ALL };
enum wish { WISH_PASS, WISH_JUNK, WISH_DEFER, WISH_REJECT };
struct verify_conf {
    int clients, refused, temporary, no_bounces;
    const char *domains, *except, *skip, *ask_as;
    bool trust_spf;
    uint64_t patience, keep_taken, keep_refused, keep_temporary, correspondents;
};
static const char *const whom_names[] = {"nobody", "suspects", "all", NULL};
static const char *const wish_names[] = {"pass", "junk", "defer", "reject", NULL};
// clang-format off
static const struct ph_setting verify_settings[] = {
    PH_SETTING_ENUM(verify_conf, clients, PH_RELOAD, "nobody", whom_names,
                    "Of which clients' mail the sender is checked. suspects: those that another stage has found something about, as of greylist. "
                    "nobody, as it is at first: the stage is off, as it gives other people's hosts work, and some block who asks much."),
    PH_SETTING(TEXT, verify_conf, domains, PH_RELOAD | PH_LIST, "", 0, 0,
               "Only senders of these domains are checked: { example.org, .example.net } (the latter with all below). Empty: all."),
    PH_SETTING(TEXT, verify_conf, except, PH_RELOAD | PH_LIST, "", 0, 0,
               "Senders that aren't checked: { ann@example.org, @example.org, @.example.net } (the latter with all below)."),
    PH_SETTING_ENUM(verify_conf, refused, PH_RELOAD, "reject", wish_names,
                    "What becomes of mail whose sender doesn't exist: its hosts say so, or its domain takes no mail."),
    PH_SETTING_ENUM(verify_conf, temporary, PH_RELOAD, "defer", wish_names,
                    "What becomes of it where that can't be said at the moment: no host answers, or one asks to come later."),
    PH_SETTING_ENUM(verify_conf, no_bounces, PH_RELOAD, "pass", wish_names,
                    "What becomes of it where a host refuses MAIL FROM:<>, against RFC 5321, so that it can't be asked, nor take bounces."),
    PH_SETTING(TEXT, verify_conf, ask_as, PH_RELOAD, "", 0, 0,
               "The sender with which hosts are asked, an address of ours. Empty, as it should be: the null sender. Mail to this address is never "
               "checked: two hosts that ask each other about their askers would do so for ever."),
    PH_SETTING(BOOL, verify_conf, trust_spf, PH_RELOAD, "yes", 0, 0,
               "Don't check senders whose domain lets the client send for it (stage spf: pass)."),
    PH_SETTING(TIME, verify_conf, patience, PH_RELOAD, "20s", SECOND, HOUR,
               "How long the hosts may take for their answer; after that it counts as temporary. Less than deadline."),
    PH_SETTING(TIME, verify_conf, keep_taken, PH_RELOAD, "30d", MINUTE, DAYS(3650), "How long it is remembered that an address exists."),
    PH_SETTING(TIME, verify_conf, keep_refused, PH_RELOAD, "3h", SECOND, DAYS(365), "How long, that it doesn't."),
    PH_SETTING(TIME, verify_conf, keep_temporary, PH_RELOAD, "10min", SECOND, DAYS(7), "How long, that it can't be said."),
    PH_SETTING(TIME, verify_conf, correspondents, PH_RELOAD, "90d", 0, DAYS(3650),
               "How long addresses that users have written to through this server aren't checked. 0: that isn't learnt."),
    PH_SETTING(TEXT, verify_conf, skip, PH_RELOAD | PH_LIST, OUTSIDE_PRIVATE, 0, 0,
               "Clients whose mail isn't checked. Nor is that of those in guard.trusted, of whoever has logged in, and of clients that the stage "
               "dnslist trusts."),
    PH_SETTING_END};
// clang-format on

enum result { TAKEN, REFUSED, TEMPORARY, UNKNOWN, NO_BOUNCES, KNOWN, RESULTS };
static const char *const result_names[] = {
    [TAKEN] = "taken",     [REFUSED] = "refused",       [TEMPORARY] = "temporary",
    [UNKNOWN] = "unknown", [NO_BOUNCES] = "no_bounces", [KNOWN] = "correspondent"};
static const char *result_name(size_t i)
{
    return result_names[i];
}
METRIC(counts, RESULTS, .type = METRIC_COUNTER, .name = "posthouse_verify_sender_total",
       .help = "Senders by what is known of their address.",
       .labels = {{"result", result_name, RESULTS}});
METRIC(probes, 1, .type = METRIC_COUNTER, .name = "posthouse_verify_sender_probes_total",
       .help = "Addresses that other hosts were asked about.");

struct ask { /* of a turn */
    char key[ADDRESS_ROOM];
    const struct verify_conf *conf;
};
/* As it is kept: the result, then the words. */
struct kept {
    unsigned char result;
    char text[TEXT_ROOM];
};

/* ---- Addresses */

/* Folded; false: none that can be looked up. */
static bool fold(const char *address, char out[ADDRESS_ROOM])
{
    struct buf b;
    struct err err;

    buf_init(&b, ADDRESS_ROOM - 1);
    bool ok = address[0] && address_fold(str_from(address), &b, &err) == 0 && buf_ok(&b) &&
              b.n < ADDRESS_ROOM;
    if (ok)
        snprintf(out, ADDRESS_ROOM, "%s", buf_z(&b));
    buf_fini(&b);
    return ok;
}

/* word: "example.org" or ".example.org", after the '@' if there is one. */
static bool domain_fits(struct str domain, struct str word)
{
    if (word.n && word.p[0] == '.')
        return str_ieq(domain, str_skip(word, 1)) ||
               (domain.n > word.n && str_ieq(str_skip(domain, domain.n - word.n), word));
    return str_ieq(domain, word);
}

static bool listed(const char *list, struct str address)
{
    struct str rest = str_from(list), word, local, domain;
    size_t at;

    address_split(address, &local, &domain);
    while (settings_list_next(&rest, &word))
        if (!str_rchr(word, '@', &at) ? domain_fits(domain, word)
            : at == 0                 ? domain_fits(domain, str_skip(word, 1))
                                      : str_ieq(word, address))
            return true;
    return false;
}

static bool same(const char *a, const char *b)
{
    char x[ADDRESS_ROOM], y[ADDRESS_ROOM];

    return fold(a, x) && fold(b, y) && strcmp(x, y) == 0;
}

/* ---- The answer */

static void say(const struct outside_stage *st, ph_turn turn, enum wish wish, const char *code,
                const char *words, const char *text, const char *why)
{
    static const enum ph_verdict verdicts[] = {[WISH_PASS] = PH_PASS,
                                               [WISH_JUNK] = PH_JUNK,
                                               [WISH_DEFER] = PH_DEFER,
                                               [WISH_REJECT] = PH_REJECT};
    char reply[256];

    snprintf(reply, sizeof reply, "%s %s%s%.120s", wish == WISH_REJECT ? "550" : "450", code, words,
             text);
    st->host->done(st->host, turn, verdicts[wish], reply, why);
}

static void judge(const struct outside_stage *st, const struct verify_conf *c, ph_turn turn,
                  const struct kept *k, bool cached)
{
    const struct ph_host *host = st->host;
    char why[TEXT_ROOM + 40];

    metric_inc(&counts, k->result);
    host->fact_set(host->acts(host, turn), "verify_sender.result", result_names[k->result]);
    snprintf(why, sizeof why, "%s%s%s%s", result_names[k->result], k->text[0] ? ": " : "", k->text,
             cached ? " (remembered)" : "");
    switch ((enum result)k->result) {
    case REFUSED:
        say(st, turn, (enum wish)c->refused, c->refused == WISH_REJECT ? "5.1.8" : "4.1.8",
            " The sender's address doesn't exist: ", k->text, why);
        return;
    case TEMPORARY:
        say(st, turn, (enum wish)c->temporary, c->temporary == WISH_REJECT ? "5.1.8" : "4.1.8",
            " The sender's address can't be verified now: ", k->text, why);
        return;
    case NO_BOUNCES:
        say(st, turn, (enum wish)c->no_bounces, c->no_bounces == WISH_REJECT ? "5.1.8" : "4.1.8",
            " The sender's host refuses bounces: ", k->text, why);
        return;
    case TAKEN:
    case UNKNOWN:
    case KNOWN:
    case RESULTS:
        break;
    }
    host->done(host, turn, PH_PASS, NULL, why);
}

/* ---- What is remembered */

static bool recall(const struct outside_stage *st, const char *key, struct kept *out)
{
    int64_t n = st->host->kv_get(st->host, key, strlen(key), out, sizeof *out);

    if (n < 1 || n > (int64_t)sizeof *out || out->result >= RESULTS)
        return false;
    out->text[n - 1 < TEXT_ROOM ? n - 1 : TEXT_ROOM - 1] = '\0';
    return true;
}

static uint64_t keep_of(const struct verify_conf *c, enum result r)
{
    return r == TAKEN                        ? c->keep_taken
           : r == REFUSED || r == NO_BOUNCES ? c->keep_refused
           : r == KNOWN                      ? c->correspondents
                                             : c->keep_temporary;
}

static void remember(const struct outside_stage *st, const struct verify_conf *c, const char *key,
                     const struct kept *k)
{
    /* Full: it is asked again, no more. */
    (void)st->host->kv_set(st->host, key, strlen(key), k, 1 + strlen(k->text),
                           keep_of(c, (enum result)k->result));
}

/* At PH_OUTBOUND: whom our users write to exists, as far as they know. */
static void learn(const struct outside_stage *st, const struct verify_conf *c,
                  const struct ph_view *v)
{
    const struct kept k = {.result = KNOWN};
    char key[ADDRESS_ROOM];

    if (!c->correspondents || strcmp(v->route, "submission") != 0)
        return;
    for (size_t i = 0; i < v->n_rcpts; i++)
        if (fold(v->rcpts[i], key))
            remember(st, c, key, &k);
}

/* ---- Asking */

static void on_probed(void *inst, ph_turn turn, const struct ph_probe_answer *a, void *arg)
{
    static const enum result results[] = {[PH_PROBE_TAKEN] = TAKEN,
                                          [PH_PROBE_REFUSED] = REFUSED,
                                          [PH_PROBE_TEMPORARY] = TEMPORARY,
                                          [PH_PROBE_UNKNOWN] = UNKNOWN};
    struct outside_stage *st = inst;
    const struct ask *ask = arg;
    struct kept k = {.result = (unsigned char)results[a->result]};

    if (a->sender_refused)
        k.result = NO_BOUNCES;
    for (size_t i = 0; i + 1 < TEXT_ROOM && a->text[i]; i++) /* it goes into a reply */
        k.text[i] = a->text[i] >= ' ' && a->text[i] <= '~' ? a->text[i] : '?';
    remember(st, ask->conf, ask->key, &k);
    judge(st, ask->conf, turn, &k, false);
}

static const char *why_not(struct outside_stage *st, const struct verify_conf *c, ph_turn turn,
                           const struct ph_view *v, const char *key)
{
    const struct ph_host *host = st->host;
    struct ph_acts *acts = host->acts(host, turn);
    const char *trusted = host->fact_get(acts, "dnslist.trusted");
    const char *spf = host->fact_get(acts, "spf.result");
    const char *identity = host->fact_get(acts, "spf.identity");
    const char *why = outside_why_not(&st->outside, host, v);
    const char *at = strrchr(key, '@');

    if (why)
        return why;
    if (!v->mail_from[0])
        return "not checked: the null sender";
    if (!at)
        return "not checked: its address can't be looked up";
    if (c->ask_as[0] && same(c->ask_as, v->rcpt))
        return "not checked: mail to the address that asks";
    if (listed(c->except, str_from(key)))
        return "not checked: an exception";
    if (c->domains[0] && !listed(c->domains, str_from(key)))
        return "not checked: not one of verify_sender.domains";
    if (trusted && strcmp(trusted, "yes") == 0)
        return "not checked: DNS lists trust the client";
    if (c->trust_spf && spf && identity && strcmp(spf, "pass") == 0 &&
        strcmp(identity, "mailfrom") == 0)
        return "not checked: SPF passes";
    return c->clients == SUSPECTS && !suspect(host, turn)
               ? "not checked: nothing was found about the client"
               : NULL;
}

static void on_rcpt(struct outside_stage *st, const struct verify_conf *c, ph_turn turn,
                    const struct ph_view *v)
{
    const struct ph_host *host = st->host;
    struct ask *ask = host->memory(host, turn);
    struct kept k;
    const char *why;

    ask->conf = c;
    if (!fold(v->mail_from, ask->key))
        ask->key[0] = '\0';
    why = why_not(st, c, turn, v, ask->key);
    if (why) {
        host->done(host, turn, PH_PASS, NULL, why);
    } else if (recall(st, ask->key, &k)) {
        judge(st, c, turn, &k, true);
    } else if (host->probe(host, turn, ask->key, c->ask_as, c->patience, on_probed, ask) == 0) {
        metric_inc(&probes, 0);
    } else {
        host->failed(host, turn, PH_PASS, NULL, "its hosts can't be asked");
    }
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct outside_stage *st = inst;
    const struct ph_view *v = st->host->view(st->host, turn);

    if (at == PH_RCPT) {
        on_rcpt(st, conf, turn, v);
        return;
    }
    learn(st, conf, v);
    st->host->done(st->host, turn, PH_PASS, NULL, NULL);
}

/* ---- Its life */

/* Addresses and domains as policy rules have them. */
static int check_list(const char *name, const char *list, bool domains, struct ph_err *why)
{
    struct arena *a = arena_new(0);
    struct str rest = str_from(list), word, value;
    struct err err = {0};
    size_t at;
    int rc = 0;

    while (rc == 0 && settings_list_next(&rest, &word)) {
        struct str whole = domains ? arena_printf(a, "@" STR_FMT, STR_ARG(word)) : word;
        rc = domains && str_chr(word, '@', &at)
                 ? ERR(&err, ERR_PROTO, "'" STR_FMT "' is no domain", STR_ARG(str_take(word, 100)))
                 : policy_value_parse(a, POLICY_RECIPIENT, whole, &value, &err);
    }
    if (rc)
        snprintf(why->text, sizeof why->text, "%s: %.200s", name, err.text);
    arena_free(&a);
    return rc;
}

static int check(const void *conf, struct ph_err *err)
{
    const struct verify_conf *c = conf;
    char key[ADDRESS_ROOM];

    if (check_list("domains", c->domains, true, err) || check_list("except", c->except, false, err))
        return -1;
    if (c->ask_as[0] && (!fold(c->ask_as, key) || !strchr(key, '@') || key[0] == '@')) {
        snprintf(err->text, sizeof err->text, "ask_as: '%.100s' is no address", c->ask_as);
        return -1;
    }
    return outside_check(c->skip, err);
}

static int reload(void *inst, const void *conf, struct ph_err *err)
{
    (void)err;
    outside_take(&((struct outside_stage *)inst)->outside,
                 ((const struct verify_conf *)conf)->skip);
    return 0;
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)err;
    return outside_stage_open(host, ((const struct verify_conf *)conf)->skip, inst);
}

static bool idle(const void *conf)
{
    return ((const struct verify_conf *)conf)->clients == NOBODY;
}

const struct ph_stage verify_sender_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_RCPT) | PH_AT(PH_OUTBOUND),
    .flags = PH_UNLESS_ACCEPTED | PH_ABOUT_SENDER,
    .name = "verify_sender",
    .doc =
        "Asks the mail hosts of the sender's domain whether its address exists, by a transaction "
        "that ends before DATA, over the same routes and with the same TLS as mail; what they "
        "say is remembered. Off unless `clients` says whose; with mode = shadow they are asked, "
        "and nothing follows. Facts: verify_sender.result (taken, refused, temporary, unknown, "
        "no_bounces, correspondent).",
    .after = "policy,spf,dnslist,rdns,helo,greylist",
    .settings = verify_settings,
    .conf_size = sizeof(struct verify_conf),
    .turn_size = sizeof(struct ask),
    .check = check,
    .open = open_stage,
    .reload = reload,
    .close = outside_stage_close,
    .on_point = on_point,
    .idle = idle};
