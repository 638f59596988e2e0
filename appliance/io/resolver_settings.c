/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/io/resolver_private.h"
#include "appliance/io/resolver_rdata.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

enum { ANCHORS_MAX = 256 * 1024, DNS_PORT = 53 };

// clang-format off
const struct ph_setting resolver_settings[] = {
    PH_SETTING(TEXT, resolver_conf, forwarders, PH_RELOAD | PH_LIST, "", 0, 0,
        "Resolvers to ask, each as ADDRESS or ADDRESS@PORT; they must pass DNSSEC on. Empty: posthouse asks the name servers of the "
        "world itself, as most DNS lists demand it."),
    PH_SETTING(TEXT, resolver_conf, trust_anchor, PH_RELOAD, "/usr/share/dns/root.key", 0, 0,
        "File with the keys of the root (DS or DNSKEY records, one a line), by which answers are validated. "
        "Empty: nothing is, and so no DANE."),
    PH_SETTING(TEXT, resolver_conf, local_zones, PH_RELOAD | PH_LIST, "", 0, 0,
        "Zones to ask for though they don't exist in the world's DNS and are answered without asking otherwise, as "
        "\"test\", \"168.192.in-addr.arpa\"."),
    PH_SETTING(SIZE, resolver_conf, cache, PH_RELOAD, "16M", 256 * 1024, 16LL << 30,
        "Memory for answers."),
    PH_SETTING(TIME, resolver_conf, timeout, PH_RELOAD, "10s", 100, 300 * 1000,
        "How long a question may take; then it counts as failed for now."),
    PH_SETTING(INT, resolver_conf, queries, PH_RELOAD, "1000", 1, 100000,
        "Questions on their way at once; more wait."),
    PH_SETTING_END};
// clang-format on

/* ---- forwarders */

static int forwarder_parse(struct str word, struct resolver_forwarder *out, struct err *err)
{
    struct str address, port;
    char text[INET6_ADDRSTRLEN];
    unsigned char a[16];
    uint64_t number = DNS_PORT;
    bool has_port = str_cut(word, '@', &address, &port);

    if (has_port && (str_to_u64(port, 65535, &number) != 0 || number == 0))
        return ERR(err, ERR_PROTO, "dns.forwarders: \"" STR_FMT "\": the port is 1 to 65535",
                   STR_ARG(str_take(word, 80)));
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(address));
    bool fits = address.n < sizeof(text) && strlen(text) == address.n;
    if (fits && inet_pton(AF_INET, text, a) == 1)
        out->loopback = a[0] == 127;
    else if (fits && inet_pton(AF_INET6, text, a) == 1)
        out->v6 = true, out->loopback = IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)(void *)a);
    else
        return ERR(err, ERR_PROTO,
                   "dns.forwarders: \"" STR_FMT
                   "\" is no IP address; write ADDRESS or ADDRESS@PORT",
                   STR_ARG(str_take(word, 80)));
    snprintf(out->text, sizeof(out->text), "%s@%u", text, (unsigned)number);
    return 0;
}

int resolver_forwarders_parse(const char *text, int inet, struct resolver_forwarders *out,
                              struct err *err)
{
    struct str rest = str_from(text), word;

    *out = (struct resolver_forwarders){.n = 0};
    while (settings_list_next(&rest, &word)) {
        struct resolver_forwarder *f = &out->at[out->n];
        if (out->n == RESOLVER_FORWARDERS)
            return ERR(err, ERR_PROTO, "dns.forwarders: at most %d", RESOLVER_FORWARDERS);
        if (forwarder_parse(word, f, err) != 0)
            return -1;
        if (inet == (f->v6 ? 4 : 6))
            return ERR(err, ERR_PROTO, "dns.forwarders: %s can't be asked while main.inet is ipv%d",
                       f->text, inet);
        out->n++;
    }
    return 0;
}

int resolver_check(const struct resolver_conf *conf, struct err *err)
{
    struct resolver_forwarders forwarders;
    struct str rest = str_from(conf->local_zones), zone;
    char question[RESOLVER_QUESTION_SIZE];

    while (settings_list_next(&rest, &zone))
        if (!resolver_question(zone, question))
            return ERR(err, ERR_PROTO, "dns.local_zones: \"" STR_FMT "\" is no domain name",
                       STR_ARG(str_take(zone, 80)));
    return resolver_forwarders_parse(conf->forwarders, conf->inet, &forwarders, err);
}

/* ---- trust anchors */

static int file_read(const char *path, struct buf *out, struct err *err)
{
    FILE *f = fopen(path, "re");
    char piece[4096];
    size_t n;
    int rc = 0;

    if (!f)
        return ERR(err, ERR_PERM, "dns.trust_anchor: cannot open %s: %s%s", path, strerror(errno),
                   errno == ENOENT ? " (Debian's package dns-root-data has the root's keys)" : "");
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        buf_add(out, piece, n);
    if (ferror(f))
        rc = ERR(err, ERR_PERM, "dns.trust_anchor: cannot read %s", path);
    else if (!buf_ok(out))
        rc = ERR(err, ERR_PERM, "dns.trust_anchor: %s is too large for a file of keys", path);
    fclose(f);
    return rc;
}

static bool has_word(struct str line, const char *word)
{
    struct str head;

    while (line.n) {
        str_cut(line, ' ', &head, &line);
        if (str_ieq(head, str_from(word)))
            return true;
    }
    return false;
}

/* A record on one line; what libunbound would only say to its own log is said here. */
static bool is_anchor(struct str line)
{
    size_t at;
    bool odd = str_chr(line, '(', &at) || str_chr(line, '\0', &at);

    return !odd && (has_word(line, "DS") || has_word(line, "DNSKEY"));
}

int resolver_anchors_read(const char *path, int (*fn)(void *ctx, const char *record), void *ctx,
                          struct err *err)
{
    struct buf text;
    struct str rest, line, comment;
    int rc, n = 0;

    buf_init(&text, ANCHORS_MAX);
    rc = file_read(path, &text, err);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\t')
            text.p[i] = ' ';
    for (rest = buf_str(&text); rc == 0 && rest.n;) {
        str_cut(rest, '\n', &line, &rest);
        str_cut(line, ';', &line, &comment);
        line = str_trim(line);
        if (!line.n)
            continue;
        if (!is_anchor(line)) {
            rc = ERR(err, ERR_PERM,
                     "dns.trust_anchor: %s: not a DS or DNSKEY record on one line: \"" STR_FMT "\"",
                     path, STR_ARG(str_take(line, 60)));
            break;
        }
        char *record = str_dup_z(line);
        rc = fn(ctx, record);
        mem_free(record);
        n++;
    }
    if (rc == 0 && n == 0)
        rc = ERR(err, ERR_PERM, "dns.trust_anchor: %s holds no key", path);
    buf_fini(&text);
    return rc;
}
