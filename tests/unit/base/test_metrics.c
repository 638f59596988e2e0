/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The registry, and its text against a strict reader of exposition format 0.0.4. */
#include "appliance/base/clock.h"
#include "appliance/base/metrics.h"
#include <ctype.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { VERBS = 3, CLASSES = 2, FEW = 4, THREADS = 4, ROUNDS = 100000 };

static const char *verb_name(size_t i)
{
    static const char *const names[VERBS] = {"HELO", "a \"quoted\" \\ one", "two\nlines"};
    return names[i];
}

static const char *class_name(size_t i)
{
    return i ? "5xx" : "2xx";
}

static const uint64_t limits[] = {500, 1000, 2500000};

METRIC(plain, 1, .type = METRIC_COUNTER, .name = "test_plain_total",
       .help = "Back\\slash\nand \"quotes\".");
METRIC(open_now, 1, .type = METRIC_GAUGE, .name = "test_open", .help = "Open.");
METRIC(table, VERBS *CLASSES, .type = METRIC_COUNTER, .name = "test_table_total", .help = "By two.",
       .labels = {{"verb", verb_name, VERBS}, {"class", class_name, CLASSES}});
METRIC_DYNAMIC(found, FEW, .type = METRIC_COUNTER, .name = "test_found_total",
               .help = "As they come.", .labels = {{.name = "command"}, {.name = "status"}});
METRIC(seconds, 1, .type = METRIC_COUNTER, .name = "test_cpu_seconds_total", .help = "Scaled.",
       .scale = 6);
METRIC_BUCKETS(took, limits, .name = "test_took_seconds", .help = "A histogram.", .scale = 6);

static const char *text(void)
{
    static struct buf b;
    buf_fini(&b);
    buf_init(&b, 1 << 20);
    metrics_write(&b);
    return buf_z(&b);
}

#define assert_has(line) assert_non_null(strstr(text(), "\n" line "\n"))

static void counts(void **state)
{
    (void)state;
    metric_inc(&plain, 0);
    metric_add(&plain, 0, 41);
    assert_has("test_plain_total 42");
    metric_inc(&open_now, 0);
    metric_inc(&open_now, 0);
    metric_dec(&open_now, 0);
    assert_has("test_open 1");
    metric_set(&open_now, 0, 7);
    assert_has("test_open 7");
    metric_add(&table, 0 * CLASSES + 1, 3);
    metric_add(&table, 2 * CLASSES + 0, 5);
    assert_has("test_table_total{verb=\"HELO\",class=\"5xx\"} 3");
    assert_has("test_table_total{verb=\"HELO\",class=\"2xx\"} 0");
    metric_add(&seconds, 0, 1500000);
    assert_has("test_cpu_seconds_total 1.5");
    metric_add(&seconds, 0, 2);
    assert_has("test_cpu_seconds_total 1.500002");
}

static void escapes(void **state)
{
    (void)state;
    assert_has("# HELP test_plain_total Back\\\\slash\\nand \"quotes\".");
    assert_has("test_table_total{verb=\"a \\\"quoted\\\" \\\\ one\",class=\"2xx\"} 0");
    assert_has("test_table_total{verb=\"two\\nlines\",class=\"2xx\"} 5");
    struct buf b;
    buf_init(&b, 1000);
    metrics_sample(&b, "x", (struct metric_kv[]){{"l", "a\xff"}, {"m", "\xc3\xa4"}, {NULL, NULL}},
                   1, 0);
    assert_string_equal(buf_z(&b), "x{l=\"a?\",m=\"\xc3\xa4\"} 1\n");
    buf_fini(&b);
}

static void finds_up_to_its_number(void **state)
{
    (void)state;
    size_t a = metric_find(&found, "RCPT", "5.1.1");
    assert_int_equal(metric_find(&found, "RCPT", "5.1.1"), a);
    assert_int_not_equal(metric_find(&found, "MAIL", "5.1.1"), a);
    assert_int_not_equal(metric_find(&found, "RCPT", "4.3.0"), a);
    size_t other = metric_find(&found, "RCPT", "4.4.4");
    assert_int_equal(metric_find(&found, "DATA", NULL), other);
    assert_int_equal(metric_find(&found, "RCPT", "5.1.1"), a); /* those that were there stay */
    metric_inc(&found, a);
    metric_inc(&found, other);
    assert_has("test_found_total{command=\"RCPT\",status=\"5.1.1\"} 1");
    assert_has("test_found_total{command=\"other\",status=\"other\"} 1");
    assert_null(strstr(text(), "4.4.4"));
}

static void sorts_into_buckets(void **state)
{
    (void)state;
    metric_observe(&took, 500); /* le: less or equal */
    metric_observe(&took, 501);
    metric_observe_any(&took, 9000000);
    assert_has("test_took_seconds_bucket{le=\"0.0005\"} 1");
    assert_has("test_took_seconds_bucket{le=\"0.001\"} 2");
    assert_has("test_took_seconds_bucket{le=\"2.5\"} 2");
    assert_has("test_took_seconds_bucket{le=\"+Inf\"} 3");
    assert_has("test_took_seconds_sum 9.001001");
    assert_has("test_took_seconds_count 3");
}

/* ---- threads */

static void *adds(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        metric_add_any(&table, 1 * CLASSES, 1);
        if (i % 1000 == 0)
            metric_find(&found, "RCPT", i % 2000 ? "9.9.9" : "8.8.8");
    }
    return NULL;
}

static void loses_nothing_between_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, adds, NULL), 0);
    for (int i = 0; i < 20; i++) /* writing meanwhile */
        assert_true(strlen(text()) > 100);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metric_get(&table, 1 * CLASSES), THREADS * ROUNDS);
}

static void costs_little(void **state)
{
    (void)state;
    enum { TIMES = 2000000 };
    uint64_t began = clock_mono_us();
    for (int i = 0; i < TIMES; i++) {
        metric_inc(&plain, 0);
        __asm__ volatile("" ::: "memory");
    }
    double ns = (double)(clock_mono_us() - began) * 1000 / TIMES;
    print_message("%.2f ns an increment\n", ns);
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(ns < 50); /* 2 ns; a lock or a system call would show on the slowest machine */
#endif
}

/* ---- a strict reader */

static size_t name_length(const char *p, bool colon)
{
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '_' || (colon && p[n] == ':'))
        n++;
    return n && !isdigit((unsigned char)*p) ? n : 0;
}

/* Behind {...}; NULL: malformed. */
static const char *skip_labels(const char *p)
{
    do {
        size_t n = name_length(++p, false);
        if (!n || p[n] != '=' || p[n + 1] != '"')
            return NULL;
        for (p += n + 2; *p != '"'; p++) {
            if (*p == '\\' && !strchr("\\\"n", *++p))
                return NULL;
            if (!*p || *p == '\n')
                return NULL;
        }
        p++;
    } while (*p == ',');
    return *p == '}' ? p + 1 : NULL;
}

struct reader {
    char family[100], type[20];
    bool open; /* between its TYPE and the next HELP */
    char seen[200][100];
    size_t n_seen;
    uint64_t last_bucket;
};

static void read_comment(struct reader *r, const char *line)
{
    char word[10], name[100], rest[20];
    assert_int_equal(sscanf(line, "# %9s %99s", word, name), 2);
    assert_int_equal(name_length(name, true), strlen(name));
    if (strcmp(word, "HELP") == 0) {
        for (size_t i = 0; i < r->n_seen; i++)
            assert_string_not_equal(r->seen[i], name); /* one group a family */
        assert_true(r->n_seen < 200);
        strcpy(r->seen[r->n_seen++], name);
        strcpy(r->family, name);
        r->open = false;
        r->last_bucket = 0;
        return;
    }
    assert_string_equal(word, "TYPE");
    assert_string_equal(name, r->family);
    assert_false(r->open);
    assert_int_equal(sscanf(line, "# TYPE %*s %19s", rest), 1);
    assert_true(strcmp(rest, "counter") == 0 || strcmp(rest, "gauge") == 0 ||
                strcmp(rest, "histogram") == 0);
    strcpy(r->type, rest);
    r->open = true;
}

static void read_sample(struct reader *r, const char *line)
{
    size_t n = name_length(line, true), family = strlen(r->family);
    assert_true(r->open && n >= family && strncmp(line, r->family, family) == 0);
    const char *suffix = line + family, *p = line + n;
    if (strcmp(r->type, "histogram") == 0)
        assert_true(strncmp(suffix, "_bucket{le=\"", 12) == 0 || strncmp(suffix, "_sum ", 5) == 0 ||
                    strncmp(suffix, "_count ", 7) == 0);
    else
        assert_int_equal(n, family);
    if (strcmp(r->type, "counter") == 0)
        assert_true(n > 6 && strncmp(line + n - 6, "_total", 6) == 0);
    if (*p == '{')
        p = skip_labels(p);
    assert_true(p && *p == ' ');
    char *end;
    double v = strtod(p + 1, &end);
    assert_true(end > p + 1 && *end == '\0' && v >= 0);
    if (strncmp(suffix, "_bucket", 7) == 0 || strncmp(suffix, "_count", 6) == 0) {
        assert_true((uint64_t)v >= r->last_bucket); /* cumulative, and all of them */
        r->last_bucket = (uint64_t)v;
    }
}

static void is_well_formed(void **state)
{
    (void)state;
    struct reader *r = calloc(1, sizeof *r);
    char *all = strdup(text());
    assert_non_null(r);
    assert_int_equal(all[strlen(all) - 1], '\n');
    for (char *rest = all, *line; (line = strsep(&rest, "\n")) && rest;)
        line[0] == '#' ? read_comment(r, line) : read_sample(r, line);
    assert_true(r->n_seen >= 6);
    free(all);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(escapes),
        cmocka_unit_test(finds_up_to_its_number),
        cmocka_unit_test(sorts_into_buckets),
        cmocka_unit_test(loses_nothing_between_threads),
        cmocka_unit_test(costs_little),
        cmocka_unit_test(is_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
