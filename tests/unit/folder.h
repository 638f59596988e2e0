/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* folder.h - the end of a temporary folder of a test. Floor: tests. */
#ifndef PH_TESTS_FOLDER_H
#define PH_TESTS_FOLDER_H
#include <ftw.h>
#include <stdio.h>

static inline int folder_remove_one(const char *path, const struct stat *st, int type,
                                    struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

/* With all that is in it. */
static inline int folder_remove(const char *dir)
{
    return nftw(dir, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
#endif
