/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* resolver_rdata.h - records and names of the DNS between wire and text.
 * Floor 1 (io), private to this folder and its tests. Threads: any (pure).
 * Input is hostile and bounded: names by RFC 1035 3.1, records by what they came in. */
#ifndef PH_IO_RESOLVER_RDATA_H
#define PH_IO_RESOLVER_RDATA_H
#include "appliance/base/arena.h"
#include "appliance/io/resolver.h"

enum {
    RESOLVER_NAME_MAX = 253, /* as text, without the trailing dot */
    /* Every byte may become \DDD. */
    RESOLVER_QUESTION_SIZE = 4 * RESOLVER_NAME_MAX + 2
};

/* One record; rdata as on the wire, names not compressed. What it points to is in the arena. -1:
 * malformed, or a type that nobody asks for. Names come out lower case; bytes other than letters,
 * digits, "-", "_", "/" and "*" as \DDD (RFC 1035 5.1), so that they are harmless wherever they are
 * shown. */
int resolver_rdata_parse(enum resolver_type type, struct str rdata, struct arena *a,
                         struct resolver_record *out) __attribute__((warn_unused_result));
/* A name as libunbound writes it ("?" for odd bytes): lower case, no trailing dot, harmless. */
struct str resolver_name_tidy(const char *name, struct arena *a);
/* A name to be asked for, in the form that libunbound reads, with a trailing dot. False: not a name
 * (lengths, empty labels, control characters, no ASCII, a backslash). */
bool resolver_question(struct str name, char out[RESOLVER_QUESTION_SIZE]);
#endif
