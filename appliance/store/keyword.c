/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* keyword.c - keywords: names for the flag bits 8..62 of a mailbox. */
#include "appliance/store/store_private.h"

enum { KEYWORDS_MAX = MESSAGE_KEYWORD_LAST - MESSAGE_KEYWORD_FIRST + 1, KEYWORD_NAME_MAX = 255 };

static int load(struct sql *db, struct arena *a, uint64_t mailbox, struct mailbox_keyword **out,
                size_t *n_out, struct err *err)
{
    struct sql_stmt *st;
    int rc = 0;

    *n_out = 0;
    *out = ARENA_ARRAY(a, struct mailbox_keyword, KEYWORDS_MAX);
    if (sql_prepare(db, "SELECT bit, name FROM keyword WHERE mailbox = ? ORDER BY bit", &st, err) !=
        0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    while (*n_out < KEYWORDS_MAX && (rc = sql_step(st, err)) == 1) {
        int64_t bit = sql_int(st, 0);
        if (bit < MESSAGE_KEYWORD_FIRST || bit > MESSAGE_KEYWORD_LAST)
            continue;
        (*out)[*n_out].bit = (unsigned)bit;
        (*out)[(*n_out)++].name = arena_str(a, sql_text(st, 1));
    }
    sql_reset(st);
    return rc < 0 ? -1 : 0;
}

int mailbox_keywords(struct store_reader *r, struct arena *a, uint64_t id,
                     struct mailbox_keyword **out, size_t *n_out, struct err *err)
{
    return load(r->db, a, id, out, n_out, err);
}

static int add(struct store_tx *tx, uint64_t mailbox, unsigned bit, struct str name,
               struct err *err)
{
    struct sql_stmt *st;

    if (sql_prepare(tx->db, "INSERT INTO keyword(mailbox, bit, name) VALUES (?, ?, ?)", &st, err) !=
        0)
        return -1;
    sql_bind_int(st, 1, (int64_t)mailbox);
    sql_bind_int(st, 2, bit);
    sql_bind_text(st, 3, name);
    store_tx_changed(tx, mailbox); /* the list of flags grew */
    return sql_run(st, err);
}

static bool find(const struct mailbox_keyword *list, size_t n, struct str name, unsigned *bit_out)
{
    for (size_t i = 0; i < n; i++) {
        if (str_ieq(list[i].name, name)) {
            *bit_out = list[i].bit;
            return true;
        }
    }
    return false;
}

static unsigned free_bit(const struct mailbox_keyword *list, size_t n)
{
    uint64_t used = 0;

    for (size_t i = 0; i < n; i++)
        used |= UINT64_C(1) << list[i].bit;
    for (unsigned bit = MESSAGE_KEYWORD_FIRST; bit <= MESSAGE_KEYWORD_LAST; bit++) {
        if (!(used & UINT64_C(1) << bit))
            return bit;
    }
    return 0;
}

int mailbox_keywords_tx(struct store_tx *tx, uint64_t id, const struct str *names, size_t n,
                        uint64_t *mask_out, struct err *err)
{
    struct mailbox_keyword *list;
    size_t n_list;

    *mask_out = 0;
    if (load(tx->db, tx->arena, id, &list, &n_list, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        unsigned bit;
        if (names[i].n == 0 || names[i].n > KEYWORD_NAME_MAX)
            return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "a keyword has 1 to 255 bytes");
        if (!find(list, n_list, names[i], &bit)) {
            bit = free_bit(list, n_list);
            if (bit == 0)
                return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT,
                               "the mailbox has no room for keywords");
            if (add(tx, id, bit, names[i], err) != 0)
                return -1;
            list[n_list++] = (struct mailbox_keyword){bit, names[i]};
        }
        *mask_out |= UINT64_C(1) << bit;
    }
    return 0;
}

int keyword_known_tx(struct store_tx *tx, uint64_t id, const struct str *names, size_t n,
                     uint64_t *mask_out, struct err *err)
{
    struct mailbox_keyword *list;
    size_t n_list;
    unsigned bit;

    *mask_out = 0;
    if (load(tx->db, tx->arena, id, &list, &n_list, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (find(list, n_list, names[i], &bit))
            *mask_out |= UINT64_C(1) << bit;
    }
    return 0;
}

/* The flags of a message as they are in another mailbox; keywords without room there are left out
 * (RFC 3501 6.4.7: SHOULD). */
int keyword_translate_tx(struct store_tx *tx, struct keyword_map *map, uint64_t flags,
                         uint64_t *out, struct err *err)
{
    *out = flags & MESSAGE_SYSTEM_FLAGS;
    for (size_t i = 0; i < map->n; i++) {
        struct err full;
        uint64_t mask;
        if (!(flags & UINT64_C(1) << map->list[i].bit))
            continue;
        if (!(map->known & UINT64_C(1) << map->list[i].bit)) {
            full = (struct err){0};
            if (mailbox_keywords_tx(tx, map->to, &map->list[i].name, 1, &mask, &full) == 0)
                map->mask[i] = mask;
            else if (full.why != ERR_WHY_LIMIT) {
                *err = full;
                return -1;
            }
            map->known |= UINT64_C(1) << map->list[i].bit;
        }
        *out |= map->mask[i];
    }
    return 0;
}

int keyword_map_tx(struct store_tx *tx, uint64_t from, uint64_t to, struct keyword_map *map,
                   struct err *err)
{
    *map = (struct keyword_map){.to = to};
    map->mask = ARENA_ARRAY(tx->arena, uint64_t, KEYWORDS_MAX);
    return load(tx->db, tx->arena, from, &map->list, &map->n, err);
}
