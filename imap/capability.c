/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What is announced is what works. An extension is added here in the change that completes it. */
#include "appliance/directory/sasl.h"
#include "imap/session.h"

static const char *const always[] = {
    "IMAP4rev1",   /* RFC 3501 */
    "LITERAL+",    /* RFC 7888 */
    "SASL-IR",     /* RFC 4959 */
    "ID",          /* RFC 2971 */
    "ENABLE",      /* RFC 5161 */
    "IDLE",        /* RFC 2177 */
    "NAMESPACE",   /* RFC 2342 */
    "CHILDREN",    /* RFC 3348 */
    "UNSELECT",    /* RFC 3691 */
    "UIDPLUS",     /* RFC 4315 */
    "MOVE",        /* RFC 6851 */
    "SPECIAL-USE", /* RFC 6154 */
    "QUOTA",       /* RFC 9208 */
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
};

static void put_mechanisms(struct buf *b, const struct imap_session *s)
{
    struct sasl_offer offer;
    struct str rest, one;
    struct buf words;
    directory_offer(s->server->conf.directory, &s->port->logins, s->conn, NULL, &offer);
    buf_init(&words, 200);
    sasl_mechanisms(&offer, &words);
    rest = buf_str(&words);
    while (rest.n) {
        str_cut(rest, ' ', &one, &rest);
        buf_printf(b, " AUTH=" STR_FMT, STR_ARG(one));
    }
    buf_fini(&words);
}

void imap_put_capabilities(struct buf *b, const struct imap_session *s)
{
    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        buf_printf(b, "%s%s", i ? " " : "", always[i]);
    if (s->state != IMAP_PREAUTH)
        return;
    if (s->server->conf.tls && !s->port->no_starttls && !conn_has_tls(s->conn))
        buf_add_z(b, " STARTTLS");
    if (imap_session_secure(s))
        put_mechanisms(b, s);
    else
        buf_add_z(b, " LOGINDISABLED"); /* RFC 3501 6.2.3 */
}
