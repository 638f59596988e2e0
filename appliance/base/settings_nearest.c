/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/settings.h"

enum { WORD_MAX = 64 };

/* Optimal string alignment distance: insertions, deletions, changes, neighbours swapped. */
static size_t distance(struct str a, struct str b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b.n; j++)
        above[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t d = above[j - 1] + (ascii_lower(a.p[i - 1]) != ascii_lower(b.p[j - 1]));
            d = d < above[j] + 1 ? d : above[j] + 1;
            d = d < row[j - 1] + 1 ? d : row[j - 1] + 1;
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
                before[j - 2] + 1 < d)
                d = before[j - 2] + 1;
            row[j] = d;
        }
        size_t *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[b.n];
}

const char *settings_nearest(struct str word, const char *const *candidates)
{
    const char *best = NULL;
    size_t least = 1 + str_take(word, 12).n / 4 + 1; /* a distance below this is a likely slip */
    if (word.n > WORD_MAX)
        return NULL;
    for (; *candidates; candidates++) {
        struct str c = str_from(*candidates);
        size_t d = c.n <= WORD_MAX ? distance(word, c) : least;
        if (d < least && d < c.n) {
            least = d;
            best = *candidates;
        }
    }
    return best;
}
