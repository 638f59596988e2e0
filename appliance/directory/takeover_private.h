/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* takeover_private.h - what takeover.c, takeover_judge.c, takeover_read.c and takeover_tables.c
 * share.
 * Floor 3 (directory, private). Threads: one. */
#ifndef PH_DIRECTORY_TAKEOVER_PRIVATE_H
#define PH_DIRECTORY_TAKEOVER_PRIVATE_H
#include "appliance/directory/admin_private.h"
#include "appliance/directory/takeover.h"

enum { TAKEOVER_COLUMNS = 11 };

/* A table there, and which of its columns are those of the kind here: the key first. */
struct takeover_table {
    const char *name;
    enum takeover_kind kind;
    const char *columns[TAKEOVER_COLUMNS]; /* NULL: it has no such column */
    const char *mark;                      /* PostfixAdmin's domain: another column that decides */
    /* Makes of what was read what is kept. false: this row says nothing. May be NULL. */
    bool (*shape)(struct arena *m, struct str *values, struct str mark,
                  enum takeover_kind *kind_out);
    bool needs_mark; /* without that column it is another system's table of the same name */
};
extern const struct takeover_table takeover_tables[];
extern const size_t takeover_n_tables;

/* A table here: key and columns, what they are where the source has none. */
struct takeover_own {
    const char *table;
    size_t n; /* columns with the key */
    const char *columns[TAKEOVER_COLUMNS], *defaults[TAKEOVER_COLUMNS];
    const char *select, *insert, *update;
};
extern const struct takeover_own takeover_own[TAKEOVER_KINDS];

/* takeover_judge.c: a row seen from all sides, and what becomes of it. */
struct takeover_sight {
    struct arena *m;
    enum takeover_kind kind;
    bool replace, exists;
    struct str *theirs; /* judged: as it is to be written */
    struct str ours[TAKEOVER_COLUMNS];
    struct str last;    /* marks of what was read there the last time; .p NULL: nothing */
    struct str upgrade; /* of import_mark.h; .p NULL: none */
    /* judged */
    bool writes, updated;
    const char *kept; /* what was left alone, and why; NULL: nothing */
};
struct str takeover_marks(const struct takeover_sight *s); /* of theirs, before it is judged */
void takeover_judge(struct takeover_sight *s);

/* takeover.c: one row; values[0] the key, .p NULL where the source has nothing. */
int takeover_row(struct takeover *t, enum takeover_kind k, struct str *values, struct err *err)
    __attribute__((warn_unused_result));
struct arena *takeover_arena(struct takeover *t); /* of one row */
void takeover_found(struct takeover *t, enum takeover_kind k);
void takeover_progress(struct takeover *t, size_t done, size_t all);
#endif
