/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* policy: rules that allow and deny. A running server sees a change at once (policy_rows.h). */
#include "appliance/app/admin_policy.h"
#include "appliance/app/admin_queue.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"

struct policy_words {
    uint64_t expires;
};
/* As times are written in the configuration. */
static const struct ph_setting words_settings[] = {
    PH_SETTING(TIME, policy_words, expires, 0, "0", 1000, INT64_C(3650) * 24 * 3600 * 1000,
               "How long."),
    PH_SETTING_END};

struct work {
    struct admin_call *c;
    struct arena *mem;
    struct policy_rule *rules;
    size_t n;
    int64_t now;
};

static void begin(struct admin_call *c, struct work *w)
{
    *w = (struct work){.c = c, .mem = arena_new(0), .now = clock_wall_ms() / 1000};
}

static int end(struct work *w, int rc)
{
    arena_free(&w->mem);
    return rc;
}

static int read_rules(struct work *w)
{
    struct store_reader *r;

    if (store_reader_open(w->c->store, &r, &w->c->err))
        return -1;
    int rc = policy_rows_read(store_reader_sql(r), w->mem, w->now, &w->rules, &w->n, &w->c->err);
    store_reader_close(&r);
    return rc;
}

/* "all", or what it is for, as --for takes it. */
static json_t *scope_text(struct str scope)
{
    return !scope.n                      ? json_string("all")
           : str_starts(scope, STR("@")) ? admin_str(str_skip(scope, 1))
                                         : admin_str(scope);
}

json_t *policy_rule_json(const struct policy_rule *r)
{
    return json_pack("{ss ss so so so so so}", "action", policy_action_name(r->action), "kind",
                     policy_kind_name(r->kind), "value", admin_str(r->value), "for",
                     scope_text(r->scope), "since", queue_time_text(r->created * 1000), "expires",
                     queue_time_text(r->expires * 1000), "reason", admin_str(r->reason));
}

/* ---- list */

static int list(struct work *w)
{
    const char *word = admin_option(w->c, "for");
    struct str scope;

    if (word && policy_scope_parse(w->mem, str_from(word), &scope, &w->c->err))
        return err_context(&w->c->err, "--for");
    if (read_rules(w))
        return -1;
    w->c->result = json_array();
    for (size_t i = 0; i < w->n; i++)
        if (!word || str_eq(w->rules[i].scope, scope))
            json_array_append_new(w->c->result, policy_rule_json(&w->rules[i]));
    return 0;
}

static int cmd_list(struct admin_call *c)
{
    struct work w;

    begin(c, &w);
    return end(&w, list(&w));
}

/* ---- add, remove */

/* KIND VALUE from args[at] on, and --for. */
static int read_rule(struct work *w, size_t at, struct policy_rule *r)
{
    struct admin_call *c = w->c;

    if (!policy_kind_parse(str_from(c->args[at]), &r->kind))
        return ERR(&c->err, ERR_PROTO,
                   "'%.100s' is no kind of rule: sender, recipient, network or helo", c->args[at]);
    if (policy_value_parse(w->mem, r->kind, str_from(c->args[at + 1]), &r->value, &c->err))
        return -1;
    if (policy_scope_parse(w->mem, str_from(admin_option(c, "for")), &r->scope, &c->err))
        return err_context(&c->err, "--for");
    return 0;
}

static int change(struct work *w, const struct policy_rule *r, bool remove, bool *replaced_out)
{
    struct policy_change_op op;

    policy_change_init(&op, r, remove);
    if (store_submit_wait(w->c->store, &op.op) || op.op.failed) {
        w->c->err = op.op.err;
        return -1;
    }
    *replaced_out = op.replaced;
    return 0;
}

static int add(struct work *w)
{
    struct admin_call *c = w->c;
    const char *expires = admin_option(c, "expires");
    struct policy_rule r = {.reason = str_from(admin_option(c, "reason")), .created = w->now};
    struct policy_words words = {0};
    bool replaced;

    if (!policy_action_parse(str_from(c->args[0]), &r.action))
        return ERR(&c->err, ERR_PROTO, "'%.100s': allow or deny?", c->args[0]);
    if (read_rule(w, 1, &r))
        return -1;
    if (policy_reason_check(r.reason, &c->err))
        return err_context(&c->err, "--reason");
    if (expires && settings_set(words_settings, &words, STR("expires"), str_from(expires), &c->err))
        return err_context(&c->err, "--expires");
    if (expires)
        r.expires = w->now + (int64_t)((words.expires + 999) / 1000);
    if (change(w, &r, false, &replaced))
        return -1;
    c->result = policy_rule_json(&r);
    json_object_set_new(c->result, "replaced", json_boolean(replaced));
    return 0;
}

static int cmd_add(struct admin_call *c)
{
    struct work w;

    begin(c, &w);
    return end(&w, add(&w));
}

static int cmd_remove(struct admin_call *c)
{
    struct policy_rule r = {.kind = POLICY_SENDER};
    struct work w;
    bool there;

    begin(c, &w);
    return end(&w, read_rule(&w, 0, &r) || change(&w, &r, true, &there) ? -1 : 0);
}

static const char *const for_options[] = {"for=", NULL};
static const char *const add_options[] = {"for=", "reason=", "expires=", NULL};
static const char *const test_options[] = {"sender=", "client=", "helo=", NULL};
const struct admin_command admin_policy_commands[] = {
    {"policy", "list", "", 0, 0, for_options, false, cmd_list,
     "List the rules that allow and deny; with --for=WHOM only those for an address, a domain, or "
     "`all`."},
    {"policy", "add", "allow|deny sender|recipient|network|helo VALUE", 3, 3, add_options, false,
     cmd_add,
     "Add a rule, or change it; a running server obeys it at once. VALUE: ann@example.org, "
     "@example.org, @.example.org (with all below), for sender also <> (none); for network "
     "192.0.2.0/24; for helo a name, .example.org (with all below). --for=ann@example.com, "
     "--for=example.com: only for these recipients; for an account also what aliases bring "
     "there. What is allowed is neither junk nor refused for who sends it (rdns, helo, spf, "
     "dnslist, greylist, verify_sender, dmarc, score, dkim_required); a sender only if SPF or DKIM "
     "proves it, or policy.allow_forged is set. Viruses, malformed mail, limits and milters still "
     "count. Rules for an address count more than those for "
     "a domain, and these more than those for all; among equals the more exact, then what allows. "
     "--reason=TEXT is told to whom is refused. --expires=7d (units s min h d w)."},
    {"policy", "remove", "sender|recipient|network|helo VALUE", 2, 2, for_options, false,
     cmd_remove, "Remove a rule, named as policy list shows it."},
    {"policy", "alias", "list | add NAME TARGET ... | remove NAME", 1, 2 + ALIAS_TARGETS, NULL,
     false, policy_cmd_alias,
     "Global aliases: mail for an address, or for all of a domain, ours or not, goes elsewhere. "
     "They "
     "are looked at before the directory, when a recipient is named, for everybody's mail; a "
     "running "
     "server obeys at once. NAME: ann@example.org, @example.org, @.example.org (with all below); "
     "the "
     "most exact counts. TARGET: an address, or @example.com (the local part is kept). What it "
     "leads "
     "to is looked up again; an alias that lists its own address leads there and no further. Those "
     "of smtp.global_aliases aren't listed."},
    {"policy", "test", "RECIPIENT", 1, 1, test_options, false, policy_cmd_test,
     "Show which rule would decide about mail to this recipient with --sender=, --client= (its "
     "address of IP), --helo=. Aliases are looked up as for mail that comes."},
    {.group = NULL}};
