/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_scanner.h - the scanner of `isolation = process`: a process of its own, made by the runner
 * (appliance/io/runner.h) of the program's own file, with one engine, in a sandbox that lets it
 * read the signatures and write what it unpacks, and nothing else. The other side is
 * clamav_child.h. Floor 4 (filters). Threads: main, before any other exists. */
#ifndef PH_FILTERS_CLAMAV_SCANNER_H
#define PH_FILTERS_CLAMAV_SCANNER_H

/* Its words: CLAMAV_SCANNER_WORD, the folder of signatures, the one for what is unpacked. */
#define CLAMAV_SCANNER_WORD "--scanner"
/* Requests come on descriptor 0. enter: closes the sandbox, once libclamav has what it needs of the
 * system; NULL: there is none. Returns an exit code when the server is gone, or the signatures
 * can't be loaded. */
int clamav_scanner(int argc, char **argv, void (*enter)(const char *folder, const char *temporary));
#endif
