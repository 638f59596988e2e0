/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* actions_text.c - what stages have done to a message, in words for `posthouse explain` and the
 * log. */
#include "filters/private.h"
#include <stdio.h>

enum { VALUE_MAX = 100, ADDRESS_MAX = 320 };

static struct str verb(enum chain_action_kind kind)
{
    static const struct str verbs[] = {
        [CHAIN_HEADER_ADD] = {"adds the field ", 15},
        [CHAIN_HEADER_INSERT] = {"adds the field ", 15},
        [CHAIN_HEADER_CHANGE] = {"changes the field ", 18},
        [CHAIN_HEADER_DELETE] = {"removes the field ", 18},
        [CHAIN_BODY] = {"replaces the body", 17},
        [CHAIN_RCPT_ADD] = {"adds the recipient ", 19},
        [CHAIN_RCPT_DELETE] = {"removes the recipient ", 22},
        [CHAIN_SENDER] = {"changes the sender to <", 23},
        [CHAIN_TAG] = {"tags it ", 8},
    };

    return verbs[kind];
}

void chain_action_text(const struct chain_action *a, struct buf *out)
{
    buf_add_str(out, verb(a->kind));
    switch (a->kind) {
    case CHAIN_HEADER_ADD:
    case CHAIN_HEADER_INSERT:
    case CHAIN_HEADER_CHANGE:
        buf_add_str(out, a->name);
        buf_add_z(out, ": ");
        buf_add_str(out, str_take(a->value, VALUE_MAX));
        buf_add_z(out, a->value.n > VALUE_MAX ? "..." : "");
        break;
    case CHAIN_HEADER_DELETE:
        buf_add_str(out, a->name);
        break;
    case CHAIN_BODY:
        buf_printf(out, " by %zu octets", a->value.n);
        break;
    case CHAIN_SENDER:
        buf_add_str(out, str_take(a->value, ADDRESS_MAX));
        buf_add_char(out, '>');
        break;
    default:
        buf_add_str(out, str_take(a->value, ADDRESS_MAX));
    }
}

static bool removes(const struct chain_record *r)
{
    const struct chain_action *a = r->acts;

    for (unsigned i = 0; !r->shadow && i < r->actions && a; i++, a = a->next)
        if (a->kind == CHAIN_RCPT_DELETE)
            return true;
    return false;
}

const char *chain_removers(const struct chain *c, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (const struct chain_record *r = chain_records(c, false); r; r = r->next)
        if (removes(r) && n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", r->stage);
    return out;
}
