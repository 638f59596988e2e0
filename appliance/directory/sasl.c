/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/sasl.h"

#include "appliance/base/text.h"

enum { MECHANISM_PLAIN, MECHANISM_LOGIN };
enum { STEP_BEGIN, STEP_MESSAGE, STEP_USER, STEP_PASSWORD, STEP_OVER };

/* "Username:" and "Password:", as every client expects them */
#define ASK_USER STR("VXNlcm5hbWU6")
#define ASK_PASSWORD STR("UGFzc3dvcmQ6")

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

int sasl_init(struct sasl *s, struct arena *a, struct str mechanism, struct err *err)
{
    *s = (struct sasl){.arena = a, .step = STEP_BEGIN};
    if (str_ieq(mechanism, STR("PLAIN")))
        s->mechanism = MECHANISM_PLAIN;
    else if (str_ieq(mechanism, STR("LOGIN")))
        s->mechanism = MECHANISM_LOGIN;
    else
        return ERR(err, ERR_PROTO, "the mechanism is not known; there are " SASL_MECHANISMS);
    return 0;
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
    /* Acting for others isn't offered. */
    if (s->authzid.n && !str_ieq(s->authzid, s->user))
        return fail(s, err, "the authorization identity is another than the user");
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
        return take_plain(s, text, err);
    case STEP_USER:
        return take_user(s, text, challenge_out, err);
    case STEP_PASSWORD:
        return take_password(s, text, err);
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
    s->step = s->mechanism == MECHANISM_PLAIN ? STEP_MESSAGE : STEP_USER;
    if (initial.p == NULL || initial.n == 0) {
        if (s->mechanism == MECHANISM_LOGIN)
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
        sasl_wipe(s);
        s->step = STEP_OVER;
        return SASL_CANCELLED;
    }
    return take(s, line, challenge_out, err);
}

void sasl_wipe(struct sasl *s)
{
    wipe(s->password);
    s->password = STR_NULL;
}
