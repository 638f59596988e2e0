/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/line.h"

enum {
    LINE_BASE = 512, /* RFC 5321 4.5.3.1.4 */
    /* SIZE (RFC 1870 3) 26, BODY (RFC 6152 2) 17, SMTPUTF8 (RFC 6531 3.4) 10, AUTH (RFC 4954 3) 500
     */
    LINE_MAIL = LINE_BASE + 26 + 17 + 10 + 500,
    LINE_VRFY = LINE_BASE + 10, /* RFC 6531 3.4 */
    LINE_AUTH = 12288           /* RFC 4954 4.3 */
};

static size_t limit_of(struct str in)
{
    static const struct {
        struct str verb;
        size_t limit;
    } longer[] = {{{"MAIL ", 5}, LINE_MAIL},
                  {{"VRFY ", 5}, LINE_VRFY},
                  {{"EXPN ", 5}, LINE_VRFY},
                  {{"AUTH ", 5}, LINE_AUTH}};
    for (size_t i = 0; i < sizeof longer / sizeof *longer; i++)
        if (str_istarts(in, longer[i].verb))
            return longer[i].limit;
    return LINE_BASE;
}

static bool discard_rest(struct smtp_line *l, struct str in, size_t *used_out)
{
    size_t at = 0;
    struct str rest = in;
    while (str_chr(rest, '\n', &at)) {
        size_t lf = (size_t)(rest.p - in.p) + at;
        if (lf ? in.p[lf - 1] == '\r' : l->cr) {
            *used_out = lf + 1;
            l->discard = l->cr = false;
            return true;
        }
        rest = str_skip(rest, at + 1);
    }
    *used_out = in.n;
    if (in.n)
        l->cr = in.p[in.n - 1] == '\r';
    return false;
}

static enum smtp_line_end begin_discard(struct smtp_line *l, struct str in, size_t n,
                                        size_t *used_out, enum smtp_line_end why)
{
    l->discard = true;
    l->cr = n > 0 && in.p[n - 1] == '\r';
    *used_out = n;
    return why;
}

enum smtp_line_end smtp_line_take(struct smtp_line *l, struct str in, size_t limit,
                                  struct str *line_out, size_t *used_out)
{
    size_t lf, dropped = 0, odd;
    *line_out = STR_NULL;
    *used_out = 0;
    if (l->discard) {
        if (!discard_rest(l, in, &dropped)) {
            *used_out = dropped;
            return SMTP_LINE_MORE;
        }
        in = str_skip(in, dropped);
    }
    if (!limit)
        limit = limit_of(in);
    bool found = str_chr(str_take(in, limit), '\n', &lf);
    enum smtp_line_end end;
    if (!found && in.n < limit) {
        end = SMTP_LINE_MORE;
    } else if (!found) {
        end = begin_discard(l, in, limit, used_out, SMTP_LINE_TOO_LONG);
    } else if (lf == 0 || in.p[lf - 1] != '\r') {
        end = begin_discard(l, in, lf + 1, used_out, SMTP_LINE_BAD);
    } else {
        *line_out = str_take(in, lf - 1);
        *used_out = lf + 1;
        end = str_chr(*line_out, '\r', &odd) || str_chr(*line_out, '\0', &odd) ? SMTP_LINE_BAD
                                                                               : SMTP_LINE_OK;
    }
    *used_out += dropped;
    return end;
}
