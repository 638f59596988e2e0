/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Whom a client trusts: authorities, names, TLSA records. */
#include "tls_certs.h"

static struct loop *loop;
static struct authority ca, other_ca;
static struct tls_ctx *server;         /* of ca */
static struct tls_ctx *client, *alien; /* trust ca; trust other_ca */

static int group_setup(void **state)
{
    (void)state;
    struct err err;
    authority_make(&ca, &server);
    authority_make(&other_ca, NULL);
    assert_int_equal(tls_ctx_client(ca.ca_file, &client, &err), 0);
    assert_int_equal(tls_ctx_client(other_ca.ca_file, &alien, &err), 0);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    tls_ctx_unref(&server);
    tls_ctx_unref(&client);
    tls_ctx_unref(&alien);
    authority_free(&ca);
    authority_free(&other_ca);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_replace(NULL);
    loop_free(&loop);
    return 0;
}

/* ---- one handshake, and what came of it ---- */

struct outcome {
    bool opened;
    enum tls_trust trust;
    struct err err;
    bool server_opened;
};

static struct outcome meet(struct tls_ctx *from, struct tls_ctx *to, const struct tls_demand *want)
{
    struct end c, s;
    struct outcome o = {0};
    end_open(&c, loop, NULL);
    server_open(&s, &c, to);
    conn_start_tls_client(c.conn, from, want);
    assert_seen(&c, "");
    assert_int_equal(conn_tls_trust(c.conn), TLS_TRUST_NONE);
    while (!c.seen[0])
        loop_turn(loop, true);
    o.opened = c.seen[0] == 'O';
    assert_int_equal(conn_has_tls(c.conn), o.opened);
    o.trust = conn_tls_trust(c.conn);
    o.err = *conn_error(c.conn);
    spin(loop);
    o.server_opened = s.seen[0] == 'O' && !s.seen[1];
    end_free(&c);
    end_free(&s);
    spin(loop);
    return o;
}

static struct outcome meet_pkix(struct tls_ctx *from, struct tls_ctx *to, const char *name,
                                const char *second)
{
    const char *const names[] = {name, second, NULL};
    return meet(from, to, &(struct tls_demand){.trust = TLS_TRUST_PKIX, .names = names});
}

static struct outcome meet_none(struct tls_ctx *from, struct tls_ctx *to, const char *name)
{
    const char *const names[] = {name, NULL};
    return meet(from, to, &(struct tls_demand){.trust = TLS_TRUST_NONE, .names = names});
}

static struct outcome meet_dane(struct tls_ctx *to, const char *name, const struct tls_tlsa *tlsa,
                                size_t n)
{
    const char *const names[] = {name, NULL};
    struct tls_demand want = {TLS_TRUST_DANE, names, tlsa, n};
    return meet(alien, to, &want); /* whose authorities must not matter */
}

#define assert_trusts(o, how)                                                                      \
    do {                                                                                           \
        struct outcome o_ = (o);                                                                   \
        assert_string_equal(o_.err.text, "");                                                      \
        assert_true(o_.opened);                                                                    \
        assert_true(o_.server_opened);                                                             \
        assert_int_equal(o_.trust, how);                                                           \
    } while (0)
#define assert_refuses(o, sentence)                                                                \
    do {                                                                                           \
        struct outcome o_ = (o);                                                                   \
        assert_false(o_.opened);                                                                   \
        assert_int_equal(o_.err.kind, ERR_TEMP);                                                   \
        assert_int_equal(o_.err.why, ERR_WHY_UNTRUSTED);                                           \
        assert_string_equal(o_.err.text, sentence);                                                \
        assert_int_equal(o_.trust, TLS_TRUST_NONE);                                                \
        assert_false(o_.server_opened &&o_.opened);                                                \
    } while (0)

/* ---- authorities and names ---- */

static void names_of_the_certificate(void **state)
{
    (void)state;
    static const char *const good[] = {"mx.example.com", "MX.Example.COM", "mx.example.com.",
                                       "127.0.0.1", "::1"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_trusts(meet_pkix(client, server, good[i], NULL), TLS_TRUST_PKIX);
    assert_trusts(meet_pkix(client, server, "no.example.org", "mx.example.com"), TLS_TRUST_PKIX);
    assert_trusts(meet_pkix(client, server, "no.example.org", "127.0.0.1"), TLS_TRUST_PKIX);
    static const char *const bad[] = {"no.example.org", "example.com", "a.mx.example.com",
                                      "127.0.0.2", "::2"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char sentence[128];
        snprintf(sentence, sizeof(sentence), "the certificate of %s is for another name", bad[i]);
        assert_refuses(meet_pkix(client, server, bad[i], NULL), sentence);
    }
}

/* X509_check_host() would take a dot in front for "whatever is below". */
static void no_names_are_nobody(void **state)
{
    (void)state;
    static const char *const odd[] = {
        NULL, "", ".", ".example.com", "*.example.com", "mx.example.com\n"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        assert_refuses(meet_pkix(client, server, odd[i], NULL),
                       "the certificate of the peer is for another name");
    struct tls_demand nothing = {.trust = TLS_TRUST_PKIX};
    assert_refuses(meet(client, server, &nothing),
                   "the certificate of the peer is for another name");
}

static void unknown_authority(void **state)
{
    (void)state;
    assert_refuses(meet_pkix(alien, server, "mx.example.com", NULL),
                   "the certificate of mx.example.com is of an unknown authority");
}

static void nothing_demanded(void **state)
{
    (void)state;
    assert_trusts(meet_none(client, server, "mx.example.com"), TLS_TRUST_PKIX);
    assert_trusts(meet_none(client, server, "no.example.org"), TLS_TRUST_NONE);
    assert_trusts(meet_none(alien, server, "mx.example.com"), TLS_TRUST_NONE);
    assert_trusts(meet_none(client, server, NULL), TLS_TRUST_NONE);
}

static int64_t wall_ms;
static int64_t fake_wall(void)
{
    return wall_ms;
}
static const struct clock_source fake = {.wall_ms = fake_wall};

static void turn_days(int days)
{
    clock_replace(NULL);
    wall_ms = clock_wall_ms() + (int64_t)days * 86400 * 1000;
    clock_replace(&fake);
}

static void time_of_the_certificate(void **state)
{
    (void)state;
    turn_days(400);
    assert_refuses(meet_pkix(client, server, "mx.example.com", NULL),
                   "the certificate of mx.example.com has expired");
    assert_trusts(meet_none(client, server, "mx.example.com"), TLS_TRUST_NONE);
    turn_days(-2);
    assert_refuses(meet_pkix(client, server, "mx.example.com", NULL),
                   "the certificate of mx.example.com is not valid yet");
    turn_days(300);
    assert_trusts(meet_pkix(client, server, "mx.example.com", NULL), TLS_TRUST_PKIX);
}

static void check_name(const struct server_kind *k, const char *name, bool good)
{
    struct tls_ctx *s = server_make(&ca, k);
    struct outcome o = meet_pkix(client, s, name, NULL);
    assert_int_equal(o.opened, good);
    assert_int_equal(o.trust, good ? TLS_TRUST_PKIX : TLS_TRUST_NONE);
    tls_ctx_unref(&s);
}

static void wildcards_and_common_names(void **state)
{
    (void)state;
    static const struct server_kind star = {.cn = "x", .san = "DNS:*.example.com"};
    check_name(&star, "mx.example.com", true);
    check_name(&star, "a.mx.example.com", false);
    check_name(&star, "example.com", false);
    static const struct server_kind partial = {.cn = "x", .san = "DNS:m*.example.com"};
    check_name(&partial, "mx.example.com", false);
    static const struct server_kind inner = {.cn = "x", .san = "DNS:mx.*.com"};
    check_name(&inner, "mx.example.com", false);
    static const struct server_kind cn_only = {.cn = "mx.example.com"};
    check_name(&cn_only, "mx.example.com", false);
    static const struct server_kind cn_too = {.cn = "mx.example.com", .san = "IP:127.0.0.1"};
    check_name(&cn_too, "mx.example.com", false);
    static const struct server_kind ip_as_dns = {.cn = "x", .san = "DNS:127.0.0.1"};
    check_name(&ip_as_dns, "127.0.0.1", false);
}

/* ---- DANE ---- */

static unsigned char room[4][4096];

static struct tls_tlsa tlsa(X509 *x, uint8_t usage, uint8_t selector, uint8_t matching)
{
    static unsigned turn;
    unsigned char *at = room[turn++ % ARRAY_LEN(room)];
    return tlsa_of(x, usage, selector, matching, at, sizeof(room[0]));
}

static void dane_end_entity(void **state)
{
    (void)state;
    for (uint8_t selector = 0; selector <= 1; selector++)
        for (uint8_t matching = 0; matching <= 2; matching++) {
            struct tls_tlsa right = tlsa(ca.server, 3, selector, matching);
            struct tls_tlsa wrong = tlsa(other_ca.server, 3, selector, matching);
            struct tls_tlsa both[] = {wrong, right};
            assert_trusts(meet_dane(server, "mx.example.com", &right, 1), TLS_TRUST_DANE);
            assert_trusts(meet_dane(server, "mx.example.com", both, 2), TLS_TRUST_DANE);
            assert_refuses(meet_dane(server, "mx.example.com", &wrong, 1),
                           "the certificate of mx.example.com fits none of its TLSA records");
        }
}

/* RFC 7671 5.1: the key is what counts, not names or dates. */
static void dane_end_entity_ignores_names_and_dates(void **state)
{
    (void)state;
    struct tls_tlsa right = tlsa(ca.server, 3, 1, 1);
    assert_trusts(meet_dane(server, "no.example.org", &right, 1), TLS_TRUST_DANE);
    turn_days(4000);
    assert_trusts(meet_dane(server, "mx.example.com", &right, 1), TLS_TRUST_DANE);
}

static void dane_anchor(void **state)
{
    (void)state;
    static const struct server_kind chain = {
        .cn = "x", .san = "DNS:mx.example.com", .with_ca = true};
    struct tls_ctx *whole = server_make(&ca, &chain);
    for (uint8_t selector = 0; selector <= 1; selector++)
        for (uint8_t matching = 0; matching <= 2; matching++) {
            struct tls_tlsa right = tlsa(ca.cert, 2, selector, matching);
            struct tls_tlsa wrong = tlsa(other_ca.cert, 2, selector, matching);
            assert_trusts(meet_dane(whole, "mx.example.com", &right, 1), TLS_TRUST_DANE);
            assert_refuses(meet_dane(whole, "no.example.org", &right, 1),
                           "the certificate of no.example.org is for another name");
            assert_refuses(meet_dane(whole, "mx.example.com", &wrong, 1),
                           "the certificate of mx.example.com fits none of its TLSA records");
        }
    struct tls_tlsa right = tlsa(ca.cert, 2, 0, 1);
    turn_days(400);
    assert_refuses(meet_dane(whole, "mx.example.com", &right, 1),
                   "the certificate of mx.example.com has expired");
    clock_replace(NULL);
    /* An anchor that the server doesn't send must be in the record whole (RFC 7671 5.2.2). */
    struct tls_tlsa full = tlsa(ca.cert, 2, 0, 0);
    assert_trusts(meet_dane(server, "mx.example.com", &full, 1), TLS_TRUST_DANE);
    assert_refuses(meet_dane(server, "mx.example.com", &right, 1),
                   "the certificate of mx.example.com fits none of its TLSA records");
    tls_ctx_unref(&whole);
}

/* A known authority's certificate with the right name doesn't make up for a record that isn't met,
 * nor for records that can't be used. */
static void dane_is_not_replaced_by_an_authority(void **state)
{
    (void)state;
    const char *const names[] = {"mx.example.com", NULL};
    struct tls_tlsa records[] = {tlsa(other_ca.server, 3, 1, 1), tlsa(ca.server, 1, 1, 1)};
    struct tls_demand want = {TLS_TRUST_DANE, names, records, 2};
    assert_refuses(meet(client, server, &want),
                   "the certificate of mx.example.com fits none of its TLSA records");
    want.tlsa++;
    want.n_tlsa = 1;
    assert_refuses(meet(client, server, &want), "no TLSA record of mx.example.com can be used");
    want.n_tlsa = 0;
    assert_refuses(meet(client, server, &want), "no TLSA record of mx.example.com can be used");
    struct tls_tlsa right = tlsa(ca.server, 3, 1, 1);
    assert_refuses(meet_dane(server, "127.0.0.1", &right, 1), "DANE needs the name of the host");
    assert_refuses(meet_dane(server, NULL, &right, 1), "DANE needs the name of the host");
}

static void which_records_are_usable(void **state)
{
    (void)state;
    struct tls_tlsa good[] = {tlsa(ca.server, 3, 1, 1), tlsa(ca.server, 3, 1, 2),
                              tlsa(ca.cert, 2, 0, 0), tlsa(ca.cert, 2, 1, 0)};
    assert_int_equal(tls_tlsa_usable(good, ARRAY_LEN(good)), ARRAY_LEN(good));
    assert_int_equal(tls_tlsa_usable(NULL, 0), 0);
    static const struct {
        uint8_t usage, selector, matching;
        size_t n;
    } bad[] = {{0, 1, 1, 32}, {1, 1, 1, 32}, {4, 1, 1, 32}, {255, 1, 1, 32}, {3, 2, 1, 32},
               {3, 1, 3, 32}, {3, 1, 1, 31}, {3, 1, 1, 33}, {3, 1, 1, 0},    {3, 1, 2, 32},
               {3, 0, 0, 0},  {3, 0, 0, 32}, {2, 1, 0, 0},  {2, 1, 0, 64}};
    static const char zeros[64];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tls_tlsa t = {bad[i].usage, bad[i].selector, bad[i].matching,
                             str_of(zeros, bad[i].n)};
        assert_int_equal(tls_tlsa_usable(&t, 1), 0);
    }
    struct tls_tlsa cut = good[2], key_as_cert = good[3];
    cut.data.n--;
    key_as_cert.selector = 0;
    assert_int_equal(tls_tlsa_usable(&cut, 1), 0);
    assert_int_equal(tls_tlsa_usable(&key_as_cert, 1), 0);
    unsigned char longer[4096];
    memcpy(longer, good[2].data.p, good[2].data.n);
    longer[good[2].data.n] = 0;
    struct tls_tlsa more = {2, 0, 0, str_of((const char *)longer, good[2].data.n + 1)};
    assert_int_equal(tls_tlsa_usable(&more, 1), 0);
}

/* ---- contexts ---- */

static void files_of_authorities(void **state)
{
    (void)state;
    struct tls_ctx *t = NULL;
    struct err err;
    char path[128];
    assert_int_equal(tls_ctx_client("/nonexistent/ca.pem", &t, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "/nonexistent/ca.pem"));
    snprintf(path, sizeof(path), "%s/key.pem", ca.folder); /* no certificate in it */
    assert_int_equal(tls_ctx_client(path, &t, &err), -1);
    /* The system's, whichever there are: ours is none of them. */
    assert_int_equal(tls_ctx_client("", &t, &err), 0);
    assert_refuses(meet_pkix(t, server, "mx.example.com", NULL),
                   "the certificate of mx.example.com is of an unknown authority");
    tls_ctx_unref(&t);
    assert_int_equal(tls_ctx_client(NULL, &t, &err), 0);
    tls_ctx_unref(&t);
    setenv("SSL_CERT_FILE", ca.ca_file, 1);
    assert_int_equal(tls_ctx_client(NULL, &t, &err), 0);
    unsetenv("SSL_CERT_FILE");
    assert_trusts(meet_pkix(t, server, "mx.example.com", NULL), TLS_TRUST_PKIX);
    tls_ctx_unref(&t);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(names_of_the_certificate),
        T(no_names_are_nobody),
        T(unknown_authority),
        T(nothing_demanded),
        T(time_of_the_certificate),
        T(wildcards_and_common_names),
        T(dane_end_entity),
        T(dane_end_entity_ignores_names_and_dates),
        T(dane_anchor),
        T(dane_is_not_replaced_by_an_authority),
        T(which_records_are_usable),
        T(files_of_authorities),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
