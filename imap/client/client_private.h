/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client_private.h - what the files of the IMAP client share. Floor 5 (imap). */
#ifndef PH_IMAP_CLIENT_PRIVATE_H
#define PH_IMAP_CLIENT_PRIVATE_H
#include "imap/client/client.h"

struct imap_client {
    const struct imap_client_conf *conf;
    struct conn *conn; /* NULL: over */
    bool open, secured, eof, closed, silent;
    uint64_t asked_ms;
    size_t taken; /* of the connection's input: consumed at once, as that moves the rest */
    struct imap_response_reader reader;
    unsigned can, tag;
    bool told_can; /* `can` is of now */
    char bye[200];
    char local[8];
};
/* The next response that is neither data nor status: TAGGED or CONTINUE, whose views live until the
 * next call. Data and status go to `ev`. */
int imap_client_next(struct imap_client *c, const struct imap_client_events *ev, void *ctx,
                     const struct imap_response **out, struct err *err);
int imap_client_wait_greeting(struct imap_client *c, bool *in_out, struct err *err);
int imap_client_wait(struct imap_client *c, const bool *flag, struct err *err);
/* Sends the command with a new tag, its literals when they are asked for. */
int imap_client_say(struct imap_client *c, struct str command, const struct imap_client_events *ev,
                    void *ctx, struct err *err);
/* What a tagged response means. */
int imap_client_verdict(const struct imap_response *r, struct err *err);
int imap_client_login(struct imap_client *c, struct err *err);
/* Printable, as much as fits. */
void imap_client_words(struct str text, char *out, size_t cap);
#endif
