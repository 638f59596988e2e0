/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/questions.h"

static void on_answer(void *inst, ph_turn turn, const struct ph_dns_answer *a, void *arg)
{
    struct question_asked *one = arg, copy = *one;
    struct questions *q = copy.of;

    one->of = NULL;
    q->waiting--;
    q->kind->answer(q, copy.type, copy.name, a);
    questions_ask(q, inst, turn);
}

/* False: it can't be asked. */
static bool ask(struct questions *q, ph_turn turn, enum ph_dns_type type, const char *name)
{
    struct question_asked *one = q->asked;

    while (one->of)
        one++;
    *one = (struct question_asked){.of = q, .type = type, .name = name};
    if (q->host->dns(q->host, turn, type, name, on_answer, one)) {
        one->of = NULL;
        return false;
    }
    q->waiting++;
    return true;
}

void questions_ask(struct questions *q, void *inst, ph_turn turn)
{
    static const struct ph_dns_answer none = {
        .size = sizeof none, .status = PH_DNS_FAILED, .name = "", .why = ""};
    enum questions_next next;
    enum ph_dns_type type;
    const char *name;

    while (q->waiting < q->kind->at_once &&
           (next = q->kind->next(q, &type, &name)) != QUESTIONS_WAIT) {
        if (next == QUESTIONS_DECIDED) {
            q->kind->decided(inst, turn, q);
            return;
        }
        if (!ask(q, turn, type, name))
            q->kind->answer(q, type, name, &none);
    }
}
