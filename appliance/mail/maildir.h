/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* maildir.h - what the files of a Maildir say: names of messages and folders, lists of UIDs,
 * keywords and subscriptions as Dovecot and Courier write them.
 * Floor 1 (mail). Threads: any (pure; views into what is given). Input is what others wrote: a line
 * that can't be read is left out, never guessed. */
#ifndef PH_MAIL_MAILDIR_H
#define PH_MAIL_MAILDIR_H
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

enum { MAILDIR_KEYWORDS = 26 }; /* the letters a to z */
enum maildir_flag {
    MAILDIR_PASSED = 1u << 0,
    MAILDIR_REPLIED = 1u << 1,
    MAILDIR_SEEN = 1u << 2,
    MAILDIR_TRASHED = 1u << 3,
    MAILDIR_DRAFT = 1u << 4,
    MAILDIR_FLAGGED = 1u << 5
};
struct maildir_name {
    struct str base;   /* what stays when flags change: all up to the colon */
    unsigned flags;    /* enum maildir_flag */
    uint32_t keywords; /* bit n: the letter 'a' + n */
};
/* False: not a message's name (begins with a dot, or is empty). */
bool maildir_name_parse(struct str file, struct maildir_name *out);
/* ":2," and the letters in ASCII order. */
int maildir_flags_format(unsigned flags, uint32_t keywords, struct buf *out);

/* dovecot-uidlist of version 1 and 3, courierimapuiddb (as version 1). */
struct maildir_uidlist {
    int version;
    uint32_t uidvalidity, uidnext;
};
int maildir_uidlist_header(struct str line, struct maildir_uidlist *out)
    __attribute__((warn_unused_result)); /* -1: not one that is known */
bool maildir_uidlist_line(const struct maildir_uidlist *list, struct str line, uint32_t *uid_out,
                          struct str *base_out);
/* dovecot-keywords: "0 $Forwarded". */
bool maildir_keyword_line(struct str line, unsigned *index_out, struct str *name_out);

/* ---- Folders. Our names are UTF-8 with '/' between levels. */

/* One level as it stands on the disk: modified UTF-7, else UTF-8, else Latin-1. */
int maildir_level_decode(struct str level, struct buf *out) __attribute__((warn_unused_result));
/* Levels with `separator` between them, ".Lists.a" too; -1: one is empty, or it is too long. */
int maildir_path_decode(struct str path, char separator, struct buf *out)
    __attribute__((warn_unused_result));
/* The folder of a name in Maildir++: ".Lists.a", "" for INBOX. A dot within a level can't be had
 * there: it becomes '_'. */
int maildir_folder_encode(struct str name, struct buf *out) __attribute__((warn_unused_result));
/* A line of `subscriptions` (Dovecot) or courierimapsubscribed, of which INBOX. is left off; a line
 * of Dovecot's second version separates levels by tabs. False: not a name. */
bool maildir_subscription(struct str line, char separator, struct buf *out);
#endif
