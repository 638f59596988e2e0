/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/io/tls.h"
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
// cmocka wants the four above first
#include <cmocka.h>

static char folder[64];
static int dirfd_;
static struct err err;
static const char *const names[] = {"localhost", "127.0.0.1", "::1", "mail.example.com", NULL};

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/ph-ca-XXXXXX");
    assert_non_null(mkdtemp(folder));
    dirfd_ = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dirfd_ >= 0);
    err_clear(&err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_replace(NULL);
    static const char *const files[] = {"ca.pem", "ca-key.pem", "cert.pem", "key.pem"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlinkat(dirfd_, files[i], 0);
    close(dirfd_);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left there */
    return 0;
}

static const char *path(const char *name)
{
    static char out[4][128];
    static unsigned turn;
    char *p = out[turn++ % 4];
    snprintf(p, sizeof(out[0]), "%s/%s", folder, name);
    return p;
}

static X509 *load(const char *name)
{
    FILE *f = fopen(path(name), "r");
    assert_non_null(f);
    X509 *x = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    assert_non_null(x);
    return x;
}

/* The verdict of a strict TLS client that trusts only ca.pem; at: 0 = now. */
static int verify(const char *host, const char *ip, int purpose, time_t at)
{
    X509 *ca = load("ca.pem"), *cert = load("cert.pem");
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_add_cert(store, ca);
    X509_STORE_CTX_init(ctx, store, cert, NULL);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_purpose(param, purpose);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_POLICY_CHECK);
    if (host)
        X509_VERIFY_PARAM_set1_host(param, host, 0);
    if (ip)
        X509_VERIFY_PARAM_set1_ip_asc(param, ip);
    if (at)
        X509_VERIFY_PARAM_set_time(param, at);
    int rc = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(ca);
    X509_free(cert);
    return rc;
}

static bool same(const char *name, X509 *before)
{
    X509 *now = load(name);
    bool eq = X509_cmp(now, before) == 0;
    X509_free(now);
    return eq;
}

static void chain_validates_for_every_name(void **state)
{
    (void)state;
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    assert_int_equal(verify("localhost", NULL, X509_PURPOSE_SSL_SERVER, 0), X509_V_OK);
    assert_int_equal(verify("mail.example.com", NULL, X509_PURPOSE_SSL_SERVER, 0), X509_V_OK);
    assert_int_equal(verify(NULL, "127.0.0.1", X509_PURPOSE_SSL_SERVER, 0), X509_V_OK);
    assert_int_equal(verify(NULL, "::1", X509_PURPOSE_SSL_SERVER, 0), X509_V_OK);
    assert_int_equal(verify("other.example.com", NULL, X509_PURPOSE_SSL_SERVER, 0),
                     X509_V_ERR_HOSTNAME_MISMATCH);
    assert_int_equal(verify(NULL, "127.0.0.2", X509_PURPOSE_SSL_SERVER, 0),
                     X509_V_ERR_IP_ADDRESS_MISMATCH);
    /* Server authentication only. */
    assert_int_not_equal(verify(NULL, NULL, X509_PURPOSE_SSL_CLIENT, 0), X509_V_OK);
    assert_int_not_equal(verify(NULL, NULL, X509_PURPOSE_SMIME_SIGN, 0), X509_V_OK);
}

static void keys_are_private_and_contexts_load(void **state)
{
    (void)state;
    umask(0);
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    struct stat st;
    assert_int_equal(fstatat(dirfd_, "key.pem", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(fstatat(dirfd_, "ca-key.pem", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    struct tls_ctx *t;
    assert_int_equal(tls_ctx_server(path("cert.pem"), path("key.pem"), &t, &err), 0);
    tls_ctx_unref(&t);
    assert_null(t);
    assert_int_equal(tls_ctx_server(path("cert.pem"), path("ca-key.pem"), &t, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "does not belong"));
    assert_int_equal(tls_ctx_server(path("none.pem"), path("key.pem"), &t, &err), -1);
    assert_non_null(strstr(err.text, "none.pem"));
    assert_int_equal(tls_ctx_server(path("key.pem"), path("key.pem"), &t, &err), -1);
    assert_non_null(strstr(err.text, "no usable certificate"));
    assert_int_equal(tls_ctx_server(path("cert.pem"), path("cert.pem"), &t, &err), -1);
    assert_non_null(strstr(err.text, "no usable key"));
}

static void kept_while_good_renewed_when_names_change(void **state)
{
    (void)state;
    static const char *const fewer[] = {"localhost", NULL};
    static const char *const other[] = {"localhost", "imap.example.net", NULL};
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    X509 *ca = load("ca.pem"), *cert = load("cert.pem");
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    assert_int_equal(tls_ca_ensure(dirfd_, fewer, &err), 0);
    assert_true(same("cert.pem", cert));
    assert_int_equal(tls_ca_ensure(dirfd_, other, &err), 0);
    assert_false(same("cert.pem", cert));
    assert_true(same("ca.pem", ca));
    assert_int_equal(verify("imap.example.net", NULL, X509_PURPOSE_SSL_SERVER, 0), X509_V_OK);
    X509_free(ca);
    X509_free(cert);
}

static int64_t wall_ms;
static int64_t fake_wall(void)
{
    return wall_ms;
}
static uint64_t fake_mono(void)
{
    return 1;
}

static void renewed_before_it_expires(void **state)
{
    (void)state;
    static const struct clock_source fake = {.mono_ms = fake_mono, .wall_ms = fake_wall};
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    X509 *ca = load("ca.pem"), *cert = load("cert.pem");
    time_t start = time(NULL);
    clock_replace(&fake);
    wall_ms = ((int64_t)start + 334 * 86400) * 1000;
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    assert_true(same("cert.pem", cert));
    wall_ms = ((int64_t)start + 336 * 86400) * 1000;
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    assert_false(same("cert.pem", cert));
    assert_true(same("ca.pem", ca));
    time_t later = start + 690 * 86400;
    assert_int_equal(verify("localhost", NULL, X509_PURPOSE_SSL_SERVER, later), X509_V_OK);
    /* After ten years also the CA. */
    wall_ms = ((int64_t)start + (int64_t)3660 * 86400) * 1000;
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    assert_false(same("ca.pem", ca));
    X509_free(ca);
    X509_free(cert);
}

static void put(const char *name, const char *text)
{
    int fd = openat(dirfd_, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void damaged_files(void **state)
{
    (void)state;
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    X509 *ca = load("ca.pem");
    put("cert.pem", "no certificate\n"); /* ours alone: made anew */
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    assert_int_equal(verify("localhost", NULL, X509_PURPOSE_SSL_SERVER, 0), X509_V_OK);
    unlinkat(dirfd_, "key.pem", 0);
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    assert_int_equal(verify("localhost", NULL, X509_PURPOSE_SSL_SERVER, 0), X509_V_OK);
    /* The CA is trusted by clients: never silently replaced. */
    renameat(dirfd_, "ca-key.pem", dirfd_, "kept");
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    put("ca-key.pem", "no key\n");
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), -1);
    renameat(dirfd_, "kept", dirfd_, "ca-key.pem");
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    assert_true(same("ca.pem", ca));
    /* A server certificate of another CA. */
    unlinkat(dirfd_, "ca.pem", 0);
    unlinkat(dirfd_, "ca-key.pem", 0);
    assert_int_equal(tls_ca_ensure(dirfd_, names, &err), 0);
    assert_false(same("ca.pem", ca));
    assert_int_equal(verify("localhost", NULL, X509_PURPOSE_SSL_SERVER, 0), X509_V_OK);
    X509_free(ca);
}

static void refuses_odd_names(void **state)
{
    (void)state;
    static const char *const odd[] = {"",     "a b",           "a,DNS:evil",
                                      "a\nb", "*.example.com", "m\xc3\xa4il"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        const char *const list[] = {"localhost", odd[i], NULL};
        assert_int_equal(tls_ca_ensure(dirfd_, list, &err), -1);
        assert_int_equal(err.kind, ERR_PERM);
    }
    char longest[200];
    memset(longest, 'a', sizeof(longest));
    for (size_t i = 50; i < sizeof(longest); i += 51)
        longest[i] = '.';
    longest[sizeof(longest) - 1] = '\0';
    const char *const list[] = {longest, NULL}; /* longer than a CN may be */
    assert_int_equal(tls_ca_ensure(dirfd_, list, &err), 0);
    assert_int_equal(verify(longest, NULL, X509_PURPOSE_SSL_SERVER, 0), X509_V_OK);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(chain_validates_for_every_name),
        T(keys_are_private_and_contexts_load),
        T(kept_while_good_renewed_when_names_change),
        T(renewed_before_it_expires),
        T(damaged_files),
        T(refuses_odd_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
