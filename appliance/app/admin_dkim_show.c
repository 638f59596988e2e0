/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim list, show: the keys, and what belongs into the DNS. */
#include "appliance/app/admin_dkim.h"
#include "appliance/base/mem.h"
#include "filters/dkim_key.h"

enum { ZONE_MAX = 1 << 20 };

/* What is to be done about it, or happens next. */
static const char *next_step(const struct dkim_row *r)
{
    static const char *const steps[] = {[DKIM_PUBLISH] = "publish its record",
                                        [DKIM_WAITING] = "takes over when due",
                                        [DKIM_ACTIVE] = "",
                                        [DKIM_RETIRING] = "keep its record until due",
                                        [DKIM_RETIRED] = "remove its record"};

    return steps[r->state];
}

static json_t *key_json(const struct dkim_row *r)
{
    return json_pack("{so ss ss so so so ss}", "selector", admin_str(r->selector), "algorithm",
                     dkim_key_type_name(r->type), "state", dkim_state_name(r->state), "created",
                     admin_moment(r->created), "since", admin_moment(r->since), "due",
                     admin_moment(r->due), "next", next_step(r));
}

static json_t *record_json(const struct dkim_work *w, const struct dkim_row *r)
{
    struct str name = arena_printf(w->mem, STR_FMT "._domainkey." STR_FMT, STR_ARG(r->selector),
                                   STR_ARG(r->domain));

    return json_pack("{so ss so}", "name", admin_str(name), "type", "TXT", "value",
                     admin_str(r->record));
}

int dkim_show(struct dkim_work *w, struct str domain)
{
    json_t *keys = json_array(), *records = json_array();
    struct buf zone;

    if (dkim_read(w, domain)) {
        json_decref(keys);
        json_decref(records);
        return -1;
    }
    buf_init(&zone, ZONE_MAX);
    for (size_t i = 0; i < w->n; i++) {
        const struct dkim_row *r = &w->rows[i];
        json_array_append_new(keys, key_json(r));
        if (r->state == DKIM_RETIRED)
            continue;
        json_array_append_new(records, record_json(w, r));
        dkim_zone_line(r->selector, r->domain, r->record, &zone);
        buf_add_char(&zone, '\n');
    }
    w->c->result = json_pack("{so so so so}", "domain", admin_str(domain), "keys", keys, "records",
                             records, "zone", admin_str(str_from(buf_z(&zone))));
    buf_fini(&zone);
    return 0;
}

int dkim_cmd_show(struct admin_call *c)
{
    struct dkim_work w;
    struct str domain;
    int rc = dkim_begin(c, &w);

    if (dkim_domain_word(c->args[0], w.mem, &domain, &c->err) || dkim_show(&w, domain))
        rc = -1;
    else if (w.n == 0)
        rc = ERR_WHY(&c->err, ERR_PERM, ERR_WHY_NOT_FOUND,
                     "%.100s has no keys: posthouse dkim create makes them", domain.p);
    return dkim_end(&w, rc);
}

int dkim_cmd_list(struct admin_call *c)
{
    struct dkim_work w;
    int rc = dkim_begin(c, &w);

    if (dkim_read(&w, STR_NULL))
        return dkim_end(&w, -1);
    c->result = json_array();
    for (size_t i = 0; i < w.n; i++) {
        json_t *row = json_pack("{so}", "domain", admin_str(w.rows[i].domain));
        json_t *key = key_json(&w.rows[i]);
        json_object_update(row, key);
        json_decref(key);
        json_array_append_new(c->result, row);
    }
    return dkim_end(&w, rc);
}
