/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/conf.h"
#include "appliance/base/mem.h"
#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAMES_MAX = 256,
    LINE_CAP = 400,
    DEPTH_MAX = 8, /* of includes */
    FILE_SIZE_MAX = 4 << 20
};
/* Stands behind the text of each file: libconfuse takes the end of a file for the end of a section.
 */
#define SENTINEL "posthouse-end-of-file"
#define END_MISSING "the file ends too early: a } or a quote is missing"

struct reader { /* of one file */
    const char *path;
    struct reader *outer; /* the file that includes it */
    const struct conf_section *sections;
    cfg_t *root;
    conf_item_fn on_item;
    void *ctx;
    struct buf *errors;
    struct err *err;
    bool failed, ended, cut; /* the sentinel was seen: in its place; where a value should be */
    unsigned depth;
    /* The value that was seen last: a list is told once for each of its words. */
    cfg_opt_t *opt;
    cfg_t *section;
    unsigned line, n;
    struct buf value;
    struct buf include; /* not empty: parsing stopped for it */
};
static struct reader *reading; /* libconfuse hands no context to its callbacks */

/* ---- errors */
static void complain(unsigned line, const char *text)
{
    char place[LINE_CAP];

    snprintf(place, sizeof place, "%s:%u: %s", reading->path, line, text);
    buf_printf(reading->errors, "%s\n", place);
    if (!reading->failed)
        err_set(reading->err, ERR_PROTO, ERR_WHY_OTHER, "%s", place);
    for (struct reader *r = reading; r; r = r->outer)
        r->failed = true;
}

/* A name nobody knows: libconfuse says only "no such option". */
static void unknown_name(cfg_t *cfg, struct str word, char *out, size_t cap)
{
    const char *names[NAMES_MAX + 1];
    const char *what = cfg == reading->root ? "section" : "setting";
    size_t n = 0;

    for (cfg_opt_t *o = cfg->opts; o->name && n < NAMES_MAX; o++)
        names[n++] = o->name;
    names[n] = NULL;
    const char *near = settings_nearest(word, names);
    snprintf(out, cap, "%s%sunknown %s '" STR_FMT "'%s%s%s", cfg == reading->root ? "" : cfg->name,
             cfg == reading->root ? "" : ": ", what, STR_ARG(str_take(word, 60)),
             near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    static const char no_such[] = "no such option '";
    char text[LINE_CAP], better[LINE_CAP];
    unsigned line = (unsigned)cfg->line;

    if (reading->cut)
        return;
        /* The format is one of libconfuse's own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(text, sizeof text, fmt, ap);
#pragma GCC diagnostic pop
    if (strstr(text, SENTINEL) || strstr(text, "unexpected end of file") ||
        strstr(text, "premature end of file"))
        complain(line - (line > 1), END_MISSING);
    else if (str_starts(str_from(text), str_from(no_such))) {
        struct str word = str_skip(str_from(text), sizeof no_such - 1);
        word.n -= word.n > 0; /* the closing quote */
        unknown_name(cfg, word, better, sizeof better);
        complain(line, better);
    } else {
        complain(line, text);
    }
}

/* ---- what it calls when an option is complete */
static void give(struct conf_item *item)
{
    struct err err;

    item->file = reading->path;
    if (reading->on_item(reading->ctx, item, &err))
        complain(item->line, err.text); /* and goes on: all errors are to be shown at once */
}

static void give_value(void)
{
    struct reader *r = reading;

    if (!r->opt)
        return;
    struct conf_item item = {.line = r->line,
                             .section = r->section->name,
                             .title = r->section->title,
                             .name = r->opt->name,
                             .value = buf_str(&r->value)};
    r->opt = NULL;
    give(&item);
    buf_clear(&r->value);
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
    struct reader *r = reading;
    unsigned n = cfg_opt_size(opt);
    bool again = opt == r->opt && cfg == r->section && (opt->flags & CFGF_LIST) && n >= r->n;

    if (!again)
        give_value();
    r->opt = opt;
    r->section = cfg;
    r->n = n;
    if (!again)
        r->line = (unsigned)cfg->line;
    buf_clear(&r->value);
    if (n && str_eq(str_from(cfg_opt_getnstr(opt, n - 1)), STR(SENTINEL))) {
        complain((unsigned)cfg->line - (cfg->line > 1), "the file ends where a value is missing");
        r->cut = true;
        r->opt = NULL;
        return -1;
    }
    for (unsigned i = 0; i < n; i++)
        buf_printf(&r->value, "%s%s", i ? ", " : "", cfg_opt_getnstr(opt, i));
    return 0;
}

static int on_section(cfg_t *cfg, cfg_opt_t *opt)
{
    cfg_t *last = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    struct conf_item item = {
        .line = (unsigned)cfg->line, .section = opt->name, .title = last ? last->title : NULL};

    give_value();
    give(&item);
    return 0;
}

/* A folder can be opened like a file. */
static int readable(const char *path, struct err *err)
{
    struct stat st;

    if (stat(path, &st) != 0 || access(path, R_OK) != 0)
        return ERR_WHY(err, ERR_PERM, errno == ENOENT ? ERR_WHY_NOT_FOUND : ERR_WHY_DENIED,
                       "cannot read the configuration %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return ERR(err, ERR_PERM, "the configuration %s is not a file", path);
    return 0;
}

/* Only notes it: the scanner can't begin another file here. See read_file(). */
static int on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
    (void)opt;
    if (argc != 1 || reading->depth == DEPTH_MAX) {
        cfg_error(cfg, argc != 1 ? "include wants one file name: include(\"more.conf\")"
                                 : "includes go deeper than 8 files; does one include itself?");
        return -1;
    }
    buf_clear(&reading->include);
    buf_add_z(&reading->include, argv[0]);
    reading->line = (unsigned)cfg->line;
    return -1;
}

static int on_end(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
    (void)cfg;
    (void)opt;
    (void)argc;
    (void)argv;
    reading->ended = true;
    return 0;
}

/* ---- tables */
static size_t count(const struct ph_setting *t)
{
    size_t n = 0;

    while (t[n].name)
        n++;
    return n;
}

static cfg_opt_t *section_options(const struct ph_setting *t)
{
    cfg_opt_t *opts = mem_alloc((count(t) + 1) * sizeof *opts);
    cfg_opt_t *o = opts;

    for (; t->name; t++, o++)
        *o = (cfg_opt_t){.name = t->name,
                         .type = CFGT_STR,
                         .flags = CFGF_NODEFAULT | (t->flags & PH_LIST ? CFGF_LIST : 0),
                         .validcb = on_value};
    *o = (cfg_opt_t)CFG_END();
    return opts;
}

static cfg_opt_t *all_options(const struct conf_section *s, size_t n)
{
    cfg_opt_t *opts = mem_alloc((n + 3) * sizeof *opts);

    for (size_t i = 0; i < n; i++)
        opts[i] = (cfg_opt_t){.name = s[i].name,
                              .type = CFGT_SEC,
                              .flags = CFGF_MULTI | CFGF_NODEFAULT | (s[i].titled ? CFGF_TITLE : 0),
                              .subopts = section_options(s[i].settings),
                              .validcb = on_section};
    opts[n] = (cfg_opt_t)CFG_FUNC("include", on_include);
    opts[n + 1] = (cfg_opt_t)CFG_FUNC(SENTINEL, on_end);
    opts[n + 2] = (cfg_opt_t)CFG_END();
    return opts;
}

static void free_options(cfg_opt_t *opts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(opts[i].subopts);
    mem_free(opts);
}

/* ---- the text of a file */

/* The length of the comment at s, or 0: "# ..." and "// ..." without the line's end, C comments. */
static size_t comment_length(struct str s, bool word_begins)
{
    size_t at;

    if (str_starts(s, STR("#")) || (word_begins && str_starts(s, STR("//"))))
        return str_chr(s, '\n', &at) ? at : s.n;
    if (word_begins && str_starts(s, STR("/*")))
        return str_find(str_skip(s, 2), STR("*/"), &at) ? at + 4 : 0;
    return 0;
}

/* Comments become blanks: libconfuse miscounts the lines in them. */
static void blank_comments(char *p, size_t n)
{
    char quote = '\0';
    bool word_begins = true;

    for (size_t i = 0; i < n; i++) {
        if (quote) {
            if (p[i] == '\\')
                i++;
            else if (p[i] == quote)
                quote = '\0';
            continue;
        }
        size_t skip = comment_length(str_of(p + i, n - i), word_begins);
        for (size_t k = 0; k < skip; k++)
            if (p[i + k] != '\n')
                p[i + k] = ' ';
        i += skip ? skip - 1 : 0;
        if (p[i] == '"' || p[i] == '\'')
            quote = p[i];
        word_begins = strchr(" \t\r\n{}()=,;", p[i]) != NULL;
    }
}

/* The end of an empty list that begins at i, or 0. */
static size_t empty_list_end(const char *p, size_t n, size_t i)
{
    size_t end = i + 1;

    while (end < n && strchr(" \t\r\n", p[end]))
        end++;
    return end < n && p[end] == '}' ? end : 0;
}

/* "= {}" becomes an empty text: libconfuse tells nobody of a list without words. */
static void fill_empty_lists(char *p, size_t n)
{
    char quote = '\0', before = '\0';

    for (size_t i = 0; i < n; i++) {
        size_t end = !quote && p[i] == '{' && before == '=' ? empty_list_end(p, n, i) : 0;
        if (end) {
            p[i] = '"';
            p[end] = ' ';
            p[p[i + 1] == '\n' ? end : i + 1] = '"'; /* lines are counted */
            i = end;
            before = '"';
            continue;
        }
        if (quote && p[i] == '\\')
            i++;
        else if (quote ? p[i] == quote : p[i] == '"' || p[i] == '\'')
            quote = quote ? '\0' : p[i];
        if (i < n && !strchr(" \t\r\n", p[i]))
            before = p[i];
    }
}

static int load(const char *path, struct buf *text)
{
    FILE *f = fopen(path, "re");
    char *space;
    size_t n = 1;

    buf_init(text, FILE_SIZE_MAX);
    while (f && n > 0 && buf_reserve(text, 65536, &space) == 0) {
        n = fread(space, 1, 65536, f);
        buf_commit(text, n);
    }
    bool ok = f && !ferror(f) && buf_ok(text);
    if (f)
        fclose(f);
    if (ok) {
        if (str_starts(buf_str(text), STR("\xef\xbb\xbf"))) /* a mark of some editors */
            memset(text->p, ' ', 3);
        blank_comments(text->p, text->n);
        fill_empty_lists(text->p, text->n);
        buf_add_z(text, "\n" SENTINEL "()\n");
    }
    return ok && buf_ok(text) ? 0 : -1;
}

/* Up to the next include, or the end. */
static void parse(struct reader *r, struct buf *text)
{
    size_t n = 0;

    while (r->sections[n].name)
        n++;
    cfg_opt_t *opts = all_options(r->sections, n);
    r->root = cfg_init(opts, CFGF_NONE);
    CHECK(r->root); /* memory */
    r->opt = NULL;
    buf_clear(&r->include);
    cfg_set_error_function(r->root, on_error);
    bool ok = cfg_parse_buf(r->root, buf_z(text)) == CFG_SUCCESS;
    give_value();
    if (!r->failed && !r->include.n && (!ok || !r->ended))
        complain((unsigned)r->root->line - 1, END_MISSING);
    cfg_free(r->root);
    free_options(opts, n);
}

/* Everything up to the end of that line becomes blank. -1: the include isn't the last on it. */
static int blank_lines(struct buf *text, unsigned lines)
{
    size_t i = 0, close = 0;

    for (; i < text->n && lines; i++) {
        lines -= text->p[i] == '\n';
        close = text->p[i] == ')' ? i : close;
    }
    struct str rest = str_trim(str_of(text->p + close + 1, i - close - 1));
    for (size_t k = 0; k < i; k++)
        if (text->p[k] != '\n')
            text->p[k] = ' ';
    return rest.n ? -1 : 0;
}

static int read_file(struct reader *r);

/* Relative to the file that includes. */
static void read_included(struct reader *r)
{
    const char *slash = strrchr(r->path, '/');
    struct reader inner = {.outer = r,
                           .depth = r->depth + 1,
                           .sections = r->sections,
                           .on_item = r->on_item,
                           .ctx = r->ctx,
                           .errors = r->errors,
                           .err = r->err,
                           .failed = r->failed};
    struct buf path;
    struct err err;

    buf_init(&path, 4096);
    if (r->include.p[0] != '/' && slash)
        buf_add(&path, r->path, (size_t)(slash - r->path) + 1);
    buf_add_str(&path, buf_str(&r->include));
    inner.path = buf_z(&path);
    if (readable(inner.path, &err))
        complain(r->line, err.text);
    else
        read_file(&inner);
    buf_fini(&path);
}

static void parse_all(struct reader *r, struct buf *text)
{
    do {
        parse(r, text);
        if (!r->include.n)
            return;
        if (blank_lines(text, r->line))
            complain(r->line, "include must be the last on its line");
        read_included(r);
    } while (true);
}

static int read_file(struct reader *r)
{
    struct buf text;

    buf_init(&r->value, 1 << 20);
    buf_init(&r->include, 4096);
    reading = r;
    if (load(r->path, &text))
        complain(0, "cannot be read, or is larger than 4 MB");
    else if (str_chr(buf_str(&text), '\0', NULL))
        complain(0, "holds a NUL byte");
    else
        parse_all(r, &text);
    buf_fini(&text);
    buf_fini(&r->value);
    buf_fini(&r->include);
    reading = r->outer;
    return r->failed ? -1 : 0;
}

int conf_read(const char *path, const struct conf_section *sections, conf_item_fn on_item,
              void *ctx, struct buf *errors, struct err *err)
{
    struct reader r = {.path = path,
                       .sections = sections,
                       .on_item = on_item,
                       .ctx = ctx,
                       .errors = errors,
                       .err = err};

    if (readable(path, err) == 0)
        return read_file(&r);
    buf_printf(errors, "%s\n", err->text);
    return -1;
}

/* ---- one value ahead of all others */

/* A word, a quoted text without its quotes, or one sign. False: the end. */
static bool next_token(struct str *rest, struct str *out, bool *sign)
{
    size_t n = 0;

    *rest = str_trim(*rest);
    if (!rest->n)
        return false;
    char c = rest->p[0];
    *sign = strchr("{}()=,;+", c) != NULL;
    if (c == '"' || c == '\'') {
        struct str inside = str_skip(*rest, 1);
        while (n < inside.n && inside.p[n] != c)
            n += 1 + (inside.p[n] == '\\' && n + 1 < inside.n);
        *out = str_take(inside, n);
        *rest = str_skip(inside, n + 1);
        return true;
    }
    while (!*sign && n < rest->n && !strchr(" \t\r\n{}()=,;+\"'", rest->p[n]))
        n++;
    n += *sign;
    *out = str_take(*rest, n);
    *rest = str_skip(*rest, n);
    return true;
}

static void take_words(struct str *rest, struct buf *out)
{
    struct str token;
    bool sign, list = false;

    buf_clear(out);
    while (next_token(rest, &token, &sign)) {
        if (sign && token.p[0] == '{')
            list = true;
        else if (sign && token.p[0] != ',' && token.p[0] != '=')
            return;
        if (sign)
            continue;
        buf_add_z(out, out->n ? ", " : "");
        buf_add_str(out, token);
        if (!list)
            return;
    }
}

void conf_peek(const char *path, const char *section, const char *name, struct buf *out)
{
    struct str rest, token, last = STR_NULL;
    unsigned depth = 0;
    bool sign, inside = false;
    struct err err;
    struct buf text;

    buf_clear(out);
    if (readable(path, &err))
        return;
    rest = load(path, &text) == 0 ? buf_str(&text) : STR_NULL;
    while (next_token(&rest, &token, &sign)) {
        if (sign && token.p[0] == '{' && depth++ == 0)
            inside = str_eq(last, str_from(section));
        else if (sign && token.p[0] == '}' && depth && --depth == 0)
            inside = false;
        else if (inside && sign && token.p[0] == '=' && str_eq(last, str_from(name)))
            take_words(&rest, out);
        last = sign ? STR_NULL : token;
    }
    buf_fini(&text);
}
