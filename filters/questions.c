/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/questions.h"

static void on_answer(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg)
{
    struct questions *q = arg;

    q->kind->answer(q, a);
    questions_ask(q, inst, turn);
}

void questions_ask(struct questions *q, void *inst, ph_turn turn)
{
    static const struct ph_dns_answer none = {
        .size = sizeof none, .status = PH_DNS_FAILED, .name = "", .why = ""};
    enum ph_dns_type type;
    const char *name;

    while (q->kind->next(q, &type, &name)) {
        if (q->host->dns(q->host, turn, type, name, on_answer, q) == 0)
            return;
        q->kind->answer(q, &none);
    }
    q->kind->decided(inst, turn, q);
}
