/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* builtin.c - what stages of the house may ask of the server beyond stage.h. */
#include "filters/builtin.h"
#include "appliance/store/store.h"
#include "filters/held.h"
#include "filters/private.h"

static struct filters *filters_of(const struct ph_host *h)
{
    return ((const struct stage *)(const void *)((const char *)h - offsetof(struct stage, host)))
        ->filters;
}

void builtin_hold(const struct ph_host *h, ph_turn turn, const char *why)
{
    struct turn *t = turn_find(h, turn);

    if (!t || t->work)
        return;
    t->hold = true;
    turn_end(t, NULL, PH_DEFER, NULL, why, false);
}

void builtin_wake_held(const struct ph_host *h)
{
    struct held *held = filters_of(h)->held;

    if (held)
        held_wake_all(held);
}

const char *builtin_folder(const struct ph_host *h)
{
    struct store *s = filters_of(h)->env.store;

    return s ? store_folder(s) : NULL;
}
