/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/import.h"
#include "appliance/app/admin.h"
#include "appliance/app/admin_words.h"
#include "appliance/app/import_commands.h"
#include "appliance/app/modes.h"
#include "appliance/app/say.h"
#include "appliance/base/mem.h"
#include <stdio.h>
#include <stdlib.h>

enum { WORDS_MAX = 64 };

/* Ended by NULL. */
static const struct import_command *const commands[] = {
    &import_maildir, &import_mbox,   &import_imap,     &export_maildir,
    &export_mbox,    &import_flurdy, &import_opendkim, NULL};
static const char *const groups[] = {"import", "export"};

bool import_is_group(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (strcmp(groups[i], word) == 0)
            return true;
    return false;
}

static const struct import_command *find(const char *group, const char *name)
{
    for (size_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->group, group) == 0 && strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

const char *import_option(const struct import_call *c, const char *name)
{
    return admin_option_value(c->options, c->n_options, name);
}

void import_usage(const char *group, struct buf *out)
{
    for (size_t i = 0; commands[i]; i++)
        if (!group || strcmp(group, commands[i]->group) == 0)
            admin_usage_lines(commands[i]->group, commands[i]->name, commands[i]->usage,
                              commands[i]->options, commands[i]->doc, out);
}

static int show_usage(const char *group)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    import_usage(group, &out);
    admin_usage(group, &out);
    fputs(buf_z(&out), stdout);
    puts("  Each takes --data DIR (or --config FILE), --json and --progress, and works whether a "
         "server runs or\n  not. Exit codes: 0 done, 1 some messages or the whole were refused, 2 "
         "usage, 75 try again later.");
    buf_fini(&out);
    return ADMIN_OK;
}

int import_refused(const struct import_call *call, const struct err *err)
{
    int code = admin_exit_code(err);
    json_t *v = call->json ? json_pack("{si ss}", "exit", code, "error", err->text) : NULL;

    if (!v || say_json(v))
        say_error(err->text);
    json_decref(v);
    return code;
}

static int wrong(const char *what, const char *word)
{
    fprintf(stderr, "posthouse: %s%s\n", what, word);
    return ADMIN_USAGE;
}

/* True: it is one that every subcommand takes. */
static bool take_common(int argc, char **argv, int *i, struct import_call *call)
{
    const char *word = argv[*i];

    if (strcmp(word, "--json") == 0)
        call->json = true;
    else if (strcmp(word, "--progress") == 0)
        call->progress = true;
    else if (strncmp(word, "--data=", 7) == 0)
        call->data = word + 7;
    else if (strcmp(word, "--data") == 0 && *i + 1 < argc)
        call->data = argv[++*i];
    else if (strncmp(word, "--config=", 9) == 0)
        call->config = word + 9;
    else if (strcmp(word, "--config") == 0 && *i + 1 < argc)
        call->config = argv[++*i];
    else
        return false;
    return true;
}

/* `--account A` is `--account=A`, where the option takes a value. */
static bool wants_value(const struct import_command *c, const char *word)
{
    size_t n = strlen(word);

    for (const char *const *o = c->options; o && *o; o++)
        if (strlen(*o) == n + 1 && (*o)[n] == '=' && strncmp(*o, word, n) == 0)
            return true;
    return false;
}

static int run(const struct import_command *c, int argc, char **argv)
{
    const char *args[WORDS_MAX], *options[WORDS_MAX];
    struct import_call call = {.data = getenv("POSTHOUSE_DATA"), .args = args, .options = options};
    char *joined[WORDS_MAX];
    size_t n_joined = 0;
    int code = -1;

    if (call.data && !call.data[0])
        call.data = NULL;
    for (int i = 2; i < argc && code < 0; i++) {
        if (take_common(argc, argv, &i, &call))
            continue;
        if (call.n_args + call.n_options == WORDS_MAX)
            code = wrong("too many words", "");
        else if (strncmp(argv[i], "--", 2) != 0)
            args[call.n_args++] = argv[i];
        else if (admin_knows_option(c->options, argv[i] + 2))
            options[call.n_options++] = argv[i] + 2;
        else if (wants_value(c, argv[i] + 2) && i + 1 < argc) {
            size_t n = strlen(argv[i] + 2) + strlen(argv[i + 1]) + 2;
            joined[n_joined] = mem_alloc(n);
            snprintf(joined[n_joined], n, "%s=%s", argv[i] + 2, argv[i + 1]);
            options[call.n_options++] = joined[n_joined++];
            i++;
        } else
            code = wrong("it does not know ", argv[i]);
    }
    if (code < 0 && (call.n_args < c->min_args || call.n_args > c->max_args)) {
        fprintf(stderr, "posthouse: usage: posthouse %s %s %s\n", c->group, c->name, c->usage);
        code = ADMIN_USAGE;
    }
    if (code < 0)
        code = c->run(&call);
    while (n_joined)
        mem_free(joined[--n_joined]);
    return code;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

/* `import imap://...`: the URL says which. NULL: it isn't one. */
static const char *by_url(const char *word)
{
    static const char *const schemes[][2] = {
        {"imap://", "imap"}, {"imaps://", "imap"}, {"mysql://", "flurdy"}};

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (strncmp(word, schemes[i][0], strlen(schemes[i][0])) == 0)
            return schemes[i][1];
    return NULL;
}

static int with_name(int argc, char **argv, const char *name)
{
    char *words[WORDS_MAX + 2] = {argv[0], (char *)(uintptr_t)name};

    memcpy(words + 2, argv + 1, (size_t)(argc - 1) * sizeof *words);
    return mode_import(argc + 1, words);
}

int mode_import(int argc, char **argv)
{
    const struct import_command *c = argc > 1 ? find(argv[0], argv[1]) : NULL;

    if (argc > 1 && argc <= WORDS_MAX && by_url(argv[1]))
        return with_name(argc, argv, by_url(argv[1]));

    if (argc < 2 || asks_for_help(argc, argv))
        return show_usage(argv[0]), argc < 2 ? ADMIN_USAGE : ADMIN_OK;
    if (c)
        return run(c, argc, argv);
    if (admin_is_group(argv[0]))
        return mode_command(argc, argv);
    fprintf(stderr, "posthouse: no such command: %s %s\n", argv[0], argv[1]);
    return ADMIN_USAGE;
}
