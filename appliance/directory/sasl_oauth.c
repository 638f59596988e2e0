/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/sasl_oauth.h"

#include "appliance/base/text.h"

enum { KV_SEPARATOR = 1 };

/* RFC 6750 2.1: b64token. */
static bool is_token(struct str s)
{
    size_t n = s.n;
    while (n && s.p[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++) {
        char c = ascii_lower(s.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (c == 0 || !strchr("-._~+/", c)))
            return false;
    }
    return n > 0;
}

static bool read_auth(struct str value, struct str *token)
{
    if (!str_istarts(value, STR("Bearer ")))
        return false;
    *token = str_trim(str_skip(value, 7));
    return is_token(*token);
}

/* Pairs up to the empty one at the end: auth, and user where it may be. */
static bool read_pairs(struct str rest, bool has_user, struct sasl_oauth *out)
{
    struct str one, name, value;
    while (rest.n) {
        if (!str_cut(rest, KV_SEPARATOR, &one, &rest))
            return false;
        if (one.n == 0)
            break;
        if (!str_cut(one, '=', &name, &value))
            return false;
        if (str_eq(name, STR("auth")) && (out->token.p || !read_auth(value, &out->token)))
            return false;
        if (has_user && str_eq(name, STR("user")))
            out->user = value;
    }
    return rest.n == 0 && out->token.p;
}

static bool is_name(struct str s)
{
    return text_utf8_valid(s) && !(s.n && memchr(s.p, 0, s.n));
}

bool sasl_oauth_google(struct str message, struct sasl_oauth *out)
{
    *out = (struct sasl_oauth){{NULL, 0}, {NULL, 0}};
    return read_pairs(message, true, out) && out->user.n && is_name(out->user);
}

/* saslname of RFC 5801 4 */
static bool unescape(struct arena *a, struct str in, struct str *out)
{
    char *p = arena_alloc(a, in.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        struct str three = str_take(str_skip(in, i), 3);
        if (in.p[i] != '=') {
            p[n++] = in.p[i];
            continue;
        }
        if (!str_eq(three, STR("=2C")) && !str_eq(three, STR("=3D")))
            return false;
        p[n++] = three.p[1] == '2' ? ',' : '=';
        i += 2;
    }
    *out = str_of(p, n);
    return true;
}

/* RFC 7628 3.1: gs2-header kvsep *kvpair kvsep. Channel binding isn't possible with it. */
bool sasl_oauth_bearer(struct arena *a, struct str message, struct sasl_oauth *out)
{
    struct str header, flag, identity, rest;
    *out = (struct sasl_oauth){{NULL, 0}, {NULL, 0}};
    if (!str_cut(message, KV_SEPARATOR, &header, &rest) || !str_cut(header, ',', &flag, &header) ||
        !str_cut(header, ',', &identity, &header) || header.n)
        return false;
    if (!str_eq(flag, STR("n")) && !str_eq(flag, STR("y")))
        return false;
    if (identity.n &&
        (!str_starts(identity, STR("a=")) || !unescape(a, str_skip(identity, 2), &out->user)))
        return false;
    return is_name(out->user) && read_pairs(rest, false, out);
}
