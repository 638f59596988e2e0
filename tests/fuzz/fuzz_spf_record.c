/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A record, and every domain-spec in it expanded; and all of it as an explanation. What comes out
 * keeps to its bounds. */
#include "appliance/base/mem.h"
#include "filters/spf_macro.h"
#include "filters/spf_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct spf_macros macros = {.sender = {"strong-bad@email.example.com", 28},
                                         .local = {"strong-bad", 10},
                                         .sender_domain = {"email.example.com", 17},
                                         .domain = {"email.example.com", 17},
                                         .validated = {"mx.example.com", 14},
                                         .helo = {"a\\b.\xff", 5},
                                         .receiver = {"mx.example.org", 14},
                                         .ip = {"192.0.2.3", 9},
                                         .dotted = {"192.0.2.3", 9},
                                         .now = 1700000000};

static void expand(struct str spec)
{
    struct buf name;

    CHECK(spf_macro_check_domain(spec) && spf_macro_check(spec, false));
    buf_init(&name, SPF_MACRO_LIMIT);
    if (spf_macro_expand_name(spec, &macros, &name)) {
        CHECK(name.n && name.n <= SPF_NAME_LIMIT && spf_name_valid(buf_str(&name)));
        CHECK(name.p[0] != '.' && name.p[name.n - 1] != '.');
    }
    (void)spf_macro_asks(spec);
    buf_fini(&name);
}

static void walk(struct str terms)
{
    struct spf_record record;
    struct spf_term t;
    struct str rest = terms, wrong;
    bool good = spf_record_check(terms, &record, &wrong) == 0;
    int rc;

    while ((rc = spf_term_next(&rest, &t)) == 1) {
        CHECK(t.text.n && !memchr(t.text.p, ' ', t.text.n));
        CHECK(t.bits4 <= 32 && t.bits6 <= 128);
        if (t.spec.n && t.kind != SPF_UNKNOWN)
            expand(t.spec);
    }
    CHECK(!good || rc == 0);
}

static void explain(struct str text)
{
    struct buf out;

    if (!spf_macro_check(text, true))
        return;
    buf_init(&out, 1024);
    CHECK(spf_macro_expand(text, &macros, &out) == 0 || out.n <= 1024);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_dup(data, size ? size : 1);
    struct str in = str_of(copy, size), terms;

    if (spf_record_is(in, &terms))
        walk(terms);
    explain(in);
    mem_free(copy);
    return 0;
}
