/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fetch_body.h - a section of a message as a row of pieces, and sending it piece by piece.
 * Floor 5 (imap). Threads: lane store (work of one command).
 * A message is prefix + head + data; a section is at most three stretches of them, or text made for
 * it (a selection of header fields). Its length is known before its first octet is read, so a
 * literal can be announced and then streamed, with the body closed and opened again between two
 * runs of work. */
#ifndef PH_IMAP_FETCH_BODY_H
#define PH_IMAP_FETCH_BODY_H
#include "imap/fetch_items.h"

/* The message at hand. Everything but the data stays in memory (the arena) while the message is
 * answered. */
struct fetch_message {
    struct arena *arena;
    struct str prefix; /* whole header fields, no empty line */
    struct str head;
    struct body_reader *body;
    const struct mime_part *root; /* NULL when not needed */
    struct buf *space;            /* for reading files */
};
struct fetch_piece {
    const char *memory; /* NULL: octets of data from `at` */
    uint64_t at, size;
};
struct fetch_stream {
    struct fetch_piece pieces[3];
    unsigned n;
};
/* 0, or 1: the message has no such part, or the section doesn't exist for it (answer NIL). */
int fetch_section_resolve(const struct fetch_section *s, const struct fetch_message *m,
                          struct fetch_stream *out, struct err *err)
    __attribute__((warn_unused_result));
void fetch_stream_memory(struct fetch_stream *s, struct str text); /* appends a piece */
uint64_t fetch_stream_left(const struct fetch_stream *s);
bool fetch_stream_needs_data(const struct fetch_stream *s);
/* Appends to `out` until it holds `soft` bytes or the stream has ended; *s keeps the position. -1:
 * octets that were promised can't be read. */
int fetch_stream_run(struct fetch_stream *s, const struct fetch_message *m, struct buf *out,
                     size_t soft, struct err *err) __attribute__((warn_unused_result));
#endif
