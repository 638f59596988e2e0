/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A whole check, by both engines, against a DNS that answers whatever the input says, a line an
 * answer: its first letter is the status, the rest the text of its records, with '|' between. It
 * ends within its bounds whatever that is. The first line is client, HELO and sender, with blanks
 * between. */
#include "appliance/base/mem.h"
#include "filters/spf_eval.h"
#include "filters/spf_libspf2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 1 TXT; 10 terms of 11 questions, one TXT each; the client's names; the explanation. */
enum { QUESTIONS_MAX = 1 + 10 * 11 + 11 + 1, RECORDS = 12, LIBSPF2_MAX = 160 };
/* Either engine. */
struct engine {
    struct spf *own;
    struct spf_libspf2 *library;
};

static enum ph_dns_status status_of(char c)
{
    switch (c) {
    case 'd':
        return PH_DNS_NO_DATA;
    case 'n':
        return PH_DNS_NO_NAME;
    case 'b':
        return PH_DNS_BOGUS;
    case 'f':
        return PH_DNS_FAILED;
    case 'o':
        return PH_DNS_OVER_BUDGET;
    default:
        return PH_DNS_FOUND;
    }
}

static void answer(struct engine *e, struct str line)
{
    struct ph_dns_record records[RECORDS];
    const struct ph_dns_record *list[RECORDS];
    char *texts[RECORDS];
    struct ph_dns_answer a = {.size = sizeof a,
                              .name = "",
                              .why = "",
                              .records = list,
                              .status = status_of(line.n ? line.p[0] : 'f')};
    struct str text;

    for (line = str_skip(line, 1); a.status == PH_DNS_FOUND && line.n && a.n < RECORDS; a.n++) {
        str_cut(line, '|', &text, &line);
        texts[a.n] = mem_alloc(text.n + 1);
        if (text.n)
            memcpy(texts[a.n], text.p, text.n);
        records[a.n] = (struct ph_dns_record){
            .ip = texts[a.n], .name = texts[a.n], .text = texts[a.n], .text_size = text.n};
        list[a.n] = &records[a.n];
    }
    if (a.status == PH_DNS_FOUND && a.n == 0)
        a.status = PH_DNS_NO_DATA;
    if (e->own)
        spf_answer(e->own, &a);
    else
        spf_libspf2_answer(e->library, &a);
    for (size_t i = 0; i < a.n; i++)
        mem_free(texts[i]);
}

static void run(struct engine *e, struct str rest)
{
    struct spf_question q;
    struct str line;
    unsigned asked = 0;

    while (e->own ? spf_question(e->own, &q) : spf_libspf2_question(e->library, &q)) {
        CHECK(++asked <= (e->own ? QUESTIONS_MAX : LIBSPF2_MAX));
        str_cut(rest, '\n', &line, &rest);
        answer(e, line);
    }
    const struct spf_verdict *v = e->own ? spf_verdict(e->own) : spf_libspf2_verdict(e->library);
    CHECK(v && v->result < SPF_RESULTS);
    CHECK(!v->explanation.n || v->result == SPF_FAIL);
    for (size_t i = 0; i < v->explanation.n; i++)
        CHECK(v->explanation.p[i] >= ' ' && v->explanation.p[i] <= '~');
    spf_free(&e->own);
    spf_libspf2_free(&e->library);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_of(data, size), line, ip, helo;

    str_cut(rest, '\n', &line, &rest);
    str_cut(line, ' ', &ip, &line);
    str_cut(line, ' ', &helo, &line);
    if (memchr(ip.p ? ip.p : "", '\0', ip.n))
        return 0;
    char *client = str_dup_z(ip);
    const struct spf_request request = {
        .ip = client, .helo = helo, .sender = line, .receiver = STR("mx.example.org"), .now = 1};
    run(&(struct engine){.own = spf_new(&request)}, rest);
    if (spf_libspf2_is_there())
        run(&(struct engine){.library = spf_libspf2_new(&request)}, rest);
    mem_free(client);
    return 0;
}
