/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/sasl_client.h"
#include "smtp/client/client_private.h"
#include <arpa/inet.h>
#include <stdio.h>

/* RFC 4954 4: the AUTH command with its initial response is a command line as any. */
enum { COMMAND_LINE = 510 };

struct client_login { /* outlives the client while its job runs */
    struct job job;
    struct smtp_client *c;
    struct sasl_client *sasl;
    bool busy, orphan;
};

bool client_may_login(const char *ip, bool tls)
{
    struct in6_addr six;
    struct in_addr four;
    if (tls)
        return true;
    if (inet_pton(AF_INET, ip, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, ip, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static void login_free(struct client_login *l)
{
    sasl_client_free(&l->sasl);
    mem_free(l);
}

void client_login_free(struct smtp_client *c)
{
    struct client_login *l = c->login;
    c->login = NULL;
    if (l && l->busy)
        l->orphan = true;
    else if (l)
        login_free(l);
}

/* The first of ours that the host knows too. */
static bool choose(const struct smtp_client *c, struct str *out)
{
    const char *ours = c->credentials->mechanisms;
    struct str rest = str_from(ours && ours[0] ? ours : SASL_CLIENT_MECHANISMS);
    while (rest.n) {
        size_t n = 0;
        while (n < rest.n && !strchr(" ,\t", rest.p[n]))
            n++;
        *out = str_take(rest, n);
        if (n && sasl_client_knows(*out) && smtp_ehlo_has_auth(&c->ehlo, *out))
            return true;
        rest = str_skip(rest, n ? n : 1);
    }
    return false;
}

static void begin(struct smtp_client *c)
{
    char verb[64];
    struct str initial;
    snprintf(verb, sizeof verb, "AUTH %s", sasl_client_name(c->login->sasl));
    if (!sasl_client_initial(c->login->sasl, COMMAND_LINE - strlen(verb) - 1, &initial))
        initial = STR("");
    client_say_secret(c, verb, initial);
    client_await(c, CLIENT_AUTH, STAGE_AUTH);
}

void client_login(struct smtp_client *c)
{
    struct str mechanism;
    struct err err;
    struct sasl_client *sasl;
    if (!c->credentials) {
        client_ready(c);
        return;
    }
    c->stage = STAGE_AUTH;
    if (!client_may_login(c->ip, conn_has_tls(c->conn))) /* RFC 5248: X.7.11 */
        client_end_for(c, SMTP_FAULT_AUTH, "4.7.11", BYE_QUIT,
                       "offers no TLS, without which our password isn't sent");
    else if (!choose(c, &mechanism))
        client_end_for(c, SMTP_FAULT_AUTH, "4.7.4", BYE_QUIT,
                       "offers no login that we may use (it offers: %s)",
                       c->ehlo.auth[0] ? c->ehlo.auth : "none");
    else if (sasl_client_new(mechanism, str_from(c->credentials->user),
                             str_from(c->credentials->password), &sasl, &err) != 0)
        client_end_for(c, SMTP_FAULT_AUTH, "4.7.8", BYE_QUIT, "%s", err.text);
    else {
        c->login = MEM_NEW(struct client_login);
        c->login->c = c;
        c->login->sasl = sasl;
        begin(c);
    }
}

/* RFC 4954 4: "*" cancels, whatever the answer. */
static void cancel(struct smtp_client *c, const struct err *err)
{
    conn_write(c->conn, "*\r\n", 3);
    client_end_for(c, SMTP_FAULT_AUTH, "4.7.8", BYE_QUIT, "%s", err->text);
}

static void run_work(struct job *j, void *worker)
{
    struct client_login *l = CONTAINER_OF(j, struct client_login, job);
    (void)worker;
    sasl_client_work(l->sasl);
}

static void answer(struct smtp_client *c, struct str out)
{
    client_say_secret(c, "", out);
    client_await(c, CLIENT_AUTH, STAGE_AUTH);
}

static void on_worked(struct job *j)
{
    struct client_login *l = CONTAINER_OF(j, struct client_login, job);
    struct smtp_client *c = l->c;
    struct str out;
    struct err err;
    l->busy = false;
    if (l->orphan)
        login_free(l);
    else if (sasl_client_worked(l->sasl, &out, &err) == SASL_CLIENT_SEND)
        answer(c, out);
    else
        cancel(c, &err);
}

void client_login_retry(struct smtp_client *c)
{
    struct client_login *l = c->login;
    if (l->busy)
        return;
    l->job.run = run_work;
    l->job.done = on_worked;
    l->busy = lane_submit(c->files, &l->job) == 0;
    if (!l->busy) /* until the time limit of AUTH */
        timer_start(c->retry, CLIENT_RETRY_MS);
}

static void on_challenge(struct smtp_client *c)
{
    struct str out;
    struct err err;
    switch (sasl_client_feed(c->login->sasl, buf_str(&c->answer.text), &out, &err)) {
    case SASL_CLIENT_SEND:
        answer(c, out);
        break;
    case SASL_CLIENT_WORK:
        client_await(c, CLIENT_PROVING, STAGE_AUTH);
        client_login_retry(c);
        break;
    case SASL_CLIENT_ERROR:
        cancel(c, &err);
        break;
    }
}

void client_on_auth(struct smtp_client *c)
{
    struct err err;
    unsigned code = c->answer.code;
    if (code == 334) {
        on_challenge(c);
    } else if (code / 100 == 2) {
        int finished = sasl_client_finish(c->login->sasl, &err);
        client_login_free(c);
        if (finished == 0)
            client_ready(c);
        else
            client_end_for(c, SMTP_FAULT_AUTH, "4.7.8", BYE_QUIT, "%s", err.text);
    } else if (code / 100 == 4) { /* RFC 4954 6: 454, it can't tell just now */
        client_end_by_reply(c, SMTP_FAULT_HOST, BYE_QUIT);
    } else {
        client_end_by_reply(c, SMTP_FAULT_AUTH, BYE_QUIT);
    }
}
