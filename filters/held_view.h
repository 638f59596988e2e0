/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* held_view.h - taking back what held_fill() has kept. Floor 4 (filters, private). Threads: loop.
 */
#ifndef PH_FILTERS_HELD_VIEW_H
#define PH_FILTERS_HELD_VIEW_H
#include "filters/held.h"

enum { HELD_RCPTS_MAX = 1000 };
/* Into a chain within its transaction, and a view whose rcpts is that array of HELD_RCPTS_MAX + 1;
 * v->route is the one it has when it leaves. Views into `kept`, memory from a. True: should it be
 * junk, it goes into quarantine. */
bool held_restore(struct chain *c, struct arena *a, struct str kept, struct ph_view *v,
                  const char **rcpts);
/* By held_release_tx(). */
bool held_is_released(struct str view);
#endif
