/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim: the keys that domains sign with. A running server sees a change at once (dkim_rows.h), and
 * does what takes time: it waits for the DNS, and retires what was replaced. */
#include "appliance/app/admin_dkim.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/store/store.h"
#include "filters/dkim_key.h"
#include <stdio.h>
#include <time.h>

enum { CHANGES_MAX = 8, DOMAIN_ROOM = 300, TRIES_MAX = 100 };

/* ---- Words */

int dkim_domain_word(const char *word, struct arena *a, struct str *out, struct err *err)
{
    struct buf b;

    buf_init(&b, DOMAIN_ROOM);
    int rc = text_domain(str_from(word), &b);
    *out = rc ? STR_NULL : arena_str(a, buf_str(&b));
    buf_fini(&b);
    return rc ? ERR(err, ERR_PROTO, "'%.100s' is not a domain", word) : 0;
}

static int selector_word(const char *word, struct arena *a, struct str *out, struct err *err)
{
    if (dkim_selector_parse(a, str_from(word), out))
        return ERR(err, ERR_PROTO, "'%.100s' is no selector: letters, digits, '-', '_' and '.'",
                   word);
    return 0;
}

/* One bit a type. */
static int algorithm_word(struct admin_call *c, unsigned *out)
{
    const char *word = admin_option(c, "algorithm");

    *out = 1u << DKIM_KEY_RSA | 1u << DKIM_KEY_ED25519;
    if (!word || strcmp(word, "both") == 0)
        return 0;
    for (unsigned t = 0; t < 2; t++)
        if (strcmp(word, dkim_key_type_name((enum dkim_key_type)t)) == 0) {
            *out = 1u << t;
            return 0;
        }
    return ERR(&c->err, ERR_PROTO, "--algorithm: rsa, ed25519 or both");
}

/* ---- A command's work */

int dkim_begin(struct admin_call *c, struct dkim_work *w)
{
    *w = (struct dkim_work){.c = c, .mem = arena_new(0)};
    return 0;
}

int dkim_end(struct dkim_work *w, int rc)
{
    for (size_t i = 0; i < w->n_changes; i++)
        dkim_rows_wipe(&w->changes[i].row, 1);
    arena_free(&w->mem);
    return rc;
}

int dkim_read(struct dkim_work *w, struct str domain)
{
    struct store_reader *r;

    if (store_reader_open(w->c->store, &r, &w->c->err))
        return -1;
    int rc =
        dkim_rows_read(store_reader_sql(r), w->mem, domain, false, &w->rows, &w->n, &w->c->err);
    store_reader_close(&r);
    return rc;
}

static struct dkim_change *plan(struct dkim_work *w, enum dkim_change_what what,
                                const struct dkim_row *row, enum dkim_state to)
{
    struct dkim_change *ch = &w->changes[w->n_changes];

    CHECK(w->n_changes < CHANGES_MAX);
    w->n_changes++;
    *ch = (struct dkim_change){.what = what, .row = *row, .to = to};
    return ch;
}

static int carry_out(struct dkim_work *w)
{
    struct dkim_change_op op;

    dkim_change_init(&op, w->changes, w->n_changes);
    if (store_submit_wait(w->c->store, &op.op) == 0 && !op.op.failed)
        return 0;
    w->c->err = op.op.err;
    return -1;
}

static const struct dkim_row *find(const struct dkim_work *w, struct str selector)
{
    for (size_t i = 0; i < w->n; i++)
        if (str_eq(w->rows[i].selector, selector))
            return &w->rows[i];
    return NULL;
}

/* The newest of that type in one of these states (bits). */
static const struct dkim_row *newest(const struct dkim_work *w, enum dkim_key_type type,
                                     unsigned states)
{
    const struct dkim_row *found = NULL;

    for (size_t i = 0; i < w->n; i++)
        if (w->rows[i].type == type && (states & 1u << w->rows[i].state))
            found = &w->rows[i];
    return found;
}

enum {
    COMING = 1u << DKIM_PUBLISH | 1u << DKIM_WAITING,
    SIGNING = 1u << DKIM_ACTIVE,
    ANY = COMING | SIGNING
};

/* ---- New keys */

/* By the day: "p20250131r", "p20250131e"; with a number if that is taken. */
static struct str new_selector(struct dkim_work *w, enum dkim_key_type type)
{
    time_t now = time(NULL);
    struct str name = STR_NULL;
    struct tm tm;
    char day[16] = "";

    if (gmtime_r(&now, &tm))
        strftime(day, sizeof day, "%Y%m%d", &tm);
    for (unsigned n = 1; n < TRIES_MAX; n++) {
        char letter = type == DKIM_KEY_RSA ? 'r' : 'e';
        name = n == 1 ? arena_printf(w->mem, "p%s%c", day, letter)
                      : arena_printf(w->mem, "p%s%c%u", day, letter, n);
        if (!find(w, name))
            break;
    }
    return name;
}

static int fill_row(struct dkim_work *w, const struct dkim_key *key, struct dkim_row *row)
{
    struct buf pem, record;

    buf_init(&pem, DKIM_PEM_MAX);
    buf_init(&record, DKIM_RECORD_MAX);
    int rc = dkim_key_write(key, &pem, &w->c->err);
    if (rc == 0)
        rc = dkim_key_record(key, &record, &w->c->err);
    row->type = dkim_key_type(key);
    row->pem = arena_str(w->mem, buf_str(&pem));
    row->record = arena_str(w->mem, buf_str(&record));
    if (pem.n)
        explicit_bzero(pem.p, pem.n);
    buf_fini(&pem);
    buf_fini(&record);
    return rc;
}

/* now: it signs from now on, and what did so before retires. */
static int plan_new(struct dkim_work *w, struct str domain, struct str selector,
                    enum dkim_key_type type, bool now)
{
    struct dkim_row row = {.domain = domain, .selector = selector, .state = DKIM_PUBLISH};
    struct dkim_key *key = NULL;

    if (find(w, selector))
        return ERR_WHY(&w->c->err, ERR_PERM, ERR_WHY_EXISTS,
                       "%.100s has a key with selector %.100s", domain.p, selector.p);
    if (dkim_key_new(type, &key, &w->c->err))
        return -1;
    int rc = fill_row(w, key, &row);
    dkim_key_free(&key);
    if (rc)
        return -1;
    plan(w, DKIM_ADD, &row, DKIM_PUBLISH);
    if (now) {
        row.pem = STR_NULL;
        plan(w, DKIM_SWITCH, &row, DKIM_ACTIVE);
    }
    return 0;
}

static struct str selector_for(struct dkim_work *w, struct str wished, enum dkim_key_type type,
                               bool several)
{
    if (!wished.n)
        return new_selector(w, type);
    return several && type == DKIM_KEY_ED25519 ? arena_printf(w->mem, "%s-ed25519", wished.p)
                                               : wished;
}

static int create_keys(struct dkim_work *w, struct str domain, unsigned types)
{
    const char *word = admin_option(w->c, "selector");
    bool now = admin_option(w->c, "now"), several = (types & (types - 1)) != 0;
    struct str wished = STR_NULL;

    if (word && selector_word(word, w->mem, &wished, &w->c->err))
        return -1;
    for (unsigned t = 0; t < 2; t++) {
        enum dkim_key_type type = (enum dkim_key_type)t;
        if (!(types & 1u << t))
            continue;
        if (newest(w, type, ANY))
            return ERR_WHY(&w->c->err, ERR_PERM, ERR_WHY_EXISTS,
                           "%.100s has a key of type %s: posthouse dkim rotate replaces it",
                           domain.p, dkim_key_type_name(type));
        if (plan_new(w, domain, selector_for(w, wished, type, several), type, now))
            return -1;
    }
    return carry_out(w);
}

static int cmd_create(struct admin_call *c)
{
    struct dkim_work w;
    struct str domain;
    unsigned types;
    int rc = dkim_begin(c, &w);

    if (algorithm_word(c, &types) || dkim_domain_word(c->args[0], w.mem, &domain, &c->err) ||
        dkim_read(&w, domain) || create_keys(&w, domain, types))
        rc = -1;
    if (rc == 0)
        rc = dkim_show(&w, domain);
    return dkim_end(&w, rc);
}

/* ---- import */

static int import_key(struct dkim_work *w, struct str domain, struct str selector)
{
    struct dkim_row row = {.domain = domain, .selector = selector, .state = DKIM_PUBLISH};
    struct dkim_key *key = NULL;

    if (find(w, selector))
        return ERR_WHY(&w->c->err, ERR_PERM, ERR_WHY_EXISTS,
                       "%.100s has a key with selector %.100s", domain.p, selector.p);
    if (!w->c->file)
        return ERR(&w->c->err, ERR_PROTO, "there is no file");
    if (dkim_key_read(str_from(w->c->file), &key, &w->c->err))
        return err_context(&w->c->err, "%.100s", w->c->args[2]);
    int rc = fill_row(w, key, &row);
    dkim_key_free(&key);
    if (rc)
        return -1;
    plan(w, DKIM_ADD, &row, DKIM_PUBLISH);
    row.pem = STR_NULL;
    plan(w, DKIM_SWITCH, &row, DKIM_ACTIVE);
    return carry_out(w);
}

static int cmd_import(struct admin_call *c)
{
    struct dkim_work w;
    struct str domain, selector;
    int rc = dkim_begin(c, &w);

    if (dkim_domain_word(c->args[0], w.mem, &domain, &c->err) ||
        selector_word(c->args[1], w.mem, &selector, &c->err) || dkim_read(&w, domain) ||
        import_key(&w, domain, selector))
        rc = -1;
    if (rc == 0)
        rc = dkim_show(&w, domain);
    return dkim_end(&w, rc);
}

/* ---- rotate */

static int rotate_type(struct dkim_work *w, struct str domain, enum dkim_key_type type, bool now)
{
    const struct dkim_row *coming = newest(w, type, COMING), *signing = newest(w, type, SIGNING);

    if (coming && now) {
        plan(w, DKIM_SWITCH, coming, DKIM_ACTIVE);
        return 0;
    }
    if (coming)
        return ERR_WHY(&w->c->err, ERR_PERM, ERR_WHY_EXISTS,
                       "key %.100s of %.60s is on its way already: it takes over when the DNS "
                       "shows its record; --now doesn't wait",
                       coming->selector.p, domain.p);
    return signing ? plan_new(w, domain, new_selector(w, type), type, now) : 0;
}

static int rotate_keys(struct dkim_work *w, struct str domain)
{
    bool now = admin_option(w->c, "now");

    for (unsigned t = 0; t < 2; t++)
        if (rotate_type(w, domain, (enum dkim_key_type)t, now))
            return -1;
    if (!w->n_changes)
        return ERR_WHY(&w->c->err, ERR_PERM, ERR_WHY_NOT_FOUND,
                       "%.100s has no key that signs: posthouse dkim create makes one", domain.p);
    return carry_out(w);
}

static int cmd_rotate(struct admin_call *c)
{
    struct dkim_work w;
    struct str domain;
    int rc = dkim_begin(c, &w);

    if (dkim_domain_word(c->args[0], w.mem, &domain, &c->err) || dkim_read(&w, domain) ||
        rotate_keys(&w, domain))
        rc = -1;
    if (rc == 0)
        rc = dkim_show(&w, domain);
    return dkim_end(&w, rc);
}

/* ---- retire, remove */

static const struct dkim_row *find_or_say(struct dkim_work *w, struct str domain,
                                          struct str selector)
{
    const struct dkim_row *row = find(w, selector);

    if (!row)
        err_set(&w->c->err, ERR_PERM, ERR_WHY_NOT_FOUND, "%.100s has no key with selector %.100s",
                domain.p, selector.p);
    return row;
}

static int retire(struct dkim_work *w, const struct dkim_row *row)
{
    struct dkim_row moved = *row;

    moved.due = 0;
    if (row->state == DKIM_RETIRED)
        return 0;
    if (admin_option(w->c, "now"))
        plan(w, DKIM_MOVE, &moved, DKIM_RETIRED);
    else if (row->state == DKIM_ACTIVE)
        plan(w, DKIM_MOVE, &moved, DKIM_RETIRING);
    else if (row->state != DKIM_RETIRING)
        plan(w, DKIM_MOVE, &moved, DKIM_RETIRED); /* it never signed */
    return w->n_changes ? carry_out(w) : 0;
}

static int take_away(struct dkim_work *w, const struct dkim_row *row)
{
    if (row->state == DKIM_ACTIVE)
        return ERR(&w->c->err, ERR_PERM,
                   "key %.100s signs: posthouse dkim retire it first, or rotate", row->selector.p);
    plan(w, DKIM_DELETE, row, DKIM_RETIRED);
    return carry_out(w);
}

static int on_one(struct admin_call *c, int (*act)(struct dkim_work *, const struct dkim_row *))
{
    const struct dkim_row *row;
    struct dkim_work w;
    struct str domain, selector;
    int rc = dkim_begin(c, &w);

    if (dkim_domain_word(c->args[0], w.mem, &domain, &c->err) ||
        selector_word(c->args[1], w.mem, &selector, &c->err) || dkim_read(&w, domain) ||
        !(row = find_or_say(&w, domain, selector)) || act(&w, row))
        rc = -1;
    return dkim_end(&w, rc);
}

static int cmd_retire(struct admin_call *c)
{
    return on_one(c, retire);
}

static int cmd_remove(struct admin_call *c)
{
    return on_one(c, take_away);
}

/* ---- The table */

static const char *const create_options[] = {"selector=", "algorithm=", "now", NULL};
static const char *const now_options[] = {"now", NULL};

const struct admin_command admin_dkim_commands[] = {
    {"dkim", "create", "DOMAIN", 1, 1, create_options, false, cmd_create,
     "Make keys for a domain and show the records that its DNS needs. The running server signs "
     "when "
     "it sees them there; --now: at once. --algorithm=rsa (2048 bits), ed25519 or both (the "
     "default). --selector=NAME, else one by the date."},
    {"dkim", "import", "DOMAIN SELECTOR FILE", 3, 3, NULL, ADMIN_FILE, cmd_import,
     "Take over a private key whose record is in the DNS already (a file in PEM, as OpenDKIM has "
     "it). It signs at once, instead of another one of its type."},
    {"dkim", "list", "", 0, 0, NULL, false, dkim_cmd_list, "List the keys of all domains."},
    {"dkim", "show", "DOMAIN", 1, 1, NULL, false, dkim_cmd_show,
     "Show a domain's keys, and the records that belong into its DNS now."},
    {"dkim", "rotate", "DOMAIN", 1, 1, now_options, false, cmd_rotate,
     "Replace the keys that sign: makes new ones and shows their records. When the DNS shows them "
     "the running server waits dkim_sign.rotate_wait, switches, keeps the old ones retiring for "
     "dkim_sign.retire_time, and retires them. --now: those on their way, or else new ones, take "
     "over at once."},
    {"dkim", "retire", "DOMAIN SELECTOR", 2, 2, now_options, false, cmd_retire,
     "Sign with this key no more. Its record must stay for dkim_sign.retire_time, for mail under "
     "way; --now: it needn't."},
    {"dkim", "remove", "DOMAIN SELECTOR", 2, 2, NULL, false, cmd_remove,
     "Forget a key that doesn't sign."},
    {.group = NULL}};
