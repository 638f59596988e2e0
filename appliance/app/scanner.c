/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse --scanner: the scanner of viruses in a process of its own, made by the runner. */
#include "appliance/app/modes.h"
#include "appliance/app/sandbox.h"
#include "filters/clamav_scanner.h"
#include <stddef.h>

static void enter(const char *folder, const char *temporary)
{
    const char *const readable[] = {folder, NULL};

    sandbox_enter(&(struct sandbox){.data = temporary, .readable = readable, .bare = true});
}

int mode_scanner(int argc, char **argv)
{
    return clamav_scanner(argc, argv, enter);
}
