/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf.c - the stage `spf`: may this client send for the sender's domain (RFC 7208)? Where nobody
 * has to ask (logins, trusted networks, our own) it stays silent. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "filters/authres.h"
#include "filters/builtin.h"
#include "filters/outside.h"
#include "filters/questions.h"
#include "filters/spf_eval.h"
#include "filters/spf_libspf2.h"
#include "filters/spf_report.h"
#include <stdio.h>

enum { QUERIES = 120, VOIDS = 20, TIME_MS = 20000 }; /* RFC 7208 4.6.4: at least 20 s */
enum wish { WISH_PASS, WISH_JUNK, WISH_QUARANTINE, WISH_REJECT };
enum engine { ENGINE_OWN, ENGINE_LIBSPF2 };
struct spf_conf {
    const char *skip;
    bool header;
    int engine, fail, softfail, permerror, temperror;
};
static const char *const wishes[] = {"pass", "junk", "quarantine", "reject", NULL};
static const char *const engines[] = {"own", "libspf2", NULL};
static const char *const temporary[] = {"pass", "defer", NULL};
// clang-format off
static const struct ph_setting spf_settings[] = {
    PH_SETTING_ENUM(spf_conf, engine, PH_RELOAD, "own", engines,
                    "Who evaluates records. own: this server, RFC 7208 in full. libspf2: the library of that name, for comparison; it "
                    "knows less of the RFC, lets 127.0.0.0/8 and ::1 send for anybody, and is only there if this server was built with it."),
    PH_SETTING_ENUM(spf_conf, fail, PH_RELOAD, "junk", wishes,
                    "What becomes of mail from a client that the sender's domain forbids to send for it (\"-all\"). Forwarded mail fails "
                    "where the forwarder keeps the sender; so by default it goes to Junk and nothing is lost."),
    PH_SETTING_ENUM(spf_conf, softfail, PH_RELOAD, "pass", wishes,
                    "The same where the domain says \"probably not\" (\"~all\")."),
    PH_SETTING_ENUM(spf_conf, permerror, PH_RELOAD, "pass", wishes,
                    "The same where the domain's record can't be understood, or asks for too much."),
    PH_SETTING_ENUM(spf_conf, temperror, PH_RELOAD, "pass", temporary,
                    "Where the DNS doesn't answer. defer: the client is told to come again."),
    PH_SETTING(BOOL, spf_conf, header, PH_RELOAD, "yes", 0, 0, "Add a Received-SPF field to what was checked."),
    PH_SETTING(TEXT, spf_conf, skip, PH_RELOAD | PH_LIST,
               "127.0.0.0/8, ::1, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, fc00::/7, fe80::/10", 0, 0,
               "Clients that aren't checked: those that no record in the DNS can name, and hosts that forward mail to this one, as "
               "other MXs of its domains do. Nor are those in guard.trusted, and whoever has logged in."),
    PH_SETTING_END};
// clang-format on

struct spf_turn { /* its memory */
    struct questions questions;
    struct spf *own; /* one of these two */
    struct spf_libspf2 *library;
    const struct spf_conf *conf;
    bool helo; /* the identity, as there is no sender */
};

/* ---- The engines. */

static void begin(struct spf_turn *t, const struct spf_request *r)
{
    if (t->conf->engine == ENGINE_LIBSPF2)
        t->library = spf_libspf2_new(r);
    else
        t->own = spf_new(r);
}

static enum questions_next question(struct questions *asked, enum ph_dns_type *type_out,
                                    const char **name_out)
{
    const struct spf_turn *t = CONTAINER_OF(asked, struct spf_turn, questions);
    struct spf_question q;

    if (t->own ? !spf_question(t->own, &q) : !spf_libspf2_question(t->library, &q))
        return QUESTIONS_DECIDED;
    *type_out = q.type;
    *name_out = q.name;
    return QUESTIONS_ASK;
}

static void answer(struct questions *asked, enum ph_dns_type type, const char *name,
                   const struct ph_dns_answer *a)
{
    struct spf_turn *t = CONTAINER_OF(asked, struct spf_turn, questions);

    (void)type;
    (void)name;
    if (t->own)
        spf_answer(t->own, a);
    else
        spf_libspf2_answer(t->library, a);
}

static const struct spf_verdict *verdict(const struct spf_turn *t)
{
    return t->own ? spf_verdict(t->own) : spf_libspf2_verdict(t->library);
}

static void end(struct spf_turn *t)
{
    spf_free(&t->own);
    spf_libspf2_free(&t->library);
}

/* ---- What comes of it. */

static enum ph_verdict verdict_of(const struct spf_conf *c, enum spf_result r)
{
    static const enum ph_verdict of_wish[] = {[WISH_PASS] = PH_PASS,
                                              [WISH_JUNK] = PH_JUNK,
                                              [WISH_QUARANTINE] = PH_QUARANTINE,
                                              [WISH_REJECT] = PH_REJECT};

    switch (r) {
    case SPF_FAIL:
        return of_wish[c->fail];
    case SPF_SOFTFAIL:
        return of_wish[c->softfail];
    case SPF_PERMERROR:
        return of_wish[c->permerror];
    case SPF_TEMPERROR:
        return c->temperror ? PH_DEFER : PH_PASS;
    default:
        return PH_PASS;
    }
}

/* RFC 8601 2.7.2 */
static void set_authres(const struct ph_host *host, struct ph_acts *acts,
                        const struct ph_view *view, const struct spf_verdict *v, bool helo)
{
    struct buf text;

    buf_init(&text, AUTHRES_LIMIT);
    authres_result(&text, "spf", spf_result_name(v->result), v->problem);
    if (helo)
        authres_property(&text, "smtp.helo", v->domain);
    else
        authres_property(&text, "smtp.mailfrom", str_from(view->mail_from));
    host->fact_set(acts, "spf.authres", buf_z(&text));
    buf_fini(&text);
}

static void set_facts(const struct ph_host *host, struct ph_acts *acts, const struct spf_verdict *v,
                      bool helo)
{
    host->fact_set(acts, "spf.result", spf_result_name(v->result));
    host->fact_set(acts, "spf.domain", v->domain.p);
    host->fact_set(acts, "spf.identity", helo ? "helo" : "mailfrom");
    if (v->mechanism.n)
        host->fact_set(acts, "spf.mechanism", v->mechanism.p);
    if (v->explanation.n)
        host->fact_set(acts, "spf.explanation", v->explanation.p);
}

static void finish(void *inst, ph_turn turn, struct questions *asked)
{
    struct spf_turn *t = CONTAINER_OF(asked, struct spf_turn, questions);
    const struct ph_host *host = ((struct outside_stage *)inst)->host;
    const struct ph_view *view = host->view(host, turn);
    const struct spf_verdict *v = verdict(t);
    struct ph_acts *acts = host->acts(host, turn);
    struct spf_words words;
    struct buf field;

    set_facts(host, acts, v, t->helo);
    set_authres(host, acts, view, v, t->helo);
    if (t->conf->header) {
        buf_init(&field, SPF_FIELD_LIMIT);
        spf_report_field(view, v, t->helo, &field);
        if (!buf_ok(&field) || host->header_insert(acts, 0, "Received-SPF", buf_z(&field)))
            host->log(host, view, PH_LOG_WARN, "no Received-SPF: it would be malformed");
        buf_fini(&field);
    }
    spf_report_words(view, v, t->helo, &words);
    host->done(host, turn, verdict_of(t->conf, v->result), words.reply, words.reason);
    end(t);
}

/* ---- Turns. */

static const char *why_not(const struct outside_stage *st, const struct ph_view *v)
{
    const char *why = outside_not(v);

    if (why)
        return why;
    return cidr_set_has(&st->outside.skip, v->client_ip) ? "not checked: spf.skip" : NULL;
}

/* U-labels to what the DNS has. What can't be is left as it is, and no name. */
static struct str sender_of(const char *mail_from, struct buf *out)
{
    struct str sender = str_from(mail_from);
    struct buf domain;
    size_t at;

    if (text_ascii(sender) || !str_rchr(sender, '@', &at))
        return sender;
    buf_init(&domain, 1024);
    if (text_domain(str_skip(sender, at + 1), &domain) == 0) {
        buf_add_str(out, str_take(sender, at + 1));
        buf_add_str(out, buf_str(&domain));
        sender = buf_str(out);
    }
    buf_fini(&domain);
    return sender;
}

static const struct questions_kind kind = {question, answer, finish, .at_once = 1};

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct outside_stage *st = inst;
    const struct ph_view *v = st->host->view(st->host, turn);
    struct spf_turn *t = st->host->memory(st->host, turn);
    const char *why = why_not(st, v);
    struct buf sender;

    (void)at;
    if (why) {
        st->host->done(st->host, turn, PH_PASS, NULL, why);
        return;
    }
    buf_init(&sender, 4096);
    const struct spf_request request = {.ip = v->client_ip,
                                        .helo = str_from(v->helo),
                                        .sender = sender_of(v->mail_from, &sender),
                                        .receiver = str_from(v->host),
                                        .now = (uint64_t)clock_wall_ms() / 1000};
    t->questions = (struct questions){.host = st->host, .kind = &kind};
    t->conf = conf;
    begin(t, &request);
    t->helo = v->mail_from[0] == '\0';
    buf_fini(&sender);
    questions_ask(&t->questions, st, turn);
}

static void cancel(void *inst, ph_turn turn)
{
    struct outside_stage *st = inst;
    struct spf_turn *t = st->host->memory(st->host, turn);

    end(t);
}

/* ---- Its life. */

static int check(const void *conf, struct ph_err *err)
{
    const struct spf_conf *c = conf;

    if (c->engine == ENGINE_LIBSPF2 && !spf_libspf2_is_there()) {
        snprintf(err->text, sizeof err->text,
                 "engine: this posthouse was built without libspf2; set it to own, or build it "
                 "where libspf2-dev is installed");
        return -1;
    }
    return outside_check(c->skip, err);
}

static int reload(void *inst, const void *conf, struct ph_err *err)
{
    (void)err;
    outside_take(&((struct outside_stage *)inst)->outside, ((const struct spf_conf *)conf)->skip);
    return 0;
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)err;
    return outside_stage_open(host, ((const struct spf_conf *)conf)->skip, inst);
}

const struct ph_stage spf_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MAIL),
    .flags = PH_ABOUT_SENDER,
    .name = "spf",
    .doc = "Asks the sender's domain whether the client may send for it (SPF, RFC 7208); for the "
           "null sender the name in HELO. Facts: spf.result (none, neutral, pass, fail, softfail, "
           "temperror, permerror), spf.domain, spf.identity (mailfrom, helo), spf.mechanism, "
           "spf.explanation.",
    .settings = spf_settings,
    .conf_size = sizeof(struct spf_conf),
    .turn_size = sizeof(struct spf_turn),
    .check = check,
    .open = open_stage,
    .reload = reload,
    .close = outside_stage_close,
    .on_point = on_point,
    .cancel = cancel,
    .dns_queries = QUERIES,
    .dns_voids = VOIDS,
    .dns_ms = TIME_MS};
