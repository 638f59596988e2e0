/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/spf_libspf2.h"
#include "appliance/base/mem.h"
#include "filters/spf_private.h"

#ifndef PH_LIBSPF2

bool spf_libspf2_is_there(void)
{
    return false;
}

struct spf_libspf2 *spf_libspf2_new(const struct spf_request *r)
{
    (void)r;
    CHECK(false);
    return NULL;
}

void spf_libspf2_free(struct spf_libspf2 **s)
{
    *s = NULL;
}

bool spf_libspf2_question(const struct spf_libspf2 *s, struct spf_question *out)
{
    (void)s;
    (void)out;
    return false;
}

void spf_libspf2_answer(struct spf_libspf2 *s, const struct ph_dns_answer *a)
{
    (void)s;
    (void)a;
}

const struct spf_verdict *spf_libspf2_verdict(const struct spf_libspf2 *s)
{
    (void)s;
    return NULL;
}

#else
#include <arpa/inet.h>
#include <setjmp.h>
#include <spf2/spf.h>

enum {
    KNOWN_MAX = 160,    /* answers: more than a record may cause */
    VALUES_MAX = 100,   /* records of one */
    TERMS_MAX = 200,    /* it counts them in an octet */
    COMPILED_MAX = 480, /* octets that a term or an explanation becomes; its buffers hold 511 */
    LITERAL_MAX = 255,
    TYPE_99 = 99 /* "SPF", which nobody has (RFC 7208 3.1) */
};
/* What libspf2 says when the domain doesn't explain. */
static const char no_explanation[] = "none";

struct known { /* an answer */
    enum ph_dns_type type;
    struct str name;
    SPF_dns_stat_t status;
    struct str *values; /* addresses as text, names, texts */
    size_t n;
};
struct spf_libspf2 {
    struct spf *facts; /* sender, domain and client as our engine has them; it evaluates nothing */
    SPF_dns_server_t dns;
    SPF_server_t *server;
    SPF_request_t *request;
    SPF_response_t *response;
    struct known known[KNOWN_MAX];
    size_t n_known;
    bool asking, refused; /* refused: verdict is what it shall be, whatever libspf2 says */
    struct spf_question question;
    struct str failed; /* the last name about which the DNS said nothing */
    struct spf_verdict verdict;
    jmp_buf gave_up;
};
static struct spf_libspf2 *running;

bool spf_libspf2_is_there(void)
{
    return true;
}

/* ---- What isn't handed to it. */

static bool fits(struct str text)
{
    size_t used = 0, literal = 0;

    for (; text.n; text = str_skip(text, 1)) {
        size_t end;
        if (!str_starts(text, STR("%{"))) {
            size_t octets = str_starts(text, STR("%-")) ? 3 : 1;
            used += octets;
            literal += octets;
            text = str_skip(text, text.p[0] == '%');
        } else {
            used += 16; /* its head, and that of the literal after it */
            literal = 0;
            if (str_chr(text, '}', &end))
                text = str_skip(text, end);
        }
        if (literal > LITERAL_MAX || used > COMPILED_MAX)
            return false;
    }
    return true;
}

static void refuse(struct spf_libspf2 *s, enum spf_result result, const char *why, struct str what)
{
    if (s->refused)
        return;
    s->refused = true;
    s->verdict.result = result;
    s->verdict.problem =
        arena_printf(s->facts->arena, "%s: " STR_FMT, why, STR_ARG(str_take(what, 200)));
}

/* False: not a record that it may have. */
static bool take_record(struct spf_libspf2 *s, struct str terms)
{
    struct spf_record record;
    struct spf_term term;
    struct str wrong;
    unsigned n = 0;

    if (spf_record_check(terms, &record, &wrong)) {
        refuse(s, SPF_PERMERROR, "malformed term", wrong);
        return false;
    }
    while (spf_term_next(&terms, &term) == 1)
        if (!fits(term.text) || ++n > TERMS_MAX) {
            refuse(s, SPF_PERMERROR, "too long for libspf2", term.text);
            return false;
        }
    return true;
}

/* A blank is the end of a macro string to it. NULL: nothing that it may have. */
static struct str explanation_for(struct spf_libspf2 *s, struct str text)
{
    struct buf out;
    struct str fit = STR_NULL;

    if (!spf_macro_check(text, true))
        return STR_NULL;
    buf_init(&out, 2 * text.n + 1);
    for (size_t i = 0; i < text.n; i++)
        buf_add(&out, text.p[i] == ' ' ? "%_" : text.p + i, text.p[i] == ' ' ? 2 : 1);
    if (fits(buf_str(&out)))
        fit = arena_str(s->facts->arena, buf_str(&out));
    buf_fini(&out);
    return fit;
}

/* Of the texts of an answer those that are meant: SPF records, or the one explanation. */
static void choose_texts(struct spf_libspf2 *s, const struct known *k, bool record,
                         struct known *out)
{
    struct str terms;

    *out = *k;
    out->values = ARENA_ARRAY(s->facts->arena, struct str, k->n + 1);
    out->n = 0;
    if (!record && k->n == 1) {
        out->values[0] = explanation_for(s, k->values[0]);
        out->n = out->values[0].p != NULL;
    }
    for (size_t i = 0; record && i < k->n; i++)
        if (spf_record_is(k->values[i], &terms)) {
            if (!take_record(s, terms))
                return;
            out->values[out->n++] = k->values[i];
        }
}

/* ---- Its lookups. */

static bool put_value(SPF_dns_rr_t *rr, ns_type type, struct str value)
{
    size_t n = value.n + 1;
    int at = rr->num_rr;

    if (SPF_dns_rr_buf_realloc(rr, at, n) != SPF_E_SUCCESS)
        return false;
    if (type == ns_t_a)
        return inet_pton(AF_INET, value.p, &rr->rr[at]->a) == 1;
    if (type == ns_t_aaaa)
        return inet_pton(AF_INET6, value.p, &rr->rr[at]->aaaa) == 1;
    memcpy(rr->rr[at]->txt, value.p, n);
    return true;
}

static SPF_dns_rr_t *reply(SPF_dns_server_t *dns, const char *name, ns_type type,
                           SPF_dns_stat_t status, const struct known *k)
{
    SPF_dns_rr_t *rr = SPF_dns_rr_new_init(dns, name, type, 0, status);

    CHECK(rr);
    for (size_t i = 0; k && i < k->n; i++)
        if (put_value(rr, type, k->values[i]))
            rr->num_rr++;
    if (status == NETDB_SUCCESS && rr->num_rr == 0)
        rr->herrno = NO_DATA;
    return rr;
}

static const struct known *find(const struct spf_libspf2 *s, enum ph_dns_type type, struct str name)
{
    for (size_t i = 0; i < s->n_known; i++)
        if (s->known[i].type == type && str_ieq(s->known[i].name, name))
            return &s->known[i];
    return NULL;
}

/* It looks explanations up for every result but pass, those of included records too. */
static bool wants_explanation(const struct spf_libspf2 *s)
{
    return s->response && SPF_response_result(s->response) == SPF_RESULT_FAIL;
}

static void ask(struct spf_libspf2 *s, enum ph_dns_type type, struct str name)
{
    if (s->asking || s->refused)
        return;
    if (s->n_known == KNOWN_MAX) {
        refuse(s, SPF_PERMERROR, "too many questions to the DNS", name);
        return;
    }
    s->asking = true;
    s->question = (struct spf_question){type, arena_str(s->facts->arena, name).p};
}

static SPF_dns_rr_t *on_lookup(SPF_dns_server_t *dns, const char *name, ns_type type, int cache)
{
    struct spf_libspf2 *s = dns->hook;
    struct str asked = str_from(name);
    const struct known *k;
    struct known texts;

    (void)cache;
    if (asked.n > 1 && asked.p[asked.n - 1] == '.')
        asked.n--;
    if ((int)type == TYPE_99)
        return reply(dns, name, type, NO_DATA, NULL);
    bool record =
        type == ns_t_txt && strcmp(name, s->request->cur_dom) == 0 && !wants_explanation(s);
    if (!spf_name_valid(asked) || (type == ns_t_txt && !record && !wants_explanation(s)))
        return reply(dns, name, type, HOST_NOT_FOUND, NULL);
    k = find(s, (enum ph_dns_type)type, asked);
    if (!k) {
        ask(s, (enum ph_dns_type)type, asked);
        return reply(dns, name, type, TRY_AGAIN, NULL);
    }
    if (k->status == TRY_AGAIN)
        s->failed = k->name;
    if (type == ns_t_txt) {
        choose_texts(s, k, record, &texts);
        k = &texts;
    }
    return reply(dns, name, type, k->status, k);
}

/* ---- A run. */

static void on_error(const char *file, int line, const char *text) __attribute__((noreturn));
static void on_error(const char *file, int line, const char *text)
{
    (void)file;
    (void)line;
    CHECK(running); /* it is called here only */
    refuse(running, SPF_PERMERROR, "libspf2 has given up",
           arena_str(running->facts->arena, str_from(text)));
    longjmp(running->gave_up, 1);
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    return true;
}

static void take_explanation(struct spf_libspf2 *s)
{
    const char *text = SPF_response_get_explanation(s->response);
    struct str said = str_take(str_from(text ? text : ""), EXPLANATION_MAX);

    if (!str_eq(said, str_from(no_explanation)) && is_plain(said))
        s->verdict.explanation = arena_str(s->facts->arena, said);
}

/* It says INVALID where it means an error; which one is in its code. */
static enum spf_result result_of(SPF_response_t *r, SPF_errcode_t code)
{
    switch (SPF_response_result(r)) {
    case SPF_RESULT_NEUTRAL:
        return SPF_NEUTRAL;
    case SPF_RESULT_PASS:
        return SPF_PASS;
    case SPF_RESULT_FAIL:
        return SPF_FAIL;
    case SPF_RESULT_SOFTFAIL:
        return SPF_SOFTFAIL;
    case SPF_RESULT_NONE:
        return SPF_NONE;
    case SPF_RESULT_TEMPERROR:
        return SPF_TEMPERROR;
    case SPF_RESULT_INVALID:
        return code == SPF_E_DNS_ERROR ? SPF_TEMPERROR : SPF_PERMERROR;
    default:
        return SPF_PERMERROR;
    }
}

static void take_verdict(struct spf_libspf2 *s, SPF_errcode_t code)
{
    struct arena *a = s->facts->arena;

    s->verdict.result = result_of(s->response, code);
    if (s->verdict.result == SPF_FAIL)
        take_explanation(s);
    else if (s->verdict.result == SPF_TEMPERROR)
        s->verdict.problem =
            arena_printf(a, "no answer from the DNS for: " STR_FMT, STR_ARG(s->failed));
    else if (s->verdict.result == SPF_PERMERROR)
        s->verdict.problem = arena_printf(a, "libspf2: %s", SPF_strerror(code));
}

/* Octets that it would take for negative numbers. No name in the DNS has them, either. */
static const char *ascii(struct spf_libspf2 *s, struct str text)
{
    char *out = arena_dup(s->facts->arena, arena_str(s->facts->arena, text).p, text.n + 1);

    for (size_t i = 0; i < text.n; i++)
        if (out[i] < ' ' || out[i] > '~')
            out[i] = '?';
    return out;
}

static void query(struct spf_libspf2 *s)
{
    const struct spf_macros *m = &s->facts->macros;
    SPF_response_t *said = NULL;
    struct in6_addr v6;
    struct in_addr v4;

    s->server = SPF_server_new_dns(&s->dns, 0);
    CHECK(s->server);
    SPF_server_set_rec_dom(s->server, ascii(s, m->receiver));
    SPF_server_set_explanation(s->server, no_explanation, &said);
    if (said)
        SPF_response_free(said);
    s->request = SPF_request_new(s->server);
    CHECK(s->request);
    memcpy(&v6, s->facts->ip, sizeof v6);
    memcpy(&v4, s->facts->ip + 12, sizeof v4);
    if (m->v6)
        SPF_request_set_ipv6(s->request, v6);
    else
        SPF_request_set_ipv4(s->request, v4);
    SPF_request_set_helo_dom(s->request, ascii(s, m->helo));
    SPF_request_set_env_from(s->request, ascii(s, m->sender));
    SPF_errcode_t code = SPF_request_query_mailfrom(s->request, &s->response);
    if (!s->asking && !s->refused)
        take_verdict(s, code);
}

static void clean_up(struct spf_libspf2 *s)
{
    if (s->response)
        SPF_response_free(s->response);
    if (s->request)
        SPF_request_free(s->request);
    if (s->server)
        SPF_server_free(s->server);
    s->response = NULL;
    s->request = NULL;
    s->server = NULL;
}

static void run(struct spf_libspf2 *s)
{
    SPF_error_handler = on_error;
    SPF_warning_handler = NULL;
    SPF_info_handler = NULL;
    SPF_debug_handler = NULL;
    s->asking = false;
    running = s;
    if (setjmp(s->gave_up) == 0) {
        query(s);
        clean_up(s);
    } else { /* what it was about to do isn't known: its memory stays lost */
        s->response = NULL;
        s->request = NULL;
        s->server = NULL;
    }
    running = NULL;
    if (s->refused)
        s->asking = false;
}

/* ---- As our engine. */

struct spf_libspf2 *spf_libspf2_new(const struct spf_request *r)
{
    struct spf_libspf2 *s = MEM_NEW(struct spf_libspf2);
    struct spf_question first;

    s->facts = spf_new(r);
    s->dns = (SPF_dns_server_t){.lookup = on_lookup, .name = "posthouse", .hook = s};
    s->verdict.domain = s->facts->verdict.domain;
    if (spf_question(s->facts, &first)) /* else nothing that could have a record: none */
        run(s);
    return s;
}

void spf_libspf2_free(struct spf_libspf2 **sp)
{
    if (*sp)
        spf_free(&(*sp)->facts);
    mem_free(*sp);
    *sp = NULL;
}

bool spf_libspf2_question(const struct spf_libspf2 *s, struct spf_question *out)
{
    if (s->asking)
        *out = s->question;
    return s->asking;
}

static struct str value_of(const struct spf_libspf2 *s, enum ph_dns_type type,
                           const struct ph_dns_record *r)
{
    struct arena *a = s->facts->arena;

    switch (type) {
    case PH_DNS_TXT: /* one with a NUL in it will be refused */
        return arena_str(a, str_of(r->text, r->text_size));
    case PH_DNS_MX:
    case PH_DNS_PTR:
        return spf_name_valid(str_from(r->name)) ? arena_str(a, str_from(r->name)) : STR_NULL;
    default:
        return arena_str(a, str_from(r->ip));
    }
}

static SPF_dns_stat_t status_of(enum ph_dns_status status)
{
    switch (status) {
    case PH_DNS_FOUND:
        return NETDB_SUCCESS;
    case PH_DNS_NO_DATA:
        return NO_DATA;
    case PH_DNS_NO_NAME:
        return HOST_NOT_FOUND;
    default:
        return TRY_AGAIN;
    }
}

void spf_libspf2_answer(struct spf_libspf2 *s, const struct ph_dns_answer *a)
{
    struct known *k = &s->known[s->n_known++];

    CHECK(s->asking);
    *k = (struct known){.type = s->question.type,
                        .name = str_from(s->question.name),
                        .status = status_of(a->status)};
    k->values = arena_alloc(s->facts->arena, sizeof *k->values * (VALUES_MAX + 1));
    for (size_t i = 0; i < a->n && k->n < VALUES_MAX; i++) {
        struct str value = value_of(s, k->type, a->records[i]);
        if (value.p)
            k->values[k->n++] = value;
    }
    if (a->status == PH_DNS_OVER_BUDGET) {
        refuse(s, SPF_PERMERROR, "too many questions to the DNS", k->name);
        s->asking = false;
        return;
    }
    run(s);
}

const struct spf_verdict *spf_libspf2_verdict(const struct spf_libspf2 *s)
{
    return s->asking ? NULL : &s->verdict;
}
#endif
