/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Rules as they are written. */
#include "filters/policy_rules.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "filters/client.h"

static const char *const actions[] = {"deny", "allow"};
static const char *const kinds[] = {"sender", "recipient", "network", "helo"};

const char *policy_action_name(enum policy_action a)
{
    return (unsigned)a < ARRAY_LEN(actions) ? actions[a] : "?";
}

const char *policy_kind_name(enum policy_kind k)
{
    return (unsigned)k < ARRAY_LEN(kinds) ? kinds[k] : "?";
}

bool policy_action_parse(struct str word, enum policy_action *out)
{
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        if (str_eq(word, str_from(actions[i]))) {
            *out = (enum policy_action)i;
            return true;
        }
    return false;
}

bool policy_kind_parse(struct str word, enum policy_kind *out)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(word, str_from(kinds[i]))) {
            *out = (enum policy_kind)i;
            return true;
        }
    return false;
}

/* ---- Values */

/* "local@domain", "@domain"; below: "@.domain", too. */
static int fold_address(struct str word, bool below, struct buf *out)
{
    struct err why;
    size_t at;

    if (below && str_starts(word, STR("@."))) {
        buf_add_z(out, "@.");
        return text_domain(str_skip(word, 2), out);
    }
    if (!str_rchr(word, '@', &at) || address_fold(word, out, &why))
        return -1;
    return 0;
}

/* What clients say there may be anything: small letters, no more. */
static int fold_helo(struct str word, struct buf *out)
{
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] <= ' ' || word.p[i] > '~')
            return -1;
        buf_add_char(out, ascii_lower(word.p[i]));
    }
    return word.n && !str_eq(word, STR(".")) ? 0 : -1;
}

static int fold_network(struct str word, struct buf *out)
{
    struct cidr net;
    struct err why;

    if (client_net_parse(word, &net, &why))
        return -1;
    return buf_add_z(out, client_text(&net).z);
}

static int fold_value(enum policy_kind k, struct str word, struct buf *out)
{
    if (k == POLICY_NETWORK)
        return fold_network(word, out);
    if (k == POLICY_HELO)
        return fold_helo(word, out);
    if (k == POLICY_SENDER && str_eq(word, STR("<>")))
        return buf_add_str(out, word);
    return fold_address(word, true, out);
}

int policy_value_parse(struct arena *a, enum policy_kind k, struct str word, struct str *out,
                       struct err *err)
{
    static const char *const forms[] = {
        "an address, @example.org, @.example.org (with all below) or <> for no sender",
        "an address, @example.org or @.example.org (with all below)",
        "an address or network of IP, host bits zero", "a name, or .example.org (with all below)"};
    struct buf b;

    buf_init(&b, POLICY_TEXT);
    int rc = fold_value(k, word, &b) || !buf_ok(&b) ? -1 : 0;
    if (rc == 0)
        *out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return rc ? ERR(err, ERR_PROTO, "'%.*s' is none of: %s", word.n < 100 ? (int)word.n : 100,
                    word.p ? word.p : "", forms[k])
              : 0;
}

int policy_scope_parse(struct arena *a, struct str word, struct str *out, struct err *err)
{
    struct buf b;
    size_t at;
    int rc = 0;

    *out = STR("");
    if (!word.n || str_eq(word, STR("all")))
        return 0;
    buf_init(&b, POLICY_TEXT);
    if (!str_chr(word, '@', &at)) {
        buf_add_char(&b, '@');
        rc = text_domain(word, &b);
    } else {
        rc = fold_address(word, false, &b);
    }
    if (rc == 0 && buf_ok(&b))
        *out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return rc || !out->n ? ERR(err, ERR_PROTO, "'%.*s' is neither an address nor a domain",
                               word.n < 100 ? (int)word.n : 100, word.p)
                         : 0;
}

int policy_reason_check(struct str reason, struct err *err)
{
    for (size_t i = 0; i < reason.n; i++)
        if (reason.p[i] < ' ' || reason.p[i] > '~')
            return ERR(err, ERR_PROTO, "a reason is told to clients of SMTP: ASCII only");
    if (reason.n > POLICY_REASON)
        return ERR(err, ERR_PROTO, "a reason has at most %d characters", POLICY_REASON);
    return 0;
}

void policy_rule_text(const struct policy_rule *r, struct buf *out)
{
    buf_printf(out, "%s %s " STR_FMT, policy_action_name(r->action), policy_kind_name(r->kind),
               STR_ARG(r->value));
    if (r->scope.n)
        buf_printf(out, " for " STR_FMT, STR_ARG(r->scope));
}
