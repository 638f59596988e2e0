/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* selftest_image.h - what a disk may hold after the power failed at some moment of a record: all
 * that was flushed, and of the rest anything.
 * Floor 6 (app). Threads: main. */
#ifndef PH_APP_SELFTEST_IMAGE_H
#define PH_APP_SELFTEST_IMAGE_H
#include "appliance/app/selftest.h"

enum image_kind {
    IMAGE_DROPPED, /* nothing of what wasn't flushed */
    IMAGE_MIXED,   /* some of it, in any order, some of that in part: 512-byte sectors */
    IMAGE_ALL      /* all of it: as after the end of the process alone */
};
enum image_lie { /* flushes that are taken for none: controls */
                 IMAGE_HONEST,
                 IMAGE_LIES_DATABASE,
                 IMAGE_LIES_FILES,
                 IMAGE_LIES_FOLDERS
};
struct image;
struct image *image_new(const struct record *r, enum image_lie lie);
void image_free(struct image **i);
/* Goes on to the next event: it has happened. */
void image_advance(struct image *i);
/* Writes the store's folder as it may be found after a cut here, into a new folder `path`. */
int image_write(struct image *i, enum image_kind kind, uint64_t *random, const char *path,
                struct err *err) __attribute__((warn_unused_result));
#endif
