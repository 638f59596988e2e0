/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/sasl.h"

#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/directory/sasl_oauth.h"

enum {
    STEP_BEGIN,
    STEP_MESSAGE, /* the only one, or the first of SCRAM */
    STEP_USER,
    STEP_PASSWORD,
    STEP_VERIFIER, /* the directory is asked for it */
    STEP_PROOF,
    STEP_LAST,   /* SCRAM: the client takes our proof */
    STEP_REFUSE, /* OAuth: the client takes our reasons */
    STEP_OVER
};

static const struct {
    const char *name;
    enum sasl_kind kind;
} mechanisms[] = {
    /* most secure first */
    {"SCRAM-SHA-256-PLUS", SASL_SCRAM_PLUS},
    {"SCRAM-SHA-256", SASL_SCRAM},
    {"PLAIN", SASL_PLAIN},
    {"LOGIN", SASL_LOGIN},
    {"OAUTHBEARER", SASL_BEARER},
    {"XOAUTH2", SASL_XOAUTH2},
};

/* "Username:" and "Password:", as every client expects them */
#define ASK_USER STR("VXNlcm5hbWU6")
#define ASK_PASSWORD STR("UGFzc3dvcmQ6")
/* RFC 7628 3.2.2: {"status":"invalid_token"} */
#define BAD_TOKEN STR("eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=")

static bool offered(enum sasl_kind kind, const struct sasl_offer *offer)
{
    switch (kind) {
    case SASL_SCRAM_PLUS:
        return offer->scram && offer->plus;
    case SASL_SCRAM:
        return offer->scram;
    case SASL_BEARER:
    case SASL_XOAUTH2:
        return offer->oauth;
    default:
        return true;
    }
}

void sasl_mechanisms(const struct sasl_offer *offer, struct buf *out)
{
    bool first = true;
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
        if (!offered(mechanisms[i].kind, offer))
            continue;
        buf_printf(out, "%s%s", first ? "" : " ", mechanisms[i].name);
        first = false;
    }
}

enum sasl_kind sasl_kind(const struct sasl *s)
{
    return mechanisms[s->mechanism].kind;
}

const char *sasl_name(const struct sasl *s)
{
    return mechanisms[s->mechanism].name;
}

static void wipe(struct str s)
{
    if (s.n)
        explicit_bzero((void *)(uintptr_t)s.p, s.n); /* memory of our arena, not of a caller */
}

static enum sasl_step fail(struct sasl *s, struct err *err, const char *text)
{
    sasl_wipe(s);
    s->step = STEP_OVER;
    err_set(err, ERR_PROTO, ERR_WHY_OTHER, "%s", text);
    return SASL_ERROR;
}

static enum sasl_step ready(struct sasl *s)
{
    s->step = STEP_OVER;
    return SASL_READY;
}

int sasl_init(struct sasl *s, struct arena *a, struct str mechanism, const struct sasl_offer *offer,
              struct err *err)
{
    static const struct sasl_offer passwords;
    *s = (struct sasl){.arena = a, .step = STEP_OVER, .offer = offer ? *offer : passwords};
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++)
        if (str_ieq(mechanism, str_from(mechanisms[i].name)) &&
            offered(mechanisms[i].kind, &s->offer)) {
            s->mechanism = (int)i;
            s->step = STEP_BEGIN;
            return 0;
        }
    return ERR(err, ERR_PROTO, "the mechanism is not known");
}

void sasl_init_password(struct sasl *s, struct arena *a, struct str user, struct str password)
{
    struct err err;
    CHECK(sasl_init(s, a, STR("PLAIN"), NULL, &err) == 0);
    s->user = arena_str(a, user);
    s->password = arena_str(a, password);
    s->step = STEP_OVER;
}

static enum sasl_step say(struct sasl *s, struct str text, struct str *challenge_out)
{
    struct buf b;
    buf_init(&b, SASL_LINE_MAX);
    text_base64_encode(text, &b);
    CHECK(buf_ok(&b));
    *challenge_out = arena_str(s->arena, buf_str(&b));
    buf_fini(&b);
    return SASL_CHALLENGE;
}

/* Into the arena. The buffer gets its whole size at once: growing would leave copies of a password
 * behind. */
static int decode(struct sasl *s, struct str line, struct str *out)
{
    struct buf b;
    char *space;
    buf_init(&b, SASL_LINE_MAX);
    int r = buf_reserve(&b, line.n / 4 * 3 + 3, &space);
    if (r == 0)
        r = text_base64_decode(line, &b);
    if (r == 0)
        *out = arena_str(s->arena, buf_str(&b));
    if (b.p)
        explicit_bzero(b.p, b.cap);
    buf_fini(&b);
    return r;
}

/* RFC 4616 2: [authzid] NUL authcid NUL passwd */
static enum sasl_step take_plain(struct sasl *s, struct str message, struct err *err)
{
    struct str rest;
    if (!str_cut(message, 0, &s->authzid, &rest) || !str_cut(rest, 0, &s->user, &s->password) ||
        memchr(s->password.p, 0, s->password.n)) {
        wipe(message);
        return fail(s, err, "a PLAIN message has three parts");
    }
    if (s->user.n == 0 || !text_utf8_valid(message))
        return fail(s, err, "the user is empty, or the text is not UTF-8");
    return ready(s);
}

static enum sasl_step take_user(struct sasl *s, struct str text, struct str *challenge_out,
                                struct err *err)
{
    if (text.n == 0 || !text_utf8_valid(text) || memchr(text.p, 0, text.n))
        return fail(s, err, "the user is empty, or not UTF-8");
    s->user = text;
    s->step = STEP_PASSWORD;
    *challenge_out = ASK_PASSWORD;
    return SASL_CHALLENGE;
}

static enum sasl_step take_password(struct sasl *s, struct str text, struct err *err)
{
    s->password = text;
    if (!text_utf8_valid(text) || (text.n && memchr(text.p, 0, text.n)))
        return fail(s, err, "the password is not UTF-8");
    return ready(s);
}

/* RFC 5802 5 */
static enum sasl_step take_scram_first(struct sasl *s, struct str text, struct err *err)
{
    bool plus = sasl_kind(s) == SASL_SCRAM_PLUS;
    if (scram_first(&s->scram, s->arena, text, plus, s->offer.plus, &s->offer.channel, err) < 0) {
        s->step = STEP_OVER;
        return SASL_ERROR;
    }
    s->user = s->scram.user;
    s->authzid = s->scram.authzid;
    s->step = STEP_VERIFIER;
    return SASL_READY;
}

static enum sasl_step take_proof(struct sasl *s, struct str text, struct str *challenge_out,
                                 struct err *err)
{
    struct str last;
    if (scram_last(&s->scram, text, &s->proved, &last, err) < 0) {
        sasl_wipe(s);
        s->step = STEP_OVER;
        return SASL_ERROR;
    }
    s->proving = true;
    if (!s->proved)
        return ready(s);
    s->step = STEP_LAST;
    return say(s, last, challenge_out);
}

static enum sasl_step take_token(struct sasl *s, struct str text, struct err *err)
{
    struct sasl_oauth o;
    bool good = sasl_kind(s) == SASL_BEARER ? sasl_oauth_bearer(s->arena, text, &o)
                                            : sasl_oauth_google(text, &o);
    if (!good) {
        wipe(text);
        return fail(s, err, "this is not a message of that mechanism");
    }
    s->user = o.user.p ? o.user : STR("");
    s->password = o.token;
    return ready(s);
}

static enum sasl_step take_message(struct sasl *s, struct str text, struct err *err)
{
    switch (sasl_kind(s)) {
    case SASL_PLAIN:
        return take_plain(s, text, err);
    case SASL_SCRAM:
    case SASL_SCRAM_PLUS:
        return take_scram_first(s, text, err);
    default:
        return take_token(s, text, err);
    }
}

/* line: base64, or empty */
static enum sasl_step take(struct sasl *s, struct str line, struct str *challenge_out,
                           struct err *err)
{
    struct str text;
    if (line.n > SASL_LINE_MAX)
        return fail(s, err, "the line is too long");
    if (decode(s, line, &text) < 0)
        return fail(s, err, "the line is not base64");
    switch (s->step) {
    case STEP_MESSAGE:
        return take_message(s, text, err);
    case STEP_USER:
        return take_user(s, text, challenge_out, err);
    case STEP_PASSWORD:
        return take_password(s, text, err);
    case STEP_PROOF:
        return take_proof(s, text, challenge_out, err);
    case STEP_LAST: /* RFC 4954 4: an empty line is what answers the last challenge */
        return text.n == 0 ? ready(s) : fail(s, err, "the last answer is empty");
    case STEP_REFUSE: /* RFC 7628 3.2.3: whatever it is */
        s->step = STEP_OVER;
        return SASL_REFUSED;
    default:
        wipe(text);
        return fail(s, err, "the exchange is over");
    }
}

enum sasl_step sasl_begin(struct sasl *s, struct str initial, struct str *challenge_out,
                          struct err *err)
{
    *challenge_out = STR("");
    if (s->step != STEP_BEGIN)
        return fail(s, err, "the exchange has begun already");
    bool asks = sasl_kind(s) == SASL_LOGIN;
    s->step = asks ? STEP_USER : STEP_MESSAGE;
    if (initial.p == NULL || initial.n == 0) {
        if (asks)
            *challenge_out = ASK_USER;
        return SASL_CHALLENGE;
    }
    return take(s, str_eq(initial, STR("=")) ? STR("") : initial, challenge_out, err);
}

enum sasl_step sasl_feed(struct sasl *s, struct str line, struct str *challenge_out,
                         struct err *err)
{
    *challenge_out = STR("");
    if (s->step == STEP_BEGIN)
        return fail(s, err, "the exchange has not begun");
    if (s->step != STEP_OVER && str_eq(line, STR("*"))) {
        bool refused = s->step == STEP_REFUSE;
        sasl_wipe(s);
        s->step = STEP_OVER;
        return refused ? SASL_REFUSED : SASL_CANCELLED;
    }
    return take(s, line, challenge_out, err);
}

enum sasl_step sasl_verifier(struct sasl *s, const struct scram_verifier *v,
                             struct str *challenge_out)
{
    CHECK(s->step == STEP_VERIFIER);
    s->step = STEP_PROOF;
    return say(s, scram_challenge(&s->scram, v), challenge_out);
}

bool sasl_is_for_other(const struct sasl *s, struct str account)
{
    return s->authzid.n && !str_ieq(s->authzid, s->user) && !str_ieq(s->authzid, account);
}

enum sasl_step sasl_refuse(struct sasl *s, struct str *challenge_out)
{
    enum sasl_kind kind = sasl_kind(s);
    *challenge_out = STR("");
    s->step = STEP_OVER;
    if (kind != SASL_BEARER && kind != SASL_XOAUTH2)
        return SASL_REFUSED;
    s->step = STEP_REFUSE;
    *challenge_out = BAD_TOKEN;
    return SASL_CHALLENGE;
}

void sasl_wipe(struct sasl *s)
{
    wipe(s->password);
    s->password = STR_NULL;
    explicit_bzero(&s->scram.verifier, sizeof s->scram.verifier);
}
