/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "imap/fetch_items.h"

enum {
    LABEL_MAX = 128 * 1024, /* header fields come back in the label */
    FIELD_NAME_MAX = 1000,
};

struct parse {
    struct imap_cursor c;
    struct fetch_items *out;
    size_t n_fields; /* of all sections */
    const char *why;
};

static int refuse(struct parse *p, const char *why)
{
    p->why = why;
    return -1;
}

static int add_item(struct parse *p, enum fetch_kind kind, struct fetch_section *section)
{
    struct fetch_items *items = p->out;
    for (size_t i = 0; kind != FETCH_SECTION && i < items->n; i++)
        if (items->list[i].kind == kind)
            return 0; /* asked for twice, answered once */
    if (items->n == FETCH_ITEMS_MAX)
        return refuse(p, "Too many items");
    items->list[items->n++] = (struct fetch_item){kind, section};
    return 0;
}

/* The letters, digits and dots that item and section names are made of. */
static struct str name_ahead(const struct imap_cursor *c)
{
    size_t n = 0;
    while (n < c->rest.n) {
        char ch = ascii_lower(c->rest.p[n]);
        if (!(ch >= 'a' && ch <= 'z') && !(ch >= '0' && ch <= '9') && ch != '.')
            break;
        n++;
    }
    return str_take(c->rest, n);
}

/* ---- Sections: "[" ... "]" and the partial behind it. */

static int section_path(struct parse *p, struct fetch_section *s)
{
    uint64_t number;
    s->path = ARENA_ARRAY(p->c.arena, unsigned, FETCH_DEPTH_MAX);
    for (;;) {
        if (s->depth == FETCH_DEPTH_MAX)
            return refuse(p, "Part number too deep");
        if (imap_number(&p->c, UINT32_MAX, &number) || number == 0)
            return refuse(p, "Invalid part number");
        s->path[s->depth++] = (unsigned)number;
        if (imap_take(&p->c, '.'))
            return 0;
        if (p->c.rest.n == 0 || p->c.rest.p[0] < '0' || p->c.rest.p[0] > '9') {
            /* ".HEADER": the dot belongs to what follows and must not be left hanging */
            return name_ahead(&p->c).n ? 1 : refuse(p, "Invalid section");
        }
    }
}

static int section_fields(struct parse *p, struct fetch_section *s)
{
    struct str name;
    size_t cap = 0;
    if (imap_space(&p->c) || imap_take(&p->c, '('))
        return refuse(p, "Header list expected");
    do {
        if (imap_astring(&p->c, &name) || name.n == 0 || name.n > FIELD_NAME_MAX)
            return refuse(p, "Invalid header field name");
        if (++p->n_fields > FETCH_FIELDS_MAX)
            return refuse(p, "Too many header fields");
        if (s->n_fields == cap) {
            cap = cap ? cap * 2 : 8;
            struct str *more = ARENA_ARRAY(p->c.arena, struct str, cap);
            if (s->n_fields)
                memcpy(more, s->fields, s->n_fields * sizeof *more);
            s->fields = more;
        }
        s->fields[s->n_fields++] = name;
    } while (imap_space(&p->c) == 0);
    return imap_take(&p->c, ')') ? refuse(p, "Invalid header list") : 0;
}

static int section_text(struct parse *p, struct fetch_section *s)
{
    static const struct {
        const char *name;
        enum fetch_text text;
    } known[] = {{"HEADER", FETCH_TEXT_HEADER},
                 {"HEADER.FIELDS", FETCH_TEXT_FIELDS},
                 {"HEADER.FIELDS.NOT", FETCH_TEXT_FIELDS_NOT},
                 {"TEXT", FETCH_TEXT_TEXT},
                 {"MIME", FETCH_TEXT_MIME}};
    struct str name = name_ahead(&p->c);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!str_ieq(name, str_from(known[i].name)))
            continue;
        if (known[i].text == FETCH_TEXT_MIME && s->depth == 0)
            break; /* RFC 3501 6.4.5: MIME must be prefixed by a number */
        s->text = known[i].text;
        p->c.rest = str_skip(p->c.rest, name.n);
        bool fields = s->text == FETCH_TEXT_FIELDS || s->text == FETCH_TEXT_FIELDS_NOT;
        return fields ? section_fields(p, s) : 0;
    }
    return refuse(p, "Unknown section");
}

static int section_spec(struct parse *p, struct fetch_section *s)
{
    if (imap_peek(&p->c, ']'))
        return 0;
    if (p->c.rest.n && p->c.rest.p[0] >= '0' && p->c.rest.p[0] <= '9') {
        int more = section_path(p, s);
        if (more <= 0)
            return more;
    }
    return section_text(p, s);
}

static int partial(struct parse *p, struct fetch_section *s)
{
    if (imap_take(&p->c, '<'))
        return 0;
    if (imap_number(&p->c, INT64_MAX, &s->from) || imap_take(&p->c, '.') ||
        imap_number(&p->c, INT64_MAX, &s->count) || s->count == 0 || imap_take(&p->c, '>'))
        return refuse(p, "Invalid partial");
    s->partial = true;
    return 0;
}

/* ---- The section's name in the response. Section words in capitals whatever the client wrote. */

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f ||
            strchr("(){%*\"\\]", s.p[i]))
            return false;
    return true;
}

static void put_field(struct buf *b, struct str name)
{
    if (!is_token(name)) {
        imap_put_quoted_or_literal(b, name);
        return;
    }
    for (size_t i = 0; i < name.n; i++)
        buf_add_char(b, ascii_upper(name.p[i]));
}

static void put_label(struct buf *b, const struct fetch_section *s)
{
    static const char *const names[] = {"",     "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT",
                                        "TEXT", "MIME"};
    buf_add_z(b, "BODY[");
    for (size_t i = 0; i < s->depth; i++)
        buf_printf(b, i ? ".%u" : "%u", s->path[i]);
    if (s->depth && s->text != FETCH_TEXT_ALL)
        buf_add_char(b, '.');
    buf_add_z(b, names[s->text]);
    for (size_t i = 0; i < s->n_fields; i++) {
        buf_add_z(b, i ? " " : " (");
        put_field(b, s->fields[i]);
    }
    buf_add_z(b, s->n_fields ? ")]" : "]");
    if (s->partial)
        buf_printf(b, "<%llu>", (unsigned long long)s->from);
}

static int make_label(struct parse *p, struct fetch_section *s)
{
    struct buf b;
    buf_init(&b, LABEL_MAX);
    put_label(&b, s);
    bool fits = buf_ok(&b);
    if (fits)
        s->label = arena_str(p->c.arena, buf_str(&b));
    buf_fini(&b);
    return fits ? 0 : refuse(p, "Header list too long");
}

/* ---- Items. */

static int section_item(struct parse *p, bool peek)
{
    struct fetch_section *s = ARENA_NEW(p->c.arena, struct fetch_section);
    s->peek = peek;
    if (imap_take(&p->c, '[') || section_spec(p, s))
        return p->why ? -1 : refuse(p, "Section expected");
    if (imap_take(&p->c, ']'))
        return refuse(p, "Section not closed");
    if (partial(p, s) || make_label(p, s))
        return -1;
    return add_item(p, FETCH_SECTION, s);
}

static int rfc822_item(struct parse *p, enum fetch_text text, const char *label)
{
    struct fetch_section *s = ARENA_NEW(p->c.arena, struct fetch_section);
    s->text = text;
    s->peek = text == FETCH_TEXT_HEADER; /* RFC 3501 6.4.5: as BODY.PEEK[HEADER] */
    s->label = str_from(label);
    return add_item(p, FETCH_SECTION, s);
}

static int body_item(struct parse *p, struct str name)
{
    bool peek = str_ieq(name, STR("BODY.PEEK"));
    if (imap_peek(&p->c, '['))
        return section_item(p, peek);
    return peek ? refuse(p, "Section expected") : add_item(p, FETCH_BODY, NULL);
}

static int one_item(struct parse *p)
{
    static const struct {
        const char *name;
        enum fetch_kind kind;
    } plain[] = {{"UID", FETCH_UID},
                 {"FLAGS", FETCH_FLAGS},
                 {"INTERNALDATE", FETCH_INTERNALDATE},
                 {"RFC822.SIZE", FETCH_SIZE},
                 {"ENVELOPE", FETCH_ENVELOPE},
                 {"BODYSTRUCTURE", FETCH_BODYSTRUCTURE}};
    struct str name = name_ahead(&p->c);
    p->c.rest = str_skip(p->c.rest, name.n);
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (str_ieq(name, str_from(plain[i].name)))
            return add_item(p, plain[i].kind, NULL);
    if (str_ieq(name, STR("BODY")) || str_ieq(name, STR("BODY.PEEK")))
        return body_item(p, name);
    if (str_ieq(name, STR("RFC822")))
        return rfc822_item(p, FETCH_TEXT_ALL, "RFC822");
    if (str_ieq(name, STR("RFC822.HEADER")))
        return rfc822_item(p, FETCH_TEXT_HEADER, "RFC822.HEADER");
    if (str_ieq(name, STR("RFC822.TEXT")))
        return rfc822_item(p, FETCH_TEXT_TEXT, "RFC822.TEXT");
    return refuse(p, "Unknown item");
}

/* RFC 3501 6.4.5: a macro stands alone. 1: there is none. */
static int macro(struct parse *p)
{
    static const struct {
        const char *name;
        unsigned n;
    } known[] = {{"FAST", 3}, {"ALL", 4}, {"FULL", 5}};
    static const enum fetch_kind kinds[] = {FETCH_FLAGS, FETCH_INTERNALDATE, FETCH_SIZE,
                                            FETCH_ENVELOPE, FETCH_BODY};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (imap_word(&p->c, known[i].name))
            continue;
        for (unsigned k = 0; k < known[i].n; k++)
            if (add_item(p, kinds[k], NULL))
                return -1;
        return 0;
    }
    return 1;
}

static int item_list(struct parse *p)
{
    do {
        if (one_item(p))
            return -1;
    } while (imap_space(&p->c) == 0);
    return imap_take(&p->c, ')') ? refuse(p, "Invalid item list") : 0;
}

/* ---- What the items need. */

static void section_needs(struct fetch_items *items, const struct fetch_section *s)
{
    if (!s->peek)
        items->seen = true;
    if (s->depth) {
        items->structure = true;
        items->want |= BODY_WANT_META | BODY_WANT_DATA;
        /* the only part of a message that isn't multipart has the message's own header */
        if (s->text == FETCH_TEXT_MIME)
            items->want |= BODY_WANT_HEAD;
        return;
    }
    if (s->text != FETCH_TEXT_TEXT) {
        items->prefix = true;
        items->want |= BODY_WANT_HEAD;
    }
    if (s->text == FETCH_TEXT_ALL || s->text == FETCH_TEXT_TEXT)
        items->want |= BODY_WANT_DATA;
}

static void find_needs(struct fetch_items *items)
{
    for (size_t i = 0; i < items->n; i++) {
        switch (items->list[i].kind) {
        case FETCH_ENVELOPE:
        case FETCH_BODY:
        case FETCH_BODYSTRUCTURE:
            items->structure = true;
            items->want |= BODY_WANT_META;
            break;
        case FETCH_SECTION:
            section_needs(items, items->list[i].section);
            break;
        default:
            break;
        }
    }
}

int fetch_items_parse(struct imap_cursor *c, bool uid, struct fetch_items *out,
                      const char **why_out)
{
    struct parse p = {.c = *c, .out = out};
    *out = (struct fetch_items){.list = ARENA_ARRAY(c->arena, struct fetch_item, FETCH_ITEMS_MAX)};
    int failed = uid ? add_item(&p, FETCH_UID, NULL) : 0;
    if (!failed && imap_take(&p.c, '(') == 0)
        failed = item_list(&p);
    else if (!failed && (failed = macro(&p)) == 1)
        failed = one_item(&p);
    if (failed) {
        *why_out = p.why;
        return -1;
    }
    find_needs(out);
    *c = p.c;
    return 0;
}
