/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum colour { RED, GREEN, BLUE };
static const char *const colours[] = {"red", "green", "blue", NULL};

struct shop_conf {
    bool open;
    int64_t floor;
    uint64_t max_size;
    uint64_t timeout;
    const char *banner;
    const char *password;
    int colour;
    uint64_t pause;
};

static const struct ph_setting shop_settings[] = {
    PH_SETTING(BOOL, shop_conf, open, 0, "yes", 0, 0, "Whether it is open."),
    PH_SETTING(INT, shop_conf, floor, 0, "-1", -2, 12, "Where it is."),
    PH_SETTING(SIZE, shop_conf, max_size, PH_RELOAD, "50M", 1024, 2147483648, "The largest."),
    PH_SETTING(TIME, shop_conf, timeout, PH_RELOAD, "5min", 1000, 604800000,
               "How long a customer may think before the door is closed behind his back, which is "
               "a long sentence."),
    PH_SETTING(TEXT, shop_conf, banner, PH_REQUIRED, "say \"hi\"", 0, 0, "What is said."),
    PH_SETTING(SECRET, shop_conf, password, 0, NULL, 0, 0, "Of the back door."),
    PH_SETTING_ENUM(shop_conf, colour, 0, "green", colours, "Of the front door."),
    PH_SETTING(TIME, shop_conf, pause, PH_HIDDEN, NULL, 0, 0, "Nobody's business."),
    PH_SETTING_END,
};

struct config {
    int other;
    struct shop_conf shop;
};
static const struct settings_section sections[] = {
    {"shop", "The shop.", shop_settings, offsetof(struct config, shop)},
    {NULL, NULL, NULL, 0},
};

static struct config config;
static struct err err;

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof config);
    err_clear(&err);
    return settings_defaults(shop_settings, &config.shop, &err);
}

static int tear_down(void **state)
{
    (void)state;
    settings_free(shop_settings, &config.shop);
    return 0;
}

static int set(const char *name, const char *value)
{
    return settings_set(shop_settings, &config.shop, str_from(name), str_from(value), &err);
}

static void refuses(const char *name, const char *value, const char *text)
{
    assert_int_equal(set(name, value), -1);
    assert_string_equal(err.text, text);
    assert_int_equal(err.kind, ERR_PROTO);
}

static void defaults(void **state)
{
    (void)state;
    assert_true(config.shop.open);
    assert_int_equal(config.shop.floor, -1);
    assert_int_equal(config.shop.max_size, 50 << 20);
    assert_int_equal(config.shop.timeout, 300000);
    assert_string_equal(config.shop.banner, "say \"hi\"");
    assert_null(config.shop.password);
    assert_int_equal(config.shop.colour, GREEN);
}

static void a_wrong_table_is_a_bug(void **state)
{
    (void)state;
    static const struct ph_setting wrong[] = {
        PH_SETTING(SIZE, shop_conf, max_size, 0, "1K", 2048, 4096, ""), PH_SETTING_END};
    struct shop_conf conf = {0};
    assert_int_equal(settings_defaults(wrong, &conf, &err), -1);
    assert_int_equal(err.kind, ERR_BUG);
    assert_string_equal(err.text, "default: max_size: '1K' is outside 2K to 4K");
}

static void values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } times[] = {{"1000ms", 1000}, {"1s", 1000},     {"2min", 120000},
                 {"3h", 10800000}, {"1d", 86400000}, {"1w", 604800000}};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        assert_int_equal(set("timeout", times[i].text), 0);
        assert_true(config.shop.timeout == times[i].ms);
    }
    assert_int_equal(set("max_size", "4096"), 0);
    assert_int_equal(config.shop.max_size, 4096);
    assert_int_equal(set("max_size", "2G"), 0);
    assert_true(config.shop.max_size == 2147483648);
    assert_int_equal(set("pause", "0"), 0);
    static const char *const yes_no[] = {"yes", "no", "true", "false", "ON", "Off"};
    for (size_t i = 0; i < ARRAY_LEN(yes_no); i++) {
        assert_int_equal(set("open", yes_no[i]), 0);
        assert_int_equal(config.shop.open, i % 2 == 0);
    }
    assert_int_equal(set("colour", "blue"), 0);
    assert_int_equal(config.shop.colour, BLUE);
    assert_int_equal(set("banner", "first"), 0);
    assert_int_equal(set("banner", "second"), 0);
    assert_string_equal(config.shop.banner, "second");
    assert_int_equal(set("floor", "-2"), 0);
    assert_int_equal(config.shop.floor, -2);
}

static void bounds(void **state)
{
    (void)state;
    refuses("max_size", "1023", "max_size: '1023' is outside 1K to 2G");
    refuses("max_size", "3G", "max_size: '3G' is outside 1K to 2G");
    refuses("max_size", "1t", "max_size: '1t' is outside 1K to 2G");
    assert_int_equal(set("max_size", "1g"), 0);
    assert_int_equal(config.shop.max_size, 1 << 30);
    assert_int_equal(set("max_size", "50M"), 0);
    refuses("timeout", "999ms", "timeout: '999ms' is outside 1s to 1w");
    refuses("timeout", "8d", "timeout: '8d' is outside 1s to 1w");
    refuses("floor", "13", "floor: '13' is outside -2 to 12");
    refuses("floor", "-3", "floor: '-3' is outside -2 to 12");
    refuses("max_size", "9223372036854775807G", "max_size: '9223372036854775807G' is too large");
    refuses("max_size", "9223372036854775808", "max_size: '9223372036854775808' is too large");
    refuses("pause", "99999999999999999w", "pause: '99999999999999999w' is too large");
    assert_int_equal(config.shop.max_size, 50 << 20); /* a refused value changes nothing */
    assert_int_equal(config.shop.timeout, 300000);
}

static void malformed(void **state)
{
    (void)state;
    refuses("timeout", "5", "timeout: '5' has no known unit; want a unit: ms, s, min, h, d or w");
    refuses("timeout", "5m", "timeout: '5m' has no known unit; want a unit: ms, s, min, h, d or w");
    refuses("timeout", "-5s", "timeout: '-5s' is not a number; want a unit: ms, s, min, h, d or w");
    refuses("max_size", "1.5M",
            "max_size: '1.5M' has no known unit; want bytes, or a number with K, M, G or T");
    refuses("max_size", "",
            "max_size: '' is not a number; want bytes, or a number with K, M, G or T");
    refuses("floor", "1K", "floor: '1K' has no known unit; want a whole number without a unit");
    refuses("open", "maybe", "open: want yes or no, not 'maybe'");
    refuses("colour", "purple", "colour: unknown value 'purple'; want one of red, green, blue");
    refuses("colour", "gren", "colour: unknown value 'gren'; did you mean 'green'?");
    assert_int_equal(settings_set(shop_settings, &config.shop, STR("banner"), STR("a\0b"), &err),
                     -1);
    assert_string_equal(err.text, "banner: holds a NUL byte");
    assert_int_equal(config.shop.colour, GREEN);
}

static void did_you_mean(void **state)
{
    (void)state;
    refuses("timeuot", "5s", "unknown setting 'timeuot'; did you mean 'timeout'?");
    refuses("maxsize", "5", "unknown setting 'maxsize'; did you mean 'max_size'?");
    refuses("color", "red", "unknown setting 'color'; did you mean 'colour'?");
    refuses("TIMEOUT", "5s", "unknown setting 'TIMEOUT'; did you mean 'timeout'?");
    refuses("xyzzy", "1", "unknown setting 'xyzzy'");
    refuses("pausee", "1s", "unknown setting 'pausee'"); /* hidden ones are not offered */
    refuses("", "1", "unknown setting ''");
    assert_int_equal(err.why, ERR_WHY_NOT_FOUND);
    char longer[500];
    memset(longer, 'a', sizeof longer);
    assert_int_equal(
        settings_set(shop_settings, &config.shop, str_of(longer, sizeof longer), STR("x"), &err),
        -1);
    assert_true(strlen(err.text) < 100);
}

static int assign(const char *text)
{
    return settings_assign(sections, &config, str_from(text), &err);
}

static void assignments(void **state)
{
    (void)state;
    assert_int_equal(assign("shop.banner=a = b.c"), 0);
    assert_string_equal(config.shop.banner, "a = b.c");
    assert_int_equal(assign(" shop . floor = 3 "), 0);
    assert_int_equal(config.shop.floor, 3);
    assert_int_equal(assign("shop.banner="), 0);
    assert_string_equal(config.shop.banner, "");
    assert_int_equal(assign("shpo.floor=1"), -1);
    assert_string_equal(err.text, "unknown section 'shpo'; did you mean 'shop'?");
    assert_int_equal(assign("shop.flor=1"), -1);
    assert_string_equal(err.text, "shop: unknown setting 'flor'; did you mean 'floor'?");
    assert_int_equal(assign("shop.floor=99"), -1);
    assert_string_equal(err.text, "shop.floor: '99' is outside -2 to 12");
    assert_int_equal(assign("floor=1"), -1);
    assert_string_equal(err.text, "'floor' is not of the form section.name=value");
    assert_int_equal(assign("shop.floor"), -1);
    assert_int_equal(assign(""), -1);
}

static void secrets(void **state)
{
    (void)state;
    char path[] = "/tmp/ph_settings_XXXXXX", value[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "from a file\r\n", 13), 13);
    close(fd);
    snprintf(value, sizeof value, "file:%s", path);
    assert_int_equal(set("password", value), 0);
    assert_string_equal(config.shop.password, "from a file");
    assert_int_equal(truncate(path, 70000), 0);
    assert_int_equal(set("password", value), -1); /* too large */
    assert_string_equal(config.shop.password, "from a file");
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(set("password", value), -1); /* NUL */
    unlink(path);
    assert_int_equal(set("password", value), -1);
    assert_non_null(strstr(err.text, "No such file"));

    assert_int_equal(setenv("PH_TEST_SECRET", "from outside", 1), 0);
    assert_int_equal(set("password", "env:PH_TEST_SECRET"), 0);
    assert_string_equal(config.shop.password, "from outside");
    unsetenv("PH_TEST_SECRET");
    refuses("password", "env:PH_TEST_SECRET", "password: the environment has no PH_TEST_SECRET");
    assert_int_equal(set("password", "plain"), 0);
    assert_string_equal(config.shop.password, "plain");
    assert_int_equal(set("banner", "file:/etc/passwd"), 0); /* not a secret: as it stands */
    assert_string_equal(config.shop.banner, "file:/etc/passwd");
}

static void required(void **state)
{
    (void)state;
    assert_int_equal(settings_check(shop_settings, &config.shop, &err), 0);
    assert_int_equal(set("banner", ""), 0);
    assert_int_equal(settings_check(shop_settings, &config.shop, &err), -1);
    assert_string_equal(err.text, "banner is not set, but it must be");
}

static void shown(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(set("max_size", "1025"), 0);
    settings_show(sections, &config, &out);
    assert_string_equal(buf_z(&out), "shop {\n"
                                     "    open = yes\n"
                                     "    floor = -1\n"
                                     "    max_size = 1025\n"
                                     "    timeout = 5min\n"
                                     "    banner = \"say \\\"hi\\\"\"\n"
                                     "    # password is not set\n"
                                     "    colour = green\n"
                                     "    pause = 0\n"
                                     "}\n");
    buf_clear(&out);
    assert_int_equal(set("password", "sesame"), 0);
    settings_show(sections, &config, &out);
    assert_non_null(strstr(buf_z(&out), "    password = \"***\"\n"));
    assert_null(strstr(buf_z(&out), "sesame"));
    buf_clear(&out);
    assert_int_equal(set("password", ""), 0); /* there is none to hide */
    settings_show(sections, &config, &out);
    assert_non_null(strstr(buf_z(&out), "    password = \"\"\n"));
    buf_fini(&out);
}

static void helped(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    settings_help(sections, &out);
    const char *text = buf_z(&out);
    assert_non_null(strstr(text, "    max_size = 50M  (size, 1K to 2G; reload)\n"
                                 "        The largest.\n"));
    assert_non_null(strstr(text, "    floor = -1  (number, -2 to 12)\n"));
    assert_non_null(strstr(text, "    banner = \"say \\\"hi\\\"\"  (text; required)\n"));
    assert_non_null(strstr(text, "    password  (secret)\n"));
    assert_non_null(strstr(text, "    colour = green  (red|green|blue)\n"));
    assert_null(strstr(text, "pause"));
    struct str rest = str_from(text), line;
    while (str_cut(rest, '\n', &line, &rest))
        assert_true(line.n <= 78);
    buf_fini(&out);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(defaults),    T(a_wrong_table_is_a_bug),
        T(values),      T(bounds),
        T(malformed),   T(did_you_mean),
        T(assignments), T(secrets),
        T(required),    T(shown),
        T(helped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
