/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse: the whole mail server in one binary. Finds the mode and runs it. */
#include "appliance/app/admin.h"
#include "appliance/app/import.h"
#include "appliance/app/modes.h"
#include "filters/clamav_scanner.h"
#include <malloc.h>
#include <stdio.h>

static const char help[] =
    "posthouse - a whole mail server in one program\n\n"
    "  posthouse dev              start a sealed test mail server (posthouse dev --help)\n"
    "  posthouse serve            the mail server for the internet (posthouse serve --help)\n"
    "  posthouse domain ...       add, list, show, remove the domains mail is received for\n"
    "  posthouse user ...         add, list, show, remove users\n"
    "  posthouse alias ...        add, list, show, remove aliases and catch-alls\n"
    "  posthouse app-password ... add, list, remove passwords of single devices\n"
    "  posthouse forward ...      set, show, remove where a user's mail is sent on to\n"
    "  posthouse vacation ...     set, show, remove what is answered while a user is away\n"
    "  posthouse password ...     set and remove passwords\n"
    "  posthouse mailbox ...      list, show, check mailboxes\n"
    "  posthouse ban ...          list, add, remove who is not let in\n"
    "  posthouse report ...       list, show, send reports about DMARC and TLS to other domains\n"
    "  posthouse dkim ...         create, show, rotate, retire the keys that domains sign with\n"
    "  posthouse account ...      list, attach, remove the store's accounts\n"
    "  posthouse queue ...        list, show, retry, hold, release, remove mail that waits\n"
    "  posthouse quarantine ...   list, show, release, delete mail that a filter stage has kept\n"
    "  posthouse policy ...       list, add, remove who is always let in, and who never\n"
    "  posthouse apply FILE       make domains, users and aliases as a file says\n"
    "  posthouse doctor           is all as it should be? (posthouse doctor --help)\n"
    "  posthouse explain ID       what the filters decided about a message, and why\n"
    "  posthouse import ...       bring mail from a Maildir or an mbox\n"
    "  posthouse export ...       write mail as Maildirs or mbox files\n"
    "  posthouse sendmail ...     hand in a message, as programs do (posthouse sendmail --help)\n"
    "  posthouse selftest crash   show on this disk that no acknowledged mail is lost\n"
    "  posthouse completion bash  complete these words in a shell (or zsh, fish)\n"
    "  posthouse --version\n\n"
    "Commands take --data DIR (or POSTHOUSE_DATA) and --json; `posthouse user --help` shows them.\n"
    "They work whether a server runs on that folder or not.\n";

static void tune_allocator(void)
{
    mallopt(M_ARENA_MAX, 2); /* more arenas cost memory, not contention, with our few threads */
    mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
}

/* Called by the name of what it replaces. -1: it wasn't. */
static int by_name(int argc, char **argv)
{
    static char show[] = "-bp", nothing[] = "-bi", own[] = "sendmail";
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";

    if (strcmp(name, "sendmail") == 0)
        return mode_sendmail(argc, argv);
    if (strcmp(name, "mailq") == 0)
        return mode_sendmail(2, (char *[]){own, show, NULL});
    if (strcmp(name, "newaliases") == 0)
        return mode_sendmail(2, (char *[]){own, nothing, NULL});
    return -1;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    int code = by_name(argc, argv);

    if (code >= 0)
        return code;
    tune_allocator();
    if (strcmp(word, "dev") == 0)
        return mode_dev(argc - 1, argv + 1);
    if (strcmp(word, "serve") == 0)
        return mode_serve(argc - 1, argv + 1);
    if (strcmp(word, CLAMAV_SCANNER_WORD) == 0)
        return mode_scanner(argc - 1, argv + 1);
    if (strcmp(word, "selftest") == 0)
        return mode_selftest(argc - 1, argv + 1);
    if (strcmp(word, "completion") == 0)
        return mode_completion(argc - 1, argv + 1);
    if (strcmp(word, "apply") == 0)
        return mode_apply(argc - 1, argv + 1);
    if (strcmp(word, "sendmail") == 0)
        return mode_sendmail(argc - 1, argv + 1);
    if (strcmp(word, "doctor") == 0 && (argc == 2 || argv[2][0] == '-'))
        return mode_doctor(argc - 1, argv + 1);
    if (import_is_group(word))
        return mode_import(argc - 1, argv + 1);
    if (admin_is_group(word))
        return mode_command(argc - 1, argv + 1);
    if (strcmp(word, "--version") == 0) {
        puts("posthouse " PH_VERSION);
        return 0;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    if (word[0])
        fprintf(stderr, "posthouse: no such command: %s\n\n", word);
    fputs(help, stderr);
    return ADMIN_USAGE;
}
