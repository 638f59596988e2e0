/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The settings tables as text: what is in force, and what there is. */
#include "appliance/base/settings.h"

enum { WRAP = 78 };

static void quote_str(struct str s, struct buf *out)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        /* "${" would be replaced by a variable of the environment when it is read again. */
        bool variable = s.p[i] == '$' && i + 1 < s.n && s.p[i + 1] == '{';
        if (s.p[i] == '"' || s.p[i] == '\\' || variable)
            buf_add_char(out, '\\');
        if (s.p[i] == '\n')
            buf_add(out, "\\n", 2);
        else
            buf_add_char(out, s.p[i]);
    }
    buf_add_char(out, '"');
}

bool settings_list_next(struct str *rest, struct str *word_out)
{
    while (rest->n) {
        str_cut(*rest, ',', word_out, rest);
        *word_out = str_trim(*word_out);
        if (word_out->n)
            return true;
    }
    return false;
}

static void quote(const char *z, struct buf *out)
{
    quote_str(str_from(z), out);
}

static void show_list(const char *z, struct buf *out)
{
    struct str rest = str_from(z), word;
    bool first = true;

    buf_add_char(out, '{');
    for (; settings_list_next(&rest, &word); first = false) {
        buf_add_z(out, first ? "" : ", ");
        quote_str(word, out);
    }
    buf_add_char(out, '}');
}

static void show_value(const struct ph_setting *s, const void *field, struct buf *out)
{
    const char *secret;

    switch (s->type) {
    case PH_BOOL:
        buf_add_z(out, *(const bool *)field ? "yes" : "no");
        return;
    case PH_INT:
    case PH_SIZE:
    case PH_TIME:
        settings_number(s->type, *(const int64_t *)field, out);
        return;
    case PH_SECRET:
        secret = *(const char *const *)field;
        buf_add_z(out, secret && secret[0] ? "\"***\"" : "\"\"");
        return;
    case PH_TEXT:
        if (s->flags & PH_LIST)
            show_list(*(const char *const *)field, out);
        else
            quote(*(const char *const *)field, out);
        return;
    case PH_ENUM:
        buf_add_z(out, s->names[*(const int *)field]);
        return;
    }
}

void settings_show(const struct settings_section *s, const void *config, struct buf *out)
{
    const char *conf = (const char *)config + s->offset;
    buf_printf(out, "%s {\n", s->name);
    for (const struct ph_setting *t = s->table; t->name; t++) {
        const void *field = conf + t->offset;
        bool text = t->type == PH_TEXT || t->type == PH_SECRET;
        if (text && !*(const char *const *)field) {
            buf_printf(out, "    # %s is not set\n", t->name);
            continue;
        }
        buf_printf(out, "    %s = ", t->name);
        show_value(t, field, out);
        buf_add_char(out, '\n');
    }
    buf_add_z(out, "}\n");
}

static void help_type(const struct ph_setting *s, struct buf *out)
{
    static const char *const types[] = {"yes|no", "number", "size", "time", "text", "secret"};
    if (s->type != PH_ENUM) {
        buf_add_z(out, s->flags & PH_LIST ? "list" : types[s->type]);
        return;
    }
    for (size_t i = 0; s->names[i]; i++)
        buf_printf(out, "%s%s", i ? "|" : "", s->names[i]);
}

void settings_type(const struct ph_setting *s, struct buf *out)
{
    help_type(s, out);
    if (s->min || s->max) {
        buf_add_z(out, ", ");
        settings_number(s->type, s->min, out);
        buf_add_z(out, " to ");
        settings_number(s->type, s->max, out);
    }
}

/* "    name = default   (size, 1K to 2G; reload)" */
static void help_head(const struct ph_setting *s, struct buf *out)
{
    bool text = s->type == PH_TEXT || s->type == PH_SECRET;
    buf_printf(out, "    %s", s->name);
    if (s->def && text) {
        buf_add_z(out, " = ");
        quote(s->def, out);
    } else if (s->def) {
        buf_printf(out, " = %s", s->def);
    }
    buf_add_z(out, "  (");
    settings_type(s, out);
    if (s->flags & PH_REQUIRED)
        buf_add_z(out, "; required");
    if (s->flags & PH_RELOAD)
        buf_add_z(out, "; reload");
    buf_add_z(out, ")\n");
}

static void wrap(const char *text, const char *indent, struct buf *out)
{
    struct str rest = str_from(text), word;
    size_t column = 0;
    for (bool more = rest.n > 0; more;) {
        more = str_cut(rest, ' ', &word, &rest);
        if (word.n == 0)
            continue;
        if (column && column + 1 + word.n > WRAP) {
            buf_add_char(out, '\n');
            column = 0;
        }
        buf_add_z(out, column ? " " : indent);
        column += column ? 1 : strlen(indent);
        buf_add_str(out, word);
        column += word.n;
    }
    if (column)
        buf_add_char(out, '\n');
}

void settings_help(const struct settings_section *s, struct buf *out)
{
    buf_printf(out, "%s\n", s->name);
    if (s->doc)
        wrap(s->doc, "  ", out);
    for (const struct ph_setting *t = s->table; t->name; t++) {
        if (t->flags & PH_HIDDEN)
            continue;
        help_head(t, out);
        if (t->doc)
            wrap(t->doc, "        ", out);
    }
}
