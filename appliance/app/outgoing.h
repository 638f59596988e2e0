/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* outgoing.h - what brings mail to other hosts, as one part of the running server: delivery of the
 * queue, its HTTP client, keys of SRS, reports about the day. Floor 6 (app). Threads: loop;
 * outgoing_open before it turns, after the sandbox. Where relay.enabled is no, or the appliance is
 * sealed, there is none.
 */
#ifndef PH_APP_OUTGOING_H
#define PH_APP_OUTGOING_H
#include "appliance/app/config.h"
#include "appliance/app/datadir.h"
#include "smtp/queue/delivery.h"
#include "smtp/queue/srs.h"

struct outgoing;
struct filters;
struct smtp_server;
struct outgoing_env {
    const struct config *config;
    struct snapshot *snapshot; /* that it lies in */
    struct datadir *data;
    struct loop *loop;
    struct store *store;
    struct directory *directory;
    struct resolver *resolver;
};
int outgoing_open(const struct outgoing_env *env, struct outgoing **out, struct err *err)
    __attribute__((warn_unused_result));
/* Who looks at reports that leave; until then nobody does. */
void outgoing_set_filters(struct outgoing *o, struct filters *f);
/* Reports begin, by the way out of that server, which is stopped before this is freed. */
void outgoing_begin_reports(struct outgoing *o, struct smtp_server *server);
void outgoing_reports_now(struct outgoing *o); /* aggregate_now() */
void outgoing_set_conf(struct outgoing *o, const struct config *config, struct snapshot *snapshot);
const struct srs_conf *outgoing_srs(const struct outgoing *o); /* lives as long as it */
struct delivery *outgoing_delivery(const struct outgoing *o);
/* Attempts under way may end until drain_ms are over. on_stopped later on the loop. */
void outgoing_stop(struct outgoing *o, uint64_t drain_ms, void (*on_stopped)(void *ctx), void *ctx);
void outgoing_free(struct outgoing **o); /* NULL is fine; after on_stopped, or never stopped */

/* outgoing_keys.c: FILE srs.key of the data folder, made on first use: a secret a line, the first
 * signs. Memory from a. */
int outgoing_srs_keys(struct datadir *d, struct arena *a, struct srs_conf *out, struct err *err)
    __attribute__((warn_unused_result));
#endif
