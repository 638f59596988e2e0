/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/aggregate/mail.h"
#include "appliance/base/text.h"
#include "appliance/mail/date.h"
#include <stdio.h>

enum { DAY_S = 86400, BASE64_LINE = 76 };

static const struct kind {
    const char *type, *part, *extension, *words;
} kinds[] = {[AGGREGATE_DMARC] =
                 {"multipart/mixed;", "application/gzip", "xml.gz",
                  "This is an aggregate report of DMARC (RFC 9990): what came of mail in the\r\n"
                  "name of your domain that day."},
             [AGGREGATE_TLS] = {
                 "multipart/report; report-type=\"tlsrpt\";", "application/tlsrpt+gzip", "json.gz",
                 "This is an aggregate report of TLS (RFC 8460): how mail was sent to your\r\n"
                 "domain that day."}};

/* RFC 8460 5.3 wants a msg-id; in file names, and RFC 9990, it is letters and digits. */
void aggregate_report_id(enum aggregate_kind kind, uint64_t id, struct str submitter,
                         struct buf *out)
{
    buf_add_u64(out, id);
    if (kind == AGGREGATE_TLS)
        buf_printf(out, "@" STR_FMT, STR_ARG(submitter));
}

static void subject(const struct aggregate_mail *m, struct buf *out)
{
    buf_printf(out,
               "Subject: Report Domain: " STR_FMT "\r\n Submitter: " STR_FMT "\r\n Report-ID: <",
               STR_ARG(m->domain), STR_ARG(m->submitter));
    aggregate_report_id(m->kind, m->id, m->submitter, out);
    buf_add_z(out, ">\r\n");
}

static void head(const struct aggregate_mail *m, struct buf *out)
{
    buf_printf(out, "From: <" STR_FMT ">\r\nTo: ", STR_ARG(m->from));
    for (size_t i = 0; i < m->n_to; i++)
        buf_printf(out, "%s<" STR_FMT ">", i ? ",\r\n " : "", STR_ARG(m->to[i]));
    buf_add_z(out, "\r\n");
    subject(m, out);
    buf_add_z(out, "Date: ");
    date_format((struct date){.at = m->now_ms / 1000}, out);
    buf_printf(out, "\r\nMessage-ID: <%llu.report@" STR_FMT ">\r\n", (unsigned long long)m->id,
               STR_ARG(m->submitter));
    if (m->kind == AGGREGATE_TLS) /* the last one: RFC 8689 5, for whoever passes it on */
        buf_printf(out,
                   "TLS-Report-Domain: " STR_FMT "\r\nTLS-Report-Submitter: " STR_FMT
                   "\r\nTLS-Required: No\r\n",
                   STR_ARG(m->domain), STR_ARG(m->submitter));
    buf_printf(out,
               "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: %s\r\n"
               " boundary=\"=_report_%llu\"\r\n\r\n",
               kinds[m->kind].type, (unsigned long long)m->id);
}

static void boundary(const struct aggregate_mail *m, const char *end, struct buf *out)
{
    buf_printf(out, "--=_report_%llu%s\r\n", (unsigned long long)m->id, end);
}

static void file_name(const struct aggregate_mail *m, struct buf *out)
{
    buf_printf(out, STR_FMT "!" STR_FMT "!%lld!%lld!%llu.%s", STR_ARG(m->submitter),
               STR_ARG(m->domain), (long long)(m->day * DAY_S),
               (long long)(m->day * DAY_S + DAY_S - 1), (unsigned long long)m->id,
               kinds[m->kind].extension);
}

static void base64(struct str in, struct buf *out)
{
    struct buf line;

    buf_init(&line, in.n * 2 + 8);
    text_base64_encode(in, &line);
    for (struct str rest = buf_str(&line); rest.n; rest = str_skip(rest, BASE64_LINE)) {
        buf_add_str(out, str_take(rest, BASE64_LINE));
        buf_add_z(out, "\r\n");
    }
    buf_fini(&line);
}

void aggregate_mail_write(const struct aggregate_mail *m, struct buf *out)
{
    head(m, out);
    boundary(m, "", out);
    buf_printf(out,
               "Content-Type: text/plain; charset=us-ascii\r\n\r\n%s\r\n\r\n"
               "Domain: " STR_FMT "\r\nReporter: " STR_FMT "\r\nFrom: ",
               kinds[m->kind].words, STR_ARG(m->domain), STR_ARG(m->submitter));
    date_format((struct date){.at = m->day * DAY_S}, out);
    buf_add_z(out, "\r\nTo: ");
    date_format((struct date){.at = m->day * DAY_S + DAY_S - 1}, out);
    buf_add_z(out, "\r\n\r\n");
    boundary(m, "", out);
    buf_printf(out, "Content-Type: %s;\r\n name=\"", kinds[m->kind].part);
    file_name(m, out);
    buf_add_z(out, "\"\r\nContent-Transfer-Encoding: base64\r\n"
                   "Content-Disposition: attachment;\r\n filename=\"");
    file_name(m, out);
    buf_add_z(out, "\"\r\n\r\n");
    base64(m->file, out);
    boundary(m, "--", out);
}
