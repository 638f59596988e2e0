/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/admin.h"
#include "appliance/app/admin_words.h"
#include "appliance/base/mem.h"
#include <time.h>

enum { ARGS_MAX = 64 };

static const struct admin_command *const groups[] = {
    admin_domain_commands,   admin_user_commands,       admin_alias_commands,
    admin_password_commands, admin_mailbox_commands,    admin_account_commands,
    admin_explain_commands,  admin_queue_commands,      admin_ban_commands,
    admin_dkim_commands,     admin_quarantine_commands, admin_policy_commands,
    admin_forward_commands,  admin_vacation_commands,   admin_app_password_commands,
    admin_doctor_commands,   admin_report_commands};

bool admin_is_group(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (strcmp(groups[i]->group, word) == 0)
            return true;
    return false;
}

/* By the verbs, which mean the same in all groups. */
bool admin_reads(const char *const *argv, size_t n)
{
    static const char *const verbs[] = {"list", "show", "check", "totals", "test", "accounts"};

    for (size_t i = 0; n >= 2 && i < ARRAY_LEN(verbs); i++)
        if (strcmp(argv[1], verbs[i]) == 0)
            return true;
    return n >= 3 && strcmp(argv[1], "alias") == 0 && strcmp(argv[2], "list") == 0;
}

bool admin_on_loop(const char *group)
{
    return strcmp(group, admin_ban_commands[0].group) == 0;
}

static const struct admin_command *find_verb(const char *group, const char *verb)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        for (const struct admin_command *c = groups[i]; c->group; c++)
            if (strcmp(c->group, group) == 0 && strcmp(c->verb, verb) == 0)
                return c;
    return NULL;
}

static int check_words(const struct admin_command *c, const char *const *argv, size_t n,
                       struct err *err)
{
    size_t args = 0;

    if (n > ARGS_MAX)
        return ERR(err, ERR_PROTO, "too many words");
    for (size_t i = 2; i < n; i++) {
        if (strncmp(argv[i], "--", 2) != 0)
            args++;
        else if (!admin_knows_option(c->options, argv[i] + 2))
            return ERR(err, ERR_PROTO, "%s %s does not know %s", c->group, c->verb, argv[i]);
    }
    if (args < c->min_args || args > c->max_args)
        return ERR(err, ERR_PROTO, "usage: posthouse %s %s %s", c->group, c->verb, c->usage);
    return 0;
}

const struct admin_command *admin_find(const char *const *argv, size_t n, struct err *err)
{
    const struct admin_command *c = n >= 2 ? find_verb(argv[0], argv[1]) : NULL;

    if (!c) {
        err_set(err, ERR_PROTO, ERR_WHY_NOT_FOUND, "no such command: %s %s (posthouse %s --help)",
                n ? argv[0] : "", n > 1 ? argv[1] : "", n ? argv[0] : "");
        return NULL;
    }
    return check_words(c, argv, n, err) ? NULL : c;
}

int admin_run(const char *const *argv, size_t n, struct admin_call *call)
{
    const char *args[ARGS_MAX], *options[ARGS_MAX];
    const struct admin_command *c;

    err_clear(&call->err);
    c = admin_find(argv, n, &call->err);
    if (!c)
        return ADMIN_USAGE;
    call->args = args;
    call->options = options;
    call->n_args = call->n_options = 0;
    for (size_t i = 2; i < n; i++) {
        if (strncmp(argv[i], "--", 2) == 0)
            options[call->n_options++] = argv[i] + 2;
        else
            args[call->n_args++] = argv[i];
    }
    int rc = c->run(call);
    call->args = call->options = NULL;
    return rc ? admin_exit_code(&call->err) : ADMIN_OK;
}

const char *admin_option(const struct admin_call *c, const char *name)
{
    return admin_option_value(c->options, c->n_options, name);
}

void admin_usage(const char *group, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        for (const struct admin_command *c = groups[i]; c->group; c++)
            if (!group || strcmp(group, c->group) == 0)
                admin_usage_lines(c->group, c->verb, c->usage, c->options, c->doc, out);
}

json_t *admin_str(struct str s)
{
    json_t *v = s.p ? json_stringn(s.p, s.n) : json_null();

    return v ? v : json_string("(not UTF-8)");
}

json_t *admin_moment(int64_t at)
{
    char text[32];
    time_t t = (time_t)at;
    struct tm tm;

    if (at <= 0 || !gmtime_r(&t, &tm) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
        return json_null();
    return json_string(text);
}
