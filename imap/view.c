/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/mem.h"
#include "imap/session.h"

/* Index of the first uid >= uid; v->n when there is none. */
static size_t lower_bound(const struct imap_view *v, uint32_t uid)
{
    size_t lo = 0, hi = v->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v->uids[mid] < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

size_t imap_view_seq(const struct imap_view *v, uint32_t uid)
{
    size_t i = lower_bound(v, uid);
    return i < v->n && v->uids[i] == uid ? i + 1 : 0;
}

/* Messages from..to (indexes, to exclusive) that a range of the set names. '*' is the last message,
 * so "9:*" names it even when there are fewer than 9 (RFC 3501 6.4.8). -1: a sequence number that
 * doesn't exist. */
static int span(const struct imap_view *v, struct uid_range r, bool star, bool uid, size_t *from,
                size_t *to)
{
    bool open = star && r.last == UINT32_MAX;
    *from = *to = 0;
    if (!v->n)
        return uid || open ? 0 : -1;
    uint32_t max = uid ? v->uids[v->n - 1] : (uint32_t)v->n;
    if (open) {
        r.last = max;
        if (r.first > max)
            r.first = max;
    }
    if (uid) {
        *from = lower_bound(v, r.first);
        *to = r.last == UINT32_MAX ? v->n : lower_bound(v, r.last + 1);
        return 0;
    }
    if (r.last > max)
        return -1;
    *from = r.first - 1;
    *to = r.last;
    return 0;
}

int imap_view_resolve(const struct imap_view *v, struct arena *a, const struct imap_set *set,
                      bool uid, struct uid_range **out, size_t *n_out)
{
    struct uid_range *ranges = ARENA_ARRAY(a, struct uid_range, set->n);
    size_t n = 0, after = 0; /* messages before index `after` are in ranges already */
    for (size_t i = 0; i < set->n; i++) {
        size_t from, to;
        if (span(v, set->ranges[i], set->star, uid, &from, &to))
            return -1;
        if (n && from < after) /* 9:* of a smaller mailbox names what an earlier range has named */
            from = after;
        if (from >= to)
            continue;
        if (n && from == after)
            ranges[n - 1].last = v->uids[to - 1];
        else
            ranges[n++] = (struct uid_range){v->uids[from], v->uids[to - 1]};
        after = to;
    }
    *out = ranges;
    *n_out = n;
    return 0;
}

static void put_one(struct buf *b, bool *first, struct str name)
{
    if (!*first)
        buf_add_char(b, ' ');
    *first = false;
    buf_add_str(b, name);
}

void imap_put_flags(struct buf *b, const struct imap_view *v, uint32_t uid, uint64_t flags)
{
    static const struct {
        uint64_t flag;
        struct str name;
    } system[] = {
        {MESSAGE_SEEN, {"\\Seen", 5}},       {MESSAGE_ANSWERED, {"\\Answered", 9}},
        {MESSAGE_FLAGGED, {"\\Flagged", 8}}, {MESSAGE_DELETED, {"\\Deleted", 8}},
        {MESSAGE_DRAFT, {"\\Draft", 6}},
    };
    bool first = true;
    buf_add_char(b, '(');
    for (size_t i = 0; i < ARRAY_LEN(system); i++)
        if (flags & system[i].flag)
            put_one(b, &first, system[i].name);
    if (uid >= v->recent_from)
        put_one(b, &first, STR("\\Recent"));
    for (size_t i = 0; i < v->n_keywords; i++)
        if (flags >> v->keywords[i].bit & 1)
            put_one(b, &first, v->keywords[i].name);
    buf_add_char(b, ')');
}

struct imap_view *imap_view_new(struct str name)
{
    struct imap_view *v = MEM_NEW(struct imap_view);
    v->arena = arena_new(256);
    v->name = arena_str(v->arena, name);
    return v;
}

void imap_view_free(struct imap_view **vp)
{
    struct imap_view *v = *vp;
    if (!v)
        return;
    arena_free(&v->arena);
    mem_free(v->uids);
    mem_free(v);
    *vp = NULL;
}

void imap_view_set_keywords(struct imap_view *v, const struct mailbox_keyword *k, size_t n)
{
    struct arena *a = arena_new(256);
    struct mailbox_keyword *copy = n ? ARENA_ARRAY(a, struct mailbox_keyword, n) : NULL;
    for (size_t i = 0; i < n; i++)
        copy[i] = (struct mailbox_keyword){k[i].bit, arena_str(a, k[i].name)};
    v->name = arena_str(a, v->name);
    v->keywords = copy;
    v->n_keywords = n;
    arena_free(&v->arena);
    v->arena = a;
}

void imap_view_add(struct imap_view *v, uint32_t uid)
{
    if (v->n == v->cap) {
        v->cap = v->n + v->n / 8 + 16;
        v->uids = mem_realloc(v->uids, v->cap * sizeof *v->uids);
    }
    v->uids[v->n++] = uid;
}

size_t imap_view_recent(const struct imap_view *v)
{
    return v->n - lower_bound(v, v->recent_from);
}

static void put_flag_names(struct buf *b, const struct imap_view *v)
{
    buf_add_z(b, "\\Answered \\Flagged \\Deleted \\Seen \\Draft");
    for (size_t i = 0; i < v->n_keywords; i++) {
        buf_add_char(b, ' ');
        buf_add_str(b, v->keywords[i].name);
    }
}

void imap_put_view_flags(struct buf *b, const struct imap_view *v)
{
    enum { KEYWORDS_MAX = MESSAGE_KEYWORD_LAST - MESSAGE_KEYWORD_FIRST + 1 };
    buf_add_z(b, "* FLAGS (");
    put_flag_names(b, v);
    buf_add_z(b, ")\r\n* OK [PERMANENTFLAGS (");
    if (!v->read_only) {
        put_flag_names(b, v);
        if (v->n_keywords < KEYWORDS_MAX) /* RFC 3501 7.1: new keywords can be made */
            buf_add_z(b, " \\*");
    }
    buf_add_z(b, v->read_only ? ")] Read-only mailbox\r\n" : ")] Flags permitted\r\n");
}
