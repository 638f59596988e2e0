/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/signing.h"
#include "appliance/base/mem.h"
#include "filters/builtin.h"
#include <stdio.h>

struct dkim_ring *signing_ring(const struct filters *f)
{
    const void *sign = builtin_instance(f, &dkim_sign_stage);
    const void *seal = builtin_instance(f, &arc_seal_stage);

    if (sign)
        return dkim_keys_ring(dkim_sign_keys(sign));
    return seal ? dkim_keys_ring(arc_seal_keys(seal)) : NULL;
}

const struct dkim_signer *signing_rsa(const struct dkim_signer *first)
{
    const struct dkim_signer *s = first;

    while (s && dkim_key_type(s->key) != DKIM_KEY_RSA)
        s = s->next;
    return s ? s : first;
}

void signing_work_free(void *work)
{
    struct signing_work *w = work;

    dkim_ring_unref(&w->ring);
    arena_free(&w->arena);
    mem_free(w);
}

bool signing_failed(const struct ph_host *host, ph_turn turn, const struct signing_work *w,
                    const char *what)
{
    char reason[400];

    if (!w->failed)
        return false;
    if (w->err.kind == ERR_TEMP) {
        host->failed(host, turn, PH_PASS, NULL, w->err.text);
        return true;
    }
    snprintf(reason, sizeof reason, "%s: %s", what, w->err.text);
    host->log(host, host->view(host, turn), PH_LOG_WARN, "%s", reason);
    host->done(host, turn, PH_PASS, NULL, reason);
    return true;
}
