/* room: smtp */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Who wants reports: a rua list of either record; what comes of it is an address that an SMTP
 * command and a header field can hold, and a domain. */
#include "appliance/base/mem.h"
#include "filters/dmarc_rua.h"
#include "smtp/client/tls_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(const struct mailto *to)
{
    struct dmarc_domain again;
    struct str local, at = to->address;
    size_t i;

    CHECK(at.n > 2 && at.n <= 320 && str_rchr(at, '@', &i) && i > 0);
    local = str_take(at, i);
    CHECK(!memchr(local.p, ',', local.n));
    for (i = 0; i < at.n; i++)
        CHECK(at.p[i] > ' ' && at.p[i] <= '~' && !strchr("<>\"", at.p[i]));
    CHECK(str_ends(at, str_from(to->domain.z)));
    CHECK(dmarc_domain_fold(str_from(to->domain.z), &again) && strcmp(again.z, to->domain.z) == 0);
}

static void check_uri(struct str uri)
{
    struct arena *a = arena_new(0);
    struct mailto to;

    if (mailto_parse(a, uri, &to))
        check_address(&to);
    arena_free(&a);
}

/* The DNS says the same to every question: what was given. */
static void check_dmarc(struct str in)
{
    struct dmarc_rua *r = dmarc_rua_new("sub.policy.example", in);
    const struct ph_dns_record record = {.text = in.p, .text_size = in.n};
    const struct ph_dns_record *const list[] = {&record};
    const struct ph_dns_answer a = {
        .size = sizeof a, .status = PH_DNS_FOUND, .name = "", .n = 1, .records = list, .why = ""};
    const struct dmarc_rua_to *to;
    struct dmarc_question q;
    size_t n, asked = 0;

    while (dmarc_rua_question(r, &q)) {
        CHECK(strlen(q.name) <= DMARC_DOMAIN + 7 && ++asked <= DMARC_NAMES + DMARC_RUA_MAX);
        dmarc_rua_answer(r, &a);
    }
    to = dmarc_rua_list(r, &n);
    CHECK(n <= DMARC_RUA_MAX);
    for (size_t i = 0; i < n; i++) {
        CHECK(to[i].state != DMARC_RUA_OPEN);
        check_address(&to[i].to);
    }
    dmarc_rua_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_dup(data, size ? size : 1);
    struct str in = str_of(copy, size), list = in, uri;
    size_t n = 0;

    check_uri(in);
    check_dmarc(in);
    if (tls_rua_record(in, &list))
        CHECK(list.n == 0 || (list.p >= in.p && list.p + list.n <= in.p + in.n));
    while (tls_rua_next(&list, &uri)) {
        CHECK(uri.n && ++n <= in.n);
        check_uri(uri);
    }
    mem_free(copy);
    return 0;
}
