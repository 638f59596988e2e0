/* room: mail */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What is taken as a path can be written and is then taken again as the same; lists keep their
 * shape. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void path(struct arena *a, struct str in)
{
    struct address_path p, again;
    struct str rest;
    struct err err;
    struct buf b, key, key2;
    buf_init(&b, 2000);
    buf_init(&key, 2000);
    buf_init(&key2, 2000);
    if (address_path_parse(a, in, &p, &rest, &err) == 0) {
        CHECK(rest.p > in.p && rest.p + rest.n == in.p + in.n && rest.p[-1] == '>');
        CHECK(p.null == (p.local.n == 0) && p.local.n <= 256 && p.domain.n <= 255);
        CHECK(text_utf8_valid(p.local) && text_ascii(p.domain));
        buf_add_char(&b, '<');
        address_path_format(&p, &b);
        buf_add_char(&b, '>');
        bool fits = b.n <= 256; /* an A-label may be longer than what was written */
        CHECK(!fits || address_path_parse(a, buf_str(&b), &again, &rest, &err) == 0);
        CHECK(!fits ||
              (str_eq(p.local, again.local) && str_eq(p.domain, again.domain) && rest.n == 0));
        struct str bare = str_take(str_skip(buf_str(&b), 1), b.n - 2);
        if (p.domain.n > 0) {
            CHECK(address_fold(bare, &key, &err) == 0);
            CHECK(key.n > 0 && address_fold(bare, &key2, &err) == 0 &&
                  str_eq(buf_str(&key), buf_str(&key2)));
        }
    }
    buf_clear(&key);
    if (address_fold(in, &key, &err) < 0)
        CHECK(key.n == 0 && err.kind == ERR_PROTO);
    buf_fini(&key2);
    buf_fini(&key);
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size), local, domain, base;
    struct arena *a = arena_new(0);
    struct address *list;
    path(a, in);
    for (size_t max = 0; max <= 1000; max = max * 4 + 1) {
        size_t n = address_list_parse(a, in, max, &list);
        bool in_group = false;
        CHECK(n <= max);
        for (size_t i = 0; i < n; i++) {
            bool start = !list[i].host.p && list[i].mailbox.p,
                 end = !list[i].host.p && !list[i].mailbox.p;
            CHECK(start ? !in_group : !end || in_group);
            in_group = start || (in_group && !end);
            CHECK(list[i].host.p == NULL || list[i].mailbox.p);
            CHECK(list[i].name.n <= size && list[i].mailbox.n <= size + 15 &&
                  list[i].host.n <= size + 14);
        }
        CHECK(!in_group);
    }
    address_split(in, &local, &domain);
    CHECK(local.n + domain.n <= size);
    CHECK(!address_untag(local, '+', &base) || (base.n > 0 && base.n < local.n));
    arena_free(&a);
    return 0;
}
