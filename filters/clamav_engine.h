/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_engine.h - libclamav: an engine loaded, used, freed. Nobody else includes clamav.h of that
 * library. Floor 4 (filters). Threads: any, blocking; an engine is used by several at once, and
 * freed when nobody uses it. In a program built without libclamav there are no engines. */
#ifndef PH_FILTERS_CLAMAV_ENGINE_H
#define PH_FILTERS_CLAMAV_ENGINE_H
#include "filters/stage.h"

struct clamav_limits {
    uint64_t scan_size, file_size; /* bytes looked at: of one message, of one part of it */
    uint64_t scan_time;            /* ms */
    int64_t recursion, files;
    bool encrypted; /* what is encrypted is reported */
};
struct clamav_engine;
struct clamav_load {
    const char *folder, *temporary; /* signatures; where parts of messages are unpacked */
    struct clamav_limits limits;
    bool (*go_on)(void *ctx); /* asked again and again while it loads; false: gives up */
    void *ctx;
    /* the result */
    struct clamav_engine *engine;
    unsigned signatures;
    uint64_t growth; /* of the process at the peak */
    char why[200];   /* it failed */
};
bool clamav_engine_built(void);
int clamav_engine_init(char *why, size_t room);    /* once a process, before all else */
int clamav_engine_load(struct clamav_load *l);     /* -1: no engine, see why */
void clamav_engine_free(struct clamav_engine **e); /* its memory goes back to the system */

enum clamav_result {
    CLAMAV_CLEAN,
    CLAMAV_INFECTED,
    CLAMAV_ENCRYPTED, /* a part is, and nothing else was found */
    CLAMAV_OVERSIZED, /* a limit was reached, and nothing was found before */
    CLAMAV_FAILED,
    /* Never of an engine, but of its process (clamav_child.h). */
    CLAMAV_GONE,   /* it died over this message, or others it was at */
    CLAMAV_UNASKED /* it had died before */
};
/* name: of what was found, or why it failed; printable ASCII without blanks if found. */
enum clamav_result clamav_engine_scan(const struct clamav_engine *e, const struct ph_view *v,
                                      char *name, size_t room);
#endif
