/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/admin.h"
#include "appliance/app/admin_explain.h"
#include "appliance/app/say.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"

enum { COLUMNS_MAX = 16, WIDTH_MAX = 80 };

static void put_value(const json_t *v, struct buf *out)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        (void)text_printable(str_of(json_string_value(v), json_string_length(v)), out);
        break;
    case JSON_INTEGER:
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_TRUE:
        buf_add_z(out, "yes");
        break;
    case JSON_FALSE:
        buf_add_z(out, "no");
        break;
    case JSON_NULL:
        buf_add_char(out, '-');
        break;
    case JSON_ARRAY:
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (i)
                buf_add_z(out, ", ");
            put_value(json_array_get(v, i), out);
        }
        break;
    case JSON_OBJECT:
    case JSON_REAL:
        break;
    }
}

struct str admin_cell(const json_t *v, struct buf *scratch)
{
    buf_clear(scratch);
    put_value(v, scratch);
    return buf_str(scratch);
}

/* Columns on a terminal, taken as one a character (wide ones would need the locale). */
static size_t characters(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static size_t column_names(json_t *row, const char *names[COLUMNS_MAX])
{
    size_t n = 0;

    for (void *it = json_object_iter(row); it && n < COLUMNS_MAX;
         it = json_object_iter_next(row, it))
        names[n++] = json_object_iter_key(it);
    return n;
}

static void render_table(const json_t *rows, struct buf *out)
{
    const char *names[COLUMNS_MAX];
    size_t width[COLUMNS_MAX], n = column_names(json_array_get(rows, 0), names);
    struct buf scratch;

    buf_init(&scratch, 1 << 20);
    for (size_t c = 0; c < n; c++) {
        width[c] = strlen(names[c]);
        for (size_t r = 0; r < json_array_size(rows); r++) {
            size_t w = characters(
                admin_cell(json_object_get(json_array_get(rows, r), names[c]), &scratch));
            if (w > width[c])
                width[c] = w < WIDTH_MAX ? w : WIDTH_MAX;
        }
    }
    for (size_t c = 0; c < n; c++)
        buf_printf(out, "%-*s%s", c + 1 < n ? (int)width[c] : 0, names[c], c + 1 < n ? "  " : "\n");
    for (size_t r = 0; r < json_array_size(rows); r++)
        for (size_t c = 0; c < n; c++) {
            struct str s = admin_cell(json_object_get(json_array_get(rows, r), names[c]), &scratch);
            buf_add_str(out, s);
            for (size_t pad = characters(s); c + 1 < n && pad < width[c] + 2; pad++)
                buf_add_char(out, ' ');
            if (c + 1 == n)
                buf_add_char(out, '\n');
        }
    buf_fini(&scratch);
}

void admin_lines(struct str text, struct buf *out)
{
    buf_add_char(out, '\n');
    say_lines(text, "  ", out);
}

static bool is_table(const json_t *v)
{
    return json_is_array(v) && json_is_object(json_array_get(v, 0));
}

static void render_field(const char *name, const json_t *v, struct buf *scratch, struct buf *out)
{
    buf_printf(out, "%s:", name);
    if (is_table(v)) {
        buf_add_char(out, '\n');
        render_table(v, out);
    } else if (json_is_string(v) && (strcmp(name, "head") == 0 || strcmp(name, "zone") == 0)) {
        admin_lines(str_of(json_string_value(v), json_string_length(v)), out);
    } else {
        buf_add_char(out, ' ');
        buf_add_str(out, admin_cell(v, scratch));
        buf_add_char(out, '\n');
    }
}

static void render_object(json_t *o, struct buf *out)
{
    struct buf scratch;

    buf_init(&scratch, 1 << 20);
    for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it))
        render_field(json_object_iter_key(it), json_object_iter_value(it), &scratch, out);
    buf_fini(&scratch);
}

void admin_render(json_t *result, struct buf *out)
{
    if (!result || json_is_null(result))
        return;
    if (json_is_array(json_object_get(result, "stages"))) {
        explain_render(result, out);
        return;
    }
    if (json_is_object(result))
        render_object(result, out);
    else if (json_is_array(result) && json_array_size(result) &&
             json_is_object(json_array_get(result, 0)))
        render_table(result, out);
    else if (json_is_array(result))
        for (size_t i = 0; i < json_array_size(result); i++) {
            put_value(json_array_get(result, i), out);
            buf_add_char(out, '\n');
        }
    else if (json_is_string(result))
        say_lines(str_of(json_string_value(result), json_string_length(result)), "", out);
    else {
        put_value(result, out);
        buf_add_char(out, '\n');
    }
}
