/* room: mail */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What is read can be written, and is then read as the same moment. */
#include "appliance/base/mem.h"
#include "appliance/mail/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(struct date d)
{
    struct date back;
    struct buf b;
    int64_t day;
    buf_init(&b, 64);
    CHECK(date_format(d, &b) == 0);
    CHECK(date_parse(buf_str(&b), &back) == 0 || d.at < 0); /* years below 1000 */
    buf_clear(&b);
    CHECK(date_imap_format(d, &b) == 0 && b.n == 26);
    /* the first and last day of what four digits can say, and zones of 24 hours, aren't written as
     * they are */
    if (d.at > -62135596800 + 86400 && d.at < 253402300799 - 86400 && d.zone > -1440 &&
        d.zone < 1440) {
        CHECK(date_imap_parse(buf_str(&b), &back) == 0 && back.at == d.at && back.zone == d.zone);
        struct str text = str_take(buf_str(&b), 11);
        CHECK(date_imap_day_parse(text.p[0] == ' ' ? str_skip(text, 1) : text, &day) == 0);
        CHECK(day == date_day(d));
    }
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size);
    struct date d;
    int64_t day;
    if (date_parse(in, &d) == 0)
        round_trip(d);
    if (date_imap_parse(in, &d) == 0)
        round_trip(d);
    if (date_imap_day_parse(in, &day) == 0)
        CHECK(day >= -719162 && day < 2932897);
    if (size >= 12) {
        memcpy(&d.at, data, 8);
        memcpy(&d.zone, data + 8, 4);
        round_trip((struct date){d.at, d.zone});
        date_day(d);
    }
    return 0;
}
