/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* authres_stage.c - the stage `authres`: what the stages before it have found out, as one field
 * Authentication-Results; and none of our name that came with the message (RFC 8601 5). */
#include "appliance/mail/header.h"
#include "filters/authres.h"
#include "filters/builtin.h"
#include <stdio.h>

struct authres_conf {
    const char *id;
    bool field, remove_forged;
};
// clang-format off
static const struct ph_setting authres_settings[] = {
    PH_SETTING(TEXT, authres_conf, id, PH_RELOAD, "", 0, 0,
               "The name under which results are told (authserv-id). Empty: the server's own."),
    PH_SETTING(BOOL, authres_conf, field, PH_RELOAD, "yes", 0, 0,
               "Add an Authentication-Results field to mail that something was found out about."),
    PH_SETTING(BOOL, authres_conf, remove_forged, PH_RELOAD, "yes", 0, 0,
               "Remove Authentication-Results that claim to be this server's own, and those that can't be read (RFC 8601 5)."),
    PH_SETTING_END};
// clang-format on

#define FIELD "Authentication-Results"
static const char *const methods[] = {"iprev", "spf", "dkim", "dmarc", "arc"};

/* Only we may speak in our name: readers and other stages would believe it. -1: not all of it can
 * be removed. */
static int remove_forged(const struct ph_host *host, ph_turn turn, struct str id)
{
    const struct ph_view *v = host->view(host, turn);
    struct str rest = str_of(v->head, v->head_size);
    struct header_field h;
    unsigned n = 0;

    while (header_next(&rest, &h)) {
        if (!str_ieq(h.name, STR(FIELD)))
            continue;
        n++;
        if (authres_is_from(h.value, id) && host->header_delete(host->acts(host, turn), FIELD, n))
            return -1;
    }
    return 0;
}

void authres_gather(const struct ph_host *host, struct ph_acts *acts, struct buf *out)
{
    char name[32];

    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        snprintf(name, sizeof name, "%s.authres", methods[i]);
        const char *text = host->fact_get(acts, name);
        if (!text || !text[0])
            continue;
        buf_add_z(out, out->n ? "; " : "");
        buf_add_z(out, text);
    }
}

static void add_field(const struct ph_host *host, ph_turn turn, struct str id)
{
    struct ph_acts *acts = host->acts(host, turn);
    struct buf results, field;

    buf_init(&results, AUTHRES_ALL);
    buf_init(&field, 2 * AUTHRES_ALL);
    authres_gather(host, acts, &results);
    authres_fold(id, buf_str(&results), &field);
    if (results.n && (!buf_ok(&field) || host->header_insert(acts, 0, FIELD, buf_z(&field))))
        host->log(host, host->view(host, turn), PH_LOG_WARN, "no " FIELD ": it would be malformed");
    buf_fini(&results);
    buf_fini(&field);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    const struct ph_host *host = inst;
    const struct authres_conf *c = conf;
    struct str id = str_from(c->id[0] ? c->id : host->view(host, turn)->host);

    (void)at;
    if (c->remove_forged && remove_forged(host, turn, id)) {
        host->failed(host, turn, PH_PASS, NULL, "too many forged " FIELD " fields to remove");
        return;
    }
    host->fact_set(host->acts(host, turn), "authres.id", id.p); /* for who seals it */
    if (c->field)
        add_field(host, turn, id);
    host->done(host, turn, PH_PASS, NULL, NULL);
}

static int check(const struct authres_conf *c, struct ph_err *err)
{
    for (const char *p = c->id; *p; p++)
        if (*p <= ' ' || *p > '~' || strchr("()<>,;:\\\"/[]?=", *p)) {
            snprintf(err->text, sizeof err->text, "id: a name like mx.example.com is wanted");
            return -1;
        }
    return 0;
}

static int reload(void *inst, const void *conf, struct ph_err *err)
{
    (void)inst;
    return check(conf, err);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    *inst = (void *)(uintptr_t)host;
    return check(conf, err);
}

const struct ph_stage authres_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MESSAGE),
    .name = "authres",
    .doc = "Tells readers, in Authentication-Results, what the stages that authenticate mail have "
           "found out, and removes such fields that claim to be this server's.",
    .after = "spf,dkim,arc,dmarc",
    .settings = authres_settings,
    .conf_size = sizeof(struct authres_conf),
    .open = open_stage,
    .reload = reload,
    .on_point = on_point};
