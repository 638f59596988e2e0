/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* doctor_kept.c - is there room for mail that is held, and in quarantine? */
#include "appliance/app/doctor.h"
#include "filters/registry.h"

enum { FULL_PERCENT = 80 };

struct room {
    const char *what, *name; /* in the answer of `queue totals` */
    uint64_t count_max, bytes_max;
};

static uint64_t percent(json_int_t is, uint64_t max)
{
    return max ? (uint64_t)((double)is * 100 / (double)max) : 100;
}

static bool look(struct doctor *d, const json_t *totals, const struct room *room)
{
    const json_t *o = json_object_get(totals, room->name);
    json_int_t n = json_integer_value(json_object_get(o, "messages"));
    uint64_t count = percent(n, room->count_max);
    uint64_t bytes = percent(json_integer_value(json_object_get(o, "octets")), room->bytes_max);
    bool by_count = count >= bytes;
    const char *setting = by_count ? "count" : "bytes";
    const char *prefix = room->name[0] == 'h' ? "hold" : "quarantine";

    if ((by_count ? count : bytes) <= FULL_PERCENT)
        return true;
    doctor_say(d, DOCTOR_WARN,
               room->name[0] == 'h'
                   ? "see what the stage that holds it is waiting for (posthouse queue list), or "
                     "raise the setting; when it is full, mail gets 451"
                   : "look through it (posthouse quarantine list, delete), or raise the setting; "
                     "when it is full, mail gets 451",
               "%lld messages are %s: %llu %% of filters.%s_%s", (long long)n, room->what,
               (unsigned long long)(by_count ? count : bytes), prefix, setting);
    return false;
}

void doctor_kept(struct doctor *d)
{
    static const char *const words[] = {"queue", "totals", NULL};
    const struct filters_conf *conf = config_extra(d->config, "filters");
    json_t *totals = conf ? doctor_ask(d, words, NULL) : NULL;

    if (!totals)
        return;
    const struct room rooms[] = {
        {"held for a stage", "held", (uint64_t)conf->hold_count, conf->hold_bytes},
        {"in quarantine", "quarantine", (uint64_t)conf->quarantine_count, conf->quarantine_bytes}};
    bool well = look(d, totals, &rooms[0]);
    if (look(d, totals, &rooms[1]) && well)
        doctor_say(d, DOCTOR_OK, "", "there is room for held mail and for quarantine");
    json_decref(totals);
}
