/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/trace.h"
#include "appliance/base/clock.h"
#include "appliance/base/rand.h"
#include "appliance/mail/delivered.h"
#include "appliance/mail/header.h"
#include <inttypes.h>
#include <time.h>

const char *smtp_trace_protocol(const struct smtp_trace *t)
{
    static const char *const utf8[] = {"UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"};
    static const char *const plain[] = {"ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA"};
    if (!t->esmtp)
        return "SMTP";
    return (t->utf8 ? utf8 : plain)[(t->tls.n ? 2 : 0) + (t->auth ? 1 : 0)];
}

void smtp_trace_received(struct buf *out, const struct smtp_trace *t)
{
    buf_add_z(out, "Received: from ");
    buf_add_str(out, t->helo);
    if (t->ip.n) {
        buf_add_z(out, " (");
        buf_add_str(out, t->name);
        buf_add_z(out, t->name.n ? " " : "");
        buf_add_z(out, t->ip6 ? "[IPv6:" : "["); /* RFC 5321 4.1.3 */
        buf_add_str(out, t->ip);
        buf_add_z(out, "])");
    }
    if (t->local)
        buf_printf(out, " (local user %" PRId64 ")", t->uid);
    buf_add_z(out, "\r\n\tby ");
    buf_add_str(out, t->hostname);
    buf_add_z(out, " with ");
    buf_add_z(out, smtp_trace_protocol(t));
    if (t->tls.n) {
        buf_add_z(out, " (");
        buf_add_str(out, t->tls);
        buf_add_z(out, ")");
    }
    buf_add_z(out, "\r\n\tid ");
    buf_add_u64(out, t->id);
    if (t->rcpt.n) {
        buf_add_z(out, "\r\n\tfor <");
        buf_add_str(out, t->rcpt);
        buf_add_z(out, ">");
    }
    buf_add_z(out, ";\r\n\t");
    date_format(t->now, out);
    buf_add_z(out, "\r\n");
}

static void add_field(struct buf *out, const char *name, struct str value)
{
    buf_add_z(out, name);
    buf_add_z(out, ": ");
    buf_add_str(out, value);
    buf_add_z(out, "\r\n");
}

void smtp_trace_prefix(struct buf *out, struct str sender, struct str account,
                       const struct str *captured, const struct str *routes, size_t n)
{
    delivered_prefix(out, sender, account);
    for (size_t i = 0; i < n; i++) {
        add_field(out, "X-Posthouse-Captured-For", captured[i]);
        if (routes)
            add_field(out, "X-Posthouse-Route", routes[i]);
    }
}

void smtp_trace_missing(struct buf *out, struct str head, struct str from, uint64_t id,
                        struct str hostname, struct date now)
{
    struct header_field f;
    if (from.n && !header_find(head, STR("From"), 0, &f))
        add_field(out, "From", from);
    if (!header_find(head, STR("Date"), 0, &f)) {
        buf_add_z(out, "Date: ");
        date_format(now, out);
        buf_add_z(out, "\r\n");
    }
    if (!header_find(head, STR("Message-ID"), 0, &f)) {
        char salt[14];
        rand_text(salt, sizeof salt - 1);
        buf_printf(out, "Message-ID: <%" PRIu64 ".%s@" STR_FMT ">\r\n", id, salt,
                   STR_ARG(hostname));
    }
}

struct date smtp_trace_now(void)
{
    struct tm tm;
    time_t at = (time_t)(clock_wall_ms() / 1000);
    localtime_r(&at, &tm);
    return (struct date){.at = at, .zone = (int)(tm.tm_gmtoff / 60)};
}
