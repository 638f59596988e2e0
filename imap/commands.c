/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* All commands: which is legal when, and the functions of its steps (command.h). */
#include "appliance/base/clock.h"
#include "appliance/base/metrics.h"
#include "imap/cmd.h"
#include "imap/copy.h"
#include "imap/counts.h"
#include "imap/expunge.h"
#include "imap/fetch.h"
#include "imap/search.h"
#include "imap/session.h"
#include "imap/store_flags.h"

enum {
    ANY = IMAP_PREAUTH | IMAP_AUTH | IMAP_SELECTED,
    PRE = IMAP_PREAUTH,
    IN = IMAP_AUTH | IMAP_SELECTED, /* logged in */
    SEL = IMAP_SELECTED,
    MSG = IMAP_USES_SEQS | IMAP_UID_TOO,
};

// clang-format off
static const struct imap_command_def commands[] = {
/*    name            legal  flags                               parse (loop)        work (store)  write (commit)  finish (loop) */
    { "NOOP",         ANY,   0,                                  noop_parse,         NULL,         NULL,           NULL },
    { "CAPABILITY",   ANY,   0,                                  capability_parse,   NULL,         NULL,           NULL },
    { "ID",           ANY,   0,                                  id_parse,           NULL,         NULL,           NULL },
    { "LOGOUT",       ANY,   0,                                  logout_parse,       NULL,         NULL,           NULL },
    { "STARTTLS",     PRE,   IMAP_NO_PIPELINE,                   starttls_parse,     NULL,         NULL,           NULL },
    { "LOGIN",        PRE,   0,                                  login_parse,        login_work,   login_write,    login_finish },
    { "AUTHENTICATE", PRE,   0,                                  authenticate_parse, login_work,   login_write,    login_finish },
    { "ENABLE",       IN,    0,                                  enable_parse,       NULL,         NULL,           NULL },
    { "NAMESPACE",    IN,    0,                                  namespace_parse,    NULL,         NULL,           NULL },
    { "LIST",         IN,    0,                                  list_parse,         list_work,    NULL,           NULL },
    { "LSUB",         IN,    0,                                  lsub_parse,         list_work,    NULL,           NULL },
    { "STATUS",       IN,    0,                                  status_parse,       status_work,  NULL,           NULL },
    { "SELECT",       IN,    IMAP_CLOSES,                        select_parse,       select_work,  select_write,   select_finish },
    { "EXAMINE",      IN,    IMAP_CLOSES,                        examine_parse,      select_work,  select_write,   select_finish },
    { "APPEND",       IN,    0,                                  append_parse,       append_work,  append_write,   append_finish },
    { "IDLE",         IN,    0,                                  idle_parse,         NULL,         NULL,           idle_finish },
    { "CREATE",       IN,    0,                                  create_parse,       NULL,         mailbox_write,  mailbox_finish },
    { "DELETE",       IN,    0,                                  delete_parse,       NULL,         mailbox_write,  mailbox_finish },
    { "RENAME",       IN,    0,                                  rename_parse,       NULL,         mailbox_write,  mailbox_finish },
    { "SUBSCRIBE",    IN,    0,                                  subscribe_parse,    NULL,         mailbox_write,  mailbox_finish },
    { "UNSUBSCRIBE",  IN,    0,                                  unsubscribe_parse,  NULL,         mailbox_write,  mailbox_finish },
    { "GETQUOTA",     IN,    0,                                  getquota_parse,     quota_work,   NULL,           NULL },
    { "GETQUOTAROOT", IN,    0,                                  getquotaroot_parse, quota_work,   NULL,           NULL },
    { "SETQUOTA",     IN,    0,                                  setquota_parse,     NULL,         NULL,           NULL },
    { "CHECK",        SEL,   0,                                  noop_parse,         NULL,         NULL,           NULL },
    { "CLOSE",        SEL,   IMAP_CLOSES,                        close_parse,        NULL,         close_write,    NULL },
    { "UNSELECT",     SEL,   IMAP_CLOSES,                        unselect_parse,     NULL,         NULL,           NULL },
    { "FETCH",        SEL,   MSG,                                fetch_parse,        fetch_work,   fetch_write,    fetch_finish },
    { "SEARCH",       SEL,   MSG,                                search_parse,       search_work,  NULL,           search_finish },
    { "STORE",        SEL,   MSG | IMAP_NEEDS_WRITE,             store_parse,        store_work,   store_write,    store_finish },
    { "COPY",         SEL,   MSG,                                copy_parse,         copy_work,    copy_write,     copy_finish },
    { "MOVE",         SEL,   IMAP_UID_TOO | IMAP_NEEDS_WRITE,    move_parse,         copy_work,    copy_write,     copy_finish },
    { "EXPUNGE",      SEL,   IMAP_UID_TOO | IMAP_NEEDS_WRITE,    expunge_parse,      NULL,         expunge_write,  expunge_finish },
};
// clang-format on

/* ---- counting commands: those of the table, and what is none of ours */
enum { UNKNOWN = ARRAY_LEN(commands), COUNTED, RESULTS = 3 };

static const char *counted_name(size_t i)
{
    return i == UNKNOWN ? "unknown" : commands[i].name;
}

static const char *result_name(size_t i)
{
    static const char *const names[RESULTS] = {"ok", "no", "bad"};
    return names[i];
}

METRIC(counted, COUNTED *RESULTS, .type = METRIC_COUNTER, .name = "posthouse_imap_commands_total",
       .help = "Commands by name and tagged answer.",
       .labels = {{"command", counted_name, COUNTED}, {"result", result_name, RESULTS}});

void imap_count_command(const struct imap_command *cmd)
{
    const struct imap_command_def *def = cmd->def;
    bool known = def >= commands && def < commands + ARRAY_LEN(commands);
    size_t i = known ? (size_t)(def - commands) : UNKNOWN;
    size_t result = cmd->status[0] == 'O' ? 0 : cmd->status[0] == 'N' ? 1 : 2;

    metric_inc(&counted, i * RESULTS + result);
    if (def->finish != idle_finish)
        imap_count_time(clock_mono_us() - cmd->begun_us);
}

const struct imap_command_def *imap_command_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (str_ieq(name, str_from(commands[i].name)))
            return &commands[i];
    return NULL;
}
