/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* TLS with us as the client; the records are conn_tls.c's. */
#include "appliance/io/conn_private.h"
#include "appliance/io/tls_private.h"
#include <openssl/ssl.h>

void conn_start_tls_client(struct conn *c, struct tls_ctx *tls, const struct tls_demand *want)
{
    struct err err;
    if (!conn_live(c) || c->lingering)
        return;
    CHECK(tls->client && !c->connecting && !c->proxy);
    if (conn_tls_clear(c) != 0)
        return;
    conn_tls_attach(c, tls);
    SSL_set_connect_state(c->ssl);
    c->tls_peer = tls_peer_new(c->ssl, want, &err);
    if (!c->tls_peer) {
        conn_break_why(c, err.kind, err.why, "%s", err.text);
        return;
    }
    c->hello_due = true; /* later: the handler may still look at its line */
    conn_settle_later(c);
}

enum tls_trust conn_tls_trust(const struct conn *c)
{
    return c->tls == CONN_TLS_UP && c->tls_peer ? c->tls_peer->proved : TLS_TRUST_NONE;
}
