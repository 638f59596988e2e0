/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/config.h"

#define SECTION(room, text)                                                                        \
    {                                                                                              \
        .name = #room, .doc = text, .table = room##_settings,                                      \
        .offset = offsetof(struct config, room)                                                    \
    }

const struct settings_section config_sections[] = {
    SECTION(smtp, "Receiving and submitting mail."),
    SECTION(imap, "Reading mail."),
    SECTION(store, "Where messages are kept."),
    SECTION(directory, "Domains, users, aliases and logging in."),
    {.name = NULL},
};

static void *section_conf(struct config *c, const struct settings_section *s)
{
    return (char *)c + s->offset;
}

int config_defaults(struct config *c, struct err *err)
{
    memset(c, 0, sizeof *c);
    for (const struct settings_section *s = config_sections; s->name; s++)
        if (settings_defaults(s->table, section_conf(c, s), err))
            return err_context(err, "section %s", s->name);
    return 0;
}

int config_assign(struct config *c, const char *assignment, struct err *err)
{
    return settings_assign(config_sections, c, str_from(assignment), err);
}

void config_free(struct config *c)
{
    for (const struct settings_section *s = config_sections; s->name; s++)
        settings_free(s->table, section_conf(c, s));
}
