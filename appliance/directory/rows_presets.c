/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/rows_sql.h"

enum { VARIANTS = 4 };

// clang-format off
static const struct ask {
    const char *name, *letters;
    bool optional;
} asks[ROWS_ASKS] = {
    [ROWS_DOMAIN] = {"query_domain", "d", false},
    [ROWS_USER] = {"query_user", "sud", false},
    [ROWS_ALIAS] = {"query_alias", "sud", false},
    [ROWS_LOGIN] = {"query_login", "sud", false},
    [ROWS_DOMAINS] = {"query_domains", "", false},
    [ROWS_DOMAIN_USER] = {"query_domain_user", "d", false},
    [ROWS_USERS] = {"query_users", "", false},
    [ROWS_MOVED] = {"query_moved", "sud", true},
    [ROWS_BACKUP] = {"query_backup", "d", true},
    [ROWS_RELAY] = {"query_relay", "sud", true},
    [ROWS_RELAYS] = {"query_relays", "d", true},
    [ROWS_SET_HASH] = {"query_set_hash", "sudho", false},
};

/* Flurdy's tables, also our own. Some have lost `clear` for good reasons, some have no quota. */
static const char *const flurdy[ROWS_ASKS][VARIANTS] = {
    [ROWS_DOMAIN] = {"SELECT transport FROM domains WHERE domain = %d AND enabled = 1",
                     "SELECT '' FROM domains WHERE domain = %d AND enabled = 1"},
    [ROWS_USER] = {"SELECT id FROM users WHERE id = %s AND enabled = 1"},
    [ROWS_ALIAS] = {"SELECT destination, mail FROM aliases WHERE mail = %s AND enabled = 1"},
    [ROWS_LOGIN] = {"SELECT CASE WHEN crypt <> '' THEN crypt WHEN clear <> '' THEN '{PLAIN}' || clear"
                    " ELSE '' END, quota, id FROM users WHERE id = %s AND enabled = 1",
                    "SELECT CASE WHEN crypt <> '' THEN crypt WHEN clear <> '' THEN '{PLAIN}' || clear"
                    " ELSE '' END, '', id FROM users WHERE id = %s AND enabled = 1",
                    "SELECT crypt, quota, id FROM users WHERE id = %s AND enabled = 1",
                    "SELECT crypt, '', id FROM users WHERE id = %s AND enabled = 1"},
    [ROWS_DOMAINS] = {"SELECT domain FROM domains WHERE enabled = 1 ORDER BY pkid LIMIT 2",
                      "SELECT domain FROM domains WHERE enabled = 1 ORDER BY domain LIMIT 2"},
    [ROWS_DOMAIN_USER] = {"SELECT id FROM users WHERE enabled = 1 AND id LIKE '%%@%d' ORDER BY id"
                          " LIMIT 1"},
    [ROWS_USERS] = {"SELECT id FROM users WHERE enabled = 1"},
    [ROWS_MOVED] = {"SELECT newadr FROM relocated WHERE oldadr = %s"},
    [ROWS_BACKUP] = {"SELECT transport FROM backups WHERE domain = %d",
                     "SELECT 1 FROM backups WHERE domain = %d"},
    [ROWS_RELAY] = {"SELECT status FROM relays WHERE recipient = %s OR recipient = '@%d'"},
    [ROWS_RELAYS] = {"SELECT 1 FROM relays WHERE recipient LIKE '%%@%d' LIMIT 1"},
    [ROWS_SET_HASH] = {"UPDATE users SET crypt = %h, clear = '' WHERE id = %s AND"
                       " (crypt = %o OR (crypt = '' AND '{PLAIN}' || clear = %o))",
                       "UPDATE users SET crypt = %h WHERE id = %s AND crypt = %o"},
};

/* PostfixAdmin's. Of each mailbox it keeps an alias to itself; a domain with backupmx is another
 * host's; "ALL" is a mark of its own. */
static const char *const postfixadmin[ROWS_ASKS][VARIANTS] = {
    [ROWS_DOMAIN] = {"SELECT transport FROM domain WHERE domain = %d AND active = 1 AND backupmx = 0",
                     "SELECT '' FROM domain WHERE domain = %d AND active = 1"},
    [ROWS_USER] = {"SELECT username FROM mailbox WHERE username = %s AND active = 1"},
    [ROWS_ALIAS] = {"SELECT goto, address FROM alias WHERE address = %s AND active = 1 UNION ALL"
                    " SELECT '@' || target_domain, '@' || alias_domain FROM alias_domain"
                    " WHERE %u = '' AND alias_domain = %d AND active = 1",
                    "SELECT goto, address FROM alias WHERE address = %s AND active = 1"},
    [ROWS_LOGIN] = {"SELECT password, quota, username FROM mailbox WHERE username = %s AND active = 1"},
    [ROWS_DOMAINS] = {"SELECT domain FROM domain WHERE active = 1 AND backupmx = 0 AND domain <> 'ALL'"
                      " ORDER BY created, domain LIMIT 2",
                      "SELECT domain FROM domain WHERE active = 1 AND domain <> 'ALL'"
                      " ORDER BY domain LIMIT 2"},
    [ROWS_DOMAIN_USER] = {"SELECT username FROM mailbox WHERE domain = %d AND active = 1"
                          " ORDER BY username LIMIT 1"},
    [ROWS_USERS] = {"SELECT username FROM mailbox WHERE active = 1"},
    [ROWS_BACKUP] = {"SELECT transport FROM domain WHERE domain = %d AND active = 1 AND backupmx = 1"},
    [ROWS_RELAY] = {"SELECT goto FROM alias WHERE (address = %s OR address = '@%d') AND active = 1"},
    [ROWS_RELAYS] = {"SELECT 1 FROM alias WHERE domain = %d LIMIT 1"},
    [ROWS_SET_HASH] = {"UPDATE mailbox SET password = %h WHERE username = %s AND password = %o"},
};
// clang-format on

static const struct preset {
    const char *name;
    const char *const (*queries)[VARIANTS];
} presets[] = {{"flurdy", flurdy}, {"postfixadmin", postfixadmin}};

static const struct preset *find(const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (strcmp(name, presets[i].name) == 0)
            return &presets[i];
    return NULL;
}

bool rows_preset_known(const char *preset)
{
    return find(preset) != NULL;
}

const char *rows_preset_query(const char *preset, enum rows_ask which, unsigned i)
{
    const struct preset *p = find(preset);
    return p && i < VARIANTS ? p->queries[which][i] : NULL;
}

const char *rows_ask_name(enum rows_ask which)
{
    return asks[which].name;
}

const char *rows_ask_letters(enum rows_ask which)
{
    return asks[which].letters;
}

bool rows_ask_optional(enum rows_ask which)
{
    return asks[which].optional;
}
