/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What the scanner's process and the server say to each other: either may have been taken over.
 * What was understood is within its bounds, and says the same when it is said again. */
#include "appliance/base/mem.h"
#include "filters/clamav_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct clamav_packet *p)
{
    const bool word = p->kind == CLAMAV_SCANNED && p->result != CLAMAV_FAILED;
    const size_t n = strnlen(p->text, sizeof p->text);

    CHECK(n < sizeof p->text);
    for (size_t i = 0; i < n; i++)
        CHECK(p->text[i] >= (word ? '!' : ' ') && p->text[i] < 127);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clamav_packet p, again;
    char text[CLAMAV_PACKET];

    if (!clamav_packet_take(str_of(data, size), &p))
        return 0;
    check_text(&p);
    CHECK(p.kind != CLAMAV_SCANNED || p.result < CLAMAV_GONE);
    CHECK(p.kind != CLAMAV_LOAD || (p.threads >= 1 && p.threads <= CLAMAV_THREADS));
    const size_t n = clamav_packet_put(&p, text);
    CHECK(n == size && n <= sizeof text);
    CHECK(clamav_packet_take(str_of(text, n), &again));
    CHECK(again.kind == p.kind && again.result == p.result && again.size == p.size &&
          again.threads == p.threads && again.growth == p.growth && again.loaded == p.loaded &&
          again.signatures == p.signatures && strcmp(again.text, p.text) == 0 &&
          again.limits.scan_size == p.limits.scan_size && again.limits.files == p.limits.files &&
          again.limits.scan_time == p.limits.scan_time);
    return 0;
}
