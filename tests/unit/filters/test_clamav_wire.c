/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Packets between the server and its scanner, said and understood; and what isn't. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "appliance/base/mem.h"
#include "filters/clamav_wire.h"

static struct clamav_packet said(const struct clamav_packet *p)
{
    struct clamav_packet out;
    char text[CLAMAV_PACKET];
    const size_t n = clamav_packet_put(p, text);

    assert_true(n <= sizeof text);
    assert_true(clamav_packet_take(str_of(text, n), &out));
    assert_int_equal(out.kind, p->kind);
    return out;
}

static void there_and_back(void **state)
{
    const struct clamav_packet load = {.kind = CLAMAV_LOAD,
                                       .limits = {.scan_size = 5000000000,
                                                  .file_size = 1,
                                                  .scan_time = 20000,
                                                  .recursion = 17,
                                                  .files = 1000000,
                                                  .encrypted = true},
                                       .threads = CLAMAV_THREADS};

    (void)state;
    struct clamav_packet p = said(&load);
    assert_memory_equal(&p.limits, &load.limits, sizeof p.limits);
    assert_int_equal(p.threads, CLAMAV_THREADS);
    p = said(&(struct clamav_packet){
        .kind = CLAMAV_LOADED, .loaded = true, .signatures = 8700000, .growth = 1300000000});
    assert_true(p.loaded && p.signatures == 8700000 && p.growth == 1300000000);
    p = said(&(struct clamav_packet){.kind = CLAMAV_LOADED, .text = "no such signature"});
    assert_false(p.loaded);
    assert_string_equal(p.text, "no such signature");
    p = said(&(struct clamav_packet){.kind = CLAMAV_SCAN, .size = 50 << 20});
    assert_int_equal(p.size, 50 << 20);
    p = said(&(struct clamav_packet){
        .kind = CLAMAV_SCANNED, .result = CLAMAV_INFECTED, .text = "Test.Eicar"});
    assert_int_equal(p.result, CLAMAV_INFECTED);
    assert_string_equal(p.text, "Test.Eicar");
}

/* A name goes into the reply to the client. */
static void texts_are_made_harmless(void **state)
{
    struct clamav_packet p = {.kind = CLAMAV_SCANNED, .result = CLAMAV_INFECTED};

    (void)state;
    snprintf(p.text, sizeof p.text, "a b\r\n250 \x7f\xc3");
    p = said(&p);
    assert_string_equal(p.text, "a_b__250___");
    p.result = CLAMAV_FAILED;
    snprintf(p.text, sizeof p.text, "it can't\n");
    p = said(&p);
    assert_string_equal(p.text, "it can't_");
}

static void not_understood(void **state)
{
    char text[CLAMAV_PACKET + 1] = {0};
    struct clamav_packet p;
    const struct clamav_packet scanned = {.kind = CLAMAV_SCANNED}, scan = {.kind = CLAMAV_SCAN};

    (void)state;
    assert_false(clamav_packet_take(STR_NULL, &p));
    assert_false(clamav_packet_take(str_of(text, 1), &p));
    assert_false(clamav_packet_take(STR("\5aaaaaaaa"), &p));
    size_t n = clamav_packet_put(&scan, text);
    for (size_t cut = 0; cut < n; cut++)
        assert_false(clamav_packet_take(str_of(text, cut), &p));
    text[n - 1] = 1; /* larger than anything */
    assert_false(clamav_packet_take(str_of(text, n), &p));
    n = clamav_packet_put(&scanned, text);
    text[1] = CLAMAV_GONE;
    assert_false(clamav_packet_take(str_of(text, n), &p));
    text[1] = CLAMAV_CLEAN;
    memset(text + n, 'x', sizeof text - n);
    assert_true(clamav_packet_take(str_of(text, n + sizeof p.text - 1), &p));
    assert_false(clamav_packet_take(str_of(text, n + sizeof p.text), &p));
    assert_false(clamav_packet_take(str_of(text, sizeof text), &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(texts_are_made_harmless),
        cmocka_unit_test(not_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
