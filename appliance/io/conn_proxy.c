/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A connection that begins with a PROXY header: nothing is told to its handler before. */
#include "appliance/io/conn_private.h"
#include "appliance/io/proxy.h"
#include "appliance/io/tls.h"

void conn_expect_proxy(struct conn *c, struct tls_ctx *tls)
{
    c->proxy = c->peer.proxied = true;
    if (tls)
        c->after_proxy = tls_ctx_ref(tls);
    c->deadline_ms = loop_now_ms(c->loop) + CONN_PROXY_MS;
    conn_rearm(c);
}

static void set_client(struct conn *c, const struct proxy_client *client)
{
    if (!client->known) /* a health check of the proxy's own */
        return;
    memcpy(c->peer.ip, client->ip, sizeof c->peer.ip);
    c->peer.port = client->port;
    c->peer.v6 = client->v6;
}

/* What came behind the header is the client's: for the handshake it lies in raw, else in `in`. */
static void go_on(struct conn *c)
{
    c->proxy = c->peer.proxied = false;
    c->deadline_ms = 0;
    conn_rearm(c);
    if (c->after_proxy) {
        conn_tls_begin(c, c->after_proxy);
        tls_ctx_unref(&c->after_proxy);
        if (queue_n(&c->raw) > 0)
            conn_tls_pump(c, STR_NULL);
        return;
    }
    struct str rest = queue_str(&c->raw);
    if (rest.n > 0) {
        CHECK(queue_add(&c->in, rest.p, rest.n) == 0);
        c->retell = true; /* after CONN_OPEN */
    }
    queue_free(&c->raw);
    conn_settle_later(c);
}

void conn_proxy_input(struct conn *c, struct str in)
{
    struct proxy_client client;
    struct err err;
    size_t used;

    /* At most what one read brings, behind less than a whole header. */
    CHECK(queue_add(&c->raw, in.p, in.n) == 0);
    switch (proxy_parse(queue_str(&c->raw), &client, &used, &err)) {
    case PROXY_MORE:
        return;
    case PROXY_BAD:
        conn_break(c, ERR_PROTO, "%s", err.text);
        return;
    case PROXY_OK:
        queue_take(&c->raw, used);
        set_client(c, &client);
        go_on(c);
    }
}
