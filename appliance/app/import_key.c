/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/import_key.h"
#include "appliance/base/text.h"
#include <openssl/evp.h>
#include <stdlib.h>

enum { WORDS_MAX = 256 };

struct str import_key_plain(struct arena *a, struct str key, size_t max)
{
    struct buf b;
    uint8_t digest[32];
    struct str out;

    buf_init(&b, 3 * key.n + 64);
    for (size_t i = 0; i < key.n; i++) {
        unsigned char c = (unsigned char)key.p[i];
        if (c <= ' ' || c >= 0x7f || c == '%')
            buf_printf(&b, "%%%02X", c);
        else
            buf_add_char(&b, (char)c);
    }
    if (b.n > max) {
        EVP_Digest(key.p, key.n, digest, NULL, EVP_sha256(), NULL);
        buf_clear(&b);
        buf_add_z(&b, "%sha256-");
        text_hex_encode(digest, sizeof digest, &b);
    }
    out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return out;
}

struct str import_key_of(struct arena *a, struct str key)
{
    return import_key_plain(a, key, IMPORT_KEY_MAX);
}

static int compare_words(const void *a, const void *b)
{
    return str_icmp(*(const struct str *)a, *(const struct str *)b);
}

int64_t import_state_of(const struct import_message *m)
{
    struct str words[WORDS_MAX];
    size_t n = m->n_keywords < WORDS_MAX ? m->n_keywords : WORDS_MAX;
    uint8_t digest[32];
    struct buf b;
    int64_t out;

    buf_init(&b, 1 << 20);
    buf_printf(&b, "%llx\n", (unsigned long long)m->flags);
    if (n)
        memcpy(words, m->keywords, n * sizeof *words);
    if (n)
        qsort(words, n, sizeof *words, compare_words);
    for (size_t i = 0; i < n; i++) {
        buf_add_str(&b, words[i]);
        buf_add_char(&b, '\n');
    }
    EVP_Digest(b.p, b.n, digest, NULL, EVP_sha256(), NULL);
    memcpy(&out, digest, sizeof out);
    buf_fini(&b);
    return out;
}
