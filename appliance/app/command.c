/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* An administration command as a process: asks the daemon that holds the data folder, or, when none
 * does, takes the lock and does it itself. */
#include "appliance/app/admin.h"
#include "appliance/app/command_ask.h"
#include "appliance/app/modes.h"
#include "appliance/app/say.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

enum { WORDS_MAX = 64, PASSWORD_LINE = 1024, FILE_ROOM = 32 << 10 };

struct command_line {
    struct command_target target;
    bool json, help;
    const char *words[WORDS_MAX];
    size_t n;
};

static int parse(int argc, char **argv, struct command_line *cl, struct err *err)
{
    *cl = (struct command_line){0};
    command_target_init(&cl->target);
    for (int i = 0; i < argc; i++) {
        int taken = command_target_word(&cl->target, argc, argv, i);
        if (taken)
            i += taken - 1;
        else if (strcmp(argv[i], "--json") == 0)
            cl->json = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            cl->help = true;
        else if (cl->n == WORDS_MAX)
            return ERR(err, ERR_PROTO, "too many words");
        else
            cl->words[cl->n++] = argv[i];
    }
    return 0;
}

/* ---- the password: asked for on a terminal, else the first line of standard input */
static int read_line(char *out, size_t cap)
{
    if (!fgets(out, (int)cap, stdin))
        return -1;
    out[strcspn(out, "\r\n")] = '\0';
    return 0;
}

static int ask_once(const char *prompt, char *out, size_t cap)
{
    struct termios old, quiet;
    int rc;

    fputs(prompt, stderr);
    if (tcgetattr(0, &old) != 0)
        return -1;
    quiet = old;
    quiet.c_lflag &= (tcflag_t)~ECHO;
    tcsetattr(0, TCSAFLUSH, &quiet);
    rc = read_line(out, cap);
    tcsetattr(0, TCSAFLUSH, &old);
    fputc('\n', stderr);
    return rc;
}

static int read_password(char *out, size_t cap, struct err *err)
{
    char again[PASSWORD_LINE];

    if (!isatty(0)) {
        if (read_line(out, cap))
            return ERR(err, ERR_PROTO, "no password on standard input");
        return 0;
    }
    if (ask_once("Password: ", out, cap) || ask_once("Again: ", again, sizeof again))
        return ERR(err, ERR_PROTO, "no password given");
    if (strcmp(out, again) != 0)
        return ERR(err, ERR_PROTO, "the two differ");
    return 0;
}

/* ---- a file: read here, as who has typed the command and where; the daemon may not see it */

static const char *last_word(const struct command_line *cl)
{
    const char *last = "";

    for (size_t i = 2; i < cl->n; i++)
        if (strncmp(cl->words[i], "--", 2) != 0)
            last = cl->words[i];
    return last;
}

static int read_file(const char *name, char *out, size_t cap, struct err *err)
{
    FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    size_t n = 0;

    if (f)
        n = fread(out, 1, cap, f);
    if (!f || ferror(f)) {
        err_set(err, ERR_PERM, ERR_WHY_OTHER, "%s can't be read: %s", name, strerror(errno));
        n = cap;
    } else if (n == cap || memchr(out, '\0', n)) {
        err_set(err, ERR_PERM, ERR_WHY_OTHER, "%s is too large, or no text", name);
        n = cap;
    }
    if (f && f != stdin)
        fclose(f);
    if (n == cap)
        return -1;
    out[n] = '\0';
    return 0;
}

/* ---- showing it */
/* What went well, and yet may not be what was meant: its sentences are all that people are shown.
 */
static bool warn(const json_t *result)
{
    const json_t *warnings = json_object_get(result, "warnings");

    for (size_t i = 0; i < json_array_size(warnings); i++)
        say_error(json_string_value(json_array_get(warnings, i)));
    return warnings != NULL;
}

static int show(const struct command_line *cl, json_t *reply)
{
    int code = (int)json_integer_value(json_object_get(reply, "exit"));
    json_t *result = json_object_get(reply, "result");
    const char *error = json_string_value(json_object_get(reply, "error"));
    struct buf out;

    if (cl->json)
        return say_json(result && !error ? result : reply) ? ADMIN_TEMPFAIL : code;
    buf_init(&out, 512u << 20);
    if (!warn(result))
        admin_render(result, &out);
    if (out.n && fwrite(out.p, 1, out.n, stdout) != out.n)
        code = ADMIN_TEMPFAIL;
    buf_fini(&out);
    if (error)
        say_error(error);
    return code;
}

static int fail(const struct command_line *cl, const struct err *err, int code)
{
    json_t *reply = json_pack("{si ss}", "exit", code, "error", err->text);

    code = show(cl, reply);
    json_decref(reply);
    return code;
}

static int usage(const char *group)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    admin_usage(group, &out);
    fputs(buf_z(&out), stdout);
    puts("  Every command takes --data DIR (or --config FILE) and --json. Exit codes: 0 done, 1 "
         "refused, 2 usage, 75 "
         "try again later.");
    buf_fini(&out);
    return ADMIN_OK;
}

/* `posthouse explain ID`: a group with one verb, which goes without saying. */
static void name_verb(struct command_line *cl)
{
    if (strcmp(cl->words[0], "explain") != 0 || cl->n != 2)
        return;
    cl->words[2] = cl->words[1];
    cl->words[1] = "show";
    cl->n = 3;
}

int mode_command(int argc, char **argv)
{
    char password[PASSWORD_LINE], file[FILE_ROOM];
    const struct admin_command *command;
    struct command_line cl;
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
    json_t *request, *list, *reply = NULL;
    int code;

    if (parse(argc, argv, &cl, &err))
        return fail(&cl, &err, ADMIN_USAGE);
    if (cl.help || cl.n < 2)
        return usage(cl.n ? cl.words[0] : NULL), cl.help ? ADMIN_OK : ADMIN_USAGE;
    name_verb(&cl);
    command = admin_find(cl.words, cl.n, &err);
    if (!command ||
        (command->wants == ADMIN_PASSWORD && read_password(password, sizeof password, &err)) ||
        (command->wants == ADMIN_FILE && read_file(last_word(&cl), file, sizeof file, &err)))
        return fail(&cl, &err, ADMIN_USAGE);
    log_set_level(LOG_LEVEL_WARN);
    list = json_array();
    for (size_t i = 0; i < cl.n; i++)
        json_array_append_new(list, json_string(cl.words[i]));
    request = json_pack("{so}", "argv", list);
    if (command->wants == ADMIN_PASSWORD)
        json_object_set_new(request, "password", json_string(password));
    if (command->wants == ADMIN_FILE)
        json_object_set_new(request, "file", json_string(file));
    explicit_bzero(password, sizeof password);
    explicit_bzero(file, sizeof file);
    cl.target.reads = admin_reads(cl.words, cl.n);
    if (command_ask(&cl.target, request, &reply, &err))
        code = fail(&cl, &err, err.kind == ERR_PERM ? ADMIN_REFUSED : ADMIN_TEMPFAIL);
    else
        code = show(&cl, reply);
    json_decref(reply);
    json_decref(request);
    command_target_fini(&cl.target);
    return code;
}
