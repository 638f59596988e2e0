/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sasl_oauth.h - the messages of OAUTHBEARER (RFC 7628) and XOAUTH2.
 * Floor 3 (directory, private). Threads: any (pure). */
#ifndef PH_DIRECTORY_SASL_OAUTH_H
#define PH_DIRECTORY_SASL_OAUTH_H
#include "appliance/base/arena.h"

/* user: .n 0 where OAUTHBEARER names none (the token does). Views into message, or the arena. */
struct sasl_oauth {
    struct str user, token;
};
bool sasl_oauth_bearer(struct arena *a, struct str message, struct sasl_oauth *out);
bool sasl_oauth_google(struct str message, struct sasl_oauth *out); /* XOAUTH2 */
#endif
