/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_imap_folders.c - the names of folders there, and what they are called here. */
#include "appliance/app/import_imap.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "imap/list_match.h"

enum { NAME_BYTES = 4096 };

/* ---- Names. */

/* Courier and Cyrus keep all below INBOX: that level is no name. Without NAMESPACE it is seen by
 * that there is nothing else. */
static struct str prefix_of(const struct imap_folders *in, struct arena *a)
{
    struct str prefix = STR_NULL;

    if (in->spaces.has_own)
        return in->spaces.own;
    for (size_t i = 0; i < in->n; i++) {
        const struct imap_folder *f = &in->list[i];
        if (str_ieq(f->raw, STR("INBOX")))
            continue;
        if (!prefix.n)
            prefix = arena_printf(a, "INBOX%c", f->delimiter ? f->delimiter : '\t');
        if (!str_istarts(f->raw, prefix))
            return STR("");
    }
    return prefix;
}

static struct str name_of(const struct imap_folder *f, struct str prefix, struct arena *a)
{
    struct imap_folder own = *f;
    struct str out = STR_NULL;
    struct buf name;

    if (f->delimiter && own.raw.n > 1 && own.raw.p[own.raw.n - 1] == f->delimiter)
        own.raw.n--;
    if (prefix.n && own.raw.n > prefix.n && str_istarts(own.raw, prefix) &&
        !str_ieq(str_skip(own.raw, prefix.n), STR("INBOX")))
        own.raw = str_skip(own.raw, prefix.n);
    buf_init(&name, NAME_BYTES);
    if (imap_folder_name(&own, &name) == 0)
        out = arena_str(a, buf_str(&name));
    buf_fini(&name);
    return out;
}

/* ---- Which. */

static bool matches(const char *patterns, struct str name)
{
    struct str rest = str_from(patterns), pattern;

    while (rest.n) {
        str_cut(rest, ',', &pattern, &rest);
        if (imap_list_match(str_trim(pattern), name))
            return true;
    }
    return false;
}

static bool is_view(const struct imap_folder *f, struct str name)
{
    return f->use == IMAP_FOLDER_VIEW || str_ieq(name, STR("[Gmail]/All Mail")) ||
           str_ieq(name, STR("[Google Mail]/All Mail"));
}

/* ---- Where to. */

static const struct {
    enum imap_folder_use use;
    const char *ours;
    enum mailbox_special special;
} uses[] = {{IMAP_FOLDER_SENT, "Sent", MAILBOX_SENT},
            {IMAP_FOLDER_DRAFTS, "Drafts", MAILBOX_DRAFTS},
            {IMAP_FOLDER_JUNK, "Junk", MAILBOX_JUNK},
            {IMAP_FOLDER_TRASH, "Trash", MAILBOX_TRASH},
            {IMAP_FOLDER_ARCHIVE, "Archive", MAILBOX_ARCHIVE}};

/* The one that the server says is for this use, unless another has our name for it. */
static void place_use(struct import_imap_folder *list, size_t n, size_t which, size_t u)
{
    struct str ours = str_from(uses[u].ours);

    for (size_t i = 0; i < n; i++)
        if (i != which && str_ieq(list[i].name, ours))
            return;
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i].place, ours)) {
            list[i].place = list[i].name;
            list[i].special = MAILBOX_NORMAL;
        }
    list[which].place = ours;
    list[which].special = uses[u].special;
}

static void place_all(struct import_imap_folder *list, const enum imap_folder_use *use, size_t n,
                      struct arena *a)
{
    struct str *names = ARENA_ARRAY(a, struct str, n), *places = ARENA_ARRAY(a, struct str, n);
    enum mailbox_special *specials = ARENA_ARRAY(a, enum mailbox_special, n);

    for (size_t i = 0; i < n; i++)
        names[i] = list[i].name;
    import_names_map(names, n, places, specials);
    for (size_t i = 0; i < n; i++) {
        list[i].place = places[i];
        list[i].special = specials[i];
    }
    for (size_t u = 0; u < ARRAY_LEN(uses); u++)
        for (size_t i = 0; i < n; i++)
            if (use[i] == uses[u].use) {
                place_use(list, n, i, u);
                break;
            }
}

/* Two of one name ("a.b" and "a/b" where '.' divides levels; INBOX.Sent and Sent): the second says
 * how it is called there. */
static void tell_apart(struct import_imap_folder *list, size_t n, struct arena *a)
{
    struct map *seen = map_new();

    for (size_t i = 0; i < n; i++) {
        for (unsigned k = 2; map_get(seen, list[i].place); k++)
            list[i].place = arena_printf(a, STR_FMT " (%u)", STR_ARG(list[i].name), k);
        map_set(seen, list[i].place, list);
    }
    map_free(&seen);
}

void import_imap_map(const struct imap_folders *in, const char *patterns, bool keep_names,
                     struct arena *a, struct import_imap_folder **out, size_t *n_out,
                     void (*on_unnamed)(void *ctx, struct str raw), void *ctx)
{
    struct import_imap_folder *list = ARENA_ARRAY(a, struct import_imap_folder, in->n + 1);
    enum imap_folder_use *use = ARENA_ARRAY(a, enum imap_folder_use, in->n + 1);
    struct str prefix = prefix_of(in, a);
    size_t n = 0;

    for (size_t i = 0; i < in->n; i++) {
        const struct imap_folder *f = &in->list[i];
        struct str name = name_of(f, prefix, a);
        if (f->no_select)
            continue;
        if (!name.p) {
            on_unnamed(ctx, f->raw);
            continue;
        }
        list[n] = (struct import_imap_folder){.raw = f->raw, .name = name, .place = name};
        list[n].taken = patterns ? matches(patterns, name) : !is_view(f, name);
        use[n++] = f->use;
    }
    if (!keep_names)
        place_all(list, use, n, a);
    tell_apart(list, n, a);
    *out = list;
    *n_out = n;
}
