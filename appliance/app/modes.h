/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* modes.h - what the binary can be asked to do; each takes its words (without the program's name)
 * and returns an exit code. Floor 6 (app). Threads: main. */
#ifndef PH_APP_MODES_H
#define PH_APP_MODES_H

int mode_dev(int argc, char **argv);        /* posthouse dev: the sealed test appliance (dev.c) */
int mode_serve(int argc, char **argv);      /* posthouse serve: the appliance (serve.c) */
int mode_selftest(int argc, char **argv);   /* posthouse selftest crash: selftest.c */
int mode_command(int argc, char **argv);    /* posthouse user add ...: administration (command.c) */
int mode_apply(int argc, char **argv);      /* posthouse apply FILE: apply.h */
int mode_completion(int argc, char **argv); /* posthouse completion bash: completion.c */
int mode_sendmail(int argc, char **argv);   /* posthouse sendmail, or called as that: sendmail.h */
int mode_doctor(int argc, char **argv);     /* posthouse doctor: doctor.h */
int mode_scanner(int argc, char **argv);    /* for ourselves: scanner.c */

extern const char dev_help[], serve_help[], selftest_help[], sendmail_help[], apply_help[],
    completion_help[], doctor_help[]; /* what --help prints */

/* The folder commands work on without --data, $POSTHOUSE_DATA and configuration. */
#define DATA_DEFAULT "/var/lib/posthouse"
#endif
