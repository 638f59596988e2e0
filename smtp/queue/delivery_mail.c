/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* delivery_mail.c - one message with those of its recipients that go to one site for one sender. */
#include "appliance/base/mem.h"
#include "smtp/queue/delivery_private.h"
#include <unistd.h>

struct str mail_sender(const struct mail *m)
{
    return m->rows[0].to.sender.p ? m->rows[0].to.sender : m->entry.sender;
}

bool mail_requires_tls(const struct mail *m)
{
    return (m->out.flags & QUEUE_REQUIRETLS) != 0;
}

bool mail_is_null(const struct mail *m, size_t row)
{
    struct str own = m->rows[row].to.sender;

    return own.p ? own.n == 0 : m->entry.sender.n == 0;
}

void mail_free(struct mail **mp)
{
    struct mail *m = *mp;
    struct delivery *d = m->d;
    struct arena *arena = m->arena; /* that it lies in itself */

    *mp = NULL;
    CHECK(!m->busy);
    list_del(&m->link);
    if (m->site) {
        list_del(&m->of_site);
        m->site->n_mails--;
        m->site->n_rows -= m->n;
        d->n_mails--;
        d->n_rows -= m->n;
        for (size_t i = 0; i < m->n; i++)
            flight_end(&d->flight, m->rows[i].to.id, m->rows[i].to.n);
        site_touch(m->site);
    }
    mail_report_free(m);
    timer_free(&m->again);
    buf_fini(&m->seven);
    if (m->fd >= 0)
        close(m->fd);
    arena_free(&arena);
}

void mail_fail(struct mail *m, const struct smtp_fault *f, int64_t not_before_ms)
{
    for (size_t i = 0; i < m->n; i++) {
        m->rcpts[i].fault = *f;
        m->rows[i].not_before_ms = not_before_ms;
    }
    mail_settle(m);
}
