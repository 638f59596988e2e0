/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* domain, user, alias, password: the directory's commands. */
#include "appliance/app/admin_leads.h"
#include "appliance/base/mem.h"
#include "appliance/directory/password.h"
#include "appliance/mail/address.h"
#include "appliance/store/account.h"

enum { FOLDED_MAX = 512 };

int admin_begin(struct admin_call *c, struct admin_session *s)
{
    s->mem = arena_new(0);
    if ((c->directory ? directory_admin_open_as(c->dir, c->directory, &s->dir, &c->err)
                      : directory_admin_open(c->dir, &s->dir, &c->err)) == 0)
        return 0;
    arena_free(&s->mem);
    return -1;
}

int admin_end(struct admin_session *s, int rc)
{
    directory_admin_close(&s->dir);
    arena_free(&s->mem);
    return rc;
}

struct str admin_arg(const struct admin_call *c, size_t i)
{
    return i < c->n_args ? str_from(c->args[i]) : STR_NULL;
}

/* After rc 0 the sessions of the user named by the first argument are to end. */
static int revoke(struct admin_call *c, int rc)
{
    struct buf folded;
    struct err err;

    buf_init(&folded, FOLDED_MAX);
    if (rc == 0 && address_fold(admin_arg(c, 0), &folded, &err) == 0)
        c->revoked = str_dup_z(buf_str(&folded));
    buf_fini(&folded);
    return rc;
}

/* ---- user */
static json_t *user_json(const struct directory_user *u)
{
    return json_pack("{so so sb so sI}", "address", admin_str(u->address), "name",
                     admin_str(u->name), "enabled", u->enabled, "password", admin_str(u->scheme),
                     "quota", (json_int_t)u->quota_bytes);
}

/* As sizes are written in the configuration. */
struct size_word {
    uint64_t size;
};
static const struct ph_setting size_words[] = {
    PH_SETTING(SIZE, size_word, size, 0, "0", 0, INT64_C(1) << 60, "A number with K, M, G or T."),
    PH_SETTING_END};

int admin_size(struct admin_call *c, const char *text, uint64_t *out)
{
    struct size_word w = {0};

    if (settings_set(size_words, &w, STR("size"), str_from(text), &c->err))
        return -1;
    *out = w.size;
    return 0;
}

/* The directory's quota is told to the store too, whose rows the sessions check. */
struct set_quota {
    struct store_op op;
    struct str name;
    uint64_t bytes;
};

static int set_quota_run(struct store_op *op, struct store_tx *tx)
{
    struct set_quota *q = CONTAINER_OF(op, struct set_quota, op);
    uint64_t id;

    if (account_open_tx(tx, q->name, &id, &op->err))
        return -1;
    return account_set_quota_tx(tx, id, q->bytes != 0, q->bytes, 0, &op->err);
}

static int store_quota(struct admin_call *c, struct str address, uint64_t bytes)
{
    struct set_quota q = {.op = {.run = set_quota_run, .cls = STORE_INTERACTIVE}, .bytes = bytes};
    struct buf folded;
    int rc;

    buf_init(&folded, 512);
    rc = address_fold(address, &folded, &c->err);
    q.name = buf_str(&folded);
    if (rc == 0 && (store_submit_wait(c->store, &q.op) || q.op.failed)) {
        c->err = q.op.err;
        rc = -1;
    }
    buf_fini(&folded);
    return rc;
}

static int user_add(struct admin_call *c)
{
    const char *quota = admin_option(c, "quota"), *name = admin_option(c, "name");
    struct str password = c->password ? str_from(c->password) : STR_NULL;
    uint64_t bytes = 0;
    struct admin_session s;

    if ((quota && admin_size(c, quota, &bytes)) || admin_begin(c, &s))
        return -1;
    if (admin_end(&s, directory_user_add(s.dir, admin_arg(c, 0), str_from(name), password, bytes,
                                         &c->err)))
        return -1;
    return bytes ? store_quota(c, admin_arg(c, 0), bytes) : 0;
}

static int user_get(struct admin_call *c)
{
    struct admin_session s;
    struct directory_user u;
    int rc;

    if (admin_begin(c, &s))
        return -1;
    rc = directory_user_get(s.dir, s.mem, admin_arg(c, 0), &u, &c->err);
    c->result = rc ? NULL : user_json(&u);
    return admin_end(&s, rc);
}

static json_t *paths_json(const struct directory_user *u)
{
    return json_pack("{so so so}", "address", admin_str(u->address), "home", admin_str(u->home),
                     "maildir", admin_str(u->maildir));
}

static int user_list(struct admin_call *c)
{
    bool paths = admin_option(c, "paths") != NULL;
    struct admin_session s;
    struct directory_user *list;
    size_t n;
    int rc;

    if (admin_begin(c, &s))
        return -1;
    rc = directory_user_list(s.dir, s.mem, admin_arg(c, 0), &list, &n, &c->err);
    c->result = rc ? NULL : json_array();
    for (size_t i = 0; rc == 0 && i < n; i++)
        json_array_append_new(c->result, paths ? paths_json(&list[i]) : user_json(&list[i]));
    return admin_end(&s, rc);
}

/* The mail of a removed user stays, detached from the address, so that nobody inherits it
 * (store/account.h). */
struct detach {
    struct store_op op;
    struct str name;
};

static int detach_run(struct store_op *op, struct store_tx *tx)
{
    struct detach *d = CONTAINER_OF(op, struct detach, op);
    int rc = account_detach_tx(tx, d->name, &op->err);

    if (rc && op->err.why == ERR_WHY_NOT_FOUND)
        rc = 0; /* never had mail */
    return rc;
}

static int user_remove(struct admin_call *c)
{
    struct admin_session s;
    struct buf folded;
    int rc;

    buf_init(&folded, 512);
    if (address_fold(admin_arg(c, 0), &folded, &c->err) || admin_begin(c, &s)) {
        buf_fini(&folded);
        return -1;
    }
    json_t *leads = admin_leads_to(c, &s, buf_str(&folded));
    rc = revoke(c, admin_end(&s, directory_user_remove(s.dir, buf_str(&folded), &c->err)));
    if (rc == 0) {
        struct detach d = {.op = {.run = detach_run, .cls = STORE_INTERACTIVE},
                           .name = buf_str(&folded)};
        rc = store_submit_wait(c->store, &d.op);
        if (rc || d.op.failed) {
            c->err = d.op.err;
            rc = err_context(&c->err, "the user is removed, but its mail could not be detached");
        }
    }
    c->result = rc == 0 ? json_incref(leads) : NULL;
    json_decref(leads);
    buf_fini(&folded);
    return rc;
}

static int user_enable(struct admin_call *c)
{
    struct admin_session s;

    return admin_begin(c, &s)
               ? -1
               : admin_end(&s, directory_user_set_enabled(s.dir, admin_arg(c, 0), true, &c->err));
}

static int user_disable(struct admin_call *c)
{
    struct admin_session s;

    if (admin_begin(c, &s))
        return -1;
    return revoke(
        c, admin_end(&s, directory_user_set_enabled(s.dir, admin_arg(c, 0), false, &c->err)));
}

static int user_name(struct admin_call *c)
{
    struct admin_session s;

    if (admin_begin(c, &s))
        return -1;
    return admin_end(&s, directory_user_set_name(s.dir, admin_arg(c, 0), admin_arg(c, 1), &c->err));
}

static int user_quota(struct admin_call *c)
{
    struct admin_session s;
    uint64_t bytes;

    if (admin_size(c, c->args[1], &bytes) || admin_begin(c, &s))
        return -1;
    if (admin_end(&s, directory_user_set_quota(s.dir, admin_arg(c, 0), bytes, &c->err)))
        return -1;
    return store_quota(c, admin_arg(c, 0), bytes);
}

static int user_allow(struct admin_call *c)
{
    static const struct {
        const char *word;
        bool sends, receives;
    } words[] = {{"both", true, true},
                 {"receive", false, true},
                 {"send", true, false},
                 {"neither", false, false}};
    struct directory_options o;
    struct admin_session s;
    size_t i = 0;

    while (i < ARRAY_LEN(words) && strcmp(c->args[1], words[i].word) != 0)
        i++;
    if (i == ARRAY_LEN(words))
        return ERR(&c->err, ERR_PROTO, "'%.50s' is none of both, receive, send, neither",
                   c->args[1]);
    if (admin_begin(c, &s))
        return -1;
    int rc = directory_options_get(s.dir, s.mem, admin_arg(c, 0), &o, &c->err);
    o.sends = words[i].sends;
    o.receives = words[i].receives;
    if (rc == 0)
        rc = directory_options_set(s.dir, admin_arg(c, 0), &o, &c->err);
    return admin_end(&s, rc);
}

static const char *const user_add_options[] = {"name=", "quota=", NULL};
static const char *const user_list_options[] = {"paths", NULL};
const struct admin_command admin_user_commands[] = {
    {"user", "add", "ADDRESS", 1, 1, user_add_options, true, user_add,
     "Add a user; the password is asked for, or read from standard input."},
    {"user", "list", "[DOMAIN]", 0, 1, user_list_options, false, user_list,
     "List the users; with --paths where their mail was in the system they came from."},
    {"user", "show", "ADDRESS", 1, 1, NULL, false, user_get, "Show one user."},
    {"user", "name", "ADDRESS NAME", 2, 2, NULL, false, user_name, "Change a user's name."},
    {"user", "quota", "ADDRESS SIZE", 2, 2, NULL, false, user_quota,
     "Limit what a user may store; 0 returns to the default."},
    {"user", "allow", "ADDRESS both|receive|send|neither", 2, 2, NULL, false, user_allow,
     "Let a user send mail and get mail, or only one of these. They can log in and read in any "
     "case."},
    {"user", "enable", "ADDRESS", 1, 1, NULL, false, user_enable,
     "Allow login and delivery again."},
    {"user", "disable", "ADDRESS", 1, 1, NULL, false, user_disable, "Refuse login and delivery."},
    {"user", "remove", "ADDRESS", 1, 1, NULL, false, user_remove,
     "Remove a user. The mail is kept, detached (posthouse account list)."},
    {.group = NULL}};

/* ---- alias */
static json_t *alias_json(const struct directory_alias *a)
{
    json_t *to = json_array();
    struct str head, rest = a->destinations;

    while (rest.n) {
        str_cut(rest, ',', &head, &rest);
        if (str_trim(head).n)
            json_array_append_new(to, admin_str(str_trim(head)));
    }
    return json_pack("{so so sb}", "address", admin_str(a->address), "destinations", to, "enabled",
                     a->enabled);
}

static int alias_add(struct admin_call *c)
{
    struct admin_session s;
    struct str *to;
    int rc;

    if (admin_begin(c, &s))
        return -1;
    to = ARENA_ARRAY(s.mem, struct str, c->n_args);
    for (size_t i = 1; i < c->n_args; i++)
        to[i - 1] = admin_arg(c, i);
    rc = directory_alias_add(s.dir, admin_arg(c, 0), to, c->n_args - 1,
                             admin_option(c, "replace") != NULL, &c->err);
    return admin_end(&s, rc);
}

static int alias_remove(struct admin_call *c)
{
    struct admin_session s;

    return admin_begin(c, &s)
               ? -1
               : admin_end(&s, directory_alias_remove(s.dir, admin_arg(c, 0), &c->err));
}

static int alias_show(struct admin_call *c)
{
    struct admin_session s;
    struct directory_alias a;
    int rc;

    if (admin_begin(c, &s))
        return -1;
    rc = directory_alias_get(s.dir, s.mem, admin_arg(c, 0), &a, &c->err);
    c->result = rc ? NULL : alias_json(&a);
    return admin_end(&s, rc);
}

static int alias_list(struct admin_call *c)
{
    struct admin_session s;
    struct directory_alias *list;
    size_t n;
    int rc;

    if (admin_begin(c, &s))
        return -1;
    rc = directory_alias_list(s.dir, s.mem, admin_arg(c, 0), &list, &n, &c->err);
    c->result = rc ? NULL : json_array();
    for (size_t i = 0; rc == 0 && i < n; i++)
        json_array_append_new(c->result, alias_json(&list[i]));
    return admin_end(&s, rc);
}

static const char *const alias_add_options[] = {"replace", NULL};
const struct admin_command admin_alias_commands[] = {
    {"alias", "add", "ADDRESS|@DOMAIN DESTINATION...", 2, 50, alias_add_options, false, alias_add,
     "Send mail for an address (or, as @domain, for all others of a domain) to other addresses."},
    {"alias", "list", "[DOMAIN]", 0, 1, NULL, false, alias_list, "List the aliases."},
    {"alias", "show", "ADDRESS", 1, 1, NULL, false, alias_show, "Show one alias."},
    {"alias", "remove", "ADDRESS", 1, 1, NULL, false, alias_remove, "Remove an alias."},
    {.group = NULL}};

/* ---- password */
/* True: it is said that nothing is to be done, as it is so already, or failed. */
static bool as_it_is(struct admin_call *c, struct admin_session *s, struct str password,
                     struct str hash, int *rc_out)
{
    bool same = false;

    if (!admin_option(c, "if-other"))
        return false;
    *rc_out = directory_user_has(s->dir, admin_arg(c, 0), password, hash, &same, &c->err);
    if (*rc_out == 0 && same)
        c->result = json_pack("{sb}", "changed", 0);
    return *rc_out != 0 || same;
}

static int password_set(struct admin_call *c)
{
    struct admin_session s;
    int rc;

    if (!c->password)
        return ERR(&c->err, ERR_PROTO, "no password given");
    if (admin_begin(c, &s))
        return -1;
    if (as_it_is(c, &s, str_from(c->password), STR_NULL, &rc))
        return admin_end(&s, rc);
    return revoke(c, admin_end(&s, directory_user_set_password(s.dir, admin_arg(c, 0),
                                                               str_from(c->password), &c->err)));
}

static int password_remove(struct admin_call *c)
{
    struct admin_session s;

    if (admin_begin(c, &s))
        return -1;
    return revoke(c,
                  admin_end(&s, directory_user_set_hash(s.dir, admin_arg(c, 0), STR(""), &c->err)));
}

static int password_import(struct admin_call *c)
{
    struct admin_session s;
    int rc;

    if (!c->password)
        return ERR(&c->err, ERR_PROTO, "no hash given");
    if (admin_begin(c, &s))
        return -1;
    if (as_it_is(c, &s, STR_NULL, str_from(c->password), &rc))
        return admin_end(&s, rc);
    return revoke(c, admin_end(&s, directory_user_set_hash(s.dir, admin_arg(c, 0),
                                                           str_from(c->password), &c->err)));
}

static int password_make(struct admin_call *c)
{
    char hash[PASSWORD_HASH_MAX];

    if (!c->password)
        return ERR(&c->err, ERR_PROTO, "no password given");
    if (password_hash(str_from(c->password), hash, &c->err))
        return -1;
    c->result = json_pack("{ss}", "hash", hash);
    return 0;
}

static const char *const password_options[] = {"if-other", NULL};
const struct admin_command admin_password_commands[] = {
    {"password", "add", "ADDRESS", 1, 1, password_options, true, password_set, "The same as set."},
    {"password", "set", "ADDRESS", 1, 1, password_options, true, password_set,
     "Set a user's password; it is asked for, or read from standard input. --if-other: unless it "
     "is "
     "this one already."},
    {"password", "list", "[DOMAIN]", 0, 1, NULL, false, user_list,
     "List the users and the scheme of each password hash."},
    {"password", "show", "ADDRESS", 1, 1, NULL, false, user_get,
     "Show the scheme of a user's hash."},
    {"password", "remove", "ADDRESS", 1, 1, NULL, false, password_remove,
     "Remove the password: the user receives mail but cannot log in."},
    {"password", "import", "ADDRESS", 1, 1, password_options, true, password_import,
     "Store a hash made elsewhere ({SCHEME} or $id$), read from standard input. --if-other: as "
     "above."},
    {"password", "hash", "", 0, 0, NULL, true, password_make, "Print the hash of a password."},
    {.group = NULL}};
