/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse completion: a script that completes our commands in a shell, made from what --help
 * prints, so that both know the same. */
#include "appliance/app/admin.h"
#include "appliance/app/import.h"
#include "appliance/app/modes.h"
#include "appliance/base/mem.h"
#include <stdio.h>
#include <string.h>

enum { ENTRIES_MAX = 300, TEXT_MAX = 1 << 20 };

const char completion_help[] =
    "posthouse completion bash|zsh|fish\n"
    "  Print a script that completes the words of posthouse in that shell. For bash:\n"
    "    posthouse completion bash > /etc/bash_completion.d/posthouse\n"
    "  for zsh, in .zshrc:  source <(posthouse completion zsh)\n"
    "  for fish:  posthouse completion fish > ~/.config/fish/completions/posthouse.fish\n";

struct entry {              /* one command; views into text that lives as long */
    struct str group, verb; /* verb empty: a mode */
    struct str options;     /* "--name= --json ": in the list's arena */
};
struct entries {
    struct arena *arena;
    struct entry list[ENTRIES_MAX];
    size_t n;
};

/* ---- What there is */

static struct str next_word(struct str *rest)
{
    struct str word = {0};

    while (rest->n && !word.n) {
        str_cut(*rest, ' ', &word, rest);
        word = str_trim(word);
    }
    return word;
}

/* "[--quota=VALUE]", "--json" -> "--quota=", "--json". */
static struct str option_of(struct str word)
{
    size_t n = 0;

    while (word.n && (word.p[0] == '[' || word.p[0] == '('))
        word = str_skip(word, 1);
    if (!str_starts(word, STR("--")))
        return STR("");
    while (n < word.n && (ascii_lower(word.p[n]) == word.p[n]) &&
           ((word.p[n] >= 'a' && word.p[n] <= 'z') || word.p[n] == '-'))
        n++;
    return str_take(word, n + (n < word.n && word.p[n] == '='));
}

static void add_options(struct entry *e, struct arena *a, struct str text)
{
    struct buf out;

    buf_init(&out, TEXT_MAX);
    buf_add_str(&out, e->options);
    while (text.n) {
        struct str o = option_of(next_word(&text));
        size_t at;
        if (o.n > 2 && !str_find(buf_str(&out), o, &at))
            buf_printf(&out, STR_FMT " ", STR_ARG(o));
    }
    e->options = arena_str(a, buf_str(&out));
    buf_fini(&out);
}

static struct entry *add(struct entries *e, struct str group, struct str verb)
{
    CHECK(e->n < ENTRIES_MAX);
    struct entry *new = &e->list[e->n++];
    *new = (struct entry){
        .group = arena_str(e->arena, group), .verb = arena_str(e->arena, verb), .options = STR("")};
    return new;
}

/* Lines "  posthouse GROUP VERB ..." of admin_usage() and import_usage(). */
static void add_groups(struct entries *e, struct str usage)
{
    struct str line;

    while (usage.n) {
        str_cut(usage, '\n', &line, &usage);
        line = str_trim(line);
        if (!str_starts(line, STR("posthouse ")))
            continue;
        next_word(&line);
        struct str group = next_word(&line), verb = next_word(&line);
        add_options(add(e, group, verb), e->arena, line);
    }
}

static void add_mode(struct entries *e, const char *name, const char *help)
{
    struct str line, rest = str_from(help);
    struct entry *mode = add(e, str_from(name), STR(""));

    while (rest.n) {
        str_cut(rest, '\n', &line, &rest);
        add_options(mode, e->arena, line);
    }
}

static void collect(struct entries *e)
{
    struct buf usage;

    e->arena = arena_new(0);
    buf_init(&usage, TEXT_MAX);
    admin_usage(NULL, &usage);
    import_usage(NULL, &usage);
    add_groups(e, buf_str(&usage));
    buf_fini(&usage);
    add_mode(e, "serve", serve_help);
    add_mode(e, "dev", dev_help);
    add_mode(e, "selftest", selftest_help);
    add_mode(e, "sendmail", sendmail_help);
    add_mode(e, "apply", apply_help);
    add_mode(e, "completion", "");
}

/* ---- As scripts */

static bool first_of_group(const struct entries *e, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (str_eq(e->list[k].group, e->list[i].group))
            return false;
    return true;
}

static void put_groups(const struct entries *e, struct buf *out)
{
    for (size_t i = 0; i < e->n; i++)
        if (first_of_group(e, i))
            buf_printf(out, STR_FMT " ", STR_ARG(e->list[i].group));
}

static void put_verbs(const struct entries *e, struct str group, struct buf *out)
{
    for (size_t i = 0; i < e->n; i++)
        if (str_eq(e->list[i].group, group) && e->list[i].verb.n)
            buf_printf(out, STR_FMT " ", STR_ARG(e->list[i].verb));
}

static void bash_group(const struct entries *e, struct str group, struct buf *out)
{
    buf_printf(out,
               "    " STR_FMT
               ")\n        case $COMP_CWORD/${COMP_WORDS[2]-} in\n        2/*) words=\"",
               STR_ARG(group));
    put_verbs(e, group, out);
    buf_add_z(out, "\" ;;\n");
    for (size_t i = 0; i < e->n; i++)
        if (str_eq(e->list[i].group, group))
            buf_printf(out,
                       "        */" STR_FMT ") words=\"" STR_FMT "--data --config --json\" ;;\n",
                       STR_ARG(e->list[i].verb), STR_ARG(e->list[i].options));
    buf_add_z(out, "        esac ;;\n");
}

static void bash(const struct entries *e, struct buf *out)
{
    buf_add_z(out, "_posthouse()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
                   "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words=\"");
    put_groups(e, out);
    buf_add_z(out, "--help --version\"\n    else case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < e->n; i++)
        if (first_of_group(e, i) && e->list[i].verb.n)
            bash_group(e, e->list[i].group, out);
        else if (first_of_group(e, i))
            buf_printf(out, "    " STR_FMT ") words=\"" STR_FMT "\" ;;\n",
                       STR_ARG(e->list[i].group),
                       STR_ARG(str_eq(e->list[i].group, STR("completion")) ? STR("bash zsh fish")
                                                                           : e->list[i].options));
    buf_add_z(
        out,
        "    esac; fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
        "    case ${COMPREPLY-} in *=) compopt -o nospace 2>/dev/null ;; esac\n    return 0\n}\n"
        "complete -o default -F _posthouse posthouse\n");
}

static void zsh(const struct entries *e, struct buf *out)
{
    buf_add_z(out, "autoload -Uz bashcompinit && bashcompinit\n");
    bash(e, out);
}

static void fish_options(const struct entry *e, struct buf *out)
{
    struct str rest = e->options, word;

    while ((word = next_word(&rest)).n) {
        bool value = str_ends(word, STR("="));
        word = str_skip(str_take(word, word.n - value), 2);
        buf_printf(out,
                   "complete -c posthouse -n '__fish_seen_subcommand_from " STR_FMT "%s" STR_FMT
                   "' -l " STR_FMT "%s\n",
                   STR_ARG(e->group), e->verb.n ? "; and __fish_seen_subcommand_from " : "",
                   STR_ARG(e->verb), STR_ARG(word), value ? " -r" : "");
    }
}

static void fish(const struct entries *e, struct buf *out)
{
    buf_add_z(out, "complete -c posthouse -n __fish_use_subcommand -f -a '");
    put_groups(e, out);
    buf_add_z(out, "'\n");
    for (size_t i = 0; i < e->n; i++) {
        struct str group = e->list[i].group;
        if (first_of_group(e, i) && e->list[i].verb.n) {
            buf_printf(out,
                       "complete -c posthouse -n '__fish_seen_subcommand_from " STR_FMT
                       "; and not __fish_seen_subcommand_from ",
                       STR_ARG(group));
            put_verbs(e, group, out);
            buf_add_z(out, "' -f -a '");
            put_verbs(e, group, out);
            buf_add_z(out, "'\n");
        }
        fish_options(&e->list[i], out);
    }
}

int mode_completion(int argc, char **argv)
{
    static const struct {
        const char *shell;
        void (*print)(const struct entries *e, struct buf *out);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    const char *word = argc == 2 ? argv[1] : "";
    int code = ADMIN_USAGE;

    if (strcmp(word, "--help") == 0)
        return fputs(completion_help, stdout) < 0 ? ADMIN_TEMPFAIL : ADMIN_OK;
    for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
        if (strcmp(word, shells[i].shell) != 0)
            continue;
        struct entries *e = MEM_NEW(struct entries);
        struct buf out;
        buf_init(&out, TEXT_MAX);
        collect(e);
        shells[i].print(e, &out);
        code = buf_ok(&out) && fwrite(out.p, 1, out.n, stdout) == out.n ? ADMIN_OK : ADMIN_TEMPFAIL;
        buf_fini(&out);
        arena_free(&e->arena);
        mem_free(e);
    }
    if (code == ADMIN_USAGE)
        fputs(completion_help, stderr);
    return code;
}
