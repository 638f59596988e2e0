/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* oauth.h - whose is this access token? A configured server says so (RFC 7662, introspection).
 * Floor 3 (directory). Threads: loop only.
 * A good token is remembered for a short time, never longer than it is good; what is remembered is
 * a digest of it. Bounded: questions at once by the http_client, tokens remembered by a constant.
 * No answer, or one that isn't understood, is "try again later", never "no". */
#ifndef PH_DIRECTORY_OAUTH_H
#define PH_DIRECTORY_OAUTH_H
#include "appliance/base/arena.h"
#include "appliance/base/settings.h"
#include "appliance/io/http_client.h"

struct oauth_conf { /* section "oauth" */
    const char *introspection, *client_id, *client_secret, *scope, *user_claim, *ca_file;
    uint64_t cache, timeout;
};
extern const struct ph_setting oauth_settings[];
/* The rules over several settings. Nothing is said of an empty section. */
int oauth_check(const struct oauth_conf *conf, struct err *err) __attribute__((warn_unused_result));

struct oauth;
/* conf and http live as long. */
struct oauth *oauth_new(const struct oauth_conf *conf, struct loop *l, struct http_client *http);
void oauth_free(struct oauth **o); /* what is asked is answered at once: failed */
struct oauth_answer {              /* views are valid during the callback */
    bool failed;                   /* err: ERR_TEMP */
    struct err err;
    bool active;     /* it is good */
    struct str user; /* as the server names him; active only */
};
typedef void (*oauth_fn)(void *ctx, const struct oauth_answer *a);
void oauth_ask(struct oauth *o, struct str token, oauth_fn on_answer, void *ctx);
size_t oauth_remembered(const struct oauth *o);

/* ---- Pure. */
/* The body of the question, and "Authorization: Basic ..." (.n 0: none). */
void oauth_question(const struct oauth_conf *conf, struct arena *m, struct str token,
                    struct str *body_out, struct str *header_out);
/* The answer at wall clock now (s); *until_out when the token ends, 0: not said. -1: it isn't one.
 */
int oauth_read(const struct oauth_conf *conf, struct arena *m, struct str json, int64_t now,
               bool *active_out, struct str *user_out, int64_t *until_out, struct err *err)
    __attribute__((warn_unused_result));
#endif
