/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/settings.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { SECRET_MAX = 65536, NAMES_MAX = 256 };

/* What is being set, for messages: "smtp.max_size". */
struct target {
    struct str section; /* may be empty */
    const struct ph_setting *s;
};
#define NAME_FMT STR_FMT "%s%s"
#define NAME_ARG(t) STR_ARG((t).section), (t).section.n ? "." : "", (t).s->name
#define SHOWN(v) STR_ARG(str_take((v), 60))

static const struct unit {
    enum ph_setting_type type;
    const char *suffix;
    int64_t factor;
} units[] = {
    {PH_INT, "", 1},           {PH_SIZE, "T", INT64_C(1) << 40},
    {PH_SIZE, "G", 1 << 30},   {PH_SIZE, "M", 1 << 20},
    {PH_SIZE, "K", 1 << 10},   {PH_SIZE, "", 1},
    {PH_TIME, "w", 604800000}, {PH_TIME, "d", 86400000},
    {PH_TIME, "h", 3600000},   {PH_TIME, "min", 60000},
    {PH_TIME, "s", 1000},      {PH_TIME, "ms", 1},
};

static const char *unit_names(enum ph_setting_type type)
{
    return type == PH_TIME   ? "a unit: ms, s, min, h, d or w"
           : type == PH_SIZE ? "bytes, or a number with K, M, G or T"
                             : "a whole number without a unit";
}

void settings_number(enum ph_setting_type type, int64_t v, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (units[i].type == type && v % units[i].factor == 0 && (v || units[i].factor == 1)) {
            buf_printf(out, "%" PRId64 "%s", v / units[i].factor, v ? units[i].suffix : "");
            return;
        }
}

static const struct unit *find_unit(enum ph_setting_type type, struct str suffix)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (units[i].type == type && (type == PH_SIZE ? str_ieq(suffix, str_from(units[i].suffix))
                                                      : str_eq(suffix, str_from(units[i].suffix))))
            return &units[i];
    return NULL;
}

static int out_of_bounds(struct target t, struct str value, struct err *err)
{
    struct buf low, high;
    buf_init(&low, 64);
    buf_init(&high, 64);
    settings_number(t.s->type, t.s->min, &low);
    settings_number(t.s->type, t.s->max, &high);
    err_set(err, ERR_PROTO, ERR_WHY_LIMIT, NAME_FMT ": '" STR_FMT "' is outside %s to %s",
            NAME_ARG(t), SHOWN(value), buf_z(&low), buf_z(&high));
    buf_fini(&low);
    buf_fini(&high);
    return -1;
}

static int parse_number(struct target t, struct str value, int64_t *out, struct err *err)
{
    bool negative = t.s->type == PH_INT && str_starts(value, STR("-"));
    struct str digits = str_skip(value, negative);
    size_t n = 0;
    uint64_t v;
    int64_t r;
    while (n < digits.n && digits.p[n] >= '0' && digits.p[n] <= '9')
        n++;
    struct str suffix = str_skip(digits, n);
    if (n == 0)
        return ERR(err, ERR_PROTO, NAME_FMT ": '" STR_FMT "' is not a number; want %s", NAME_ARG(t),
                   SHOWN(value), unit_names(t.s->type));
    if (str_to_u64(str_take(digits, n), INT64_MAX, &v))
        return ERR(err, ERR_PROTO, NAME_FMT ": '" STR_FMT "' is too large", NAME_ARG(t),
                   SHOWN(value));
    const struct unit *u = find_unit(t.s->type, suffix);
    if (!u && !(v == 0 && suffix.n == 0)) /* 0 is 0 in any unit */
        return ERR(err, ERR_PROTO, NAME_FMT ": '" STR_FMT "' has no known unit; want %s",
                   NAME_ARG(t), SHOWN(value), unit_names(t.s->type));
    if (__builtin_mul_overflow((int64_t)v, u ? u->factor : 1, &r))
        return ERR(err, ERR_PROTO, NAME_FMT ": '" STR_FMT "' is too large", NAME_ARG(t),
                   SHOWN(value));
    r = negative ? -r : r;
    if ((t.s->min || t.s->max) && (r < t.s->min || r > t.s->max))
        return out_of_bounds(t, value, err);
    *out = r;
    return 0;
}

static int parse_bool(struct target t, struct str value, bool *out, struct err *err)
{
    static const char *const words[] = {"yes", "no", "true", "false", "on", "off"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_ieq(value, str_from(words[i]))) {
            *out = i % 2 == 0;
            return 0;
        }
    return ERR(err, ERR_PROTO, NAME_FMT ": want yes or no, not '" STR_FMT "'", NAME_ARG(t),
               SHOWN(value));
}

static int parse_enum(struct target t, struct str value, int *out, struct err *err)
{
    for (int i = 0; t.s->names[i]; i++)
        if (str_eq(value, str_from(t.s->names[i]))) {
            *out = i;
            return 0;
        }
    const char *near = settings_nearest(value, t.s->names);
    if (near)
        return ERR(err, ERR_PROTO, NAME_FMT ": unknown value '" STR_FMT "'; did you mean '%s'?",
                   NAME_ARG(t), SHOWN(value), near);
    struct buf all;
    buf_init(&all, 160);
    for (int i = 0; t.s->names[i]; i++)
        buf_printf(&all, "%s%s", i ? ", " : "", t.s->names[i]);
    err_set(err, ERR_PROTO, ERR_WHY_OTHER, NAME_FMT ": unknown value '" STR_FMT "'; want one of %s",
            NAME_ARG(t), SHOWN(value), buf_z(&all));
    buf_fini(&all);
    return -1;
}

/* All of a small file. */
static ssize_t read_file(const char *path, char *to, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t n = 0;
    ssize_t got = -1;
    if (fd < 0)
        return -1;
    while (n < room && (got = read(fd, to + n, room - n)) != 0) {
        if (got < 0 && errno != EINTR)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    int why = errno;
    close(fd);
    errno = n == room ? EFBIG : why;
    return got == 0 ? (ssize_t)n : -1;
}

static int secret_from_file(struct target t, struct str path, char **out, struct err *err)
{
    char *name = str_dup_z(path), *text = mem_alloc(SECRET_MAX);
    ssize_t n = read_file(name, text, SECRET_MAX);
    int r = 0;
    if (n < 0)
        r = ERR(err, ERR_PROTO, NAME_FMT ": cannot read %s: %s", NAME_ARG(t), name,
                strerror(errno));
    else if (memchr(text, '\0', (size_t)n))
        r = ERR(err, ERR_PROTO, NAME_FMT ": %s holds a NUL byte", NAME_ARG(t), name);
    else {
        if (n && text[n - 1] == '\n')
            n--;
        if (n && text[n - 1] == '\r')
            n--;
        *out = str_dup_z(str_of(text, (size_t)n));
    }
    explicit_bzero(text, SECRET_MAX);
    mem_free(text);
    mem_free(name);
    return r;
}

static int secret_from_env(struct target t, struct str var, char **out, struct err *err)
{
    char *name = str_dup_z(var);
    const char *value = getenv(name);
    int r = 0;
    if (value)
        *out = str_dup_z(str_from(value));
    else
        r = ERR(err, ERR_PROTO, NAME_FMT ": the environment has no %s", NAME_ARG(t), name);
    mem_free(name);
    return r;
}

static void drop_text(const struct ph_setting *s, char **field)
{
    if (*field && s->type == PH_SECRET)
        explicit_bzero(*field, strlen(*field));
    mem_free(*field);
    *field = NULL;
}

static int parse_text(struct target t, struct str value, char **field, struct err *err)
{
    char *copy = NULL;
    int r = 0;
    if (str_chr(value, '\0', NULL))
        return ERR(err, ERR_PROTO, NAME_FMT ": holds a NUL byte", NAME_ARG(t));
    if (t.s->type == PH_SECRET && str_starts(value, STR("file:")))
        r = secret_from_file(t, str_skip(value, 5), &copy, err);
    else if (t.s->type == PH_SECRET && str_starts(value, STR("env:")))
        r = secret_from_env(t, str_skip(value, 4), &copy, err);
    else
        copy = str_dup_z(value);
    if (r == 0) {
        drop_text(t.s, field);
        *field = copy;
    }
    return r;
}

static int assign(struct target t, void *conf, struct str value, struct err *err)
{
    void *field = (char *)conf + t.s->offset;
    int64_t number;
    switch (t.s->type) {
    case PH_BOOL:
        return parse_bool(t, value, field, err);
    case PH_INT:
        return parse_number(t, value, field, err);
    case PH_SIZE:
    case PH_TIME:
        if (parse_number(t, value, &number, err))
            return -1;
        *(uint64_t *)field = (uint64_t)number;
        return 0;
    case PH_TEXT:
    case PH_SECRET:
        return parse_text(t, value, field, err);
    case PH_ENUM:
        return parse_enum(t, value, field, err);
    }
    return ERR(err, ERR_BUG, NAME_FMT ": has no known type", NAME_ARG(t));
}

int settings_defaults(const struct ph_setting *t, void *conf, struct err *err)
{
    for (; t->name; t++)
        if (t->def && assign((struct target){STR_NULL, t}, conf, str_from(t->def), err)) {
            err->kind = ERR_BUG;
            return err_context(err, "default");
        }
    return 0;
}

static int unknown(const char *what, struct str word, const char *const *names, struct err *err)
{
    const char *near = settings_nearest(word, names);
    if (near)
        return ERR_WHY(err, ERR_PROTO, ERR_WHY_NOT_FOUND,
                       "unknown %s '" STR_FMT "'; did you mean '%s'?", what, SHOWN(word), near);
    return ERR_WHY(err, ERR_PROTO, ERR_WHY_NOT_FOUND, "unknown %s '" STR_FMT "'", what,
                   SHOWN(word));
}

static int set_in(struct str section, const struct ph_setting *t, void *conf, struct str name,
                  struct str value, struct err *err)
{
    const char *names[NAMES_MAX + 1];
    size_t n = 0;
    for (const struct ph_setting *s = t; s->name; s++) {
        if (str_eq(name, str_from(s->name)))
            return assign((struct target){section, s}, conf, value, err);
        if (n < NAMES_MAX && !(s->flags & PH_HIDDEN))
            names[n++] = s->name;
    }
    names[n] = NULL;
    unknown("setting", name, names, err);
    return section.n ? err_context(err, STR_FMT, STR_ARG(section)) : -1;
}

int settings_set(const struct ph_setting *t, void *conf, struct str name, struct str value,
                 struct err *err)
{
    return set_in(STR_NULL, t, conf, name, value, err);
}

int settings_assign(const struct settings_section *sections, void *config, struct str assignment,
                    struct err *err)
{
    struct str left, value, section, name;
    const char *names[NAMES_MAX + 1];
    size_t n = 0;
    if (!str_cut(assignment, '=', &left, &value) || !str_cut(left, '.', &section, &name))
        return ERR(err, ERR_PROTO, "'" STR_FMT "' is not of the form section.name=value",
                   SHOWN(left));
    section = str_trim(section);
    name = str_trim(name);
    for (; sections->name; sections++) {
        if (str_eq(section, str_from(sections->name)))
            return set_in(section, sections->table, (char *)config + sections->offset, name,
                          str_trim(value), err);
        if (n < NAMES_MAX)
            names[n++] = sections->name;
    }
    names[n] = NULL;
    return unknown("section", section, names, err);
}

int settings_check(const struct ph_setting *t, const void *conf, struct err *err)
{
    for (; t->name; t++) {
        const char *const *field = (const void *)((const char *)conf + t->offset);
        if (t->flags & PH_REQUIRED && (t->type == PH_TEXT || t->type == PH_SECRET) &&
            (!*field || !**field))
            return ERR(err, ERR_PROTO, "%s is not set, but it must be", t->name);
    }
    return 0;
}

void settings_free(const struct ph_setting *t, void *conf)
{
    for (; t->name; t++)
        if (t->type == PH_TEXT || t->type == PH_SECRET)
            drop_text(t, (char **)(void *)((char *)conf + t->offset));
}
