/* room: mail */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* An mbox file, read in pieces of two sizes: the same messages, in order, without an overlap. */
#include "appliance/base/mem.h"
#include "appliance/mail/mbox.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct file {
    struct str text;
    size_t most;
};

static ssize_t read_file(void *ctx, uint64_t at, void *p, size_t n)
{
    const struct file *f = ctx;
    struct str s = str_take(str_skip(f->text, at), n < f->most ? n : f->most);

    if (s.n)
        memcpy(p, s.p, s.n);
    return (ssize_t)s.n;
}

static uint64_t split(struct str text, size_t most)
{
    struct mbox *m = MEM_NEW(struct mbox);
    struct file f = {text, most};
    struct mbox_message msg;
    struct mbox_status status;
    uint64_t before = 0, sum = 0;
    struct err err = {0};
    int rc;

    mbox_init(m, read_file, &f);
    while ((rc = mbox_next(m, &msg, &err)) == 1) {
        if (msg.start < before || msg.head < msg.start || msg.body < msg.head ||
            msg.end < msg.body || msg.end > text.n || msg.fields.n > MBOX_HEAD_MAX)
            abort();
        before = msg.end;
        sum = sum * 31 + msg.start + 7 * msg.head + 13 * msg.end + msg.quoted;
        mbox_status_read(msg.fields, &status);
    }
    mbox_fini(m);
    mem_free(m);
    return rc < 0 ? ~sum : sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = str_of(data, n);

    if (split(text, MBOX_WINDOW) != split(text, 7))
        abort();
    return 0;
}
