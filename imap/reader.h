/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* reader.h - assembling one command from the byte stream: lines, literals (RFC 3501 4.3) and
 * non-synchronising literals (RFC 7888). Pure: bytes in, events out. Floor 5 (imap). Threads: one
 * at a time. A command that is too large is refused without being kept: its tag can still be read
 * from `cmd`. What a client sends without waiting is swallowed up to swallow_limit. The literal of
 * APPEND's message is not kept either: it is handed on in pieces. */
#ifndef PH_IMAP_READER_H
#define PH_IMAP_READER_H
#include "appliance/base/buf.h"

enum imap_read {
    IMAP_READ_MORE,     /* all was used, more is needed */
    IMAP_READ_CONTINUE, /* the client waits for "+" before it sends a literal; go on feeding */
    IMAP_READ_COMMAND, /* cmd is a whole command without its CRLF; call imap_reader_next() when done
                          with it */
    IMAP_READ_TOO_BIG, /* a command over the limit has gone by; cmd holds its beginning */
    IMAP_READ_APPEND,  /* cmd is an APPEND up to and with its "{n}": imap_reader_accept() or
                          _refuse() */
    IMAP_READ_PIECE,   /* of the accepted literal: `piece`, a view into the input */
    IMAP_READ_FATAL    /* more is being sent than may be swallowed: end the connection */
};
struct imap_reader {
    struct buf cmd;
    size_t limit;
    uint64_t swallow_limit;
    struct str piece;
    uint64_t append_size;
    bool append_sync; /* the client waits for "+" before it sends the message */
    /* private */
    enum { READER_LINE, READER_LITERAL, READER_APPEND, READER_STREAM, READER_DONE } state;
    bool plain;    /* one line, literals mean nothing */
    bool tail;     /* what follows APPEND's message */
    bool dropping; /* the rest of a command that was refused */
    uint64_t left; /* of the literal */
    uint64_t dropped;
    char end[32]; /* the last bytes of the line, for its literal */
    size_t n_end;
};
void imap_reader_init(struct imap_reader *r, size_t limit, uint64_t swallow_limit);
void imap_reader_fini(struct imap_reader *r);
/* Takes *used_out bytes of `in`. Call again with the rest, unless it returned MORE. */
enum imap_read imap_reader_feed(struct imap_reader *r, struct str in, size_t *used_out);
/* A literal has just ended and nothing of the line behind it has come: many clients send that in a
 * segment of its own, held back until the literal is acknowledged. */
bool imap_reader_after_literal(const struct imap_reader *r);
/* After COMMAND or TOO_BIG: forgets it (and its memory) and reads the next one. */
void imap_reader_next(struct imap_reader *r);
/* The same, but the next thing is a bare line (DONE, an answer to a SASL challenge): COMMAND or
 * TOO_BIG. */
void imap_reader_next_line(struct imap_reader *r);
/* After APPEND: PIECEs follow, then COMMAND with what stands behind the message in its line
 * (nothing, if all is well). */
void imap_reader_accept(struct imap_reader *r);
/* The message isn't wanted. A client that waits for "+" hasn't sent it: false, the command is over.
 * Else true: it is swallowed, COMMAND follows at its end. */
bool imap_reader_refuse(struct imap_reader *r);
/* Between commands: not one byte of the next has come. */
bool imap_reader_idle(const struct imap_reader *r);
#endif
