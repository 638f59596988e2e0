/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Authentication-Results: written from what stages tell, and removed where others speak in our
 * name. */
#include "filters/authres.h"
#include "tests/unit/filters/world.h"

static bool ours(const char *value)
{
    return authres_is_from(str_from(value), STR("mx.example.com"));
}

static void test_is_from(void **state)
{
    (void)state;
    assert_true(ours("mx.example.com; none"));
    assert_true(ours(" MX.Example.com. 1;\r\n spf=pass"));
    assert_true(ours("mx.example.com"));
    assert_true(ours("(a (nested\\) one)) \"mx.example.\\com\" (x) 1; spf=pass"));
    assert_true(ours("\"mx.\r\n example.com\"; spf=pass"));
    assert_true(ours("mx.example.com/1; spf=pass"));
    assert_true(ours("mx.example.com(x); spf=pass"));
    assert_false(ours("mx2.example.com; mx.example.com"));
    assert_false(ours("mx.example.com.net; none"));
    assert_false(ours("(mx.example.com) example.net; none"));
    /* What can't be read might be taken for anything. */
    assert_true(ours(""));
    assert_true(ours("; spf=pass"));
    assert_true(ours("(mx.example.com; spf=pass"));
    assert_true(ours("\"mx.example.net; spf=pass"));
    assert_true(authres_is_from(STR("gr\xc3\xbc"
                                    "en.example; none"),
                                STR("xn--gren-1ra.example")));
}

static const char *folded(struct buf *results)
{
    static char text[4096];
    struct buf out;

    buf_init(&out, sizeof text - 1);
    authres_fold(STR("mx.example.com"), buf_str(results), &out);
    assert_true(buf_ok(&out));
    snprintf(text, sizeof text, "%s", buf_z(&out));
    buf_fini(&out);
    buf_clear(results);
    return text;
}

static void test_written(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, AUTHRES_LIMIT);
    authres_result(&b, "spf", "pass", STR_NULL);
    authres_property(&b, "smtp.mailfrom", STR("a@example.com"));
    assert_string_equal(folded(&b), "mx.example.com;\r\n\tspf=pass smtp.mailfrom=a@example.com");
    authres_result(&b, "dkim", "fail", STR("a; (\\\r\nb"));
    authres_property(&b, "header.d", STR("example.com"));
    authres_property(&b, "header.b", STR("AbC/+="));
    authres_result(&b, "dkim", "pass", STR_NULL);
    authres_property(&b, "header.d", STR("a-domain-of-some-length.example.com"));
    authres_property(&b, "header.i", STR("\"x; y\"\xff@@a-domain-of-some-length.example.com"));
    assert_string_equal(folded(&b),
                        "mx.example.com;\r\n"
                        "\tdkim=fail (a; ????b) header.d=example.com header.b=\"AbC/+=\";\r\n"
                        "\tdkim=pass header.d=a-domain-of-some-length.example.com\r\n"
                        "\theader.i=\"\\\"x; y\\\"?@@a-domain-of-some-length.example.com\"");
    buf_fini(&b);
}

/* ---- The stage. */

static const char *told; /* by a stage at MAIL */
static const struct ph_host *teller;

static int teller_open(const struct ph_host *host, const void *conf, void **inst,
                       struct ph_err *err)
{
    (void)conf;
    (void)inst;
    (void)err;
    teller = host;
    return 0;
}

static void teller_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct ph_acts *acts = teller->acts(teller, turn);

    (void)inst;
    (void)conf;
    (void)at;
    if (told) {
        assert_int_equal(teller->fact_set(acts, "dkim.authres", "dkim=none"), 0);
        assert_int_equal(teller->fact_set(acts, "spf.authres", told), 0);
    }
    teller->done(teller, turn, PH_PASS, NULL, NULL);
}

/* The head as it leaves the stage. */
static const char *through(const char *setting, struct str head)
{
    static char text[4096];
    struct world w;
    struct buf out;

    world_init(&w);
    w.authres = true;
    world_add(&w, (struct ph_stage){.name = "teller",
                                    .points = PH_AT(PH_MAIL),
                                    .open = teller_open,
                                    .on_point = teller_point});
    if (setting)
        world_set(&w, setting);
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    const struct ph_view v = {.host = "mx.example.com"};
    const struct chain_message m = {.head = head, .fd = -1};
    chain_transaction(c, 2);
    assert_int_equal(chain_run(c, PH_MAIL, &v, NULL, NULL, world_on_answer, &w), CHAIN_DONE);
    assert_int_equal(chain_run(c, PH_MESSAGE, &v, &m, NULL, world_on_answer, &w), CHAIN_DONE);
    buf_init(&out, sizeof text - 1);
    snprintf(text, sizeof text, "%s", chain_edit_head(c, head, &out) ? buf_z(&out) : "unchanged");
    buf_fini(&out);
    chain_free(&c);
    world_fini(&w);
    return text;
}

static void test_stage(void **state)
{
    const struct str head = STR("Authentication-Results: example.net; spf=pass\r\n"
                                "Authentication-Results: mx.example.com; spf=pass\r\n"
                                "authentication-results: (x) MX.example.com;\r\n dkim=pass\r\n"
                                "Subject: x\r\n\r\n");

    (void)state;
    told = NULL;
    assert_string_equal(through(NULL, head), "Authentication-Results: example.net; spf=pass\r\n"
                                             "Subject: x\r\n\r\n");
    told = "spf=fail smtp.mailfrom=a@example.org";
    assert_string_equal(through(NULL, head),
                        "Authentication-Results: mx.example.com;\r\n"
                        "\tspf=fail smtp.mailfrom=a@example.org;\r\n\tdkim=none\r\n"
                        "Authentication-Results: example.net; spf=pass\r\n"
                        "Subject: x\r\n\r\n");
    assert_string_equal(through("authres.id=example.net", STR("Subject: x\r\n\r\n")),
                        "Authentication-Results: example.net;\r\n"
                        "\tspf=fail smtp.mailfrom=a@example.org;\r\n\tdkim=none\r\n"
                        "Subject: x\r\n\r\n");
    assert_string_equal(through("authres.field=no", STR("Subject: x\r\n\r\n")), "unchanged");
    told = NULL;
    assert_string_equal(through("authres.remove_forged=no", head), "unchanged");
}

/* As many as smtp.field_limit lets in at most: all go, and ours is there. */
static void test_many(void **state)
{
    struct buf head;

    (void)state;
    told = "spf=fail smtp.mailfrom=a@example.org";
    buf_init(&head, 1 << 20);
    for (int i = 0; i < 5000; i++)
        buf_add_z(&head, i == 4999 ? "Authentication-Results: mx.example.com; spf=pass\r\n"
                                   : "Authentication-Results: mx.example.com; none\r\n");
    buf_add_z(&head, "Subject: x\r\n\r\n");
    assert_string_equal(through(NULL, buf_str(&head)),
                        "Authentication-Results: mx.example.com;\r\n"
                        "\tspf=fail smtp.mailfrom=a@example.org;\r\n\tdkim=none\r\n"
                        "Subject: x\r\n\r\n");
    buf_fini(&head);
    told = NULL;
}

/* More than that: the stage has failed, it doesn't pass what it can't remove. */
static void test_too_many(void **state)
{
    struct world w;
    struct buf head;

    (void)state;
    buf_init(&head, 1 << 20);
    for (int i = 0; i < 10000; i++)
        buf_add_z(&head, "Authentication-Results: mx.example.com; none\r\n");
    buf_add_z(&head, "\r\n");
    world_init(&w);
    w.authres = true;
    world_open(&w);
    struct chain *c = chain_new(w.filters, 1);
    const struct ph_view v = {.host = "mx.example.com"};
    const struct chain_message m = {.head = buf_str(&head), .fd = -1};
    chain_transaction(c, 2);
    assert_int_equal(chain_run(c, PH_MESSAGE, &v, &m, NULL, world_on_answer, &w), CHAIN_DONE);
    assert_int_equal(chain_answer(c)->verdict, PH_DEFER);
    assert_string_equal(chain_answer(c)->stage, "authres");
    chain_free(&c);
    buf_fini(&head);
    world_fini(&w);
}

static void test_bad_id(void **state)
{
    struct world w;
    struct err err = {0};

    (void)state;
    world_init(&w);
    w.authres = true;
    world_set(&w, "authres.id=a b");
    assert_int_equal(world_try_open(&w, &err), -1);
    assert_non_null(strstr(err.text, "authres"));
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_from),  cmocka_unit_test(test_written),
        cmocka_unit_test(test_stage),    cmocka_unit_test(test_many),
        cmocka_unit_test(test_too_many), cmocka_unit_test(test_bad_id)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
