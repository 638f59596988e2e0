/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* strangers.h - whether a list of networks that are trusted has everybody in it. Floor 6 (app).
 * Threads: any (pure). */
#ifndef PH_APP_STRANGERS_H
#define PH_APP_STRANGERS_H

/* An address of somebody else's that is in the list of networks (a setting); NULL: none that is
 * looked for, or the list is malformed, which is said elsewhere. */
const char *stranger_in(const char *list);
#endif
