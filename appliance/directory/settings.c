/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/directory.h"
#include "appliance/sql/sql_url.h"

static const char *const source_names[] = {[DIRECTORY_FROM_OWN] = "own",
                                           [DIRECTORY_FROM_MYSQL] = "mysql",
                                           [DIRECTORY_FROM_FILES] = "files",
                                           [DIRECTORY_FROM_SYSTEM] = "system",
                                           NULL};
static const char *const preset_names[] = {
    [DIRECTORY_FLURDY] = "flurdy", [DIRECTORY_POSTFIXADMIN] = "postfixadmin", NULL};
static const char *const upgrade_names[] = {[DIRECTORY_UPGRADE_AUTO] = "auto",
                                            [DIRECTORY_UPGRADE_YES] = "yes",
                                            [DIRECTORY_UPGRADE_NO] = "no",
                                            NULL};

// clang-format off
const struct ph_setting directory_settings[] = {
    PH_SETTING(INT, directory_conf, auth_threads, 0, "2", 1, 64,
               "Passwords checked at once. Each check of a yescrypt hash takes 16 MiB while it runs."),
    PH_SETTING(INT, directory_conf, alias_depth, 0, "20", 1, 100,
               "Longest chain of aliases that is followed."),
    PH_SETTING(INT, directory_conf, alias_targets, 0, "1000", 1, 100000,
               "Most destinations that one address may have."),
    PH_SETTING(TEXT, directory_conf, tag_delimiter, 0, "+", 0, 0,
               "What separates a tag from the user in user+tag@domain. One character, or empty for no tags."),
    PH_SETTING(TIME, directory_conf, auth_cache, 0, "1h", 0, 86400000,
               "How long a successful login is remembered, so that the next one costs no hashing. A changed "
               "password counts at once. 0 remembers nothing."),
    PH_SETTING(TIME, directory_conf, auth_cache_stale, 0, "1d", 0, 30LL * 86400000,
               "While the database can't be asked, who logged in within this time with the same password still gets in. "
               "0: nobody does."),
    PH_SETTING(TIME, directory_conf, refusal_time, 0, "500ms", 10, 10000,
               "A failed login is answered so long after it came, or twice as long and so on: more than any hash takes, so that the "
               "time doesn't tell which users there are. When one has taken longer, all take as long for ten minutes. Other delays are counted from the same moment."),
    PH_SETTING(BOOL, directory_conf, scram_verifiers, 0, "yes", 0, 0,
               "Keep what SCRAM-SHA-256 needs of each password, beside its hash: made when the password is set, or at a login "
               "that sends it."),
    PH_SETTING(INT, directory_conf, scram_iterations, 0, "10000", SCRAM_ITERATIONS_MIN, SCRAM_ITERATIONS_MAX,
               "Iterations of new verifiers: more cost a thief of the database more, and each login's device too."),
    PH_SETTING_ENUM(directory_conf, source, 0, "own", source_names,
               "Where domains, users and aliases are. own: our tables, which commands manage. mysql: the tables of a mail system "
               "that stands (Postfix and Dovecot after Flurdy's guide, PostfixAdmin), used as they are. files: passwd/DOMAIN with "
               "lines user:hash and aliases/DOMAIN with lines user:destination. system: the users of this host, in main.origin, "
               "with passwords checked by PAM service posthouse."),
    PH_SETTING(SECRET, directory_conf, url, 0, "", 0, 0,
               "mysql: the database, mysql://user[:password]@host[:port]/database or mysql://user@/database?socket=/path. "
               "A user who may only SELECT is enough."),
    PH_SETTING(SECRET, directory_conf, changes, 0, "", 0, 0,
               "mysql: the same for a user who may change rows. Empty: the directory is read-only, and commands say so."),
    PH_SETTING(SECRET, directory_conf, password, 0, "", 0, 0,
               "mysql: the password where a URL has none. file:/path reads it from a file."),
    PH_SETTING(TEXT, directory_conf, ca, 0, "", 0, 0,
               "mysql: file with the authorities that sign the server's certificate. Empty: the system's."),
    PH_SETTING_ENUM(directory_conf, tls, 0, "auto", sql_tls_names,
               "mysql: auto demands TLS and the server's name in its certificate, unless the server is on this machine."),
    PH_SETTING(TIME, directory_conf, timeout, 0, "5s", 100, 60000,
               "mysql: how long the server may take to be reached and to answer. Then mail is deferred and tried later."),
    PH_SETTING_ENUM(directory_conf, preset, 0, "flurdy", preset_names,
               "mysql: what the tables look like. flurdy: domains, users, aliases, and relocated, backups and relays where they "
               "exist. postfixadmin: domain, mailbox, alias, alias_domain."),
    PH_SETTING(TEXT, directory_conf, query_domain, 0, "", 0, 0,
               "mysql: replaces the preset's query. A row when domain %d is hosted, with its transport (may be ''). In queries %s "
               "is the address, %u what is before its @, %d its domain; they become bound parameters, in quotes or not."),
    PH_SETTING(TEXT, directory_conf, query_user, 0, "", 0, 0,
               "mysql: a row when user %s exists. Its first column is the address as it is stored, or what is before its @; without it (SELECT 1) "
               "names outside ASCII don't exist, since the database may take another's letters for theirs."),
    PH_SETTING(TEXT, directory_conf, query_alias, 0, "", 0, 0,
               "mysql: the destinations of alias %s, separated by commas or in several rows. A catch-all is asked for as @domain."),
    PH_SETTING(TEXT, directory_conf, query_login, 0, "", 0, 0,
               "mysql: password hash and quota (may be '') of user %s, and the address as it is stored (or what is before its @), as for "
               "query_user."),
    PH_SETTING(TEXT, directory_conf, query_domains, 0, "", 0, 0,
               "mysql: the hosted domains, the first one first; two rows are enough."),
    PH_SETTING(TEXT, directory_conf, query_domain_user, 0, "", 0, 0,
               "mysql: the first user of domain %d, by name."),
    PH_SETTING(TEXT, directory_conf, query_users, 0, "", 0, 0,
               "mysql: the addresses of all users."),
    PH_SETTING(TEXT, directory_conf, query_moved, 0, "", 0, 0,
               "mysql: the new address of one that has moved, %s: senders are told by 551."),
    PH_SETTING(TEXT, directory_conf, query_backup, 0, "", 0, 0,
               "mysql: a row when we are backup for domain %d: its mail is taken and passed on."),
    PH_SETTING(TEXT, directory_conf, query_relay, 0, "", 0, 0,
               "mysql: a row when mail for %s in such a domain is to be taken."),
    PH_SETTING(TEXT, directory_conf, query_relays, 0, "", 0, 0,
               "mysql: a row when query_relay knows any address of domain %d; without one all are taken."),
    PH_SETTING(TEXT, directory_conf, query_set_hash, 0, "", 0, 0,
               "mysql: puts hash %h in the place of hash %o of user %s; for upgrade_hashes."),
    PH_SETTING_ENUM(directory_conf, upgrade_hashes, 0, "auto", upgrade_names,
               "Replace a password hash of an old scheme by yescrypt at the next login. auto: in our own tables, not in those of "
               "others, whose programs may not read it."),
    PH_SETTING(TEXT, directory_conf, folder, 0, "", 0, 0,
               "files: the folder with passwd/ and aliases/. Changes count within a second. While a line can't be read, all stays as it was "
               "before; at a start that line is left out, and mail for names that aren't found in its domain waits."),
    PH_SETTING(INT, directory_conf, uid_min, 0, "1000", 0, 4294967294,
               "system: the lowest uid of a user who gets mail."),
    PH_SETTING(INT, directory_conf, uid_max, 0, "59999", 0, 4294967294,
               "system: the highest."),
    PH_SETTING_END
};
// clang-format on
