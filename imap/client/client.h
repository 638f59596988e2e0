/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client.h - one IMAP connection to another server, for commands that have the process for
 * themselves: connection, TLS, login, then command after command. RFC 3501, 2595, 4959, 5530.
 * Floor 5 (imap). Threads: one, which owns the loop; blocking: each call turns the loop until its
 * answer is there, or the server was silent for too long.
 * Errors, by kind and why:
 *   ERR_TEMP                   no connection, or it is lost; nonsense was said: connect again
 *   ERR_TEMP, ERR_WHY_BUSY     the server wants to be left alone for a while
 *   ERR_TEMP, ERR_WHY_CANCELLED  a callback said so
 *   ERR_PERM, ERR_WHY_UNTRUSTED  the certificate isn't what was demanded, or the server
 *                              can't prove that it knows the password
 *   ERR_PERM, ERR_WHY_DENIED   the login is refused; no safe way to log in
 *   ERR_PERM                   the command is refused (NO, BAD) */
#ifndef PH_IMAP_CLIENT_CLIENT_H
#define PH_IMAP_CLIENT_CLIENT_H
#include "appliance/io/conn.h"
#include "imap/client/response.h"

enum imap_client_tls {
    IMAP_TLS_IMPLICIT, /* from the first octet (RFC 8314) */
    IMAP_TLS_START,    /* STARTTLS, or not at all */
    IMAP_TLS_MAY       /* STARTTLS where it is offered, else in clear */
};
struct imap_client_conf { /* views; must live as long as the client */
    struct loop *loop;
    const char *host;       /* its name, as its certificate should have it */
    const char *const *ips; /* its addresses, tried one after the other */
    size_t n_ips;
    uint16_t port;
    enum imap_client_tls use;
    struct tls_ctx *tls;
    bool unverified; /* whoever answers is taken for the server */
    const char *user, *password;
    uint64_t silence_ms; /* longest wait for a word of the server; 0: two minutes */
};
struct imap_client;
/* Connected and logged in. */
int imap_client_open(const struct imap_client_conf *conf, struct imap_client **out, struct err *err)
    __attribute__((warn_unused_result));
void imap_client_close(struct imap_client **c); /* LOGOUT, unheard. NULL is fine */
bool imap_client_alive(const struct imap_client *c);
unsigned imap_client_can(const struct imap_client *c); /* IMAP_CAN_* */

/* What comes while a command runs; -1 ends it, and the connection with it. NULL: not wanted. */
struct imap_client_events {
    int (*on_response)(void *ctx, const struct imap_response *r); /* DATA and STATUS */
    int (*on_text)(void *ctx, const struct imap_response *head, uint64_t size);
    int (*on_piece)(void *ctx, struct str piece);
};
/* `command` without tag and CRLF; its literals in the form of imap_put_string(). */
int imap_client_ask(struct imap_client *c, struct str command, const struct imap_client_events *ev,
                    void *ctx, struct err *err) __attribute__((warn_unused_result));

/* All folders with LIST (or those subscribed with LSUB), the other users' and shared ones left out
 * by NAMESPACE. */
struct imap_folders {
    struct imap_folder *list;
    size_t n;
    struct imap_namespaces spaces;
};
enum { IMAP_FOLDERS_MAX = 20000 };
int imap_client_folders(struct imap_client *c, struct arena *a, struct imap_folders *out,
                        struct err *err) __attribute__((warn_unused_result));
int imap_client_subscribed(struct imap_client *c, struct arena *a, struct imap_folders *out,
                           struct err *err) __attribute__((warn_unused_result));
#endif
