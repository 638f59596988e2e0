/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* ban: who is not let in. */
#include "appliance/app/admin.h"
#include "appliance/base/mem.h"
#include "filters/client.h"
#include "filters/guard.h"

enum { REASON_MAX = 100 };

struct ban_words {
    uint64_t duration;
};
/* As times are written in the configuration. */
static const struct ph_setting words_settings[] = {
    PH_SETTING(TIME, ban_words, duration, 0, "0", 1000, INT64_C(3650) * 24 * 3600 * 1000,
               "How long."),
    PH_SETTING_END};

static void add_row(void *ctx, const struct guard_ban *b)
{
    struct client_text net = client_text(&b->net);

    json_array_append_new(ctx, json_pack("{ss so so si ss ss}", "client", net.z, "since",
                                         admin_moment(b->since), "until", admin_moment(b->until),
                                         "times", (int)b->times, "by", b->manual ? "hand" : "guard",
                                         "reason", b->reason));
}

static int cmd_list(struct admin_call *c)
{
    c->result = json_array();
    guard_ban_each(c->guard, add_row, c->result);
    return 0;
}

/* It is kept: the setting may change. */
static json_t *trusted(const struct admin_call *c, const struct cidr *net)
{
    struct client_text text = client_text(net);
    enum guard_trust trust = guard_trusts_net(c->guard, net);

    if (trust == GUARD_TRUSTS_NONE)
        return NULL;
    bool all = trust == GUARD_TRUSTS_ALL;
    return json_pack(
        "{ss ss s[s+]}", "client", text.z, "trusted", all ? "all" : "some", "warnings", text.z,
        all ? " is trusted by guard.trusted: the ban has no effect while it is"
            : " holds networks that guard.trusted trusts: the ban has no effect there");
}

static int cmd_add(struct admin_call *c)
{
    const char *reason = admin_option(c, "reason"), *duration = admin_option(c, "for");
    struct ban_words words = {0};
    struct cidr net;

    if (client_net_parse(str_from(c->args[0]), &net, &c->err))
        return -1;
    if (duration &&
        settings_set(words_settings, &words, STR("duration"), str_from(duration), &c->err))
        return err_context(&c->err, "--for");
    if (reason && strlen(reason) > REASON_MAX)
        return ERR(&c->err, ERR_PROTO, "--reason: at most %d octets", REASON_MAX);
    if (guard_ban_add(c->guard, &net, words.duration, str_from(reason), &c->err))
        return -1;
    c->result = trusted(c, &net);
    return 0;
}

static int cmd_remove(struct admin_call *c)
{
    struct cidr net;

    if (client_net_parse(str_from(c->args[0]), &net, &c->err))
        return -1;
    if (!guard_ban_remove(c->guard, &net))
        return ERR_WHY(&c->err, ERR_PERM, ERR_WHY_NOT_FOUND,
                       "%s is not banned; posthouse ban list shows who is, as it is written there",
                       c->args[0]);
    return 0;
}

static const char *const add_options[] = {"for=", "reason=", NULL};

const struct admin_command admin_ban_commands[] = {
    {"ban", "list", "", 0, 0, NULL, false, cmd_list, "List who is banned."},
    {"ban", "add", "ADDRESS|NETWORK", 1, 1, add_options, false, cmd_add,
     "Refuse connections from there, at once and whoever has logged in from it before. --for=2h: "
     "so long (units s min h d w), else until it is removed."},
    {"ban", "remove", "ADDRESS|NETWORK", 1, 1, NULL, false, cmd_remove, "Lift a ban."},
    {.group = NULL}};
