/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_macros.c - the macros that milters know from Sendmail, as far as they mean something here:
 * what is known of client, session and envelope beyond the commands. */
#include "appliance/base/mem.h"
#include "filters/milter_private.h"
#include <inttypes.h>
#include <stdio.h>

enum { PAIRS_MAX = 64, VALUE_MAX = 1100 };

static const char *const usual[MILTER_STAGES] = {
    [MILTER_AT_CONNECT] = "j _ v {daemon_name} {if_name} {client_addr} {client_name} {client_ptr} "
                          "{client_resolve}",
    [MILTER_AT_HELO] = "{tls_version} {cipher}",
    [MILTER_AT_MAIL] = "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} "
                       "{mail_mailer} {tls_version} {cipher}",
    [MILTER_AT_RCPT] = "i {rcpt_addr} {rcpt_host} {rcpt_mailer}",
    [MILTER_AT_DATA] = "i",
    [MILTER_AT_HEADERS_END] = "i",
    [MILTER_AT_BODY_END] = "i {auth_authen}",
};

static void put_text(const char *text, char *out)
{
    snprintf(out, VALUE_MAX, "%s", text);
}

/* A client without a name is shown by its address, as in Sendmail. */
static void client_name(const struct ph_view *v, char *out)
{
    if (v->client_name[0])
        put_text(v->client_name, out);
    else
        snprintf(out, VALUE_MAX, "[%s]", v->client_ip[0] ? v->client_ip : "localhost");
}

static void underscore(const struct ph_view *v, char *out)
{
    if (v->client_name[0])
        snprintf(out, VALUE_MAX, "%s [%s]", v->client_name, v->client_ip);
    else
        client_name(v, out);
}

static void host_of(const char *address, char *out)
{
    const char *at = strrchr(address, '@');

    put_text(at ? at + 1 : "", out);
}

/* "TLSv1.3 TLS_AES_256_GCM_SHA384" */
static void tls_part(const struct ph_view *v, bool second, char *out)
{
    size_t n = strcspn(v->tls, " ");

    if (second)
        put_text(v->tls[n] ? v->tls + n + 1 : "", out);
    else
        snprintf(out, VALUE_MAX, "%.*s", (int)n, v->tls);
}

static void put_id(const struct ph_view *v, char *out)
{
    if (v->message)
        snprintf(out, VALUE_MAX, "%" PRIu64, v->message);
}

/* Empty: it isn't known, and not sent. */
static void value_of(struct str name, const struct ph_view *v, char *out)
{
#define IS(z) str_eq(name, STR(z))
    out[0] = '\0';
    if (IS("j") || IS("{if_name}"))
        put_text(v->host, out);
    else if (IS("v"))
        put_text("posthouse " PH_VERSION, out);
    else if (IS("_"))
        underscore(v, out);
    else if (IS("i"))
        put_id(v, out);
    else if (IS("{daemon_name}"))
        put_text(v->port, out);
    else if (IS("{client_addr}"))
        put_text(v->client_ip, out);
    else if (IS("{client_name}"))
        client_name(v, out);
    else if (IS("{client_ptr}"))
        put_text(v->client_name[0] ? v->client_name : "unknown", out);
    else if (IS("{client_resolve}"))
        put_text(v->client_name[0] ? "OK" : "FAIL", out);
    else if (IS("{tls_version}"))
        tls_part(v, false, out);
    else if (IS("{cipher}"))
        tls_part(v, true, out);
    else if (IS("{auth_type}")) /* the mechanism isn't kept; a password it is in any case */
        put_text(v->auth_user[0] ? "PLAIN" : "", out);
    else if (IS("{auth_authen}"))
        put_text(v->auth_user, out);
    else if (IS("{mail_addr}"))
        put_text(v->mail_from, out);
    else if (IS("{mail_host}"))
        host_of(v->mail_from, out);
    else if (IS("{mail_mailer}") || IS("{rcpt_mailer}"))
        put_text("smtp", out);
    else if (IS("{rcpt_addr}"))
        put_text(v->rcpt, out);
    else if (IS("{rcpt_host}"))
        host_of(v->rcpt, out);
#undef IS
}

/* Milters that choose write names of several letters with or without braces; "j" has none. */
static struct str canonical(struct arena *a, struct str name)
{
    if (name.n <= 1 || name.p[0] == '{')
        return name;
    return arena_printf(a, "{" STR_FMT "}", STR_ARG(name));
}

void milter_macros(const struct milter_terms *terms, const struct ph_view *v,
                   enum milter_stage stage, enum milter_command of, struct buf *out)
{
    struct arena *a = arena_new(1024);
    struct str pairs[PAIRS_MAX], name;
    struct str rest = terms->macros[stage].p ? terms->macros[stage] : str_from(usual[stage]);
    char value[VALUE_MAX];
    size_t n = 0;
    bool more = rest.n > 0;

    while (more && n + 2 <= PAIRS_MAX) {
        more = str_cut(rest, ' ', &name, &rest);
        if (!name.n)
            continue;
        name = canonical(a, name);
        value_of(name, v, value);
        if (!value[0])
            continue;
        pairs[n++] = name;
        pairs[n++] = arena_str(a, str_from(value));
    }
    if (n)
        milter_put_macros(out, of, pairs, n);
    arena_free(&a);
}
