/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* address.h - mail addresses: SMTP paths (RFC 5321 4.1.2) and address lists of headers (RFC
 * 5322 3.4). Floor 1 (mail). Threads: any (pure). */
#ifndef PH_MAIL_ADDRESS_H
#define PH_MAIL_ADDRESS_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

/* One SMTP path. `<>`, `<a@b>`, `<"q s"@b>`, `<a@[192.0.2.1]>`, `<@relay:a@b>` (source route
 * dropped), `<postmaster>`. Limits of RFC 5321 4.5.3.1, domain 255, path 256 octets; a local part
 * may be longer than its 64. */
struct address_path {
    struct str local;   /* unquoted, its case kept; empty for <> */
    struct str domain;  /* lower-case A-labels, or "[...]" literal; empty for <> and <postmaster> */
    struct str unicode; /* the domain as it was written, when it was not ASCII; else empty */
    bool null;          /* <> */
    bool utf8;          /* non-ASCII in local part or domain: needs SMTPUTF8 */
};
/* Parses a path at the start of `in`, angle brackets required; *rest_out is what follows '>'.
 * Memory from `a`. -1 with ERR_PROTO and a sentence: why. */
int address_path_parse(struct arena *a, struct str in, struct address_path *out,
                       struct str *rest_out, struct err *err) __attribute__((warn_unused_result));
/* "local@domain" with the local part quoted again where needed. */
int address_path_format(const struct address_path *p, struct buf *out);
/* The key under which the directory knows an address: local part case-folded (ASCII lower; UTF-8 by
 * simple folding), domain as A-labels. In: "local@domain" without brackets; "@domain" is a
 * catch-all. -1: not an address. */
int address_fold(struct str in, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));
void address_split(struct str addr, struct str *local_out,
                   struct str *domain_out); /* at the last '@' */
/* Is it that one, or (which: "@domain") one of that domain? Both folded. "@": all are. */
bool address_fits(struct str address, struct str which);
/* "user+tag" -> "user"; false when there is no tag. A leading delimiter is no tag. */
bool address_untag(struct str local, char delimiter, struct str *base_out);

/* An address list in a header, as ENVELOPE shows it (RFC 3501 7.4.2): groups are start (host NULL,
 * mailbox = name) and end (all NULL) markers. .p == NULL is NIL. Lenient: what can't be parsed
 * becomes a mailbox with the text as name. At most max entries. */
#define ADDRESS_NO_MAILBOX STR("MISSING_MAILBOX") /* what IMAP servers put where there is none: */
#define ADDRESS_NO_DOMAIN STR("MISSING_DOMAIN")   /* NIL would mean a group */
struct address {
    struct str name, route, mailbox, host;
};
size_t address_list_parse(struct arena *a, struct str value, size_t max, struct address **out);
#endif
