/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* spf_suite.h - the published SPF test suite, which is no part of this tree: read through
 * tests/lib/spf_suite.py from ../shared/data/spf beside it. */
#ifndef PH_TESTS_SPF_SUITE_H
#define PH_TESTS_SPF_SUITE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SUITE_ZONE = 128, SUITE_TESTS = 64, SUITE_SCENARIOS = 32, SUITE_FIELDS = 12 };
struct suite_record {
    struct str name, type, value[2];
    size_t values;
};
struct suite_test {
    struct str name, helo, host, mailfrom, results, explanation;
    bool explained;
};
struct suite_scenario {
    struct str name;
    struct suite_record zone[SUITE_ZONE];
    struct suite_test tests[SUITE_TESTS];
    size_t n_zone, n_tests;
};
struct suite {
    struct arena *arena;
    struct suite_scenario *at;
    size_t n, tests;
};

static inline struct str suite_text(struct suite *s, struct str field)
{
    struct buf out;

    assert_true(field.n && field.p[0] == 'x');
    buf_init(&out, 1 << 16);
    assert_int_equal(text_hex_decode(str_skip(field, 1), &out), 0);
    struct str text = arena_str(s->arena, buf_str(&out));
    buf_fini(&out);
    return text;
}

static inline void suite_add_record(struct suite *s, struct suite_scenario *to,
                                    const struct str *fields, size_t n)
{
    struct suite_record *r = &to->zone[to->n_zone++];

    assert_true(to->n_zone < SUITE_ZONE && n >= 3 && n <= 5);
    r->name = suite_text(s, fields[1]);
    r->type = arena_str(s->arena, fields[2]);
    for (size_t i = 3; i < n; i++)
        r->value[r->values++] = suite_text(s, fields[i]);
}

static inline void suite_add_test(struct suite *s, struct suite_scenario *to,
                                  const struct str *fields, size_t n)
{
    struct suite_test *t = &to->tests[to->n_tests++];

    assert_true(to->n_tests < SUITE_TESTS && n >= 6);
    t->name = suite_text(s, fields[1]);
    t->helo = suite_text(s, fields[2]);
    t->host = suite_text(s, fields[3]);
    t->mailfrom = suite_text(s, fields[4]);
    t->results = arena_str(s->arena, fields[5]);
    t->explained = n > 6;
    t->explanation = t->explained ? suite_text(s, fields[6]) : STR_NULL;
    s->tests++;
}

static inline void suite_add_line(struct suite *s, struct str line)
{
    struct str fields[SUITE_FIELDS];
    size_t n = 0;

    while (line.n && n < SUITE_FIELDS)
        str_cut(line, ' ', &fields[n++], &line);
    if (fields[0].p[0] == 'S') {
        assert_true(s->n < SUITE_SCENARIOS);
        s->at[s->n++].name = suite_text(s, fields[1]);
    } else if (fields[0].p[0] == 'Z') {
        suite_add_record(s, &s->at[s->n - 1], fields, n);
    } else {
        suite_add_test(s, &s->at[s->n - 1], fields, n);
    }
}

/* False: it isn't on this machine (or Python's yaml isn't): says so. */
static inline bool suite_read(struct suite *s)
{
    static char line[1 << 16];
    char root[1024], command[4096];
    size_t at;

    snprintf(root, sizeof root, "%s", __FILE__);
    if (!str_find(str_from(root), STR("tests/unit/filters/"), &at))
        return false;
    root[at] = '\0';
    snprintf(command, sizeof command, "%s../shared/data/spf/rfc7208-tests.yml", root);
    if (access(command, R_OK) != 0) {
        print_message("skipped: no %s\n", command);
        return false;
    }
    snprintf(command, sizeof command,
             "python3 '%stests/lib/spf_suite.py' '%s../shared/data/spf/rfc7208-tests.yml'", root,
             root);
    *s = (struct suite){.arena = arena_new(0)};
    s->at = mem_alloc(SUITE_SCENARIOS * sizeof *s->at);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        suite_add_line(s, str_trim(str_from(line)));
    if (pclose(f) == 0 && s->tests)
        return true;
    print_message("skipped: tests/lib/spf_suite.py didn't run (is python3-yaml there?)\n");
    arena_free(&s->arena);
    mem_free(s->at);
    return false;
}

static inline void suite_free(struct suite *s)
{
    arena_free(&s->arena);
    mem_free(s->at);
}

/* Is this one of the results that the test allows? */
static inline bool suite_allows(const struct suite_test *t, struct str result)
{
    struct str rest = t->results, one;
    bool more = true;

    while (more) {
        more = str_cut(rest, ',', &one, &rest);
        if (str_eq(one, result))
            return true;
    }
    return false;
}
#endif
