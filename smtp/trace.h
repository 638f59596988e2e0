/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* trace.h - the header fields a server adds: Received, Return-Path, Delivered-To, missing Date and
 * Message-ID. Floor 5 (smtp). Threads: any (pure). */
#ifndef PH_SMTP_TRACE_H
#define PH_SMTP_TRACE_H
#include "appliance/base/buf.h"
#include "appliance/mail/date.h"

struct smtp_trace {
    struct str helo, ip, hostname; /* helo: made harmless (smtp_helo_parse) */
    struct str name; /* of the client in the DNS, when it leads back; empty: not known */
    struct str tls;  /* "TLSv1.3 ..."; empty: none */
    bool ip6, esmtp, auth, utf8;
    bool local; /* over an AF_UNIX socket, from this user */
    int64_t uid;
    uint64_t id;
    struct str rcpt; /* named only when it is the only one, else empty: others must not learn of it
                        (RFC 5321 7.2) */
    struct date now;
};
void smtp_trace_received(struct buf *out, const struct smtp_trace *t); /* RFC 5321 4.4 */
const char *smtp_trace_protocol(const struct smtp_trace *t); /* RFC 3848, 6531 4.3: "ESMTPSA" ... */
/* Return-Path and Delivered-To, and the capture's own fields for each captured recipient. routes:
 * NULL, or which way each would have gone. */
void smtp_trace_prefix(struct buf *out, struct str sender, struct str account,
                       const struct str *captured, const struct str *routes, size_t n);
/* What `head` lacks: From (RFC 5322 3.6; cron's mail has none) with the address `from` unless that
 * is empty, Date and Message-ID (RFC 6409 8.1, 8.2). */
void smtp_trace_missing(struct buf *out, struct str head, struct str from, uint64_t id,
                        struct str hostname, struct date now);
struct date smtp_trace_now(void); /* wall clock in the local zone */
#endif
