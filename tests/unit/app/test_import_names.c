/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Folders of other servers that are ours by another name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/app/import_run.h"
#include "appliance/base/mem.h"

enum { MAX = 8 };

static void is(const char *const *names, const char *const *want)
{
    struct str in[MAX] = {{0}}, places[MAX];
    enum mailbox_special specials[MAX];
    size_t n = 0;

    while (names[n]) {
        in[n] = str_from(names[n]);
        n++;
    }
    import_names_map(in, n, places, specials);
    for (size_t i = 0; i < n; i++)
        if (!str_eq(places[i], str_from(want[i])))
            fail_msg("%s became " STR_FMT, names[i], STR_ARG(places[i]));
}

static void test_names(void **state)
{
    (void)state;
    is((const char *const[]){"INBOX", "Sent Items", "Deleted Messages", "Work/Sent", NULL},
       (const char *const[]){"INBOX", "Sent", "Trash", "Work/Sent"});
    /* one of them only: the first in our order */
    is((const char *const[]){"Sent Messages", "sent", "Spam", "Junk", NULL},
       (const char *const[]){"Sent Messages", "Sent", "Spam", "Junk"});
    is((const char *const[]){"Papierkorb", "Entw\xc3\xbcrfe", "Archives", NULL},
       (const char *const[]){"Trash", "Drafts", "Archive"});
    is((const char *const[]){"Sentence", "Trashy", NULL},
       (const char *const[]){"Sentence", "Trashy"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
