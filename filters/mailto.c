/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/mailto.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"

enum { ADDRESS_MAX = 320 };

static bool add_decoded(struct str in, struct buf *out)
{
    while (in.n) {
        if (in.p[0] == '%') {
            if (in.n < 3 || text_hex_decode(str_of(in.p + 1, 2), out))
                return false;
        } else if (buf_add_char(out, in.p[0])) {
            return false;
        }
        in = str_skip(in, in.p[0] == '%' ? 3 : 1);
    }
    return true;
}

/* A comma could be read as two addresses by whoever reads the To field; nor is there one that would
 * have to be quoted. */
static bool plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("<>\",;:\\()", s.p[i]))
            return false;
    return true;
}

static bool take(struct arena *a, struct str path, struct mailto *out)
{
    struct address_path p;
    struct str rest;
    struct err err;
    struct buf text;

    if (!plain(str_of(path.p + 1, path.n - 2)) || address_path_parse(a, path, &p, &rest, &err) ||
        rest.n || p.null || p.utf8 || !dmarc_domain_fold(p.domain, &out->domain))
        return false;
    buf_init(&text, ADDRESS_MAX);
    bool ok = address_path_format(&p, &text) == 0 && text.p[0] != '"';
    if (ok)
        out->address = arena_str(a, buf_str(&text));
    buf_fini(&text);
    return ok;
}

bool mailto_parse(struct arena *a, struct str uri, struct mailto *out)
{
    struct str address, query;
    struct buf path;

    if (!str_istarts(uri, STR("mailto:")))
        return false;
    (void)str_cut(str_skip(uri, 7), '?', &address, &query);
    buf_init(&path, ADDRESS_MAX);
    buf_add_char(&path, '<');
    bool ok = add_decoded(address, &path) && buf_add_char(&path, '>') == 0 &&
              take(a, buf_str(&path), out);
    buf_fini(&path);
    return ok;
}
