/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/maildir.h"
#include "appliance/base/text.h"

enum { NAME_MAX_BYTES = 4096 };

/* In ASCII order, as they are to be written. */
static const struct {
    char letter;
    enum maildir_flag flag;
} letters[] = {{'D', MAILDIR_DRAFT},   {'F', MAILDIR_FLAGGED}, {'P', MAILDIR_PASSED},
               {'R', MAILDIR_REPLIED}, {'S', MAILDIR_SEEN},    {'T', MAILDIR_TRASHED}};

static unsigned flag_of(char c)
{
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if (letters[i].letter == c)
            return letters[i].flag;
    return 0;
}

/* Some servers write other separators than the colon, for file systems without it; they are not
 * looked for, as they may be part of a name. */
bool maildir_name_parse(struct str file, struct maildir_name *out)
{
    struct str info;

    *out = (struct maildir_name){.base = file};
    if (file.n == 0 || file.p[0] == '.' || file.p[0] == ':')
        return false;
    str_cut(file, ':', &out->base, &info);
    if (!str_starts(info, STR("2,")))
        return true;
    for (size_t i = 2; i < info.n; i++) {
        char c = info.p[i];
        if (c >= 'a' && c <= 'z')
            out->keywords |= UINT32_C(1) << (c - 'a');
        else
            out->flags |= flag_of(c);
    }
    return true;
}

int maildir_flags_format(unsigned flags, uint32_t keywords, struct buf *out)
{
    buf_add_z(out, ":2,");
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if (flags & letters[i].flag)
            buf_add_char(out, letters[i].letter);
    for (unsigned i = 0; i < MAILDIR_KEYWORDS; i++)
        if (keywords & UINT32_C(1) << i)
            buf_add_char(out, (char)('a' + i));
    return buf_ok(out) ? 0 : -1;
}

/* ---- UIDs. */

static bool take_u32(struct str *rest, uint32_t *out)
{
    struct str word;
    uint64_t v;

    str_cut(*rest, ' ', &word, rest);
    if (str_to_u64(word, UINT32_MAX, &v) != 0)
        return false;
    *out = (uint32_t)v;
    return true;
}

static void header_field(struct str word, struct maildir_uidlist *out)
{
    uint64_t v;

    if (word.n < 2 || str_to_u64(str_skip(word, 1), UINT32_MAX, &v) != 0)
        return;
    if (word.p[0] == 'V')
        out->uidvalidity = (uint32_t)v;
    if (word.p[0] == 'N')
        out->uidnext = (uint32_t)v;
}

int maildir_uidlist_header(struct str line, struct maildir_uidlist *out)
{
    struct str rest = str_trim(line), word;
    uint32_t version;

    *out = (struct maildir_uidlist){.version = 0};
    if (!take_u32(&rest, &version))
        return -1;
    if (version == 1) {
        if (!take_u32(&rest, &out->uidvalidity) || !take_u32(&rest, &out->uidnext))
            return -1;
    } else if (version == 3) {
        while (rest.n) {
            str_cut(rest, ' ', &word, &rest);
            header_field(word, out);
        }
    } else
        return -1;
    out->version = (int)version;
    return out->uidvalidity ? 0 : -1;
}

bool maildir_uidlist_line(const struct maildir_uidlist *list, struct str line, uint32_t *uid_out,
                          struct str *base_out)
{
    struct maildir_name name;
    struct str rest = line;
    size_t at;

    if (rest.n && rest.p[rest.n - 1] == '\r')
        rest.n--;
    if (!take_u32(&rest, uid_out) || *uid_out == 0)
        return false;
    /* Version 3: fields of our server's own, each a letter and its value, up to the colon. */
    if (list->version == 3) {
        if (str_starts(rest, STR(":")))
            rest = str_skip(rest, 1);
        else if (str_find(rest, STR(" :"), &at))
            rest = str_skip(rest, at + 2);
        else
            return false;
    }
    if (!maildir_name_parse(rest, &name))
        return false;
    *base_out = name.base;
    return true;
}

bool maildir_keyword_line(struct str line, unsigned *index_out, struct str *name_out)
{
    struct str word, rest;
    uint64_t v;

    if (!str_cut(str_trim(line), ' ', &word, &rest) ||
        str_to_u64(word, MAILDIR_KEYWORDS - 1, &v) != 0)
        return false;
    *index_out = (unsigned)v;
    *name_out = str_trim(rest);
    return name_out->n > 0;
}

/* ---- Folders. */

int maildir_level_decode(struct str level, struct buf *out)
{
    size_t before = out->n;

    if (level.n == 0 || level.n > NAME_MAX_BYTES)
        return -1;
    if (text_utf7_decode(level, out) == 0 && out->n > before)
        return 0;
    if (!buf_ok(out))
        return -1;
    buf_truncate(out, before);
    if (text_utf8_valid(level))
        return buf_add_str(out, level);
    return text_to_utf8(STR("iso-8859-1"), level, out);
}

int maildir_path_decode(struct str path, char separator, struct buf *out)
{
    struct str level, rest = path;
    bool more = true;

    if (rest.n && separator == '.' && rest.p[0] == '.')
        rest = str_skip(rest, 1);
    for (bool first = true; more; first = false) {
        more = str_cut(rest, separator, &level, &rest);
        if (!first)
            buf_add_char(out, '/');
        if (maildir_level_decode(level, out) != 0)
            return -1;
    }
    return buf_ok(out) ? 0 : -1;
}

int maildir_folder_encode(struct str name, struct buf *out)
{
    struct str level, rest = name;

    if (str_ieq(name, STR("INBOX")))
        return 0;
    while (rest.n) {
        size_t before;
        str_cut(rest, '/', &level, &rest);
        buf_add_char(out, '.');
        before = out->n;
        if (text_utf7_encode(level, out) != 0)
            return -1;
        for (size_t i = before; i < out->n; i++)
            if (out->p[i] == '.')
                out->p[i] = '_';
    }
    return buf_ok(out) ? 0 : -1;
}

bool maildir_subscription(struct str line, char separator, struct buf *out)
{
    struct str name = line;
    size_t at;

    while (name.n && (name.p[name.n - 1] == '\r' || name.p[name.n - 1] == '\n'))
        name.n--;
    if (str_starts(name, STR("V\t"))) /* the second version's first line */
        return false;
    if (str_istarts(name, STR("INBOX.")) && separator == '.')
        name = str_skip(name, 6);
    if (str_chr(name, '\t', &at))
        separator = '\t';
    buf_clear(out);
    return name.n > 0 && maildir_path_decode(name, separator, out) == 0;
}
