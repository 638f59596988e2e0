/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/bodystructure.h"
#include "appliance/base/mem.h"
#include "imap/cursor.h"

static void put_addresses(struct buf *b, const struct address *list, size_t n)
{
    if (n == 0) {
        buf_add_z(b, "NIL");
        return;
    }
    buf_add_char(b, '(');
    for (size_t i = 0; i < n; i++) {
        buf_add_char(b, '(');
        imap_put_string(b, list[i].name);
        buf_add_char(b, ' ');
        imap_put_string(b, list[i].route);
        buf_add_char(b, ' ');
        imap_put_string(b, list[i].mailbox);
        buf_add_char(b, ' ');
        imap_put_string(b, list[i].host);
        buf_add_char(b, ')');
    }
    buf_add_char(b, ')');
}

void imap_put_envelope(struct buf *b, const struct mime_envelope *e)
{
    buf_add_char(b, '(');
    imap_put_string(b, e->date);
    buf_add_char(b, ' ');
    imap_put_string(b, e->subject);
    const struct {
        const struct address *list;
        size_t n;
    } lists[] = {{e->from, e->n_from}, {e->sender, e->n_sender}, {e->reply_to, e->n_reply_to},
                 {e->to, e->n_to},     {e->cc, e->n_cc},         {e->bcc, e->n_bcc}};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        buf_add_char(b, ' ');
        put_addresses(b, lists[i].list, lists[i].n);
    }
    buf_add_char(b, ' ');
    imap_put_string(b, e->in_reply_to);
    buf_add_char(b, ' ');
    imap_put_string(b, e->message_id);
    buf_add_char(b, ')');
}

static void put_params(struct buf *b, const struct header_params *p)
{
    if (p->n == 0) {
        buf_add_z(b, "NIL");
        return;
    }
    for (size_t i = 0; i < p->n; i++) {
        buf_add_char(b, i ? ' ' : '(');
        imap_put_quoted_or_literal(b, p->list[i].name);
        buf_add_char(b, ' ');
        imap_put_quoted_or_literal(b, p->list[i].value);
    }
    buf_add_char(b, ')');
}

static void put_disposition(struct buf *b, const struct header_params *p)
{
    if (!p->main.p) {
        buf_add_z(b, "NIL");
        return;
    }
    buf_add_char(b, '(');
    imap_put_quoted_or_literal(b, p->main);
    buf_add_char(b, ' ');
    put_params(b, p);
    buf_add_char(b, ')');
}

/* Content-Language (RFC 3282): tags separated by commas. */
static void put_language(struct buf *b, struct str value)
{
    struct str tag;
    bool first = true;
    while (value.n) {
        str_cut(value, ',', &tag, &value);
        tag = str_trim(tag);
        if (tag.n == 0)
            continue;
        buf_add_char(b, first ? '(' : ' ');
        imap_put_quoted_or_literal(b, tag);
        first = false;
    }
    buf_add_z(b, first ? "NIL" : ")");
}

/* What follows body-fld-md5 and body-fld-param in both kinds of extension data. */
static void put_extension(struct buf *b, const struct mime_part *p)
{
    buf_add_char(b, ' ');
    put_disposition(b, &p->disposition);
    buf_add_char(b, ' ');
    put_language(b, p->language);
    buf_add_char(b, ' ');
    imap_put_string(b, p->location);
}

static void put_multipart(struct buf *b, const struct mime_part *p, bool extended)
{
    for (const struct mime_part *c = p->child; c; c = c->next)
        imap_put_body(b, c, extended);
    if (!p->child) { /* the grammar wants at least one part (RFC 3501 9, body-type-mpart) */
        static const char empty[] =
            "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0";
        buf_add_z(b, empty);
        buf_add_z(b, extended ? " NIL NIL NIL NIL)" : ")");
    }
    buf_add_char(b, ' ');
    imap_put_quoted_or_literal(b, p->subtype);
    if (extended) {
        buf_add_char(b, ' ');
        put_params(b, &p->params);
        put_extension(b, p);
    }
}

/* RFC 2045 5.2: text without a Content-Type is us-ascii. */
static void put_leaf_params(struct buf *b, const struct mime_part *p)
{
    if (p->params.n == 0 && str_ieq(p->type, STR("text")))
        buf_add_z(b, "(\"charset\" \"us-ascii\")");
    else
        put_params(b, &p->params);
}

/* The grammar wants envelope and structure of every message/rfc822, also of one that was nested too
 * deeply to be looked into. */
static void put_inner_message(struct buf *b, const struct mime_part *p, bool extended)
{
    static const struct mime_envelope nothing;
    const struct mime_part unknown = {.type = STR("text"), .subtype = STR("plain")};
    buf_add_char(b, ' ');
    imap_put_envelope(b, p->child && p->child->envelope ? p->child->envelope : &nothing);
    buf_add_char(b, ' ');
    imap_put_body(b, p->child ? p->child : &unknown, extended);
}

static bool is_rfc822(const struct mime_part *p)
{
    return str_ieq(p->type, STR("message")) && str_ieq(p->subtype, STR("rfc822"));
}

static void put_leaf(struct buf *b, const struct mime_part *p, bool extended)
{
    imap_put_quoted_or_literal(b, p->type);
    buf_add_char(b, ' ');
    imap_put_quoted_or_literal(b, p->subtype);
    buf_add_char(b, ' ');
    put_leaf_params(b, p);
    buf_add_char(b, ' ');
    imap_put_string(b, p->id);
    buf_add_char(b, ' ');
    imap_put_string(b, p->description);
    buf_add_char(b, ' ');
    imap_put_quoted_or_literal(b, p->encoding.p ? p->encoding : STR("7bit"));
    buf_add_char(b, ' ');
    buf_add_u64(b, p->body_size);
    if (is_rfc822(p))
        put_inner_message(b, p, extended);
    if (is_rfc822(p) || str_ieq(p->type, STR("text"))) {
        buf_add_char(b, ' ');
        buf_add_u64(b, p->lines);
    }
    if (extended) {
        buf_add_char(b, ' ');
        imap_put_string(b, p->md5);
        put_extension(b, p);
    }
}

void imap_put_body(struct buf *b, const struct mime_part *root, bool extended)
{
    buf_add_char(b, '(');
    if (str_ieq(root->type, STR("multipart")))
        put_multipart(b, root, extended);
    else
        put_leaf(b, root, extended);
    buf_add_char(b, ')');
}
