/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_wire.c - an octet for the kind, then numbers of eight octets, the lowest first, as many as
 * the kind has; the rest is the text. */
#include "filters/clamav_wire.h"
#include "appliance/base/mem.h"

enum { NUMBER = 8, NUMBERS_MAX = 8 };
#define BYTES_MAX (UINT64_C(1) << 44)

static const unsigned numbers_of[] = {
    [CLAMAV_LOAD] = 7, [CLAMAV_LOADED] = 3, [CLAMAV_SCAN] = 1, [CLAMAV_SCANNED] = 1};

size_t clamav_packet_put(const struct clamav_packet *p, char *to)
{
    const struct clamav_limits *l = &p->limits;
    const uint64_t load[] = {l->scan_size,       l->file_size, l->scan_time, (uint64_t)l->recursion,
                             (uint64_t)l->files, l->encrypted, p->threads};
    const uint64_t loaded[] = {p->loaded, p->signatures, p->growth}, result[] = {p->result};
    const uint64_t *const all[] = {[CLAMAV_LOAD] = load,
                                   [CLAMAV_LOADED] = loaded,
                                   [CLAMAV_SCAN] = &p->size,
                                   [CLAMAV_SCANNED] = result};
    const size_t text = strnlen(p->text, sizeof p->text - 1);
    size_t n = 0;

    to[n++] = (char)p->kind;
    for (unsigned i = 0; i < numbers_of[p->kind]; i++)
        for (unsigned octet = 0; octet < NUMBER; octet++)
            to[n++] = (char)(all[p->kind][i] >> (8 * octet));
    memcpy(to + n, p->text, text);
    return n + text;
}

static void take_numbers(struct str in, uint64_t *out, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        out[i] = 0;
        for (unsigned octet = 0; octet < NUMBER; octet++)
            out[i] |= (uint64_t)(unsigned char)in.p[i * NUMBER + octet] << (8 * octet);
    }
}

static bool take_load(const uint64_t *n, struct clamav_packet *p)
{
    p->limits = (struct clamav_limits){.scan_size = n[0],
                                       .file_size = n[1],
                                       .scan_time = n[2],
                                       .recursion = (int64_t)n[3],
                                       .files = (int64_t)n[4],
                                       .encrypted = n[5] != 0};
    p->threads = (unsigned)n[6];
    return n[0] <= BYTES_MAX && n[1] <= BYTES_MAX && n[2] <= INT32_MAX && n[3] <= INT32_MAX &&
           n[4] <= INT32_MAX && n[5] <= 1 && n[6] >= 1 && n[6] <= CLAMAV_THREADS;
}

static bool take_fields(const uint64_t *n, struct clamav_packet *p)
{
    switch (p->kind) {
    case CLAMAV_LOAD:
        return take_load(n, p);
    case CLAMAV_LOADED:
        p->loaded = n[0] != 0;
        p->signatures = (unsigned)n[1];
        p->growth = n[2];
        return n[0] <= 1 && n[1] <= UINT32_MAX && n[2] <= BYTES_MAX;
    case CLAMAV_SCAN:
        p->size = n[0];
        return n[0] <= BYTES_MAX;
    case CLAMAV_SCANNED:
        p->result = (enum clamav_result)n[0];
        return n[0] < CLAMAV_GONE;
    }
    return false;
}

bool clamav_packet_take(struct str in, struct clamav_packet *out)
{
    uint64_t numbers[NUMBERS_MAX];

    *out = (struct clamav_packet){0};
    if (!in.n || in.n > CLAMAV_PACKET || in.p[0] < CLAMAV_LOAD || in.p[0] > CLAMAV_SCANNED)
        return false;
    out->kind = (enum clamav_packet_kind)in.p[0];
    in = str_skip(in, 1);
    const unsigned n = numbers_of[out->kind];
    if (in.n < (size_t)n * NUMBER)
        return false;
    take_numbers(in, numbers, n);
    in = str_skip(in, (size_t)n * NUMBER);
    if (in.n >= sizeof out->text || !take_fields(numbers, out))
        return false;
    const char least = out->kind == CLAMAV_SCANNED && out->result != CLAMAV_FAILED ? '!' : ' ';
    for (size_t i = 0; i < in.n; i++)
        out->text[i] = in.p[i] >= least && in.p[i] < 127 ? in.p[i] : '_';
    return true;
}
