/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A head, identities and a DNS that says anything: an evaluation ends within its bounds, asks for
 * names only that lead upwards from those it was given, and never passes without an identity.
 * Lines: the head up to an empty one; one of identities ("dkim a.example spf b.example ..."); then
 * answers, the first octet of each the status. */
#include "appliance/base/mem.h"
#include "filters/dmarc_eval.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str take_line(struct str *rest)
{
    struct str line;

    str_cut(*rest, '\n', &line, rest);
    return line;
}

static void read_identities(struct str line, struct dmarc_request *r)
{
    struct str word, domain;

    while (line.n && r->n_ids < DMARC_IDENTITIES) {
        str_cut(line, ' ', &word, &line);
        str_cut(line, ' ', &domain, &line);
        struct dmarc_identity *id = &r->ids[r->n_ids];
        if (!dmarc_domain_fold(domain, &id->domain))
            continue;
        id->dkim = str_starts(word, STR("d"));
        id->pass = !str_ends(word, STR("?"));
        r->n_ids++;
    }
}

static bool leads_up(struct str name, const char *domain)
{
    return str_ends(str_from(domain), name);
}

static void check_question(const struct dmarc_request *r, const struct dmarc_question *q)
{
    struct str name = str_from(q->name);
    bool known = false;

    CHECK(name.n && name.n <= DMARC_DOMAIN + 7);
    if (q->type == PH_DNS_TXT) {
        CHECK(str_starts(name, STR("_dmarc.")));
        name = str_skip(name, 7);
    }
    for (size_t i = 0; i < r->authors.n; i++)
        known |= leads_up(name, r->authors.at[i].z);
    for (size_t i = 0; i < r->n_ids; i++)
        known |= leads_up(name, r->ids[i].domain.z);
    CHECK(known);
}

static void answer(struct dmarc *d, const struct dmarc_question *q, struct str line)
{
    struct str text = str_skip(line, 1), other = STR_NULL;
    size_t n = line.n ? (unsigned char)line.p[0] % 8 : 2;

    str_cut(text, '|', &text, &other);
    const struct ph_dns_record records[2] = {{.text = text.p, .text_size = text.n},
                                             {.text = other.p, .text_size = other.n}};
    const struct ph_dns_record *const list[2] = {&records[0], &records[1]};
    const struct ph_dns_answer a = {
        .size = sizeof a,
        .status = n > PH_DNS_OVER_BUDGET ? PH_DNS_FOUND : (enum ph_dns_status)n,
        .records = list,
        .n = n == PH_DNS_FOUND || n > PH_DNS_OVER_BUDGET ? (other.n ? 2 : 1) : 0};
    dmarc_answer(d, q, &a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_dup(data, size ? size : 1);
    struct str in = str_of(copy, size), head = in;
    struct dmarc_request *request = MEM_NEW(struct dmarc_request);
    struct dmarc_question due[DMARC_AUTHORS];
    enum dmarc_next next;
    size_t at, asked = 0, n_due = 0;

    if (str_find(in, STR("\n\n"), &at)) {
        head = str_take(in, at + 2);
        in = str_skip(in, at + 2);
    } else {
        in = STR_NULL;
    }
    dmarc_authors_find(head, &request->authors);
    read_identities(take_line(&in), request);
    struct dmarc *d = dmarc_new(request);
    while ((next = dmarc_question(d, &due[n_due])) != DMARC_NEXT_DECIDED) {
        CHECK(next == DMARC_NEXT_ASK || n_due);
        if (next == DMARC_NEXT_ASK) {
            CHECK(++asked <= DMARC_NAMES);
            check_question(request, &due[n_due++]);
        }
        /* Any of those that are due comes next. */
        if (next == DMARC_NEXT_WAIT || n_due == DMARC_AUTHORS || asked % 3 == 0) {
            struct dmarc_question q = due[asked % n_due];
            due[asked % n_due] = due[n_due - 1];
            n_due--;
            answer(d, &q, take_line(&in));
        }
    }
    CHECK(n_due == 0);
    const struct dmarc_verdict *v = dmarc_verdict(d);
    CHECK(v->policy <= v->asked);
    CHECK(v->result != DMARC_RESULT_PASS || (request->n_ids && (v->spf || v->dkim) && v->record));
    CHECK(v->result != DMARC_RESULT_FAIL || (v->record && !v->spf && !v->dkim));
    CHECK(request->authors.n || v->result == DMARC_RESULT_PERMERROR);
    dmarc_free(&d);
    mem_free(request);
    mem_free(copy);
    return 0;
}
