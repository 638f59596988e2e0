/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/client/client_ehlo.h"

#include "appliance/base/mem.h"
#include "smtp/client/client.h"

static const struct {
    struct str name;
    unsigned can;
} keywords[] = {
    {{"PIPELINING", 10}, SMTP_CAN_PIPELINING},
    {{"SIZE", 4}, SMTP_CAN_SIZE},
    {{"8BITMIME", 8}, SMTP_CAN_8BITMIME},
    {{"SMTPUTF8", 8}, SMTP_CAN_SMTPUTF8},
    {{"CHUNKING", 8}, SMTP_CAN_CHUNKING},
    {{"DSN", 3}, SMTP_CAN_DSN},
    {{"REQUIRETLS", 10}, SMTP_CAN_REQUIRETLS},
    {{"STARTTLS", 8}, SMTP_CAN_STARTTLS},
    {{"AUTH", 4}, SMTP_CAN_AUTH},
    {{"ENHANCEDSTATUSCODES", 19}, SMTP_CAN_ENHANCED},
};

static bool next_word(struct str *rest, struct str *word)
{
    while (rest->n && (rest->p[0] == ' ' || rest->p[0] == '\t'))
        *rest = str_skip(*rest, 1);
    if (rest->n == 0)
        return false;
    str_cut(*rest, ' ', word, rest);
    return true;
}

bool smtp_ehlo_has_auth(const struct smtp_ehlo *e, struct str mechanism)
{
    struct str rest = str_from(e->auth), word;
    while (next_word(&rest, &word))
        if (str_ieq(word, mechanism))
            return true;
    return false;
}

static void add_auth(struct smtp_ehlo *e, struct str list)
{
    struct str word;
    while (next_word(&list, &word)) {
        size_t n = strlen(e->auth);
        if (n + 1 + word.n + 1 > sizeof e->auth || smtp_ehlo_has_auth(e, word))
            continue;
        if (n)
            e->auth[n++] = ' ';
        memcpy(e->auth + n, word.p, word.n);
        e->auth[n + word.n] = '\0';
    }
}

/* RFC 9422 4: "LIMITS RCPTMAX=100 MAILMAX=50"; what isn't understood is passed over. */
static void add_limits(struct smtp_ehlo *e, struct str list)
{
    struct str word, name, value;
    while (next_word(&list, &word)) {
        uint64_t n;
        if (!str_cut(word, '=', &name, &value) || str_to_u64(value, 1000000, &n) != 0 || n == 0)
            continue;
        if (str_ieq(name, STR("RCPTMAX")))
            e->rcpt_max = (unsigned)n;
        else if (str_ieq(name, STR("MAILMAX")))
            e->mail_max = (unsigned)n;
    }
}

static void take_line(struct smtp_ehlo *e, struct str line)
{
    struct str word, rest = line;
    unsigned can = 0;
    if (!next_word(&rest, &word))
        return;
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
        if (str_ieq(word, keywords[i].name))
            can = keywords[i].can;
    if (str_istarts(word, STR("AUTH="))) { /* a form of before RFC 2554 that is still met */
        can = SMTP_CAN_AUTH;
        add_auth(e, str_skip(word, 5));
    }
    e->can |= can;
    if (can == SMTP_CAN_AUTH)
        add_auth(e, rest);
    else if (can == SMTP_CAN_SIZE && next_word(&rest, &word) &&
             str_to_u64(word, UINT64_MAX, &e->size) != 0)
        e->size = 0;
    else if (str_ieq(word, STR("LIMITS")))
        add_limits(e, rest);
}

void smtp_ehlo_parse(struct str text, struct smtp_ehlo *out)
{
    struct str line;
    *out = (struct smtp_ehlo){0};
    if (!str_cut(text, '\n', &line, &text))
        return;
    while (text.n) {
        str_cut(text, '\n', &line, &text);
        take_line(out, line);
    }
}
