/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter.c - the stage `milter`: filters of other programs, by the protocol of Sendmail's
 * libmilter. */
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "filters/builtin.h"
#include "filters/milter_private.h"
#include <stdio.h>

enum { MOST = 20, HOUR = 3600 * 1000 };

// clang-format off
static const struct ph_setting milter_settings[] = {
    PH_SETTING(TEXT, milter_conf, endpoints, PH_RELOAD | PH_LIST, "", 0, 0,
               "Where milters listen: inet:host:port or unix:/path each. They are asked in this order, and each sees what those before it "
               "have made of the message. One connection to each for a session of SMTP, made when it is needed. None: the stage does "
               "nothing. posthouse dev is sealed and can ask none."),
    PH_SETTING(TIME, milter_conf, connect_timeout, PH_RELOAD, "5s", 1, HOUR,
               "How long a connection to a milter may take."),
    PH_SETTING(TIME, milter_conf, command_timeout, PH_RELOAD, "10s", 1, HOUR,
               "How long a milter may take to answer one command. One that is too late has failed: it isn't asked again in this "
               "transaction, and on_error decides once the other milters are asked; deadline limits all of them together."),
    PH_SETTING(TIME, milter_conf, content_timeout, PH_RELOAD, "25s", 1, HOUR,
               "How long a milter may take at the end of a message, from the last sign of life. To give it more than that, "
               "raise deadline too."),
    PH_SETTING(SIZE, milter_conf, body_limit, PH_RELOAD, "64M", 1, 1LL << 30,
               "Largest body that a milter may put in place of the one that came."),
    PH_SETTING_END};
// clang-format on

static int check(const void *conf, struct ph_err *err)
{
    const struct milter_conf *c = conf;
    struct str rest = str_from(c->endpoints), word;
    struct milter_endpoint e;
    struct err why = {0};
    size_t n = 0;

    while (settings_list_next(&rest, &word)) {
        if (milter_endpoint_parse(word, &e, &why)) {
            snprintf(err->text, sizeof err->text, "endpoints: %.220s", why.text);
            return -1;
        }
        if (++n > MOST) {
            snprintf(err->text, sizeof err->text, "endpoints: at most %d milters", MOST);
            return -1;
        }
    }
    return 0;
}

/* It runs only where there are endpoints. */
static int check_host(const struct ph_host *host, struct ph_err *err)
{
    if (!builtin_sealed(host))
        return 0;
    snprintf(err->text, sizeof err->text,
             "this server is sealed, and reaches no milter: take endpoints out of its settings, or "
             "use posthouse serve");
    return -1;
}

static bool idle(const void *conf)
{
    return !((const struct milter_conf *)conf)->endpoints[0];
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    struct milter *m;

    (void)conf;
    if (check_host(host, err))
        return -1;
    m = MEM_NEW(struct milter);
    m->host = host;
    m->loop = builtin_loop(host);
    *inst = m;
    return 0;
}

static void close_stage(void *inst)
{
    mem_free(inst);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    struct milter *m = inst;
    void **session = m->host->session(m->host, turn);

    if (!*session)
        *session = milter_session_new(m, conf);
    milter_session_point(*session, turn, at);
}

static void cancel(void *inst, ph_turn turn)
{
    struct milter *m = inst;

    milter_session_cancel(*m->host->session(m->host, turn));
}

static void session_over(void *inst, void *session)
{
    struct milter_session *s = session;

    (void)inst;
    milter_session_free(&s);
}

const struct ph_stage milter_stage = {
    PH_STAGE_HEAD,
    .points =
        PH_AT(PH_CONNECT) | PH_AT(PH_HELO) | PH_AT(PH_MAIL) | PH_AT(PH_RCPT) | PH_AT(PH_MESSAGE),
    .name = "milter",
    .doc =
        "Asks filters of other programs by the milter protocol of Sendmail (rspamd, OpenDKIM, "
        "spamass-milter, Amavis ...): incoming mail and what users send. What it asks the DNS is "
        "the address of a milter that is given by name.",
    .after = "limits,headers,rdns,helo,spf,dnslist,greylist", /* whose refusals end it */
    .settings = milter_settings,
    .conf_size = sizeof(struct milter_conf),
    .check = check,
    .open = open_stage,
    .close = close_stage,
    .on_point = on_point,
    .cancel = cancel,
    .session_over = session_over,
    .idle = idle,
    .dns_queries = 2 * MOST,
    .dns_ms = 5000};
