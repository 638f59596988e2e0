/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* params.h - the arguments of MAIL, RCPT and BDAT, parsed. RFC 5321 4.1.1.2, 4.1.1.3, 4.1.1.11;
 * 1870, 6152, 6531, 4954, 3030, 3461, 8689. Floor 5 (smtp). Threads: any (pure). Nothing here knows
 * a session: what is allowed at this moment is decided by the commands. */
#ifndef PH_SMTP_PARAMS_H
#define PH_SMTP_PARAMS_H
#include "appliance/mail/address.h"
#include "smtp/reply.h"

enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };
enum { /* NOTIFY; 0: not said */
       SMTP_NOTIFY_NEVER = 1u,
       SMTP_NOTIFY_SUCCESS = 2u,
       SMTP_NOTIFY_FAILURE = 4u,
       SMTP_NOTIFY_DELAY = 8u
};
struct smtp_mail_args {
    struct address_path path;
    struct str sender; /* "local@domain", quoted where needed; empty for <> */
    uint64_t size;     /* 0: not said */
    bool body, body_8bit, utf8, auth, params; /* which were given; params: any */
    bool requiretls;                          /* RFC 8689 */
    bool dsn;                                 /* RFC 3461: RET or ENVID were given */
    enum smtp_ret ret;
    struct str envid; /* decoded; printable ASCII */
};
struct smtp_rcpt_args {
    struct address_path path;
    struct str rcpt;              /* "local@domain"; "postmaster" for <postmaster> */
    bool dsn;                     /* NOTIFY or ORCPT were given */
    unsigned notify;              /* SMTP_NOTIFY_... */
    struct str orcpt_type, orcpt; /* "rfc822" and the address, decoded; printable ASCII */
};
struct smtp_bdat_args {
    uint64_t size;
    bool last;
};
/* Memory from `a`. -1: *why has the reply. */
int smtp_mail_parse(struct arena *a, struct str args, struct smtp_mail_args *out,
                    struct smtp_refusal *why) __attribute__((warn_unused_result));
int smtp_rcpt_parse(struct arena *a, struct str args, struct smtp_rcpt_args *out,
                    struct smtp_refusal *why) __attribute__((warn_unused_result));
int smtp_bdat_parse(struct str args, struct smtp_bdat_args *out)
    __attribute__((warn_unused_result));
/* The name of a client in EHLO, made harmless for a header: blanks and specials become '?'. -1:
 * none, or over 255 octets. */
int smtp_helo_parse(struct arena *a, struct str args, struct str *out)
    __attribute__((warn_unused_result));
#endif
