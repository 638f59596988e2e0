/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/counts.h"
#include "appliance/base/clock.h"
#include "appliance/base/metrics.h"

enum { ACCEPTED, DEFERRED, REFUSED, RESULTS, LOGINS = SMTP_LOGIN_UNDECIDED + 1 };

static const char *result_name(size_t i)
{
    static const char *const names[RESULTS] = {"accepted", "deferred", "refused"};
    return names[i];
}

static const char *login_name(size_t i)
{
    static const char *const names[LOGINS] = {"ok", "failed", "undecided"};
    return names[i];
}

static const uint64_t message_us[] = {1000,   2500,   5000,    10000,   25000,    50000,    100000,
                                      250000, 500000, 1000000, 5000000, 30000000, 300000000};
static const uint64_t session_ms[] = {10, 50, 100, 500, 1000, 5000, 30000, 300000, 3600000};
static const uint64_t message_octets[] = {1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10,
                                          1 << 20, 4 << 20, 16 << 20, 64 << 20};

METRIC(sessions, 1, .type = METRIC_GAUGE, .name = "posthouse_smtp_sessions",
       .help = "SMTP sessions that are open.");
METRIC_DYNAMIC(ended, 32, .type = METRIC_COUNTER, .name = "posthouse_smtp_sessions_ended_total",
               .help = "SMTP sessions that ended, by why.", .labels = {{.name = "why"}});
METRIC_BUCKETS(session_time, session_ms, .name = "posthouse_smtp_session_seconds", .scale = 3,
               .help = "How long SMTP sessions were open.");
METRIC_DYNAMIC(
    refusals, 128, .type = METRIC_COUNTER, .name = "posthouse_smtp_refusals_total",
    .help = "Commands, recipients (RCPT) and messages refused, by enhanced status (RFC 3463).",
    .labels = {{.name = "command"}, {.name = "status"}});
METRIC(logins, LOGINS, .type = METRIC_COUNTER, .name = "posthouse_smtp_logins_total",
       .help = "Logins by their result.", .labels = {{"result", login_name, LOGINS}});
METRIC(messages, RESULTS, .type = METRIC_COUNTER, .name = "posthouse_smtp_messages_total",
       .help = "Messages received whole, by the reply.",
       .labels = {{"result", result_name, RESULTS}});
METRIC(recipients, 1, .type = METRIC_COUNTER, .name = "posthouse_smtp_message_recipients_total",
       .help = "Recipients of accepted messages.");
METRIC_BUCKETS(message_size, message_octets, .name = "posthouse_smtp_message_bytes",
               .help = "Size of accepted messages.");
METRIC_BUCKETS(message_time, message_us, .name = "posthouse_smtp_message_seconds", .scale = 6,
               .help = "From MAIL until the message was on stable storage.");

METRIC(memory, 1, .type = METRIC_GAUGE, .name = "posthouse_smtp_memory_bytes",
       .help = "Memory held by messages that are arriving.");
METRIC(memory_refusals, 1, .type = METRIC_COUNTER, .name = "posthouse_smtp_memory_refusals_total",
       .help = "Messages of strangers refused for now, as those that were arriving held too much "
               "memory.");

void smtp_count_memory(uint64_t held)
{
    metric_set(&memory, 0, held);
}

void smtp_count_memory_refusal(void)
{
    metric_inc(&memory_refusals, 0);
}

static const char *kept_name(size_t i)
{
    return i ? "held" : "quarantine";
}

METRIC(full, 2, .type = METRIC_COUNTER, .name = "posthouse_smtp_kept_full_total",
       .help = "Messages deferred because the quarantine, or the room for held mail, is full.",
       .labels = {{"what", kept_name, 2}});

void smtp_count_full(bool held)
{
    metric_inc(&full, held);
}

void smtp_count_open(void)
{
    metric_inc(&sessions, 0);
}

void smtp_count_end(const struct smtp_session *s, const char *why)
{
    metric_dec(&sessions, 0);
    metric_inc(&ended, metric_find(&ended, why, NULL));
    metric_observe(&session_time, loop_now_ms(s->server->conf.loop) - s->opened_ms);
}

void smtp_count_refusal(const char *verb, const struct smtp_refusal *why)
{
    metric_inc(&refusals, metric_find(&refusals, verb, why->status));
}

void smtp_count_login(enum smtp_login_result result)
{
    metric_inc(&logins, result);
}

void smtp_count_accepted(const struct smtp_session *s)
{
    metric_inc(&messages, ACCEPTED);
    metric_add(&recipients, 0, s->tx.rcpts);
    metric_observe(&message_size, body_sink_size(s->tx.sink));
    metric_observe(&message_time, clock_mono_us() - s->tx.began_us);
}

void smtp_count_refused(unsigned code)
{
    metric_inc(&messages, code < 500 ? DEFERRED : REFUSED);
}
