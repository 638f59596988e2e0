/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Allow and deny rules: words of people, and a set of rules asked about what clients say. Lines:
 * sender, recipient, HELO, address, then words. */
#include "appliance/base/mem.h"
#include "filters/policy_dkim.h"
#include "filters/policy_rules.h"
#include <stdint.h>
#include <stdlib.h>

enum { WORDS = 16 };
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What was parsed is parsed to itself, and is found. */
static void add(struct arena *a, struct str word, struct policy_rule *rules, size_t *n)
{
    struct err err = {0};
    struct str again, scope;

    for (int k = 0; k < POLICY_KINDS; k++) {
        struct policy_rule r = {.kind = (enum policy_kind)k, .scope = STR("")};
        if (policy_value_parse(a, r.kind, word, &r.value, &err))
            continue;
        if (policy_value_parse(a, r.kind, r.value, &again, &err) || !str_eq(again, r.value))
            abort();
        if (policy_scope_parse(a, word, &scope, &err) == 0)
            r.scope = scope;
        rules[(*n)++] = r;
    }
}

static void ask(const struct policy_rule *rules, size_t n, const struct str *said)
{
    struct policy_set *set = policy_set_new(rules, n);
    struct policy_subject about = {.sender = said[0], .rcpt = said[1], .helo = said[2]};
    char ip[64] = "";
    struct buf text;

    memcpy(ip, said[3].p ? said[3].p : "", said[3].n < sizeof ip ? said[3].n : sizeof ip - 1);
    about.ip = ip;
    const struct policy_rule *r = policy_set_find(set, &about);
    buf_init(&text, 4 * POLICY_TEXT);
    if (r)
        policy_rule_text(r, &text);
    buf_fini(&text);
    policy_set_free(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = str_of(data, n), said[4], word, whole = rest;
    struct policy_rule rules[WORDS * POLICY_KINDS];
    struct arena *a = arena_new(0);
    struct dmarc_domain domain;
    size_t n_rules = 0;
    bool temporary;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        str_cut(rest, '\n', &said[i], &rest);
    for (size_t i = 0; i < WORDS && rest.n; i++) {
        str_cut(rest, '\n', &word, &rest);
        add(a, word, rules, &n_rules);
    }
    ask(rules, n_rules, said);
    if (policy_dkim_check(said[0], &err) == 0)
        (void)policy_dkim_look(said[0], whole, said[1], &domain, &temporary);
    arena_free(&a);
    return 0;
}
