/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "imap/search_program.h"

enum { TEXT_GROWTH = 6 }; /* bytes of folded UTF-8 for one byte of any charset, at most */

struct parse {
    struct imap_cursor c;
    const struct imap_view *view;
    struct search_program *out;
    struct str charset;
    size_t n_keys, depth;
    const char *why;
};

enum argument {
    NO_ARGUMENT,
    A_FLAG, /* `number` set (or, with NOT, unset) */
    A_DAY,
    A_SIZE,
    A_TEXT,
    A_FIELD, /* HEADER: name and text */
    A_KEYWORD,
    A_UID_SET,
};
struct key_name {
    const char *name;
    enum search_op op;
    enum argument argument;
    bool negated;
    uint64_t flags;
    const char *field; /* of the header keys that have a name of their own */
};

// clang-format off
static const struct key_name key_names[] = {
    {"ALL",        SEARCH_AND,        NO_ARGUMENT, false, 0, NULL},
    {"ANSWERED",   SEARCH_FLAGS,      A_FLAG,      false, MESSAGE_ANSWERED, NULL},
    {"BCC",        SEARCH_HEADER,     A_TEXT,      false, 0, "Bcc"},
    {"BEFORE",     SEARCH_BEFORE,     A_DAY,       false, 0, NULL},
    {"BODY",       SEARCH_BODY,       A_TEXT,      false, 0, NULL},
    {"CC",         SEARCH_HEADER,     A_TEXT,      false, 0, "Cc"},
    {"DELETED",    SEARCH_FLAGS,      A_FLAG,      false, MESSAGE_DELETED, NULL},
    {"DRAFT",      SEARCH_FLAGS,      A_FLAG,      false, MESSAGE_DRAFT, NULL},
    {"FLAGGED",    SEARCH_FLAGS,      A_FLAG,      false, MESSAGE_FLAGGED, NULL},
    {"FROM",       SEARCH_HEADER,     A_TEXT,      false, 0, "From"},
    {"HEADER",     SEARCH_HEADER,     A_FIELD,     false, 0, NULL},
    {"KEYWORD",    SEARCH_FLAGS,      A_KEYWORD,   false, 0, NULL},
    {"LARGER",     SEARCH_LARGER,     A_SIZE,      false, 0, NULL},
    {"OLD",        SEARCH_RECENT,     NO_ARGUMENT, true,  0, NULL},
    {"ON",         SEARCH_ON,         A_DAY,       false, 0, NULL},
    {"RECENT",     SEARCH_RECENT,     NO_ARGUMENT, false, 0, NULL},
    {"SEEN",       SEARCH_FLAGS,      A_FLAG,      false, MESSAGE_SEEN, NULL},
    {"SENTBEFORE", SEARCH_SENTBEFORE, A_DAY,       false, 0, NULL},
    {"SENTON",     SEARCH_SENTON,     A_DAY,       false, 0, NULL},
    {"SENTSINCE",  SEARCH_SENTSINCE,  A_DAY,       false, 0, NULL},
    {"SINCE",      SEARCH_SINCE,      A_DAY,       false, 0, NULL},
    {"SMALLER",    SEARCH_SMALLER,    A_SIZE,      false, 0, NULL},
    {"SUBJECT",    SEARCH_HEADER,     A_TEXT,      false, 0, "Subject"},
    {"TEXT",       SEARCH_TEXT,       A_TEXT,      false, 0, NULL},
    {"TO",         SEARCH_HEADER,     A_TEXT,      false, 0, "To"},
    {"UID",        SEARCH_UIDS,       A_UID_SET,   false, 0, NULL},
    {"UNANSWERED", SEARCH_FLAGS,      A_FLAG,      true,  MESSAGE_ANSWERED, NULL},
    {"UNDELETED",  SEARCH_FLAGS,      A_FLAG,      true,  MESSAGE_DELETED, NULL},
    {"UNDRAFT",    SEARCH_FLAGS,      A_FLAG,      true,  MESSAGE_DRAFT, NULL},
    {"UNFLAGGED",  SEARCH_FLAGS,      A_FLAG,      true,  MESSAGE_FLAGGED, NULL},
    {"UNKEYWORD",  SEARCH_FLAGS,      A_KEYWORD,   true,  0, NULL},
    {"UNSEEN",     SEARCH_FLAGS,      A_FLAG,      true,  MESSAGE_SEEN, NULL},
};
// clang-format on

static int refuse(struct parse *p, const char *why)
{
    p->why = why;
    return -1;
}

static struct search_key *new_key(struct parse *p, enum search_op op)
{
    if (p->n_keys++ == SEARCH_KEYS_MAX) {
        p->why = "Too many search keys";
        return NULL;
    }
    struct search_key *k = ARENA_NEW(p->c.arena, struct search_key);
    k->op = op;
    return k;
}

static int one_key(struct parse *p, struct search_key **out);

/* ---- Arguments. */

/* Into the form that texts are compared in. */
static struct str folded(struct parse *p, struct str text)
{
    struct buf utf8, fold;
    buf_init(&utf8, text.n * TEXT_GROWTH + 16);
    buf_init(&fold, text.n * TEXT_GROWTH * 2 + 16);
    text_to_utf8(p->charset, text, &utf8);
    text_fold(buf_str(&utf8), &fold);
    struct str s = arena_str(p->c.arena, buf_str(&fold));
    buf_fini(&utf8);
    buf_fini(&fold);
    return s;
}

static int take_text(struct parse *p, struct search_key *k)
{
    struct str text;
    if (imap_space(&p->c) || imap_astring(&p->c, &text))
        return refuse(p, "Search string expected");
    k->text = folded(p, text);
    if (k->op == SEARCH_HEADER)
        p->out->uses_head = true;
    if (k->op == SEARCH_HEADER || k->text.n == 0)
        return 0;
    p->out->uses_body = true;
    if (k->op == SEARCH_TEXT)
        p->out->uses_head = true;
    k->needle = p->out->n_needles;
    p->out->needles[p->out->n_needles++] = k;
    return 0;
}

static int take_field(struct parse *p, struct search_key *k)
{
    if (imap_space(&p->c) || imap_astring(&p->c, &k->field))
        return refuse(p, "Header field name expected");
    return take_text(p, k);
}

static int take_day(struct parse *p, struct search_key *k)
{
    if (imap_space(&p->c) || imap_date(&p->c, &k->day))
        return refuse(p, "Invalid date");
    if (k->op >= SEARCH_SENTBEFORE)
        p->out->uses_head = true;
    return 0;
}

static int take_size(struct parse *p, struct search_key *k)
{
    if (imap_space(&p->c) || imap_number(&p->c, INT64_MAX, &k->number))
        return refuse(p, "Invalid size");
    return 0;
}

static int take_keyword(struct parse *p, struct search_key *k)
{
    struct str name;
    if (imap_space(&p->c) || imap_atom(&p->c, &name))
        return refuse(p, "Invalid keyword");
    for (size_t i = 0; i < p->view->n_keywords; i++)
        if (str_ieq(p->view->keywords[i].name, name))
            k->number = (uint64_t)1 << p->view->keywords[i].bit;
    return 0; /* an unknown one is on no message: no flag, never true */
}

static int take_set(struct parse *p, struct search_key *k, bool uid)
{
    struct imap_set set;
    if (imap_set(&p->c, &set))
        return refuse(p, uid ? "Invalid uid set" : "Invalid message set");
    if (imap_view_resolve(p->view, p->c.arena, &set, uid, &k->set, &k->n_set))
        return refuse(p, "No such message sequence number");
    return 0;
}

static int take_argument(struct parse *p, const struct key_name *name, struct search_key *k)
{
    switch (name->argument) {
    case NO_ARGUMENT:
        return 0;
    case A_FLAG:
        k->number = name->flags;
        return 0;
    case A_DAY:
        return take_day(p, k);
    case A_SIZE:
        return take_size(p, k);
    case A_TEXT:
        k->field = str_from(name->field);
        return take_text(p, k);
    case A_FIELD:
        return take_field(p, k);
    case A_KEYWORD:
        return take_keyword(p, k);
    case A_UID_SET:
        return imap_space(&p->c) ? refuse(p, "Invalid uid set") : take_set(p, k, true);
    }
    return 0;
}

/* ---- Keys. */

static int negate(struct parse *p, struct search_key **k)
{
    struct search_key *not = new_key(p, SEARCH_NOT);
    if (!not )
        return -1;
    not ->child = *k;
    *k = not ;
    return 0;
}

static int named_key(struct parse *p, const struct key_name *name, struct search_key **out)
{
    struct search_key *k = new_key(p, name->op);
    if (!k || take_argument(p, name, k))
        return -1;
    if (k->op != SEARCH_AND && k->op != SEARCH_UIDS && k->op != SEARCH_RECENT)
        p->out->uses_rows = true;
    *out = k;
    return name->negated ? negate(p, out) : 0;
}

/* NEW is RECENT UNSEEN. */
static int new_messages(struct parse *p, struct search_key **out)
{
    struct search_key *both = new_key(p, SEARCH_AND), *recent = new_key(p, SEARCH_RECENT),
                      *seen = new_key(p, SEARCH_FLAGS);
    if (!both || !recent || !seen)
        return -1;
    seen->number = MESSAGE_SEEN;
    if (negate(p, &seen))
        return -1;
    both->child = recent;
    recent->next = seen;
    p->out->uses_rows = true;
    *out = both;
    return 0;
}

static int or_key(struct parse *p, struct search_key **out)
{
    struct search_key *k = new_key(p, SEARCH_OR);
    if (!k)
        return -1;
    if (imap_space(&p->c) || one_key(p, &k->child) || imap_space(&p->c) ||
        one_key(p, &k->child->next))
        return p->why ? -1 : refuse(p, "OR needs two keys");
    *out = k;
    return 0;
}

static int not_key(struct parse *p, struct search_key **out)
{
    if (imap_space(&p->c))
        return refuse(p, "NOT needs a key");
    return one_key(p, out) ? -1 : negate(p, out);
}

static int key_list(struct parse *p, struct search_key **out)
{
    struct search_key *all = new_key(p, SEARCH_AND);
    if (!all)
        return -1;
    struct search_key **tail = &all->child;
    do {
        if (one_key(p, tail))
            return -1;
        tail = &(*tail)->next;
    } while (imap_space(&p->c) == 0);
    *out = all;
    return 0;
}

static int parenthesised(struct parse *p, struct search_key **out)
{
    if (key_list(p, out))
        return -1;
    return imap_take(&p->c, ')') ? refuse(p, "Parenthesis not closed") : 0;
}

static int by_name(struct parse *p, struct search_key **out)
{
    if (imap_word(&p->c, "OR") == 0)
        return or_key(p, out);
    if (imap_word(&p->c, "NOT") == 0)
        return not_key(p, out);
    if (imap_word(&p->c, "NEW") == 0)
        return new_messages(p, out);
    for (size_t i = 0; i < ARRAY_LEN(key_names); i++)
        if (imap_word(&p->c, key_names[i].name) == 0)
            return named_key(p, &key_names[i], out);
    return refuse(p, "Unknown search key");
}

static int one_key(struct parse *p, struct search_key **out)
{
    int failed;
    if (p->depth == SEARCH_DEPTH_MAX)
        return refuse(p, "Search nested too deeply");
    p->depth++;
    if (imap_take(&p->c, '(') == 0) {
        failed = parenthesised(p, out);
    } else if (imap_peek(&p->c, '*') ||
               (p->c.rest.n && p->c.rest.p[0] >= '0' && p->c.rest.p[0] <= '9')) {
        *out = new_key(p, SEARCH_UIDS);
        failed = *out ? take_set(p, *out, false) : -1;
    } else {
        failed = by_name(p, out);
    }
    p->depth--;
    return failed;
}

static enum search_refusal charset(struct parse *p)
{
    struct imap_cursor t = p->c;
    if (imap_word(&t, "CHARSET"))
        return SEARCH_FINE;
    if (imap_space(&t) || imap_astring(&t, &p->charset) || imap_space(&t)) {
        p->why = "Invalid CHARSET";
        return SEARCH_BAD;
    }
    p->c = t;
    if (p->charset.n && text_charset_known(p->charset))
        return SEARCH_FINE;
    p->why = "Unknown charset";
    return SEARCH_BADCHARSET;
}

enum search_refusal search_program_parse(struct imap_cursor *c, const struct imap_view *view,
                                         struct search_program *out, const char **why_out)
{
    struct parse p = {.c = *c, .view = view, .out = out};
    *out = (struct search_program){.needles =
                                       ARENA_ARRAY(c->arena, struct search_key *, SEARCH_KEYS_MAX)};
    enum search_refusal refusal = charset(&p);
    if (refusal == SEARCH_FINE && (key_list(&p, &out->root) || !imap_at_end(&p.c)))
        refusal = SEARCH_BAD;
    *why_out = p.why ? p.why : "Unexpected arguments";
    if (refusal == SEARCH_FINE)
        *c = p.c;
    return refusal;
}

bool search_program_bounds(const struct search_program *p, uint32_t *first, uint32_t *last)
{
    for (const struct search_key *k = p->root->child; k; k = k->next) {
        if (k->op != SEARCH_UIDS)
            continue;
        if (k->n_set == 0)
            return false;
        if (k->set[0].first > *first)
            *first = k->set[0].first;
        if (k->set[k->n_set - 1].last < *last)
            *last = k->set[k->n_set - 1].last;
    }
    return *first <= *last;
}
