/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/counts.h"
#include "appliance/base/metrics.h"

enum { LOGINS = IMAP_LOGIN_UNDECIDED + 1 };

static const char *login_name(size_t i)
{
    static const char *const names[LOGINS] = {"ok", "failed", "limit", "undecided"};
    return names[i];
}

static const uint64_t command_us[] = {250,   500,    1000,   2500,   5000,    10000,   25000,
                                      50000, 100000, 250000, 500000, 1000000, 5000000, 30000000};

METRIC(sessions, 1, .type = METRIC_GAUGE, .name = "posthouse_imap_sessions",
       .help = "IMAP sessions that are open.");
METRIC(idle, 1, .type = METRIC_GAUGE, .name = "posthouse_imap_idle_sessions",
       .help = "IMAP sessions within IDLE.");
METRIC_DYNAMIC(ended, 32, .type = METRIC_COUNTER, .name = "posthouse_imap_sessions_ended_total",
               .help = "IMAP sessions that ended, by why.", .labels = {{.name = "why"}});
METRIC(logins, LOGINS, .type = METRIC_COUNTER, .name = "posthouse_imap_logins_total",
       .help = "Logins by their result.", .labels = {{"result", login_name, LOGINS}});
METRIC_BUCKETS(command_time, command_us, .name = "posthouse_imap_command_seconds", .scale = 6,
               .help = "From a command's line to its tagged answer; without IDLE.");

void imap_count_open(void)
{
    metric_inc(&sessions, 0);
}

void imap_count_end(const char *why)
{
    metric_dec(&sessions, 0);
    metric_inc(&ended, metric_find(&ended, why, NULL));
}

void imap_count_idle(bool begins)
{
    metric_add(&idle, 0, begins ? 1 : (uint64_t)-1);
}

void imap_count_login(enum imap_login_result result)
{
    metric_inc(&logins, result);
}

void imap_count_time(uint64_t us)
{
    metric_observe(&command_time, us);
}
