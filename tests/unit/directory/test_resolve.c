/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/resolve.h"

#include "appliance/base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Tables in memory. A disabled row is one the source doesn't tell, so it has no place here
 * (test_directory.c). */
static const char *const domains[] = {"example.com",          "example.net", "example.org",
                                      "empty.test",           "own.test",    "gap.test",
                                      "xn--bcher-kva.example"};
static const char *const users[] = {
    "xandros@example.com", "vivita@example.com", "karl@example.com",  "a+b@example.com",
    "both@example.com",    "moved@example.com",  "jürgen@example.com"};
static const struct {
    const char *mail, *destination;
} aliases[] = {
    {"postmaster@example.com", "xandros@example.com"},
    {"postmaster@own.test", "karl@example.com"},
    {"postmaster@gap.test", "nobody@gap.test"},
    {"sales@example.com", "vivita@example.com, Karl@Example.COM,,karl@example.com"},
    {"chain1@example.com", "chain2@example.com"},
    {"chain2@example.com", "chain3@example.com"},
    {"chain3@example.com", "karl@example.com"},
    {"out@example.com", "Some.Body@Elsewhere.test,some.body@elsewhere.test"},
    {"mixed@example.com", "karl@example.com,x@elsewhere.test"},
    {"both@example.com", "both@example.com,karl@example.com"},
    {"moved@example.com", "vivita@example.com"},
    {"ghost@example.com", "ghost@example.com"},
    {"loop1@example.com", "loop2@example.com"},
    {"loop2@example.com", "loop1@example.com"},
    {"loop3@example.com", "loop1@example.com,karl@example.com"},
    {"diamond@example.com", "left@example.com,right@example.com"},
    {"left@example.com", "karl@example.com"},
    {"right@example.com", "karl@example.com"},
    {"broken@example.com", "nobody@example.com,karl@example.com"},
    {"dead@example.com", "nobody@example.com"},
    {"nonsense@example.com", "no address,,@,a@b c"},
    {"tagged@example.com", "karl+lists@example.com"},
    {"x+own@example.com", "vivita@example.com"},
    {"literal@example.com", "root@[192.0.2.1]"},
    {"@example.net", "@example.com"},
    {"special@example.net", "vivita@example.com"},
    {"@example.org", "xandros@example.com,all@elsewhere.test"},
    {"@xn--bcher-kva.example", "@example.net"},
};

static struct arena *mem;
static struct resolve_result r;
static struct err err;
static bool broken, circle;
static unsigned lookups;

static int hosted(void *ctx, struct str domain, bool *out, struct err *e)
{
    (void)ctx;
    *out = false;
    for (size_t i = 0; i < ARRAY_LEN(domains); i++)
        *out = *out || str_eq(domain, str_from(domains[i]));
    *out = *out || str_eq(domain, STR("wide.test"));
    return broken ? ERR(e, ERR_TEMP, "disk on fire") : 0;
}

/* wide.test: nX -> n(X+1), and w -> 300 remotes; made up, to meet the limits */
static bool wide_alias(struct arena *m, struct str address, struct str *out)
{
    struct buf b;
    unsigned n;
    char z[64];
    snprintf(z, sizeof z, STR_FMT, STR_ARG(address));
    buf_init(&b, 1 << 20);
    if (sscanf(z, "n%u@wide.test", &n) == 1)
        buf_printf(&b, "n%u@wide.test", n + 1);
    for (unsigned i = 0; i < 300 && str_eq(address, STR("w@wide.test")); i++)
        buf_printf(&b, "r%u@elsewhere.test,", i);
    for (unsigned i = 0; i < 3000 && str_eq(address, STR("dead@wide.test")); i++)
        buf_printf(&b, "dead%u@wide.test,", i);
    bool found = b.n > 0;
    if (found)
        *out = arena_str(m, buf_str(&b));
    buf_fini(&b);
    return found;
}

static int alias(void *ctx, struct arena *m, struct str address, struct str *out, struct err *e)
{
    (void)ctx;
    (void)e;
    lookups++;
    *out = STR_NULL;
    if (str_ends(address, STR("@wide.test"))) {
        wide_alias(m, address, out);
        return 0;
    }
    if (circle && str_eq(address, STR("@example.com")))
        *out = STR("@example.net");
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
        if (str_eq(address, str_from(aliases[i].mail)))
            *out = arena_str(m, str_from(aliases[i].destination));
    return 0;
}

static int user(void *ctx, struct str address, bool *out, struct err *e)
{
    (void)ctx;
    (void)e;
    *out = false;
    for (size_t i = 0; i < ARRAY_LEN(users); i++)
        *out = *out || str_eq(address, str_from(users[i]));
    return 0;
}

static const char *first, *first_of_users; /* domain, and its user; NULL: none */
static int first_user(void *ctx, struct arena *m, struct str domain, struct str *out, struct err *e)
{
    (void)ctx;
    (void)e;
    assert_true(str_eq(domain, str_from(first)));
    *out = arena_str(m, str_from(first_of_users));
    return 0;
}

static int first_domain(void *ctx, struct arena *m, struct str *out, struct err *e)
{
    (void)ctx;
    (void)e;
    *out = arena_str(m, str_from(first));
    return 0;
}

static int moved(void *ctx, struct arena *m, struct str address, struct str *out, struct err *e)
{
    (void)ctx;
    (void)e;
    if (str_eq(address, STR("gone@example.com")))
        *out = arena_str(m, STR("New@else.example"));
    return 0;
}

static int relayed(void *ctx, struct str address, bool *out, struct err *e)
{
    (void)ctx;
    (void)e;
    *out = str_ends(address, STR("@back.example"));
    return 0;
}

/* What some accounts wish. */
static const struct wish {
    const char *account, *forward;
    bool receives, keeps, away;
} * wishes;
static size_t n_wishes;

static int options(void *ctx, struct arena *m, struct str account, struct directory_options *out,
                   struct err *e)
{
    (void)m;
    (void)e;
    assert_ptr_equal(ctx, &wishes);
    *out = (struct directory_options){.sends = true, .receives = true, .keeps = true};
    for (size_t i = 0; i < n_wishes; i++)
        if (str_eq(account, str_from(wishes[i].account)))
            *out = (struct directory_options){.receives = wishes[i].receives,
                                              .keeps = wishes[i].keeps,
                                              .forward = str_from(wishes[i].forward),
                                              .away = wishes[i].away,
                                              .away_from = 1000,
                                              .away_until = 2000};
    return 0;
}

static struct resolve_source source = {.hosted = hosted,
                                       .alias = alias,
                                       .user = user,
                                       .first_domain = first_domain,
                                       .first_user = first_user,
                                       .moved = moved,
                                       .relayed = relayed,
                                       .options = options,
                                       .options_ctx = &wishes,
                                       .now_s = 1500};
static struct resolve_limits limits;

static int setup(void **state)
{
    (void)state;
    mem = arena_new(0);
    limits = (struct resolve_limits){.depth = 20, .targets = 100, .tag = '+'};
    broken = circle = false;
    n_wishes = 0;
    source.now_s = 1500;
    lookups = 0;
    first = domains[0];
    first_of_users = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&mem);
    return 0;
}

static int resolve(const char *address)
{
    return resolve_address(&source, &limits, mem, str_from(address), &r, &err);
}

/* "a b | c" : accounts a and b, remote c; "unknown"; "not ours" */
static void expect(const char *address, const char *wanted)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    if (resolve(address) < 0)
        buf_add_z(&b, err.kind == ERR_PERM ? "refused" : "failed");
    else if (r.kind == DIRECTORY_UNKNOWN)
        buf_add_z(&b, "unknown");
    else if (r.kind == DIRECTORY_NOT_OURS)
        buf_add_z(&b, "not ours");
    for (size_t i = 0; i < r.n_accounts; i++)
        buf_printf(&b, "%s" STR_FMT, b.n ? " " : "", STR_ARG(r.accounts[i]));
    for (size_t i = 0; i < r.n_remotes; i++)
        buf_printf(&b, "%s" STR_FMT, i ? " " : "|", STR_ARG(r.remotes[i]));
    if (strcmp(buf_z(&b), wanted) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", address, buf_z(&b), wanted);
    buf_fini(&b);
}

static void users_and_domains(void **state)
{
    (void)state;
    expect("karl@example.com", "karl@example.com");
    expect("Karl@EXAMPLE.com", "karl@example.com");
    expect("JÜRGEN@example.com", "jürgen@example.com");
    expect("nobody@example.com", "unknown");
    expect("karl@elsewhere.test", "not ours");
    expect("karl@sub.example.com", "not ours");
    expect("karl@[192.0.2.1]", "not ours");
    expect("ka\x01rl@Example.com", "unknown"); /* malformed, and still not a matter of relaying */
    expect("ka\x01rl@elsewhere.test", "not ours");
    expect("karl", "unknown");
    expect("", "unknown");
    expect("@example.net", "unknown"); /* the catch-all itself is no address */
    expect("karl@", "unknown");
}

static void aliases_expand(void **state)
{
    (void)state;
    expect("sales@example.com", "vivita@example.com karl@example.com");
    expect("chain1@example.com", "karl@example.com");
    expect("mixed@example.com", "karl@example.com|x@elsewhere.test");
    expect("diamond@example.com", "karl@example.com");
    assert_false(r.loop);
    expect("tagged@example.com", "karl@example.com");
    expect("literal@example.com", "|root@[192.0.2.1]");
}

static void remotes_keep_their_case(void **state)
{
    (void)state; /* RFC 5321 2.4; but the same mailbox twice is one copy */
    expect("out@example.com", "|Some.Body@elsewhere.test");
}

static void alias_before_user(void **state)
{
    (void)state;
    expect("moved@example.com", "vivita@example.com");
    expect("both@example.com", "both@example.com karl@example.com");
    assert_false(r.loop);
    expect("both+tag@example.com", "both@example.com karl@example.com");
    expect("ghost@example.com", "unknown"); /* only itself, and no such user */
}

static void tags(void **state)
{
    (void)state;
    expect("karl+lists@example.com", "karl@example.com");
    expect("karl+a+b@example.com", "karl@example.com");
    expect("a+b@example.com", "a+b@example.com"); /* the whole name first */
    expect("x+own@example.com", "vivita@example.com");
    expect("x+other@example.com", "unknown");
    expect("sales+2024@example.com", "vivita@example.com karl@example.com");
    expect("+karl@example.com", "unknown");
    limits.tag = 0;
    expect("karl+lists@example.com", "unknown");
    limits.tag = '-';
    expect("karl-lists@example.com", "karl@example.com");
}

static void catch_alls(void **state)
{
    (void)state;
    expect("anything@example.org", "xandros@example.com|all@elsewhere.test");
    expect("karl@example.net", "karl@example.com"); /* domain alias: the local part stays */
    expect("karl+tag@example.net", "karl@example.com");
    expect("special@example.net", "vivita@example.com");
    expect("nobody@example.net", "unknown");
    expect("sales@example.net", "vivita@example.com karl@example.com");
    expect("karl@bücher.example",
           "karl@example.com"); /* two domain aliases, one written in Unicode */
}

static void loops(void **state)
{
    (void)state;
    expect("loop1@example.com", "refused");
    assert_int_equal(err.why, ERR_WHY_OTHER);
    expect("loop3@example.com", "karl@example.com"); /* what can be delivered is */
    assert_true(r.loop);
    circle = true; /* example.net -> example.com -> example.net */
    expect("nobody@example.net", "refused");
    expect("karl@example.net", "karl@example.com");
}

static void dangling(void **state)
{
    (void)state;
    expect("broken@example.com", "karl@example.com");
    assert_true(str_eq(r.dangling, STR("nobody@example.com")));
    expect("dead@example.com", "unknown");
    expect("nonsense@example.com", "unknown");
}

static void postmaster(void **state)
{
    (void)state;
    expect("postmaster", "xandros@example.com");
    expect("Postmaster", "xandros@example.com");
    expect("postmaster@example.com", "xandros@example.com");
    expect("PostMaster@empty.test", "xandros@example.com");
    expect("abuse@empty.test", "xandros@example.com");
    expect("abuse@example.com", "xandros@example.com");
    expect("postmaster@example.org",
           "xandros@example.com|all@elsewhere.test"); /* catch-all first */
    expect("postmaster@elsewhere.test", "not ours");
    expect("hostmaster@empty.test", "unknown");
}

/* Nobody has set one up: somebody must read it all the same. */
static void postmaster_of_last_resort(void **state)
{
    (void)state;
    first = "empty.test";
    first_of_users = "a@empty.test";
    expect("postmaster", "a@empty.test");
    expect("postmaster@empty.test", "a@empty.test");
    expect("Postmaster@wide.test", "a@empty.test");
    expect("abuse@empty.test", "a@empty.test");
    expect("abuse@wide.test", "a@empty.test");
    expect("abuse@gap.test", "a@empty.test");
    expect("hostmaster@empty.test", "unknown");
    expect("postmaster@elsewhere.test", "not ours");
    expect("postmaster@example.com", "xandros@example.com");
    limits.postmaster = "nobody@example.com"; /* was set, and is gone */
    expect("postmaster@empty.test", "a@empty.test");
    limits.postmaster = NULL;
    first_of_users = NULL;
    expect("postmaster@empty.test", "unknown");
    expect("abuse@empty.test", "unknown");
    expect("postmaster", "unknown");
}

/* RFC 2142 5: of the domain it is about, as long as somebody reads it there. */
static void abuse(void **state)
{
    (void)state;
    expect("abuse@own.test", "karl@example.com");
    expect("Abuse+x@own.test", "unknown");
    expect("abuse@gap.test", "xandros@example.com");
    expect("postmaster@gap.test", "xandros@example.com");
    limits.postmaster = "vivita@example.com";
    expect("abuse@own.test", "karl@example.com");
    expect("abuse@empty.test", "vivita@example.com");
    expect("root@own.test", "vivita@example.com");
}

static void bounded(void **state)
{
    (void)state;
    limits.depth = 3;
    expect("chain1@example.com", "karl@example.com");
    limits.depth = 2;
    expect("chain1@example.com", "refused");
    assert_int_equal(err.why, ERR_WHY_LIMIT);
    limits = (struct resolve_limits){.depth = 100, .targets = 300, .tag = '+'};
    expect("n0@wide.test", "refused");
    assert_true(lookups <= 2 * 101); /* itself and the catch-all at each step */
    assert_int_equal(resolve("w@wide.test"), 0);
    assert_int_equal(r.n_remotes, 300);
    limits.targets = 299;
    expect("w@wide.test", "refused");
    assert_int_equal(err.why, ERR_WHY_LIMIT);
}

static void dead_ends_are_bounded(void **state)
{
    (void)state;
    expect("dead@wide.test", "refused");
    assert_true(lookups < 2 * (2 * limits.targets + 16) + 2);
}

static void source_fails(void **state)
{
    (void)state;
    broken = true;
    expect("karl@example.com", "failed");
    assert_string_equal(err.text, "disk on fire");
}

static void long_names(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 100000; i++)
        buf_add_char(&b, 'a');
    buf_add_z(&b, "@example.com");
    assert_int_equal(resolve_address(&source, &limits, mem, buf_str(&b), &r, &err), 0);
    assert_int_equal(r.kind, DIRECTORY_UNKNOWN);
    assert_int_equal(lookups, 0);
    buf_fini(&b);
}

static void moved_away(void **state)
{
    (void)state;
    assert_int_equal(resolve("Gone@example.com"), 0);
    assert_int_equal(r.kind, DIRECTORY_MOVED);
    assert_true(str_eq(r.moved, STR("New@else.example")));
    assert_int_equal(r.n_accounts + r.n_remotes, 0);
    assert_int_equal(resolve("gone@nothere.test"), 0); /* not ours: nobody asks */
    assert_int_equal(r.kind, DIRECTORY_NOT_OURS);
}

static void backed_up(void **state)
{
    (void)state;
    assert_int_equal(resolve("Anybody@Back.example"), 0);
    assert_int_equal(r.kind, DIRECTORY_LOCAL);
    assert_true(r.backup && r.n_accounts == 0 && r.n_remotes == 1);
    assert_true(str_eq(r.remotes[0], STR("anybody@back.example")));
    assert_int_equal(resolve("karl@example.com"), 0);
    assert_false(r.backup);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#define WISH(...)                                                                                  \
    do {                                                                                           \
        static const struct wish list[] = {__VA_ARGS__};                                           \
        wishes = list;                                                                             \
        n_wishes = ARRAY_LEN(list);                                                                \
    } while (0)

static void what_accounts_wish(void **state)
{
    (void)state;
    WISH({"karl@example.com", "x@elsewhere.test", true, true, false});
    expect("karl@example.com", "karl@example.com|x@elsewhere.test");
    expect("karl+tag@example.com", "karl@example.com|x@elsewhere.test");
    WISH({"karl@example.com", "x@elsewhere.test", true, false, false});
    expect("karl@example.com", "|x@elsewhere.test");
    /* To itself: nothing but the copy it keeps or not. */
    WISH({"karl@example.com", "karl@example.com, karl+a@example.com", true, true, false});
    expect("karl@example.com", "karl@example.com");
    WISH({"karl@example.com", "karl@example.com", true, false, false});
    expect("karl@example.com", "unknown");
    /* Each sends on to the other: each gets one, or nobody does. */
    WISH({"karl@example.com", "j\xc3\xbcrgen@example.com", true, true, false},
         {"j\xc3\xbcrgen@example.com", "karl@example.com", true, true, false});
    expect("karl@example.com", "karl@example.com j\xc3\xbcrgen@example.com");
    WISH({"karl@example.com", "j\xc3\xbcrgen@example.com", true, false, false},
         {"j\xc3\xbcrgen@example.com", "karl@example.com", true, false, false});
    expect("karl@example.com", "refused");
    /* What can't be reached leaves the copy. */
    WISH({"karl@example.com", "nobody@example.com, @example.com, ,", true, true, false});
    expect("karl@example.com", "karl@example.com");
    assert_true(r.dangling.n > 0);
}

static void closed_and_away(void **state)
{
    (void)state;
    WISH({"karl@example.com", "x@elsewhere.test", false, true, true});
    expect("karl@example.com", "unknown");
    assert_true(r.closed);
    expect("nobody@example.com", "unknown");
    assert_false(r.closed);
    WISH({"karl@example.com", "j\xc3\xbcrgen@example.com", true, true, true});
    expect("karl@example.com", "karl@example.com j\xc3\xbcrgen@example.com");
    assert_true(r.away[0]);
    assert_false(r.away[1]);
    for (int at = 999; at <= 2000; at += 1001) { /* before it begins, when it ends */
        source.now_s = at;
        expect("karl@example.com", "karl@example.com j\xc3\xbcrgen@example.com");
        assert_false(r.away[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(users_and_domains),
        TEST(what_accounts_wish),
        TEST(closed_and_away),
        TEST(aliases_expand),
        TEST(remotes_keep_their_case),
        TEST(alias_before_user),
        TEST(tags),
        TEST(catch_alls),
        TEST(loops),
        TEST(dangling),
        TEST(postmaster),
        TEST(postmaster_of_last_resort),
        TEST(abuse),
        TEST(bounded),
        TEST(source_fails),
        TEST(moved_away),
        TEST(backed_up),
        TEST(long_names),
        TEST(dead_ends_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
