/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sendmail.h - `posthouse sendmail`, and the binary called as sendmail, mailq or newaliases: how
 * programs of this machine (cron, PHP, mail readers) hand in mail. It speaks SMTP with the running
 * server over its local socket; the server knows who it is by the peer's credentials. No server:
 * EX_TEMPFAIL, and nothing is lost, as the caller still has it. Floor 6 (app). Threads: main. */
#ifndef PH_APP_SENDMAIL_H
#define PH_APP_SENDMAIL_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

#define SUBMIT_SOCKET "submit.sock"
#define SUBMIT_SOCKET_DEFAULT "/run/posthouse/" SUBMIT_SOCKET

enum { SENDMAIL_RCPTS_MAX = 10000 };
struct sendmail_list {
    struct str *at;
    size_t n, cap;
};
struct sendmail_job {
    struct arena *arena;
    struct str sender; /* empty: <> */
    struct sendmail_list rcpts;
    struct str full_name; /* -F */
    struct str notify, ret, envid;
    bool from_headers; /* -t */
    bool dots;         /* a line "." ends the input (no -i) */
    bool verbose;
    bool needs_from; /* out: there is no From */
    struct buf text; /* of the message, CRLF line ends, dots not doubled */
};
/* false: too many. */
bool sendmail_add(struct sendmail_job *j, struct str address);

/* sendmail_message.c: pure, but for the first. */
int sendmail_read(int fd, struct sendmail_job *j, struct err *err)
    __attribute__((warn_unused_result));
/* One more piece of what the program writes: line ends become CRLF, "." may end it. *state is 0 at
 * first. 1: the end was seen; -1: a NUL, or too large (err). */
int sendmail_take(struct sendmail_job *j, struct str piece, unsigned *state, struct err *err)
    __attribute__((warn_unused_result));
/* Recipients from the head with -t, Bcc fields removed. */
int sendmail_finish(struct sendmail_job *j, struct err *err) __attribute__((warn_unused_result));
/* The field for a message that has none: the server says whose address, as it knows the domain. */
void sendmail_from(const struct sendmail_job *j, struct str address, struct buf *out);

/* sendmail_dialog.c: returns a code of sysexits.h, and says on standard error what went wrong. */
int sendmail_send(const char *socket, struct sendmail_job *j);
int sendmail_proxy(const char *socket); /* -bs: standard input and output are the session */
#endif
