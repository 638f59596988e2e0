/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* alias.c - global aliases (filters/alias.h): a recipient that stands for others is looked up as
 * these, one after the other, and what the directory says of them taken together. */
#include "appliance/base/mem.h"
#include "filters/alias_rows.h"
#include "smtp/commands.h"

enum { LEADS_TO_MAX = 2000 };

struct smtp_aliased { /* of the RCPT under way, in s->command */
    struct str *to;
    size_t n, at;
    struct str *accounts, *remotes;
    bool *away; /* of each account */
    size_t n_accounts, n_remotes, room;
    struct err broken; /* of one that leads in a circle */
    smtp_resolved_fn then;
};

/* False: it is there already, or there is no room. */
static bool add(struct smtp_session *s, struct smtp_aliased *al, struct str **list, size_t *n,
                struct str item)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq((*list)[i], item))
            return false;
    if (al->n_accounts + al->n_remotes >= al->room)
        return false;
    (*list)[(*n)++] = arena_str(s->command, item);
    return true;
}

static void take(struct smtp_session *s, struct smtp_aliased *al, const struct directory_answer *a)
{
    struct str target = al->to[al->at];

    if (a->failed)
        al->broken = a->err;
    else if (a->kind == DIRECTORY_NOT_OURS)
        add(s, al, &al->remotes, &al->n_remotes, target);
    for (size_t i = 0; !a->failed && i < a->n_accounts; i++)
        if (add(s, al, &al->accounts, &al->n_accounts, a->accounts[i]))
            al->away[al->n_accounts - 1] = a->away && a->away[i];
    for (size_t i = 0; !a->failed && i < a->n_remotes; i++)
        add(s, al, &al->remotes, &al->n_remotes, a->remotes[i]);
    if (a->failed || a->kind == DIRECTORY_UNKNOWN)
        log_warn(&s->log, "destination_ignored", L_STR("address", target),
                 L_STR("of", s->pending.rcpt.rcpt),
                 L_Z("reason", a->failed ? a->err.text : "there is no such address here"));
}

static void tell(struct smtp_session *s, struct smtp_aliased *al)
{
    struct directory_answer a = {.kind = DIRECTORY_UNKNOWN,
                                 .accounts = al->accounts,
                                 .away = al->away,
                                 .remotes = al->remotes,
                                 .n_accounts = al->n_accounts,
                                 .n_remotes = al->n_remotes};

    if (a.n_accounts + a.n_remotes) {
        a.kind = DIRECTORY_LOCAL;
    } else if (al->broken.kind != ERR_NONE) {
        a.failed = true;
        a.err = al->broken;
    }
    al->then(s, &a);
}

static void ask(struct smtp_session *s);

static void on_resolved(void *ctx, const struct directory_answer *a)
{
    struct smtp_session *s = ctx;
    struct smtp_aliased *al = s->aliased;

    if (smtp_session_back(s)) {
        if (a->failed && a->err.kind != ERR_PERM) {
            al->then(s, a);
        } else {
            take(s, al, a);
            al->at++;
            ask(s);
        }
    }
    smtp_session_unref(&s);
}

static void ask(struct smtp_session *s)
{
    struct smtp_aliased *al = s->aliased;
    struct directory_answer busy = {.failed = true};

    if (al->at == al->n) {
        tell(s, al);
        return;
    }
    if (directory_resolve(s->server->conf.directory, al->to[al->at], on_resolved,
                          smtp_session_ref(s)) == 0) {
        smtp_session_wait(s, SMTP_WAIT_WORK);
        return;
    }
    struct smtp_session *mine = s;
    smtp_session_unref(&mine);
    (void)ERR(&busy.err, ERR_TEMP, "too busy");
    al->then(s, &busy);
}

static void resolve(struct smtp_session *s, struct str *to, size_t n, smtp_resolved_fn then)
{
    struct smtp_aliased *al = ARENA_NEW(s->command, struct smtp_aliased);

    *al = (struct smtp_aliased){.to = to, .n = n, .room = SMTP_COPIES_MAX, .then = then};
    al->accounts = ARENA_ARRAY(s->command, struct str, al->room);
    al->remotes = ARENA_ARRAY(s->command, struct str, al->room);
    al->away = ARENA_ARRAY(s->command, bool, al->room);
    s->aliased = al;
    ask(s);
}

static struct str join(struct smtp_session *s, const struct str *to, size_t n)
{
    struct buf text;

    buf_init(&text, LEADS_TO_MAX);
    for (size_t i = 0; i < n; i++) {
        if (text.n + to[i].n + 8 > LEADS_TO_MAX) {
            buf_add_z(&text, ", ...");
            break;
        }
        buf_printf(&text, "%s" STR_FMT, i ? ", " : "", STR_ARG(to[i]));
    }
    struct str kept = arena_str(s->command, buf_str(&text));
    buf_fini(&text);
    return kept;
}

bool smtp_alias_resolve(struct smtp_session *s, smtp_resolved_fn then)
{
    struct directory_answer bad = {.failed = true};
    struct str *to;
    size_t n;

    s->leads_to = STR_NULL;
    if (!s->server->conf.aliases || s->reversed) /* what we made ourselves is nobody's address */
        return false;
    switch (alias_set_expand(alias_live_set(s->server->conf.aliases), s->server->fixed, s->command,
                             s->lookup, &to, &n)) {
    case ALIAS_NONE:
        return false;
    case ALIAS_CIRCLE:
        (void)ERR(&bad.err, ERR_PERM, "the global aliases of this address run in a circle");
        break;
    case ALIAS_TOO_MANY:
        (void)ERR(&bad.err, ERR_PERM, "this address leads to too many others");
        break;
    case ALIAS_FOUND:
        s->leads_to = join(s, to, n);
        resolve(s, to, n, then);
        return true;
    }
    then(s, &bad);
    return true;
}
