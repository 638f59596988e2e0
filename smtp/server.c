/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* server.c - settings, start and stop. */
#include "smtp/server.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "filters/alias.h"
#include "smtp/session.h"
#include <unistd.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, REPLY_MAX = 8192 };

static const char *const early_talker_names[] = {
    [SMTP_EARLY_IGNORE] = "ignore", [SMTP_EARLY_REFUSE] = "refuse", NULL};
static const char *const unknown_local_names[] = {
    [SMTP_UNKNOWN_550] = "550", [SMTP_UNKNOWN_450] = "450", NULL};

// clang-format off
const struct ph_setting smtp_settings[] = {
    PH_SETTING(TEXT, smtp_conf, hostname, 0, "", 0, 0,
               "Name of this host in the greeting, in Received and in Message-ID. Empty: the system's."),
    PH_SETTING(TEXT, smtp_conf, banner, PH_RELOAD, "ESMTP posthouse", 0, 0,
               "What follows the host name in the greeting."),
    PH_SETTING(SIZE, smtp_conf, message_limit, PH_RELOAD, "50M", 64LL << 10, 2LL << 30,
               "Largest message taken, in octets as received; announced as SIZE."),
    PH_SETTING(INT, smtp_conf, rcpt_limit, PH_RELOAD, "100", 1, 1000,
               "Most recipients of one message (RFC 5321 4.5.3.1.8 wants at least 100). As many may be put off (4xx), by greylisting for "
               "example; each one over that counts as an error (hard_errors), and so does each that comes over a thousand too many."),
    PH_SETTING(INT, smtp_conf, mail_limit, PH_RELOAD, "1000", 0, 999999,
               "Messages that a client which hasn't logged in may begin in one session; it is told so (LIMITS MAILMAX, RFC 9422) and has to "
               "connect again then. Trusted networks (guard.trusted) may go on. 0: no limit."),
    PH_SETTING(INT, smtp_conf, rcpt_domain_limit, PH_RELOAD, "0", 0, 1000,
               "Different domains of recipients in one session (LIMITS RCPTDOMAINMAX), likewise. 0: no limit."),
    PH_SETTING(TIME, smtp_conf, greet_delay, PH_RELOAD, "0", 0, MINUTE,
               "How long other hosts wait for the greeting, to see who talks before it. Not on submission ports nor for trusted networks."),
    PH_SETTING_ENUM(smtp_conf, early_talker, PH_RELOAD, "refuse", early_talker_names,
               "What becomes of a client that talks within greet_delay, as programs do that send without listening. refuse: it gets 554."),
    PH_SETTING_ENUM(smtp_conf, unknown_local_code, PH_RELOAD, "550", unknown_local_names,
               "The answer to mail for an address in our domains that doesn't exist. 450 makes the sender try again: "
               "for the time when accounts are being moved here."),
    PH_SETTING(SIZE, smtp_conf, line_limit, PH_RELOAD, "1M", 998, 1LL << 30,
               "Longest text line in a message, if long_lines allows more than the standard's 998 octets."),
    PH_SETTING(BOOL, smtp_conf, long_lines, PH_RELOAD, "yes", 0, 0,
               "Take lines over 998 octets and keep them unchanged, as real mail has them."),
    PH_SETTING(TIME, smtp_conf, command_timeout, PH_RELOAD, "5min", SECOND, HOUR,
               "How long a client may take for one command (RFC 5321 4.5.3.2.7: 5 minutes)."),
    PH_SETTING(TIME, smtp_conf, data_timeout, PH_RELOAD, "3min", SECOND, HOUR,
               "How long a client may pause within a message."),
    PH_SETTING(TIME, smtp_conf, message_timeout, PH_RELOAD, "1h", SECOND, 24 * HOUR,
               "How long one message may take in all, however it trickles in."),
    PH_SETTING(INT, smtp_conf, received_limit, PH_RELOAD, "50", 1, 1000,
               "A message with more Received fields than this is going in circles and is refused."),
    PH_SETTING(INT, smtp_conf, field_limit, PH_RELOAD, "2000", 100, 5000,
               "A message with more header fields than this is refused. Mail that came a long way, with all that was signed on it, has about 300."),
    PH_SETTING(SIZE, smtp_conf, head_limit, PH_RELOAD, "256K", 16LL << 10, 1LL << 20,
               "Largest header block of a message from clients that neither log in nor are in relay.trusted_networks. Others may send 1M."),
    PH_SETTING(INT, smtp_conf, soft_errors, PH_RELOAD, "3", 0, 1000,
               "After so many errors in one session each further one is answered later and later."),
    PH_SETTING(INT, smtp_conf, hard_errors, PH_RELOAD, "20", 1, 1000,
               "After so many errors without a delivered message the session ends."),
    PH_SETTING(TIME, smtp_conf, error_delay, PH_RELOAD, "1s", 0, MINUTE,
               "By how much the answers to errors over soft_errors grow later, up to 10 s."),
    PH_SETTING(INT, smtp_conf, junk_commands, PH_RELOAD, "100", 1, 100000,
               "NOOP, RSET, EHLO, VRFY and the like: after so many of them between two messages each counts as an error."),
    PH_SETTING(INT, smtp_conf, auth_failures, PH_RELOAD, "3", 1, 100,
               "Failed logins in one session before it ends."),
    PH_SETTING(TIME, smtp_conf, auth_delay, PH_RELOAD, "1s", 0, MINUTE,
               "How long the answer to a failed login waits; half as much more each time."),
    PH_SETTING(BOOL, smtp_conf, sender_check, PH_RELOAD, "yes", 0, 0,
               "The envelope sender of submitted mail must belong to the account. The null sender is allowed: "
               "RFC 8098 wants it for receipts."),
    PH_SETTING(TEXT, smtp_conf, drop_fields, PH_RELOAD | PH_LIST, "Bcc, Resent-Bcc, Return-Path, Content-Length", 0, 0,
               "Header fields that are removed from mail that users and programs of this host hand in, before anybody else sees it "
               "(as Postfix's message_drop_headers). {}: none."),
    PH_SETTING(TEXT, smtp_conf, global_aliases, PH_RELOAD | PH_LIST, "", 0, 0,
               "Global aliases, besides those that posthouse policy alias keeps, which count more: { \"sales@example.com->ann@example.com\", "
               "\"@old.example->@example.com\" }; several for one name add up."),
    PH_SETTING(BOOL, smtp_conf, from_check, PH_RELOAD, "yes", 0, 0,
               "The addresses in From of submitted mail must belong to the account."),
    PH_SETTING_END};
// clang-format on

static void stopped_later(void *ctx)
{
    struct smtp_server *s = ctx;
    if (s->stopped || s->alive)
        return;
    s->stopped = true;
    timer_stop(s->drain);
    s->on_stopped(s->stop_ctx);
}

static void close_all(struct smtp_server *s, bool all)
{
    LIST_EACH(&s->sessions, it)
    {
        struct smtp_session *session = LIST_ITEM(it, struct smtp_session, link);
        if (all || !smtp_session_in_message(session))
            smtp_session_close_421(session, "4.3.2", "Shutting down", "stopping");
    }
}

static void on_drained(void *ctx)
{
    close_all(ctx, true);
}

static bool usable_name(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n < 256 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-[]:") == n;
}

static void set_hostname(struct smtp_server *s)
{
    const char *name = s->conf.smtp->hostname;
    if (name && usable_name(name))
        memcpy(s->hostname, name, strlen(name) + 1);
    else if (gethostname(s->hostname, sizeof s->hostname - 1) || !usable_name(s->hostname))
        memcpy(s->hostname, "localhost", sizeof "localhost");
}

static void on_ban(struct guard_watch *w)
{
    struct smtp_server *s = CONTAINER_OF(w, struct smtp_server, watch);
    LIST_EACH(&s->sessions, it)
    {
        struct smtp_session *session = LIST_ITEM(it, struct smtp_session, link);
        if (!session->account && !smtp_session_in_message(session) &&
            guard_is_banned(&session->guard))
            smtp_session_close_421(session, "4.7.0", "Your address is blocked", "banned");
    }
}

static void set_aliases(struct smtp_server *s)
{
    struct err err;
    alias_set_free(&s->fixed);
    if (alias_set_parse(str_from(s->conf.smtp->global_aliases), &s->fixed,
                        &err)) /* checked before */
        s->fixed = NULL;
}

struct smtp_server *smtp_server_new(const struct smtp_server_conf *conf)
{
    struct smtp_server *s = MEM_NEW(struct smtp_server);
    s->conf = *conf;
    snapshot_ref(s->conf.snapshot);
    if (s->conf.tls)
        tls_ctx_ref(s->conf.tls);
    set_hostname(s);
    set_aliases(s);
    bool own = conf->origin && usable_name(conf->origin);
    memcpy(s->origin, own ? conf->origin : s->hostname,
           strlen(own ? conf->origin : s->hostname) + 1);
    s->conf.origin = s->origin;
    list_init(&s->sessions);
    s->watch.on_ban = on_ban;
    guard_watch_add(s->conf.guard, &s->watch);
    smtp_memory_init(s);
    s->rooms = map_new();
    buf_init(&s->scratch, REPLY_MAX);
    s->drain = timer_new(conf->loop, on_drained, s);
    s->defer = (struct loop_defer){.fn = stopped_later, .ctx = s};
    return s;
}

void smtp_server_set_conf(struct smtp_server *s, const struct smtp_conf *conf,
                          const struct relay_conf *relay, struct snapshot *snapshot,
                          struct tls_ctx *tls)
{
    struct snapshot *old = s->conf.snapshot;
    struct tls_ctx *old_tls = s->conf.tls;
    s->conf.smtp = conf;
    set_aliases(s);
    s->conf.relay = relay;
    s->conf.snapshot = snapshot_ref(snapshot);
    s->conf.tls = tls ? tls_ctx_ref(tls) : NULL;
    snapshot_unref(&old);
    tls_ctx_unref(&old_tls);
}

void smtp_server_end_account(struct smtp_server *s, struct str account)
{
    LIST_EACH(&s->sessions, it)
    {
        struct smtp_session *session = LIST_ITEM(it, struct smtp_session, link);
        if (!session->account || !address_fits(str_from(session->account), account))
            continue;
        session->revoked = true;
        if (!smtp_session_in_message(session))
            smtp_session_close_421(session, "4.7.0", "Your login is no longer valid", "revoked");
    }
}

unsigned smtp_server_sessions(const struct smtp_server *s)
{
    return s->open;
}

void smtp_server_stop(struct smtp_server *s, uint64_t drain_ms, void (*on_stopped)(void *ctx),
                      void *ctx)
{
    s->stopping = true;
    s->on_stopped = on_stopped;
    s->stop_ctx = ctx;
    close_all(s, drain_ms == 0);
    if (!s->alive)
        loop_defer(s->conf.loop, &s->defer);
    else if (s->open)
        timer_start(s->drain, drain_ms);
}

void smtp_server_free(struct smtp_server **sp)
{
    struct smtp_server *s = *sp;
    if (!s)
        return;
    CHECK(!s->alive);
    guard_watch_del(&s->watch);
    loop_defer_cancel(&s->defer);
    smtp_quota_free(s);
    alias_set_free(&s->fixed);
    buf_fini(&s->scratch);
    timer_free(&s->drain);
    tls_ctx_unref(&s->conf.tls);
    snapshot_unref(&s->conf.snapshot);
    mem_free(s);
    *sp = NULL;
}
