/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client_login.c - who we are: SCRAM-SHA-256, PLAIN, or the command LOGIN, the first that the
 * server has and that lets us in. A server may offer SCRAM though it has no verifier of this user.
 */
#include "appliance/base/mem.h"
#include "appliance/directory/sasl_client.h"
#include "imap/client/client_private.h"
#include "imap/cursor.h"

enum { INITIAL_MAX = 4096 };

static int refused(const struct imap_client *c, struct err *err)
{
    struct err why = *err;

    if (why.kind != ERR_PERM)
        return -1;
    return ERR_WHY(err, ERR_PERM, why.why == ERR_WHY_UNTRUSTED ? ERR_WHY_UNTRUSTED : ERR_WHY_DENIED,
                   "login as %s: %s", c->conf->user, why.text);
}

/* What the mechanism says to a challenge; false: it gives up. */
static bool reply(struct imap_client *c, struct sasl_client *sasl, struct str challenge,
                  struct err *err)
{
    struct str out;
    enum sasl_client_step step = sasl_client_feed(sasl, challenge, &out, err);

    if (step == SASL_CLIENT_WORK) {
        sasl_client_work(sasl);
        step = sasl_client_worked(sasl, &out, err);
    }
    conn_write_str(c->conn, step == SASL_CLIENT_SEND ? out : STR("*"));
    conn_write_str(c->conn, STR("\r\n"));
    return step == SASL_CLIENT_SEND;
}

/* It doesn't prove that it knows the password: it doesn't get it by another mechanism either. */
static int suspect(struct err *err)
{
    err->kind = ERR_PERM;
    err->why = ERR_WHY_UNTRUSTED;
    return -1;
}

static int dialog(struct imap_client *c, struct sasl_client *sasl, struct err *err)
{
    const struct imap_response *r;
    struct err own = {ERR_NONE, ERR_WHY_OTHER, ""};
    bool going = true;

    for (;;) {
        if (imap_client_next(c, NULL, NULL, &r, err) != 0)
            return -1;
        if (r->kind != IMAP_RESPONSE_CONTINUE)
            break;
        if (!going)
            return ERR(err, ERR_TEMP, "the server goes on after a cancelled login");
        going = reply(c, sasl, r->text, &own);
    }
    if (!going) {
        *err = own;
        return suspect(err);
    }
    if (imap_client_verdict(r, err) != 0)
        return -1;
    return sasl_client_finish(sasl, err) == 0 ? 0 : suspect(err);
}

static int authenticate(struct imap_client *c, const char *mechanism, struct err *err)
{
    struct sasl_client *sasl;
    struct str initial;
    struct buf line;
    int rc;

    if (sasl_client_new(str_from(mechanism), str_from(c->conf->user), str_from(c->conf->password),
                        &sasl, err) != 0)
        return -1;
    buf_init(&line, INITIAL_MAX + 64);
    buf_printf(&line, "AUTHENTICATE %s", mechanism);
    if ((c->can & IMAP_CAN_IR) && sasl_client_initial(sasl, INITIAL_MAX, &initial)) {
        buf_add_char(&line, ' ');
        buf_add_str(&line, initial.n ? initial : STR("="));
    }
    rc = imap_client_say(c, buf_str(&line), NULL, NULL, err);
    if (rc == 0)
        rc = dialog(c, sasl, err);
    if (line.n)
        explicit_bzero(line.p, line.n);
    buf_fini(&line);
    sasl_client_free(&sasl);
    return rc;
}

static int login(struct imap_client *c, struct err *err)
{
    struct buf line;
    int rc;

    buf_init(&line, 4096);
    buf_add_z(&line, "LOGIN ");
    imap_put_quoted_or_literal(&line, str_from(c->conf->user));
    buf_add_char(&line, ' ');
    imap_put_quoted_or_literal(&line, str_from(c->conf->password));
    rc = buf_ok(&line) ? imap_client_ask(c, buf_str(&line), NULL, NULL, err)
                       : ERR(err, ERR_PERM, "user or password is too long");
    if (line.n)
        explicit_bzero(line.p, line.n);
    buf_fini(&line);
    return rc;
}

int imap_client_login(struct imap_client *c, struct err *err)
{
    int rc = ERR(err, ERR_PERM, "the server offers no way to log in that is known here");

    if (c->can & IMAP_CAN_SCRAM)
        rc = authenticate(c, "SCRAM-SHA-256", err);
    if (rc == 0 || err->kind != ERR_PERM || err->why == ERR_WHY_UNTRUSTED)
        return rc == 0 ? 0 : refused(c, err);
    if (c->can & IMAP_CAN_PLAIN)
        rc = authenticate(c, "PLAIN", err);
    else if (!(c->can & IMAP_CAN_NO_LOGIN))
        rc = login(c, err);
    return rc == 0 ? 0 : refused(c, err);
}
