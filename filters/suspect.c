/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/suspect.h"
#include <string.h>

bool suspect(const struct ph_host *host, ph_turn turn)
{
    static const char *const signs[][2] = {
        {"rdns.result", "none"},         {"rdns.result", "unconfirmed"},
        {"rdns.generic", "yes"},         {"helo.result", "literal"},
        {"helo.result", "ours"},         {"helo.result", "unqualified"},
        {"helo.result", "unresolvable"}, {"spf.result", "fail"},
        {"spf.result", "softfail"}};
    struct ph_acts *acts = host->acts(host, turn);
    const char *score = host->fact_get(acts, "dnslist.score");

    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        const char *value = host->fact_get(acts, signs[i][0]);
        if (value && strcmp(value, signs[i][1]) == 0)
            return true;
    }
    return score && score[0] && score[0] != '-' && strcmp(score, "0") != 0;
}
