/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_wire.h - what the server and its scanner (isolation = process) say to each other: one
 * packet each time, of a fixed order of numbers and one text. Floor 4 (filters). Threads: any;
 * pure. A request comes with descriptors: of the message (SCAN) and of the socket that its one
 * answer goes to. What the scanner says is believed as far as it says it well: it has looked at the
 * worst of the mail. */
#ifndef PH_FILTERS_CLAMAV_WIRE_H
#define PH_FILTERS_CLAMAV_WIRE_H
#include "appliance/base/str.h"
#include "filters/clamav_engine.h"

enum { CLAMAV_PACKET = 512, CLAMAV_THREADS = 64 };
enum clamav_packet_kind {
    CLAMAV_LOAD = 1, /* first of all, once */
    CLAMAV_LOADED,
    CLAMAV_SCAN,
    CLAMAV_SCANNED
};
struct clamav_packet {
    enum clamav_packet_kind kind;
    struct clamav_limits limits; /* LOAD */
    unsigned threads;            /* LOAD: 1 to CLAMAV_THREADS */
    bool loaded;                 /* LOADED */
    unsigned signatures;         /* LOADED */
    uint64_t growth;             /* LOADED */
    uint64_t size;               /* SCAN: of the message */
    enum clamav_result result;   /* SCANNED; never CLAMAV_GONE */
    char text[200]; /* LOADED: why not; SCANNED: as of clamav_engine_scan(); printable ASCII */
};
/* How many octets, at most CLAMAV_PACKET. */
size_t clamav_packet_put(const struct clamav_packet *p, char *to);
/* False: it is none. */
bool clamav_packet_take(struct str in, struct clamav_packet *out);
#endif
