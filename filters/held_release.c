/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* held_release.c - held mail and mail in quarantine that a command releases, with or without a
 * server: stages run in the server alone, so what they have to see waits for it as held mail. A
 * word of its view says so. */
#include "appliance/store/queue.h"
#include "filters/held_view.h"

enum { VIEW_MAX = 2 << 20 };

static const char mark[] = "released\0yes";

bool held_is_released(struct str view)
{
    struct str key, value;

    while (view.n) {
        str_cut(view, '\0', &key, &view);
        str_cut(view, '\0', &value, &view);
        if (str_eq(key, str_from(mark)))
            return true;
    }
    return false;
}

int held_release_tx(struct store_tx *tx, uint64_t id, const char *mailbox, bool *later_out,
                    struct queue_gone *gone, struct err *err)
{
    struct queue_entry e;
    struct buf view;
    int rc;

    *later_out = false;
    if (queue_get_tx(tx, id, &e, err))
        return -1;
    buf_init(&view, VIEW_MAX);
    buf_add_str(&view, e.view);
    if (!held_is_released(e.view))
        buf_add(&view, mark, sizeof mark);
    rc = queue_release_here_tx(tx, id, mailbox, buf_str(&view),
                               STR("released; its copies that leave wait for the stages"),
                               later_out, gone, err);
    buf_fini(&view);
    return rc;
}
