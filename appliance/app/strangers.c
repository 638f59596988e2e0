/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/strangers.h"
#include "appliance/base/cidr.h"
#include "appliance/base/mem.h"

/* One address of each network that isn't anybody's own: a list that has it trusts strangers. */
static const char *const strangers[] = {"1.1.1.1",     "8.8.8.8",         "9.9.9.9",
                                        "77.88.8.8",   "114.114.114.114", "185.12.64.1",
                                        "203.0.113.1", "2606:4700::1111", "2a01:4f8::1"};

const char *stranger_in(const char *list)
{
    struct cidr_set set;
    struct err err;
    const char *found = NULL;

    if (cidr_set_parse(str_from(list), &set, &err))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(strangers) && !found; i++)
        if (cidr_set_has(&set, strangers[i]))
            found = strangers[i];
    cidr_set_free(&set);
    return found;
}
