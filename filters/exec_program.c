/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "filters/exec_program.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include <grp.h>
#include <pwd.h>
#include <stdio.h>

enum { PASSWD_MAX = 16384, SECOND = 1000, HOUR = 3600 * SECOND };

static const char *const mails[] = {"all", "outside", "users", NULL};
// clang-format off
const struct ph_setting exec_program_settings[] = {
    PH_SETTING(TEXT, exec_program, command, PH_RELOAD | PH_REQUIRED, "", 0, 0,
               "The program, by its full path, and its arguments, divided by blanks; one with blanks in it in double quotes. No shell "
               "is between. The message is on its standard input."),
    PH_SETTING(TEXT, exec_program, user, PH_RELOAD, "", 0, 0,
               "Whose rights it has. Empty: those of main.user. Another one needs a start as root; root itself it never is."),
    PH_SETTING(TEXT, exec_program, exits, PH_RELOAD | PH_LIST, "0:pass, 1:junk, 2:reject, 3:quarantine, 67:reject, 75:defer, 77:reject", 0, 0,
               "What its exit codes mean: pass, accept, junk, quarantine, discard, defer, reject. Any other code, and an end by a signal, "
               "is an error, and exec.on_error decides."),
    PH_SETTING_ENUM(exec_program, mail, PH_RELOAD, "outside", mails,
                    "Which mail it sees. outside: of clients that haven't logged in and aren't in guard.trusted. users: of all others."),
    PH_SETTING(TIME, exec_program, timeout, PH_RELOAD, "10s", 10, HOUR,
               "How long it may take; then it is killed, with all that it has started, and that is an error."),
    PH_SETTING(TIME, exec_program, cpu, PH_RELOAD, "10s", 0, HOUR,
               "How much time of a processor it may take, in whole seconds. 0: no limit."),
    PH_SETTING(SIZE, exec_program, memory, PH_RELOAD, "512M", 0, 1LL << 40,
               "How much memory (address space) it may take. 0: no limit."),
    PH_SETTING(SIZE, exec_program, size, PH_RELOAD, "0", 0, 1LL << 40,
               "Messages over this size it doesn't get to see. 0: it sees all."),
    PH_SETTING(BOOL, exec_program, fields, PH_RELOAD, "yes", 0, 0,
               "Lines X-Name: value that it prints become header fields of the message."),
    PH_SETTING_END};
// clang-format on

/* ---- Settings. */

/* Words of a line, in place: ended by NUL, quotes taken away. -1: a quote isn't closed, or too many
 * words. */
static int split(char *line, const char **argv)
{
    char *to = line;
    size_t n = 0;

    while (*line) {
        bool quoted = false;
        if (*line == ' ') {
            line++;
            continue;
        }
        if (n == EXEC_WORDS_MAX)
            return -1;
        argv[n++] = to;
        for (; *line && (quoted || *line != ' '); line++)
            if (*line == '"')
                quoted = !quoted;
            else
                *to++ = *line;
        if (quoted)
            return -1;
        line += *line != '\0'; /* before its place is taken */
        *to++ = '\0';
    }
    argv[n] = NULL;
    return 0;
}

static int check_command(struct exec_program *p, struct err *err)
{
    mem_free(p->line);
    p->line = mem_alloc(strlen(p->command) + 2);
    memcpy(p->line, p->command, strlen(p->command));
    if (split(p->line, p->argv))
        return ERR(err, ERR_PROTO, "command: a quote isn't closed, or it has more than %d words",
                   EXEC_WORDS_MAX);
    if (!p->argv[0] || p->argv[0][0] != '/')
        return ERR(err, ERR_PROTO, "command: '%.100s' is no full path, as /usr/local/bin/check is",
                   p->argv[0] ? p->argv[0] : "");
    return 0;
}

static int verdict_named(struct str name)
{
    static const char *const names[PH_VERDICTS] = {
        [PH_PASS] = "pass",       [PH_ACCEPT] = "accept",
        [PH_JUNK] = "junk",       [PH_QUARANTINE] = "quarantine",
        [PH_DISCARD] = "discard", [PH_DEFER] = "defer",
        [PH_REJECT] = "reject"};

    for (int i = 0; i < PH_VERDICTS; i++)
        if (str_eq(name, str_from(names[i])))
            return i;
    return -1;
}

static int check_exits(struct exec_program *p, struct err *err)
{
    struct str rest = str_from(p->exits), word, code, name;
    uint64_t n;

    memset(p->verdict, EXEC_FAILS, sizeof p->verdict);
    while (settings_list_next(&rest, &word)) {
        int verdict = -1;
        if (str_cut(word, ':', &code, &name) && str_to_u64(str_trim(code), EXEC_CODES - 1, &n) == 0)
            verdict = verdict_named(str_trim(name));
        if (verdict < 0)
            return ERR(err, ERR_PROTO, "exits: '" STR_FMT "' isn't a code and a verdict, as 1:junk",
                       STR_ARG(str_take(word, 60)));
        p->verdict[n] = (signed char)verdict;
    }
    return 0;
}

static int check_user(struct exec_program *p, struct err *err)
{
    struct passwd pw, *found = NULL;
    char *room;

    if (!p->user[0])
        return 0;
    room = mem_alloc(PASSWD_MAX);
    getpwnam_r(p->user, &pw, room, PASSWD_MAX, &found);
    if (found) {
        p->uid = pw.pw_uid;
        p->gid = pw.pw_gid;
    }
    mem_free(room);
    if (!found)
        return ERR(err, ERR_PERM, "user: there is no user %.60s", p->user);
    if (p->uid == 0 || p->gid == 0)
        return ERR(err, ERR_PERM, "user: no program runs as %.60s, or with its group", p->user);
    return 0;
}

int exec_program_check(struct exec_program *p, struct err *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = strlen(p->name);

    if (n == 0 || n > 32 || strspn(p->name, letters) != n)
        return ERR(err, ERR_PROTO, "the name of a program has up to 32 letters, digits and . _ -");
    if (check_command(p, err) || check_exits(p, err) || check_user(p, err))
        return -1;
    return 0;
}

void exec_program_fini(struct exec_program *p)
{
    settings_free(exec_program_settings, p);
    mem_free(p->name);
    mem_free(p->line);
    p->name = NULL;
    p->line = NULL;
}

/* ---- Requests. */

void exec_program_request(const struct exec_program *p, uid_t user, struct runner_program *out)
{
    *out = (struct runner_program){
        .path = p->argv[0],
        .argv = p->argv,
        .limits = {.memory = p->memory, .cpu_s = (p->cpu + SECOND - 1) / SECOND}};
    if (p->user[0] && p->uid != user) {
        out->switch_user = true;
        out->uid = p->uid;
        out->gid = p->gid;
    }
}

static bool same_words(const char *const *a, const char *const *b)
{
    size_t i = 0;

    while (a[i] && b[i] && strcmp(a[i], b[i]) == 0)
        i++;
    return !a[i] && !b[i];
}

static bool may_have(const char *variable)
{
    for (size_t i = 0; exec_names[i]; i++) {
        size_t n = strlen(exec_names[i]);
        if (strncmp(variable, exec_names[i], n) == 0 && variable[n] == '=')
            return true;
    }
    return false;
}

bool exec_program_is(const struct exec_program *p, const struct runner_program *asked, uid_t user)
{
    struct runner_program own;

    exec_program_request(p, user, &own);
    if (!asked->path || strcmp(asked->path, own.path) != 0 || !same_words(asked->argv, own.argv) ||
        asked->switch_user != own.switch_user || asked->uid != own.uid || asked->gid != own.gid ||
        asked->limits.memory != own.limits.memory || asked->limits.cpu_s != own.limits.cpu_s)
        return false;
    for (size_t i = 0; asked->env && asked->env[i]; i++)
        if (!may_have(asked->env[i]))
            return false;
    return true;
}

/* ---- Environment. */

const char *const exec_names[] = {
    "PATH",       "LANG",       "CLIENT_ADDRESS", "CLIENT_NAME", "HELO",     "SENDER", "RECIPIENT",
    "RECIPIENTS", "MESSAGE_ID", "SIZE",           "USER",        "LISTENER", "TLS",    "HOST",
    "ID",         NULL};

void exec_put_variable(struct buf *out, const char *name, struct str value)
{
    value = str_take(value, EXEC_VALUE_MAX);
    buf_printf(out, "%s=", name);
    for (size_t i = 0; i < value.n; i++)
        buf_add_char(out, (unsigned char)value.p[i] < ' ' || value.p[i] == 127 ? '?' : value.p[i]);
}

/* ---- Output. */

static bool is_field(struct str line, struct str *name_out, struct str *value_out)
{
    if (!str_istarts(line, STR("X-")) || !str_cut(line, ':', name_out, value_out) ||
        name_out->n < 3 || name_out->n > 70)
        return false;
    *value_out = str_trim(*value_out);
    for (size_t i = 0; i < name_out->n; i++)
        if (!name_out->p[i] ||
            !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
                    name_out->p[i]))
            return false;
    for (size_t i = 0; i < value_out->n; i++)
        if (value_out->p[i] < ' ' || value_out->p[i] > '~')
            return false;
    return value_out->n && value_out->n <= 900;
}

static void take_text(struct str line, struct exec_output *out)
{
    line = str_take(line, EXEC_TEXT_MAX);
    for (size_t i = 0; i < line.n; i++)
        out->text[i] = line.p[i] < ' ' || line.p[i] > '~' ? '?' : line.p[i];
    out->text[line.n] = '\0';
}

void exec_output_parse(struct str printed, struct exec_output *out)
{
    struct str line, name, value;

    *out = (struct exec_output){.n_fields = 0};
    while (printed.n) {
        str_cut(printed, '\n', &line, &printed);
        line = str_trim(line);
        if (!line.n)
            continue;
        if (!is_field(line, &name, &value)) {
            if (!out->text[0])
                take_text(line, out);
        } else if (out->n_fields < EXEC_FIELDS_MAX) {
            out->fields[out->n_fields].name = name;
            out->fields[out->n_fields++].value = value;
        }
    }
}

void exec_reply(enum ph_verdict verdict, const char *text, char *out, size_t room)
{
    const char digit = verdict == PH_DEFER ? '4' : '5';
    bool coded = strlen(text) > 4 && text[0] == digit && text[1] >= '0' && text[1] <= '9' &&
                 text[2] >= '0' && text[2] <= '9' && text[3] == ' ';

    if (verdict < PH_DEFER || !text[0])
        snprintf(out, room, "%s", "");
    else if (coded)
        snprintf(out, room, "%s", text);
    else
        snprintf(out, room, "%s %s", verdict == PH_DEFER ? "451 4.7.1" : "550 5.7.1", text);
}
