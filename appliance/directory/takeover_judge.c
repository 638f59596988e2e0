/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What becomes of a row: each of its values seen there now, there the last time, and here. What
 * only the source has changed is taken. What was changed here stays, also where the source has
 * changed it as well: an account that is disabled here, or has got a new password, isn't to be
 * undone by a new name there. */
#include "appliance/directory/import_mark.h"
#include "appliance/directory/takeover_private.h"

enum { CLEAR = 8, CRYPT = 9 }; /* of a user: one value, the password */

static bool is_password(const struct takeover_sight *s, size_t i)
{
    return s->kind == TAKEOVER_USER && i == CRYPT;
}

/* The columns that are judged: a clear password goes with its hash. */
static bool is_value(const struct takeover_sight *s, size_t i)
{
    return s->kind != TAKEOVER_USER || i != CLEAR;
}

static const char *column_of(const struct takeover_sight *s, size_t i)
{
    return is_password(s, i) ? IMPORT_PASSWORD : takeover_own[s->kind].columns[i];
}

/* A password as rows_login tells it. */
static struct str value_of(const struct takeover_sight *s, const struct str *row, size_t i)
{
    if (!is_password(s, i) || row[CRYPT].n || !row[CLEAR].n)
        return row[i];
    return arena_printf(s->m, "{PLAIN}" STR_FMT, STR_ARG(row[CLEAR]));
}

static struct str mark_of(const struct takeover_sight *s, const struct str *row, size_t i)
{
    return import_mark(s->m, takeover_kind_name(s->kind), row[0], column_of(s, i),
                       value_of(s, row, i));
}

struct str takeover_marks(const struct takeover_sight *s)
{
    struct str out = STR("");
    for (size_t i = 1; i < takeover_own[s->kind].n; i++)
        if (is_value(s, i)) {
            struct str mark = mark_of(s, s->theirs, i);
            out = arena_printf(s->m, STR_FMT STR_FMT, STR_ARG(out), STR_ARG(mark));
        }
    return out;
}

enum fate { SAME, TAKEN, KEPT };

/* last: its mark of the last time; .n 0: not known. */
static enum fate judge_value(const struct takeover_sight *s, size_t i, struct str last)
{
    struct str there = value_of(s, s->theirs, i), here = value_of(s, s->ours, i);
    struct str upgrade = is_password(s, i) ? s->upgrade : STR_NULL;
    if (here.n == there.n && (!here.n || str_eq(here, there)))
        return SAME;
    struct str ours = mark_of(s, s->ours, i), theirs = mark_of(s, s->theirs, i);
    if (import_is_upgrade(upgrade, ours, theirs))
        return SAME;
    if (s->replace)
        return TAKEN;
    bool untouched = last.n && (str_eq(ours, last) || import_is_upgrade(upgrade, ours, last));
    return untouched && !str_eq(theirs, last) ? TAKEN : KEPT;
}

static void judge_there(struct takeover_sight *s)
{
    size_t n = takeover_own[s->kind].n, taken = 0, kept = 0, at = 0;
    struct str names = STR("");
    size_t marks = (n - 1 - (s->kind == TAKEOVER_USER)) * IMPORT_MARK;
    for (size_t i = 1; i < n; i++) {
        if (!is_value(s, i)) /* until its hash says what becomes of it */
            continue;
        bool known = s->last.n == marks;
        enum fate fate =
            judge_value(s, i, known ? str_take(str_skip(s->last, at), IMPORT_MARK) : STR(""));
        at += IMPORT_MARK;
        taken += fate == TAKEN;
        if (fate == TAKEN)
            continue;
        s->theirs[i] = s->ours[i];
        if (is_password(s, i))
            s->theirs[CLEAR] = s->ours[CLEAR];
        if (fate == KEPT)
            names = arena_printf(s->m, STR_FMT "%s%s", STR_ARG(names), kept++ ? ", " : "",
                                 column_of(s, i));
    }
    s->writes = taken > 0;
    s->updated = taken > 0;
    if (kept)
        s->kept =
            arena_printf(s->m, "%s here: " STR_FMT, s->last.p ? "changed" : "made", STR_ARG(names))
                .p;
}

void takeover_judge(struct takeover_sight *s)
{
    if (s->exists) {
        judge_there(s);
    } else if (!s->last.p || s->replace) {
        s->writes = true;
    } else {
        s->kept = "it was removed here";
    }
}
