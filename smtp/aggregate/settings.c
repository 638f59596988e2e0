/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/buf.h"
#include "appliance/mail/address.h"
#include "smtp/aggregate/aggregate.h"

// clang-format off
const struct ph_setting reports_settings[] = {
    PH_SETTING(BOOL, reports_conf, dmarc, PH_RELOAD, "yes", 0, 0,
        "Send domains that ask for it, once a day, what DMARC came to of mail in their name (RFC 9990). Counted as long as "
        "dmarc.aggregate is yes. The test appliance sends none."),
    PH_SETTING(BOOL, reports_conf, tls, PH_RELOAD, "yes", 0, 0,
        "Send domains that ask for it by mail, once a day, with what TLS mail was sent to them, and what of it failed (RFC 8460). "
        "Only where such a report can be signed (posthouse dkim), as nobody reads others."),
    PH_SETTING(TEXT, reports_conf, from, PH_RELOAD, "", 0, 0,
        "The address that reports come from. Its domain should have a DKIM key. Empty: postmaster at main.origin, or at "
        "main.hostname. Nothing comes back: the sender in the envelope is the null sender."),
    PH_SETTING(TEXT, reports_conf, org, PH_RELOAD, "", 0, 0,
        "The name of your organisation in reports. Empty: the domain of the address above."),
    PH_SETTING(TEXT, reports_conf, contact, PH_RELOAD, "", 0, 0,
        "How you can be reached about reports: a URL, or what else people understand. Empty: nothing but that address."),
    PH_SETTING_END};
// clang-format on

int reports_check(const struct reports_conf *c, struct err *err)
{
    struct arena *a = arena_new(0);
    struct str path = arena_printf(a, "<%s>", c->from), rest;
    struct address_path p;
    struct err why;
    int rc = 0;

    if (c->from[0] && (address_path_parse(a, path, &p, &rest, &why) || rest.n || p.utf8 || p.null ||
                       !p.domain.n || p.domain.p[0] == '['))
        rc = ERR(err, ERR_PROTO, "reports.from: '%.100s' is not an address reports can come from",
                 c->from);
    arena_free(&a);
    return rc;
}
