/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse import imap: mail of any IMAP server. */
#include "appliance/app/import_imap.h"
#include "appliance/app/admin.h"
#include "appliance/app/import_commands.h"
#include "appliance/base/mem.h"
#include "appliance/mail/date.h"
#include <signal.h>
#include <stdio.h>

enum { JOBS_DEFAULT = 4 };

/* "2026-11-20", the day in UTC. */
static int read_since(struct import_imap *j, const char *text, struct err *err)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct str year, month, day, rest;
    uint64_t y, m, d;
    char imap[32];
    int64_t days;

    if (!str_cut(str_from(text), '-', &year, &rest) || !str_cut(rest, '-', &month, &day) ||
        str_to_u64(year, 9999, &y) != 0 || str_to_u64(month, 12, &m) != 0 || m == 0 ||
        str_to_u64(day, 31, &d) != 0)
        return ERR(err, ERR_PROTO, "--since is a day: 2026-11-20");
    snprintf(imap, sizeof imap, "%u-%s-%04u", (unsigned)d, months[m - 1], (unsigned)y);
    if (date_imap_day_parse(str_from(imap), &days) != 0)
        return ERR(err, ERR_PROTO, "--since is a day: 2026-11-20");
    j->since = days * 86400;
    return 0;
}

static int read_options(struct import_imap *j, struct err *err)
{
    const char *since = import_option(j->call, "since"), *jobs = import_option(j->call, "jobs");
    uint64_t n = JOBS_DEFAULT;

    j->folders = import_option(j->call, "folders");
    j->keep_names = import_option(j->call, "keep-names") != NULL;
    j->insecure = import_option(j->call, "insecure") != NULL;
    j->ca = import_option(j->call, "ca");
    if (jobs && (str_to_u64(str_from(jobs), IMPORT_IMAP_JOBS, &n) != 0 || n == 0))
        return ERR(err, ERR_PROTO, "--jobs is a number from 1 to %d", IMPORT_IMAP_JOBS);
    j->jobs = (unsigned)n;
    if (import_imap_url(j, j->call->args[0], err) != 0 ||
        (since && read_since(j, since, err) != 0) || import_imap_logins(j, err) != 0)
        return -1;
    return import_imap_resolve(j, err);
}

/* A folder no daemon has can be open once: its accounts come one after the other. */
static int daemon_runs(const struct import_call *call, bool *out, struct err *err)
{
    struct import_wire *w;

    if (import_wire_open(call->data, call->config, false, &w, err) != 0)
        return -1;
    *out = import_wire_daemon(w);
    import_wire_close(&w);
    return 0;
}

static int run_serial(struct import_imap *j)
{
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
    struct import_run *run;

    if (import_run_open(j->call, &run, &err) != 0)
        return import_refused(j->call, &err);
    for (size_t i = 0; i < j->n_logins; i++) {
        err_clear(&err);
        if (import_imap_account(j, &j->logins[i], run, &err) == 0)
            continue;
        if (j->n_logins == 1 || err.why == ERR_WHY_CANCELLED) {
            import_run_give_up(run, &err);
            break;
        }
        import_run_failed(run, j->logins[i].account, err.text);
    }
    return import_run_close(&run);
}

static int run(const struct import_call *call)
{
    struct import_imap j = {.call = call, .mem = arena_new(0)};
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
    bool parallel = false;
    int code;

    signal(SIGPIPE, SIG_IGN);
    if (read_options(&j, &err) != 0)
        code = import_refused(call, &err);
    else if (j.jobs > 1 && j.n_logins > 1 && daemon_runs(call, &parallel, &err) != 0)
        code = import_refused(call, &err);
    else
        code = parallel ? import_imap_parallel(&j) : run_serial(&j);
    for (size_t i = 0; i < j.n_logins; i++)
        if (j.logins[i].password)
            explicit_bzero((char *)(uintptr_t)j.logins[i].password, strlen(j.logins[i].password));
    arena_free(&j.mem);
    return code;
}

static const char *const options[] = {
    "account=", "all=",  "password-file=", "master=",    "folders=",    "since=", "ca=",
    "insecure", "jobs=", "delete",         "keep-names", "new-account", NULL};
const struct import_command import_imap = {
    "import",
    "imap",
    "imap[s]://[USER@]HOST[:PORT]",
    1,
    1,
    options,
    run,
    "Bring the mail of USER on another IMAP server to the account ADDRESS (the word imap may be "
    "left out): folders, flags, "
    "keywords, "
    "dates, subscriptions, and UIDs where the mailbox here was never used. Nothing is changed "
    "there. "
    "--all: of each line of a file, LOGIN ACCOUNT [PASSWORD], --jobs of them at once (4; one after "
    "the other where no server runs here). The password is the first line of --password-file (- is "
    "standard input); --master=NAME logs in as USER*NAME. imap:// needs STARTTLS, but on the "
    "loopback. --ca=FILE: who vouches for its certificate; --insecure: nobody, and without TLS "
    "password and mail go in clear. --folders=LIST: patterns with * and %, divided by commas; "
    "without it all are taken but those that show messages of others (Gmail's All Mail, Starred, "
    "Important) and those of other users. --since=DAY: only mail since 2026-11-20. A connection "
    "that "
    "breaks is made again; again: only what changed comes; --delete also expunges what is gone "
    "there. Folders for sent mail, drafts, junk, trash and archive go to ours, unless "
    "--keep-names."};
