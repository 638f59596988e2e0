/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The options of sendmail that programs use. Those that make no difference here are taken. */
#include "appliance/app/sendmail.h"
#include "appliance/app/admin.h"
#include "appliance/app/config.h"
#include "appliance/app/modes.h"
#include "appliance/app/say.h"
#include "appliance/base/mem.h"
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 30 };

const char sendmail_help[] =
    "posthouse sendmail - hand in a message as programs do (also as sendmail, mailq, "
    "newaliases)\n\n"
    "  sendmail [-t] [-f SENDER] [-F NAME] [-i] [RECIPIENT...] < MESSAGE\n\n"
    "  -t        recipients from To, Cc and Bcc as well; Bcc is removed\n"
    "  -f, -r    the sender; without it the user who calls, at this host's origin\n"
    "  -F NAME   the sender's full name, where the message has no From\n"
    "  -i, -oi   a line with a single dot doesn't end the message\n"
    "  -N LIST   notifications wanted: never, or success, failure, delay\n"
    "  -R WHAT   what a bounce returns: full or hdrs\n"
    "  -V ID     the envelope's id, which a notification names\n"
    "  -bs       speak SMTP on standard input and output\n"
    "  -bp       show the queue, as mailq does\n"
    "  -bi       nothing, as newaliases: aliases are looked up as they are\n"
    "  -q        try to deliver what waits in the queue\n"
    "  -v        show the dialog\n"
    "\nThe socket of the server: POSTHOUSE_SOCKET, else main.socket of the configuration, "
    "else\n" SUBMIT_SOCKET_DEFAULT ".\nExit codes are those of sysexits.h: 0 accepted, 64 usage, "
    "65 data, 67 no such user, 69, 75 try "
    "again, 77.\n";

struct options {
    char mode; /* of -b: m, s, p, i */
    bool flush;
};

static char *socket_path(void)
{
    const char *named = getenv("POSTHOUSE_SOCKET");
    struct config *c = NULL;
    struct buf errors;
    struct err err;
    char *path;

    if (named && named[0])
        return str_dup_z(str_from(named));
    buf_init(&errors, 1 << 16);
    if (access(CONFIG_DEFAULT, R_OK) == 0 && config_load(CONFIG_DEFAULT, &c, &errors, &err))
        c = NULL; /* the server would not run with it either: the usual place */
    buf_fini(&errors);
    path = str_dup_z(str_from(c && c->main.socket[0] ? c->main.socket : SUBMIT_SOCKET_DEFAULT));
    config_unref(&c);
    return path;
}

static int usage(const char *what)
{
    fprintf(stderr, "posthouse sendmail: %s; see posthouse sendmail --help\n", what);
    return EX_USAGE;
}

/* ---- Options. */
static int take_option(int c, struct options *o, struct sendmail_job *j)
{
    switch (c) {
    case 't':
        j->from_headers = true;
        return 0;
    case 'f':
    case 'r':
        j->sender = str_eq(str_from(optarg), STR("<>")) ? STR("") : str_from(optarg);
        return 0;
    case 'F':
        j->full_name = str_from(optarg);
        return 0;
    case 'i':
        j->dots = false;
        return 0;
    case 'o':
        if (strcmp(optarg, "i") == 0)
            j->dots = false;
        return 0;
    case 'O':
        if (strcasecmp(optarg, "IgnoreDots") == 0 || strcasecmp(optarg, "IgnoreDots=true") == 0)
            j->dots = false;
        return 0;
    case 'N':
        j->notify = str_from(optarg);
        return 0;
    case 'R':
        j->ret = str_from(optarg);
        return 0;
    case 'V':
        j->envid = str_from(optarg);
        return 0;
    case 'v':
        j->verbose = true;
        return 0;
    case 'q':
        o->flush = true;
        return 0;
    case 'b':
        o->mode = optarg[0];
        return optarg[0] && !optarg[1] && strchr("mspi", optarg[0]) ? 0 : -1;
    case '?':
        return -1;
    default: /* -A -B -C -D -G -L -U -X -d -h -m -n -p: no difference */
        return 0;
    }
}

static int parse(int argc, char **argv, struct options *o, struct sendmail_job *j)
{
    int c;

    optind = 0;
    while ((c = getopt(argc, argv, "+A:B:b:C:D:d:F:f:Gh:iL:mN:nO:o:p:q::R:r:tUV:vX:")) != -1)
        if (take_option(c, o, j))
            return -1;
    for (; optind < argc; optind++) {
        struct str rest = str_from(argv[optind]), word;
        while (settings_list_next(&rest, &word))
            if (!sendmail_add(j, word))
                return -1;
    }
    return 0;
}

/* ---- Who calls. */
static struct str caller(struct arena *a, struct sendmail_job *j)
{
    struct passwd *p = getpwuid(getuid());
    struct str name;

    if (!p)
        return arena_printf(a, "uid-%ld", (long)getuid());
    if (!j->full_name.n && p->pw_gecos) {
        str_cut(str_from(p->pw_gecos), ',', &name, &(struct str){NULL, 0});
        j->full_name = arena_str(a, name);
    }
    return arena_str(a, str_from(p->pw_name));
}

static int queue_command(const char *verb)
{
    char *words[] = {(char[]){"queue"}, str_dup_z(str_from(verb)), NULL};
    int code = mode_command(2, words);

    mem_free(words[1]);
    return code == ADMIN_OK ? EX_OK : code == ADMIN_TEMPFAIL ? EX_TEMPFAIL : EX_UNAVAILABLE;
}

static int hand_in(struct sendmail_job *j)
{
    struct str user = caller(j->arena, j);
    struct err err;
    char *path;
    int code;

    if (!j->sender.p)
        j->sender = user;
    if (!j->rcpts.n && !j->from_headers)
        return usage("no recipients");
    buf_init(&j->text, TEXT_MAX);
    if (sendmail_read(STDIN_FILENO, j, &err) || sendmail_finish(j, &err)) {
        fputs("posthouse sendmail: ", stderr);
        say_word(stderr, err.text);
        fputc('\n', stderr);
        buf_fini(&j->text);
        return err.kind == ERR_TEMP ? EX_IOERR : EX_DATAERR;
    }
    path = socket_path();
    code = j->rcpts.n ? sendmail_send(path, j) : usage("no recipients in To, Cc, Bcc");
    mem_free(path);
    buf_fini(&j->text);
    return code;
}

int mode_sendmail(int argc, char **argv)
{
    struct sendmail_job j = {.dots = true};
    struct options o = {.mode = 'm'};
    char *path;
    int code;

    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        return fputs(sendmail_help, stdout) < 0 ? EX_IOERR : EX_OK;
    j.arena = arena_new(0);
    if (parse(argc, argv, &o, &j)) {
        code = usage("an option that it doesn't know");
    } else if (o.mode == 'i') {
        code = EX_OK;
    } else if (o.mode == 'p') {
        code = queue_command("list");
    } else if (o.flush) {
        code = queue_command("flush");
    } else if (o.mode == 's') {
        path = socket_path();
        code = sendmail_proxy(path);
        mem_free(path);
    } else {
        code = hand_in(&j);
    }
    arena_free(&j.arena);
    return code;
}
