/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* files_world.h - a folder of files that a test writes, gone after it. */
#ifndef PH_TESTS_FILES_WORLD_H
#define PH_TESTS_FILES_WORLD_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/unit/folder.h"

static char files_root[64];

static inline void files_put(const char *path, const char *text)
{
    char full[256];
    FILE *f;

    snprintf(full, sizeof full, "%s/%s", files_root, path);
    for (char *p = full + strlen(files_root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        (void)mkdir(full, 0700);
        *p = '/';
    }
    assert_non_null(f = fopen(full, "w"));
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static inline int files_set_up(void **state)
{
    (void)state;
    snprintf(files_root, sizeof files_root, "/tmp/ph-files-XXXXXX");
    return mkdtemp(files_root) ? 0 : -1;
}

static inline int files_tear_down(void **state)
{
    (void)state;
    return folder_remove(files_root);
}
#endif
