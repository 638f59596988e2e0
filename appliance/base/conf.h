/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* conf.h - the reader of the configuration file: from text to assignments with their place in it.
 * Floor 0 (base). Threads: one at a time in the whole process (libconfuse keeps the state of its
 * scanner in globals). Blocking.
 *
 *   smtp { rcpt_limit = 50 }               sections, each setting checked against its table
 *   listener "mx" { proxy_from = {a, b} }  a section with a title; a list becomes "a, b"
 *   include("more.conf")                   between sections; relative to the folder of this file
 *   # comment, // comment                  "text with ${VARIABLE}", 'text as it is', word
 *
 * Errors: the file is read as far as it can be understood; each error is one line "FILE:LINE: what
 * was wrong" in `errors`, and a slip of the pen gets a "did you mean". */
#ifndef PH_BASE_CONF_H
#define PH_BASE_CONF_H
#include "appliance/base/settings.h"

struct conf_section {
    const char *name;
    const struct ph_setting *settings;
    bool titled;
};
struct conf_item { /* views are valid during the call */
    const char *file;
    unsigned line;
    const char *section, *title; /* title NULL: the section has none */
    const char *name;            /* NULL: the end of a section, which may have been empty */
    struct str value;
};
/* -1: err tells; the reader adds the place and goes on. */
typedef int (*conf_item_fn)(void *ctx, const struct conf_item *item, struct err *err);

/* Sections end with name NULL. -1: the file can't be read, or something in it is wrong; errors has
 * at least one line, err the first of them. */
int conf_read(const char *path, const struct conf_section *sections, conf_item_fn on_item,
              void *ctx, struct buf *errors, struct err *err) __attribute__((warn_unused_result));
/* One setting of one section of this file (not of those it includes), without any check: for what
 * must be known before a file can be read in full. A list as "a, b"; empty: it isn't there. */
void conf_peek(const char *path, const char *section, const char *name, struct buf *out);
#endif
