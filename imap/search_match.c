/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/search_match.h"
#include "appliance/base/text.h"
#include "imap/pages.h"

enum {
    DAY = 86400,
    FIELD_MAX = 4 * BODY_HEAD_MAX, /* a decoded field */
    FIELDS_MAX = 5000, /* are looked at: each key of a program is held against each of them, in one
                        * turn of a worker */
};

static enum search_truth truth(bool yes)
{
    return yes ? SEARCH_YES : SEARCH_NO;
}

static bool holds(struct str text, struct str what)
{
    size_t at;
    return what.n == 0 || str_find(text, what, &at);
}

/* ---- Header fields. */

void search_message_head(struct search_message *m, struct arena *a, struct str prefix,
                         struct str head)
{
    struct str parts[2] = {prefix, head};
    struct header_field f;
    size_t cap = 0;
    m->arena = a;
    m->have_head = true;
    m->fields = NULL;
    m->n_fields = 0;
    for (int i = 0; i < 2; i++)
        while (m->n_fields < FIELDS_MAX && header_next(&parts[i], &f)) {
            if (m->n_fields == cap) {
                cap = cap ? cap * 2 : 32;
                struct search_field *more = ARENA_ARRAY(a, struct search_field, cap);
                if (m->n_fields)
                    memcpy(more, m->fields, m->n_fields * sizeof *more);
                m->fields = more;
            }
            m->fields[m->n_fields++] = (struct search_field){.raw = f};
        }
}

void search_fold_value(struct str value, struct buf *out)
{
    struct buf decoded, utf8;
    buf_init(&decoded, FIELD_MAX);
    buf_init(&utf8, FIELD_MAX);
    header_decode(value, &decoded);
    text_to_utf8(STR("utf-8"), buf_str(&decoded), &utf8); /* raw 8-bit bytes may be in it */
    text_fold(buf_str(&utf8), out);
    buf_fini(&decoded);
    buf_fini(&utf8);
}

static void fold_field(struct arena *a, struct search_field *f)
{
    struct buf b;
    if (f->folded.p)
        return;
    buf_init(&b, FIELD_MAX * 2);
    text_fold(f->raw.name, &b);
    buf_add_z(&b, ": ");
    f->value_at = b.n;
    search_fold_value(f->raw.value, &b);
    f->folded = arena_str(a, buf_str(&b));
    buf_fini(&b);
}

static bool header_matches(const struct search_key *k, struct search_message *m)
{
    for (size_t i = 0; i < m->n_fields; i++) {
        struct search_field *f = &m->fields[i];
        if (!str_ieq(f->raw.name, k->field))
            continue;
        if (k->text.n == 0)
            return true;
        fold_field(m->arena, f);
        if (holds(str_skip(f->folded, f->value_at), k->text))
            return true;
    }
    return false;
}

static bool any_header_matches(const struct search_key *k, struct search_message *m)
{
    for (size_t i = 0; i < m->n_fields; i++) {
        fold_field(m->arena, &m->fields[i]);
        if (holds(m->fields[i].folded, k->text))
            return true;
    }
    return false;
}

/* ---- Dates. */

static bool day_matches(enum search_op op, int64_t day, int64_t asked)
{
    if (op == SEARCH_BEFORE || op == SEARCH_SENTBEFORE)
        return day < asked;
    if (op == SEARCH_ON || op == SEARCH_SENTON)
        return day == asked;
    return day >= asked;
}

static int64_t internal_day(const struct message_info *row)
{
    int64_t s = row->internal_ms / 1000 - (row->internal_ms % 1000 < 0);
    return s / DAY - (s % DAY < 0);
}

/* A message without a readable Date: was sent on no day. */
static bool sent_matches(const struct search_key *k, const struct search_message *m)
{
    struct date d;
    for (size_t i = 0; i < m->n_fields; i++)
        if (str_ieq(m->fields[i].raw.name, STR("Date")))
            return date_parse(m->fields[i].raw.value, &d) == 0 &&
                   day_matches(k->op, date_day(d), k->day);
    return false;
}

/* ---- The tree. */

static enum search_truth hit(const struct search_key *k, const struct search_message *m)
{
    return m->hits ? (enum search_truth)m->hits[k->needle] : SEARCH_UNKNOWN;
}

static enum search_truth text_matches(const struct search_key *k, struct search_message *m)
{
    if (k->text.n == 0)
        return SEARCH_YES;
    if (!m->have_head)
        return SEARCH_UNKNOWN;
    return any_header_matches(k, m) ? SEARCH_YES : hit(k, m);
}

static enum search_truth opposite(enum search_truth t)
{
    return t == SEARCH_YES ? SEARCH_NO : t == SEARCH_NO ? SEARCH_YES : SEARCH_UNKNOWN;
}

/* One child that is `decisive` decides; all must be known otherwise. */
static enum search_truth children(const struct search_key *k, struct search_message *m,
                                  enum search_truth decisive)
{
    bool unknown = false;
    for (const struct search_key *c = k->child; c; c = c->next) {
        enum search_truth t = search_match(c, m);
        if (t == decisive)
            return t;
        unknown |= t == SEARCH_UNKNOWN;
    }
    return unknown ? SEARCH_UNKNOWN : opposite(decisive);
}

static enum search_truth row_matches(const struct search_key *k, const struct search_message *m)
{
    if (!m->row)
        return SEARCH_UNKNOWN;
    switch (k->op) {
    case SEARCH_FLAGS:
        return truth(m->row->flags & k->number);
    case SEARCH_LARGER:
        return truth(m->row->size > k->number);
    case SEARCH_SMALLER:
        return truth(m->row->size < k->number);
    default:
        return truth(day_matches(k->op, internal_day(m->row), k->day));
    }
}

enum search_truth search_match(const struct search_key *k, struct search_message *m)
{
    switch (k->op) {
    case SEARCH_AND:
        return children(k, m, SEARCH_NO);
    case SEARCH_OR:
        return children(k, m, SEARCH_YES);
    case SEARCH_NOT:
        return opposite(search_match(k->child, m));
    case SEARCH_UIDS:
        return truth(imap_ranges_have(k->set, k->n_set, m->uid));
    case SEARCH_RECENT:
        return truth(m->uid >= m->recent_from);
    case SEARCH_SENTBEFORE:
    case SEARCH_SENTON:
    case SEARCH_SENTSINCE:
        return m->have_head ? truth(sent_matches(k, m)) : SEARCH_UNKNOWN;
    case SEARCH_HEADER:
        return m->have_head ? truth(header_matches(k, m)) : SEARCH_UNKNOWN;
    case SEARCH_BODY:
        return k->text.n == 0 ? SEARCH_YES : hit(k, m);
    case SEARCH_TEXT:
        return text_matches(k, m);
    default:
        return row_matches(k, m);
    }
}
