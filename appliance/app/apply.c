/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/apply.h"
#include "appliance/app/admin.h"
#include "appliance/app/admin_words.h"
#include "appliance/app/command_ask.h"
#include "appliance/app/modes.h"
#include "appliance/app/say.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include <stdio.h>
#include <string.h>

struct applying {
    struct command_target target;
    const char *path;
    bool json, dry, help;
    struct apply_how how;
    json_t *file, *wishes, *done; /* done: the commands, as they would be typed */
    int code;
    struct err err;
};

const char apply_help[] =
    "posthouse apply FILE [--dry-run] [--prune] [--passwords] [--json] [--data DIR | --config "
    "FILE]\n"
    "  Make domains, users and aliases as a file says, which is JSON (- for standard input):\n"
    "    {\"domains\": [\"example.com\", {\"domain\": \"example.net\", \"quota\": \"20G\"}],\n"
    "     \"users\": [{\"address\": \"ann@example.com\", \"name\": \"Ann\", \"hash\": \"$y$...\", "
    "\"quota\": \"2G\",\n"
    "                \"enabled\": true, \"allow\": \"both\", \"forward\": [], \"copy\": true}],\n"
    "     \"aliases\": [{\"address\": \"office@example.com\", \"destinations\": "
    "[\"ann@example.com\"]}]}\n"
    "  What it leaves out stays as it is. Run again, it changes nothing. Each change is shown as "
    "the command that makes it.\n"
    "  --dry-run    show the changes only\n"
    "  --prune      remove what the lists in the file don't name (mail of removed users is kept, "
    "detached); of a list that isn't there, nothing\n"
    "  --passwords  set \"password\" or \"hash\" of users that are there already, too\n"
    "  Exit codes: 0 as the file says, 1 refused, 2 usage, 75 try again later.\n";

static int parse(int argc, char **argv, struct applying *a)
{
    for (int i = 1; i < argc; i++) {
        int taken = command_target_word(&a->target, argc, argv, i);
        if (taken)
            i += taken - 1;
        else if (strcmp(argv[i], "--json") == 0)
            a->json = true;
        else if (strcmp(argv[i], "--dry-run") == 0)
            a->dry = true;
        else if (strcmp(argv[i], "--prune") == 0)
            a->how.prune = true;
        else if (strcmp(argv[i], "--passwords") == 0)
            a->how.passwords = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            a->help = true;
        else if (strncmp(argv[i], "--", 2) == 0)
            return ERR(&a->err, ERR_PROTO, "apply does not know %s", argv[i]);
        else if (a->path)
            return ERR(&a->err, ERR_PROTO, "apply takes one file");
        else
            a->path = argv[i];
    }
    return a->path || a->help ? 0 : ERR(&a->err, ERR_PROTO, "apply: which file?");
}

static int read_file(struct applying *a)
{
    json_error_t why;

    if (strcmp(a->path, "-") == 0)
        a->file = json_loadf(stdin, JSON_REJECT_DUPLICATES, &why);
    else
        a->file = json_load_file(a->path, JSON_REJECT_DUPLICATES, &why);
    if (!a->file)
        return ERR(&a->err, ERR_PERM, "%s:%d: %s", a->path, why.line, why.text);
    if (apply_check(a->file, &a->err))
        return err_context(&a->err, "%s", a->path);
    return 0;
}

/* ---- One command */

/* Its result, which is the caller's, or NULL: it failed, or has none. -1: it failed. */
static int run(struct applying *a, const json_t *command, json_t **result_out)
{
    json_t *request = json_deep_copy(command), *reply = NULL;
    a->target.reads = a->dry;
    int rc = command_ask(&a->target, request, &reply, &a->err);

    *result_out = NULL;
    json_decref(request);
    if (rc) {
        a->code = a->err.kind == ERR_PERM ? ADMIN_REFUSED : ADMIN_TEMPFAIL;
        return -1;
    }
    const char *error = json_string_value(json_object_get(reply, "error"));
    if (error) {
        a->code = (int)json_integer_value(json_object_get(reply, "exit"));
        rc = ERR(&a->err, ERR_PERM, "%s", error);
    } else {
        *result_out = json_incref(json_object_get(reply, "result"));
    }
    json_decref(reply);
    return rc;
}

static int ask(struct applying *a, const char *group, const char *verb, const char *what,
               json_t **out)
{
    json_t *command = what ? json_pack("{s[sss]}", "argv", group, verb, what)
                           : json_pack("{s[ss]}", "argv", group, verb);
    int rc = run(a, command, out);

    json_decref(command);
    return rc;
}

/* ---- What is there */

static bool names_wishes(const json_t *user)
{
    return json_object_get(user, "allow") || json_object_get(user, "forward");
}

static bool is_listed(const json_t *users, const char *address)
{
    size_t i;
    const json_t *one;

    json_array_foreach((json_t *)(uintptr_t)users, i, one)
    {
        const char *there = json_string_value(json_object_get(one, "address"));
        if (there && str_ieq(str_from(there), str_from(address)))
            return true;
    }
    return false;
}

/* Of those that are there; others have none. */
static int ask_wishes(struct applying *a, const json_t *users)
{
    json_t *user, *are;
    size_t i;

    json_array_foreach(json_object_get(a->file, "users"), i, user)
    {
        const char *address = json_string_value(json_object_get(user, "address"));
        if (!names_wishes(user) || !is_listed(users, address))
            continue;
        if (ask(a, "forward", "show", address, &are))
            return -1;
        json_object_set_new(a->wishes, address, are);
    }
    return 0;
}

/* ---- Doing it */

/* As it would be typed; a password is on standard input. */
static json_t *as_typed(const json_t *command)
{
    struct buf line;
    size_t i;
    const json_t *word;

    buf_init(&line, 1 << 20);
    json_array_foreach(json_object_get(command, "argv"), i, word)
    {
        const char *text = json_string_value(word);
        bool plain = text[0] && !text[strcspn(text, " \t\n'\"\\$`|&;<>()*?[#~")];
        buf_printf(&line, plain ? "%s%s" : "%s'%s'", i ? " " : "", text);
    }
    json_t *out = json_string(buf_z(&line));
    buf_fini(&line);
    return out;
}

static int one(struct applying *a, const json_t *command)
{
    json_t *result = NULL;

    if (!a->dry && run(a, command, &result))
        return -1;
    bool was_so = json_is_false(json_object_get(result, "changed"));
    json_decref(result);
    if (was_so)
        return 0;
    json_array_append_new(a->done, as_typed(command));
    if (!a->json) {
        say_word(stdout, json_string_value(json_array_get(a->done, json_array_size(a->done) - 1)));
        putchar('\n');
    }
    return 0;
}

static bool is_alias(const json_t *command)
{
    return strcmp(json_string_value(json_array_get(json_object_get(command, "argv"), 0)),
                  "alias") == 0;
}

/* An alias may lead to another one that comes later in the file: those that are refused are tried
 * again after the others, as long as that helps. */
static int all(struct applying *a, json_t *plan)
{
    bool progress = true, waiting = true;

    while (waiting && progress) {
        json_t *command;
        size_t i;
        waiting = progress = false;
        json_array_foreach(plan, i, command)
        {
            if (json_is_null(command))
                continue;
            if (one(a, command)) {
                if (!is_alias(command) || a->code != ADMIN_REFUSED)
                    return -1;
                waiting = true;
                continue;
            }
            progress = true;
            json_array_set_new(plan, i, json_null());
        }
    }
    return waiting ? -1 : 0;
}

static int apply(struct applying *a)
{
    json_t *domains = NULL, *users = NULL, *aliases = NULL, *plan = NULL;
    int rc = -1;

    if (read_file(a) == 0 && ask(a, "domain", "list", NULL, &domains) == 0 &&
        ask(a, "user", "list", NULL, &users) == 0 && ask(a, "alias", "list", NULL, &aliases) == 0 &&
        ask_wishes(a, users) == 0) {
        const struct apply_state now = {
            .domains = domains, .users = users, .aliases = aliases, .wishes = a->wishes};
        rc = apply_check_domains(a->file, &now, &a->err);
        if (rc)
            err_context(&a->err, "%s", a->path);
        plan = rc ? NULL : apply_plan(a->file, &now, &a->how);
        rc = rc ? rc : all(a, plan);
    }
    json_decref(domains);
    json_decref(users);
    json_decref(aliases);
    json_decref(plan);
    return rc;
}

/* ---- The mode */

static int code_of(const struct applying *a)
{
    return a->code ? a->code : admin_exit_code(&a->err);
}

static int show(struct applying *a, int rc)
{
    int code = rc ? code_of(a) : ADMIN_OK;
    size_t n = json_array_size(a->done);

    if (a->json) {
        json_t *out =
            json_pack("{si sI sO}", "exit", code, "changed", (json_int_t)n, "commands", a->done);
        if (rc)
            json_object_set_new(out, "error", json_string(a->err.text));
        (void)say_json(out);
        json_decref(out);
    } else {
        printf("%zu change%s%s\n", n, n == 1 ? "" : "s", a->dry ? " to be made" : "");
        if (rc)
            say_error(a->err.text);
    }
    return code;
}

int mode_apply(int argc, char **argv)
{
    struct applying a = {.done = json_array(), .wishes = json_object()};
    int rc, code;

    command_target_init(&a.target);
    log_set_level(LOG_LEVEL_WARN);
    rc = parse(argc, argv, &a);
    if (a.help) {
        fputs(apply_help, stdout);
        code = ADMIN_OK;
    } else {
        if (rc == 0)
            rc = apply(&a);
        code = show(&a, rc);
    }
    json_decref(a.file);
    json_decref(a.wishes);
    json_decref(a.done);
    command_target_fini(&a.target);
    return code;
}
