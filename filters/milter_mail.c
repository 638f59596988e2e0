/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_mail.c - a message on its way through several milters. */
#include "filters/milter_mail.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/mail/header.h"

static struct milter_field *make_room(struct milter_mail *m, size_t at)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 32;
        m->fields = mem_realloc(m->fields, m->cap * sizeof *m->fields);
    }
    memmove(&m->fields[at + 1], &m->fields[at], (m->n - at) * sizeof *m->fields);
    m->n++;
    m->fields[at] = (struct milter_field){0};
    return &m->fields[at];
}

/* CRLF of a fold as LF, as milters expect them; the last line end is not in it. */
static struct str value_of(struct arena *a, struct str raw, size_t name_n)
{
    char *to;
    size_t n = 0;

    size_t colon;
    struct str from = str_skip(raw, name_n);
    if (str_chr(from, ':', &colon))
        from = str_skip(from, colon + 1);
    while (from.n && (from.p[from.n - 1] == '\n' || from.p[from.n - 1] == '\r'))
        from.n--;
    to = arena_alloc(a, from.n + 1);
    for (size_t i = 0; i < from.n; i++)
        if (from.p[i] != '\r' || i + 1 == from.n || from.p[i + 1] != '\n')
            to[n++] = from.p[i];
    return str_of(to, n);
}

static unsigned count_name(struct milter_mail *m, struct map *seen, struct str name)
{
    char *folded = arena_alloc(m->arena, name.n + 1);
    uintptr_t n;

    for (size_t i = 0; i < name.n; i++)
        folded[i] = ascii_lower(name.p[i]);
    n = (uintptr_t)map_get(seen, str_of(folded, name.n)) + 1;
    (void)map_set(seen, str_of(folded, name.n), (void *)n);
    return (unsigned)n;
}

void milter_mail_init(struct milter_mail *m, struct str head, size_t body_max)
{
    struct header_field h;
    struct str rest = head;
    struct map *seen = map_new();
    unsigned received = 0;

    *m = (struct milter_mail){.arena = arena_new(4096)};
    m->last_envelope = m->last_before = &m->envelope;
    buf_init(&m->body, body_max);
    buf_init(&m->next_body, body_max);
    while (header_next(&rest, &h)) {
        struct milter_field f = {.name = h.name,
                                 .value = value_of(m->arena, h.raw, h.name.n),
                                 .received = ++received,
                                 .nth = count_name(m, seen, h.name)};
        f.name = arena_str(m->arena, f.name);
        *make_room(m, m->n) = f;
    }
    map_free(&seen);
}

void milter_mail_fini(struct milter_mail *m)
{
    arena_free(&m->arena);
    mem_free(m->fields);
    mem_free(m->before);
    buf_fini(&m->body);
    buf_fini(&m->next_body);
    *m = (struct milter_mail){0};
}

/* ---- Header. */

/* Every change begins here. */
static int spend(struct milter_mail *m, struct str name, struct str value)
{
    if (!m->before) {
        m->before = mem_alloc((m->n + 1) * sizeof *m->before);
        if (m->n)
            memcpy(m->before, m->fields, m->n * sizeof *m->before);
        m->n_before = m->n;
    }
    if (m->n >= MILTER_FIELDS_MAX || m->added + name.n + value.n > MILTER_ADDED_MAX)
        return -1;
    m->added += name.n + value.n;
    return 0;
}

static struct str keep_value(struct milter_mail *m, struct str value, bool spaced)
{
    return spaced ? arena_str(m->arena, value)
                  : arena_printf(m->arena, " %.*s", (int)value.n, value.p);
}

static int put(struct milter_mail *m, size_t at, struct str name, struct str value, bool spaced)
{
    if (spend(m, name, value))
        return -1;
    struct milter_field *f = make_room(m, at);
    f->name = arena_str(m->arena, name);
    f->value = keep_value(m, value, spaced);
    return 0;
}

int milter_mail_add(struct milter_mail *m, struct str name, struct str value, bool spaced)
{
    return put(m, m->n, name, value, spaced);
}

int milter_mail_insert(struct milter_mail *m, uint32_t index, struct str name, struct str value,
                       bool spaced)
{
    size_t at = 0;

    for (uint32_t left = index ? index - 1 : 0; at < m->n && left; at++)
        left -= !m->fields[at].deleted;
    return put(m, at, name, value, spaced);
}

int milter_mail_change(struct milter_mail *m, uint32_t nth, struct str name, struct str value,
                       bool spaced)
{
    uint32_t left = nth ? nth : 1;

    for (size_t i = 0; i < m->n; i++) {
        struct milter_field *f = &m->fields[i];
        if (f->deleted || !str_ieq(f->name, name) || --left)
            continue;
        if (spend(m, name, value))
            return -1;
        f->deleted = !value.n;
        f->changed = true;
        f->value = keep_value(m, value, spaced);
        return 0;
    }
    return value.n ? milter_mail_add(m, name, value, spaced) : 0;
}

/* ---- Body. */

/* What the store takes: CR and LF only together, no NUL. */
int milter_mail_body(struct milter_mail *m, struct str piece)
{
    struct buf *out = &m->next_body;
    size_t begin = 0;

    m->replacing = true;
    for (size_t i = 0; i < piece.n; i++) {
        char c = piece.p[i];
        if (c != '\n' && c != '\0' && m->last != '\r') {
            m->last = c;
            continue;
        }
        buf_add_str(out, str_of(piece.p + begin, i - begin));
        begin = i + (c == '\0');
        if ((c == '\n') != (m->last == '\r'))
            buf_add_char(out, c == '\n' ? '\r' : '\n');
        if (c != '\0' || m->last == '\r')
            m->last = c;
    }
    return buf_add_str(out, str_skip(piece, begin));
}

static void end_body(struct milter_mail *m)
{
    struct buf old = m->body;

    if (m->last == '\r')
        buf_add_char(&m->next_body, '\n');
    else if (m->next_body.n && m->last != '\n')
        buf_add_z(&m->next_body, "\r\n");
    m->body = m->next_body;
    m->next_body = old;
    m->body_new = true;
}

/* ---- Envelope. */

int milter_mail_envelope(struct milter_mail *m, enum milter_what what, struct str address)
{
    struct milter_envelope *e;

    if (m->added + sizeof *e + address.n > MILTER_ADDED_MAX)
        return -1;
    m->added += sizeof *e + address.n;
    e = ARENA_NEW(m->arena, struct milter_envelope);
    *e = (struct milter_envelope){.what = what, .address = arena_str(m->arena, address)};
    *m->last_envelope = e;
    m->last_envelope = (struct milter_envelope **)(void *)&e->next;
    return 0;
}

/* ---- Both or none. */

static void settle(struct milter_mail *m)
{
    mem_free(m->before);
    m->before = NULL;
    m->replacing = false;
    m->last = '\0';
    buf_clear(&m->next_body);
    m->last_before = m->last_envelope;
}

void milter_mail_commit(struct milter_mail *m)
{
    if (m->replacing)
        end_body(m);
    settle(m);
}

void milter_mail_rollback(struct milter_mail *m)
{
    if (m->before) {
        mem_free(m->fields);
        m->fields = m->before;
        m->n = m->n_before;
        m->cap = m->n + 1;
        m->before = NULL;
    }
    *m->last_before = NULL;
    m->last_envelope = m->last_before;
    settle(m);
}

/* ---- The outcome. */

static int tell_field(const struct milter_field *f, unsigned before, const struct ph_host *host,
                      struct ph_acts *acts)
{
    if (f->received && f->deleted)
        return host->header_delete(acts, f->name.p, f->nth);
    if (f->received && f->changed)
        return host->header_change(acts, f->name.p, f->nth, f->value.p);
    if (f->received || f->deleted)
        return 0;
    if (before)
        return host->header_insert(acts, before - 1, f->name.p, f->value.p);
    return host->header_add(acts, f->name.p, f->value.p);
}

/* The next received field after i, from 1; 0: none. */
static unsigned next_received(const struct milter_mail *m, size_t i)
{
    while (i < m->n && !m->fields[i].received)
        i++;
    return i < m->n ? m->fields[i].received : 0;
}

static int tell_envelope(const struct milter_envelope *e, const struct ph_host *host,
                         struct ph_acts *acts)
{
    if (e->what == MILTER_RCPT_ADD)
        return host->rcpt_add(acts, e->address.p);
    if (e->what == MILTER_RCPT_DELETE)
        return host->rcpt_delete(acts, e->address.p);
    return host->sender_change(acts, e->address.p);
}

unsigned milter_mail_tell(const struct milter_mail *m, const struct ph_host *host,
                          struct ph_acts *acts)
{
    unsigned refused = 0;

    for (size_t i = 0; i < m->n; i++)
        if (tell_field(&m->fields[i], m->fields[i].received ? 0 : next_received(m, i), host, acts))
            refused++;
    for (const struct milter_envelope *e = m->envelope; e; e = e->next)
        refused += tell_envelope(e, host, acts) != 0;
    if (m->body_new && host->body_replace(acts, m->body.p ? m->body.p : "", m->body.n))
        refused++;
    return refused;
}
