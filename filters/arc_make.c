/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/arc_make.h"
#include "filters/dkim_canon.h"
#include "filters/dkim_hash.h"

static int seal(struct arena *a, const struct arc_chain *c, const struct arc_new *set,
                struct str message, struct str *out, struct err *err)
{
    const struct dkim_signer *s = set->signer;
    struct buf text, value;

    buf_init(&text, DKIM_HEAD_MAX);
    buf_init(&value, ARC_FIELD_MAX);
    if (strcmp(set->cv, "fail") != 0) /* RFC 8617 5.1.2 */
        arc_chain_text(c, &text);
    dkim_field_relaxed(STR("ARC-Authentication-Results"), set->results, &text);
    dkim_field_relaxed(STR("ARC-Message-Signature"), message, &text);
    buf_printf(&value,
               "i=%u; a=%s-sha256; cv=%s;\r\n\td=" STR_FMT "; s=" STR_FMT "; t=%lld;\r\n\tb=",
               set->instance, dkim_key_type_name(dkim_key_type(s->key)), set->cv,
               STR_ARG(s->domain), STR_ARG(s->selector), (long long)set->now);
    int rc = dkim_seal_field(s->key, "ARC-Seal", &text, &value, err);
    *out = arena_str(a, buf_str(&value));
    buf_fini(&text);
    buf_fini(&value);
    return rc;
}

int arc_make(struct arena *a, const struct arc_chain *c, const struct dkim_message *m,
             const struct arc_new *set, struct str *message_out, struct str *seal_out,
             struct err *err)
{
    if (dkim_seal_message(a, m, set->signer, set->instance, set->now, message_out, err))
        return -1;
    return seal(a, c, set, *message_out, seal_out, err);
}
