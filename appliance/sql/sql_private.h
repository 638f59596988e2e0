/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* sql_private.h - a connection as the files above the drivers see it; private to this folder. Not
 * for drivers: MariaDB's header has a list_add of its own. */
#ifndef PH_SQL_SQL_PRIVATE_H
#define PH_SQL_SQL_PRIVATE_H
#include "appliance/base/list.h"
#include "appliance/sql/sql_driver.h"

struct map;
struct sql {
    const struct sql_driver *driver;
    void *conn;
    struct map *statements; /* text -> struct sql_stmt */
    struct list active;
};
#endif
