/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/say.h"
#include "appliance/base/text.h"
#include <stdlib.h>

enum { WORD_MAX = 1 << 20, LINE_MAX_ = 1 << 30 };

static int put(FILE *to, const struct buf *b)
{
    return !b->n || fwrite(b->p, 1, b->n, to) == b->n ? 0 : -1;
}

int say_json(const json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    struct buf out;

    if (!text)
        return -1;
    buf_init(&out, LINE_MAX_);
    (void)text_printable(str_from(text), &out); /* its strings: what it escapes, JSON does so too */
    buf_add_char(&out, '\n');
    int rc = buf_ok(&out) ? put(stdout, &out) : -1;
    buf_fini(&out);
    free(text);
    return rc;
}

void say_lines(struct str text, const char *indent, struct buf *out)
{
    struct str line;

    while (text.n) {
        str_cut(text, '\n', &line, &text);
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        buf_add_z(out, indent);
        (void)text_printable(line, out);
        buf_add_char(out, '\n');
    }
}

void say_word(FILE *to, const char *text)
{
    struct buf out;

    buf_init(&out, WORD_MAX);
    (void)text_printable(str_from(text), &out);
    (void)put(to, &out);
    buf_fini(&out);
}

void say_error(const char *text)
{
    struct buf out;

    buf_init(&out, WORD_MAX);
    say_lines(str_from(text), "", &out);
    fputs("posthouse: ", stderr);
    (void)put(stderr, &out);
    buf_fini(&out);
}
