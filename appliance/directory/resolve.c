/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/resolve.h"

#include "appliance/base/map.h"
#include "appliance/directory/options.h"
#include "appliance/mail/address.h"

/* More than any address of RFC 5321 4.5.3.1 takes when it is folded. */
enum { ADDRESS_MAX = 1000 };

struct walk {
    const struct resolve_source *src;
    const struct resolve_limits *limits;
    struct arena *m;
    struct map *visited; /* address -> on_path or finished */
    struct map *taken;   /* accounts and remotes already in the result */
    struct resolve_result *out;
    size_t cap_accounts, cap_remotes, cap_away, steps;
};
static char on_path, finished; /* only their addresses are used */

/* What one look-up found: an alias with its destinations, or a user. name: the address it was found
 * under. */
struct hit {
    struct str name, destinations;
    bool alias, user;
};

static int visit(struct walk *w, struct str address, struct str written, size_t depth,
                 struct err *err);
static int take_user(struct walk *w, struct str account, struct str address, size_t depth,
                     struct err *err);

bool resolve_fold(struct arena *m, struct str in, struct str *out)
{
    struct buf b;
    struct err err;
    if (in.n == 0 || in.n > ADDRESS_MAX)
        return false;
    buf_init(&b, ADDRESS_MAX);
    bool ok = address_fold(in, &b, &err) == 0 && buf_ok(&b);
    if (ok)
        *out = arena_str(m, buf_str(&b));
    buf_fini(&b);
    return ok;
}

bool resolve_untag(struct arena *m, struct str address, char tag, struct str *out)
{
    struct str local, domain, base;
    address_split(address, &local, &domain);
    if (tag == 0 || !address_untag(local, tag, &base))
        return false;
    *out = arena_printf(m, STR_FMT "@" STR_FMT, STR_ARG(base), STR_ARG(domain));
    return true;
}

static void append(struct walk *w, struct str **list, size_t *n, size_t *cap, struct str s)
{
    if (*n == *cap) {
        struct str *bigger = ARENA_ARRAY(w->m, struct str, *cap ? *cap * 2 : 4);
        if (*n)
            memcpy(bigger, *list, *n * sizeof **list);
        *list = bigger;
        *cap = *cap ? *cap * 2 : 4;
    }
    (*list)[(*n)++] = s;
}

/* One for each account: as long as `accounts` has room. */
static void append_away(struct walk *w, bool away)
{
    struct resolve_result *r = w->out;
    if (w->cap_away < w->cap_accounts) {
        bool *bigger = ARENA_ARRAY(w->m, bool, w->cap_accounts);
        if (w->cap_away)
            memcpy(bigger, r->away, w->cap_away * sizeof *r->away);
        r->away = bigger;
        w->cap_away = w->cap_accounts;
    }
    r->away[r->n_accounts - 1] = away;
}

/* 1: new; 0: already in the result */
static int take_new(struct walk *w, struct str address, struct err *err)
{
    if (map_get(w->taken, address))
        return 0;
    if (w->out->n_accounts + w->out->n_remotes >= w->limits->targets)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "the address has too many destinations");
    map_set(w->taken, address, w);
    return 1;
}

static int take_account(struct walk *w, struct str address, bool away, struct err *err)
{
    int r = take_new(w, address, err);
    if (r == 1) {
        append(w, &w->out->accounts, &w->out->n_accounts, &w->cap_accounts, address);
        append_away(w, away);
    }
    return r < 0 ? -1 : 0;
}

static int take_remote(struct walk *w, struct str address, struct str written, struct err *err)
{
    struct str local, domain, unused;
    int r = take_new(w, address, err);
    if (r == 1) {
        address_split(written, &local, &unused);
        address_split(address, &unused, &domain);
        struct str out = arena_printf(w->m, STR_FMT "@" STR_FMT, STR_ARG(local), STR_ARG(domain));
        append(w, &w->out->remotes, &w->out->n_remotes, &w->cap_remotes, out);
    }
    return r < 0 ? -1 : 0;
}

/* Alias or user of exactly this name. */
static int find_exact(struct walk *w, struct str name, struct hit *hit, struct err *err)
{
    hit->name = name;
    if (w->src->alias(w->src->ctx, w->m, name, &hit->destinations, err) < 0)
        return -1;
    hit->alias = hit->destinations.p != NULL;
    if (hit->alias)
        return 0;
    return w->src->user(w->src->ctx, name, &hit->user, err);
}

static int find_catch_all(struct walk *w, struct str address, struct hit *hit, struct err *err)
{
    struct str local, domain;
    address_split(address, &local, &domain);
    struct str name = arena_printf(w->m, "@" STR_FMT, STR_ARG(domain));
    if (w->src->alias(w->src->ctx, w->m, name, &hit->destinations, err) < 0)
        return -1;
    hit->alias = hit->destinations.p != NULL;
    hit->name = address;
    return 0;
}

/* RFC 5321 4.5.1: every domain that gets mail has a postmaster; RFC 2142 wants abuse as well, which
 * is read by the postmaster of its own domain where there is one. */
static int find_role(struct walk *w, struct str address, struct hit *hit, struct err *err)
{
    struct str local, domain, first;
    address_split(address, &local, &domain);
    bool abuse = str_eq(local, STR("abuse"));
    if (!abuse && !str_eq(local, STR("postmaster")) &&
        (!w->limits->postmaster || !str_eq(local, STR("root"))))
        return 0;
    struct str role = STR("");
    if (abuse) {
        struct hit own = {.alias = false};
        role = arena_printf(w->m, "postmaster@" STR_FMT, STR_ARG(domain));
        if (find_exact(w, role, &own, err) < 0)
            return -1;
        if (!own.alias && !own.user)
            role = STR("");
    }
    if (!role.n)
        role = str_from(w->limits->postmaster);
    if (!role.n) {
        if (w->src->first_domain(w->src->ctx, w->m, &first, err) < 0)
            return -1;
        role = arena_printf(w->m, "postmaster@" STR_FMT, STR_ARG(first));
        if (first.n == 0)
            return 0;
    }
    if (str_eq(role, address))
        return 0;
    *hit = (struct hit){.name = address, .destinations = role, .alias = true};
    return 0;
}

static int find(struct walk *w, struct str address, struct hit *hit, struct err *err)
{
    struct str base;
    *hit = (struct hit){.name = address};
    if (find_exact(w, address, hit, err) < 0)
        return -1;
    if (!hit->alias && !hit->user && resolve_untag(w->m, address, w->limits->tag, &base) &&
        find_exact(w, base, hit, err) < 0)
        return -1;
    if (!hit->alias && !hit->user && find_catch_all(w, address, hit, err) < 0)
        return -1;
    if (!hit->alias && !hit->user && find_role(w, address, hit, err) < 0)
        return -1;
    return 0;
}

/* Does the destination mean the address whose alias is being expanded? */
static bool is_self(struct walk *w, struct str destination, struct str address, struct str name)
{
    struct str base;
    if (str_eq(destination, name) || str_eq(destination, address))
        return true;
    return resolve_untag(w->m, destination, w->limits->tag, &base) && str_eq(base, name);
}

static int expand_one(struct walk *w, const struct hit *hit, struct str address, struct str written,
                      size_t depth, struct err *err)
{
    struct str destination, local, domain;
    bool found;
    if (written.p[0] == '@') { /* a domain alias: the local part is kept */
        address_split(address, &local, &domain);
        written = arena_printf(w->m, STR_FMT STR_FMT, STR_ARG(local), STR_ARG(written));
    }
    if (!resolve_fold(w->m, written, &destination) || destination.p[0] == '@') {
        w->out->dangling = arena_str(w->m, str_take(written, ADDRESS_MAX));
        return 0;
    }
    if (!is_self(w, destination, address, hit->name))
        return visit(w, destination, written, depth + 1, err);
    if (w->src->user(w->src->ctx, hit->name, &found, err) < 0)
        return -1;
    if (found)
        return take_user(w, hit->name, address, depth, err);
    w->out->dangling = destination;
    return 0;
}

static int expand(struct walk *w, const struct hit *hit, struct str address, size_t depth,
                  struct err *err)
{
    struct str rest = hit->destinations, written;
    while (rest.n) {
        str_cut(rest, ',', &written, &rest);
        written = str_trim(written);
        if (written.n == 0)
            continue;
        if (expand_one(w, hit, address, written, depth, err) < 0)
            return -1;
    }
    return 0;
}

/* Where an account sends its mail on: as if an alias had its name. Lists it itself, a copy stays.
 */
static int send_on(struct walk *w, struct str account, const struct directory_options *o,
                   struct str address, size_t depth, struct err *err)
{
    struct str rest = o->forward, written, destination;
    while (rest.n) {
        str_cut(rest, ',', &written, &rest);
        written = str_trim(written);
        if (!written.n)
            continue;
        if (!resolve_fold(w->m, written, &destination) || destination.p[0] == '@') {
            w->out->dangling = arena_str(w->m, str_take(written, ADDRESS_MAX));
            continue;
        }
        if (is_self(w, destination, address, account))
            continue; /* it keeps a copy or it doesn't */
        if (visit(w, destination, written, depth + 1, err) < 0)
            return -1;
    }
    return 0;
}

static int take_user(struct walk *w, struct str account, struct str address, size_t depth,
                     struct err *err)
{
    struct directory_options o = {.receives = true, .keeps = true};
    if (map_get(w->taken, account)) /* its wishes are fulfilled */
        return 0;
    if (w->src->options && w->src->options(w->src->options_ctx, w->m, account, &o, err) < 0)
        return -1;
    if (!o.receives) {
        w->out->closed = true;
        return 0;
    }
    if ((o.keeps || !o.forward.n) &&
        take_account(w, account, options_away(&o, w->src->now_s), err) < 0)
        return -1;
    return send_on(w, account, &o, address, depth, err);
}

/* Counts everything looked at, so that neither chains nor unknown destinations cost without bound.
 */
static int check_limits(struct walk *w, struct str address, size_t depth, struct err *err)
{
    if (depth > w->limits->depth)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "aliases are nested too deep at " STR_FMT,
                       STR_ARG(str_take(address, 100)));
    if (++w->steps > 2 * w->limits->targets + 16)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "the address has too many destinations");
    return 0;
}

/* address is folded. written, as the alias has it, is what goes out: the case of a local part is
 * its host's business (RFC 5321 2.4). */
static int visit(struct walk *w, struct str address, struct str written, size_t depth,
                 struct err *err)
{
    struct str local, domain;
    struct hit hit;
    bool hosted, relayed = false;
    if (check_limits(w, address, depth, err) < 0)
        return -1;
    address_split(address, &local, &domain);
    if (w->src->hosted(w->src->ctx, domain, &hosted, err) < 0)
        return -1;
    if (!hosted && depth == 0) {
        if (w->src->relayed && w->src->relayed(w->src->ctx, address, &relayed, err) < 0)
            return -1;
        w->out->backup = relayed;
        if (!relayed) {
            w->out->kind = DIRECTORY_NOT_OURS;
            return 0;
        }
    }
    if (!hosted)
        return take_remote(w, address, written, err);
    if (depth == 0 && w->src->moved &&
        w->src->moved(w->src->ctx, w->m, address, &w->out->moved, err) < 0)
        return -1;
    if (w->out->moved.n)
        return 0;
    const char *state = map_get(w->visited, address);
    if (state == &on_path)
        w->out->loop = true;
    if (state)
        return 0;
    map_set(w->visited, address, &on_path);
    if (find(w, address, &hit, err) < 0)
        return -1;
    if (hit.alias ? expand(w, &hit, address, depth, err) < 0
                  : hit.user && take_user(w, hit.name, address, depth, err) < 0)
        return -1;
    if (!hit.alias && !hit.user)
        w->out->dangling = address;
    map_set(w->visited, address, &finished);
    return 0;
}

/* RFC 5321 4.5.1: mail for postmaster must be taken, whatever an administrator has set up; abuse
 * goes where that goes. */
static int fall_back(struct walk *w, struct str address, struct err *err)
{
    struct str local, domain, first, user;
    address_split(address, &local, &domain);
    if (!str_eq(local, STR("postmaster")) && !str_eq(local, STR("abuse")))
        return 0;
    if (w->src->first_domain(w->src->ctx, w->m, &first, err) < 0)
        return -1;
    if (!first.n)
        return 0;
    struct str role = arena_printf(w->m, "postmaster@" STR_FMT, STR_ARG(first));
    if (visit(w, role, role, 1, err) < 0)
        return -1;
    if (w->out->n_accounts + w->out->n_remotes > 0)
        return 0;
    if (w->src->first_user(w->src->ctx, w->m, first, &user, err) < 0)
        return -1;
    return user.n ? take_account(w, user, false, err) : 0;
}

static int check_gaps(const struct walk *w, struct str address, struct err *err)
{
    struct str local, domain;
    address_split(address, &local, &domain);
    if (!w->src->gaps || !w->src->gaps(w->src->ctx, domain))
        return 0;
    return ERR_WHY(err, ERR_TEMP, ERR_WHY_DAMAGED, "not all of " STR_FMT " could be read",
                   STR_ARG(str_take(domain, 100)));
}

static int walk_from(struct walk *w, struct str address, struct err *err)
{
    struct resolve_result *r = w->out;
    if (visit(w, address, address, 0, err) < 0)
        return -1;
    if (r->moved.n)
        r->kind = DIRECTORY_MOVED;
    if (r->kind != DIRECTORY_UNKNOWN)
        return 0;
    if (r->n_accounts + r->n_remotes == 0 && fall_back(w, address, err) < 0)
        return -1;
    if (r->n_accounts + r->n_remotes > 0)
        r->kind = DIRECTORY_LOCAL;
    else if (r->loop)
        return ERR(err, ERR_PERM, "the aliases of " STR_FMT " run in a loop",
                   STR_ARG(str_take(address, 100)));
    else if (!r->closed)
        return check_gaps(w, address, err);
    return 0;
}

/* No row can have this name; but in a domain of ours it must not look like a matter of relaying. */
static int judge_malformed(const struct resolve_source *src, struct arena *m, struct str address,
                           struct resolve_result *out, struct err *err)
{
    struct str local, domain, folded;
    bool hosted = false;
    address_split(address, &local, &domain);
    if (local.n == 0 || domain.n == 0)
        return 0;
    if (domain.n < ADDRESS_MAX &&
        resolve_fold(m, arena_printf(m, "@" STR_FMT, STR_ARG(domain)), &folded) &&
        src->hosted(src->ctx, str_skip(folded, 1), &hosted, err) < 0)
        return -1;
    if (!hosted)
        out->kind = DIRECTORY_NOT_OURS;
    return 0;
}

int resolve_address(const struct resolve_source *src, const struct resolve_limits *limits,
                    struct arena *m, struct str address, struct resolve_result *out,
                    struct err *err)
{
    struct str first, folded;
    *out = (struct resolve_result){.kind = DIRECTORY_UNKNOWN};
    /* RFC 5321 4.1.1.3: <postmaster> without a domain must be accepted. */
    if (str_ieq(address, STR("postmaster"))) {
        first = str_from(limits->origin);
        if (!first.n && src->first_domain(src->ctx, m, &first, err) < 0)
            return -1;
        address = arena_printf(m, "postmaster@" STR_FMT, STR_ARG(first));
        if (first.n == 0)
            return 0;
    }
    if (!resolve_fold(m, address, &folded) || folded.p[0] == '@')
        return judge_malformed(src, m, address, out, err);
    struct walk w = {.src = src, .limits = limits, .m = m, .out = out};
    w.visited = map_new();
    w.taken = map_new();
    int r = walk_from(&w, folded, err);
    map_free(&w.visited);
    map_free(&w.taken);
    if (r < 0)
        *out = (struct resolve_result){.kind = DIRECTORY_UNKNOWN};
    return r;
}
