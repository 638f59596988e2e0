/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* actions.c - what a stage wants done, and the facts it tells. Checked here, once: a field that
 * isn't well-formed would end the head early or smuggle another one in. */
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "filters/private.h"

enum {
    NAME_LIMIT = 200,
    LINE_LIMIT = 998,
    FACT_LIMIT = 4096,
    TAG_LIMIT = 64,
    ADDRESS_LIMIT = 1000
};

void acts_init(struct ph_acts *a, const struct fact_node *known)
{
    *a = (struct ph_acts){.known = known};
    a->last = &a->actions;
}

void acts_fini(struct ph_acts *a)
{
    arena_free(&a->arena);
    a->over = true;
}

struct arena *acts_arena(struct ph_acts *a)
{
    if (!a->arena)
        a->arena = arena_new(512);
    return a->arena;
}

static bool spend(struct ph_acts *a, size_t n)
{
    if (a->over)
        return false;
    if (n > ACTS_MAX || a->used + n + sizeof(struct chain_action) > ACTS_MAX) {
        a->full = true;
        return false;
    }
    a->used += n + sizeof(struct chain_action);
    return true;
}

static int push(struct ph_acts *a, enum chain_action_kind kind, unsigned n, struct str name,
                struct str value)
{
    const struct chain_action *before =
        a->n ? CONTAINER_OF(a->last, struct chain_action, next) : NULL;
    bool again = before && str_eq(before->name, name); /* many fields of one name: kept once */
    struct chain_action *action;

    if (!spend(a, (again ? 0 : name.n) + (kind == CHAIN_BODY ? 0 : value.n)))
        return -1;
    action = ARENA_NEW(acts_arena(a), struct chain_action);
    *action = (struct chain_action){.kind = kind,
                                    .n = n,
                                    .name = again ? before->name : arena_str(a->arena, name),
                                    .value = arena_str(a->arena, value)};
    *a->last = action;
    a->last = (struct chain_action **)(void *)&action->next;
    a->n++;
    return 0;
}

/* ---- Header fields. */

static bool good_name(const char *name)
{
    size_t n = name ? strlen(name) : 0;

    if (n == 0 || n > NAME_LIMIT)
        return false;
    for (; *name; name++)
        if (*name <= ' ' || *name > '~' || *name == ':') /* RFC 5322 2.2 */
            return false;
    return true;
}

/* One line of a value: something visible in it, no controls, not too long (RFC 5322 2.1.1). */
static bool good_line(struct str line, size_t before)
{
    bool visible = false;

    if (line.n + before > LINE_LIMIT)
        return false;
    for (size_t i = 0; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
        visible |= c > ' ';
    }
    return visible;
}

/* Folds may come as LF or CRLF before a blank; they leave as CRLF. */
static int put_value(struct buf *out, size_t name_n, const char *value)
{
    struct str rest = str_from(value), line;
    bool more, first = true;

    if (!value || !text_utf8_valid(rest))
        return -1;
    do {
        more = str_cut(rest, '\n', &line, &rest);
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (!first && (line.n == 0 || (line.p[0] != ' ' && line.p[0] != '\t')))
            return -1;
        if (!good_line(line, first ? name_n + 2 : 0) && !(first && !more && line.n == 0))
            return -1;
        if (!first)
            buf_add_z(out, "\r\n");
        buf_add_str(out, line);
        first = false;
    } while (more);
    return buf_ok(out) ? 0 : -1;
}

static int push_field(struct ph_acts *a, enum chain_action_kind kind, unsigned n, const char *name,
                      const char *value)
{
    struct buf clean;
    int rc;

    if (!a || !good_name(name))
        return -1;
    buf_init(&clean, ACTS_MAX);
    rc = put_value(&clean, strlen(name), value);
    if (rc == 0)
        rc = push(a, kind, n, str_from(name), buf_str(&clean));
    buf_fini(&clean);
    return rc;
}

static int header_add(struct ph_acts *a, const char *name, const char *value)
{
    return push_field(a, CHAIN_HEADER_ADD, 0, name, value);
}

static int header_insert(struct ph_acts *a, unsigned index, const char *name, const char *value)
{
    return push_field(a, CHAIN_HEADER_INSERT, index, name, value);
}

static int header_change(struct ph_acts *a, const char *name, unsigned nth, const char *value)
{
    return nth ? push_field(a, CHAIN_HEADER_CHANGE, nth, name, value) : -1;
}

static int header_delete(struct ph_acts *a, const char *name, unsigned nth)
{
    return a && good_name(name) ? push(a, CHAIN_HEADER_DELETE, nth, str_from(name), STR_NULL) : -1;
}

/* ---- The message. */

/* As the server demands of mail it receives: no NUL, CR and LF only together, the last line ended.
 */
static bool good_body(struct str s)
{
    if (s.n && !str_ends(s, STR("\r\n")))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\0' || (s.p[i] == '\r' && s.p[i + 1] != '\n') ||
            (s.p[i] == '\n' && (!i || s.p[i - 1] != '\r')))
            return false;
    return true;
}

static int body_replace(struct ph_acts *a, const void *data, size_t n)
{
    struct str s = str_of(data, n);

    return a && (data || !n) && good_body(s) ? push(a, CHAIN_BODY, 0, STR_NULL, s) : -1;
}

static bool good_address(struct ph_acts *a, const char *address)
{
    struct address_path path;
    struct str rest;
    struct err err = {0};

    if (!address || strlen(address) > ADDRESS_LIMIT || !spend(a, 2 * strlen(address)))
        return false;
    struct str in = arena_printf(acts_arena(a), "<%s>", address);
    return address_path_parse(a->arena, in, &path, &rest, &err) == 0 && rest.n == 0 &&
           path.domain.n;
}

static int rcpt_add(struct ph_acts *a, const char *address)
{
    return a && good_address(a, address) ? push(a, CHAIN_RCPT_ADD, 0, STR_NULL, str_from(address))
                                         : -1;
}

static int rcpt_delete(struct ph_acts *a, const char *address)
{
    return a && address && strlen(address) <= ADDRESS_LIMIT
               ? push(a, CHAIN_RCPT_DELETE, 0, STR_NULL, str_from(address))
               : -1;
}

static int sender_change(struct ph_acts *a, const char *address)
{
    if (!a || !address || (address[0] && !good_address(a, address)))
        return -1;
    return push(a, CHAIN_SENDER, 0, STR_NULL, str_from(address));
}

static int add_score(struct ph_acts *a, double points)
{
    if (!a || a->over || !(points > -1e6 && points < 1e6)) /* not a number neither */
        return -1;
    a->score += points;
    return 0;
}

static int add_tag(struct ph_acts *a, const char *word)
{
    size_t n = word ? strlen(word) : 0;

    if (!a || n == 0 || n > TAG_LIMIT || strpbrk(word, ",;\"\\"))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (word[i] <= ' ' || word[i] > '~')
            return -1;
    return push(a, CHAIN_TAG, 0, STR_NULL, str_from(word));
}

/* ---- Facts. */

static int fact_set(struct ph_acts *a, const char *name, const char *value)
{
    struct chain_fact *fact;

    if (!a || !value || !good_name(name) || strlen(value) > FACT_LIMIT ||
        !spend(a, strlen(name) + strlen(value)))
        return -1;
    fact = ARENA_NEW(acts_arena(a), struct chain_fact);
    *fact = (struct chain_fact){.next = a->facts,
                                .name = arena_str(a->arena, str_from(name)),
                                .value = arena_str(a->arena, str_from(value))};
    a->facts = fact;
    return 0;
}

static const char *fact_get(struct ph_acts *a, const char *name)
{
    if (!a || !name)
        return NULL;
    struct str wanted = str_from(name);
    for (const struct chain_fact *f = a->facts; f; f = f->next)
        if (str_eq(f->name, wanted))
            return f->value.p;
    for (const struct fact_node *n = a->known; n; n = n->next)
        if (str_eq(n->fact->name, wanted))
            return n->fact->value.p;
    return NULL;
}

void acts_host(struct ph_host *h)
{
    h->header_add = header_add;
    h->header_insert = header_insert;
    h->header_change = header_change;
    h->header_delete = header_delete;
    h->body_replace = body_replace;
    h->rcpt_add = rcpt_add;
    h->rcpt_delete = rcpt_delete;
    h->sender_change = sender_change;
    h->score = add_score;
    h->tag = add_tag;
    h->fact_set = fact_set;
    h->fact_get = fact_get;
}

const struct chain_action *chain_new_body(const struct chain *c)
{
    const struct chain_action *found = NULL;

    for (const struct chain_action *a = chain_actions(c); a; a = a->next)
        if (a->kind == CHAIN_BODY)
            found = a;
    return found;
}
