/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* say.h - what commands write to people and programs. Nothing that others wrote (senders, hosts,
 * imported folders) may drive the terminal it ends up on: all of it is made printable here
 * (base/text.h, text_printable). Floor 6 (app, private). Threads: any; one at a time for a stream.
 */
#ifndef PH_APP_SAY_H
#define PH_APP_SAY_H
#include "appliance/base/buf.h"
#include <jansson.h>
#include <stdio.h>

int say_json(const json_t *v);             /* on one line to stdout; -1: not written */
void say_error(const char *text);          /* "posthouse: TEXT" to stderr */
void say_word(FILE *to, const char *text); /* without a line end */
/* text's lines, each behind indent and with a line end, appended to out. */
void say_lines(struct str text, const char *indent, struct buf *out);
#endif
