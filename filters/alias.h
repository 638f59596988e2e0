/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* alias.h - global aliases: addresses and domains, ours or not, whose mail goes elsewhere, looked
 * at before the directory is asked. As they are written, and where they lead. Floor 4 (filters).
 * Threads: any (pure); a set never changes.
 * The most exact name counts: an address, "@domain", "@.domain" (the domain and all below, the
 * longest first). What it leads to is looked up again, up to ALIAS_DEPTH times; an alias that lists
 * its own address leads there and no further. Local parts are looked up without regard to case, and
 * lead on as they are written. */
#ifndef PH_FILTERS_ALIAS_H
#define PH_FILTERS_ALIAS_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

enum {
    ALIASES_MAX = 100000,
    ALIAS_NAME = 320,
    ALIAS_TARGETS = 100, /* of one alias */
    ALIAS_RESULTS = 200, /* of one address, in the end */
    ALIAS_DEPTH = 10
};
struct alias {
    struct str name;     /* folded: alias_name_parse() */
    struct str *targets; /* "local@domain"; "@domain": the local part is kept */
    size_t n;
    int64_t created; /* s */
};
/* "ann@example.org", "@example.org", "@.example.org". Memory from a. */
int alias_name_parse(struct arena *a, struct str word, struct str *out, struct err *err)
    __attribute__((warn_unused_result));
/* "ann@example.org", "@example.org". The domain in lower case, as A-labels. */
int alias_target_parse(struct arena *a, struct str word, struct str *out, struct err *err)
    __attribute__((warn_unused_result));

struct alias_set;
struct alias_set *alias_set_new(const struct alias *list, size_t n); /* copies them */
/* A list as settings have it: "name->target, name->target"; those of one name add up. -1: err says
 * which word is wrong. */
int alias_set_parse(struct str list, struct alias_set **out, struct err *err)
    __attribute__((warn_unused_result));
void alias_set_free(struct alias_set **s);
size_t alias_set_count(const struct alias_set *s);

enum alias_found {
    ALIAS_NONE,    /* no alias is meant */
    ALIAS_FOUND,   /* each once, in the order found; at least one */
    ALIAS_CIRCLE,  /* aliases lead only to one another */
    ALIAS_TOO_MANY /* deeper than ALIAS_DEPTH, or more than ALIAS_RESULTS */
};
/* address: as the client wrote it, "local@domain". more: a second set, whose aliases count where s
 * has none of that name; or NULL. Memory from a. */
enum alias_found alias_set_expand(const struct alias_set *s, const struct alias_set *more,
                                  struct arena *a, struct str address, struct str **out,
                                  size_t *n_out);
#endif
