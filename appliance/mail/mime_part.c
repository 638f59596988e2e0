/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/address_vec.h"
#include "appliance/mail/lex.h"
#include "appliance/mail/mime_meta.h"

/* RFC 2045 5.2: what can't be read is text/plain if it says text or nothing, and else opaque. */
static void type_set(struct mime_part *out)
{
    size_t slash;
    struct str main = out->params.main;
    if (str_chr(main, '/', &slash) && slash > 0 && slash + 1 < main.n) {
        out->type = str_take(main, slash);
        out->subtype = str_skip(main, slash + 1);
    } else if (main.n > 0 && !str_istarts(main, STR("text"))) {
        out->type = STR("application");
        out->subtype = STR("octet-stream");
    }
}

/* RFC 2045 6.1: a token; comments around it are known to occur. */
static struct str encoding_parse(struct arena *a, struct str value)
{
    lex_cfws(&value, NULL);
    struct str token = lex_run(&value, "(;");
    return token.n > 0 ? arena_str(a, token) : STR_NULL;
}

void mime_head_parse(struct arena *a, struct str head, bool digest, struct mime_part *out)
{
    struct header_field f;
    out->type = digest ? STR("message") : STR("text");
    out->subtype = digest ? STR("rfc822") : STR("plain");
    bool typed = false;
    while (header_next(&head, &f)) { /* of several fields of a name the first counts */
        if (ascii_lower(f.name.p[0]) != 'c' || !str_istarts(f.name, STR("content-")))
            continue;
        struct str what = str_skip(f.name, 8);
        struct str *plain = str_ieq(what, STR("ID"))            ? &out->id
                            : str_ieq(what, STR("description")) ? &out->description
                            : str_ieq(what, STR("MD5"))         ? &out->md5
                            : str_ieq(what, STR("language"))    ? &out->language
                            : str_ieq(what, STR("location"))    ? &out->location
                                                                : NULL;
        if (plain && !plain->p) {
            *plain = lex_unfold(a, f.value);
        } else if (str_ieq(what, STR("type")) && !typed) {
            typed = true;
            out->type = STR("text");
            out->subtype = STR("plain");
            header_params_parse(a, f.value, &out->params);
            type_set(out);
        } else if (str_ieq(what, STR("transfer-encoding")) && !out->encoding.p) {
            out->encoding = encoding_parse(a, f.value);
        } else if (str_ieq(what, STR("disposition")) && !out->disposition.main.p) {
            header_params_parse(a, f.value, &out->disposition);
            if (out->disposition.main.n == 0 && out->disposition.n > 0)
                out->disposition.main = STR("attachment"); /* RFC 2183 2.8 */
            else if (out->disposition.main.n == 0)
                out->disposition = (struct header_params){.main = STR_NULL};
        }
    }
}

enum { FROM, SENDER, REPLY_TO, TO, CC, BCC, LISTS };

struct mime_envelope *mime_envelope_parse(struct arena *a, struct str head)
{
    static const struct str lists[LISTS] = {{"From", 4}, {"Sender", 6}, {"Reply-To", 8},
                                            {"To", 2},   {"Cc", 2},     {"Bcc", 3}};
    struct address_vec v[LISTS];
    struct mime_envelope *e = ARENA_NEW(a, struct mime_envelope);
    struct header_field f;
    for (unsigned i = 0; i < LISTS; i++)
        v[i] = (struct address_vec){.max = MIME_MAX_ADDRESSES};
    while (header_next(&head, &f)) {
        if (!memchr("dsimfrtcbDSIMFRTCB", f.name.p[0], 18))
            continue;
        struct str *s = str_ieq(f.name, STR("Date"))          ? &e->date
                        : str_ieq(f.name, STR("Subject"))     ? &e->subject
                        : str_ieq(f.name, STR("In-Reply-To")) ? &e->in_reply_to
                        : str_ieq(f.name, STR("Message-ID"))  ? &e->message_id
                                                              : NULL;
        if (s && !s->p)
            *s = lex_unfold(a, f.value);
        for (unsigned i = 0; !s && i < LISTS;
             i++) /* several fields are one list: none may hide behind another */
            if (str_ieq(f.name, lists[i]))
                address_vec_add(a, &v[i], f.value);
    }
    for (unsigned i = SENDER; i <= REPLY_TO; i++) /* RFC 3501 7.4.2 */
        if (v[i].n == 0)
            v[i] = v[FROM];
    struct address **to[LISTS] = {&e->from, &e->sender, &e->reply_to, &e->to, &e->cc, &e->bcc};
    size_t *n[LISTS] = {&e->n_from, &e->n_sender, &e->n_reply_to, &e->n_to, &e->n_cc, &e->n_bcc};
    for (unsigned i = 0; i < LISTS; i++) {
        *to[i] = v[i].list;
        *n[i] = v[i].n;
    }
    return e;
}

static const struct mime_part *nth_child(const struct mime_part *p, unsigned n)
{
    const struct mime_part *c = n > 0 ? p->child : NULL;
    while (c && --n > 0)
        c = c->next;
    return c;
}

/* Part n of a message whose root is given: of a leaf's only part 1 exists, and is itself. */
static const struct mime_part *of_message(const struct mime_part *root, unsigned n)
{
    if (mime_is_multipart(root) && root->child)
        return nth_child(root, n);
    return n == 1 ? root : NULL;
}

const struct mime_part *mime_part_find(const struct mime_part *root, const unsigned *path, size_t n)
{
    const struct mime_part *p = root;
    for (size_t i = 0; i < n && p; i++) {
        if (i == 0)
            p = of_message(p, path[i]);
        else if (!p->child)
            p = NULL;
        else if (mime_is_multipart(p))
            p = nth_child(p, path[i]);
        else
            p = of_message(p->child, path[i]);
    }
    return p;
}

int mime_parse(struct arena *a, struct str head, struct str data, struct mime_part **root_out)
{
    struct mime_scan *s = mime_scan_new(head);
    struct buf meta;
    buf_init(&meta, MIME_META_MAX);
    mime_scan_feed(s, data);
    int rc = mime_scan_end(&s, head, &meta);
    if (rc == 0)
        rc = mime_meta_decode(a, arena_str(a, buf_str(&meta)), root_out);
    buf_fini(&meta);
    return rc;
}
