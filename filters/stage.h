/* SPDX-License-Identifier: MIT */
/* stage.h - the one header shared with plug-ins; self-contained.
 *
 * A setting is declared once, beside the code that uses it, in a table of struct ph_setting: name, type, where its
 * value goes, default (as text in file syntax), bounds and documentation. Parsing, checks, --show-config, man page
 * and sample file all come from the table. Strings in a filled struct are owned by it. */
#ifndef PH_STAGE_H
#define PH_STAGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ph_setting_type { PH_BOOL, PH_INT, PH_SIZE, PH_TIME, PH_TEXT, PH_SECRET, PH_ENUM };
enum {
    PH_RELOAD = 1u,   /* takes effect at a reload; others at a restart */
    PH_REQUIRED = 2u, /* TEXT, SECRET: may not be empty */
    PH_HIDDEN = 4u,   /* not in the documentation */
    PH_LIST = 8u      /* TEXT: several words, { a, b } in the file; the value is "a, b" */
};

struct ph_setting {
    const char *name; /* NULL ends the table */
    enum ph_setting_type type;
    unsigned flags;
    size_t offset;            /* of the field in the conf struct */
    const char *def;          /* default in file syntax; NULL = zero value */
    int64_t min, max;         /* INT, SIZE (bytes), TIME (ms); both 0 = unbounded */
    const char *const *names; /* ENUM: NULL-terminated */
    const char *doc;          /* one or more sentences */
};

#define PH_C_BOOL bool
#define PH_C_INT int64_t
#define PH_C_SIZE uint64_t /* bytes; units K M G */
#define PH_C_TIME uint64_t /* milliseconds; units ms s min h d w */
#define PH_C_TEXT const char *
#define PH_C_SECRET const char *
#define PH_C_ENUM int
/* A field of the wrong C type is a compile error (_Generic has no match). */
#define PH_OFF(T, S, f) (offsetof(struct S, f) + _Generic(&((struct S *)0)->f, PH_C_##T * : 0u))
#define PH_SETTING(T, S, f, fl, df, lo, hi, dc)                                                    \
    {                                                                                              \
        .name = #f, .type = PH_##T, .flags = (fl), .offset = PH_OFF(T, S, f), .def = (df),         \
        .min = (lo), .max = (hi), .doc = (dc)                                                      \
    }
#define PH_SETTING_ENUM(S, f, fl, df, nm, dc)                                                      \
    {                                                                                              \
        .name = #f, .type = PH_ENUM, .flags = (fl), .offset = PH_OFF(ENUM, S, f), .def = (df),     \
        .names = (nm), .doc = (dc)                                                                 \
    }
#define PH_SETTING_END                                                                             \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#endif
