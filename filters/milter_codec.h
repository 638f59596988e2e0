/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_codec.h - packets of the milter protocol, version 6 (2 to 5 understood), as the server
 * side writes and reads them. Floor 4 (filters). Threads: any (pure: bytes in, views out).
 * A packet is a length (32 bits, big-endian, of all that follows), a letter, data. The protocol is
 * defined by libmilter and its documentation; the letters and bits are those of its mfdef.h.
 * Input is of another program, which may be broken: views into it end with a NUL where they are
 * texts, and die with it. */
#ifndef PH_FILTERS_MILTER_CODEC_H
#define PH_FILTERS_MILTER_CODEC_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

enum {
    MILTER_VERSION = 6,
    MILTER_DATA_MAX = 65535,      /* of a packet that we send: libmilter takes no more */
    MILTER_PACKET_MAX = 128 << 10 /* of one that we take */
};

enum milter_command {
    MILTER_NEGOTIATE = 'O',
    MILTER_MACROS = 'D',
    MILTER_CONNECT = 'C',
    MILTER_HELO = 'H',
    MILTER_MAIL = 'M',
    MILTER_RCPT = 'R',
    MILTER_DATA = 'T',
    MILTER_HEADER = 'L',
    MILTER_HEADERS_END = 'N',
    MILTER_BODY = 'B',
    MILTER_BODY_END = 'E',
    MILTER_ABORT = 'A',
    MILTER_QUIT = 'Q'
};

/* What a filter may do; we offer all of it. */
enum {
    MILTER_MAY_ADD_HEADERS = 0x01,
    MILTER_MAY_CHANGE_BODY = 0x02,
    MILTER_MAY_ADD_RCPTS = 0x04,
    MILTER_MAY_DELETE_RCPTS = 0x08,
    MILTER_MAY_CHANGE_HEADERS = 0x10,
    MILTER_MAY_QUARANTINE = 0x20,
    MILTER_MAY_CHANGE_SENDER = 0x40,
    MILTER_MAY_ADD_RCPTS_ARGS = 0x80,
    MILTER_MAY_CHOOSE_MACROS = 0x100,
    MILTER_ACTIONS = 0x1ff
};

/* Which steps it wants left out (NO), which it doesn't answer (NR), and the rest. */
enum {
    MILTER_NO_CONNECT = 0x01,
    MILTER_NO_HELO = 0x02,
    MILTER_NO_MAIL = 0x04,
    MILTER_NO_RCPT = 0x08,
    MILTER_NO_BODY = 0x10,
    MILTER_NO_HEADERS = 0x20,
    MILTER_NO_HEADERS_END = 0x40,
    MILTER_NR_HEADER = 0x80,
    MILTER_NO_UNKNOWN = 0x100,
    MILTER_NO_DATA = 0x200,
    MILTER_CAN_SKIP = 0x400,
    MILTER_WANTS_REJECTED = 0x800, /* recipients that were refused: not offered */
    MILTER_NR_CONNECT = 0x1000,
    MILTER_NR_HELO = 0x2000,
    MILTER_NR_MAIL = 0x4000,
    MILTER_NR_RCPT = 0x8000,
    MILTER_NR_DATA = 0x10000,
    MILTER_NR_UNKNOWN = 0x20000,
    MILTER_NR_HEADERS_END = 0x40000,
    MILTER_NR_BODY = 0x80000,
    MILTER_LEADING_SPACE = 0x100000, /* header values keep the blank after the colon */
    MILTER_STEPS = 0x1fffff & ~MILTER_WANTS_REJECTED
};

/* At which command it may ask for macros of its choice. */
enum milter_stage {
    MILTER_AT_CONNECT,
    MILTER_AT_HELO,
    MILTER_AT_MAIL,
    MILTER_AT_RCPT,
    MILTER_AT_DATA,
    MILTER_AT_BODY_END,
    MILTER_AT_HEADERS_END,
    MILTER_STAGES
};

/* ---- Reading. */
struct milter_packet {
    char code;
    struct str data;
};
enum milter_take {
    MILTER_MORE,   /* not all of it is here */
    MILTER_PACKET, /* *size_out octets of `in` are one */
    MILTER_BROKEN  /* a length that can't be */
};
enum milter_take milter_take(struct str in, struct milter_packet *out, size_t *size_out);

struct milter_terms {
    uint32_t version, actions, steps;
    struct str macros[MILTER_STAGES]; /* names with blanks between; p NULL: the usual ones */
};
/* -1: ERR_PROTO; too short, or more than was offered. */
int milter_read_terms(struct milter_packet p, struct milter_terms *out, struct err *err)
    __attribute__((warn_unused_result));

enum milter_what {
    MILTER_CONTINUE,
    MILTER_ACCEPT,
    MILTER_REJECT,
    MILTER_TEMPFAIL,
    MILTER_DISCARD,
    MILTER_REPLY,    /* text: "550 5.7.1 Text" */
    MILTER_SHUTDOWN, /* 421, and the client's connection ends */
    MILTER_SKIP,
    MILTER_PROGRESS, /* it is still at work */
    /* at the end of a message, before one of the above */
    MILTER_QUARANTINE,    /* text: why */
    MILTER_HEADER_ADD,    /* name, text */
    MILTER_HEADER_INSERT, /* index, name, text */
    MILTER_HEADER_CHANGE, /* index from 1, name, text; empty: deleted */
    MILTER_BODY_REPLACE,  /* text: a piece of it, not terminated */
    MILTER_RCPT_ADD,      /* text: address; args */
    MILTER_RCPT_DELETE,   /* text */
    MILTER_SENDER         /* text; args */
};
struct milter_answer {
    enum milter_what what;
    uint32_t index;
    struct str name, text, args;
};
/* -1: ERR_PROTO. actions: what was agreed on; others are refused. */
int milter_read_answer(struct milter_packet p, uint32_t actions, struct milter_answer *out,
                       struct err *err) __attribute__((warn_unused_result));
/* "550-5.7.1 a\r\n550 5.7.1 b%%" as one line: "550 5.7.1 a b%". -1: it is no reply of class 4 or 5.
 */
int milter_reply_line(struct str text, char *out, size_t room) __attribute__((warn_unused_result));
/* An address without its angle brackets. */
struct str milter_address(struct str text);

/* ---- Writing. What doesn't fit a packet is cut; a NUL in a text ends it. */
void milter_put(struct buf *out, enum milter_command code, struct str data);
void milter_put_terms(struct buf *out);
/* ip "": not an IP client. */
void milter_put_connect(struct buf *out, struct str name, struct str ip, uint16_t port);
/* Each text ended by NUL: HELO, MAIL, RCPT, HEADER. */
void milter_put_texts(struct buf *out, enum milter_command code, const struct str *texts, size_t n);
/* names and values by turns, for the command `of` that comes next. */
void milter_put_macros(struct buf *out, enum milter_command of, const struct str *pairs, size_t n);
#endif
