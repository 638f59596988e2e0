/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/outside.h"
#include "appliance/base/mem.h"
#include "filters/builtin.h"
#include "filters/client.h"
#include <stdio.h>

int outside_check(const char *skip, struct ph_err *err)
{
    struct cidr_set set;
    struct err why = {0};

    if (cidr_set_parse(str_from(skip), &set, &why)) {
        snprintf(err->text, sizeof err->text, "skip: %.200s", why.text);
        return -1;
    }
    cidr_set_free(&set);
    return 0;
}

void outside_take(struct outside *o, const char *skip)
{
    struct cidr_set fresh;
    struct err why;

    CHECK(cidr_set_parse(str_from(skip), &fresh, &why) == 0);
    cidr_set_free(&o->skip);
    o->skip = fresh;
}

void outside_fini(struct outside *o)
{
    cidr_set_free(&o->skip);
}

void outside_stage_close(void *inst)
{
    struct outside_stage *st = inst;

    outside_fini(&st->outside);
    mem_free(st);
}

int outside_stage_open(const struct ph_host *host, const char *skip, void **inst)
{
    struct outside_stage *st = MEM_NEW(struct outside_stage);

    st->host = host;
    outside_take(&st->outside, skip);
    *inst = st;
    return 0;
}

/* ---- Everybody from one private address. */

static bool is_private(const uint8_t ip[16])
{
    static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
    const uint8_t *b = ip + sizeof v4;

    if (memcmp(ip, v4, sizeof v4) != 0)
        return (ip[0] & 0xfe) == 0xfc || (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80);
    return b[0] == 10 || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168) ||
           (b[0] == 100 && (b[1] & 0xc0) == 64) || (b[0] == 169 && b[1] == 254);
}

static void forget(struct outside_seen *o, const struct ph_host *host, const struct ph_view *v)
{
    if (o->hidden)
        host->log(host, v, PH_LOG_INFO, "clients are seen by their own addresses again");
    o->n_names = 0;
    o->hidden = false;
}

/* A relay of one's own has one name, however much it brings; strangers have many. */
static void note(struct outside_seen *o, const struct ph_host *host, const struct ph_view *v)
{
    uint64_t name = str_hash(str_from(v->helo));
    uint8_t ip[16];

    if (!client_parse(v->client_ip, ip) || !v->helo[0])
        return;
    if (!is_private(ip) || memcmp(ip, o->ip, sizeof ip) != 0)
        forget(o, host, v);
    memcpy(o->ip, ip, sizeof ip);
    if (!is_private(ip) || o->hidden)
        return;
    for (size_t i = 0; i < o->n_names; i++)
        if (o->names[i] == name)
            return;
    o->names[o->n_names++] = name;
    if (o->n_names < OUTSIDE_NAMES)
        return;
    o->hidden = true;
    snprintf(o->why, sizeof o->why,
             "not checked: all clients come from %s, a gateway that hides their addresses",
             v->client_ip);
    host->log(
        host, v, PH_LOG_WARN,
        "all clients come from %s: a gateway (of containers?) hides their addresses, so stages "
        "that judge them do nothing. Use the host's network, or the PROXY protocol",
        v->client_ip);
}

const char *outside_not(const struct ph_view *v)
{
    if (v->auth_user[0])
        return "not checked: logged in";
    if (v->trusted)
        return "not checked: guard.trusted";
    if (strcmp(v->service, "reception") != 0)
        return "not checked: no mail from outside";
    return NULL;
}

const char *outside_why_not(const struct outside *o, const struct ph_host *host,
                            const struct ph_view *v)
{
    const char *why = outside_not(v);
    struct outside_seen *seen = builtin_seen(host);

    if (why)
        return why;
    note(seen, host, v);
    if (seen->hidden)
        return seen->why;
    if (cidr_set_has(&o->skip, v->client_ip))
        return "not checked: skip";
    return NULL;
}
