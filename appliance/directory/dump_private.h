/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dump_private.h - what dump.c and dump_token.c share: the words of SQL as a dump writes it.
 * Floor 3 (directory, private). Threads: any (pure). */
#ifndef PH_DIRECTORY_DUMP_PRIVATE_H
#define PH_DIRECTORY_DUMP_PRIVATE_H
#include "appliance/directory/dump.h"

enum dump_kind {
    DUMP_END,
    DUMP_WORD,   /* a name or keyword as it stands, also with digits in it */
    DUMP_NAME,   /* `quoted` */
    DUMP_STRING, /* 'decoded' */
    DUMP_BYTES,  /* 0x.., x'..', b'..' */
    DUMP_MARK,   /* one character: ( ) , ; = . + - and whatever else */
    DUMP_BAD     /* an open quote or comment: err */
};
struct dump_token {
    enum dump_kind kind;
    struct str text;
};
struct dump_cursor {
    struct str all;
    size_t at;
    struct arena *m; /* of decoded text; the user clears it */
};
/* ERR_PROTO for DUMP_BAD. */
void dump_next(struct dump_cursor *c, struct dump_token *out, struct err *err);
bool dump_is_word(const struct dump_token *t, const char *word);
bool dump_is_mark(const struct dump_token *t, char mark);
/* Behind the ";" that ends the statement, without decoding what is in between. */
int dump_skip_statement(struct dump_cursor *c, struct err *err) __attribute__((warn_unused_result));
/* After the word DELIMITER: behind the line that sets it back to ";". */
void dump_skip_delimited(struct dump_cursor *c);
int dump_error(const struct dump_cursor *c, struct err *err, const char *what);
#endif
