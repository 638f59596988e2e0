/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dmarc.c - the stage `dmarc`: is it mail of the domain that its From names (RFC 9989), and what
 * does that domain want done otherwise? Where SPF doesn't look (logins, trusted networks, our own),
 * nor does it. */
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"
#include "filters/builtin.h"
#include "filters/dmarc_facts.h"
#include "filters/dmarc_lists.h"
#include "filters/outside.h"
#include "filters/questions.h"
#include <stdio.h>

enum { QUERIES = 60, TIME_MS = 15000 };
enum action { ACTION_HONOUR, ACTION_JUNK, ACTION_REPORT };
enum wish { WISH_PASS, WISH_JUNK, WISH_QUARANTINE, WISH_REJECT };
struct dmarc_conf {
    const char *skip, *forwarders;
    int action, temperror, no_author;
    bool aggregate;
};
static const char *const actions[] = {"honour", "junk", "report", NULL};
static const char *const temporary[] = {"pass", "defer", NULL};
static const char *const wishes[] = {"pass", "junk", "quarantine", "reject", NULL};
// clang-format off
static const struct ph_setting dmarc_settings[] = {
    PH_SETTING_ENUM(dmarc_conf, action, PH_RELOAD, "honour", actions,
                    "What becomes of mail that fails. honour: what the domain of its From asks for: it is refused (p=reject), or goes to "
                    "Junk (p=quarantine). junk: both go to Junk. report: nothing but facts and Authentication-Results. A domain that tests "
                    "(t=y) gets one level less. This adds to what the stage spf does: with spf.fail = junk, mail that passes here by its "
                    "DKIM signature, as forwarded mail does, still goes to Junk; with spf.fail = pass the decision about it is left to this stage."),
    PH_SETTING_ENUM(dmarc_conf, temperror, PH_RELOAD, "pass", temporary,
                    "Mail about which the DNS doesn't answer. pass: it is let through, into Junk where the domain is known to ask for "
                    "quarantine or reject. defer: the client is told to come again."),
    PH_SETTING_ENUM(dmarc_conf, no_author, PH_RELOAD, "junk", wishes,
                    "Mail that doesn't tell whose it claims to be: without From, or with one that has no domain, several From fields, addresses "
                    "that can't be read, more than four domains. Of several domains that counts for which it comes out worst; if one of them "
                    "can't be looked up, this counts, too."),
    PH_SETTING(TEXT, dmarc_conf, forwarders, PH_RELOAD | PH_LIST, "", 0, 0,
               "Forwarders and mailing lists that check what they forward: networks (192.0.2.0/24), whose mail isn't refused because it fails, "
               "and domains (lists.example.org), whose mail isn't if they say in an ARC set, which the stage arc found good, that it had passed "
               "DMARC when it came to them."),
    PH_SETTING(TEXT, dmarc_conf, skip, PH_RELOAD | PH_LIST,
               "127.0.0.0/8, ::1, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, fc00::/7, fe80::/10", 0, 0,
               "Clients whose mail isn't checked; best the same as in spf.skip. Nor is that of those in guard.trusted, and of whoever "
               "has logged in."),
    PH_SETTING(BOOL, dmarc_conf, aggregate, PH_RELOAD, "yes", 0, 0,
               "Count results for aggregate reports (RFC 9990), for domains that ask for them; the counts are kept until they are "
               "reported (section reports), 8 days at most. Good reports of others aren't counted."),
    PH_SETTING_END};
// clang-format on

struct dmarc_stage {
    const struct ph_host *host;
    struct dmarc_lists lists;
    struct dmarc_results *results;
};
struct dmarc_turn { /* its memory */
    struct questions questions;
    struct dmarc *dmarc;
    const struct dmarc_conf *conf;
};

/* ---- What comes of it. */

static bool is_forwarded(const struct dmarc_stage *st, ph_turn turn, const char *author)
{
    const struct ph_host *host = st->host;
    struct ph_acts *acts = host->acts(host, turn);
    const char *arc = host->fact_get(acts, "arc.result"), *sets = host->fact_get(acts, "arc.sets");

    if (cidr_set_has(&st->lists.networks, host->view(host, turn)->client_ip))
        return true;
    return arc && strcmp(arc, "pass") == 0 && sets && dmarc_lists_vouched(&st->lists, sets, author);
}

static void decide_fail(const struct dmarc_stage *st, ph_turn turn, const struct dmarc_conf *c,
                        const struct dmarc_verdict *v, struct dmarc_outcome *o)
{
    enum dmarc_policy wanted = v->policy;

    o->override = v->policy != v->asked ? DMARC_OVERRIDE_TEST : DMARC_OVERRIDE_NONE;
    if (wanted == DMARC_NONE)
        return;
    if (is_forwarded(st, turn, v->author)) {
        o->override = DMARC_OVERRIDE_FORWARDER;
        return;
    }
    if (c->action == ACTION_REPORT)
        wanted = DMARC_NONE;
    else if (c->action == ACTION_JUNK)
        wanted = DMARC_QUARANTINE;
    if (wanted != v->policy)
        o->override = DMARC_OVERRIDE_LOCAL;
    o->disposition = wanted;
    o->verdict = wanted == DMARC_REJECT       ? PH_REJECT
                 : wanted == DMARC_QUARANTINE ? PH_JUNK
                                              : PH_PASS;
    if (wanted != DMARC_NONE && builtin_allowed(st->host, turn)) { /* the verdict won't count */
        o->override = DMARC_OVERRIDE_LOCAL;
        o->disposition = DMARC_NONE;
    }
}

static struct dmarc_outcome decide(const struct dmarc_stage *st, ph_turn turn,
                                   const struct dmarc_conf *c, const struct dmarc_verdict *v)
{
    static const enum ph_verdict of_wish[] = {[WISH_PASS] = PH_PASS,
                                              [WISH_JUNK] = PH_JUNK,
                                              [WISH_QUARANTINE] = PH_QUARANTINE,
                                              [WISH_REJECT] = PH_REJECT};
    struct dmarc_outcome o = {.verdict = PH_PASS};

    if (v->result == DMARC_RESULT_FAIL)
        decide_fail(st, turn, c, v, &o);
    else if (v->result == DMARC_RESULT_TEMPERROR && c->action != ACTION_REPORT && !v->unchecked)
        o.verdict = c->temperror ? PH_DEFER : v->policy > DMARC_NONE ? PH_JUNK : PH_PASS;
    if (v->no_author && of_wish[c->no_author] > o.verdict)
        o.verdict = of_wish[c->no_author];
    return o;
}

/* RFC 9990 3.3.2: how it begins. Two hosts that have nothing else to say to each other would
 * report about each other's reports for ever. */
static bool is_report(struct str head)
{
    struct header_field h;

    return header_find(head, STR("Subject"), 0, &h) &&
           str_starts(str_trim(h.value), STR("Report Domain:"));
}

/* RFC 9989 4.7: nobody gets reports who doesn't ask for them. */
static void count(const struct dmarc_stage *st, ph_turn turn, const struct dmarc_verdict *v,
                  const struct dmarc_outcome *o)
{
    const struct ph_host *host = st->host;
    const struct ph_view *view = host->view(host, turn);
    struct str rest, uri;
    struct buf auth;

    if ((v->result != DMARC_RESULT_PASS && v->result != DMARC_RESULT_FAIL) || !v->record)
        return;
    rest = v->record->rua;
    if (!dmarc_uri_next(&rest, &uri) ||
        (v->result == DMARC_RESULT_PASS && is_report(str_of(view->head, view->head_size))))
        return;
    buf_init(&auth, DMARC_RECORD_LIMIT);
    dmarc_facts_auth(host, host->acts(host, turn), &auth);
    const struct dmarc_row row = {.domain = str_from(v->domain),
                                  .record = v->text,
                                  .author = str_from(v->author),
                                  .ip = str_from(view->client_ip),
                                  .auth = buf_str(&auth),
                                  .disposition = o->disposition,
                                  .spf = v->spf,
                                  .dkim = v->dkim,
                                  .override = o->override};
    dmarc_results_note(st->results, &row);
    buf_fini(&auth);
}

static void finish(void *inst, ph_turn turn, struct questions *asked)
{
    struct dmarc_turn *t = CONTAINER_OF(asked, struct dmarc_turn, questions);
    struct dmarc_stage *st = inst;
    const struct dmarc_verdict *v = dmarc_verdict(t->dmarc);
    struct dmarc_outcome o = decide(st, turn, t->conf, v);
    struct dmarc *dmarc = t->dmarc;
    struct dmarc_words words;

    dmarc_facts_set(st->host, st->host->acts(st->host, turn), v, &o);
    dmarc_facts_words(v, &o, &words);
    if (t->conf->aggregate)
        count(st, turn, v, &o);
    t->dmarc = NULL;
    st->host->done(st->host, turn, o.verdict, words.reply[0] ? words.reply : NULL, words.reason);
    dmarc_free(&dmarc);
}

/* ---- Questions. */

static enum questions_next question(struct questions *asked, enum ph_dns_type *type_out,
                                    const char **name_out)
{
    static const enum questions_next nexts[] = {[DMARC_NEXT_DECIDED] = QUESTIONS_DECIDED,
                                                [DMARC_NEXT_ASK] = QUESTIONS_ASK,
                                                [DMARC_NEXT_WAIT] = QUESTIONS_WAIT};
    struct dmarc_turn *t = CONTAINER_OF(asked, struct dmarc_turn, questions);
    struct dmarc_question q = {.name = ""};
    enum dmarc_next next = dmarc_question(t->dmarc, &q);

    *type_out = q.type;
    *name_out = q.name;
    return nexts[next];
}

static void answer(struct questions *asked, enum ph_dns_type type, const char *name,
                   const struct ph_dns_answer *a)
{
    const struct dmarc_question q = {type, name};

    dmarc_answer(CONTAINER_OF(asked, struct dmarc_turn, questions)->dmarc, &q, a);
}

static const struct questions_kind kind = {question, answer, finish, .at_once = DMARC_AUTHORS};
_Static_assert((int)DMARC_AUTHORS <= (int)QUESTIONS_AT_ONCE, "each author asks for itself");

/* ---- Turns. */

static const char *why_not(const struct dmarc_stage *st, const struct ph_view *v)
{
    const char *why = outside_not(v);

    if (why)
        return why;
    return cidr_set_has(&st->lists.skip, v->client_ip) ? "not checked: dmarc.skip" : NULL;
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct dmarc_stage *st = inst;
    const struct ph_view *v = st->host->view(st->host, turn);
    struct dmarc_turn *t = st->host->memory(st->host, turn);
    const char *why = why_not(st, v);

    (void)at;
    if (why) {
        st->host->done(st->host, turn, PH_PASS, NULL, why);
        return;
    }
    struct dmarc_request *request = MEM_NEW(struct dmarc_request);
    dmarc_authors_find(str_of(v->head, v->head_size), &request->authors);
    dmarc_facts_read(st->host, turn, request);
    t->questions = (struct questions){.host = st->host, .kind = &kind};
    t->dmarc = dmarc_new(request);
    t->conf = conf;
    mem_free(request);
    questions_ask(&t->questions, st, turn);
}

static void cancel(void *inst, ph_turn turn)
{
    struct dmarc_stage *st = inst;
    struct dmarc_turn *t = st->host->memory(st->host, turn);

    dmarc_free(&t->dmarc);
}

/* ---- Its life. */

static int check(const void *conf, struct ph_err *err)
{
    const struct dmarc_conf *c = conf;
    struct dmarc_lists lists;
    struct err why = {0};

    if (dmarc_lists_read(c->skip, c->forwarders, &lists, &why)) {
        snprintf(err->text, sizeof err->text, "%.230s", why.text);
        return -1;
    }
    dmarc_lists_free(&lists);
    return 0;
}

static int reload(void *inst, const void *conf, struct ph_err *err)
{
    struct dmarc_stage *st = inst;
    const struct dmarc_conf *c = conf;
    struct dmarc_lists fresh;
    struct err why;

    (void)err;
    CHECK(dmarc_lists_read(c->skip, c->forwarders, &fresh, &why) == 0); /* check() has seen them */
    dmarc_lists_free(&st->lists);
    st->lists = fresh;
    return 0;
}

static void close_stage(void *inst)
{
    struct dmarc_stage *st = inst;

    dmarc_results_free(&st->results);
    dmarc_lists_free(&st->lists);
    mem_free(st);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    struct dmarc_stage *st = MEM_NEW(struct dmarc_stage);

    st->host = host;
    reload(st, conf, err);
    st->results = dmarc_results_new(builtin_loop(host), builtin_store(host));
    *inst = st;
    return 0;
}

const struct ph_stage dmarc_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MESSAGE),
    .flags = PH_ABOUT_SENDER,
    .name = "dmarc",
    .doc = "Compares the domain of From with those that SPF and DKIM have confirmed, and does what "
           "its policy asks for (DMARC, RFC 9989; it needs the stages spf and dkim). Facts: "
           "dmarc.result (none, pass, fail, temperror, permerror), dmarc.domain (of From), "
           "dmarc.policy (none, quarantine, reject: what applies, after t=y), dmarc.policy_domain "
           "(where it was found), dmarc.alignment (none, or of spf and dkim what is aligned), "
           "dmarc.override (why it "
           "wasn't followed).",
    .after = "spf,dkim,arc",
    .settings = dmarc_settings,
    .conf_size = sizeof(struct dmarc_conf),
    .turn_size = sizeof(struct dmarc_turn),
    .check = check,
    .open = open_stage,
    .reload = reload,
    .close = close_stage,
    .on_point = on_point,
    .cancel = cancel,
    .dns_queries = QUERIES,
    .dns_ms = TIME_MS};
