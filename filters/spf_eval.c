/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_eval.c - check_host(): the record of the domain and those it includes are a stack; terms are
 * looked at until one matches or must wait for an answer. */
#include "appliance/base/mem.h"
#include "filters/client.h"
#include "filters/spf_private.h"
#include <arpa/inet.h>

const char *spf_result_name(enum spf_result r)
{
    static const char *const names[SPF_RESULTS] = {
        [SPF_NONE] = "none",          [SPF_NEUTRAL] = "neutral",   [SPF_PASS] = "pass",
        [SPF_FAIL] = "fail",          [SPF_SOFTFAIL] = "softfail", [SPF_TEMPERROR] = "temperror",
        [SPF_PERMERROR] = "permerror"};

    return names[r];
}

/* ---- Ends and questions. */

enum outcome spf_decide(struct spf *s, enum spf_result result)
{
    s->verdict.result = result;
    return WAIT;
}

enum outcome spf_decide_why(struct spf *s, enum spf_result result, const char *why, struct str what)
{
    s->verdict.problem = arena_printf(s->arena, "%s: " STR_FMT, why, STR_ARG(str_take(what, 200)));
    return spf_decide(s, result);
}

/* An answer that is none. */
enum outcome spf_no_answer(struct spf *s, const struct ph_dns_answer *a)
{
    if (a->status == PH_DNS_OVER_BUDGET)
        return spf_decide_why(s, SPF_PERMERROR, "too many questions to the DNS",
                              spf_top(s)->domain);
    return spf_decide_why(s, SPF_TEMPERROR, "no answer from the DNS for",
                          str_from(s->question.name));
}

bool spf_failed(const struct ph_dns_answer *a)
{
    return a->status != PH_DNS_FOUND && a->status != PH_DNS_NO_DATA && a->status != PH_DNS_NO_NAME;
}

enum outcome spf_ask(struct spf *s, enum step step, enum ph_dns_type type, struct str name)
{
    s->question = (struct spf_question){type, arena_str(s->arena, name).p};
    s->step = step;
    s->asking = true;
    return WAIT;
}

/* 4.6.4: those that could be asked, and led to nothing. */
bool spf_too_many_voids(struct spf *s, const struct ph_dns_answer *a)
{
    if (a->status == PH_DNS_FOUND || ++s->voids <= VOIDS_MAX)
        return false;
    spf_decide_why(s, SPF_PERMERROR, "too many terms that lead nowhere", spf_top(s)->term.text);
    return true;
}

enum outcome spf_count_lookup(struct spf *s, struct str term)
{
    if (++s->lookups <= LOOKUPS_MAX)
        return NO_MATCH;
    return spf_decide_why(s, SPF_PERMERROR, "more than 10 terms ask the DNS", term);
}

/* ---- Records. */

enum outcome spf_ask_record(struct spf *s, struct str domain)
{
    spf_top(s)->domain = domain;
    return spf_ask(s, ON_RECORD, PH_DNS_TXT, domain);
}

static enum outcome no_record(struct spf *s)
{
    /* 5.2, 6.1: where another record sends us there must be one. */
    if (s->depth || s->redirected)
        return spf_decide_why(s, SPF_PERMERROR, "no SPF record, but it is referred to",
                              spf_top(s)->domain);
    return spf_decide(s, SPF_NONE);
}

static enum outcome on_record(struct spf *s, const struct ph_dns_answer *a)
{
    struct frame *f = spf_top(s);
    struct str terms, found = STR_NULL, wrong;
    unsigned n = 0;

    if (spf_failed(a))
        return spf_no_answer(s, a);
    for (size_t i = 0; i < a->n; i++)
        if (spf_record_is(str_of(a->records[i]->text, a->records[i]->text_size), &terms)) {
            found = terms;
            n++;
        }
    if (n == 0)
        return no_record(s);
    if (n > 1)
        return spf_decide_why(s, SPF_PERMERROR, "several SPF records", f->domain);
    if (spf_record_check(arena_str(s->arena, found), &f->record, &wrong))
        return spf_decide_why(s, SPF_PERMERROR, "malformed term", wrong);
    f->rest = f->record.terms;
    return NO_MATCH;
}

/* ---- The explanation (6.2): of the record at the bottom. Whatever goes wrong, the result is fail
 * all the same. */

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    return true;
}

static enum outcome expand_explanation(struct spf *s)
{
    struct buf text;

    if (!spf_ready_for(s, s->explanation))
        return spf_ask_names(s, expand_explanation);
    spf_set_macros(s);
    buf_init(&text, EXPLANATION_MAX);
    if (spf_macro_expand(s->explanation, &s->macros, &text) == 0 && is_plain(buf_str(&text)))
        s->verdict.explanation = arena_str(s->arena, buf_str(&text));
    buf_fini(&text);
    return WAIT;
}

static enum outcome on_explanation(struct spf *s, const struct ph_dns_answer *a)
{
    if (a->status != PH_DNS_FOUND || a->n != 1)
        return WAIT;
    s->explanation = arena_str(s->arena, str_of(a->records[0]->text, a->records[0]->text_size));
    return spf_macro_check(s->explanation, true) ? expand_explanation(s) : WAIT;
}

static enum outcome explain(struct spf *s)
{
    struct str spec = spf_top(s)->record.exp, name;

    if (spec.n == 0)
        return WAIT;
    if (!spf_ready_for(s, spec))
        return spf_ask_names(s, explain);
    return spf_target(s, spec, &name) ? spf_ask(s, ON_EXPLANATION, PH_DNS_TXT, name) : WAIT;
}

/* ---- From term to term. */

/* What the record on top comes to. */
static enum outcome result(struct spf *s, enum spf_result r)
{
    if (s->depth == 0) {
        spf_decide(s, r);
        return r == SPF_FAIL ? explain(s) : WAIT;
    }
    s->depth--; /* 5.2 */
    return r == SPF_PASS ? MATCH : NO_MATCH;
}

static enum outcome matched(struct spf *s)
{
    const struct spf_term *t = &spf_top(s)->term;

    if (s->depth == 0)
        s->verdict.mechanism = arena_str(s->arena, t->text);
    switch (t->qualifier) {
    case '-':
        return result(s, SPF_FAIL);
    case '~':
        return result(s, SPF_SOFTFAIL);
    case '?':
        return result(s, SPF_NEUTRAL);
    default:
        return result(s, SPF_PASS);
    }
}

static enum outcome follow_redirect(struct spf *s)
{
    struct str spec = spf_top(s)->record.redirect, name;

    if (!spf_target(s, spec, &name))
        return spf_decide_why(s, SPF_PERMERROR, "not a domain's name", spec);
    s->redirected = true;
    return spf_ask_record(s, name);
}

static enum outcome next_term(struct spf *s)
{
    struct frame *f = spf_top(s);
    struct str redirect = f->record.redirect;

    if (spf_term_next(&f->rest, &f->term) == 1)
        return spf_try_term(s, &f->term);
    if (redirect.n == 0)
        return result(s, SPF_NEUTRAL); /* 4.7 */
    if (spf_count_lookup(s, redirect) == WAIT)
        return WAIT;
    return spf_ready_for(s, redirect) ? follow_redirect(s) : spf_ask_names(s, follow_redirect);
}

void spf_answer(struct spf *s, const struct ph_dns_answer *a)
{
    static enum outcome (*const steps[])(struct spf *, const struct ph_dns_answer *) = {
        [ON_RECORD] = on_record,
        [ON_A] = spf_on_a,
        [ON_MX] = spf_on_mx,
        [ON_MX_ADDRESS] = spf_on_mx_address,
        [ON_EXISTS] = spf_on_exists,
        [ON_PTR] = spf_on_ptr,
        [ON_PTR_ADDRESS] = spf_on_ptr_address,
        [ON_EXPLANATION] = on_explanation};
    enum outcome o;

    CHECK(s->asking);
    s->asking = false;
    for (o = steps[s->step](s, a); o != WAIT;)
        o = o == MATCH ? matched(s) : next_term(s);
}

/* ---- Begin and end. */

static void set_address(struct spf *s)
{
    char text[INET6_ADDRSTRLEN] = "", nibbles[64];
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    s->macros.v6 = memcmp(s->ip, mapped, sizeof mapped) != 0;
    inet_ntop(s->macros.v6 ? AF_INET6 : AF_INET, s->ip + (s->macros.v6 ? 0 : 12), text,
              sizeof text);
    s->macros.ip = s->macros.dotted = arena_str(s->arena, str_from(text));
    if (!s->macros.v6)
        return;
    for (size_t i = 0; i < 32; i++) {
        nibbles[2 * i] = "0123456789ABCDEF"[s->ip[i / 2] >> (i % 2 ? 0 : 4) & 15];
        nibbles[2 * i + 1] = '.';
    }
    s->macros.dotted = arena_str(s->arena, str_of(nibbles, sizeof nibbles - 1));
}

/* 4.3: local part and domain; the former is postmaster where there is none. */
static void set_sender(struct spf *s, const struct spf_request *r)
{
    struct str local = STR_NULL, domain = r->sender.n ? r->sender : r->helo;
    size_t at;

    if (r->sender.n && str_rchr(r->sender, '@', &at)) {
        local = str_take(r->sender, at);
        domain = str_skip(r->sender, at + 1);
    }
    if (domain.n > 1 && domain.p[domain.n - 1] == '.')
        domain.n--;
    s->macros.local = arena_str(s->arena, local.n ? local : STR("postmaster"));
    s->macros.sender_domain = arena_str(s->arena, domain);
    struct buf sender;
    buf_init(&sender, s->macros.local.n + domain.n + 1);
    buf_add_str(&sender, s->macros.local);
    buf_add_char(&sender, '@');
    buf_add_str(&sender, domain);
    s->macros.sender = arena_str(s->arena, buf_str(&sender));
    buf_fini(&sender);
}

struct spf *spf_new(const struct spf_request *r)
{
    struct spf *s = MEM_NEW(struct spf);
    bool known = client_parse(r->ip, s->ip);
    size_t dot;

    s->arena = arena_new(0);
    s->macros.helo = arena_str(s->arena, r->helo);
    s->macros.receiver = arena_str(s->arena, r->receiver);
    s->macros.now = r->now;
    set_address(s);
    set_sender(s, r);
    struct str domain = s->verdict.domain = s->macros.sender_domain;
    /* 4.3: not a name of several labels, or an address in brackets: none. */
    if (known && spf_name_valid(domain) && str_chr(domain, '.', &dot) && domain.p[0] != '[')
        spf_ask_record(s, domain);
    return s;
}

void spf_free(struct spf **sp)
{
    if (*sp)
        arena_free(&(*sp)->arena);
    mem_free(*sp);
    *sp = NULL;
}

bool spf_question(const struct spf *s, struct spf_question *out)
{
    if (s->asking)
        *out = s->question;
    return s->asking;
}

const struct spf_verdict *spf_verdict(const struct spf *s)
{
    return s->asking ? NULL : &s->verdict;
}
