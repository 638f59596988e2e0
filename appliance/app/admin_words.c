/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/admin_words.h"
#include "appliance/app/admin.h"

bool admin_knows_option(const char *const *known, const char *word)
{
    for (const char *const *o = known; o && *o; o++) {
        size_t n = strlen(*o);
        if ((*o)[n - 1] == '=' ? strncmp(word, *o, n) == 0 : strcmp(word, *o) == 0)
            return true;
    }
    return false;
}

const char *admin_option_value(const char *const *given, size_t n, const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < n; i++)
        if (strncmp(given[i], name, length) == 0 &&
            (given[i][length] == '=' || given[i][length] == '\0'))
            return given[i][length] ? given[i] + length + 1 : "";
    return NULL;
}

void admin_usage_lines(const char *group, const char *verb, const char *usage,
                       const char *const *options, const char *doc, struct buf *out)
{
    buf_printf(out, "  posthouse %s %s %s", group, verb, usage);
    for (const char *const *o = options; o && *o; o++)
        buf_printf(out, " [--%s%s]", *o, (*o)[strlen(*o) - 1] == '=' ? "VALUE" : "");
    buf_printf(out, "\n      %s\n", doc);
}

int admin_exit_code(const struct err *err)
{
    return err->kind == ERR_PROTO  ? ADMIN_USAGE
           : err->kind == ERR_PERM ? ADMIN_REFUSED
                                   : ADMIN_TEMPFAIL;
}
