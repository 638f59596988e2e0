/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* headers.c - stage `headers`: what RFC 5322 3.6 and 2.2 demand of a head, and what to do with mail
 * that doesn't keep to it. Old programs send much of this without ill will; several From fields are
 * what forgers use, as every reader shows another one of them. */
#include "appliance/base/text.h"
#include "appliance/mail/header.h"
#include "filters/builtin.h"
#include <stdio.h>
#include <string.h>

enum wish { WISH_OFF, WISH_JUNK, WISH_REJECT };
struct headers_conf {
    int missing_from, several_from, missing_date, several_date, several_message_id, several_subject,
        eight_bit, no_head;
};
static const char *const wishes[] = {"off", "junk", "reject", NULL};
// clang-format off
static const struct ph_setting headers_settings[] = {
    PH_SETTING_ENUM(headers_conf, missing_from, PH_RELOAD, "off", wishes, "Mail without From."),
    PH_SETTING_ENUM(headers_conf, several_from, PH_RELOAD, "reject", wishes,
                    "Several From fields: which one a reader shows nobody knows, so forgers send them."),
    PH_SETTING_ENUM(headers_conf, missing_date, PH_RELOAD, "off", wishes, "Mail without Date."),
    PH_SETTING_ENUM(headers_conf, several_date, PH_RELOAD, "junk", wishes, "Several Date fields."),
    PH_SETTING_ENUM(headers_conf, several_message_id, PH_RELOAD, "junk", wishes, "Several Message-ID fields."),
    PH_SETTING_ENUM(headers_conf, several_subject, PH_RELOAD, "junk", wishes, "Several Subject fields."),
    PH_SETTING_ENUM(headers_conf, eight_bit, PH_RELOAD, "off", wishes,
                    "Octets over 127 in the head that are no UTF-8, or that come without SMTPUTF8 (RFC 6532 3)."),
    PH_SETTING_ENUM(headers_conf, no_head, PH_RELOAD, "off", wishes, "Mail without any header field."),
    PH_SETTING_END};
// clang-format on

struct found {
    unsigned from, date, message_id, subject, fields;
    bool eight_bit;
};

static void look(const struct ph_view *v, struct found *f)
{
    struct str head = str_of(v->head, v->head_size), rest = head;
    struct header_field h;

    while (header_next(&rest, &h)) {
        f->fields++;
        f->from += str_ieq(h.name, STR("From"));
        f->date += str_ieq(h.name, STR("Date"));
        f->message_id += str_ieq(h.name, STR("Message-ID"));
        f->subject += str_ieq(h.name, STR("Subject"));
    }
    for (size_t i = 0; i < head.n && !f->eight_bit; i++)
        f->eight_bit = (unsigned char)head.p[i] >= 0x80;
    if (f->eight_bit && v->utf8)
        f->eight_bit = !text_utf8_valid(head);
}

static void on_point(void *inst, const void *conf, ph_turn turn, enum ph_point at)
{
    const struct ph_host *host = inst;
    const struct headers_conf *c = conf;
    struct found f = {0};
    const char *why = NULL;
    int worst = WISH_OFF;

    (void)at;
    look(host->view(host, turn), &f);
    const struct {
        int wish;
        bool is;
        const char *text;
    } faults[] = {{c->no_head, f.fields == 0, "no header field at all"},
                  {c->missing_from, f.fields && f.from == 0, "no From field"},
                  {c->several_from, f.from > 1, "more than one From field"},
                  {c->missing_date, f.fields && f.date == 0, "no Date field"},
                  {c->several_date, f.date > 1, "more than one Date field"},
                  {c->several_message_id, f.message_id > 1, "more than one Message-ID field"},
                  {c->several_subject, f.subject > 1, "more than one Subject field"},
                  {c->eight_bit, f.eight_bit, "octets over 127 in the head"}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        if (faults[i].is && faults[i].wish > worst) {
            worst = faults[i].wish;
            why = faults[i].text;
        }
    char reply[200];
    snprintf(reply, sizeof reply, "554 5.6.0 The message's head is malformed (RFC 5322 3.6): %s",
             why ? why : "");
    host->done(host, turn,
               worst == WISH_REJECT ? PH_REJECT
               : worst == WISH_JUNK ? PH_JUNK
                                    : PH_PASS,
               reply, why);
}

static int open_stage(const struct ph_host *host, const void *conf, void **inst, struct ph_err *err)
{
    (void)conf;
    (void)err;
    *inst = (void *)(uintptr_t)host;
    return 0;
}

const struct ph_stage headers_stage = {
    PH_STAGE_HEAD,
    .points = PH_AT(PH_MESSAGE),
    .name = "headers",
    .doc = "Refuses mail whose header block is malformed, or puts it into Junk.",
    .settings = headers_settings,
    .conf_size = sizeof(struct headers_conf),
    .open = open_stage,
    .on_point = on_point};
