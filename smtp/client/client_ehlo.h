/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client_ehlo.h - what another server says about itself in its reply to EHLO (RFC 5321 4.1.1.1).
 * Floor 5 (smtp). Threads: any (pure). */
#ifndef PH_SMTP_CLIENT_EHLO_H
#define PH_SMTP_CLIENT_EHLO_H
#include "appliance/base/str.h"

struct smtp_ehlo {
    unsigned can;  /* SMTP_CAN_* */
    uint64_t size; /* 0: no limit said */
    unsigned rcpt_max, mail_max;
    char auth[512]; /* mechanisms, separated by blanks; what doesn't fit is left out */
};
/* text: of the reply (struct smtp_answer); its first line is the greeting. */
void smtp_ehlo_parse(struct str text, struct smtp_ehlo *out);
bool smtp_ehlo_has_auth(const struct smtp_ehlo *e, struct str mechanism);
#endif
