/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* signed.h - what targets about signatures need: a key, and the input as a message. */
#ifndef PH_TESTS_FUZZ_SIGNED_H
#define PH_TESTS_FUZZ_SIGNED_H
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"
#include "filters/dkim_key.h"

static struct dkim_key *key;
static struct buf record; /* of key */

static inline void signed_make_key(void)
{
    struct err err;

    CHECK(dkim_key_new(DKIM_KEY_ED25519, &key, &err) == 0);
    buf_init(&record, 1000);
    CHECK(dkim_key_record(key, &record, &err) == 0);
}

/* ctx: a struct str. In small pieces. */
static inline int64_t signed_read(void *ctx, uint64_t offset, void *to, size_t n)
{
    struct str s = str_take(str_skip(*(struct str *)ctx, (size_t)offset), n < 7 ? n : 7);

    if (s.n)
        memcpy(to, s.p, s.n);
    return (int64_t)s.n;
}

static inline struct str signed_head(struct str text)
{
    struct header_split s = {0};
    uint64_t end;

    return header_split_feed(&s, text, &end) == HEADER_SPLIT_DONE ? str_take(text, (size_t)end)
                                                                  : STR_NULL;
}
#endif
