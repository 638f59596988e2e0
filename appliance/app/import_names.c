/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_names.c - folders that other servers and clients made for what we have a folder for. Ours
 * is the first of these that there is; the others keep their names. */
#include "appliance/app/import_run.h"
#include "appliance/base/mem.h"

static const struct {
    const char *ours;
    enum mailbox_special special;
    const char *names[10];
} uses[] = {
    {"Sent",
     MAILBOX_SENT,
     {"Sent", "Sent Items", "Sent Messages", "Sent Mail", "sent-mail", "Gesendet",
      "Gesendete Objekte", "Gesendete Elemente"}},
    {"Drafts", MAILBOX_DRAFTS, {"Drafts", "Draft", "Entw\xc3\xbcrfe"}},
    {"Junk",
     MAILBOX_JUNK,
     {"Junk", "Spam", "Junk E-mail", "Junk Email", "Bulk Mail", "Junk Mail", "Unerw\xc3\xbcnscht"}},
    {"Trash",
     MAILBOX_TRASH,
     {"Trash", "Deleted Items", "Deleted Messages", "Deleted", "Papierkorb",
      "Gel\xc3\xb6schte Objekte", "Gel\xc3\xb6schte Elemente"}},
    {"Archive", MAILBOX_ARCHIVE, {"Archive", "Archives", "Archiv"}},
};

static size_t find(const struct str *names, size_t n, const char *name)
{
    size_t i = 0;

    while (i < n && !str_ieq(names[i], str_from(name)))
        i++;
    return i;
}

void import_names_map(const struct str *names, size_t n, struct str *places,
                      enum mailbox_special *specials)
{
    for (size_t i = 0; i < n; i++) {
        places[i] = names[i];
        specials[i] = MAILBOX_NORMAL;
    }
    for (size_t u = 0; u < ARRAY_LEN(uses); u++) {
        for (size_t k = 0; k < ARRAY_LEN(uses[u].names) && uses[u].names[k]; k++) {
            size_t i = find(names, n, uses[u].names[k]);
            if (i == n)
                continue;
            places[i] = str_from(uses[u].ours);
            specials[i] = uses[u].special;
            break;
        }
    }
}
