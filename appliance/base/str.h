/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* str.h - views of bytes: pointer and length, not terminated, not owned.
 * Floor 0 (base). Threads: any (pure). A view dies with what it points into; to keep: arena_dup. */
#ifndef PH_BASE_STR_H
#define PH_BASE_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){"" lit "", sizeof(lit) - 1}) /* a literal, also at run time */
#define STR_NULL ((struct str){NULL, 0})
#define STR_FMT "%.*s" /* printf("..." STR_FMT, STR_ARG(s)) */
#define STR_ARG(s) (int)((s).n > 4096 ? 4096 : (s).n), ((s).p ? (s).p : "")

static inline struct str str_from(const char *z) /* NULL gives the empty view */
{
    return (struct str){z, z ? strlen(z) : 0};
}
static inline struct str str_of(const void *p, size_t n)
{
    return (struct str){(const char *)p, n};
}
static inline struct str str_skip(struct str s, size_t n) /* drops the first n bytes, at most all */
{
    if (n > s.n)
        n = s.n;
    return (struct str){n ? s.p + n : s.p, s.n - n};
}
static inline struct str str_take(struct str s, size_t n)
{
    return (struct str){s.p, n < s.n ? n : s.n};
}

bool str_eq(struct str a, struct str b);
bool str_ieq(struct str a, struct str b); /* ASCII case-insensitive */
int str_cmp(struct str a, struct str b);  /* memcmp order, shorter first */
int str_icmp(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_iends(struct str s, struct str suffix);
struct str str_trim(struct str s); /* blanks, tabs, CR, LF on both ends */
bool str_find(struct str s, struct str what, size_t *at_out);
bool str_ifind(struct str s, struct str what, size_t *at_out);
bool str_chr(struct str s, char c, size_t *at_out);
bool str_rchr(struct str s, char c, size_t *at_out);
/* Cuts s at the first c: *head_out is what precedes it, the rest follows it. Without c: false, head
 * is all, rest is empty. */
bool str_cut(struct str s, char c, struct str *head_out, struct str *rest_out);
/* Decimal digits only, nothing around them, not empty. -1: not a number or over max. */
int str_to_u64(struct str s, uint64_t max, uint64_t *out) __attribute__((warn_unused_result));
char *
str_dup_z(struct str s); /* heap, terminated; caller mem_free()s. CHECKs that s holds no NUL */
uint64_t
str_hash(struct str s); /* SipHash-1-3 under a key drawn at start: safe for maps fed by clients */

/* FNV-1a: the same in every process, for what is written down; not for maps. */
uint64_t str_hash_fixed(struct str s);

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
static inline char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}
#endif
