/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* lex.h - the lexical pieces that structured header fields share (RFC 5322 3.2, obsolete syntax
 * included). Floor 1 (mail), private to this folder. Threads: any (pure). Every function only moves
 * forward in its input, so that what is built of them stays linear; nested comments are counted,
 * not recursed into. */
#ifndef PH_MAIL_LEX_H
#define PH_MAIL_LEX_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"

static inline bool lex_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
static inline int lex_hex(char c) /* -1: no hex digit */
{
    c = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
/* Skips white space, folds and comments. The inside of the last comment that isn't empty goes to
 * *comment_out, if given; it is left alone when there was none. True: something was skipped. An
 * unclosed comment runs to the end. */
bool lex_cfws(struct str *in, struct str *comment_out);
/* Takes a quoted string (its opening '"' is at in->p[0]) and appends its content, unescaped and
 * unfolded. Unclosed: to the end. */
void lex_quoted(struct str *in, struct buf *out);
/* Takes the longest run of bytes that are neither white space nor one of `stops`. */
struct str lex_run(struct str *in, const char *stops);
/* Takes the bytes before the next `stop`, which stays; all when there is none. */
struct str lex_until(struct str *in, char stop);
/* Copies the value of a field without its line ends and without blanks around it. */
struct str lex_unfold(struct arena *a, struct str value);
#endif
