/* room: io */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The first byte is the type, the rest a record's data; and all of it a name to ask for. What comes
 * out holds nothing but harmless text. */
#include "appliance/base/mem.h"
#include "appliance/io/resolver_rdata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        CHECK(s.p[i] > ' ' && s.p[i] < 0x7f && !(s.p[i] >= 'A' && s.p[i] <= 'Z') &&
              !strchr("\"'<>();,@", s.p[i]));
}

static void check_record(enum resolver_type type, struct str in, const struct resolver_record *r)
{
    bool named = type == RESOLVER_MX || type == RESOLVER_PTR || type == RESOLVER_CNAME;
    bool addressed = type == RESOLVER_A || type == RESOLVER_AAAA;

    CHECK((r->name.n > 0) == named && r->name.n <= 1020);
    CHECK((r->ip[0] != '\0') == addressed && memchr(r->ip, 0, sizeof(r->ip)));
    CHECK(r->data.n < in.n || !in.n);
    CHECK(type != RESOLVER_TLSA || r->data.n > 0);
    check_text(r->name);
}

static void try_question(struct str name)
{
    char *out = mem_alloc(RESOLVER_QUESTION_SIZE);

    if (resolver_question(name, out)) {
        CHECK(strlen(out) < RESOLVER_QUESTION_SIZE && out[strlen(out) - 1] == '.');
        check_text(str_from(out));
    }
    mem_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum resolver_type type = (enum resolver_type)data[0];
    char *copy = size > 1 ? mem_dup(data + 1, size - 1) : mem_alloc(1);
    struct str in = str_of(copy, size - 1);
    struct arena *a = arena_new(0);
    struct resolver_record r;

    if (resolver_rdata_parse(type, in, a, &r) == 0)
        check_record(type, in, &r);
    try_question(in);
    char *z = mem_alloc(size); /* libunbound's text ends at a NUL */
    memcpy(z, copy, size - 1);
    check_text(resolver_name_tidy(z, a));
    mem_free(z);
    arena_free(&a);
    mem_free(copy);
    return 0;
}
