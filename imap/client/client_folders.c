/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* client_folders.c - which folders there are. */
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "imap/client/client.h"

struct listing {
    struct arena *a;
    struct imap_folders *out;
    struct imap_folder *list;
    size_t n, cap;
    struct map *known;
    size_t seen; /* responses */
    bool spaces, too_many;
};

static int on_namespace(void *ctx, const struct imap_response *r)
{
    struct listing *l = ctx;
    struct arena *a = l->a;
    struct imap_response kept = *r;

    if (r->kind != IMAP_RESPONSE_DATA || !str_ieq(r->name, STR("NAMESPACE")) || l->spaces)
        return 0;
    l->spaces = true;
    kept.rest = arena_str(a, r->rest);
    if (imap_response_namespaces(&kept, a, &l->out->spaces) != 0)
        l->out->spaces = (struct imap_namespaces){.n_others = 0};
    return 0;
}

static bool foreign(const struct imap_namespaces *s, struct str raw)
{
    for (size_t i = 0; i < s->n_others; i++)
        if (str_starts(raw, s->others[i]))
            return true;
    return false;
}

static int on_folder(void *ctx, const struct imap_response *r)
{
    struct listing *l = ctx;
    struct imap_folder f;

    if (l->n >= IMAP_FOLDERS_MAX || ++l->seen > 4 * IMAP_FOLDERS_MAX) {
        l->too_many = true;
        return -1;
    }
    if (r->kind != IMAP_RESPONSE_DATA || imap_response_folder(r, l->a, &f) != 0 || f.raw.n == 0 ||
        foreign(&l->out->spaces, f.raw))
        return 0;
    if (map_get(l->known, f.raw)) /* INBOX, by servers that name it twice */
        return 0;
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->list = mem_realloc(l->list, l->cap * sizeof *l->list);
    }
    f.raw = arena_str(l->a, f.raw);
    map_set(l->known, f.raw, l);
    l->list[l->n++] = f;
    return 0;
}

static int list_all(struct imap_client *c, const char *command, struct listing *l, struct err *err)
{
    static const struct imap_client_events events = {.on_response = on_folder};
    int rc;

    l->known = map_new();
    rc = imap_client_ask(c, str_from(command), &events, l, err);
    map_free(&l->known);

    if (l->too_many)
        rc = ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "more than %d folders", IMAP_FOLDERS_MAX);
    l->out->list = ARENA_ARRAY(l->a, struct imap_folder, l->n + 1);
    for (size_t i = 0; i < l->n; i++)
        l->out->list[i] = l->list[i];
    l->out->n = l->n;
    mem_free(l->list);
    return rc;
}

int imap_client_folders(struct imap_client *c, struct arena *a, struct imap_folders *out,
                        struct err *err)
{
    static const struct imap_client_events events = {.on_response = on_namespace};
    struct listing l = {.a = a, .out = out};
    unsigned can = imap_client_can(c);
    const char *command = "LIST \"\" \"*\"";

    *out = (struct imap_folders){.n = 0};
    if ((can & IMAP_CAN_NAMESPACE) && imap_client_ask(c, STR("NAMESPACE"), &events, &l, err) != 0 &&
        err->kind != ERR_PERM)
        return -1;
    err_clear(err);
    if ((can & IMAP_CAN_SPECIAL) && (can & IMAP_CAN_LIST_EXTENDED))
        command = "LIST \"\" \"*\" RETURN (SPECIAL-USE)"; /* RFC 6154 2 */
    return list_all(c, command, &l, err);
}

int imap_client_subscribed(struct imap_client *c, struct arena *a, struct imap_folders *out,
                           struct err *err)
{
    struct listing l = {.a = a, .out = out};

    *out = (struct imap_folders){.n = 0};
    return list_all(c, "LSUB \"\" \"*\"", &l, err);
}
