/* room: directory */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Input: lines. The first names the mechanism, the second is the initial response ("-": none), the
 * rest are answers. Whatever comes, user and password are only ready once, whole, and hold no NUL;
 * with SCRAM twice, and nobody proves a password that can't be known. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/directory/password.h"
#include "appliance/directory/password_schemes.h"
#include "appliance/directory/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct sasl_offer offer = {
    .scram = true, .plus = true, .oauth = true, .channel = {{"exporter", 8}, {"end-point", 9}}};

static void check_ready(const struct sasl *s)
{
    CHECK((s->user.n > 0 || sasl_kind(s) == SASL_BEARER) && !memchr(s->user.p, 0, s->user.n) &&
          text_utf8_valid(s->user));
    CHECK(s->password.n == 0 || !memchr(s->password.p, 0, s->password.n));
    CHECK(s->authzid.n == 0 || !memchr(s->authzid.p, 0, s->authzid.n));
    CHECK(text_utf8_valid(s->authzid));
}

/* The texts double as stored passwords: reading those must stand anything too. */
static void read_stored(struct str line)
{
    struct password_form form;
    password_form_read(line, &form);
    CHECK(form.n <= PASSWORD_STORED_MAX && form.bytes[form.n] == 0);
    struct scram_verifier v;
    CHECK(!scram_parse(line, &v) || (v.n_salt > 0 && v.iterations > 0));
    CHECK(form.kind != PASSWORD_DIGEST || form.n >= (size_t)EVP_MD_get_size(form.md));
}

static bool sasl_is_scram(const struct sasl *s)
{
    return sasl_kind(s) == SASL_SCRAM || sasl_kind(s) == SASL_SCRAM_PLUS;
}

static void exchange(struct sasl *s, struct str rest)
{
    struct str line, challenge;
    struct err err;
    str_cut(rest, '\n', &line, &rest);
    enum sasl_step step = sasl_begin(s, str_eq(line, STR("-")) ? STR_NULL : line, &challenge, &err);
    while (rest.n) {
        struct scram_verifier v = {.iterations = 4096, .n_salt = 1};
        if (step == SASL_READY && sasl_is_scram(s) && !s->proving) {
            check_ready(s);
            step = sasl_verifier(s, &v, &challenge);
        } else if (step == SASL_READY && s->user.n && line.n % 2) {
            step = sasl_refuse(s, &challenge);
        }
        if (step != SASL_CHALLENGE)
            break;
        CHECK(challenge.p != NULL);
        str_cut(rest, '\n', &line, &rest);
        read_stored(line);
        step = sasl_feed(s, line, &challenge, &err);
    }
    if (step == SASL_READY)
        check_ready(s);
    CHECK(!s->proved);
    if (step != SASL_CHALLENGE) {
        CHECK(sasl_feed(s, STR("AGEAYg=="), &challenge, &err) == SASL_ERROR);
        CHECK(s->password.p == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(0);
    struct str mechanism, rest;
    struct sasl s;
    struct err err;
    str_cut(str_of(data, size), '\n', &mechanism, &rest);
    read_stored(mechanism);
    if (sasl_init(&s, a, mechanism, &offer, &err) == 0) {
        exchange(&s, rest);
        sasl_wipe(&s);
    }
    arena_free(&a);
    return 0;
}
