/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* response.h - what an IMAP server says to a client: bytes in, responses out (RFC 3501 7).
 * Floor 5 (imap). Threads: any (pure). The text of a message (a literal of BODY[] or RFC822) isn't
 * kept: it comes in pieces, as it arrives; every other literal stands in the response, at most
 * IMAP_RESPONSE_LITERAL octets, the whole response at most IMAP_RESPONSE_MAX.
 * Servers are read as they are, not as they should be: any white space, any bytes in quoted strings
 * and atoms, bare LF, empty lines. What comes out is bounded, never trusted. */
#ifndef PH_IMAP_CLIENT_RESPONSE_H
#define PH_IMAP_CLIENT_RESPONSE_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"

enum { IMAP_RESPONSE_MAX = 1 << 20, IMAP_RESPONSE_LITERAL = 64 << 10 };
enum imap_response_kind {
    IMAP_RESPONSE_DATA,     /* "* 3 EXISTS" */
    IMAP_RESPONSE_STATUS,   /* "* OK [CODE] text" */
    IMAP_RESPONSE_TAGGED,   /* "A1 OK [CODE] text" */
    IMAP_RESPONSE_CONTINUE, /* "+ text" */
};
enum imap_status {
    IMAP_STATUS_NONE,
    IMAP_STATUS_OK,
    IMAP_STATUS_NO,
    IMAP_STATUS_BAD,
    IMAP_STATUS_BYE,
    IMAP_STATUS_PREAUTH
};
struct imap_response { /* views, until the reader is fed again */
    enum imap_response_kind kind;
    enum imap_status status;
    struct str tag;
    struct str code, arguments; /* "UIDVALIDITY", "3857529045"; empty: none */
    struct str text;            /* for people, not made printable */
    struct str name;            /* DATA: "EXISTS" */
    uint64_t number;            /* DATA: before the name; 0: none */
    struct str rest;            /* DATA: what follows the name */
};

enum imap_response_got {
    IMAP_GOT_NOTHING, /* the input is used up */
    IMAP_GOT_WHOLE,   /* reader->response */
    IMAP_GOT_TEXT,    /* a message of reader->size octets begins; reader->response is what stands
                         before it */
    IMAP_GOT_PIECE,   /* reader->piece, a view of the input */
    IMAP_GOT_END,     /* of the message */
    IMAP_GOT_BAD      /* reader->bad; the stream can't be read any further */
};
struct imap_response_reader {
    struct imap_response response;
    uint64_t size;
    struct str piece;
    const char *bad;
    /* private */
    struct buf text;
    size_t part;   /* of text: where the line begins that is read */
    uint64_t left; /* of a literal */
    enum { READ_LINE, READ_LITERAL, READ_MESSAGE, READ_BAD } state;
    bool told; /* text is a response that was given out */
};
void imap_response_init(struct imap_response_reader *r);
void imap_response_fini(struct imap_response_reader *r);
/* Takes *used_out octets of `in`, up to the next thing to tell. Call it again with the rest until
 * NOTHING. */
enum imap_response_got imap_response_take(struct imap_response_reader *r, struct str in,
                                          size_t *used_out);

/* ---- What responses hold. Views are of the response or of the arena. -1: it can't be read. */

struct imap_fetched {
    uint32_t seq, uid; /* uid 0: not said (yet) */
    bool has_flags, has_date, has_size, has_text;
    uint64_t flags; /* MESSAGE_* */
    bool recent;
    struct str *keywords; /* atoms, without those that no IMAP server may have */
    size_t n_keywords;
    int64_t date; /* seconds since 1970 */
    uint64_t size, modseq;
    bool no_text;    /* BODY[] NIL */
    struct str text; /* that didn't come as a literal */
};
enum { IMAP_FETCHED_KEYWORDS = 64 };
/* Of what stands before a message's text too. */
int imap_response_fetched(const struct imap_response *r, struct arena *a, struct imap_fetched *out);

enum imap_folder_use {
    IMAP_FOLDER_NORMAL,
    IMAP_FOLDER_SENT,
    IMAP_FOLDER_DRAFTS,
    IMAP_FOLDER_JUNK,
    IMAP_FOLDER_TRASH,
    IMAP_FOLDER_ARCHIVE,
    IMAP_FOLDER_VIEW /* \All, \Flagged, \Important: shows messages of the others */
};
struct imap_folder {
    struct str raw; /* as the server wants it back */
    char delimiter; /* '\0': NIL, the names are flat */
    bool no_select;
    enum imap_folder_use use;
};
int imap_response_folder(const struct imap_response *r, struct arena *a, struct imap_folder *out);
/* UTF-8, levels divided by '/' (a '/' of the name itself is '_'); INBOX in upper case. -1: neither
 * modified UTF-7 nor UTF-8. */
int imap_folder_name(const struct imap_folder *f, struct buf *out)
    __attribute__((warn_unused_result));

enum { IMAP_NAMESPACES = 8 };
struct imap_namespaces { /* RFC 2342 */
    struct str own;      /* prefix of the user's own folders: "", "INBOX." */
    bool has_own;
    struct str others[IMAP_NAMESPACES]; /* of other users and shared ones */
    size_t n_others;
};
int imap_response_namespaces(const struct imap_response *r, struct arena *a,
                             struct imap_namespaces *out);

enum {
    IMAP_CAN_STARTTLS = 1u << 0,
    IMAP_CAN_NO_LOGIN = 1u << 1, /* LOGINDISABLED */
    IMAP_CAN_PLAIN = 1u << 2,
    IMAP_CAN_SCRAM = 1u << 3,
    IMAP_CAN_IR = 1u << 4, /* SASL-IR */
    IMAP_CAN_NAMESPACE = 1u << 5,
    IMAP_CAN_SPECIAL = 1u << 6,
    IMAP_CAN_CONDSTORE = 1u << 7,
    IMAP_CAN_LITERAL_PLUS = 1u << 8,
    IMAP_CAN_LIST_EXTENDED = 1u << 9
};
unsigned imap_response_capabilities(struct str words);
#endif
