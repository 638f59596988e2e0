/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/address.h"
#include "appliance/base/text.h"
#include <arpa/inet.h>

/* RFC 5321 4.5.3.1: these are what everybody must take, and no limit is best. Return addresses with
 * the recipient's within them often have more than 64 octets before the '@'. */
enum { MAX_LOCAL = 254, MAX_DOMAIN = 255, MAX_PATH = 256 };

/* atext and '.', or UTF-8 (RFC 6531 3.3). Dots may stand anywhere: real mailboxes have "a..b" and
 * "a.". */
static bool is_local_char(char c)
{
    return (unsigned char)c >= 128 || (c > 32 && c < 127 && !strchr("()<>@,;:\\\"[]", c));
}

static bool is_dot_string(struct str s)
{
    if (s.n == 0 || s.p[0] == '.' || s.p[s.n - 1] == '.')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_local_char(s.p[i]) || (s.p[i] == '.' && s.p[i + 1] == '.'))
            return false;
    return true;
}

/* Takes a local part off *in and unquotes it into out. -1: malformed. */
static int local_take(struct str *in, struct buf *out)
{
    size_t i = 0;
    if (in->n == 0 || in->p[0] != '"') {
        while (i < in->n && is_local_char(in->p[i]))
            i++;
        buf_add(out, in->p, i);
        *in = str_skip(*in, i);
        return 0;
    }
    for (i = 1; i < in->n && in->p[i] != '"'; i++) {
        if (in->p[i] == '\\')
            i++;
        if (i >= in->n || (unsigned char)in->p[i] < 32 || in->p[i] == 127)
            return -1;
        buf_add_char(out, in->p[i]);
    }
    if (i >= in->n)
        return -1;
    *in = str_skip(*in, i + 1);
    return 0;
}

/* RFC 5321 4.1.3, with its brackets. */
static int literal_check(struct str lit)
{
    char text[64];
    unsigned char bin[16];
    struct str inside = str_take(str_skip(lit, 1), lit.n - 2);
    if (lit.n < 3 || inside.n >= sizeof text || lit.p[lit.n - 1] != ']')
        return -1;
    bool six = str_istarts(inside, STR("IPv6:"));
    struct str addr = six ? str_skip(inside, 5) : inside;
    memcpy(text, addr.p, addr.n);
    text[addr.n] = 0;
    if (strlen(text) != addr.n)
        return -1;
    return inet_pton(six ? AF_INET6 : AF_INET, text, bin) == 1 ? 0 : -1;
}

static int domain_take(struct str *in, char end, struct buf *out)
{
    size_t n = 0;
    if (in->n > 0 && in->p[0] == '[') {
        if (!str_chr(*in, ']', &n) || literal_check(str_take(*in, n + 1)) < 0)
            return -1;
        for (size_t i = 0; i <= n; i++)
            buf_add_char(out, ascii_lower(in->p[i]));
        *in = str_skip(*in, n + 1);
        return 0;
    }
    while (n < in->n && in->p[n] != end)
        n++;
    if (n == 0 || n > 4 * MAX_DOMAIN || !text_utf8_valid(str_take(*in, n)) ||
        text_domain(str_take(*in, n), out) < 0)
        return -1;
    *in = str_skip(*in, n);
    return 0;
}

/* RFC 5321 4.1.1.3, appendix C: source routes are accepted and ignored. */
static int route_skip(struct str *in)
{
    bool literal = false;
    for (size_t i = 0; i < in->n; i++) {
        char c = in->p[i];
        if (c == '[' || c == ']') {
            literal = c == '[';
        } else if (c == ':' && !literal) {
            *in = str_skip(*in, i + 1);
            return 0;
        } else if (c != '@' && c != ',' && c != ':' && (!is_local_char(c) || c == '"')) {
            return -1;
        }
    }
    return -1;
}

static int path_parts(struct arena *a, struct str *in, struct address_path *out, struct err *err)
{
    struct buf local, domain;
    buf_init(&local, MAX_LOCAL);
    buf_init(&domain, MAX_DOMAIN);
    int rc = 0;
    const char *bad = NULL;
    struct str written = STR_NULL;
    if (in->n > 0 && in->p[0] == '@' && route_skip(in) < 0)
        bad = "The source route is malformed";
    else if (local_take(in, &local) < 0 || !text_utf8_valid(buf_str(&local)) ||
             text_has_c1(buf_str(&local))) /* RFC 5198 2 */
        bad = "The local part is malformed";
    else if (!buf_ok(&local))
        bad = "The path is longer than 256 octets";
    else if (local.n == 0)
        bad = "The local part is empty";
    if (!bad && in->n > 0 && in->p[0] == '@') {
        *in = str_skip(*in, 1);
        written = *in;
        if (domain_take(in, '>', &domain) < 0)
            bad = "The domain is malformed";
        written.n -= in->n;
    } else if (!bad && !str_ieq(buf_str(&local), STR("postmaster"))) {
        bad = in->n > 0 && in->p[0] != '>' ? "A character is not allowed here"
                                           : "The domain is missing";
    }
    if (!bad && (in->n == 0 || in->p[0] != '>'))
        bad = "The '>' is missing";
    if (bad) {
        rc = ERR(err, ERR_PROTO, "%s", bad);
    } else {
        out->local = arena_str(a, buf_str(&local));
        out->domain = arena_str(a, buf_str(&domain));
        if (!text_ascii(written))
            out->unicode = arena_str(a, written);
        out->utf8 = out->unicode.n > 0 || !text_ascii(out->local);
    }
    buf_fini(&local);
    buf_fini(&domain);
    return rc;
}

int address_path_parse(struct arena *a, struct str in, struct address_path *out,
                       struct str *rest_out, struct err *err)
{
    *out = (struct address_path){.local = STR(""), .domain = STR(""), .unicode = STR("")};
    if (in.n == 0 || in.p[0] != '<')
        return ERR(err, ERR_PROTO, "The '<' is missing");
    struct str rest = str_skip(in, 1);
    if (rest.n > 0 && rest.p[0] == '>')
        out->null = true;
    else if (path_parts(a, &rest, out, err) < 0)
        return -1;
    rest = str_skip(rest, 1);
    if (in.n - rest.n > MAX_PATH && out->unicode.n == 0)
        return ERR(err, ERR_PROTO, "The path is longer than 256 octets");
    *rest_out = rest;
    return 0;
}

int address_path_format(const struct address_path *p, struct buf *out)
{
    if (is_dot_string(p->local)) {
        buf_add_str(out, p->local);
    } else if (p->local.n > 0) {
        buf_add_char(out, '"');
        for (size_t i = 0; i < p->local.n; i++) {
            if (p->local.p[i] == '"' || p->local.p[i] == '\\')
                buf_add_char(out, '\\');
            buf_add_char(out, p->local.p[i]);
        }
        buf_add_char(out, '"');
    }
    if (p->domain.n > 0) {
        buf_add_char(out, '@');
        buf_add_str(out, p->domain);
    }
    return buf_ok(out) ? 0 : -1;
}

static int fold_local(struct str written, struct buf *out)
{
    struct buf local;
    struct str rest = written;
    buf_init(&local, MAX_LOCAL);
    /* A local part may come quoted, or as it is, blanks and all (from address_path.local). */
    if (written.p[0] == '"') {
        if (local_take(&rest, &local) < 0)
            buf_clear(&local);
        else if (rest.n > 0)
            local.full = true;
    } else {
        buf_add_str(&local, written);
    }
    struct str s = buf_str(&local);
    int rc = buf_ok(&local) && s.n > 0 && text_utf8_valid(s) && !text_has_c1(s) ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < s.n; i++)
        if ((unsigned char)s.p[i] < 32 || s.p[i] == 127)
            rc = -1;
    if (rc == 0)
        text_fold(s, out);
    buf_fini(&local);
    return rc;
}

int address_fold(struct str in, struct buf *out, struct err *err)
{
    struct str local, domain;
    size_t before = out->n;
    address_split(in, &local, &domain);
    if (!domain.p || domain.n == 0)
        return ERR(err, ERR_PROTO, "The address has no domain");
    if (local.n > 0 && fold_local(local, out) < 0)
        return ERR(err, ERR_PROTO, "The local part of the address is malformed");
    buf_add_char(out, '@');
    bool good = domain_take(&domain, '>', out) == 0 && domain.n == 0;
    if (good && buf_ok(out))
        return 0;
    buf_truncate(out, before);
    return ERR(err, ERR_PROTO,
               good ? "The address is too long" : "The domain of the address is malformed");
}

void address_split(struct str addr, struct str *local_out, struct str *domain_out)
{
    size_t at;
    bool found = str_rchr(addr, '@', &at);
    *local_out = found ? str_take(addr, at) : addr;
    *domain_out = found ? str_skip(addr, at + 1) : STR_NULL;
}

bool address_fits(struct str address, struct str which)
{
    if (which.n && which.p[0] == '@')
        return which.n == 1 || (address.n > which.n && str_ends(address, which));
    return str_eq(address, which);
}

bool address_untag(struct str local, char delimiter, struct str *base_out)
{
    size_t at;
    if (local.n == 0 || !str_chr(str_skip(local, 1), delimiter, &at))
        return false;
    *base_out = str_take(local, at + 1);
    return true;
}
