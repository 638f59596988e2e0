/* room: mail */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Each line as what a Maildir holds: a file's name, a line of a list of UIDs, of keywords, of
 * subscriptions, a folder. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/maildir.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void as_name(struct str line)
{
    struct maildir_name name, again;
    struct buf b;

    if (!maildir_name_parse(line, &name) || name.base.n > line.n)
        return;
    buf_init(&b, line.n + 100);
    buf_add_str(&b, name.base);
    maildir_flags_format(name.flags, name.keywords, &b);
    if (!maildir_name_parse(buf_str(&b), &again) || again.flags != name.flags ||
        again.keywords != name.keywords || !str_eq(again.base, name.base))
        abort();
    buf_fini(&b);
}

static void as_folder(struct str line, char separator)
{
    struct buf b, back;

    buf_init(&b, 4096);
    buf_init(&back, 16384);
    if (maildir_path_decode(line, separator, &b) == 0) {
        if (!text_utf8_valid(buf_str(&b)))
            abort();
        (void)!maildir_folder_encode(buf_str(&b), &back);
    }
    (void)maildir_subscription(line, separator, &b);
    buf_fini(&back);
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = str_of(data, n), line, word;
    struct maildir_uidlist list = {.version = 1};
    unsigned index;
    uint32_t uid;

    while (rest.n) {
        str_cut(rest, '\n', &line, &rest);
        as_name(line);
        as_folder(line, '.');
        as_folder(line, '/');
        if (maildir_uidlist_line(&list, line, &uid, &word) && word.n > line.n)
            abort();
        if (maildir_keyword_line(line, &index, &word) && index >= MAILDIR_KEYWORDS)
            abort();
        struct maildir_uidlist other;
        if (maildir_uidlist_header(line, &other) == 0)
            list = other;
    }
    return 0;
}
