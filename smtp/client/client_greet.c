/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/client/client_private.h"

static void say_ehlo(struct smtp_client *c)
{
    client_say(c, "EHLO %s", c->hostname);
    client_await(c, CLIENT_EHLO, STAGE_EHLO);
}

void client_on_greeting(struct smtp_client *c)
{
    c->greeted = true;
    if (c->answer.code == 220)
        say_ehlo(c);
    else /* RFC 5321 3.1: 554, it doesn't want to serve us */
        client_end_by_reply(c, SMTP_FAULT_HOST, BYE_QUIT);
}

void client_handshake(struct smtp_client *c)
{
    client_await(c, CLIENT_HANDSHAKE, STAGE_HANDSHAKE);
    conn_start_tls_client(c->conn, c->tls, &c->demand);
}

/* RFC 3207 4.2: what was said before is worth nothing now. */
void client_on_tls(struct smtp_client *c)
{
    smtp_answer_reset(&c->answer);
    c->ehlo = (struct smtp_ehlo){0};
    c->peer = (struct smtp_peer){.trust = conn_tls_trust(c->conn)};
    conn_tls_text(c->conn, c->peer.tls, sizeof c->peer.tls);
    if (c->greeted)
        say_ehlo(c);
    else
        client_await(c, CLIENT_GREETING, STAGE_GREETING);
}

static void said_hello(struct smtp_client *c)
{
    bool tls = conn_has_tls(c->conn);
    c->peer.can = c->ehlo.can;
    c->peer.size = c->ehlo.size;
    c->peer.rcpt_max = c->ehlo.rcpt_max;
    c->peer.mail_max = c->ehlo.mail_max;
    if (tls || c->use == SMTP_TLS_OFF) {
        client_login(c);
    } else if (c->peer.can & SMTP_CAN_STARTTLS) {
        client_say(c, "STARTTLS");
        client_await(c, CLIENT_STARTTLS, STAGE_STARTTLS);
    } else if (c->use == SMTP_TLS_MAY) {
        client_login(c);
    } else {
        c->stage = STAGE_STARTTLS;
        client_end_for(c, SMTP_FAULT_TLS, "4.7.10", BYE_QUIT,
                       "doesn't offer STARTTLS, without which this mail must not be sent");
    }
}

void client_on_ehlo(struct smtp_client *c)
{
    unsigned code = c->answer.code;
    if (code / 100 == 2) {
        smtp_ehlo_parse(buf_str(&c->answer.text), &c->ehlo);
        said_hello(c);
    } else if (code / 100 == 5 && code != 521 && code != 554) {
        /* RFC 5321 3.2: a host that doesn't know EHLO. 521 and 554 say that no mail is taken. */
        client_say(c, "HELO %s", c->hostname);
        client_await(c, CLIENT_HELO, STAGE_EHLO);
    } else {
        client_end_by_reply(c, SMTP_FAULT_HOST, BYE_QUIT);
    }
}

void client_on_helo(struct smtp_client *c)
{
    if (c->answer.code / 100 == 2)
        said_hello(c);
    else
        client_end_by_reply(c, SMTP_FAULT_HOST, BYE_QUIT);
}

void client_on_starttls(struct smtp_client *c)
{
    if (c->answer.code == 220)
        client_handshake(c);
    else if (c->use == SMTP_TLS_MAY) /* RFC 3207 4: we may go on without */
        client_login(c);
    else
        client_end_by_reply(c, SMTP_FAULT_TLS, BYE_QUIT);
}

void client_ready(struct smtp_client *c)
{
    client_await(c, CLIENT_IDLE, STAGE_IDLE);
    c->counted = true;
    client_count_ready(c);
    log_info(&c->log, "connected", L_Z("host", c->host), L_Z("ip", c->ip),
             L_UINT("port", conn_peer(c->conn)->port), L_Z("tls", c->peer.tls),
             L_UINT("ms", loop_now_ms(c->loop) - c->began_ms));
    c->events.on_ready(c->ctx);
}
