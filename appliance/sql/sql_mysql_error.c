/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_mysql_error.c - what the numbers of a MySQL server mean for mail.
 * What isn't known to be our own fault may pass: an operator may mend it. Nothing here refuses mail
 * for good: whether a duplicate is final knows who has asked. */
#include "appliance/sql/sql_mysql.h"

struct meaning {
    unsigned code;
    enum err_kind kind;
    enum err_why why;
};
static const struct meaning meanings[] = {
    {1021, ERR_TEMP, ERR_WHY_NO_SPACE}, /* disk full */
    {1022, ERR_TEMP, ERR_WHY_EXISTS},   /* duplicate key */
    {1044, ERR_TEMP, ERR_WHY_DENIED},   /* access to the database */
    {1045, ERR_TEMP, ERR_WHY_DENIED},   /* user or password */
    {1048, ERR_BUG, ERR_WHY_OTHER},     /* column can't be NULL */
    {1050, ERR_BUG, ERR_WHY_OTHER},     /* table exists */
    {1054, ERR_BUG, ERR_WHY_OTHER},     /* no such column */
    {1060, ERR_BUG, ERR_WHY_OTHER},     /* column exists */
    {1061, ERR_BUG, ERR_WHY_OTHER},     /* index exists */
    {1062, ERR_TEMP, ERR_WHY_EXISTS},   /* duplicate entry */
    {1064, ERR_BUG, ERR_WHY_OTHER},     /* syntax */
    {1065, ERR_BUG, ERR_WHY_OTHER},     /* empty query */
    {1071, ERR_BUG, ERR_WHY_OTHER},     /* key too long */
    {1093, ERR_BUG, ERR_WHY_OTHER},     /* reads the table it changes */
    {1114, ERR_TEMP, ERR_WHY_NO_SPACE}, /* table full */
    {1136, ERR_BUG, ERR_WHY_OTHER},     /* column count */
    {1142, ERR_TEMP, ERR_WHY_DENIED},   /* command on a table */
    {1143, ERR_TEMP, ERR_WHY_DENIED},   /* column */
    {1146, ERR_BUG, ERR_WHY_OTHER},     /* no such table */
    {1205, ERR_TEMP, ERR_WHY_BUSY},     /* lock wait timeout */
    {1210, ERR_BUG, ERR_WHY_OTHER},     /* arguments */
    {1213, ERR_TEMP, ERR_WHY_BUSY},     /* deadlock */
    {1264, ERR_BUG, ERR_WHY_OTHER},     /* number out of range */
    {1267, ERR_TEMP, ERR_WHY_CHARSET},  /* collations of two operands, */
    {1270, ERR_TEMP, ERR_WHY_CHARSET},  /* of three, */
    {1271, ERR_TEMP, ERR_WHY_CHARSET},  /* of many */
    {1292, ERR_BUG, ERR_WHY_OTHER},     /* wrong value */
    {1305, ERR_BUG, ERR_WHY_OTHER},     /* no such savepoint */
    {1364, ERR_BUG, ERR_WHY_OTHER},     /* no default value */
    {1366, ERR_BUG, ERR_WHY_OTHER},     /* wrong string value */
    {1406, ERR_BUG, ERR_WHY_OTHER},     /* data too long */
    {1586, ERR_TEMP, ERR_WHY_EXISTS},   /* duplicate entry */
    {1690, ERR_BUG, ERR_WHY_OTHER},     /* number out of range */
    {1792, ERR_BUG, ERR_WHY_OTHER},     /* write in a read-only transaction */
    {1853, ERR_TEMP, ERR_WHY_NO_SPACE}, /* temporary space of an ALTER */
    {2030, ERR_BUG, ERR_WHY_OTHER},     /* statement isn't prepared */
    {2031, ERR_BUG, ERR_WHY_OTHER},     /* parameter missing */
    {2034, ERR_BUG, ERR_WHY_OTHER},     /* parameter number */
    {3572, ERR_TEMP, ERR_WHY_BUSY},     /* NOWAIT */
    {3854, ERR_TEMP, ERR_WHY_CHARSET},  /* a text can't be converted, */
    {3988, ERR_TEMP, ERR_WHY_CHARSET},  /* nor a parameter */
};

bool mysql_code_is_loss(unsigned code)
{
    static const unsigned codes[] = {
        1053,                         /* the server shuts down */
        1152, 1158, 1159, 1160, 1161, /* the server's end of the connection broke */
        1927,                         /* killed */
        2002, 2003, 2004, 2005, 2006, 2012, 2013, 2055, /* not reached, gone */
        2014, 2027, /* out of step: what comes next can't be trusted */
        2026,       /* TLS */
        4031,       /* idle too long */
    };

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i] == code)
            return true;
    }
    return false;
}

static struct meaning meaning_of(unsigned code)
{
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        if (meanings[i].code == code)
            return meanings[i];
    }
    return (struct meaning){code, ERR_TEMP, ERR_WHY_OTHER};
}

int mysql_fail(struct mysql_conn *c, unsigned code, const char *text, const char *doing,
               struct err *err)
{
    struct meaning m = meaning_of(code);

    c->last_error = code;
    err_set(err, m.kind, m.why, "database: %s: %s (%u)", doing, text, code);
    if (mysql_code_is_loss(code))
        mysql_conn_drop(c);
    else if (c->tx != MYSQL_TX_NONE && (code == 1213 || (code == 1205 && c->timeout_ends_tx)))
        c->tx = MYSQL_TX_GONE;
    return -1;
}
