/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/text.h"
#include "smtp/client/client_private.h"
#include <stdio.h>

enum { ADDRESS_MAX = 1000 }; /* octets; a host's own limit is its to tell */

static bool is_clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return s.n <= ADDRESS_MAX;
}

/* Nothing in it ends the path before its '>' (RFC 5321 4.1.2: but in a quoted string). */
static bool is_path(struct str s)
{
    bool quoted = false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            quoted = !quoted;
        else if (s.p[i] == '\\' && quoted)
            i++;
        else if (!quoted && strchr(" <>", s.p[i]))
            return false;
    }
    return !quoted && is_clean(s);
}

#define REFUSE(status, ...) (client_fault(f, SMTP_FAULT_PERM, status, "MAIL", __VA_ARGS__), false)

static bool check_mail(const struct smtp_client *c, const struct smtp_client_mail *m,
                       struct smtp_fault *f)
{
    unsigned can = c->peer.can;
    uint64_t size = m->text.n + m->fd_size;
    /* RFC 8689 4.2.1: the host's certificate must have been proved too. */
    if (m->requiretls && (!(can & SMTP_CAN_REQUIRETLS) || c->peer.trust == TLS_TRUST_NONE))
        return REFUSE("5.7.30", "REQUIRETLS is asked for, and the host %s",
                      can & SMTP_CAN_REQUIRETLS ? "has no certificate that proves who it is"
                                                : "doesn't support it");
    if (c->peer.size && size > c->peer.size)
        return REFUSE("5.3.4", "the message has %llu octets, the host takes at most %llu",
                      (unsigned long long)size, (unsigned long long)c->peer.size);
    if (!is_path(m->sender))
        return REFUSE("5.1.7", "the sender's address can't be sent");
    if ((m->utf8 || !text_ascii(m->sender)) && !(can & SMTP_CAN_SMTPUTF8))
        return REFUSE("5.6.7", "the message needs SMTPUTF8, which the host doesn't support");
    if (m->eight_bit && !(can & (SMTP_CAN_8BITMIME | SMTP_CAN_CHUNKING)))
        return REFUSE("5.6.3", "the message has 8-bit octets, which the host doesn't take");
    return true;
}

#undef REFUSE
#define REFUSE(kind, status, ...) (client_fault(f, kind, status, "RCPT", __VA_ARGS__), false)

static bool check_rcpt(const struct smtp_client *c, const struct client_transaction *t,
                       const struct smtp_client_rcpt *r, struct smtp_fault *f)
{
    if (r->address.n == 0 || !is_path(r->address) || !is_clean(r->orcpt))
        return REFUSE(SMTP_FAULT_PERM, "5.1.3", "the address can't be sent");
    if (!text_ascii(r->address) && !(c->peer.can & SMTP_CAN_SMTPUTF8))
        return REFUSE(SMTP_FAULT_PERM, "5.6.7",
                      "the address needs SMTPUTF8, which the host doesn't support");
    if (c->peer.rcpt_max && t->n >= c->peer.rcpt_max) /* RFC 9422 4.2 */
        return REFUSE(SMTP_FAULT_TEMP, "4.5.3", "the host takes %u recipients at once",
                      c->peer.rcpt_max);
    return true;
}

void client_check(const struct smtp_client *c, struct client_transaction *t)
{
    struct smtp_client_mail *m = t->mail;
    struct smtp_fault fault;
    bool good = check_mail(c, m, &fault);
    t->utf8 = m->utf8 || !text_ascii(m->sender);
    for (size_t i = 0; i < m->n_rcpts; i++) {
        struct smtp_client_rcpt *r = &m->rcpts[i];
        r->fault = (struct smtp_fault){.kind = SMTP_FAULT_NONE};
        if (!good) {
            r->fault = fault;
            t->rcpt[i] = RCPT_DECIDED;
        } else if (!check_rcpt(c, t, r, &r->fault)) {
            t->rcpt[i] = RCPT_DECIDED;
        } else {
            t->utf8 = t->utf8 || !text_ascii(r->address);
            t->order[t->n++] = i;
        }
    }
}
