/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Which of many rules decides. Each lies under "kind scope NUL value"; what is looked for is
 * written in the same way, from the most exact form on, so a look-up costs some probes however many
 * there are. */
#include "appliance/base/buf.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "filters/client.h"
#include "filters/policy_rules.h"

enum {
    KEY_ROOM = 2 * POLICY_TEXT + 8,
    BITS = 129,
    LABELS_MAX = 128,
    SCOPES = 6,
    ACCOUNTS_MAX = 100
};

struct scope {
    unsigned kinds;         /* bits: it has rules of that kind */
    uint8_t networks[BITS]; /* and of networks with so many bits */
};
struct policy_set {
    struct arena *arena;
    struct map *rules, *scopes;
    size_t n, waiting; /* waiting: that allow, and not networks for all */
};

/* ---- Making it */

static void put_key(struct buf *key, enum policy_kind k, struct str scope, struct str value)
{
    buf_clear(key);
    buf_add_char(key, (char)('0' + (int)k));
    buf_add_str(key, scope);
    buf_add_char(key, '\0');
    buf_add_str(key, value);
}

static struct scope *scope_of(struct policy_set *s, struct str name)
{
    struct scope *scope = map_get(s->scopes, name);

    if (!scope) {
        scope = ARENA_NEW(s->arena, struct scope);
        map_set(s->scopes, name, scope);
    }
    return scope;
}

static bool add(struct policy_set *s, const struct policy_rule *r, struct buf *key)
{
    struct policy_rule *own = ARENA_NEW(s->arena, struct policy_rule);
    struct scope *scope;
    struct cidr net = {.bits = 0};
    struct err ignored;

    if ((unsigned)r->kind >= POLICY_KINDS ||
        (r->kind == POLICY_NETWORK && client_net_parse(r->value, &net, &ignored)))
        return false; /* written by hand */
    *own = *r;
    own->value = arena_str(s->arena, r->value);
    own->scope = arena_str(s->arena, r->scope);
    own->reason = arena_str(s->arena, r->reason);
    put_key(key, r->kind, r->scope, r->value);
    if (!buf_ok(key))
        return false;
    s->waiting += r->action == POLICY_ALLOW && (r->kind != POLICY_NETWORK || r->scope.n);
    map_set(s->rules, buf_str(key), own);
    scope = scope_of(s, r->scope);
    scope->kinds |= 1u << r->kind;
    if (r->kind == POLICY_NETWORK)
        scope->networks[net.bits] = 1;
    return true;
}

struct policy_set *policy_set_new(const struct policy_rule *rules, size_t n)
{
    struct policy_set *s = MEM_NEW(struct policy_set);
    struct buf key;

    s->arena = arena_new(0);
    s->rules = map_new();
    s->scopes = map_new();
    buf_init(&key, KEY_ROOM);
    for (size_t i = 0; i < n; i++)
        s->n += add(s, &rules[i], &key);
    buf_fini(&key);
    return s;
}

void policy_set_free(struct policy_set **sp)
{
    struct policy_set *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    map_free(&s->rules);
    map_free(&s->scopes);
    arena_free(&s->arena);
    mem_free(s);
}

size_t policy_set_count(const struct policy_set *s)
{
    return s->n;
}

bool policy_set_waits(const struct policy_set *s)
{
    return s->waiting > 0;
}

/* ---- Looking */

struct search {
    const struct policy_set *set;
    const struct policy_subject *about;
    struct arena *arena; /* of what is folded */
    struct str sender, rcpt, account, helo;
    bool has_ip;
    uint8_t ip[16];
    struct buf key;
    struct str scope_name;
    const struct scope *scope;
};

static const struct policy_rule *get(struct search *q, enum policy_kind k, struct str value)
{
    const struct policy_rule *r;

    put_key(&q->key, k, q->scope_name, value);
    r = buf_ok(&q->key) ? map_get(q->set->rules, buf_str(&q->key)) : NULL;
    if (!r || (r->expires && r->expires <= q->about->now))
        return NULL;
    if (r->action == POLICY_ALLOW && ((k == POLICY_SENDER && q->about->sender_unproven) ||
                                      (k == POLICY_HELO && q->about->helo_unproven)))
        return NULL;
    return r;
}

/* "<prefix>.example.org", "<prefix>.org" of example.org */
static const struct policy_rule *get_above(struct search *q, enum policy_kind k, const char *prefix,
                                           struct str domain)
{
    const struct policy_rule *r = NULL;
    struct str label;
    struct buf value;

    buf_init(&value, POLICY_TEXT);
    for (size_t i = 0; i < LABELS_MAX && domain.n && !r; i++) {
        buf_clear(&value);
        buf_add_z(&value, prefix);
        buf_add_char(&value, '.');
        buf_add_str(&value, domain);
        r = buf_ok(&value) ? get(q, k, buf_str(&value)) : NULL;
        str_cut(domain, '.', &label, &domain);
    }
    buf_fini(&value);
    return r;
}

/* "user+tag@d" is "user@d", too. */
static bool untag(struct arena *a, struct str address, struct str *out)
{
    struct str local, domain;

    address_split(address, &local, &domain);
    if (!address_untag(local, '+', &local))
        return false;
    *out = arena_printf(a, STR_FMT "@" STR_FMT, STR_ARG(local), STR_ARG(domain));
    return true;
}

static const struct policy_rule *get_address(struct search *q, enum policy_kind k, struct str whole)
{
    const struct policy_rule *r = get(q, k, whole);
    struct str plain, local, domain;

    if (!r && k == POLICY_RECIPIENT && untag(q->arena, whole, &plain))
        r = get(q, k, plain);
    address_split(whole, &local, &domain);
    if (!r && domain.n)
        r = get(q, k, str_skip(whole, local.n));
    return r ? r : get_above(q, k, "@", domain);
}

static const struct policy_rule *get_network(struct search *q)
{
    const struct policy_rule *r = NULL;

    for (unsigned bits = BITS; bits-- > 0 && !r;)
        if (q->scope->networks[bits]) {
            struct cidr net = client_mask(q->ip, bits);
            r = get(q, POLICY_NETWORK, str_from(client_text(&net).z));
        }
    return r;
}

static const struct policy_rule *get_kind(struct search *q, enum policy_kind k)
{
    const struct policy_rule *r;

    if (!(q->scope->kinds & 1u << k))
        return NULL;
    switch (k) {
    case POLICY_SENDER:
        return q->sender.p ? get_address(q, k, q->sender) : NULL;
    case POLICY_RECIPIENT:
        return q->rcpt.n ? get_address(q, k, q->rcpt) : NULL;
    case POLICY_NETWORK:
        return q->has_ip ? get_network(q) : NULL;
    case POLICY_HELO:
        r = q->helo.n ? get(q, k, q->helo) : NULL;
        return r || !q->helo.n ? r : get_above(q, k, "", q->helo);
    case POLICY_KINDS:
        break;
    }
    return NULL;
}

static const struct policy_rule *find_in(struct search *q, struct str scope)
{
    const struct policy_rule *found = NULL;

    q->scope_name = scope;
    q->scope = map_get(q->set->scopes, scope);
    if (!q->scope)
        return NULL;
    for (int k = 0; k < POLICY_KINDS; k++) {
        const struct policy_rule *r = get_kind(q, (enum policy_kind)k);
        if (r && (!found || (found->action == POLICY_DENY && r->action == POLICY_ALLOW)))
            found = r;
    }
    return found;
}

/* What can't be folded is compared as it is. */
static struct str folded(struct arena *a, struct str address)
{
    struct buf b;
    struct err ignored;

    if (!address.p)
        return STR_NULL;
    if (!address.n)
        return STR("<>");
    buf_init(&b, POLICY_TEXT);
    struct str out =
        address_fold(address, &b, &ignored) ? arena_str(a, address) : arena_str(a, buf_str(&b));
    buf_fini(&b);
    return out;
}

static void prepare(struct search *q)
{
    const struct policy_subject *s = q->about;

    q->sender = folded(q->arena, s->sender);
    q->rcpt = s->rcpt.n ? folded(q->arena, s->rcpt) : STR_NULL;
    q->account = s->account.n ? folded(q->arena, s->account) : STR_NULL;
    q->has_ip = s->ip && client_parse(s->ip, q->ip);
    if (s->helo.n) {
        char *small = arena_dup(q->arena, s->helo.p, s->helo.n);
        for (size_t i = 0; i < s->helo.n; i++)
            small[i] = ascii_lower(small[i]);
        q->helo = str_of(small, s->helo.n);
    }
}

static size_t add_domain(struct str address, struct str *out)
{
    struct str local, domain;

    address_split(address, &local, &domain);
    *out = str_skip(address, local.n);
    return domain.n > 0;
}

/* The scopes of a recipient, the narrowest first. */
static size_t scopes_of(struct search *q, struct str out[SCOPES])
{
    size_t n = 0;

    if (q->rcpt.n) {
        out[n++] = q->rcpt;
        if (untag(q->arena, q->rcpt, &out[n]))
            n++;
        if (q->account.n)
            out[n++] = q->account;
        n += add_domain(q->rcpt, &out[n]);
        if (q->account.n)
            n += add_domain(q->account, &out[n]);
    }
    out[n++] = STR("");
    return n;
}

const struct policy_rule *policy_set_find(const struct policy_set *s,
                                          const struct policy_subject *about)
{
    struct search q = {.set = s, .about = about};
    const struct policy_rule *found = NULL;
    struct str scopes[SCOPES];
    size_t n;

    if (!s->n)
        return NULL;
    q.arena = arena_new(0);
    buf_init(&q.key, KEY_ROOM);
    prepare(&q);
    n = scopes_of(&q, scopes);
    for (size_t i = 0; i < n && !found; i++)
        found = find_in(&q, scopes[i]);
    buf_fini(&q.key);
    arena_free(&q.arena);
    return found;
}

const struct policy_rule *policy_set_find_for(const struct policy_set *s,
                                              const struct policy_subject *subject,
                                              const char *const *accounts, size_t n)
{
    struct policy_subject about = *subject;
    const struct policy_rule *first = NULL;

    for (size_t i = 0; i < n && n <= ACCOUNTS_MAX; i++) {
        about.account = str_from(accounts[i]);
        const struct policy_rule *r = policy_set_find(s, &about);
        if (i == 0)
            first = r;
        else if (!r != !first || (r && r->action != first->action))
            break;
        if (i + 1 == n)
            return first;
    }
    about.account = STR_NULL;
    return policy_set_find(s, &about);
}
