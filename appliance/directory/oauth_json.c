/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* oauth_json.c - the question and the answer. RFC 7662 2, RFC 6749 2.3.1. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/directory/oauth.h"
#include <jansson.h>

enum { FORM_MAX = 64 << 10 };

/* application/x-www-form-urlencoded */
static void add_escaped(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c)))
            buf_add_char(b, s.p[i]);
        else
            buf_printf(b, "%%%02X", (unsigned char)s.p[i]);
    }
}

static struct str take(struct arena *m, struct buf *b)
{
    struct str out = arena_str(m, buf_str(b));
    if (b->p)
        explicit_bzero(b->p, b->cap);
    buf_fini(b);
    return out;
}

void oauth_question(const struct oauth_conf *conf, struct arena *m, struct str token,
                    struct str *body_out, struct str *header_out)
{
    struct buf b, plain;
    buf_init(&b, FORM_MAX);
    buf_add_z(&b, "token_type_hint=access_token&token=");
    add_escaped(&b, token);
    *body_out = take(m, &b);
    *header_out = STR("");
    if (!conf->client_id[0])
        return;
    buf_init(&plain, FORM_MAX);
    add_escaped(&plain, str_from(conf->client_id));
    buf_add_char(&plain, ':');
    add_escaped(&plain, str_from(conf->client_secret));
    struct str pair = take(m, &plain);
    buf_init(&b, FORM_MAX);
    buf_add_z(&b, "Authorization: Basic ");
    text_base64_encode(pair, &b);
    *header_out = take(m, &b);
}

static bool has_word(const char *words, struct str want)
{
    struct str rest = str_from(words), one;
    while (rest.n) {
        str_cut(rest, ' ', &one, &rest);
        if (str_eq(one, want))
            return true;
    }
    return false;
}

/* All that are asked for. */
static bool in_scope(const struct oauth_conf *conf, const json_t *o)
{
    const char *scope = json_string_value(json_object_get(o, "scope"));
    struct str rest = str_from(conf->scope), want;
    while (settings_list_next(&rest, &want))
        if (!has_word(scope, want))
            return false;
    return true;
}

static int read_object(const struct oauth_conf *conf, struct arena *m, const json_t *o, int64_t now,
                       bool *active_out, struct str *user_out, int64_t *until_out, struct err *err)
{
    const json_t *active = json_object_get(o, "active"), *exp = json_object_get(o, "exp"),
                 *nbf = json_object_get(o, "nbf"), *user = json_object_get(o, conf->user_claim);
    if (!json_is_boolean(active))
        return ERR(err, ERR_TEMP, "the answer says nothing about the token");
    if (json_is_number(exp))
        *until_out = (int64_t)json_number_value(exp);
    if (!json_is_true(active) || !in_scope(conf, o) || (*until_out && *until_out <= now) ||
        (json_is_number(nbf) && json_number_value(nbf) > (double)now))
        return 0;
    if (!json_is_string(user) || json_string_length(user) == 0)
        return ERR(err, ERR_TEMP, "the answer has no claim \"%s\", which names the user",
                   conf->user_claim);
    *user_out = arena_str(m, str_of(json_string_value(user), json_string_length(user)));
    *active_out = true;
    return 0;
}

int oauth_read(const struct oauth_conf *conf, struct arena *m, struct str json, int64_t now,
               bool *active_out, struct str *user_out, int64_t *until_out, struct err *err)
{
    *active_out = false;
    *user_out = STR_NULL;
    *until_out = 0;
    json_t *o = json_loadb(json.p ? json.p : "", json.n, JSON_REJECT_DUPLICATES, NULL);
    int r = json_is_object(o) ? read_object(conf, m, o, now, active_out, user_out, until_out, err)
                              : ERR(err, ERR_TEMP, "the answer is not a JSON object");
    json_decref(o);
    return r;
}
