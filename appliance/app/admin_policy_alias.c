/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* policy alias: where mail of addresses and domains goes instead. A running server sees a change at
 * once (alias_rows.h). */
#include "appliance/app/admin_policy.h"
#include "appliance/app/admin_queue.h"
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "filters/alias_rows.h"

static json_t *alias_json(const struct alias *al)
{
    json_t *targets = json_array();

    for (size_t i = 0; i < al->n; i++)
        json_array_append_new(targets, admin_str(al->targets[i]));
    return json_pack("{so so so}", "name", admin_str(al->name), "targets", targets, "since",
                     queue_time_text(al->created * 1000));
}

static int list(struct admin_call *c, struct arena *a)
{
    struct store_reader *r;
    struct alias *all;
    size_t n;

    if (store_reader_open(c->store, &r, &c->err))
        return -1;
    int rc = alias_rows_read(store_reader_sql(r), a, &all, &n, &c->err);
    store_reader_close(&r);
    if (rc)
        return -1;
    c->result = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(c->result, alias_json(&all[i]));
    return 0;
}

static int change(struct admin_call *c, const struct alias *al, bool remove, bool *replaced_out)
{
    struct alias_change_op op;

    alias_change_init(&op, al, remove);
    if (store_submit_wait(c->store, &op.op) || op.op.failed) {
        c->err = op.op.err;
        return -1;
    }
    *replaced_out = op.replaced;
    return 0;
}

static int add(struct admin_call *c, struct arena *a)
{
    struct alias al = {.created = clock_wall_ms() / 1000, .n = c->n_args - 2};
    bool replaced;

    if (alias_name_parse(a, str_from(c->args[1]), &al.name, &c->err))
        return -1;
    al.targets = ARENA_ARRAY(a, struct str, al.n);
    for (size_t i = 0; i < al.n; i++)
        if (alias_target_parse(a, str_from(c->args[i + 2]), &al.targets[i], &c->err))
            return -1;
    if (change(c, &al, false, &replaced))
        return -1;
    c->result = alias_json(&al);
    json_object_set_new(c->result, "replaced", json_boolean(replaced));
    return 0;
}

static int take_away(struct admin_call *c, struct arena *a)
{
    struct alias al = {.n = 0};
    bool there;

    return alias_name_parse(a, str_from(c->args[1]), &al.name, &c->err) ||
                   change(c, &al, true, &there)
               ? -1
               : 0;
}

int policy_cmd_alias(struct admin_call *c)
{
    static const struct {
        const char *word;
        size_t min, max;
        int (*run)(struct admin_call *c, struct arena *a);
    } verbs[] = {
        {"list", 1, 1, list}, {"add", 3, 2 + ALIAS_TARGETS, add}, {"remove", 2, 2, take_away}};

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(c->args[0], verbs[i].word) != 0)
            continue;
        if (c->n_args < verbs[i].min || c->n_args > verbs[i].max)
            return ERR(&c->err, ERR_PROTO,
                       "policy alias list | add NAME TARGET ... (at most %d) | remove NAME",
                       ALIAS_TARGETS);
        struct arena *a = arena_new(0);
        int rc = verbs[i].run(c, a);
        arena_free(&a);
        return rc;
    }
    return ERR(&c->err, ERR_PROTO, "'%.100s' is none of: list, add, remove", c->args[0]);
}
