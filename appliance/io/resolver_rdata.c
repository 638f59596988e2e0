/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/io/resolver_rdata.h"
#include <arpa/inet.h>
#include <stdio.h>

enum { WIRE_NAME_MAX = 255, LABEL_MAX = 63, TEXT_NAME_MAX = 4 * WIRE_NAME_MAX };

static bool is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* "\DDD" or the byte; returns how many characters. */
static size_t put_byte(char *out, unsigned char c, const char *also)
{
    if (is_plain(c) || (c && strchr(also, c))) {
        *out = (char)c;
        return 1;
    }
    out[0] = '\\';
    out[1] = (char)('0' + c / 100);
    out[2] = (char)('0' + c / 10 % 10);
    out[3] = (char)('0' + c % 10);
    return 4;
}

/* ---- from the wire */

/* A whole name, and nothing after it (RFC 1035 3.1). */
static int take_name(struct str in, struct arena *a, struct str *out)
{
    char text[TEXT_NAME_MAX];
    size_t n = 0, at = 0;

    if (in.n > WIRE_NAME_MAX)
        return -1;
    for (;;) {
        size_t len = at < in.n ? (unsigned char)in.p[at++] : LABEL_MAX + 1;
        if (len > LABEL_MAX || len > in.n - at)
            return -1;
        if (len == 0)
            break;
        if (n)
            text[n++] = '.';
        for (; len; len--)
            n += put_byte(text + n, (unsigned char)ascii_lower(in.p[at++]), "/*");
    }
    if (at != in.n)
        return -1;
    *out = arena_str(a, n ? str_of(text, n) : STR("."));
    return 0;
}

/* RFC 1035 3.3.14: one or more strings of up to 255 octets. */
static int take_strings(struct str in, struct arena *a, struct str *out)
{
    char *joined = arena_alloc(a, in.n + 1);
    size_t n = 0;

    if (in.n == 0)
        return -1;
    while (in.n) {
        size_t len = (unsigned char)in.p[0];
        in = str_skip(in, 1);
        if (len > in.n)
            return -1;
        if (len)
            memcpy(joined + n, in.p, len);
        n += len;
        in = str_skip(in, len);
    }
    *out = str_of(joined, n);
    return 0;
}

static int take_ip(int family, size_t size, struct str in, char *out, size_t cap)
{
    unsigned char address[16];

    if (in.n != size)
        return -1;
    memcpy(address, in.p, size);
    return inet_ntop(family, address, out, (socklen_t)cap) ? 0 : -1;
}

static int take_mx(struct str in, struct arena *a, struct resolver_record *out)
{
    if (in.n < 3)
        return -1;
    out->preference = (uint16_t)((unsigned char)in.p[0] << 8 | (unsigned char)in.p[1]);
    return take_name(str_skip(in, 2), a, &out->name);
}

/* RFC 6698 2.1 */
static int take_tlsa(struct str in, struct arena *a, struct resolver_record *out)
{
    if (in.n < 4)
        return -1;
    out->usage = (uint8_t)in.p[0];
    out->selector = (uint8_t)in.p[1];
    out->matching = (uint8_t)in.p[2];
    out->data = arena_str(a, str_skip(in, 3));
    return 0;
}

int resolver_rdata_parse(enum resolver_type type, struct str rdata, struct arena *a,
                         struct resolver_record *out)
{
    *out = (struct resolver_record){.name = STR_NULL};
    switch (type) {
    case RESOLVER_A:
        return take_ip(AF_INET, 4, rdata, out->ip, sizeof(out->ip));
    case RESOLVER_AAAA:
        return take_ip(AF_INET6, 16, rdata, out->ip, sizeof(out->ip));
    case RESOLVER_CNAME:
    case RESOLVER_PTR:
        return take_name(rdata, a, &out->name);
    case RESOLVER_MX:
        return take_mx(rdata, a, out);
    case RESOLVER_TXT:
        return take_strings(rdata, a, &out->data);
    case RESOLVER_TLSA:
        return take_tlsa(rdata, a, out);
    default:
        return -1;
    }
}

struct str resolver_name_tidy(const char *name, struct arena *a)
{
    struct str in = str_from(name);
    char *text;

    if (in.n > 1 && in.p[in.n - 1] == '.')
        in.n--;
    text = arena_dup(a, in.p, in.n);
    for (size_t i = 0; i < in.n; i++) {
        text[i] = ascii_lower(text[i]);
        if (!is_plain((unsigned char)text[i]) && !strchr("./*", text[i]))
            text[i] = '?';
    }
    return str_of(text, in.n);
}

/* ---- to be asked for */

bool resolver_question(struct str name, char out[RESOLVER_QUESTION_SIZE])
{
    size_t n = 0, label = 0;

    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n > RESOLVER_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)ascii_lower(name.p[i]);
        if (c < ' ' || c > '~' || c == '\\')
            return false;
        if (c == '.' ? label == 0 : label == LABEL_MAX)
            return false;
        label = c == '.' ? 0 : label + 1;
        n += put_byte(out + n, c, ".");
    }
    if (name.n && label == 0)
        return false;
    out[n++] = '.';
    out[n] = '\0';
    return true;
}

bool resolver_reverse_name(const char *ip, char *out, size_t cap)
{
    unsigned char a[16];
    size_t n = 0;

    if (inet_pton(AF_INET, ip, a) == 1)
        return (size_t)snprintf(out, cap, "%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]) < cap;
    if (inet_pton(AF_INET6, ip, a) != 1 || cap < 16 * 4 + sizeof("ip6.arpa"))
        return false;
    for (int i = 15; i >= 0; i--) { /* RFC 3596 2.5 */
        out[n++] = "0123456789abcdef"[a[i] & 15];
        out[n++] = '.';
        out[n++] = "0123456789abcdef"[a[i] >> 4];
        out[n++] = '.';
    }
    memcpy(out + n, "ip6.arpa", sizeof("ip6.arpa"));
    return true;
}
